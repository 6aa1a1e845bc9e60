"""Which candidates there are, which go on, which nothing beats; all without training anything."""

import itertools
import math
import random
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from goldsmith.engines.splits import carve_records, prompt_key, split_records
from goldsmith.engines.sweeping.account import account
from goldsmith.engines.sweeping.grid import Candidate, candidates, settings_of
from goldsmith.engines.sweeping.halving import rungs, survivors
from goldsmith.engines.sweeping.pareto import Point, front
from goldsmith.engines.sweeping.state import Result, State
from goldsmith.engines.yaml_file import parse_yaml
from goldsmith.methods.sft import Sft
from goldsmith.types.errors import BadInput
from goldsmith.types.recipe import Sweep, SweepBudget
from goldsmith.types.record import Conversation, Message, Record, Role, TextPart


@pytest.mark.parametrize(
    ("number", "steps", "least", "eta", "wanted"),
    [
        (4, 4, 2, 2, [2, 4]),
        (8, 80, 10, 2, [10, 20, 40, 80]),
        (9, 90, 1, 3, [10, 30, 90]),
        (1, 100, 10, 2, [100]),
        (27, 5, 10, 3, [5]),
        (2, 1000, 1, 2, [500, 1000]),
    ],
)
def test_rungs(number, steps, least, eta, wanted):
    assert rungs(number, steps, least, eta) == wanted


@given(st.integers(1, 300), st.integers(1, 5000), st.integers(1, 100), st.integers(2, 5))
def test_rungs_rise_to_the_whole_run_and_come_down_to_one(number, steps, least, eta):
    found = rungs(number, steps, least, eta)
    assert found == sorted(set(found))
    assert found[-1] == steps
    assert all(step >= min(least, steps) for step in found)
    before_last = number // eta ** max(0, len(found) - 2)
    assert len(found) == 1 or before_last > 0  # no rung is gone to with nothing left to leave out


@given(st.dictionaries(st.integers(0, 50), st.floats(allow_nan=True), min_size=1), st.integers(2, 5))
def test_the_best_go_on_and_nothing_that_is_no_number(scores, eta):
    kept = survivors(scores, eta)
    finite = [n for n in scores if math.isfinite(scores[n])]
    assert len(kept) == min(len(finite), max(1, len(scores) // eta))
    worst = max((scores[n] for n in kept), default=math.inf)
    assert all(scores[n] >= worst for n in finite if n not in kept)


def _beaten(point: Point, others: list[Point]) -> bool:
    """By the definition, with other means: strings of two significant digits."""

    def told(value: float) -> float:
        return float(f"{value:.1e}")

    for other in others:
        if len(other.scores) < len(point.scores):
            continue
        pairs = [
            (other.scores[len(point.scores) - 1], point.scores[-1]),
            (told(other.memory), told(point.memory)),
            (told(other.seconds), told(point.seconds)),
        ]
        if all(a <= b for a, b in pairs) and any(a < b for a, b in pairs):
            return True
    return False


def test_the_front_is_what_brute_force_finds():
    dice = random.Random(5)
    for _ in range(300):
        points = [
            Point(
                tuple(dice.choice((0.5, 1.0, 1.5, 2.0)) for _ in range(dice.randint(0, 3))),
                dice.choice((0.0, 101.0, 104.0, 219.0, 12_345.0)),
                dice.choice((1.04, 1.01, 17.0, 0.031)),
            )
            for _ in range(dice.randint(0, 8))
        ]
        wanted = [n for n, one in enumerate(points) if one.scores and not _beaten(one, points)]
        assert front(points) == wanted
        assert bool(wanted) == any(one.scores for one in points)


def test_the_grid_is_every_combination_once():
    sweep = Sweep(tune=("lora", "full"), rank=(4, 8), learning_rate=(1e-3, 1e-4), dropout=(0.0, 0.1))
    found = candidates(sweep, 0)
    adapters = {(one.rank, one.learning_rate, one.dropout) for one in found if one.tune == "lora"}
    assert adapters == set(itertools.product((4, 8), (1e-3, 1e-4), (0.0, 0.1)))
    assert {one.learning_rate for one in found if one.tune == "full"} == {1e-4, 1e-5}
    assert len(found) == len(set(found)) == 8 + 2


def test_a_draw_is_the_seeds_and_within_the_bounds():
    sweep = Sweep(tune=("lora",), learning_rate=(1e-5, 1e-2), draw=400)
    found = candidates(sweep, 3)
    assert found == candidates(sweep, 3)
    assert found != candidates(sweep, 4)
    rates = [one.learning_rate for one in found]
    assert min(rates) >= 1e-5
    assert max(rates) <= 1e-2
    below = sum(rate < 10**-3.5 for rate in rates) / len(rates)
    assert 0.4 < below < 0.6  # log-uniform: half of them below the geometric middle


def test_a_grid_without_end_is_refused():
    wide = tuple(i / 10_000 for i in range(1, 200))
    with pytest.raises(BadInput, match="too large"):
        candidates(Sweep(learning_rate=wide, weight_decay=wide), 0)


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"adapter": {"kind": "lora", "alpha": 8.0, "targets": ["q_proj"]}, "precision": "bfloat16"},
        {"adapter": {"kind": "none", "only": ["*.mlp.*"]}, "epochs": 2.0},
    ],
)
def test_every_candidate_is_a_valid_step(given):
    wide = Sweep(tune=("lora", "qlora", "full"), dropout=(0.0, 0.1), weight_decay=(0.0, 0.01))
    for one in candidates(wide, 0):
        built = Sft.model_validate(settings_of(one, given))
        assert built.learning_rate == one.learning_rate
        assert built.adapter.kind == {"full": "none"}.get(one.tune, one.tune)
        assert built.adapter.rank == (one.rank or 16)


