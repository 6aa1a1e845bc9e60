"""Every fault that is injected into training, as one list. Whatever happens: no wrong model is written, no good
checkpoint is lost, the error says what, where and what next, and once the cause is mended the same job gives the very
weights and metrics of a run that nothing happened to.

The list is the table in docs/concepts/guards.md; a test holds them against each other.
"""

import errno
import hashlib
import json
import os
import resource
import shutil
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from goldsmith_test_processes import fork
from goldsmith_test_records import answered, compared, said
from goldsmith_test_rewards import Judge
from safetensors.torch import load_file, save_file

from goldsmith import plugins
from goldsmith.engines.training import keeping
from goldsmith.engines.training.checkpointing import checkpoints, folders
from goldsmith.engines.training.data import token_cache
from goldsmith.engines.training.driver import TrainingJob, TrainingOutcome, run_training
from goldsmith.engines.training.guards.finite import Diverged
from goldsmith.engines.training.losses import answers
from goldsmith.engines.training.model.loading import load_model
from goldsmith.engines.training.model.policy import Policy
from goldsmith.engines.training.optimizer import Optimizer
from goldsmith.engines.training.reinforcement import generate, playing
from goldsmith.types.errors import BadInput, GoldsmithError, Tampered, Unavailable
from goldsmith.types.record import Comparison, Conversation, Record
from goldsmith.types.reward import Sampled

pytestmark = pytest.mark.usefixtures("one_thread")

DOCS = Path(__file__).resolve().parents[3] / "docs" / "concepts" / "guards.md"


# ---- the runs ----------------------------------------------------------------------------------------------------

LORA = {"kind": "lora", "rank": 4, "dropout": 0.1}
COMMON: dict[str, Any] = {"learning_rate": 5e-3, "batch_size": 4, "max_steps": 6, "checkpoint_every": 2}
BEST = {"validation_share": 0.4, "evaluate_every": 1, "early_stopping_patience": 6}
METHODS: dict[str, dict[str, Any]] = {
    "sft": COMMON | {"adapter": LORA},
    "sft_best": COMMON | BEST,
    "dpo": COMMON,
    "grpo": COMMON
    | {"rewards": [{"reward": "judge"}], "group_size": 4, "max_new_tokens": 6, "max_steps": 4, "adapter": LORA},
}


def records(n: int = 24) -> list[Record]:
    """Conversations and comparisons; each method takes its own."""
    found = []
    for i in range(n):
        question, answer = f"What is {'quick ' * (i % 4)}{i}?", f"It is {i}, {i}."
        found += [answered(question, answer), compared(question, answer, "no" * (1 + i % 3))]
    return found


