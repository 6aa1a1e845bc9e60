"""Somebody else's training configuration -> a recipe that this installation can run, and an account of every line."""

from collections import Counter
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any, cast, get_args

from goldsmith import plugins
from goldsmith.engines.migration.draft import Draft, Note, Targets, Tool
from goldsmith.engines.migration.migrate import Migrated, migrate
from goldsmith.engines.reading.read import read
from goldsmith.engines.training.settings import AdapterSettings
from goldsmith.stages.train import KINDS
from goldsmith.types.asking import PLACEHOLDER, Asked
from goldsmith.types.errors import BadInput, GoldsmithError
from goldsmith.types.record import Comparison, Conversation, Origin, Rating, Record, Text
from goldsmith.types.row_format import RowFormat

_LOOKED_AT = 500
"""Rows of a file from which kind and length are told."""
_CHARACTERS_PER_TOKEN = 4
_LEARN = {"dpo": ("comparison",), "simpo": ("comparison",), "orpo": ("comparison",), "kto": ("rating",)}


@dataclass(frozen=True, slots=True)
class _Seen:
    format: str
    kinds: Counter[str]
    tokens: float


def targets() -> Targets:
    """What this installation trains."""
    methods = {name: frozenset(plugins.find("methods", name).model_fields) for name in plugins.names("methods")}
    kinds = AdapterSettings.model_fields["kind"].annotation
    return Targets(methods, frozenset(AdapterSettings.model_fields), frozenset(get_args(kinds)))


def import_recipe(path: Path, *, tool: Tool | None = None, devices: int = 1) -> Migrated:
    """Read `path`, and look at the data it names where that is here.

    Errors: BadInput for what is no YAML, nobody's configuration, or settings that a method refuses; Unavailable.
    """
    made = migrate(path, targets(), tool=tool, devices=devices)
    if made.recipe is None:
        return made
    notes = list(made.notes)
    sizes: list[float] = []
    for dataset, source in zip(made.draft.datasets, made.recipe["sources"], strict=False):
        if not dataset.here:
            continue
        seen = _look(dataset.file, source.get("format"))
        if isinstance(seen, str):
            source.pop("format", None)
            notes.append(Note(dataset.line, "dataset", dataset.name, "changed", seen, "goldsmith check FILE says more"))
            continue
        source["format"] = seen.format
        sizes.append(seen.tokens)
        notes += _suits(made.draft, dataset.line, dataset.name, seen)
    notes += _blocks(made, sizes)
    _validate(made.recipe)
    return replace(made, notes=tuple(sorted(notes, key=lambda note: (note.line or 10**9, note.key))))


def _look(path: Path, row_format: str | None) -> _Seen | str:
    """What the file's first rows are; or why they cannot be read."""
    formats = cast(list[RowFormat], plugins.build_all("sources"))
    try:
        reading = read(path, formats, format_name=row_format, origin_defaults=Origin(source="x", batch="x"))
        rows = [row for batch in islice(reading.batches(), 1) for row in batch][:_LOOKED_AT]
    except GoldsmithError as error:
        if row_format is not None and not isinstance(seen := _look(path, None), str):
            return seen
        return f"its rows cannot be read: {error.what}"
    if not rows:
        return "it holds no usable row"
    name = max(reading.format_counts, key=lambda one: reading.format_counts[one])
    letters = sum(_letters(row.record) for row in rows) / len(rows)
    return _Seen(name, Counter(row.record.content.kind for row in rows), letters / _CHARACTERS_PER_TOKEN)


def _letters(record: Record) -> int:
    content = record.content
    if isinstance(content, Text):
        return len(content.text)
    if isinstance(content, Conversation):
        turns = content.messages
    elif isinstance(content, Comparison):
        turns = (*content.prompt, *content.chosen, *content.rejected)
    else:
        turns = (*content.prompt, *content.answer) if isinstance(content, Rating) else ()
    return sum(len(turn.text) for turn in turns)


def _suits(draft: Draft, line: int, name: str, seen: _Seen) -> list[Note]:
    method = draft.method or ""
    wanted = _LEARN.get(method) or KINDS.get(method)
    if wanted is None or any(kind in wanted for kind in seen.kinds):
        return []
    found = ", ".join(f"{kind}s" for kind in seen.kinds)
    text = f"its rows are {found}; {method} learns from {' and '.join(f'{kind}s' for kind in wanted)}"
    return [Note(line, "dataset", name, "changed", text, "name a file of the right kind, or another method")]


def _blocks(made: Migrated, sizes: list[float]) -> list[Note]:
    """Where their batches count full blocks: the rows that such a batch held, as far as can be told."""
    if not made.draft.rows_per_block or made.recipe is None:
        return []
    settings = made.recipe["train"][0]["settings"]
    rows, length = settings["batch_size"], settings["max_length"]
    if not sizes:
        text = f"an update there held {rows} full blocks of {length} tokens an accumulation step; here {rows} rows"
        return [
            Note(0, "batch_size", str(rows), "changed", text, f"set batch_size to {rows} x {length} / tokens a row")
        ]
    each = max(1, round(length / max(1.0, sum(sizes) / len(sizes))))
    if each == 1:
        return []
    settings["batch_size"] = rows * each
    mean = sum(sizes) / len(sizes)
    text = (
        f"{rows} full block(s) of {length} tokens there are about {rows * each} rows here: the first rows have about "
        f"{mean:.0f} tokens each (estimated at {_CHARACTERS_PER_TOKEN} characters a token)"
    )
    return [Note(0, "batch_size", str(rows), "changed", text, "count with your tokenizer: goldsmith show batch",
                 f"batch_size: {rows * each}")]  # fmt: skip


def _held_place(asked: Asked) -> Any:
    """Something in a placeholder's stead, so that the other settings can be looked at."""
    return plugins.build("rewards", "length") if asked.name == PLACEHOLDER and asked.kind == "rewards" else None


def _validate(recipe: dict[str, Any]) -> None:
    """Their settings may have no meaning here (a dropout of 1): say so as the recipe's own loader would."""
    for step in recipe["train"]:
        try:
            plugins.build("methods", step["method"], step["settings"], hand=_held_place)
        except BadInput as error:
            raise BadInput(
                f"a value of this file cannot be used: {error.what}",
                where=error.where,
                found=error.found,
                allowed=error.allowed,
                next_step="correct the value in their file and import again",
            ) from error
