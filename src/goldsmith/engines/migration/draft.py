"""What their file says, what becomes of each line, and the recipe that comes of it."""

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from goldsmith.engines.reading.json_text import show

Outcome = Literal["taken", "changed", "unsupported", "ignored", "unknown", "added"]
"""`taken`: means the same here. `changed`: taken, but does not mean quite the same. `unsupported`: asked for and not
done. `ignored`: has no say in what the model becomes, or is done anyway. `unknown`: not a key of theirs. `added`: not
in their file."""
Tool = Literal["llamafactory", "axolotl"]
TITLES: dict[Tool, str] = {"llamafactory": "LLaMA-Factory", "axolotl": "Axolotl"}


@dataclass(frozen=True, slots=True)
class Note:
    """What became of one line. `line` is 0 for what stands nowhere in their file; `to` is the recipe's setting."""

    line: int
    key: str
    found: str
    outcome: Outcome
    text: str
    next_step: str | None = None
    to: str | None = None


@dataclass(frozen=True, slots=True)
class Targets:
    """What this installation trains: the settings of each method by name, and the kinds of adapter."""

    methods: Mapping[str, frozenset[str]]
    adapter: frozenset[str]
    adapter_kinds: frozenset[str]


@dataclass(frozen=True, slots=True)
class Dataset:
    """One of their data sets. `file`: where its rows are or are to be put; `here`: whether they are. `format`: the row
    format that reads them; None: whichever recognises the rows."""

    name: str
    line: int
    file: Path
    here: bool
    format: str | None = None


class Given:
    """Their file: its values, and the line of each key. What is asked for counts as known."""

    def __init__(self, values: Mapping[str, Any], places: Mapping[tuple[str | int, ...], tuple[int, int]]) -> None:
        self.values, self._places = values, places
        self.read_keys: set[str] = set()

    def get(self, key: str, default: Any = None) -> Any:
        """The value; `default` where the key is missing or empty."""
        self.read_keys.add(key)
        value = self.values.get(key)
        return default if value is None else value

    def has(self, key: str) -> bool:
        """Whether the key is there with a value."""
        return self.values.get(key) is not None

    def line(self, *path: str | int) -> int:
        """The line a key stands on; 0 if it is not there."""
        return self._places.get(path, (0, 0))[0]


@dataclass(slots=True)
class Draft:
    """A recipe in the making. `settings` are the method's; `adapter` a part of them."""

    tool: Tool
    given: Given
    targets: Targets
    base: str = "goldsmith-nano"
    seed: int = 0
    method: str | None = None
    settings: dict[str, Any] = field(default_factory=dict)
    adapter: dict[str, Any] = field(default_factory=dict)
    parallel: dict[str, Any] = field(default_factory=dict)
    validation_share: float | None = None
    trackers: list[str] = field(default_factory=list)
    datasets: list[Dataset] = field(default_factory=list)
    rows_per_block: bool = False
    """Whether their batches count full blocks of tokens, not rows."""
    notes: list[Note] = field(default_factory=list)

    def note(
        self, key: str, outcome: Outcome, text: str, *, next_step: str | None = None, to: str | None = None
    ) -> None:
        """Say what became of a key."""
        self.given.read_keys.add(key)
        value = self.given.values.get(key)
        found = "not given" if value is None else "(hidden)" if _is_secret(key) else show(value)
        self.notes.append(Note(self.given.line(key), key, found, outcome, text, next_step, to))

    def put(self, key: str, setting: str, value: Any, text: str = "", *, changed: bool = False) -> None:
        """Take a key over as a setting of the method, or of its adapter (`adapter.rank`)."""
        name = setting.removeprefix("adapter.")
        (self.adapter if name != setting else self.settings)[name] = value
        given = self.given.has(key)
        outcome: Outcome = "changed" if changed else "taken" if given else "added"
        if not given and not text:
            text = f"{TITLES[self.tool]}'s default, written out because ours is another"
        self.note(key, outcome, text, to=f"{setting}: {show(value)}")

    def take_base(self, key: str) -> None:
        """Take the model over that the key names."""
        if (base := self.given.get(key)) is not None:
            self.base = str(base)
            self.note(key, "taken", "", to=f"base: {self.base}")

    def can(self, setting: str) -> bool:
        """Whether the method chosen has this setting here."""
        if setting.startswith("adapter."):
            return setting.removeprefix("adapter.") in self.targets.adapter
        return self.method is not None and setting in self.targets.methods[self.method]

    def missing(self, key: str, what: str, next_step: str) -> None:
        """A key that asks for what is not done here."""
        self.note(key, "unsupported", what, next_step=next_step)


def _is_secret(key: str) -> bool:
    return key.endswith(("api_key", "_token", "_secret", "webhook_url"))


def number(value: Any) -> float | None:
    """A number, also one that YAML 1.1 reads as text (`1e-5`); None for anything else."""
    if isinstance(value, bool):
        return None
    if isinstance(value, int | float):
        return float(value)
    try:
        return float(value) if isinstance(value, str) else None
    except ValueError:
        return None


def whole(value: Any) -> int | None:
    """A whole number, or None."""
    found = number(value)
    return int(found) if found is not None and found == int(found) else None


def truth(value: Any) -> bool:
    """What both tools take for yes: YAML 1.1's words too."""
    return value is True or (isinstance(value, str) and value.lower() in ("true", "yes", "on", "1")) or value == 1


def listed(value: Any) -> list[str]:
    """Names in a list, or in a text with commas."""
    if isinstance(value, str):
        return [part.strip() for part in value.split(",") if part.strip()]
    return [str(item) for item in value] if isinstance(value, list | tuple) else []


_PARTS = ("lora_", "peft_", "ppo_", "dpo_", "kto_", "badam_", "galore_", "apollo_", "oft_", "kt_", "export_", "freeze_")
"""What begins so says nothing without the switch it belongs to."""


def account_for_the_rest(
    draft: Draft, ignored: Mapping[str, str], unsupported: Mapping[str, tuple[str, str]], known: Iterable[str]
) -> None:
    """Notes on every key that nothing has taken: why it has no say, what to do instead, or that it is no key."""
    names = sorted({*ignored, *unsupported, *known, *draft.given.read_keys})
    for key in draft.given.values:
        if key in draft.given.read_keys:
            continue
        value = draft.given.values[key]
        if key in unsupported:
            what, step = unsupported[key]
            off = value is None or value is False or value in ("none", "no", "")
            draft.note(key, "ignored", "switched off") if off else draft.missing(key, what, step)
        elif key in ignored:
            draft.note(key, "ignored", ignored[key])
        elif key in known and draft.method is None:
            draft.note(key, "ignored", "not looked at: nothing is trained without the method")
        elif key in known and key.startswith(_PARTS):
            draft.note(key, "ignored", "belongs to something that this file does not ask for")
        elif key in known:
            draft.missing(key, "there is no counterpart here", "take it out, or say what you need it for")
        else:
            close = difflib.get_close_matches(key, names, n=1, cutoff=0.6)
            title = TITLES[draft.tool]
            draft.note(
                key,
                "unknown",
                f"{title} has no such key" + (f"; did you mean {close[0]!r}?" if close else ""),
                next_step=f"correct it to {close[0]!r} and import again" if close else "take it out",
            )