@dataclass
class Scene:
    """A place to train in: `job(name)` is the same job each time, `straight(name)` what it gives if nothing happens."""

    tiny: Any
    tiny_base: Path
    folder: Path
    patch: pytest.MonkeyPatch
    known: dict[str, tuple[dict[str, torch.Tensor], list[dict[str, Any]]]]
    judge: Judge = field(default_factory=Judge)
    base: Path | None = None

    def own_base(self) -> Path:
        """A copy of the base that may be damaged."""
        self.base = self.folder / "base"
        shutil.copytree(self.tiny_base, self.base)
        return self.base

    def job(self, name: str, **changes: Any) -> TrainingJob:
        method: Any = plugins.find("methods", name.partition("_")[0]).model_validate(METHODS[name])
        if name == "grpo":
            method = method.given({"judge": self.judge})
        settings: dict[str, Any] = {
            "method": method,
            "base": str(self.base or self.tiny_base),
            "records": records(),
            "output_dir": self.folder / "to" / "out",
            "scratch_dir": self.folder / "scratch",
            "seed": 3,
            "progress": False,
            "device": "cpu",
        }
        return TrainingJob(**(settings | changes))

    def straight(self, name: str) -> tuple[dict[str, torch.Tensor], list[dict[str, Any]]]:
        if name not in self.known:
            place = self.folder / "straight"
            judge, base, self.judge, self.base = self.judge, self.base, Judge(), None
            outcome = run_training(
                self.job(name, output_dir=place / "out", scratch_dir=place / "scratch", cache_dir=place / "cache")
            )
            self.judge, self.base = judge, base
            self.known[name] = told(outcome)
        return self.known[name]

    def killed(self, name: str, owner: Any, function: str, at: int, *, after: bool = False, **changes: Any) -> None:
        """Run the job in a child that kills itself, as kill -9 does, in the `at`th call of a function: before its work,
        or `after` it."""
        job = self.job(name, **changes)
        pid = fork()
        if pid == 0:  # pragma: no cover - another process
            try:
                original, calls = getattr(owner, function), [0]

                def dies(*args: Any, **named: Any) -> Any:
                    calls[0] += 1
                    if calls[0] == at and not after:
                        os.kill(os.getpid(), signal.SIGKILL)
                    done = original(*args, **named)
                    if calls[0] == at:
                        os.kill(os.getpid(), signal.SIGKILL)
                    return done

                setattr(owner, function, dies)
                run_training(job)
            finally:
                os._exit(1)
        _, status = os.waitpid(pid, 0)
        assert os.WIFSIGNALED(status), "the run was not where it was to be killed"
        assert os.WTERMSIG(status) == signal.SIGKILL
        assert not job.output_dir.exists()

    def fails(self, name: str, kind: type[GoldsmithError], what: str, **changes: Any) -> GoldsmithError:
        """The job ends in an error that says what, where and what next; no model is written."""
        job = self.job(name, **changes)
        with pytest.raises(kind) as caught:
            run_training(job)
        assert what in caught.value.what, str(caught.value)
        assert caught.value.where, str(caught.value)
        assert caught.value.next_step, str(caught.value)
        assert not job.output_dir.exists()
        assert not list(job.output_dir.parent.glob(".partial*"))
        return caught.value

    def goes_on(self, name: str, at: int | None = None, **changes: Any) -> TrainingOutcome:
        """The same job again gives the straight run's weights and metrics; it goes on from step `at` (None: anew)."""
        outcome = run_training(self.job(name, **changes))
        assert outcome.facts.get("resumed_at_step") == at
        weights, lines = told(outcome)
        wanted, wanted_lines = self.straight(name)
        assert weights.keys() == wanted.keys()
        assert all(torch.equal(weights[key], wanted[key]) for key in wanted)
        if "metrics_lines_missing" not in outcome.facts:
            assert lines == wanted_lines
        assert not list(self.folder.rglob(".partial*"))
        return outcome

    def fails_at_row(self, name: str, content: Any) -> GoldsmithError:
        """The same, of a row that cannot be trained; it is named."""
        job = self.job(name, records=[Record(content=content), *records()])
        names = [f"file.jsonl line {i + 1}" for i in range(len(job.records))]
        with pytest.raises(BadInput) as caught:
            run_training(replace(job, row_names=names))
        assert not job.output_dir.exists()
        return caught.value

    def kept(self) -> list[int]:
        """Steps of the checkpoints that can be gone on from."""
        found = sorted((self.folder / "scratch" / "checkpoints").glob("step-*"))
        return [int(one.name[5:]) for one in found if checkpoints._wrong(one, checkpoints.Ranks()) is None]

    def newest(self) -> Path:
        return sorted((self.folder / "scratch" / "checkpoints").glob("step-*"))[-1]


def told(outcome: TrainingOutcome) -> tuple[dict[str, torch.Tensor], list[dict[str, Any]]]:
    """Weights and metrics, without the clock."""
    lines = [json.loads(line) for line in outcome.metrics_file.read_text().splitlines()]
    weights = load_file(str(next(outcome.model_dir.glob("*.safetensors"))))
    return weights, [{key: value for key, value in line.items() if key != "seconds"} for line in lines]


def flip(path: Path, at: int = -1) -> None:
    body = bytearray(path.read_bytes())
    body[at] ^= 1
    path.write_bytes(bytes(body))


# ---- the list ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Fault:
    """What is done, what happens then, and the function that does it and looks."""

    done: str
    then: str
    test: Callable[[Scene], None]


FAULTS: list[Fault] = []


def fault(done: str, then: str) -> Callable[[Callable[[Scene], None]], Callable[[Scene], None]]:
    def note(test: Callable[[Scene], None]) -> Callable[[Scene], None]:
        FAULTS.append(Fault(done, then, test))
        return test

    return note


ANEW = "the same command begins anew"
ON = "the same command goes on from the last checkpoint"
SAID = "said before the first step"


