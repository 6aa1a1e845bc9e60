"""Models from folders and hub ids, adapters with their bases, and the digest that tells one base from another.

Only safetensors are read, remote code never runs, and nothing is reported to anybody.
"""

import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from goldsmith.engines.reward_form import NOTE, require_words, reward_form
from goldsmith.engines.training.model import quantised
from goldsmith.engines.training.model.vocabulary import fit_vocabulary, rows_wanted
from goldsmith.engines.training.settings import EndsIn
from goldsmith.engines.weight_files import require_own_weights
from goldsmith.types.errors import BadInput, GoldsmithError, Unavailable

os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")


def dtype_of(name: str) -> torch.dtype:
    """By its name."""
    return {"float32": torch.float32, "bfloat16": torch.bfloat16}[name]


def load_model(
    base: str | Path,
    *,
    dtype: str = "float32",
    device: str = "cpu",
    adapter_base: str | Path | None = None,
    four_bits: bool = False,
    ends_in: EndsIn | None = None,
) -> Any:
    """A model in eval mode; an adapter folder comes merged with its base (`adapter_base`, where that is no longer where
    training found it). `four_bits`: its linear layers quantised (see `quantised`). `ends_in`: what it must give; a
    language model asked for a number gets a new head. None: what the folder says it is.

    Raises:
        Unavailable: nothing to load there. BadInput: an adapter for another base; a reward model asked for words;
            weights outside the model's own folder.
    """
    folder = Path(base)
    if ends_in is None:
        ends_in = "number" if reward_form(base) is not None else "words"
    elif ends_in == "words":
        require_words(base)
    if (folder / "adapter_config.json").is_file():
        return adapted(folder, dtype, device, adapter_base).merge_and_unload().eval()
    more: dict[str, Any] = {}
    if four_bits:
        quantised.require_four_bits(device)
        more = {"quantization_config": quantised.four_bits(), "device_map": {"": device}}
    with told(base):
        model = from_pretrained(str(base), ends_in, {"dtype": dtype_of(dtype), **more})
    placed: Any = model if four_bits else model.to(device)
    return placed.eval()


@contextmanager
def told(base: str | Path) -> Iterator[None]:
    """Within it what goes wrong with a base's files is told as such.

    Raises:
        Unavailable: in place of transformers' and safetensors' own errors.
    """
    try:
        yield
    except GoldsmithError:
        raise  # told already
    except (OSError, ValueError, KeyError) as error:
        raise Unavailable(
            "the base model could not be loaded",
            where=str(base),
            found=str(error)[:300],
            next_step="name a folder with config.json and safetensors weights, or a hub id that can be reached",
        ) from error
    except Exception as error:
        if type(error).__name__ != "SafetensorError":
            raise
        raise Unavailable("a weight file of the base model is damaged", where=str(base), found=error) from error


def from_pretrained(base: str, ends_in: EndsIn, more: dict[str, Any]) -> Any:
    """What transformers loads, of the kind that `ends_in` asks for.

    Raises:
        BadInput: weights outside the model's own folder.
    """
    if Path(base).is_dir():
        require_own_weights(Path(base))
    from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification
    from transformers.utils import logging

    logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    how: dict[str, Any] = {"use_safetensors": True, "trust_remote_code": False, **more}
    if ends_in == "words":
        return AutoModelForCausalLM.from_pretrained(base, **how)
    was = logging.get_verbosity()
    logging.set_verbosity_error()  # type: ignore[no-untyped-call]  # a language model has no such head yet: as wanted
    try:
        return AutoModelForSequenceClassification.from_pretrained(base, num_labels=1, **how)
    finally:
        logging.set_verbosity(was)


def adapted(folder: Path, dtype: str = "float32", device: str = "cpu", base: str | Path | None = None) -> Any:
    """A base with the adapter in `folder` on it, unmerged, as peft loads it.

    Raises:
        BadInput: an adapter for another base.
    """
    from peft import PeftModel

    config = json.loads((folder / "adapter_config.json").read_text("utf-8"))
    found = str(base or config["base_model_name_or_path"])
    _check_base(folder, found)
    ends_in: EndsIn = "words" if reward_form(folder) is None else "number"
    model = load_model(found, dtype=dtype, device=device, ends_in=ends_in)
    fit_vocabulary(model, rows_wanted(folder, NOTE))
    return PeftModel.from_pretrained(model, str(folder)).eval()


def _check_base(folder: Path, base: str) -> None:
    note = folder / NOTE
    if not note.is_file():
        return
    wanted = json.loads(note.read_text("utf-8")).get("base_digest")
    if wanted is not None and wanted != base_digest(base):
        raise BadInput(
            "this adapter was trained on another base model",
            where=str(folder),
            found=f"{base} with digest {base_digest(base)}",
            allowed=wanted,
            next_step="put the base model it was trained on back in its place",
        )


def folder_of(base: str | Path) -> Path:
    """A model's folder; of a hub id, its cached snapshot.

    Raises:
        Unavailable: it cannot be reached.
    """
    if Path(base).is_dir():
        return Path(base)
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(str(base), allow_patterns=["*.json", "*.safetensors"]))
    except Exception as error:
        raise Unavailable("the base model could not be reached", where=str(base), found=str(error)[:200]) from error


def context_of(base: str | Path) -> int | None:
    """Tokens that a model was made to read at once, by its config (`max_position_embeddings`); None where that does not
    say, or is not here."""
    from transformers import AutoConfig

    try:
        config = AutoConfig.from_pretrained(str(base), trust_remote_code=False)
    except (OSError, ValueError, KeyError):
        return None  # whoever loads the model says so
    length = getattr(config.get_text_config(decoder=True), "max_position_embeddings", None)
    return length if isinstance(length, int) and length > 0 else None


def base_digest(base: str | Path) -> str:
    """SHA-256 over names and bytes of a model folder's weights and config; of a hub id, over its cached snapshot.

    Raises:
        Unavailable: it cannot be reached. BadInput: its weights are not all in its folder.
    """
    folder = folder_of(base)
    require_own_weights(folder)
    total = hashlib.sha256()
    for path in sorted(folder.iterdir()):
        if path.suffix == ".safetensors" or path.name in ("config.json", "adapter_config.json"):
            with path.open("rb") as file:
                total.update(f"{path.name}\0{hashlib.file_digest(file, 'sha256').hexdigest()}\n".encode())
    return "sha256:" + total.hexdigest()
