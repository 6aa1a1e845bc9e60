"""A tuned model on disk: what plain transformers or peft loads, and a note of the base it belongs to."""

import json
import tempfile
from pathlib import Path

from goldsmith.engines.reward_form import NOTE, reward_form
from goldsmith.engines.training.model.loading import base_digest, load_model
from goldsmith.engines.training.model.policy import Policy
from goldsmith.engines.training.model.vocabulary import ROWS


def save(policy: Policy, folder: Path) -> None:
    """Write what plain transformers or peft loads: weights, tokenizer, chat template, generation config, and a
    note of the base an adapter belongs to."""
    policy.inner.set_attn_implementation(policy.plain_attention)
    if policy.ends_in == "words":
        config = policy.inner.generation_config
        config.eos_token_id = sorted(policy.chat.stop_ids)
        config.pad_token_id = policy.chat.pad_id
    else:
        policy.inner.config.pad_token_id = policy.chat.pad_id  # transformers looks for the last token before it
    if policy.is_adapter:
        _save_adapter(policy, folder)
    else:
        policy.model.save_pretrained(str(folder), safe_serialization=True)
    if policy.ends_in == "words":
        config.save_pretrained(str(folder))
    policy.chat.tokenizer.save_pretrained(str(folder))
    note = {
        "base": policy.base,
        "base_digest": policy.base_digest or base_digest(policy.base),
        "form": "adapter" if policy.is_adapter else "full",
        **({"makes": getattr(policy.settings, "id", "reward_model")} if policy.ends_in == "number" else {}),
    }
    if policy.is_adapter and policy.settings.new_tokens:
        note[ROWS] = policy.inner.get_input_embeddings().weight.shape[0]
    if policy.settings.adapter.kind == "qlora":
        note["base_in"] = "nf4"
    (folder / NOTE).write_text(json.dumps(note, indent=1, sort_keys=True) + "\n", "utf-8")
    policy.take(policy.way)


def _save_adapter(policy: Policy, folder: Path) -> None:
    """As peft does; one that took part of the base over becomes a plain one (peft: 'PiSSA to LoRA')."""
    if policy.start is None:
        policy.model.save_pretrained(str(folder), safe_serialization=True, save_embedding_layers=False)
    else:
        with tempfile.TemporaryDirectory() as place:
            first = Path(place) / "start"
            with policy.start.restored():
                policy.model.save_pretrained(str(first), safe_serialization=True, save_embedding_layers=False)
            policy.model.save_pretrained(
                str(folder),
                safe_serialization=True,
                save_embedding_layers=False,
                path_initial_model_for_weight_conversion=str(first),
            )
    (folder / "README.md").unlink(missing_ok=True)  # peft's empty card
    _sort_targets(folder / "adapter_config.json")


def _sort_targets(path: Path) -> None:
    """peft keeps layers' names as a set, whose order is another in each process: the same adapter is the same bytes."""
    config = json.loads(path.read_text(encoding="utf-8"))
    for key in ("target_modules", "exclude_modules"):
        if isinstance(config.get(key), list):
            config[key] = sorted(config[key])
    path.write_text(json.dumps(config, indent=2, sort_keys=True), encoding="utf-8")


def merge(adapter_dir: Path, output_dir: Path, *, base: str | Path | None = None) -> Path:
    """Write the whole model that an adapter and its base make (`base`: where that is now, if it has moved)."""
    from transformers import AutoTokenizer, GenerationConfig

    model = load_model(adapter_dir, adapter_base=base)
    form = reward_form(adapter_dir)
    if form is None:
        model.generation_config = GenerationConfig.from_pretrained(str(adapter_dir))
    else:
        model.config.pad_token_id = AutoTokenizer.from_pretrained(str(adapter_dir)).pad_token_id
    model.save_pretrained(str(output_dir), safe_serialization=True)
    if form is not None:
        note = json.dumps({"form": "full", "makes": form}, indent=1, sort_keys=True)
        (output_dir / NOTE).write_text(note + "\n", "utf-8")
    AutoTokenizer.from_pretrained(str(adapter_dir)).save_pretrained(str(output_dir))
    return output_dir