@fault("kill -9 while rows are tokenised", ANEW)
def _(scene: Scene) -> None:
    scene.killed("sft", plugins.find("methods", "sft"), "encode", 10)
    scene.goes_on("sft")


@fault("kill -9 while the token cache is written", ANEW)
def _(scene: Scene) -> None:
    scene.killed("sft", token_cache.hashlib, "sha256", 12)
    scene.goes_on("sft")


@fault("kill -9 while reference log-probabilities are computed", ANEW)
def _(scene: Scene) -> None:
    scene.killed("dpo", Policy, "sequence_logprobs", 1, after=True)
    scene.goes_on("dpo")


@fault("kill -9 in an update, before the optimiser's step", ON)
def _(scene: Scene) -> None:
    scene.killed("dpo", Optimizer, "step", 4)
    scene.goes_on("dpo", at=2)


@fault("kill -9 in an update, after the optimiser's step", ON)
def _(scene: Scene) -> None:
    scene.killed("sft", Optimizer, "step", 6, after=True)
    scene.goes_on("sft", at=4)


@fault("kill -9 while a checkpoint's tensors are written", ON)
def _(scene: Scene) -> None:
    scene.killed("sft", checkpoints, "save_file", 5)  # the second of the second checkpoint
    assert scene.kept() == [2]
    scene.goes_on("sft", at=2)


@fault("kill -9 between a checkpoint's tensors and the manifest that vouches for them", ON)
def _(scene: Scene) -> None:
    scene.killed("sft", checkpoints, "file_sha256", 6)
    assert scene.kept() == [2]
    scene.goes_on("sft", at=2)


@fault("kill -9 when a checkpoint is whole, before older ones are removed", "the same command goes on from the new one")
def _(scene: Scene) -> None:
    scene.killed("sft", folders, "sync_folder", 6, after=True)
    assert scene.kept() == [2, 4]
    scene.goes_on("sft", at=4)


@fault("kill -9 while the best validated weights are written", ON)
def _(scene: Scene) -> None:
    scene.killed("sft_best", keeping, "save_file", 3)
    scene.goes_on("sft_best", at=2)


@fault("kill -9 while the final model is written", "the same command writes it")
def _(scene: Scene) -> None:
    scene.killed("sft", keeping, "write_model", 1, after=True)
    scene.goes_on("sft", at=6)


@fault("kill -9 while a round's answers are generated", ON)
def _(scene: Scene) -> None:
    scene.killed("grpo", generate, "generate", 4)
    scene.goes_on("grpo", at=2)


@fault("kill -9 between a round's answers and their rewards", ON)
def _(scene: Scene) -> None:
    scene.killed("grpo", playing, "ask", 4)
    scene.goes_on("grpo", at=2)


@fault("kill -9 three times in a row, at other places", ON)
def _(scene: Scene) -> None:
    scene.killed("dpo", Optimizer, "step", 3)
    scene.killed("dpo", checkpoints, "save_file", 1)
    scene.killed("dpo", folders, "sync_folder", 3)
    scene.goes_on("dpo", at=4)


@fault("a NaN in a weight of the base model", SAID + ", with the tensor's name")
def _(scene: Scene) -> None:
    base = scene.own_base()
    path = base / "model.safetensors"
    whole = path.read_bytes()
    weights = load_file(str(path))
    weights["model.layers.1.mlp.up_proj.weight"][3, 5] = float("nan")
    save_file(weights, str(path), {"format": "pt"})
    error = scene.fails("sft", Diverged, "the base model holds numbers that are not finite")
    assert "layers.1.mlp.up_proj" in str(error.found)
    path.write_bytes(whole)
    scene.goes_on("sft")


@fault("an update that makes a weight infinite, after which no loss is taken", "stops; the model is not written")
def _(scene: Scene) -> None:
    original, calls = Optimizer.step, [0]

    def step(self: Optimizer) -> None:
        original(self)
        calls[0] += 1
        if calls[0] == 6:
            self.parameters[0].data.view(-1)[0] = float("inf")

    with scene.patch.context() as patch:
        patch.setattr(Optimizer, "step", step)
        error = scene.fails("sft", Diverged, "the model holds numbers that are not finite")
    assert error.where == "after step 6"
    assert scene.kept() == [2, 4]
    scene.goes_on("sft", at=4)


