"""Answers from the live model: drawn from its own distribution, with the log-probabilities that training works out."""

from typing import Any

import numpy as np
import pytest
import torch

from goldsmith.engines.chat import Chat
from goldsmith.engines.training.attention.flat import register
from goldsmith.engines.training.data.batches import flat_batch
from goldsmith.engines.training.data.rows import Node, Row
from goldsmith.engines.training.model.policy import Policy
from goldsmith.engines.training.reinforcement.generate import Decoding, Sampled, generate
from goldsmith.engines.training.settings import TrainingSettings

PROMPTS = [np.arange(5, 5 + n, dtype=np.int32) for n in (3, 9, 6)]


def seeds(seed: int) -> list[tuple[int, ...]]:
    """One for each of the prompts."""
    return [(seed, place) for place in range(len(PROMPTS))]


def policy_of(tiny: Any, model: Any) -> Policy:
    register()
    policy = Policy(model.train(), Chat(tiny.tokenizer()), TrainingSettings(), "unused")
    policy.take("flat")
    return policy


@pytest.mark.parametrize("temperature", [1.0, 0.5, 1.7])
def test_training_gives_sampled_tokens_the_same_log_probabilities(tiny: Any, temperature: float) -> None:
    policy = policy_of(tiny, tiny.model(vocabulary=400))
    groups = generate(policy, PROMPTS, 4, Decoding(12, temperature), seeds(3))
    assert [len(group) for group in groups] == [4, 4, 4]
    rows = [
        Row((Node(p, np.zeros(len(p), bool)), *(Node(a.ids, np.ones(len(a.ids), bool), 0) for a in group)), "r", "k")
        for p, group in zip(PROMPTS, groups, strict=True)
    ]
    with policy.evaluating():
        found = policy.logprobs(flat_batch(rows, range(3)), temperature).numpy()
    wanted = np.concatenate([answer.logprobs for group in groups for answer in group])
    np.testing.assert_allclose(found, wanted, atol=2e-5)


def test_equal_seeds_give_equal_answers_and_others_do_not(tiny: Any) -> None:
    policy = policy_of(tiny, tiny.model(vocabulary=400))

    def ids(seed: int) -> list[list[int]]:
        return [a.ids.tolist() for group in generate(policy, PROMPTS, 3, Decoding(8), seeds(seed)) for a in group]

    assert ids(1) == ids(1)
    assert ids(1) != ids(2)
    assert policy.model.training
    assert policy.inner.config._attn_implementation != policy.plain_attention


def test_first_tokens_come_as_often_as_the_model_says(tiny: Any) -> None:
    model = tiny.model(vocabulary=400)
    with torch.no_grad():
        logits = model(torch.from_numpy(PROMPTS[0].astype(np.int64))[None]).logits[0, -1]
    wanted = (logits / 0.7).softmax(-1).numpy()
    policy = policy_of(tiny, model)
    drawn = [a.ids[0] for a in generate(policy, PROMPTS[:1], 4000, Decoding(1, 0.7), seeds(5))[0]]
    found = np.bincount(drawn, minlength=len(wanted)) / 4000
    assert np.abs(found - wanted).max() < 4 * np.sqrt(0.25 / 4000)
    assert np.abs(found - wanted).sum() < 0.6


def test_the_nucleus_holds_no_other_token(tiny: Any) -> None:
    model = tiny.model(vocabulary=400)
    with torch.no_grad():
        likely = model(torch.from_numpy(PROMPTS[0].astype(np.int64))[None]).logits[0, -1].softmax(-1)
    order = likely.argsort(descending=True)
    inside = int((likely[order].cumsum(0) < 0.3).sum()) + 1
    policy = policy_of(tiny, model)
    drawn = {int(a.ids[0]) for a in generate(policy, PROMPTS[:1], 500, Decoding(1, 1.0, 0.3), seeds(5))[0]}
    assert drawn <= set(order[:inside].tolist())
    assert len(drawn) > 1


def test_an_answer_ends_with_its_stop_token_or_is_unfinished(tiny: Any) -> None:
    policy = policy_of(tiny, tiny.model(vocabulary=400, initializer_range=0.02))
    stops = set(policy.chat.stop_ids)
    answers: list[Sampled] = [a for g in generate(policy, PROMPTS, 40, Decoding(60), seeds(1)) for a in g]
    assert 0 < sum(a.finished for a in answers) < len(answers)
    for answer in answers:
        assert not stops & set(answer.ids[:-1].tolist())
        assert (answer.ids[-1] in stops) == answer.finished
        assert answer.finished or len(answer.ids) == 60
        assert len(answer.ids) == len(answer.logprobs)


def test_weights_that_are_not_numbers_are_named(tiny: Any) -> None:
    model = tiny.model(vocabulary=400)
    with torch.no_grad():
        model.lm_head.weight[7] = torch.nan
    with pytest.raises(FloatingPointError, match="NaN"):
        generate(policy_of(tiny, model), PROMPTS, 2, Decoding(3), seeds(0))


def test_an_answer_depends_on_its_prompt_and_seed_and_not_on_its_neighbours(tiny: Any) -> None:
    policy = policy_of(tiny, tiny.model(vocabulary=400))
    together = generate(policy, PROMPTS, 3, Decoding(8), seeds(1))
    for place, group in enumerate(together):
        alone = generate(policy, PROMPTS[place : place + 1], 3, Decoding(8), seeds(1)[place : place + 1])[0]
        assert [one.ids.tolist() for one in alone] == [one.ids.tolist() for one in group]
