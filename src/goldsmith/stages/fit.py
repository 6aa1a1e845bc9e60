"""Model or recipe, machine -> does it fit, what it takes, and what would make it fit. No weights are loaded."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

from goldsmith import plugins
from goldsmith.engines.fit import known, writing
from goldsmith.engines.fit.estimate import (
    ALONE,
    Memory,
    Sharing,
    as_dict,
    flops_of,
    seconds_of,
    serving_bytes,
)
from goldsmith.engines.fit.hardware import GPUS, Machine, cpu_tflops, detect
from goldsmith.engines.fit.simulate import (
    Simulated,
    count,
    meta_model,
)
from goldsmith.engines.fit.work import Work, data_work, memory_for, simulated, stated_work
from goldsmith.engines.training.data.prepare import plan_of
from goldsmith.engines.training.settings import TrainingSettings
from goldsmith.types.errors import BadInput, Unavailable
from goldsmith.types.recipe import Recipe
from goldsmith.types.record import Record


@dataclass(frozen=True, slots=True)
class Fit:
    """One machine. `seconds`: from best to worst for the whole run; None where the machine's speed is not known.
    `notes`: what a reader should know about the figures."""

    machine: Machine
    memory: Memory
    fits: bool
    seconds: tuple[float, float] | None
    notes: tuple[str, ...] = ()


def config_of(model: str) -> tuple[Any, str]:
    """A model's config and where it is from: a folder or config.json, the built-in table, or transformers' own cache.

    Nothing is downloaded. Errors: Unavailable if it is nowhere here; BadInput if it is no config.
    """
    from transformers import AutoConfig

    from goldsmith import nano

    path = nano.model_path() if model == "goldsmith-nano" else Path(model).expanduser()
    path = path / "config.json" if path.is_dir() else path
    if path.is_file():
        try:
            document = json.loads(path.read_text(encoding="utf-8"))
            return AutoConfig.for_model(document.pop("model_type"), **document), str(path)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise BadInput("this is no model's config.json", where=str(path), found=str(error)[:160]) from error
    listed = known.find(model)
    if listed is not None:
        document = dict(listed.config)
        return AutoConfig.for_model(document.pop("model_type"), **document), listed.source
    try:
        return AutoConfig.from_pretrained(model, local_files_only=True, trust_remote_code=False), f"{model} (cached)"
    except (OSError, ValueError) as error:
        raise Unavailable(
            "there is no config of this model here, and nothing is downloaded",
            found=model,
            allowed="a folder, a config.json, or one of: " + ", ".join(one.name for one in known.KNOWN),
            next_step="download its config.json (a few kilobytes) and name that file",
        ) from error


def fit_rows(base: Path, method: str, spec: Any, records: Sequence[Record], *, device: str) -> Mapping[str, int]:
    """Bytes by part for records at hand."""
    work, config = data_work(method, spec, records, str(base)), config_of(str(base))[0]
    return as_dict(memory_for(config, work, simulated(config, work, device), device))


def build(method: str, settings: Mapping[str, Any]) -> TrainingSettings:
    """A method's settings. Errors: BadInput naming a misspelt one."""
    return cast(TrainingSettings, plugins.build("methods", method, settings))


def fit_on(config: Any, work: Work, machines: Sequence[Machine]) -> list[Fit]:
    """The run on each machine."""
    runs = {device: simulated(config, work, device) for device in sorted({one.device for one in machines})}
    return [_one(config, work, runs[machine.device], machine) for machine in machines]


def _one(config: Any, work: Work, run: Simulated, machine: Machine) -> Fit:
    memory = memory_for(config, work, run, machine.device, machine.memory)
    settings = work.settings
    plan = plan_of(settings, work.rows, 0, device=machine.device, share=True)
    share = plan.steps * plan.rows_per_update / len(work.rows)
    tokens = sum(row.tokens for row in work.rows)
    labels = sum(int(node.trained.sum()) for row in work.rows for node in row.nodes)
    flops = share * flops_of(
        run.counts,
        tokens=tokens,
        labels=labels,
        mean_context=sum(row.longest for row in work.rows) / len(work.rows),
        adapter=settings.adapter.kind != "none",
        checkpointing=settings.activation_checkpointing,
        extra=tokens if work.method in ("dpo", "kto") else 0,
    )
    speed = cpu_tflops() if machine.device == "cpu" else None
    notes: tuple[str, ...] = ()
    if (online := work.online) is not None:
        longest = writing.longest(online, work.longest, config)
        notes = tuple(writing.said(online, run.counts, longest, device=machine.device, room=machine.memory))
    seconds = seconds_of(flops / work.sharing.devices, machine, speed)
    return Fit(machine, memory, memory.total <= machine.memory, seconds, notes)