def _spoiled(scene: Scene, spoil: Callable[[torch.Tensor], torch.Tensor]) -> None:
    original, calls = Policy.cross_entropy, [0]

    def loss(self: Policy, *args: Any, **named: Any) -> torch.Tensor:
        calls[0] += 1
        found = original(self, *args, **named)
        return spoil(found) if calls[0] == 4 else found

    with scene.patch.context() as patch:
        patch.setattr(Policy, "cross_entropy", loss)
        error = scene.fails("sft", Diverged, "diverged at step 4")
    assert "record" in str(error.where)
    assert scene.kept() == [2]
    scene.goes_on("sft", at=2)


@fault("a loss that is NaN", "stops before the step, with the rows' names")
def _(scene: Scene) -> None:
    _spoiled(scene, lambda loss: loss * float("nan"))


@fault("an infinite gradient under a finite loss", "stops before the step, with the rows' names")
def _(scene: Scene) -> None:
    def spoil(loss: torch.Tensor) -> torch.Tensor:
        loss = loss + 0
        loss.register_hook(lambda grad: grad * float("inf"))
        return loss

    _spoiled(scene, spoil)


@fault("a reward that is NaN for every answer", "stops; a NaN is no reward, and never 0")
def _(scene: Scene) -> None:
    scene.judge = Judge(worth=lambda one: float("nan"))
    error = scene.fails("grpo", Diverged, "100% of a round's answers could not be rewarded")
    assert "a value outside" in str(error.found)
    scene.judge = Judge()
    scene.goes_on("grpo")


@fault("a reward that raises in the third round", "stops, with the reward's name and what it raised")
def _(scene: Scene) -> None:
    calls = [0]

    def worth(one: Sampled) -> float:
        calls[0] += 1
        if calls[0] > 3 * 16:
            raise ZeroDivisionError("division by zero")
        return Judge().worth(one)

    scene.judge = Judge(worth=worth)
    error = scene.fails("grpo", Unavailable, "a reward failed")
    assert error.where == "judge"
    assert "ZeroDivisionError" in str(error.found)
    assert scene.kept() == [2]
    scene.judge = Judge()
    scene.goes_on("grpo", at=2)


@fault("a python grader that never returns", "its time runs out; stops when half the answers have no reward")
def _(scene: Scene) -> None:
    endless = {"source": "def grade(sample, item):\n    while True: pass\n", "limits": {"seconds": 0.2}}
    try:
        judge = plugins.build("rewards", "python", endless)
        judge([Sampled((said("user", "?"),), (said("assistant", "."),))])
    except Unavailable as error:
        pytest.skip(f"code cannot be confined here: {error.what}")
    scene.judge = judge
    begun = time.monotonic()
    error = scene.fails("grpo", Diverged, "could not be rewarded")
    assert time.monotonic() - begun < 120
    assert "time" in str(error.found)
    scene.judge = Judge()
    scene.goes_on("grpo")


@fault("a row with nothing to learn", SAID + ", with the row's name")
def _(scene: Scene) -> None:
    for bad in (
        Conversation(messages=(said("user", "hello"),)),
        Conversation(messages=()),
        Conversation(messages=(said("user", "hello"), said("assistant", "hi").model_copy(update={"trained": False}))),
    ):
        error = scene.fails_at_row("sft", bad)
        assert error.where.startswith("file.jsonl line 1"), bad
    scene.goes_on("sft")


@fault("a strength that is NaN", SAID + ", with the row's name")
def _(scene: Scene) -> None:
    pair = next(one for one in records() if isinstance(one.content, Comparison))
    bad = pair.model_copy(update={"content": pair.content.model_copy(update={"strength": "nan"})})
    method = plugins.find("methods", "reward_model")(margin_scale=1.0, max_steps=1)
    with pytest.raises(BadInput, match="no number") as caught:
        run_training(scene.job("dpo", method=method, records=[bad], row_names=["file.jsonl line 1"]))
    assert caught.value.where == "file.jsonl line 1"


