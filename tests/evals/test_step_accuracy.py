"""Steps told right from wrong: the figures against their definitions, and what cannot be told is not scored."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest
from goldsmith_test_records import said
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from goldsmith.engines.examining import examine
from goldsmith.engines.scripted import ScriptedAnswerer
from goldsmith.engines.step_scores import auc_influences, first_wrong, harmonic_influences, of_answer
from goldsmith.evals.preference_accuracy import PreferenceAccuracy
from goldsmith.evals.step_accuracy import StepAccuracy
from goldsmith.types.record import Comparison, Conversation, Record, Role, Text
from goldsmith.types.score import MetricResult, Unscored

Labels = Sequence[bool | None]


class Steps(ScriptedAnswerer):
    """Gives each answer the probabilities that are listed for its text."""

    def __init__(self, known: Mapping[str, list[float]]) -> None:
        super().__init__(lambda *_: "")
        self.known = known

    def steps(self, items: Sequence[Any], *, delimiter: str = "\n\n") -> list[list[float]]:
        return [self.known[answer[-1].text] for _, answer, _ in items]


def labelled(text: str, labels: Labels) -> Record:
    content = Conversation(messages=(said(Role.USER, "?"), said(Role.ASSISTANT, text)))
    return Record(content=content, extra=json.dumps({"labels": list(labels)}))


def found(rows: Sequence[tuple[Labels, list[float]]], model: Any = None, **changes: Any) -> dict[str, MetricResult]:
    names = [f"answer {place}" for place in range(len(rows))]
    records = [labelled(name, labels) for name, (labels, _) in zip(names, rows, strict=True)]
    asked = model or Steps({name: right for name, (_, right) in zip(names, rows, strict=True)})
    results, _ = examine(
        asked, None, [("steps", StepAccuracy(**changes))], (), [Record(content=Text(text="t")), *records]
    )
    return {one.metric: one for one in results}


ROWS: list[tuple[Labels, list[float]]] = [
    ([True, True, False], [0.9, 0.8, 0.1]),  # found
    ([True, False, False], [0.9, 0.7, 0.2]),  # found too late
    ([None, True, False], [0.1, 0.9, 0.4]),  # found: the first step was judged by nobody
    ([True, True], [0.9, 0.6]),  # rightly left alone
    ([True, True], [0.9, 0.3]),  # a false alarm
]


@settings(derandomize=True, max_examples=60, deadline=None)
@given(
    st.lists(
        st.lists(st.tuples(st.booleans(), st.sampled_from([0.1, 0.3, 0.6, 0.9])), min_size=1, max_size=4),
        min_size=1,
        max_size=30,
    )
)
def test_no_interval_leaves_what_a_share_can_be(answers: list[list[tuple[bool, float]]]) -> None:
    got = found([([label for label, _ in answer], [right for _, right in answer]) for answer in answers])
    for one in got.values():
        assert 0 <= one.low <= one.mean <= one.high <= 1


def test_a_difference_of_shares_stays_within_one() -> None:
    told = {f"answer {place}": right for place, (_, right) in enumerate(ROWS)}
    rows = [labelled(name, labels) for name, (labels, _) in zip(told, ROWS, strict=True)]
    upside_down = Steps({name: [1 - p for p in right] for name, right in told.items()})
    results, _ = examine(Steps(told), upside_down, [("steps", StepAccuracy())], (), rows)
    (auc,) = [one for one in results if one.metric == "auc"]
    assert auc.base_mean == pytest.approx(1 - float(auc.mean))
    assert -1 <= float(auc.difference_low or 0) < float(auc.difference or 0) < float(auc.difference_high or 0) <= 1


def test_each_figure_is_what_it_says() -> None:
    got = found(ROWS)
    assert {name: one.unscored for name, one in got.items()} == dict.fromkeys(got, 0)
    assert got["step_accuracy"].mean == pytest.approx(10 / 12)
    assert got["first_error"].mean == pytest.approx(2 / 3)
    assert got["no_false_alarm"].mean == pytest.approx(1 / 2)
    assert got["f1"].mean == pytest.approx(2 * (2 / 3) * (1 / 2) / (2 / 3 + 1 / 2))
    told = [(p, one) for labels, right in ROWS for one, p in zip(labels, right, strict=True) if one is not None]
    assert got["auc"].mean == pytest.approx(roc_auc_score([one for _, one in told], [p for p, _ in told]))
    assert "clustered" in got["step_accuracy"].interval
    assert got["auc"].interval == "t on the logit scale, clustered"
    assert found(ROWS, threshold=0.75)["first_error"].mean == pytest.approx(1.0)


@pytest.mark.parametrize("said_of_all", [0.1, 0.9])
def test_one_answer_to_everything_gets_no_f1_and_half_an_area(said_of_all: float) -> None:
    got = found([(labels, [said_of_all] * len(labels)) for labels, _ in ROWS if labels[0] is not False])
    assert got["f1"].mean == 0.0
    assert got["auc"].mean == 0.5


def test_what_cannot_be_told_is_unscored() -> None:
    right = found([([True, True], [0.9, 0.9])])
    assert (right["step_accuracy"].n, right["no_false_alarm"].n) == (2, 1)
    assert (right["auc"].n, right["f1"].n) == (0, 0)
    odd = found([*ROWS, ([True, False], [0.9, 0.1, 0.1]), ([True, False], [float("nan"), 0.1]), ([True], [])])
    for metric, unscored in (("step_accuracy", 5), ("auc", 5), ("first_error", 2), ("no_false_alarm", 1), ("f1", 3)):
        assert odd[metric].unscored == unscored
        assert odd[metric].mean == pytest.approx(found(ROWS)[metric].mean)
    assert found([([None, None], [0.9, 0.1]), *ROWS])["f1"].mean == pytest.approx(found(ROWS)["f1"].mean)
    writer = found(ROWS, ScriptedAnswerer(lambda *_: ""))
    assert all(one.n == 0 and one.unscored for one in writer.values())
    scores = StepAccuracy().measure(ScriptedAnswerer(lambda *_: ""), (), [labelled("a", [True])])["auc"]
    assert isinstance(scores[0][1], Unscored)
    assert "no process reward model" in scores[0][1].reason


def test_a_base_is_examined_on_the_same_steps() -> None:
    names = [f"answer {place}" for place in range(len(ROWS))]
    records = [labelled(name, labels) for name, (labels, _) in zip(names, ROWS, strict=True)]
    good = Steps({name: right for name, (_, right) in zip(names, ROWS, strict=True)})
    flat = Steps({name: [0.9] * len(right) for name, (_, right) in zip(names, ROWS, strict=True)})
    results, _ = examine(good, flat, [("steps", StepAccuracy())], (), records)
    by_metric = {one.metric: one for one in results}
    assert by_metric["auc"].difference == pytest.approx(by_metric["auc"].mean - 0.5)
    assert by_metric["f1"].base_mean == 0.0


quick = settings(derandomize=True, max_examples=60, deadline=None)
told = st.lists(st.tuples(st.sampled_from([0.0, 0.2, 0.2, 0.5, 0.9, 1.0]), st.booleans()), min_size=1, max_size=30)


@quick
@given(told)
def test_the_area_and_its_error_are_those_of_their_definition(pairs: list[tuple[float, bool]]) -> None:
    right = [score for score, label in pairs if label]
    wrong = [score for score, label in pairs if not label]
    influences = auc_influences([score for score, _ in pairs], [label for _, label in pairs])
    if not right or not wrong:
        assert influences is None
        return
    wins = np.array([[(r > w) + 0.5 * (r == w) for w in wrong] for r in right])
    assert influences is not None
    assert influences.mean() == pytest.approx(wins.mean())
    delong = wins.mean(1).var() / len(right) + wins.mean(0).var() / len(wrong)
    assert influences.var() / len(pairs) == pytest.approx(delong, abs=1e-12)


shares = st.lists(st.sampled_from([0.0, 1.0]), min_size=1, max_size=20)


@quick
@given(shares, shares)
def test_the_harmonic_mean_and_its_error_are_those_of_the_delta_method(one: list[float], other: list[float]) -> None:
    a, b = float(np.mean(one)), float(np.mean(other))
    both = harmonic_influences(one, other)
    assert both is not None
    influences = np.concatenate(both)
    if a + b == 0:
        assert not influences.any()
        return

    def harmonic(x: float, y: float) -> float:
        return 2 * x * y / (x + y)

    step = 1e-6
    slopes = [
        (harmonic(a + step, b) - harmonic(a - step, b)) / (2 * step),
        (harmonic(a, b + step) - harmonic(a, b - step)) / (2 * step),
    ]
    wanted = slopes[0] ** 2 * np.var(one) / len(one) + slopes[1] ** 2 * np.var(other) / len(other)
    assert influences.mean() == pytest.approx(harmonic(a, b))
    assert influences.var() / len(influences) == pytest.approx(wanted, abs=1e-7)


def test_the_first_wrong_step_passes_over_what_nobody_judged() -> None:
    assert first_wrong([0.1, 0.9, 0.2], [None, True, False], 0.5) == (2, 2)
    assert first_wrong([0.9, 0.9], [True, True], 0.5) == (None, None)
    assert harmonic_influences([], [1.0]) is None
    assert of_answer([0.5, 0.9], "mean") == pytest.approx(0.7)


def test_the_preference_eval_takes_a_process_reward_model() -> None:
    """Each way to make one number of steps decides another of three pairs."""
    pairs = {
        "a": ([0.5, 0.5, 0.5], [0.4, 0.9]),  # min 0.5 > 0.4, product 0.125 < 0.36, last 0.5 < 0.9
        "b": ([0.3, 0.9], [0.4, 0.4]),  # min less, product 0.27 > 0.16, last more
        "c": ([0.2, 0.2, 0.9], [0.3, 0.8]),  # min less, product less, last more
    }
    known = {f"{name} {side}": right for name, sides in pairs.items() for side, right in enumerate(sides)}
    records = [
        Record(
            content=Comparison(
                prompt=(said(Role.USER, "?"),),
                chosen=(said(Role.ASSISTANT, f"{name} 0"),),
                rejected=(said(Role.ASSISTANT, f"{name} 1"),),
            )
        )
        for name in pairs
    ]
    got = {}
    for way in ("min", "product", "last"):
        measured = PreferenceAccuracy(steps=way).measure(Steps(known), (), records)
        got[way] = [score.value for _, score in measured["accuracy"]]  # type: ignore[union-attr]
        assert all(isinstance(score, Unscored) for _, score in measured["accuracy_per_token"])
    assert got == {"min": [1.0, 0.0, 0.0], "product": [0.0, 1.0, 0.0], "last": [0.0, 1.0, 1.0]}
    assert PreferenceAccuracy().steps == "min"
    none = PreferenceAccuracy().measure(Steps({**known, "a 0": []}), (), records)["accuracy"]
    assert isinstance(none[0][1], Unscored)
