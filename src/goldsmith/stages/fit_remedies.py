"""What would make a run fit: changes of its settings, those that cost least first, each worked out anew."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from goldsmith.engines.fit.estimate import Memory, Sharing
from goldsmith.engines.fit.hardware import Machine
from goldsmith.engines.fit.work import Work, memory_for, simulated
from goldsmith.engines.training.data.prepare import FORWARD_TOKENS
from goldsmith.stages.fit import build
from goldsmith.types.errors import BadInput

LEAST_FORWARD = 512
DEVICES = (2, 4, 8)


@dataclass(frozen=True, slots=True)
class Remedy:
    """A change on top of those before it; what the run takes then, and what the change costs."""

    change: str
    cost: str
    total: int
    fits: bool


@dataclass(frozen=True, slots=True)
class _Change:
    text: str
    cost: str
    settings: dict[str, Any]
    devices: int = 1


def remedies(config: Any, work: Work, machine: Machine) -> list[Remedy]:
    """The changes that it takes, none of which can be left out; or all that there are, where they do not suffice.

    What is always there (weights and optimiser) decides whether other weights have to be trained, or held otherwise;
    only where it has room are activations made fewer, which costs less.
    """
    trial = _Trial(config, work, machine)
    base: list[_Change] = []
    for heavy in (None, *_heavy(work, machine.device)):
        base = base if heavy is None else [heavy]
        if not trial.has_room(base):
            continue
        taken = list(base)
        for change in (None, *_light(work, machine.device)):
            if change is not None:
                taken = [one for one in taken if one.settings.keys() != change.settings.keys()] + [change]
            if trial.fits(taken):
                return trial.told(_needed(trial, taken))
    return trial.told([*base, *_last_of_each(_light(work, machine.device))])


def _needed(trial: "_Trial", taken: list[_Change]) -> list[_Change]:
    for change in list(taken[:-1]):
        fewer = [one for one in taken if one is not change]
        if trial.fits(fewer):
            taken = fewer
    return taken


def _last_of_each(changes: Iterator[_Change]) -> list[_Change]:
    return list({tuple(change.settings): change for change in changes}.values())


def _light(work: Work, device: str) -> Iterator[_Change]:
    """Changes that leave what is trained as it is."""
    settings = work.settings
    if device == "cuda" and settings.precision == "float32":
        yield _Change("precision: bfloat16_mixed", "none on a GPU: it is faster", {"precision": "bfloat16_mixed"})
    for tokens in _smaller(work, device):
        yield _Change(f"forward_tokens: {tokens}", "some speed: smaller products", {"forward_tokens": tokens})
    if not settings.activation_checkpointing:
        again = {"activation_checkpointing": True}
        yield _Change("activation_checkpointing: true", "about a third more time", again)
    if device == "cuda" and not settings.activation_offload:
        away = {"activation_checkpointing": True, "activation_offload": True}
        yield _Change(
            "activation_checkpointing: true, activation_offload: true", "a third more time, and main memory", away
        )


def _heavy(work: Work, device: str) -> Iterator[_Change]:
    """Changes of what is trained, or of what holds it; each in place of the one before."""
    settings = work.settings
    adapter = settings.adapter.kind
    if adapter == "none":
        lora = {"adapter": {"kind": "lora", "rank": 16}, "precision": "bfloat16"}
        yield _Change(_written(lora), "an adapter learns less than all weights can", lora)
    elif settings.precision != "bfloat16":
        yield _Change("precision: bfloat16", "the frozen base is rounded", {"precision": "bfloat16"})
    if device == "cuda" and adapter != "qlora":
        four = {"adapter": {"kind": "qlora", "rank": 16}, "precision": "bfloat16"}
        yield _Change(_written(four), "the base is rounded to four bits", four)
    if device == "cuda" and adapter != "qlora" and _shards(work):
        for devices in DEVICES:
            yield _Change(f"parallel: {{shard: full}} on {devices} such GPUs", f"{devices} GPUs", {}, devices)


def _shards(work: Work) -> bool:
    """Whether the method's models can be cut: neither a value head nor answers written by vLLM."""
    online = work.online
    return online is None or (online.generate.engine == "builtin" and not online.has_value_head)


def _smaller(work: Work, device: str) -> Iterator[int]:
    """A quarter of the tokens in a forward, and as few as the longest row has."""
    tokens = work.settings.forward_tokens or FORWARD_TOKENS[device]
    least = max(LEAST_FORWARD, max(row.longest for row in work.rows))
    yield from [size for size in (tokens // 4, least) if least <= size < tokens]


def _written(settings: dict[str, Any]) -> str:
    adapter = settings["adapter"]
    return f"adapter: {{kind: {adapter['kind']}, rank: {adapter['rank']}}}, precision: {settings['precision']}"


class _Trial:
    """The run with changes, worked out once for each set of them."""

    def __init__(self, config: Any, work: Work, machine: Machine) -> None:
        self.config, self.work, self.machine = config, work, machine
        self._known: dict[str, Memory | None] = {}

    def memory(self, changes: Sequence[_Change]) -> Memory | None:
        """By part; None for settings that cannot be."""
        settings = json.loads(self.work.settings.model_dump_json(exclude_defaults=True))
        for change in changes:
            settings |= change.settings
        devices = max((change.devices for change in changes), default=1)
        key = json.dumps([settings, devices], sort_keys=True)
        if key not in self._known:
            self._known[key] = self._worked_out(settings, devices)
        return self._known[key]

    def _worked_out(self, settings: dict[str, Any], devices: int) -> Memory | None:
        try:
            built = build(self.work.method, settings)
        except BadInput:
            return None
        sharing = Sharing(devices, shards=True) if devices > 1 else self.work.sharing
        changed = replace(self.work, settings=built, sharing=sharing)
        device = self.machine.device
        run = simulated(self.config, changed, device)
        return memory_for(self.config, changed, run, device, self.machine.memory)

    def has_room(self, changes: Sequence[_Change]) -> bool:
        """Whether weights and optimiser alone do not fill the machine."""
        found = self.memory(changes)
        return found is not None and found.weights + found.optimiser < self.machine.memory

    def fits(self, changes: Sequence[_Change]) -> bool:
        found = self.memory(changes)
        return found is not None and found.total <= self.machine.memory

    def told(self, changes: Sequence[_Change]) -> list[Remedy]:
        """Each change on top of those before it; settings that cannot be are left out."""
        room, told = self.machine.memory, []
        for place, change in enumerate(changes):
            if (found := self.memory(changes[: place + 1])) is not None:
                told.append(Remedy(change.text, change.cost, found.total, found.total <= room))
        return told