def _full(scene: Scene, wanted: str, kept: list[int], at: int) -> None:
    """The kernel refuses what is written beyond the first bytes of a file, from one place on."""
    job = scene.job("sft")
    told_to = scene.folder / "told"
    pid = fork()
    if pid == 0:  # pragma: no cover - another process
        try:
            original = Path.mkdir

            def mkdir(self: Path, *args: Any, **named: Any) -> None:
                original(self, *args, **named)
                if wanted in self.name and (scene.folder / "scratch" / "checkpoints").exists():
                    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
                    resource.setrlimit(resource.RLIMIT_FSIZE, (64, 64))

            Path.mkdir = mkdir  # type: ignore[method-assign]
            try:
                run_training(job)
            except Unavailable as error:
                resource.setrlimit(resource.RLIMIT_FSIZE, (64, 64))
                told_to.write_text(f"{error.what[:16]}|{bool(error.where)}|{'free some' in str(error.next_step)}")
        finally:
            os._exit(1)
    os.waitpid(pid, 0)
    assert told_to.read_text() == "the disk is full|True|True"
    assert not job.output_dir.exists()
    assert scene.kept() == kept
    scene.goes_on("sft", at=at)


@fault("a full disk at a checkpoint", "stops; the checkpoint before is kept")
def _(scene: Scene) -> None:
    _full(scene, "step-000000004", [2], 2)


@fault("a full disk at the final model", "stops; the checkpoint of the last step is kept")
def _(scene: Scene) -> None:
    _full(scene, ".partial-out-", [4, 6], 6)


