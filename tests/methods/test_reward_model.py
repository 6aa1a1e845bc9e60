"""A reward model learns which answers are better, says so on prompts it has not seen, and never answers anybody."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from goldsmith_test_records import WORDS, preference, said

from goldsmith import plugins
from goldsmith.engines.chat import open_chat
from goldsmith.engines.grading.asking import ask
from goldsmith.engines.reward_form import reward_form
from goldsmith.engines.reward_scoring import RewardAnswerer, RewardScorer
from goldsmith.engines.sampler import LocalAnswerer
from goldsmith.engines.training.driver import TrainingJob, run_training
from goldsmith.engines.training.model.loading import load_model
from goldsmith.engines.training.model.saving import merge
from goldsmith.evals.preference_accuracy import PreferenceAccuracy
from goldsmith.methods.reward_model import RewardModel
from goldsmith.types.errors import BadInput
from goldsmith.types.record import Comparison, Record
from goldsmith.types.reward import Rewarded, Sampled, Unrewarded
from goldsmith.types.score import Unscored


def train(base: Path, folder: Path, records: list[Record], validation: list[Record] | None, **settings: Any) -> Any:
    method = plugins.build(
        "methods", "reward_model", {"learning_rate": 3e-3, "batch_size": 6, "max_steps": 25} | settings
    )
    job = TrainingJob(
        method,
        str(base),
        records,
        folder / "out",
        folder / "scratch",
        validation=validation,
        progress=False,
        device="cpu",
    )
    return run_training(job)


def samples(words: tuple[str, ...]) -> tuple[list[Sampled], list[Sampled]]:
    pairs = [preference(word).content for word in words]
    assert all(isinstance(pair, Comparison) for pair in pairs)
    return [Sampled(p.prompt, p.chosen) for p in pairs], [Sampled(p.prompt, p.rejected) for p in pairs]  # type: ignore[union-attr]


@pytest.mark.parametrize("adapter", [{"kind": "none"}, {"kind": "lora", "rank": 8}], ids=["full", "lora"])
def test_it_learns_and_generalises_and_is_what_plain_libraries_load(
    tiny_base: Path, tmp_path: Path, adapter: dict[str, Any]
) -> None:
    from transformers import AutoModelForSequenceClassification

    records, unseen = [preference(word) for word in WORDS[:6]], [preference(word) for word in WORDS[6:]]
    outcome = train(tiny_base, tmp_path, records, unseen, adapter=adapter)
    assert outcome.final_loss < 0.1
    assert outcome.best_validation_loss < 0.4
    folder = outcome.model_dir
    assert reward_form(folder) == "reward_model"
    reward = plugins.build("rewards", "reward_model", {"model": str(folder)})
    more, less = (ask(reward, side).values for side in samples(WORDS[6:]))  # type: ignore[arg-type]
    assert all(a is not None and b is not None and a > b for a, b in zip(more, less, strict=True))

    if adapter["kind"] == "lora":
        from peft import PeftModel

        torch.manual_seed(99)
        bare = AutoModelForSequenceClassification.from_pretrained(str(tiny_base), num_labels=1)
        plain = PeftModel.from_pretrained(bare, str(folder)).eval()
        merged = merge(folder, tmp_path / "merged")
        assert reward_form(merged) == "reward_model"
        scorers = [RewardScorer(folder), RewardScorer(merged)]
    else:
        plain = AutoModelForSequenceClassification.from_pretrained(str(folder)).eval()
        scorers = [RewardScorer(folder)]
    for one in (*samples(WORDS[6:])[0], *samples(WORDS[6:])[1]):
        tokens, end = scorers[0].encode((one.prompt, one.answer, ()))
        with torch.no_grad():
            wanted = plain(input_ids=torch.from_numpy(tokens.input_ids[: end + 1].astype("int64"))[None]).logits.item()
        for scorer in scorers:
            found = scorer.scores([(tokens.input_ids[: end + 1], (end,))])[0][0]
            assert found == pytest.approx(wanted, abs=1e-4)


def test_it_learns_the_other_way_round_too(tiny_base: Path, tmp_path: Path) -> None:
    """What it ends with comes from the comparisons and not from where it started: one seed, opposite preferences."""
    for way, flip in (("as told", False), ("flipped", True)):
        records = []
        for word in WORDS[:6]:
            content = preference(word).content
            assert isinstance(content, Comparison)
            sides = {"chosen": content.rejected, "rejected": content.chosen} if flip else {}
            records.append(Record(content=content.model_copy(update=sides)))
        folder = train(tiny_base, tmp_path / way, records, None, max_steps=50).model_dir
        reward: Any = plugins.build("rewards", "reward_model", {"model": str(folder)})
        more, less = (ask(reward, side).values for side in samples(WORDS[:6]))
        assert all((a > b) != flip for a, b in zip(more, less, strict=True))


def test_it_refuses_to_write(tiny_base: Path, tmp_path: Path) -> None:
    folder = train(tiny_base, tmp_path, [preference(word) for word in WORDS], None, max_steps=1).model_dir
    for use in (lambda: LocalAnswerer(folder), lambda: load_model(folder, ends_in="words")):
        with pytest.raises(BadInput, match="this is a reward model"):
            use()
    sft = plugins.build("methods", "sft", {"max_steps": 1})
    job = TrainingJob(sft, str(folder), [preference("x")], tmp_path / "o", tmp_path / "s", progress=False, device="cpu")
    with pytest.raises(BadInput):
        run_training(job)
    with pytest.raises(BadInput, match="no reward model"):
        RewardScorer(tiny_base)


def test_cut_off_and_unreadable_answers_have_no_score(tiny_base: Path, tmp_path: Path) -> None:
    folder = train(tiny_base, tmp_path, [preference(word) for word in WORDS], None, max_steps=1).model_dir
    reward: Any = plugins.build("rewards", "reward_model", {"model": str(folder), "clip": 0.001, "scale": 1e6})
    good = samples(WORDS[:1])[0][0]
    cut = Sampled(good.prompt, good.answer, finished=False)
    long = Sampled(good.prompt, (said("assistant", "yes " * 400),))
    found = ask(reward, [good, cut, Sampled(good.prompt, ()), long]).outcomes
    assert isinstance(found[0], Rewarded)
    assert (abs(found[0].value), found[0].parts["clipped"]) == (0.001, 1.0)
    assert all(isinstance(one, Unrewarded) for one in found[1:])


def test_margins_by_strength(tiny_base: Path) -> None:
    chat = open_chat(tiny_base)
    named = RewardModel(margins={"slightly": 0.25, "much": 1.0})
    assert [named.encode(chat, preference("x", s), "r", "k").value for s in ("slightly", "much", None)] == [
        0.25,
        1.0,
        0.0,
    ]
    with pytest.raises(BadInput, match="no margin"):
        named.encode(chat, preference("x", "a lot"), "r", "k")
    scaled = RewardModel(margin_scale=0.5)
    assert scaled.encode(chat, preference("x", "3"), "r", "k").value == 1.5
    for strength in ("much", "-1", "nan", "1e9"):
        with pytest.raises(BadInput, match="no number"):
            scaled.encode(chat, preference("x", strength), "r", "k")
    assert len({m.encoding for m in (named, scaled, RewardModel(), RewardModel(margin_scale=1.0))}) == 4
    with pytest.raises(BadInput, match="either words"):
        plugins.build("methods", "reward_model", {"margins": {"a": 1}, "margin_scale": 1})


def test_a_margin_asks_for_more_and_centring_keeps_scores_near_zero(tiny_base: Path, tmp_path: Path) -> None:
    records = [preference(word, "2") for word in WORDS]
    plain = train(tiny_base, tmp_path / "a", records, None)
    wide = train(tiny_base, tmp_path / "b", records, None, margin_scale=2.0)
    centred = train(tiny_base, tmp_path / "c", records, None, center_rewards_coefficient=1.0)
    last = [json.loads(o.metrics_file.read_text().splitlines()[-1]) for o in (plain, wide, centred)]
    gaps = [float(row["values"]["score_difference"] if "values" in row else row["score_difference"]) for row in last]
    means = [float(row["values"]["score_mean"] if "values" in row else row["score_mean"]) for row in last]
    assert gaps[1] > gaps[0] + 0.5
    assert abs(means[2]) < 0.2


def test_in_a_workspace_it_is_neither_admitted_nor_served(tiny_base: Path, tmp_path: Path) -> None:
    from goldsmith.engines import model_files
    from goldsmith.stages import promote, serve
    from goldsmith.trust.canonical import artifact_digest
    from goldsmith.trust.workspace import Workspace

    folder = train(tiny_base, tmp_path, [preference(word) for word in WORDS], None, max_steps=1).model_dir
    ws = Workspace.create(tmp_path / "ws")
    model, _ = model_files.take_in(ws, folder, name="judge", form="full", base=None, run=None)
    digest = artifact_digest(model)
    ws.attest_artifact("model", model, {"name": "judge", "of": "base"}, role="operator")
    for use in (lambda: promote.admit(ws, digest, "try"), lambda: serve.serve(ws, "judge")):
        with pytest.raises(BadInput, match="this is a reward model"):
            use()


def swapped(record: Record) -> Record:
    pair = record.content
    assert isinstance(pair, Comparison)
    return Record(content=pair.model_copy(update={"chosen": pair.rejected, "rejected": pair.chosen}))


def accuracy(model: Any, pairs: list[Record]) -> list[Any]:
    """Of each pair, as the eval has it."""
    return [score for _, score in PreferenceAccuracy().measure(model, (), pairs)["accuracy"]]


@pytest.mark.parametrize("adapter", [{"kind": "none"}, {"kind": "lora", "rank": 8}], ids=["full", "lora"])
def test_the_preference_eval_asks_a_reward_model_for_its_scores(
    tiny_base: Path, tmp_path: Path, adapter: dict[str, Any]
) -> None:
    """Trained and examined on other pairs; turned round, the same pairs are all wrong."""
    outcome = train(tiny_base, tmp_path, [preference(word) for word in WORDS[:6]], None, adapter=adapter)
    whole = adapter["kind"] == "none"
    paths = (outcome.model_dir,) if whole else (tiny_base, outcome.model_dir)
    pairs = [preference(word) for word in WORDS[6:]]
    turned = [swapped(one) for one in pairs]
    with RewardAnswerer(*paths) as model:
        assert [score.value for score in accuracy(model, pairs)] == [1.0, 1.0]
        assert [score.value for score in accuracy(model, turned)] == [0.0, 0.0]
        per_token = PreferenceAccuracy().measure(model, (), pairs)["accuracy_per_token"]
        assert all(isinstance(score, Unscored) for _, score in per_token)
        empty = Comparison(prompt=(said("user", "?"),), chosen=(), rejected=(said("assistant", "x"),))
        assert isinstance(accuracy(model, [Record(content=empty)])[0], Unscored)
        with pytest.raises(BadInput, match="writes none"):
            model.answer([((said("user", "?"),), ())])