def test_noise_is_tried_only_where_it_is_asked_for():
    plain = Sweep(tune=("lora", "full"), rank=(4,), learning_rate=(1e-4,))
    given = {"neftune_alpha": 3.0}
    assert [settings_of(one, given)["neftune_alpha"] for one in candidates(plain, 0)] == [3.0, 3.0]
    tried = candidates(plain.model_copy(update={"neftune_alpha": (0.0, 5.0)}), 0)
    assert [settings_of(one, given)["neftune_alpha"] for one in tried] == [0.0, 5.0, 0.0, 5.0]
    assert [Sft.model_validate(settings_of(one, {})).neftune_alpha for one in tried] == [0.0, 5.0, 0.0, 5.0]
    assert [str(one) for one in tried][1].endswith("noise 5")
    drawn = Sweep(draw=60)
    same = [replace(one, neftune_alpha=None) for one in candidates(drawn, 2)]
    assert same == candidates(drawn, 2)
    assert {one.neftune_alpha for one in candidates(drawn.model_copy(update={"neftune_alpha": (0.0, 5.0)}), 2)} == {
        0,
        5,
    }


def test_an_unknown_key_is_named_with_what_was_meant():
    with pytest.raises(BadInput) as error:
        parse_yaml("learning_rates: [1e-4]\n", Sweep)
    assert "learning_rate" in str(error.value)
    assert "did you mean" in str(error.value)


@pytest.mark.parametrize("budget", ["{}", "{hours: 1, euros: 2}", "{euros: 2}", "{hours: 0}"])
def test_a_budget_says_one_bound(budget):
    with pytest.raises(BadInput):
        parse_yaml(f"budget: {budget}\n", Sweep)


def test_money_is_time_at_a_price():
    assert SweepBudget(euros=3.0, euros_per_hour=1.5).seconds == 7200
    assert SweepBudget(hours=0.5).seconds == 1800


