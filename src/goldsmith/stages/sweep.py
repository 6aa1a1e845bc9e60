"""Release, base, a step's settings -> which settings are worth their memory and time; no test is looked at."""

import fcntl
import json
import math
import os
import shutil
import signal
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal, cast

import goldsmith
from goldsmith import plugins
from goldsmith.engines.splits import carve_records
from goldsmith.engines.sweeping.account import Ended, Swept, account
from goldsmith.engines.sweeping.grid import Candidate, candidates, settings_of
from goldsmith.engines.sweeping.halving import rungs, survivors
from goldsmith.engines.sweeping.handing import handing
from goldsmith.engines.sweeping.process import Attempt, attempt
from goldsmith.engines.sweeping.state import Result, State
from goldsmith.engines.training.settings import TrainingSettings
from goldsmith.engines.yaml_file import dump_yaml
from goldsmith.trust import canonical, records
from goldsmith.trust.durable import replace
from goldsmith.trust.workspace import Workspace
from goldsmith.types.artifact import Digest
from goldsmith.types.errors import BadInput, Unavailable
from goldsmith.types.recipe import EvalEntry, Recipe, Sweep, SweepObjective
from goldsmith.types.record import Record

WORKER = "goldsmith.stages.sweep_candidate"
Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class _Work:
    """What every attempt shares."""

    sweep: Sweep
    method: str
    given: dict[str, Any]
    steps: int
    base: Path
    seed: int
    tried: tuple[Candidate, ...]
    rungs: tuple[int, ...]
    folder: Path
    device: str
    models: Mapping[Digest, str]
    weighted: bool
    """Whether rows count by trust, which is then in `trust.json`."""

    def settings(self, number: int) -> dict[str, Any]:
        """Of a run in full: validated at its end, never ended early by itself."""
        own = {"max_steps": self.steps, "evaluate_every": self.steps, "early_stopping_patience": 0}
        return {**settings_of(self.tried[number], self.given), **own}

    def place(self, number: int) -> Path:
        return self.folder / f"candidate-{number:04d}"


def sweep(
    ws: Workspace,
    recipe: Recipe,
    release_records: tuple[Digest, Sequence[Record]],
    wanted: Sequence[Record],
    base: tuple[Digest, Path],
    *,
    models: Mapping[Digest, str] = MappingProxyType({}),
    trust: Mapping[Digest, float] | None = None,
    device: Literal["auto", "cpu", "cuda"] = "auto",
    say: Say = lambda _: None,
) -> Swept:
    """Try the recipe's `sweep` on one of its training steps; `wanted`: the release's records that the step learns from.
    `models`: the folders of those that the step names by digest. `trust`: by record digest, for `trust_weighting`.

    A candidate that fails is a row with its reason. Started again with the same settings it goes on where it stopped,
    whatever the budget is then. Nothing is stated in the workspace.
    Errors: BadInput (settings, too few rows), Unavailable (a full disk; another sweep of the same is running).
    """
    wish = recipe.sweep or Sweep()
    step = recipe.train[wish.step - 1]
    require_untested(wish.objective, recipe.examine)
    training, validation = carve_records(
        release_records[1], wanted, recipe.validation_share, float(wish.validation_share)
    )
    if not validation:
        raise BadInput(
            "no rows could be set aside to compare candidates on",
            found=f"{len(wanted)} records that {step.method} learns from",
            next_step="raise sweep.validation_share, or give more data with different prompts",
        )
    built = _built(step.method, step.settings, models)
    weighted = bool(getattr(built, "trust_weighting", False))
    steps = _steps(built, len(training))
    tried = candidates(wish, recipe.seed)
    identity = [release_records[0], base[0], step.method, step.settings, steps, recipe.seed, goldsmith.__version__]
    told = [*identity, recipe.validation_share, wish.model_dump(mode="json", exclude={"budget"}), device]
    if weighted:
        told.append(dict(sorted((trust or {}).items())))
    key = canonical.digest(json.dumps(told, sort_keys=True).encode())[7:23]
    compared = tuple(rungs(len(tried), steps, wish.min_steps, wish.eta))
    folder = ws.scratch / "sweeps" / key
    given = dict(step.settings)
    work = _Work(
        wish, step.method, given, steps, base[1], recipe.seed, tuple(tried), compared, folder, device, models, weighted
    )
    for number in range(len(tried)):
        _built(step.method, work.settings(number), models)  # a misspelt setting fails before any work
    with _alone(folder):
        replace(folder / "train.jsonl", records.blob(training))
        replace(folder / "validation.jsonl", records.blob(validation))
        if weighted:
            replace(folder / "trust.json", json.dumps(dict(trust or {}), sort_keys=True).encode())
        state = State.read(folder / "state.json")
        if state.results:
            say(f"going on: {len(state.results)} results of an earlier start are there")
        ended, complete = _halve(work, state, say)
        if ended == "done":
            for number in range(len(tried)):
                _clear(work.place(number))
    return account(
        [(candidate, settings_of(candidate, given)) for candidate in tried],
        state,
        rungs=compared,
        ended=ended,
        complete=complete,
        price=None if wish.budget is None else wish.budget.euros_per_hour,
        rows=(len(training), len(validation)),
        folder=folder,
    )


