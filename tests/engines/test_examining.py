"""Examinations: paired, counted, and never silent about what could not be scored."""

import json
from collections.abc import Iterator, Sequence
from typing import Any, ClassVar

import pytest

from goldsmith.engines.examining import examine, texts_of
from goldsmith.engines.sandbox import ReplayEnvironment
from goldsmith.engines.scripted import ScriptedAnswerer
from goldsmith.types.artifact import Spec
from goldsmith.types.errors import BadInput, Unavailable
from goldsmith.types.record import Message, Record, Role, TextPart
from goldsmith.types.score import Score, Scored, Unscored
from goldsmith.types.trajectory import Answerer, Environment, Task, Trajectory


class Echo(Spec):
    """1 if the model says the task's word; breaks in the ways it is told to."""

    id: ClassVar[str] = "echo"
    version: ClassVar[int] = 1
    ids: tuple[str, ...] = tuple(f"{n}" for n in range(10))
    broken_scores: tuple[str, ...] = ()
    broken_worlds: tuple[str, ...] = ()
    unscorable: tuple[str, ...] = ()
    broken_tasks: bool = False

    def tasks(self) -> Iterator[Task]:
        if self.broken_tasks:
            raise KeyError("no list of tasks")
        for name in self.ids:
            system = Message(role=Role.SYSTEM, parts=(TextPart(text="Be brief."),))
            yield Task(id=name, messages=(system, Message(role=Role.USER, parts=(TextPart(text=f"word {name}"),))))

    def environment(self, task: Task) -> Environment:
        if task.id in self.broken_worlds:
            raise OSError("no world")
        return ReplayEnvironment()

    def score(self, task: Task, trajectory: Trajectory, environment: Environment) -> dict[str, Score]:
        if task.id in self.broken_scores:
            raise ZeroDivisionError("oops")
        if task.id in self.unscorable:
            return {"said": Unscored(reason="could not tell")}
        return {"said": Scored(value=float(trajectory.messages[-1].text == f"word {task.id}"))}


class Lengths(Spec):
    """A measure without bounds."""

    id: ClassVar[str] = "lengths"
    version: ClassVar[int] = 1
    unbounded_metrics: ClassVar[frozenset[str]] = frozenset({"length"})
    fail: bool = False
    empty: bool = False

    def measure(
        self, model: Answerer, train: Sequence[Record], validation: Sequence[Record]
    ) -> dict[str, list[tuple[str, Score]]]:
        if self.fail:
            raise RuntimeError("no weights")
        if self.empty:
            return {"length": []}
        said = [a.text for a in model.answer([([Message(role=Role.USER, parts=())], ())] * 30)]
        items: list[tuple[str, Score]] = [(str(i), Scored(value=10.0 * len(s) + i % 3)) for i, s in enumerate(said)]
        return {"length": items}


def echo(messages: Sequence[Message], tools: Any) -> str:
    return messages[-1].text


def half(messages: Sequence[Message], tools: Any) -> str:
    return messages[-1].text if messages[-1].text[-1:] in tuple("02468") else "no"


def test_means_differences_and_items() -> None:
    results, items = examine(ScriptedAnswerer(echo), ScriptedAnswerer(half), [("mine", Echo())])
    (result,) = results
    assert (result.eval, result.metric, result.n, result.unscored) == ("mine", "said", 10, 0)
    assert (result.mean, result.base_mean, result.difference) == (1.0, 0.5, 0.5)
    assert result.low == pytest.approx(0.7225, abs=1e-4)
    assert result.difference_low is not None
    assert 0 < result.difference_low < 0.5
    rows = list(items)
    assert len(rows) == 20
    assert json.loads(json.dumps(rows)) == rows
    assert {row["model"] for row in rows} == {"tuned", "base"}
    assert rows[0]["trajectory"]["task_id"] == rows[0]["item"]


def test_without_a_base_nothing_is_compared() -> None:
    ((result,), _) = examine(ScriptedAnswerer(echo), None, [("mine", Echo())])
    assert result.base_mean is None
    assert result.difference is None


def test_what_could_not_be_scored_is_counted_and_in_no_mean() -> None:
    each = Echo(broken_scores=("1",), broken_worlds=("2",), unscorable=("3",))
    ((result,), items) = examine(ScriptedAnswerer(half), None, [("mine", each)])
    assert (result.n, result.unscored) == (7, 3)
    assert result.mean == pytest.approx(4 / 7)
    reasons = {row["item"]: row["scores"]["said"].get("reason", "") for row in items}
    assert "ZeroDivisionError: oops" in reasons["1"]
    assert "OSError: no world" in reasons["2"]
    assert reasons["3"] == "could not tell"