def record(n: int, answer: str = "yes") -> Record:
    def said(role: Role, text: str) -> Message:
        return Message(role=role, parts=(TextPart(text=text),))

    return Record(content=Conversation(messages=(said(Role.USER, f"What is {n}?"), said(Role.ASSISTANT, answer))))


def test_what_is_compared_on_was_set_aside_for_no_test():
    everything = [record(n) for n in range(100)] + [record(n, "no") for n in range(0, 100, 3)]
    wanted = everything[:80]
    training, validation = carve_records(everything, wanted, 0.1, 0.2)
    held = {prompt_key(r) for part in (everything, wanted) for r in split_records(part, 0.1)[1]}
    assert held
    assert validation
    parts = [{prompt_key(r) for r in part} for part in (training, validation)]
    assert not parts[0] & parts[1]
    assert not (parts[0] | parts[1]) & held
    assert parts[0] | parts[1] | held >= {prompt_key(r) for r in wanted}


def _swept(tmp_path, results, complete, ended="done"):
    state = State(tmp_path / "state.json", list(results))
    tried = [(Candidate("full", rate, 0.0), {}) for rate in (1e-3, 1e-4, 1e-5, 1e-6)]
    return account(
        tried, state, rungs=(2, 4), ended=ended, complete=complete, price=3.6, rows=(90, 10), folder=tmp_path
    )


def test_the_account_costs_failures_and_finds_the_best(tmp_path):
    swept = _swept(
        tmp_path,
        [
            Result(0, 0, "ok", 2, 1.0, 1.0, seconds=10, train_seconds=4, trained_steps=2, memory=100),
            Result(1, 0, "ok", 2, 2.0, 2.0, seconds=10, train_seconds=4, trained_steps=2, memory=100),
            Result(2, 0, "failed", seconds=10, memory=10, reason="Diverged"),
            Result(3, 0, "ok", 2, 3.0, 3.0, seconds=10, train_seconds=1, trained_steps=2, memory=50),
            Result(0, 1, "failed", seconds=5, reason="killed"),
            Result(1, 1, "ok", 4, 1.5, 1.5, seconds=10, train_seconds=4, trained_steps=2, memory=100),
        ],
        complete=1,
    )
    assert swept.best is not None
    assert swept.best.candidate.learning_rate == 1e-4  # the one before it was lost on the way
    assert swept.seconds == 55
    assert swept.cost == pytest.approx(0.055)
    rows = {row.candidate.learning_rate: row for row in swept.rows}
    assert rows[1e-4].whole_seconds == 8  # two seconds a step, four steps
    assert rows[1e-4].whole_cost == pytest.approx(0.008)
    assert {rate for rate, row in rows.items() if row.pareto} == {1e-4, 1e-6}
    assert rows[1e-5].reason == "Diverged"


def test_where_the_budget_ended_a_rung_the_one_before_decides(tmp_path):
    first = [Result(n, 0, "ok", 2, s, s, seconds=1, train_seconds=1, trained_steps=2) for n, s in ((0, 1.0), (1, 0.9))]
    late = Result(0, 1, "ok", 4, 0.8, 0.8, seconds=1, train_seconds=1, trained_steps=2)
    swept = _swept(tmp_path, [*first, late], complete=0, ended="out of budget")
    assert swept.best is not None
    assert swept.best.candidate.learning_rate == 1e-4
    assert [row.reason for row in swept.rows].count("not tried") == 2


def test_a_state_goes_round_and_counts_what_was_lost(tmp_path):
    state = State.read(tmp_path / "state.json")
    state.put(Result(0, 0, "ok", 2, 1.0, 1.0, seconds=3))
    state.running_seconds = 4.0
    state.write()
    again = State.read(tmp_path / "state.json")
    assert again.spent == 7
    assert again.find(0, 0) == Result(0, 0, "ok", 2, 1.0, 1.0, seconds=3)
    again.put(Result(1, 0, "failed", seconds=1, reason="x"))
    assert State.read(tmp_path / "state.json").spent == 8
