"""Loads a model to write with: safetensors only, no code from the folder, one base for many adapters."""

import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from goldsmith.engines.chat import Chat, open_chat
from goldsmith.engines.reward_form import NOTE, require_words
from goldsmith.engines.training.model.loading import base_digest
from goldsmith.engines.training.model.vocabulary import fit_vocabulary, rows_wanted
from goldsmith.engines.weight_files import require_own_weights
from goldsmith.types.errors import BadInput, Unavailable

_TOKENIZER = "tokenizer.json"


class Backbone:
    """Weights in memory, the lock of their forward pass, and the adapters that can be switched on."""

    def __init__(self, model: Any, chat: Chat, adapters: frozenset[str] = frozenset()) -> None:
        self.model = model.eval()
        self.chat = chat
        self.adapters = adapters
        self.lock = threading.RLock()
        self._active: str | None = None
        if adapters:
            self.model.base_model.disable_adapter_layers()

    @property
    def context_length(self) -> int | None:
        """Positions the model was made for, or None if its config does not say."""
        config = self.model.config.get_text_config(decoder=True)
        length = getattr(config, "max_position_embeddings", None)
        return int(length) if length else None

    @contextmanager
    def using(self, adapter: str | None) -> Iterator[None]:
        """With `adapter` (None: the bare base) switched on; hold `lock` meanwhile."""
        if self.adapters and adapter != self._active:
            if adapter is None:
                self.model.base_model.disable_adapter_layers()
            else:
                self.model.base_model.enable_adapter_layers()
                self.model.set_adapter(adapter)
            self._active = adapter
        yield


def load(
    model_dir: str | Path, adapter_dir: str | Path | None = None, *, device: str = "cpu", dtype: str = "auto"
) -> Backbone:
    """A full model folder (or hub id), or an adapter over `model_dir` or the base it names, merged in memory.

    Raises:
        Unavailable: no model there. BadInput: it cannot be used, or scores answers instead of writing them.
    """
    if adapter_dir is None and (Path(model_dir) / "adapter_config.json").is_file():
        model_dir, adapter_dir = base_of(model_dir), model_dir
    for folder in (adapter_dir, model_dir):
        if folder is not None:
            require_words(folder)
    if adapter_dir is not None:
        _check_base(model_dir, adapter_dir)
    model = _read(model_dir, device, dtype)
    if adapter_dir is None:
        return Backbone(model, open_chat(model_dir))
    from peft import PeftModel

    fit_vocabulary(model, rows_wanted(adapter_dir, NOTE))
    tuned = PeftModel.from_pretrained(model, str(adapter_dir))
    return Backbone(tuned.merge_and_unload(safe_merge=True), open_chat(_speaker(model_dir, adapter_dir)))


def load_family(
    model_dir: str | Path,
    adapter_dirs: Mapping[str, str | Path],
    *,
    device: str = "cpu",
    dtype: str = "auto",
) -> Backbone:
    """One base in memory and several adapters over it, none of them merged.

    Raises:
        BadInput: no adapter, or adapters that bring a tokenizer other than the base's.
        Unavailable: no model there.
    """
    from peft import PeftModel

    if not adapter_dirs:
        raise BadInput("a family needs at least one adapter", allowed="adapter folders by name")
    chat = open_chat(model_dir)
    for folder in adapter_dirs.values():
        require_words(folder)
        _check_base(model_dir, folder)
        _check_same_chat(open_chat(_speaker(model_dir, folder)), chat, folder)
    model = _read(model_dir, device, dtype)
    tuned: Any = None
    for name, folder in adapter_dirs.items():
        if tuned is None:
            tuned = PeftModel.from_pretrained(model, str(folder), adapter_name=name)
        else:
            tuned.load_adapter(str(folder), adapter_name=name)
    return Backbone(tuned, chat, frozenset(adapter_dirs))


def base_of(adapter_dir: str | Path) -> str:
    """The base that an adapter folder names.

    Raises:
        BadInput: it names none.
    """
    path = Path(adapter_dir) / "adapter_config.json"
    try:
        base = json.loads(path.read_text(encoding="utf-8")).get("base_model_name_or_path")
    except (ValueError, AttributeError) as error:
        raise BadInput("an adapter's config is not a JSON object", where=str(path)) from error
    if not isinstance(base, str) or not base:
        raise BadInput("an adapter does not name its base", where=str(path), next_step="name the base model too")
    return base


def _check_base(model_dir: str | Path, adapter_dir: str | Path) -> None:
    """Over another base an adapter gives fluent nonsense, so a digest that training left is compared."""
    note = Path(adapter_dir) / NOTE
    if not note.is_file():
        return
    wanted = json.loads(note.read_text(encoding="utf-8")).get("base_digest")
    found = base_digest(model_dir) if wanted is not None else None
    if found != wanted:
        raise BadInput(
            "this adapter was trained on another base model",
            where=str(adapter_dir),
            found=f"{model_dir} with digest {found}",
            allowed=wanted,
            next_step="give the base model it was trained on",
        )


def _check_same_chat(theirs: Chat, ours: Chat, folder: str | Path) -> None:
    if (theirs.tokenizer_digest, theirs.template_digest) != (ours.tokenizer_digest, ours.template_digest):
        raise BadInput(
            "an adapter brings another tokenizer or chat template than its base",
            where=str(folder),
            next_step="load this model on its own",
        )


def _speaker(model_dir: str | Path, adapter_dir: str | Path) -> str | Path:
    return adapter_dir if (Path(adapter_dir) / _TOKENIZER).is_file() else model_dir


def _read(model_dir: str | Path, device: str, dtype: str) -> Any:
    if Path(model_dir).is_dir():
        require_own_weights(Path(model_dir))
    from transformers import AutoModelForCausalLM
    from transformers.utils import logging

    logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    try:
        model = AutoModelForCausalLM.from_pretrained(
            str(model_dir), dtype=dtype, use_safetensors=True, trust_remote_code=False
        )
    except (OSError, ValueError) as error:
        raise Unavailable(
            "the model could not be loaded",
            where=str(model_dir),
            found=str(error).splitlines()[0][:200] if str(error) else type(error).__name__,
            next_step="give a folder with config.json and model.safetensors",
        ) from error
    except Exception as error:
        if type(error).__name__ != "SafetensorError":
            raise
        raise Unavailable(
            "a weight file of the model is damaged", where=str(model_dir), found=error, next_step="restore it"
        ) from error
    return model.to(device)  # type: ignore[arg-type]
