"""Model or recipe, machine -> does it fit, what it takes, and what would make it fit. No weights are loaded."""

import json
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from goldsmith import plugins
from goldsmith.engines.fit import known
from goldsmith.engines.fit.estimate import ADAPTER_HEAP, Memory, as_dict, flops_of, memory_of, seconds_of, serving_bytes
from goldsmith.engines.fit.hardware import GPUS, Machine, cpu_tflops, detect
from goldsmith.engines.fit.simulate import Reads, Simulated, count, heaviest, meta_model, simulate, stated_rows
from goldsmith.engines.training.batches import pack
from goldsmith.engines.training.data import plan_of, prepare_data
from goldsmith.engines.training.judged import judged
from goldsmith.engines.training.rows import Row
from goldsmith.engines.training.settings import TrainingSettings
from goldsmith.types.errors import BadInput, Unavailable
from goldsmith.types.recipe import Recipe
from goldsmith.types.record import Record

WHOLE_ANSWERS = ("dpo", "simpo", "orpo", "kto", "grpo", "rloo", "ppo")
"""Methods whose loss reads log-probabilities of answers."""
PAIRS = ("dpo", "simpo", "orpo", "reward_model")
JUDGED = ("reward_model", "process_reward")
"""Methods whose model ends in a number."""
_UPDATES_LOOKED_AT = 50


@dataclass(frozen=True, slots=True)
class Work:
    """What is trained: the rows, and in which forwards. `stated`: the lengths are an assumption, not the data's."""

    method: str
    settings: TrainingSettings
    rows: tuple[Row, ...]
    stated: bool


@dataclass(frozen=True, slots=True)
class Fit:
    """One machine. `seconds`: from best to worst for the whole run; None where the machine's speed is not known."""

    machine: Machine
    memory: Memory
    fits: bool
    seconds: tuple[float, float] | None


@dataclass(frozen=True, slots=True)
class Remedy:
    """A change of settings, and the memory it would take."""

    change: str
    total: int
    fits: bool


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


def stated_work(method: str, settings: TrainingSettings, *, prompt: int, answer: int, rows: int) -> Work:
    """Rows that all have the stated length."""
    if prompt + answer > settings.max_length:
        raise BadInput(
            "the stated rows are longer than max_length",
            found=f"{prompt} + {answer} tokens",
            allowed=str(settings.max_length),
            next_step="set max_length in the recipe, or state shorter rows",
        )
    branches = 2 if method in PAIRS else 1 if method in WHOLE_ANSWERS else 0
    made = stated_rows(prompt, answer, branches, rows)
    return Work(method, settings, tuple(judged(row) for row in made) if method in JUDGED else tuple(made), True)


def data_work(method: str, spec: Any, records: Sequence[Record], base: str) -> Work:
    """The rows of real records, in the model's own tokens; its tokenizer has to be here."""
    from goldsmith.engines.chat import open_chat

    settings: TrainingSettings = spec
    lenient = settings.model_copy(update={"early_stopping_patience": 0})
    with tempfile.TemporaryDirectory() as folder:
        data = prepare_data(spec, lenient, open_chat(base), records, None, None, Path(folder))
    read = tuple(judged(row) for row in data.train) if method == "reward_model" else data.train
    return Work(method, settings, read, False)


def simulated(config: Any, work: Work, device: str) -> Simulated:
    """The heaviest forwards of the run, followed."""
    plan = plan_of(work.settings, work.rows, 0, device=device, share=True)
    updates: list[list[list[int]]] = []
    for step in range(min(plan.steps, _UPDATES_LOOKED_AT)):
        chosen = plan.rows_of(step)
        if plan.forward_tokens:
            sizes = [work.rows[i].tokens for i in chosen]
            updates.append([[chosen[i] for i in members] for members in pack(sizes, plan.forward_tokens)])
        else:
            each = plan.forward_rows
            updates.append([chosen[low : low + each] for low in range(0, len(chosen), each)])
    return simulate(config, work.settings, heaviest(work.rows, updates), device=device, reads=reads_of(work.method))


def reads_of(method: str) -> Reads:
    """What the method's loss reads."""
    return "scores" if method in JUDGED else "answers" if method in WHOLE_ANSWERS else "tokens"


def fit_rows(base: Path, method: str, spec: Any, records: Sequence[Record], *, device: str) -> Mapping[str, int]:
    """Bytes by part for records at hand."""
    work = data_work(method, spec, records, str(base))
    return as_dict(memory_of(simulated(config_of(str(base))[0], work, device), device=device))


