"""SimPO, ORPO, KTO and DPO's other losses move the model towards what is good, on prompts they did not see."""

from pathlib import Path
from typing import Any, get_args

import pytest
from goldsmith_test_records import WORDS, preference, said

from goldsmith import plugins
from goldsmith.engines.chat import open_chat
from goldsmith.engines.training.data.batches import Plan, flat_batch
from goldsmith.engines.training.driver import TrainingJob, run_training
from goldsmith.engines.training.guards.self_test import choose_way
from goldsmith.engines.training.losses.answers import pairs_of
from goldsmith.engines.training.losses.preference import SMOOTHS, PairLoss
from goldsmith.engines.training.model.loading import load_model
from goldsmith.engines.training.model.policy import Policy
from goldsmith.methods.dpo import Dpo
from goldsmith.methods.kto import Kto
from goldsmith.types.errors import BadInput
from goldsmith.types.record import Comparison, Rating, Record


def ratings(word: str) -> list[Record]:
    found = preference(word).content
    assert isinstance(found, Comparison)
    return [
        Record(content=Rating(prompt=found.prompt, answer=answer, label=label))
        for answer, label in ((found.chosen, True), (found.rejected, False))
    ]


def margins(folder: Path) -> list[float]:
    """How much likelier the good answer is than the bad one, on the prompts held back."""
    method, chat = Dpo(), open_chat(folder)
    rows = [method.encode(chat, preference(word), word, word) for word in WORDS[6:]]
    policy = Policy(load_model(folder), chat, method, "unused")
    choose_way(policy, rows, 100)
    with policy.evaluating():
        pairs = pairs_of(policy, rows, flat_batch(rows, range(len(rows))), None)
    return (pairs.chosen_P - pairs.rejected_P).tolist()


def train(name: str, settings: dict[str, Any], records: list[Record], base: Path, folder: Path) -> Any:
    shared = {"learning_rate": 3e-3, "batch_size": 6, "max_steps": 20, **settings}
    job = TrainingJob(
        plugins.build("methods", name, shared), str(base), records, folder / "out", folder / "scratch",
        progress=False, device="cpu",
    )  # fmt: skip
    return run_training(job)


CASES: list[tuple[str, dict[str, Any]]] = [
    *(("dpo", {"loss": kind, "label_smoothing": 0.1 if kind in SMOOTHS else 0.0}) for kind in get_args(PairLoss)),
    ("simpo", {}),
    ("orpo", {"odds_weight": 1.0}),
    ("kto", {}),
]


@pytest.mark.parametrize(("name", "settings"), CASES, ids=[f"{n} {s.get('loss', '')}".strip() for n, s in CASES])
def test_good_answers_win_on_prompts_not_seen(
    tiny_base: Path, tmp_path: Path, name: str, settings: dict[str, Any]
) -> None:
    words = WORDS[:6]
    records = [r for w in words for r in ratings(w)] if name == "kto" else [preference(word) for word in words]
    outcome = train(name, settings, records, tiny_base, tmp_path)
    assert outcome.steps == 20
    before, after = margins(tiny_base), margins(outcome.model_dir)
    assert all(b > a + 1 for a, b in zip(before, after, strict=True)), (before, after)


def test_kto_starts_at_its_reference_and_needs_two_prompts(tiny_base: Path, tmp_path: Path) -> None:
    records = [r for w in WORDS for r in ratings(w)]
    start = train("kto", {"learning_rate": 1e-9, "max_steps": 1, "batch_size": 16}, records, tiny_base, tmp_path / "a")
    assert start.final_loss == pytest.approx(0.5, abs=1e-3)
    with pytest.raises(BadInput, match="different prompts"):
        train("kto", {}, ratings("fox"), tiny_base, tmp_path / "b")


def test_a_rating_without_a_label_is_not_taken(tiny_base: Path) -> None:
    prompt, answer = (said("user", "a"),), (said("assistant", "b"),)
    unlabelled = Record(content=Rating(prompt=prompt, answer=answer, score="3"))
    assert not Kto().accepts(unlabelled)
    with pytest.raises(BadInput, match="neither good nor bad"):
        Kto().encode(open_chat(tiny_base), unlabelled, "r", "k")


def test_a_loss_that_needs_smoothing_says_so() -> None:
    with pytest.raises(BadInput, match="exo_pair"):
        plugins.build("methods", "dpo", {"loss": "exo_pair"})
    with pytest.raises(BadInput, match="no meaning"):
        plugins.build("methods", "dpo", {"loss": "ipo", "label_smoothing": 0.1})


def test_kto_validates_the_same_where_prompts_cannot_be_shared(tiny_base: Path) -> None:
    """Models whose attention cannot be steered give each row a line of its own."""
    method, chat = Kto(), open_chat(tiny_base)
    records = [r for word in WORDS[:4] for r in ratings(word)]
    rows = [method.encode(chat, record, "r", str(i)) for i, record in enumerate(records)]
    found = []
    for way in ("flat", "padded"):
        policy = Policy(load_model(tiny_base), chat, method, "unused")
        policy.take(way)
        plan = Plan(tuple(rows), 0, len(rows), 1, 500, 2, share=policy.shares)
        prepared = method.prepare(policy, rows, plan)
        with policy.evaluating():
            found.append(method.evaluate(policy, rows, plan.over(rows), prepared))
    assert found[0] == pytest.approx(found[1], abs=1e-4)
    assert found[0]["loss"] == pytest.approx(0.5, abs=1e-3)


def test_a_model_without_a_list_of_layers_is_not_compiled(tiny_base: Path) -> None:
    policy = Policy(load_model(tiny_base), open_chat(tiny_base), Kto(), "unused")
    policy.decoder = object()
    assert policy.compile().startswith("nothing")