def require_untested(objective: str | SweepObjective, tests: Sequence[EvalEntry]) -> None:
    """Refuse to choose settings by what the model will be examined with: the same eval, or a file that it reads.

    Measures, which read the rows they are handed, are no test of their own. Errors: BadInput, also of unknown settings.
    """
    if isinstance(objective, str):
        return
    built = plugins.build("evals", objective.eval, objective.settings)
    if hasattr(built, "measure"):
        return
    mine = set(_files(objective.settings))
    for test in tests:
        same = test.eval == objective.eval and plugins.build("evals", test.eval, test.settings) == built
        shared = mine & set(_files(test.settings))
        if same or shared:
            raise BadInput(
                "the sweep would choose settings by the recipe's own test",
                where="sweep.objective",
                found=f"{objective.eval}, as in examine" + (f": {', '.join(sorted(shared))}" if shared else ""),
                allowed="an eval over data that examine does not use, or validation_loss",
                next_step="split the eval's file in two: one to choose by, one to examine with",
            )


def _files(settings: object) -> Iterator[str]:
    if isinstance(settings, dict):
        settings = list(settings.values())
    if isinstance(settings, list | tuple):
        for one in settings:
            yield from _files(one)
    elif isinstance(settings, str) and os.path.exists(settings):
        yield os.path.realpath(settings)


def _built(method: str, settings: dict[str, Any], models: Mapping[Digest, str]) -> TrainingSettings:
    return cast(TrainingSettings, plugins.build("methods", method, settings, hand=handing(models)))


def _steps(built: TrainingSettings, rows: int) -> int:
    """Steps of a whole run, as training itself would count them."""
    if built.max_steps is not None:
        return built.max_steps
    per_epoch = math.ceil(rows / (built.batch_size * built.gradient_accumulation))
    return max(1, round(float(built.epochs) * per_epoch))


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("wb") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise Unavailable("this sweep is running already", where=str(folder)) from error
        yield


# ---- halving -------------------------------------------------------------------------------------------------------


def _halve(work: _Work, state: State, say: Say) -> tuple[Ended, int]:
    """How it ended, and the last rung that all who came to it were taken to (-1: none)."""
    budget = math.inf if work.sweep.budget is None else work.sweep.budget.seconds
    alive = list(range(len(work.tried)))
    for rung, until in enumerate(work.rungs):
        say(f"rung {rung + 1} of {len(work.rungs)}: {len(alive)} candidate(s) up to step {until}")
        for number in alive:
            if state.find(number, rung) is not None:
                continue
            result = _taken(work, state, number, rung, budget)
            if result is None:
                say("out of budget")
                return "out of budget", rung - 1
            state.put(result)
            say(f"  {work.tried[number]}: {result.reason or f'{result.quality:.4f}'}")
        scores = {number: _score(state, number, rung) for number in alive}
        went_on = survivors(scores, work.sweep.eta)
        if not went_on:
            return "nothing trained" if rung == 0 else "done", rung
        for number in set(alive) - set(went_on):
            _clear(work.place(number))
        alive = went_on
    return "done", len(work.rungs) - 1


