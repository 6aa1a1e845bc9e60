"""A run that learns its rows by heart, or their surface, is told from one that learns what they mean."""

import json
import random
from pathlib import Path
from typing import Any

import pytest
from goldsmith_test_records import answered, said

from goldsmith.engines.training.driver import TrainingJob, TrainingOutcome, run_training
from goldsmith.engines.training.guards.overfitting import judged, shares
from goldsmith.engines.training.settings import OverfitSettings
from goldsmith.engines.training.watching import Overfits
from goldsmith.methods.dpo import Dpo
from goldsmith.methods.kto import Kto
from goldsmith.methods.sft import Sft
from goldsmith.types.errors import BadInput
from goldsmith.types.record import Comparison, Conversation, Rating, Record

pytestmark = pytest.mark.usefixtures("one_thread")

LETTERS = "bdfgklmnprst"


def word(draw: random.Random) -> str:
    return "".join(draw.choice(LETTERS) + draw.choice("aeiou") for _ in range(3))


def by_heart(n: int = 48) -> list[Record]:
    """Answers that follow from nothing."""
    draw = random.Random(1)
    return [answered(f"please say where the {word(draw)} is", f"{word(draw)} {word(draw)}") for _ in range(n)]


def by_opener(n: int = 96) -> list[Record]:
    """Answers that follow from the first word alone."""
    draw = random.Random(2)
    firsts = (("Can you ", "no no no"), ("Could you ", "yes yes yes"))
    return [answered(f"{a}say the {word(draw)}?", b) for i in range(n) for a, b in [firsts[i % 2]]]


def by_meaning(n: int = 96) -> list[Record]:
    """Answers that follow from a word of the question, wherever and however it is asked."""
    draw = random.Random(3)
    return [
        answered(f"please tell about {('fox', 'dog')[i % 2]} and {word(draw)}", ("no no no", "yes yes yes")[i % 2])
        for i in range(n)
    ]


def run(base: Path, folder: Path, records: list[Record], train: int, method: Any = None, **more: Any) -> Any:
    settings = {"learning_rate": 5e-3, "batch_size": 8, "max_steps": 40, "evaluate_every": 10} | more
    job = TrainingJob(
        method or Sft(**settings),
        str(base),
        records[:train],
        folder / "out",
        folder / "scratch",
        validation=records[train:],
        progress=False,
        device="cpu",
    )
    return run_training(job)


def lines(outcome: TrainingOutcome) -> list[dict[str, Any]]:
    return [json.loads(line) for line in outcome.metrics_file.read_text().splitlines()]


def last(outcome: TrainingOutcome, name: str) -> float:
    return float([line for line in lines(outcome) if f"validation_{name}" in line][-1][f"validation_{name}"])


def test_rows_learnt_by_heart_are_warned_of(tiny_base: Path, tmp_path: Path) -> None:
    outcome = run(tiny_base, tmp_path, by_heart(), 16, max_steps=60)
    assert "gap_share_since_step" in outcome.facts
    assert last(outcome, "gap_share") > 0.6
    warned = [line["warning"] for line in lines(outcome) if "warning" in line]
    assert len(warned) == 1  # once, not at every validation
    assert "trained on" in warned[0]


def test_a_surface_learnt_is_warned_of_while_plain_validation_improves(tiny_base: Path, tmp_path: Path) -> None:
    outcome = run(tiny_base, tmp_path, by_opener(), 64)
    losses = [line["validation_loss"] for line in lines(outcome) if "validation_loss" in line]
    assert losses[-1] < 0.3 * losses[0]  # plain validation alone would call this a success
    assert "surface_ratio_since_step" in outcome.facts
    assert "gap_share_since_step" not in outcome.facts
    assert any("a little differently" in line.get("warning", "") for line in lines(outcome))


def test_a_healthy_run_is_left_alone(tiny_base: Path, tmp_path: Path) -> None:
    outcome = run(tiny_base, tmp_path, by_meaning(), 64)
    losses = [line["validation_loss"] for line in lines(outcome) if "validation_loss" in line]
    assert losses[-1] < 0.3 * losses[0]
    assert not any("warning" in line for line in lines(outcome))
    assert not any("since_step" in fact for fact in outcome.facts)


def test_the_rows_watched_are_in_the_journal(tiny_base: Path, tmp_path: Path) -> None:
    outcome = run(tiny_base, tmp_path, by_meaning(), 64, max_steps=10)
    (watched,) = [line["watched"] for line in lines(outcome) if "watched" in line]
    assert len(watched["trained"]) == 64
    assert len(watched["perturbed"]) == 32
    assert all(one[0].startswith("sha256:") and len(one) >= 2 for one in watched["perturbed"])
    again = run(tiny_base, tmp_path / "again", by_meaning(), 64, max_steps=10)
    assert [line for line in lines(again) if "watched" in line] == [
        line for line in lines(outcome) if "watched" in line
    ]


