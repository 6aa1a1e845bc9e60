"""An adapter and its base as one plain model folder, which must compute what the two did."""

import json
import math
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch

from goldsmith.engines.chat import Chat, open_chat
from goldsmith.engines.exporting.parity import Parity, compare, logits_of, probes
from goldsmith.engines.reward_form import NOTE, require_words
from goldsmith.engines.training.checkpointing.folders import new_folder
from goldsmith.engines.training.model.loading import adapted, base_digest, load_model
from goldsmith.types.errors import BadInput, GateRefused, Unavailable

Dtype = Literal["float32", "bfloat16", "float16"]
TOLERANCE: dict[str, float] = {"float32": 1e-5, "bfloat16": 2e-2, "float16": 2e-3}
"""Mean divergence, in nats, that rounding the merged weights may cost, by their precision."""
CLOSER = 10.0
"""How many times closer to the adapter than its base the merged model must be: else rounding has eaten the adapter."""


@dataclass(frozen=True, slots=True)
class Merged:
    """`to_adapter`: the merged model against the adapter over its base. `moved`: the base against the adapter."""

    folder: Path
    to_adapter: Parity
    moved: Parity
    dtype: str

    def as_dict(self) -> dict[str, Any]:
        return {
            "folder": str(self.folder),
            "dtype": self.dtype,
            "merged_against_adapter": self.to_adapter.as_dict(),
            "base_against_adapter": self.moved.as_dict(),
        }


def speaker(adapter: Path, base: str | Path) -> str | Path:
    """Where the tokenizer and template are: with the adapter, if it brings its own."""
    return adapter if (adapter / "tokenizer.json").is_file() else base


def export_merged(
    source: Path, out: Path, *, base: str | Path | None = None, dtype: Dtype = "float32", device: str = "cpu"
) -> Merged:
    """Write the model that the adapter folder `source` and its base make to `out`: weights, tokenizer, chat template
    and a generation config with the stop tokens; and the figures of the comparison in `goldsmith.json`.

    Raises:
        BadInput: no adapter, an adapter for another base, or one that changes nothing.
        GateRefused: what was written computes something else than the adapter; nothing is left at `out`.
        Unavailable: no base there, or a full disk.
    """
    if not (source / "adapter_config.json").is_file():
        raise BadInput(
            "this folder holds no adapter, so there is nothing to merge",
            where=str(source),
            allowed="a folder with adapter_config.json",
            next_step="a whole model needs no merging: plain transformers loads it as it is",
        )
    require_words(source)  # what is compared below is what it would write
    if out.exists() and any(out.iterdir()):
        raise BadInput("the folder to write to is not empty", where=str(out), next_step="name a new one")
    named = str(base or json.loads((source / "adapter_config.json").read_text("utf-8"))["base_model_name_or_path"])
    tuned = adapted(source, "float32", device, named)
    chat = open_chat(speaker(source, named))
    ids = probes(chat, int(tuned.get_base_model().config.get_text_config().vocab_size))
    wanted = logits_of(tuned, ids)
    moved = compare(wanted, _before(named, ids, device))
    if moved.mean_kl == 0.0:
        raise BadInput("this adapter changes nothing: the merged model would be the base", where=str(source))
    model = tuned.merge_and_unload(safe_merge=True)
    model = model.to({"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}[dtype])
    with new_folder(out) as partial:
        _write(model, chat, source, named, partial)
        found = compare(wanted, logits_of(load_model(partial, dtype="float32", device=device), ids))
        _require_close(found, moved, dtype)
        note = {"form": "full", "merged_from": {"base_digest": base_digest(named)}}
        note |= {"parity": {"to_adapter": found.as_dict(), "base_to_adapter": moved.as_dict(), "dtype": dtype}}
        (partial / NOTE).write_text(json.dumps(note, indent=1, sort_keys=True) + "\n", "utf-8")
    return Merged(out, found, moved, dtype)


def _before(base: str, ids: list[torch.Tensor], device: str) -> list[torch.Tensor]:
    """The base's logits; tokens it has no row for are its first one to it."""
    model = load_model(base, dtype="float32", device=device)
    rows = model.get_input_embeddings().weight.shape[0]
    return logits_of(model, [torch.where(one < rows, one, torch.zeros_like(one)) for one in ids])


def _write(model: Any, chat: Chat, source: Path, base: str, folder: Path) -> None:
    from transformers import GenerationConfig

    for place in (str(source), base):
        try:
            model.generation_config = GenerationConfig.from_pretrained(place)
            break
        except OSError:
            continue
    model.generation_config.eos_token_id = sorted(chat.stop_ids)
    model.generation_config.pad_token_id = chat.pad_id
    try:
        model.save_pretrained(str(folder), safe_serialization=True)
        model.generation_config.save_pretrained(str(folder))
        chat.tokenizer.save_pretrained(str(folder))
    except Exception as error:
        if type(error).__name__ != "SafetensorError":
            raise
        raise Unavailable("the merged weights could not be written", where=str(folder), found=error) from error
    licence = source / "LICENSE"
    if licence.is_file():
        shutil.copyfile(licence, folder / "LICENSE")


def _require_close(found: Parity, moved: Parity, dtype: str) -> None:
    facts = (
        f"mean divergence {found.mean_kl:.2e} nats, largest {found.max_kl:.2e}, largest logit difference "
        f"{found.max_logit_difference:.2e}; the adapter is {moved.mean_kl:.2e} nats from its base"
    )
    finer = "write float32 (--dtype float32)" if dtype != "float32" else "report it: the merge itself is wrong"
    if not math.isfinite(found.mean_kl) or found.mean_kl > TOLERANCE[dtype]:
        raise GateRefused(
            "the merged model does not compute what the adapter does",
            found=facts,
            allowed=f"a mean divergence of at most {TOLERANCE[dtype]:g} nats in {dtype}",
            next_step=finer,
        )
    if found.mean_kl * CLOSER > moved.mean_kl:
        raise GateRefused(
            f"in {dtype} rounding swallows what the adapter learned: merged, it is hardly closer than the base",
            found=facts,
            allowed=f"{CLOSER:g} times closer",
            next_step=finer,
        )