def _score(state: State, number: int, rung: int) -> float:
    found = state.find(number, rung)
    return math.inf if found is None or found.score is None else found.score


def _clear(place: Path) -> None:
    """Take a candidate's weights away; its metrics stay."""
    for name in ("checkpoints", "best", "model"):
        shutil.rmtree(place / name, ignore_errors=True)


def _taken(work: _Work, state: State, number: int, rung: int, budget: float) -> Result | None:
    """Take a candidate to a rung; None if the budget ended before."""
    left = budget - state.spent
    if left <= 0:
        return None
    objective = work.sweep.objective
    task = {
        "method": work.method,
        "settings": work.settings(number),
        "base": str(work.base),
        "seed": work.seed,
        "train": str(work.folder / "train.jsonl"),
        "validation": str(work.folder / "validation.jsonl"),
        "cache": str(work.folder / "tokens"),
        "folder": str(work.place(number)),
        "answer": str(work.place(number) / "answer.json"),
        "until": work.rungs[rung],
        "objective": None if isinstance(objective, str) else objective.model_dump(mode="json"),
        "device": work.device,
        "models": dict(work.models),
        "trust": str(work.folder / "trust.json") if work.weighted else None,
    }

    def tick(seconds: float) -> None:
        state.running_seconds = seconds
        state.write()

    try:
        done = attempt(WORKER, task, work.place(number), seconds=left, tick=tick)
    except KeyboardInterrupt:
        state.lose(state.running_seconds)
        raise
    if done.answer is None and done.told:
        state.lose(done.seconds)
        return None
    return _result(work, number, rung, done)


def _result(work: _Work, number: int, rung: int, done: Attempt) -> Result:
    if done.answer is None:
        return Result(number, rung, "failed", seconds=done.seconds, reason=_end(done))
    answer = dict(done.answer)
    if (kind := answer.pop("error", None)) is not None:
        reason = f"{kind}: {answer.pop('reason')}"
        if (
            kind == "Unavailable" and work.tried[number].tune != "qlora"
        ):  # no candidate's doing: the next would fail too
            raise Unavailable(reason, where=str(work.place(number)), next_step="mend it and start the sweep again")
        return Result(number, rung, "failed", seconds=done.seconds, reason=reason, **answer)
    objective = work.sweep.objective
    highest = isinstance(objective, SweepObjective) and objective.best == "highest"
    score = -answer["quality"] if highest else answer["quality"]
    return Result(number, rung, "ok", score=score, seconds=done.seconds, **answer)


def _end(done: Attempt) -> str:
    if done.exit_code == -signal.SIGKILL:
        return "killed (signal 9): as a rule the machine's memory did not suffice"
    if done.exit_code < 0:
        return f"ended by signal {-done.exit_code}"
    return f"ended with exit code {done.exit_code}: {done.last_words[:200]}"


def write_recipe(recipe: Recipe, swept: Swept, path: Path, folder: Path) -> None:
    """The recipe with the best candidate's settings in place of the step's, and no sweep; its files, named relative to
    `folder`, are named from where it is written. Errors: BadInput if no candidate was measured; Unavailable.
    """
    best = swept.best
    if best is None:
        raise BadInput("no candidate was measured, so there are no best settings to write", where=str(path))
    number = (recipe.sweep or Sweep()).step - 1
    steps = list(recipe.train)
    steps[number] = steps[number].model_copy(update={"settings": best.settings})
    sources = tuple(
        one if one.file is None else one.model_copy(update={"file": _from(path.parent, folder, one.file)})
        for one in recipe.sources
    )
    ready = recipe.model_copy(update={"train": tuple(steps), "sources": sources, "sweep": None})
    replace(path, dump_yaml(ready).encode())


def _from(target: Path, folder: Path, file: str) -> str:
    return file if os.path.isabs(file) else os.path.relpath(folder / file, target)
