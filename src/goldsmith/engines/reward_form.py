"""Telling a reward model from one that writes, by what its folder says; it must never answer anybody."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from goldsmith.types.errors import BadInput

NOTE = "goldsmith.json"
"""Beside the weights: which base an adapter belongs to, and what a model makes if not words."""


def reward_form(folder: str | Path) -> str | None:
    """`reward_model` or `process_reward` as training noted it, `reward_model` for anybody's sequence classifier; None
    for a model that writes, and for what is no folder here."""
    return form_of(lambda name: _read(Path(folder) / name))


def form_of(read: Callable[[str], bytes | None]) -> str | None:
    """The same, of a model whose files `read` gives by name."""
    noted = _object(read(NOTE)).get("makes")
    if isinstance(noted, str):
        return noted
    if _object(read("adapter_config.json")).get("task_type") == "SEQ_CLS":
        return "reward_model"
    names = _object(read("config.json")).get("architectures")
    classifies = isinstance(names, list) and any(str(name).endswith("ForSequenceClassification") for name in names)
    return "reward_model" if classifies else None


def require_words(folder: str | Path) -> None:
    """Raises BadInput for a reward model: loaded as one that writes it would write noise."""
    form = reward_form(folder)
    if form is not None:
        raise not_a_writer(str(folder), form)


def not_a_writer(where: str, form: str) -> BadInput:
    """What to say where a reward model is taken for one that answers."""
    return BadInput(
        "this is a reward model: it scores answers and writes none",
        where=where,
        found=form,
        allowed="a language model",
        next_step="use it in a reward (`type: reward_model`), or name the model that was trained with it",
    )


def _read(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except OSError:
        return None


def _object(text: bytes | None) -> dict[str, Any]:
    try:
        value = json.loads(text or b"null")
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}