def recipe_work(recipe: Recipe, folder: Path, step: int, asked: "Asked") -> Work:
    """The work of a recipe's training step: with its data where the files and the base's tokenizer are here, else with
    rows of the stated length."""
    from goldsmith import nano
    from goldsmith.stages.collect import read_source

    if not 1 <= step <= len(recipe.train):
        raise BadInput("the recipe has no such training step", found=str(step), allowed=f"1 to {len(recipe.train)}")
    chosen = recipe.train[step - 1]
    settings = build(chosen.method, chosen.settings)
    base = str(nano.model_path()) if recipe.base == "goldsmith-nano" else recipe.base
    files = [folder / one.file for one in recipe.sources if one.file is not None]
    if Path(base).is_dir() and len(files) == len(recipe.sources) and all(file.exists() for file in files):
        rows = [read_source(folder / str(one.file), one).rows for one in recipe.sources]
        work = data_work(chosen.method, settings, [row.record for part in rows for row in part], base)
    else:
        work = stated_work(chosen.method, settings, prompt=asked.prompt, answer=asked.answer, rows=1000)
    sharing = asked.sharing
    if recipe.parallel.shard == "full" and sharing.devices > 1:
        sharing = replace(sharing, shards=True)
    return replace(work, sharing=sharing)


WAYS: dict[str, dict[str, Any]] = {
    "full": {"precision": "bfloat16_mixed"},
    "lora": {"precision": "bfloat16", "adapter": {"kind": "lora", "rank": 16}},
    "qlora": {"precision": "bfloat16", "adapter": {"kind": "qlora", "rank": 16}},
}
"""How a model may be tuned, where there is no recipe. Four bits need a GPU."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What is asked of a model without a recipe. `least`: with the settings that take the least memory: one row at a
    time, and activations computed again."""

    method: str = "sft"
    prompt: int = 256
    answer: int = 256
    least: bool = False
    sharing: Sharing = ALONE

    def work(self, way: str) -> Work:
        """As rows and settings."""
        length = self.prompt + self.answer
        settings: dict[str, Any] = {**WAYS[way], "max_length": max(1024, length)}
        if self.least:
            settings |= {"forward_tokens": max(1, length), "activation_checkpointing": True, "batch_size": 1}
        built = build(self.method, {**settings, **_NEEDED.get(self.method, {})})
        work = stated_work(self.method, built, prompt=self.prompt, answer=self.answer, rows=2 if self.least else 1000)
        return replace(work, sharing=self.sharing)


_NEEDED: dict[str, dict[str, Any]] = {
    method: {"rewards": ({"reward": "length"},)} for method in ("grpo", "rloo", "ppo", "raft")
}
"""Settings that methods want and that take no memory."""


def model_fits(config: Any, asked: Asked, way: str, machines: Sequence[Machine]) -> list[Fit]:
    """A model tuned in one way on each machine; what both `goldsmith fit MODEL` and the list of models say."""
    usable = [one for one in machines if way != "qlora" or one.device == "cuda"]
    return fit_on(config, asked.work(way), usable)


@dataclass(frozen=True, slots=True)
class Ability:
    """Bytes that it takes to tune a model here, by way, and to serve it; None where its weights alone are too large, or
    the way is none here."""

    model: str
    parameters: int
    tune: Mapping[str, int | None]
    serve: int


def abilities(machine: Machine, asked: Asked) -> Iterator[Ability]:
    """What this machine can do with each known model."""
    for one in known.KNOWN:
        config, _ = config_of(one.name)
        found: dict[str, int | None] = {}
        for way in WAYS:
            weights = one.parameters * {"full": 16, "lora": 2, "qlora": 0.5}[way] / asked.sharing.devices
            fits = [] if weights > machine.memory else model_fits(config, asked, way, [machine])
            found[way] = fits[0].memory.total if fits else None
        counts = count(meta_model(config, build("sft", {})))
        serve = serving_bytes(counts, context=4096, answers=1, device=machine.device)
        yield Ability(one.name, one.parameters, found, serve)


def with_gpus(machines: Sequence[Machine]) -> list[Machine]:
    """Those that are GPUs. Errors: Unavailable if none is."""
    found = [one for one in machines if one.device == "cuda"]
    if not found:
        raise Unavailable("four bits need a GPU", found=", ".join(one.name for one in machines), allowed="lora or full")
    return found


def machines_for(name: str | None) -> list[Machine]:
    """This machine and the table's GPUs, or those whose name has `name` in it. Errors: BadInput if none has."""
    every = [*detect(), *GPUS]
    if name is None:
        return every
    chosen = [one for one in every if name.lower() in one.name.lower()]
    if not chosen:
        raise BadInput("there is no such machine", found=name, allowed=", ".join(one.name for one in every))
    return chosen