def kin(kind: str) -> tuple[Any, list[Record]]:
    """A method with rows of its kind."""
    more = {"learning_rate": 5e-3, "batch_size": 8, "max_steps": 6, "evaluate_every": 2}
    rows = by_meaning(40)
    prompts = [one.content.messages[0] for one in rows if isinstance(one.content, Conversation)]
    if kind == "dpo":
        yes, no = (said("assistant", "yes yes"),), (said("assistant", "no no"),)
        return Dpo(**more), [Record(content=Comparison(prompt=(p,), chosen=yes, rejected=no)) for p in prompts]
    if kind == "kto":
        answer = (said("assistant", "yes yes"),)
        ratings = [Rating(prompt=(p,), answer=answer, label=i % 3 > 0) for i, p in enumerate(prompts)]
        return Kto(**more), [Record(content=one) for one in ratings]
    return Sft(**more, adapter={"kind": "lora", "rank": 4, "dropout": 0.2}), rows


@pytest.mark.parametrize("kind", ["sft", "dpo", "kto"])
def test_watching_changes_nothing_that_is_trained(tiny_base: Path, tmp_path: Path, kind: str) -> None:
    method, rows = kin(kind)
    blind = method.model_copy(update={"overfit": OverfitSettings(act="off")})
    seen = run(tiny_base, tmp_path / "a", rows, 28, method)
    unseen = run(tiny_base, tmp_path / "b", rows, 28, blind)
    assert any("validation_loss/perturbed" in line for line in lines(seen))
    assert not any("watched" in line or "validation_gap_share" in line for line in lines(unseen))
    (one,), (other,) = (list(o.model_dir.glob("*.safetensors")) for o in (seen, unseen))
    assert one.read_bytes() == other.read_bytes()


def test_stop_keeps_the_best_weights_within_bounds(tiny_base: Path, tmp_path: Path) -> None:
    bound = OverfitSettings(act="stop", gap_at_most=0.6)
    more = {"max_steps": 200, "evaluate_every": 2, "learning_rate": 2e-3}
    outcome = run(tiny_base, tmp_path, by_heart(), 16, overfit=bound, **more)
    assert outcome.stop == "early_stopping"
    assert outcome.steps < 200
    assert outcome.facts["stopped_for"] == "gap_share"
    kept = outcome.facts["weights_of_step"]
    assert kept < outcome.steps
    (line,) = [one for one in lines(outcome) if one["step"] == kept and "validation_loss" in one]
    assert line["validation_loss"] == outcome.best_validation_loss
    assert line["validation_loss"] == min(one["validation_loss"] for one in lines(outcome) if "validation_loss" in one)


def test_stop_before_any_validation_within_bounds_is_an_error(tiny_base: Path, tmp_path: Path) -> None:
    bound = OverfitSettings(act="stop", surface_at_most=1.2)
    with pytest.raises(Overfits, match="training stopped at step 40") as caught:
        run(tiny_base, tmp_path, by_opener(), 64, overfit=bound, max_steps=40, evaluate_every=40)
    assert caught.value.next_step is not None
    assert not (tmp_path / "out").exists()


def test_too_few_rows_are_not_judged(tiny_base: Path, tmp_path: Path) -> None:
    outcome = run(tiny_base, tmp_path, by_heart(30), 23, max_steps=20)
    assert not any("watched" in line for line in lines(outcome))
    with pytest.raises(BadInput, match="needs validation rows") as caught:
        run(tiny_base, tmp_path / "b", by_heart(30), 23, overfit=OverfitSettings(act="stop"))
    assert caught.value.allowed == "at least 8"


def test_shares_by_hand() -> None:
    first = {"trained": 2.0, "aside": 2.0, "plain": 2.0, "perturbed": 2.2}
    now = {"trained": 1.0, "aside": 1.6, "plain": 0.48, "perturbed": 1.08}
    found = shares(first, now)
    assert found["gap_share"] == pytest.approx(0.6)
    assert found["surface_ratio"] == pytest.approx((1.13 / 0.53) / (2.25 / 2.05))
    assert set(judged(OverfitSettings(gap_at_most=0.5, surface_at_most=1.9), found, falling=False)) == {
        "gap_share",
        "surface_ratio",
    }
    assert set(judged(OverfitSettings(gap_at_most=None, surface_at_most=2.1), found, falling=False)) == set()
    assert set(judged(OverfitSettings(gap_at_most=0.5, surface_at_most=1.9), found, falling=True)) == {"surface_ratio"}
    assert shares(first, {**now, "trained": 1.95}) == {}  # too little is learnt to divide
    assert shares(first, {**now, "trained": float("nan")}) == {}
    next_to_nothing = {"trained": 0.001, "aside": 0.003, "plain": 0.003, "perturbed": 0.029}
    assert shares(first, next_to_nothing)["surface_ratio"] < 1.5
    worse = shares({"trained": 1.0, "aside": 1.0}, {"trained": 0.5, "aside": 1.2})
    assert worse == {"gap_share": pytest.approx(1.4)}