@fault("a full disk in the metrics file", "stops; the checkpoint before is kept")
def _(scene: Scene) -> None:
    from goldsmith.engines.training.journal import Journal

    class Full:
        def __init__(self, stream: Any) -> None:
            self.stream = stream

        def write(self, data: bytes) -> None:
            if b'"step": 4' in data:
                self.stream.write(data[: len(data) // 2])
                self.stream.flush()
                raise OSError(errno.ENOSPC, "No space left on device")
            self.stream.write(data)

        def __getattr__(self, name: str) -> Any:
            return getattr(self.stream, name)

    original = Journal.__enter__

    def enter(self: Journal) -> Journal:
        self.file = Full(self.file)  # type: ignore[assignment]
        return original(self)

    with scene.patch.context() as patch:
        patch.setattr(Journal, "__enter__", enter)
        scene.fails("sft", Unavailable, "the disk is full")
    assert scene.kept() == [2]
    scene.goes_on("sft", at=2)


def _damaged(scene: Scene, damage: Callable[[Path], None]) -> None:
    scene.killed("sft", Optimizer, "step", 5)
    assert scene.kept() == [2, 4]
    damage(scene.newest())
    outcome = scene.goes_on("sft", at=2)
    assert outcome.facts["checkpoints_damaged"] == "step-000000004"


PASSED = "passed over for the one before; the run's facts say so"


@fault("a flipped bit in a checkpoint's weights", PASSED)
def _(scene: Scene) -> None:
    _damaged(scene, lambda path: flip(path / "weights.safetensors"))


@fault("a checkpoint's optimiser state cut short", PASSED)
def _(scene: Scene) -> None:
    def cut(path: Path) -> None:
        os.truncate(path / "optimizer.safetensors", 100)

    _damaged(scene, cut)


@fault("a file of a checkpoint gone", PASSED)
def _(scene: Scene) -> None:
    _damaged(scene, lambda path: (path / "rng.safetensors").unlink())


@fault("a checkpoint's manifest that vouches for nothing", PASSED)
def _(scene: Scene) -> None:
    def empty(path: Path) -> None:
        flip(path / "weights.safetensors")
        state = hashlib.sha256((path / "state.json").read_bytes()).hexdigest()
        (path / "manifest.json").write_text(json.dumps({"state.json": state}))

    _damaged(scene, empty)


@fault("every checkpoint damaged", "the same command begins anew; the run's facts say so")
def _(scene: Scene) -> None:
    scene.killed("sft", Optimizer, "step", 5)
    for path in (scene.folder / "scratch" / "checkpoints").iterdir():
        flip(path / "state.json", 10)
    outcome = scene.goes_on("sft")
    assert outcome.facts["checkpoints_damaged"] == "step-000000004, step-000000002"


@fault("the best validated weights damaged or gone", "stops; nothing else is written as the model")
def _(scene: Scene) -> None:
    scene.killed("sft_best", keeping, "write_model", 1)
    path = scene.folder / "scratch" / "best" / "weights.safetensors"
    whole = path.read_bytes()
    flip(path)
    scene.fails("sft_best", Tampered, "the best weights of this run are damaged or gone")
    shutil.move(path.parent, scene.folder / "away")
    scene.fails("sft_best", Tampered, "the best weights of this run are damaged or gone")
    shutil.move(scene.folder / "away", path.parent)
    path.write_bytes(whole)
    scene.goes_on("sft_best", at=6)


@fault("metrics of an unfinished run gone", "the model is the same; the run's facts and metrics say what is lost")
def _(scene: Scene) -> None:
    scene.killed("sft", Optimizer, "step", 5)
    (scene.folder / "scratch" / "metrics.jsonl").unlink()
    outcome = scene.goes_on("sft", at=4)
    assert outcome.facts["metrics_lines_missing"] == 4
    assert "metrics of 4 updates" in outcome.metrics_file.read_text()


def _refused(scene: Scene, name: str, what: str, **changes: Any) -> None:
    scene.killed(name, Optimizer, "step", 5)
    error = scene.fails(name, BadInput, "was begun with something else", **changes)
    assert what in error.what
    assert scene.kept() == [2, 4]


REFUSED = "refused by name; with the first one back it goes on"


@fault("other data between runs", REFUSED)
def _(scene: Scene) -> None:
    _refused(scene, "sft", "data", records=records(23))
    scene.goes_on("sft", at=4)


@fault("another base under the same name between runs", REFUSED)
def _(scene: Scene) -> None:
    base = scene.own_base()
    whole = (base / "model.safetensors").read_bytes()
    scene.killed("dpo", Optimizer, "step", 5)
    scene.tiny.model(seed=9).save_pretrained(base)
    error = scene.fails("dpo", BadInput, "was begun with something else")
    assert "base" in error.what
    (base / "model.safetensors").write_bytes(whole)
    scene.goes_on("dpo", at=4)


@fault("another chat template between runs", REFUSED)
def _(scene: Scene) -> None:
    other = scene.tiny.base(scene.folder / "other", template=scene.tiny.tagged_template)
    _refused(scene, "sft", "chat_template", base=str(other))
    scene.goes_on("sft", at=4)


@fault("another tokenizer between runs", REFUSED)
def _(scene: Scene) -> None:
    base = scene.own_base()
    path = base / "tokenizer.json"
    whole = path.read_text()
    scene.killed("sft", Optimizer, "step", 5)
    document = json.loads(whole)
    document["model"]["merges"] = document["model"]["merges"][:-3]
    path.write_text(json.dumps(document))
    error = scene.fails("sft", BadInput, "was begun with something else")
    assert "tokenizer" in error.what
    path.write_text(whole)
    scene.goes_on("sft", at=4)


@fault("the base replaced while a run is under way", "the adapter keeps the digest of the base it learnt on")
def _(scene: Scene) -> None:
    base = scene.own_base()
    original, calls = Optimizer.step, [0]

    def step(self: Optimizer) -> None:
        original(self)
        calls[0] += 1
        if calls[0] == 3:
            with torch.random.fork_rng():  # dropout goes on as it was
                scene.tiny.model(seed=9).save_pretrained(base)

    whole = (base / "model.safetensors").read_bytes()
    scene.straight("sft")
    with scene.patch.context() as patch:
        patch.setattr(Optimizer, "step", step)
        outcome = scene.goes_on("sft")
    with pytest.raises(BadInput, match="another base"):
        load_model(outcome.model_dir)
    (base / "model.safetensors").write_bytes(whole)
    load_model(outcome.model_dir)


@fault("an adapter on another base", "refused when it is loaded")
def _(scene: Scene) -> None:
    base = scene.own_base()
    outcome = scene.goes_on("sft")
    scene.tiny.model(seed=5).save_pretrained(base)
    with pytest.raises(BadInput, match="another base") as caught:
        load_model(outcome.model_dir)
    assert caught.value.where
    assert caught.value.next_step


@fault(
    "reference log-probabilities asked for after a resume",
    "those of the base, not of the checkpoint: none are kept on disk",
)
def _(scene: Scene) -> None:
    seen: list[Any] = []
    original = answers.reference_pairs

    def noted(*args: Any) -> Any:
        seen.append(original(*args))
        return seen[-1]

    with scene.patch.context() as patch:
        patch.setitem(plugins.find("methods", "dpo").prepare.__globals__, "reference_pairs", noted)
        place = scene.folder / "first"
        run_training(scene.job("dpo", output_dir=place / "out", scratch_dir=place / "scratch"))
        scene.killed("dpo", Optimizer, "step", 5)
        scene.goes_on("dpo", at=4)
    assert len(seen) == 2
    assert seen[0] == seen[1]


@fault("a flipped bit in the token cache", "the damaged part is tokenised again; the run's facts say so")
def _(scene: Scene) -> None:
    scene.killed("sft", Optimizer, "step", 3)
    (path,) = (scene.folder / "scratch" / "tokens").rglob("ids.bin")
    flip(path, 40)
    outcome = scene.goes_on("sft", at=2)
    assert outcome.facts["token_cache_damaged"] == 1


@fault("a process lost among two", "the other stops within a minute, and says which way on")
def _(scene: Scene) -> None:
    job = scene.job("sft", method=plugins.build("methods", "sft", COMMON | {"checkpoint_every": 2}))
    told_to = scene.folder / "told"
    children = []
    for rank in range(2):
        pid = fork()
        if pid == 0:  # pragma: no cover - another process
            try:
                dist.init_process_group("gloo", init_method=f"file://{scene.folder}/meet", rank=rank, world_size=2)
                original, calls = Optimizer.step, [0]

                def step(self: Optimizer, rank: int = rank, original: Any = original, calls: Any = calls) -> None:
                    calls[0] += 1
                    if rank == 1 and calls[0] == 4:
                        os.kill(os.getpid(), signal.SIGKILL)
                    original(self)

                Optimizer.step = step  # type: ignore[method-assign]
                try:
                    run_training(job)
                except GoldsmithError as error:
                    told_to.write_text(f"{type(error).__name__}: {error}")
            finally:
                os._exit(1)
        children.append(pid)
    deadline = time.monotonic() + 60
    while children and time.monotonic() < deadline:
        children = [pid for pid in children if os.waitpid(pid, os.WNOHANG)[0] == 0]
        time.sleep(0.05)
    for pid in children:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    assert not children, "a process waited for one that was gone"
    assert told_to.read_text().startswith("Elsewhere")
    assert "go" in told_to.read_text()
    assert not job.output_dir.exists()
    assert scene.kept() == [2]
    assert run_training(job).facts["resumed_at_step"] == 2


@fault("an output folder that cannot be written", SAID)
def _(scene: Scene) -> None:
    original = Path.mkdir

    def mkdir(self: Path, *args: Any, **named: Any) -> None:
        if ".partial-out-" in self.name:
            raise OSError(errno.EROFS, "Read-only file system")
        original(self, *args, **named)

    with scene.patch.context() as patch:
        patch.setattr(Path, "mkdir", mkdir)
        scene.fails("sft", Unavailable, "cannot be read or written")
    assert scene.kept() == []
    scene.goes_on("sft")


@fault("clocks that stand still and go backwards", "nothing that is trained or stated depends on them")
def _(scene: Scene) -> None:
    scene.straight("sft")
    hour = iter(range(10**9, 0, -3600))
    with scene.patch.context() as patch:
        patch.setattr(time, "time", lambda: float(next(hour)))
        patch.setattr(time, "perf_counter", lambda: 5.0)
        outcome = run_training(scene.job("sft"))
    weights, lines = told(outcome)
    wanted, wanted_lines = scene.straight("sft")
    assert all(torch.equal(weights[key], wanted[key]) for key in wanted)
    assert lines == wanted_lines


# ---- the tests ---------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def known() -> dict[str, Any]:
    return {}


@pytest.mark.parametrize("one", FAULTS, ids=lambda one: one.done.replace(" ", "-"))
def test_a_fault(
    one: Fault, tiny: Any, tiny_base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, known: dict[str, Any]
) -> None:
    one.test(Scene(tiny, tiny_base, tmp_path, monkeypatch, known))


def test_the_docs_tell_of_the_same_faults() -> None:
    wanted = [f"| {one.done} | {one.then} |" for one in FAULTS]
    text = DOCS.read_text(encoding="utf-8")
    table = [line for line in text.partition("<!-- faults -->")[2].splitlines() if line.startswith("| ")]
    assert table[1:] == wanted, "docs/concepts/guards.md should hold:\n" + "\n".join(wanted)