def build(method: str, settings: Mapping[str, Any]) -> TrainingSettings:
    """A method's settings. Errors: BadInput naming a misspelt one."""
    return cast(TrainingSettings, plugins.build("methods", method, settings))


def fit_on(config: Any, work: Work, machines: Sequence[Machine]) -> list[Fit]:
    """The run on each machine."""
    runs = {device: simulated(config, work, device) for device in sorted({one.device for one in machines})}
    return [_one(work, runs[machine.device], machine) for machine in machines]


def _one(work: Work, run: Simulated, machine: Machine) -> Fit:
    memory = memory_of(run, device=machine.device)
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
    return Fit(machine, memory, fits(memory, settings, machine), seconds_of(flops, machine, speed))


def fits(memory: Memory, settings: TrainingSettings, machine: Machine) -> bool:
    """Whether there is room; under an adapter on a CPU, for a heap twice as large as what lives in it."""
    holes = ADAPTER_HEAP if machine.device == "cpu" and settings.adapter.kind != "none" else 1.0
    return memory.total * holes <= machine.memory


def remedies(config: Any, work: Work, machine: Machine) -> Iterator[Remedy]:
    """Changes of settings, each on top of those before, until the run fits."""
    longest = max(row.longest for row in work.rows)
    changes: list[tuple[str, dict[str, Any]]] = [
        (f"forward_tokens: {max(longest, 512)}", {"forward_tokens": max(longest, 512)}),
        ("activation_checkpointing: true", {"activation_checkpointing": True}),
    ]
    if work.settings.adapter.kind == "none":
        changes.append(("adapter: {kind: lora, rank: 16}", {"adapter": {"kind": "lora", "rank": 16}}))
    if work.settings.precision != "bfloat16":
        changes.append(("precision: bfloat16 (with the adapter)", {"precision": "bfloat16"}))
    settings = json.loads(work.settings.model_dump_json(exclude_defaults=True))
    for text, more in changes:
        settings = {**settings, **more}
        try:
            built = build(work.method, settings)
        except BadInput:
            continue
        run = simulated(config, Work(work.method, built, work.rows, work.stated), machine.device)
        memory = memory_of(run, device=machine.device)
        enough = fits(memory, built, machine)
        yield Remedy(text, memory.total, enough)
        if enough:
            return


def recipe_work(recipe: Recipe, folder: Path, step: int, *, prompt: int, answer: int) -> Work:
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
        return data_work(chosen.method, settings, [row.record for part in rows for row in part], base)
    return stated_work(chosen.method, settings, prompt=prompt, answer=answer, rows=1000)


WAYS: dict[str, dict[str, Any]] = {
    "full": {"precision": "bfloat16_mixed"},
    "lora": {"precision": "bfloat16", "adapter": {"kind": "lora", "rank": 16}},
}
"""How a model may be tuned, for the list of what this machine can do."""


@dataclass(frozen=True, slots=True)
class Ability:
    """Bytes that it takes to tune (by way) and to serve a model here; None where it is far too much to work out."""

    model: str
    parameters: int
    tune: Mapping[str, int | None]
    serve: int


def abilities(machine: Machine, *, length: int = 1024) -> Iterator[Ability]:
    """What this machine can do with each known model: rows of `length` tokens one at a time, activations recomputed."""
    for one in known.KNOWN:
        document = dict(one.config)
        kind = document.pop("model_type")
        from transformers import AutoConfig

        config = AutoConfig.for_model(kind, **document)
        found: dict[str, int | None] = {}
        for way, settings in WAYS.items():
            least = one.parameters * (16 if way == "full" else 2)
            if least > machine.memory:
                found[way] = None
                continue
            more = {"max_length": length, "forward_tokens": length, "activation_checkpointing": True, "batch_size": 1}
            work = stated_work(
                "sft", build("sft", {**settings, **more}), prompt=length // 2, answer=length // 2, rows=2
            )
            found[way] = memory_of(simulated(config, work, machine.device), device=machine.device).total
        counts = count(meta_model(config, build("sft", {})))
        serve = serving_bytes(counts, context=4096, answers=1, device=machine.device)
        yield Ability(one.name, one.parameters, found, serve)


def machines_for(name: str | None) -> list[Machine]:
    """This machine and the table's GPUs, or those whose name has `name` in it. Errors: BadInput if none has."""
    every = [*detect(), *GPUS]
    if name is None:
        return every
    chosen = [one for one in every if name.lower() in one.name.lower()]
    if not chosen:
        raise BadInput("there is no such machine", found=name, allowed=", ".join(one.name for one in every))
    return chosen
