"""Preferences of goldsmith-nano's order desk teach what is better in cases that were not trained on."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from pathlib import Path
from typing import Any

import pytest
import torch

from goldsmith import nano, plugins
from goldsmith.engines.sampler import LocalAnswerer
from goldsmith.engines.training.driver import TrainingJob, run_training
from goldsmith.nano import deliveries
from goldsmith.types.record import Comparison, Conversation, Message, Rating, Record

pytestmark = pytest.mark.timeout(900)  # wall time: up to a minute of one idle core each
SEEDS = [1, *(pytest.param(seed, marks=pytest.mark.slow) for seed in (2, 3))]


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def pairs(count: int, seed: int) -> list[Record]:
    """The right step in a conversation against a wrong one, or a curt answer."""
    source = plugins.build("sources", "openai_preference")
    return [Record(content=source.parse(row).content) for row in deliveries.expert_preferences(count, seed=seed)]


def lines_of(folder: Path, method: str, seed: int, **changes: Any) -> list[dict[str, Any]]:
    """What was logged while training on 160 pairs, with a look at 60 others at the end."""
    settings = {"learning_rate": 1e-3, "batch_size": 8, "adapter": {"kind": "lora", "rank": 8}, **changes}
    built = plugins.find("methods", method).model_validate({**settings, "overfit": {"act": "off"}})
    where = {"output_dir": folder / "out", "scratch_dir": folder / "scratch"}
    job = TrainingJob(
        built, str(nano.model_path()), pairs(160, 100 + seed), **where, validation=pairs(60, 900 + seed),
        seed=seed, progress=False, device="cpu",
    )  # fmt: skip
    run_training(job)
    return [json.loads(line) for line in (folder / "scratch" / "metrics.jsonl").read_text().splitlines()]


def aside(folder: Path, method: str, seed: int, **changes: Any) -> dict[str, float]:
    """What training on 160 pairs came to on 60 others."""
    lines = lines_of(folder, method, seed, **changes)
    last = [line for line in lines if "validation_loss" in line][-1]
    return {name.removeprefix("validation_"): value for name, value in last.items()}


@pytest.mark.parametrize("seed", SEEDS)
def test_dpo_wins_pairs_it_has_not_seen_by_a_margin(tmp_path: Path, seed: int) -> None:
    found = aside(tmp_path, "dpo", seed)
    assert found["reward_accuracy"] > 0.85
    assert found["reward_margin"] > 1.5
    assert found["chosen_logratio"] > 0 > found["rejected_logratio"]


@pytest.mark.parametrize("seed", SEEDS)
def test_a_reward_model_tells_better_from_worse(tmp_path: Path, seed: int) -> None:
    found = aside(tmp_path, "reward_model", seed)
    assert found["score_accuracy"] > 0.68  # tossing coins gives 0.5, give or take 0.06
    assert found["score_difference"] > 1.0
    assert found["loss"] < 0.5  # tossing coins: 0.69


def test_models_that_learn_nothing_do_not_pass(tmp_path: Path) -> None:
    dpo = aside(tmp_path / "dpo", "dpo", 1, learning_rate=1e-12, max_steps=2)
    assert abs(dpo["reward_margin"]) < 1e-3
    reward = aside(tmp_path / "reward", "reward_model", 1, learning_rate=1e-12, max_steps=2)
    assert reward["score_accuracy"] < 0.66
    assert reward["loss"] > 0.6


@pytest.mark.slow
@pytest.mark.parametrize(("learning_rate", "degenerate"), [(1e-2, True), (1e-3, False)])
def test_a_step_far_too_large_is_called_degenerate(tmp_path: Path, learning_rate: float, degenerate: bool) -> None:
    lines = lines_of(tmp_path, "dpo", 1, learning_rate=learning_rate, epochs=2.0)
    assert any("degenerate" in str(line.get("warning")) for line in lines) == degenerate


# ---- a bad habit unlearned ------------------------------------------------------------------------------------------
#
# A base that was fine-tuned on the worse answers alone gives them on prompts it has not seen. KTO, ORPO and SimPO must
# bring it back to the better ones: in what they find likelier, and in what is answered greedily.

UNLEARNING: dict[str, dict[str, Any]] = {"orpo": {}, "simpo": {}, "kto": {"batch_size": 16}}  # 8 pairs an update each


@dataclass(frozen=True)
class Stand:
    """Means over held-out pairs. `margin`: the better answer's log-probability less the worse one's, in nats. `wins`:
    the share whose greedy answer is more like the better one than like the worse one, letter by letter."""

    margin: float
    wins: float


def habits(count: int, seed: int) -> list[Comparison]:
    """The pairs among `count` whose worse answer can become a habit: another tool or a curt word, and no order number
    that nobody can foresee."""
    found = [record.content for record in pairs(count, seed)]
    return [pair for pair in found if isinstance(pair, Comparison) and names(pair.chosen) != names(pair.rejected)]


def names(answer: Sequence[Message]) -> str:
    """The tools that are called, else the words."""
    return "".join(call.name for message in answer for call in message.calls) or words(answer)


def words(answer: Sequence[Message]) -> str:
    """Text and calls as one string."""
    return "".join(m.text + "".join(f"{call.name} {call.arguments}" for call in m.calls) for m in answer)


def trained(folder: Path, method: str, base: Path, records: Sequence[Record], **settings: Any) -> Path:
    common = {"batch_size": 8, "overfit": {"act": "off"}}
    built = plugins.find("methods", method).model_validate({**common, **settings})
    where = {"output_dir": folder / "out", "scratch_dir": folder / "scratch"}
    return run_training(
        TrainingJob(built, str(base), list(records), **where, seed=1, progress=False, device="cpu")
    ).model_dir


def stand(base: Path, adapter: Path | None = None) -> Stand:
    """Where a model stands on pairs of other orders."""
    held = habits(90, 901)
    with LocalAnswerer(base, adapter) as model:
        found = model.logprobs(
            [(pair.prompt, one, pair.tools) for pair in held for one in (pair.chosen, pair.rejected)]
        )
        answers = model.answer([(pair.prompt, pair.tools) for pair in held], max_new_tokens=48)
    margins = [better.logprob - worse.logprob for better, worse in zip(found[::2], found[1::2], strict=True)]
    won = [
        like(text, words(pair.chosen)) > like(text, words(pair.rejected))
        for pair, text in zip(held, [words((a.message,)) if a.message else a.text for a in answers], strict=True)
    ]
    return Stand(sum(margins) / len(held), sum(won) / len(held))


def like(one: str, other: str) -> float:
    return SequenceMatcher(None, one, other, autojunk=False).ratio()


@pytest.fixture(scope="module")
def bad_base(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Stand]:
    """goldsmith-nano after one epoch on worse answers, and where it stands."""
    folder = tmp_path_factory.mktemp("habit")
    said = [Conversation(messages=(*pair.prompt, *pair.rejected), tools=pair.tools) for pair in habits(240, 501)]
    records = [Record(content=one) for one in said]
    base = trained(folder, "sft", nano.model_path(), records, learning_rate=5e-4, adapter={"kind": "none"})
    return base, stand(base)


def unlearned(folder: Path, method: str, base: Path, *, turned: bool = False, **changes: Any) -> Stand:
    """Where the base stands after `method`; `turned`: taught that the worse answers are the better ones."""
    records: list[Record] = []
    for pair in habits(200, 101):
        better, worse = (pair.rejected, pair.chosen) if turned else (pair.chosen, pair.rejected)
        if method == "kto":
            rated = [Rating(prompt=pair.prompt, answer=a, tools=pair.tools, label=a is better) for a in (better, worse)]
            records += [Record(content=one) for one in rated]
        else:
            records.append(Record(content=pair.model_copy(update={"chosen": better, "rejected": worse})))
    settings = {"learning_rate": 1e-3, "adapter": {"kind": "lora", "rank": 8}, **UNLEARNING[method], **changes}
    return stand(base, trained(folder, method, base, records, **settings))


@pytest.mark.slow
@pytest.mark.parametrize("method", UNLEARNING)
def test_a_bad_habit_is_unlearned(tmp_path: Path, bad_base: tuple[Path, Stand], method: str) -> None:
    base, before = bad_base
    after = unlearned(tmp_path, method, base)
    assert before.wins < 0.7
    assert after.wins > 0.8, (before, after)  # of 59 pairs; taught the wrong way round 0.1 to 0.35
    assert after.margin > before.margin + 20, (
        before,
        after,
    )  # nats; a run that learns nothing moves it by less than 0.1


@pytest.mark.slow
@pytest.mark.parametrize("method", ["orpo", "simpo"])
def test_pairs_the_wrong_way_round_do_not_unlearn_it(tmp_path: Path, bad_base: tuple[Path, Stand], method: str) -> None:
    base, before = bad_base
    after = unlearned(tmp_path, method, base, turned=True)
    assert after.wins < 0.5, (before, after)
    assert after.margin < before.margin, (before, after)


@pytest.mark.slow
def test_a_run_that_learns_nothing_does_not_unlearn_it(tmp_path: Path, bad_base: tuple[Path, Stand]) -> None:
    base, before = bad_base
    after = unlearned(tmp_path, "kto", base, learning_rate=1e-12, max_steps=1)
    assert abs(after.wins - before.wins) < 0.05
    assert abs(after.margin - before.margin) < 0.1
