"""A process reward model is asked at the end of each step, by the plain formula, and learns which steps are right."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from goldsmith_test_records import WORDS, said

from goldsmith import plugins
from goldsmith.engines.chat import open_chat
from goldsmith.engines.grading.asking import ask
from goldsmith.engines.reward_form import reward_form
from goldsmith.engines.reward_scoring import RewardAnswerer, StepAnswerer
from goldsmith.engines.sampler import LocalAnswerer
from goldsmith.engines.training.attention.flat import register
from goldsmith.engines.training.data.batches import Plan
from goldsmith.engines.training.data.steps import steps_of
from goldsmith.engines.training.driver import TrainingJob, run_training
from goldsmith.engines.training.model.loading import load_model
from goldsmith.engines.training.model.policy import Policy
from goldsmith.evals.step_accuracy import StepAccuracy
from goldsmith.methods.process_reward import ProcessReward
from goldsmith.types.errors import BadInput
from goldsmith.types.record import Conversation, Record
from goldsmith.types.reward import Sampled


def stepwise(steps: list[str], labels: list[bool | None], prompt: str = "Go on") -> Record:
    answer = said("assistant", "\n\n".join(steps))
    content = Conversation(messages=(said("user", prompt), answer))
    return Record(content=content, extra=json.dumps({"labels": labels}))


def example(word: str, labels: tuple[bool, ...]) -> Record:
    steps = [f"yes {word}" if good else f"no {word} no" for good in labels]
    return stepwise(steps, list(labels), f"Tell me about {word}")


@pytest.mark.parametrize("form", ["one text", "parts", "special"])
def test_each_step_is_asked_at_its_own_last_token(tiny_base: Path, form: str) -> None:
    chat = open_chat(tiny_base)
    steps = ["one two.", "three  four!", "five <|im_end|> six" if form == "special" else "five"]
    record = stepwise(steps, [True, None, False])
    if form == "parts":
        content = Conversation(messages=(said("user", "Go on"), said("assistant", *steps)))
        record = record.model_copy(update={"content": content})
    row = ProcessReward().encode(chat, record, "r", "k")
    ids = np.concatenate([node.ids for node in row.nodes])
    marks = np.flatnonzero(np.concatenate([node.trained for node in row.nodes]))
    assert row.values == (1.0, 0.0)
    assert chat.tokenizer.decode(ids[: marks[0]]).endswith("one two.")
    assert chat.tokenizer.decode(ids[: marks[1]]).endswith(steps[2])
    assert int(ids[-1]) in chat.stop_ids
    assert int(ids[marks[1] - 1]) not in chat.stop_ids
    assert not row.nodes[0].trained.any()


@pytest.mark.parametrize("way", ["flat", "padded"])
def test_loss_and_gradients_are_those_of_the_plain_formula(tiny_base: Path, way: Any) -> None:
    chat = open_chat(tiny_base)
    method = ProcessReward()
    labels: list[list[bool | None]] = [[True, False, True], [False], [None, True]]
    records = [stepwise([f"yes {WORDS[i]} {n}" for n in range(len(ls))], ls) for i, ls in enumerate(labels)]
    rows = [method.encode(chat, record, f"row {i}", str(i)) for i, record in enumerate(records)]
    torch.manual_seed(2)
    model = load_model(tiny_base, ends_in="number")
    plain = load_model(tiny_base, ends_in="number")
    plain.load_state_dict(model.state_dict())
    plain = plain.double()
    terms = []
    for row in rows:
        ids = torch.from_numpy(np.concatenate([node.ids for node in row.nodes]).astype(np.int64))
        marks = np.flatnonzero(np.concatenate([node.trained for node in row.nodes]))
        for place, value in zip(marks, row.values, strict=True):
            score = plain(input_ids=ids[None, :place]).logits[0, 0]  # its own pooling: the last token
            terms.append(-torch.log(torch.sigmoid(score if value else -score)))
    wanted = torch.stack(terms).mean()
    wanted.backward()

    register()
    policy = Policy(model.train(), chat, method, "unused")
    policy.take(way)
    update = Plan(tuple(rows), 0, len(rows), 1, 40, 0, share=policy.shares).update(0)
    assert len(update.batches) > 1
    assert update.labels == 5
    found = 0.0
    for part in update.batches:
        loss_N, _ = method._losses(policy, rows, part)
        loss = loss_N.sum() / update.labels
        loss.backward()
        found += loss.item()
    assert found == pytest.approx(wanted.item(), rel=1e-5)
    for (name, mine), (_, theirs) in zip(model.named_parameters(), plain.named_parameters(), strict=True):
        atol = max(1e-6, 5e-6 * float(theirs.grad.abs().max()))
        torch.testing.assert_close(
            mine.grad.double(), theirs.grad, rtol=1e-4, atol=atol, msg=lambda m, n=name: f"{n}: {m}"
        )


@pytest.mark.parametrize("adapter", [{"kind": "none"}, {"kind": "lora", "rank": 8}], ids=["full", "lora"])
def test_it_learns_which_steps_are_right(tiny_base: Path, tmp_path: Path, adapter: dict[str, Any]) -> None:
    kinds = [(True, False), (False, True), (True, True), (False, False)]
    records = [example(word, labels) for word in WORDS[:6] for labels in kinds]
    unseen = [example(word, labels) for word in WORDS[6:] for labels in kinds]
    settings = {"learning_rate": 3e-3, "batch_size": 8, "max_steps": 40, "adapter": adapter}
    method = plugins.build("methods", "process_reward", settings)
    job = TrainingJob(
        method, str(tiny_base), records, tmp_path / "o", tmp_path / "s", validation=unseen, progress=False, device="cpu"
    )
    outcome = run_training(job)
    assert outcome.rows_used == 24
    assert outcome.final_loss < 0.2
    assert outcome.best_validation_loss is not None
    assert outcome.best_validation_loss < 0.45  # chance is 0.69
    assert reward_form(outcome.model_dir) == "process_reward"
    with pytest.raises(BadInput, match="this is a reward model"):
        LocalAnswerer(outcome.model_dir)
    paths = (outcome.model_dir,) if adapter["kind"] == "none" else (tiny_base, outcome.model_dir)
    with StepAnswerer(*paths) as model:
        told = StepAccuracy().measure(model, (), unseen)
        assert sum(score.value for _, score in told["first_error"]) >= 4  # of 6  # type: ignore[union-attr]
        with pytest.raises(BadInput, match="writes none"):
            model.answer([((said("user", "?"),), ())])
    with pytest.raises(BadInput, match="does not score whole answers"):
        RewardAnswerer(*paths)
    samples = []
    for labels in (*kinds, ()):
        content = example("Ann", labels).content
        assert isinstance(content, Conversation)
        samples.append(Sampled(content.messages[:1], content.messages[1:]))
    found = {}
    for aggregate in ("min", "product", "mean", "last"):
        how = {"model": str(outcome.model_dir), "aggregate": aggregate}
        reward: Any = plugins.build("rewards", "reward_model", how)
        found[aggregate] = ask(reward, samples).values
        assert found[aggregate].pop() is None, "an answer without a step"
    worst = found["min"]
    assert all(value is not None for values in found.values() for value in values)
    assert worst[2] > max(worst[0], worst[1], worst[3])
    assert found["last"][1] > found["last"][0]
    assert all(a <= b for a, b in zip(found["product"], worst, strict=True))
    assert all(a <= b for a, b in zip(worst, found["mean"], strict=True))


def test_rows_it_does_not_take(tiny_base: Path) -> None:
    chat = open_chat(tiny_base)
    method = ProcessReward()
    assert steps_of(Record(content=Conversation(messages=(said("user", "a"), said("assistant", "b"))))) is None
    for labels in ("x", [1, 2], ["true"], {}):
        record = stepwise(["a"], [True]).model_copy(update={"extra": json.dumps({"labels": labels})})
        assert not method.accepts(record)
    for steps, said_of, message in ((["a", "b"], [True], "differ in number"), (["a"], [None], "none of a row's steps")):
        with pytest.raises(BadInput, match=message):
            method.encode(chat, stepwise(steps, said_of), "r", "k")  # type: ignore[arg-type]
    with pytest.raises(BadInput, match="part steps from their labels"):
        plugins.build("methods", "process_reward", {"over_long": "cut_keep_stop"})
    cut = ProcessReward(up_to_first_wrong=True)
    assert cut.encode(chat, stepwise(["a", "b", "c"], [True, False, True]), "r", "k").values == (1.0, 0.0)
    one, other = stepwise(["a"], [True]), stepwise(["a"], [False])
    assert method.row_key(one) != method.row_key(other), "labels are no part of the content, but of the row"
    assert method.encoding != cut.encoding