def test_differences_are_over_items_scored_for_both() -> None:
    def fails_on_four(messages: Sequence[Message], tools: Any) -> str:
        if messages[-1].text == "word 4":
            raise ValueError("no")
        return half(messages, tools)

    ((result,), _) = examine(ScriptedAnswerer(echo), ScriptedAnswerer(fails_on_four), [("mine", Echo())])
    assert result.n == 10
    assert result.base_mean == pytest.approx(4 / 9)
    assert result.difference == pytest.approx(1 - 4 / 9)


@pytest.mark.parametrize(
    "each",
    [
        Echo(broken_tasks=True),
        Echo(broken_worlds=tuple("0123456789")),
        Echo(broken_scores=tuple("0123456789")),
        Lengths(fail=True),
    ],
)
def test_an_eval_that_cannot_run_is_an_error_that_names_it(each: Any) -> None:
    with pytest.raises(Unavailable) as caught:
        examine(ScriptedAnswerer(echo), None, [("fine", Echo()), ("broken-one", each)])
    assert "broken-one" in str(caught.value)


def test_a_model_that_always_crashes_is_an_error_that_names_the_eval() -> None:
    def crash(messages: Sequence[Message], tools: Any) -> str:
        raise MemoryError("no room")

    with pytest.raises(Unavailable, match="every one") as caught:
        examine(ScriptedAnswerer(echo), ScriptedAnswerer(crash), [("mine", Echo())])
    assert "base model" in (caught.value.where or "")
    assert "no room" in str(caught.value.found)


@pytest.mark.parametrize("ids", [("a", "a"), ()])
def test_task_ids_are_one_each_and_there_is_at_least_one(ids: tuple[str, ...]) -> None:
    with pytest.raises(BadInput, match="mine"):
        examine(ScriptedAnswerer(echo), None, [("mine", Echo(ids=ids))])


def test_names_of_evals_are_unique() -> None:
    with pytest.raises(BadInput, match="same name"):
        examine(ScriptedAnswerer(echo), None, [("x", Echo()), ("x", Lengths())])


def test_all_unscored_is_told_from_zero() -> None:
    each = Echo(unscorable=tuple("0123456789"))
    ((result,), _) = examine(ScriptedAnswerer(echo), ScriptedAnswerer(echo), [("mine", each)])
    assert (result.n, result.unscored, result.interval) == (0, 10, "nothing scored")
    assert (result.low, result.high) == (0.0, 1.0)
    assert result.difference is None


def test_measures_without_bounds() -> None:
    long, short = ScriptedAnswerer(lambda *_: "abcd"), ScriptedAnswerer(lambda *_: "ab")
    ((result,), items) = examine(long, short, [("len", Lengths())])
    assert result.mean == pytest.approx(41)
    assert result.difference == pytest.approx(20)
    assert "BCa" in result.interval
    assert 40 < result.low < 41 < result.high < 42
    rows = list(items)
    assert rows[0]["trajectory"] is None
    assert len(rows) == 60


def test_a_measure_without_items_is_reported_as_nothing_scored() -> None:
    ((result,), _) = examine(ScriptedAnswerer(echo), None, [("len", Lengths(empty=True))])
    assert (result.n, result.unscored, result.interval) == (0, 0, "nothing scored")


def test_items_of_one_cluster_widen_the_interval() -> None:
    alone = Echo(ids=tuple(f"{c}{n}" for c in range(10) for n in range(10)))
    grouped = Echo(ids=tuple(f"{n % 10}#{c}{n}" for c in range(10) for n in range(10)))

    def by_last_digit(messages: Sequence[Message], tools: Any) -> str:
        return messages[-1].text if int(messages[-1].text[-1]) < 5 else "no"

    ((one,), _) = examine(ScriptedAnswerer(by_last_digit), None, [("a", alone)])
    ((other,), _) = examine(ScriptedAnswerer(by_last_digit), None, [("b", grouped)])
    assert one.mean == other.mean == 0.5
    assert other.high - other.low > 2 * (one.high - one.low)
    assert "clustered" in other.interval


def test_the_same_examination_twice_is_the_same() -> None:
    runs = [
        examine(ScriptedAnswerer(half), ScriptedAnswerer(echo), [("a", Echo()), ("b", Lengths())], seed=3) for _ in "ab"
    ]
    assert runs[0][0] == runs[1][0]
    assert list(runs[0][1]) == list(runs[1][1])


def test_progress_reaches_its_end_for_every_eval() -> None:
    seen: list[tuple[str, int, int]] = []
    examine(
        ScriptedAnswerer(echo),
        ScriptedAnswerer(half),
        [("a", Echo()), ("b", Lengths())],
        progress=lambda *step: seen.append(step),
    )
    assert ("a", 20, 20) in seen
    assert ("b", 2, 2) in seen


def test_texts_of_evals_are_what_users_ask() -> None:
    assert texts_of([("mine", Echo(ids=("1", "2"))), ("len", Lengths())]) == [("mine", "word 1"), ("mine", "word 2")]
