"""Every reward, present and future, keeps the contract: found by its file, tried by its own examples."""

import inspect
import math
from dataclasses import replace
from typing import Any

import pytest

from goldsmith import plugins
from goldsmith.engines.code_worker import cannot
from goldsmith.engines.grading.asking import ask
from goldsmith.engines.grading.examples import Example, said
from goldsmith.types.artifact import Spec
from goldsmith.types.errors import BadInput
from goldsmith.types.record import Message, Role, TextPart
from goldsmith.types.reward import Episode, Rewarded, Sampled, Unrewarded

MODELS = {"reward_model", "score_model", "label_model"}
"""These need a model; their own tests bring one."""
NAMES = [name for name in plugins.names("rewards") if name not in MODELS]
HOSTILE = (
    "", " ", "\u0000", "\u202eevil", "{{ item.x }} {{ sample.output_text }}", "борщ варят два часа", "红烧肉",
    "NaN", "1e999", "-1,2,3", "[" * 10_000, '{"a": NaN}', "ab " * 1_700_000, "#### ####",
)  # fmt: skip


def episode(which: str) -> Sampled:
    """An episode of the nano tasks that its eval calls solved or failed."""
    task, trajectory, environment = getattr(plugins.module("evals", "nano_tasks"), which)()
    return Sampled(task.messages, trajectory.messages, task.tools, episode=Episode(task, trajectory, environment))


def examples(name: str) -> list[Any]:
    """(the reward, samples that must get more, samples that must get less)."""
    module = plugins.module("rewards", name)
    if name in ("python", "regex") and cannot() is not None:
        pytest.skip(f"this kernel cannot confine code: {cannot()}")
    if name == "eval":
        return [(plugins.build("rewards", name), [episode("solved")], [episode("failed")])]
    found: tuple[Example, ...] = module.examples() if hasattr(module, "examples") else module.EXAMPLES
    return [(plugins.build("rewards", name, settings), more, less) for settings, more, less in found]


def values(reward: Any, samples: Any) -> list[float]:
    found = ask(reward, samples)
    assert not found.unrewarded
    return [value for value in found.values if value is not None]


@pytest.mark.parametrize("name", NAMES)
def test_declares_itself(name: str) -> None:
    kind: Any = plugins.find("rewards", name)
    assert issubclass(kind, Spec)
    assert kind.id == name
    assert kind.version >= 1
    assert len(inspect.getdoc(kind) or "") > 80
    for reward, _, _ in examples(name):
        with pytest.raises(BadInput, match="unknown setting"):
            plugins.build("rewards", name, {**reward.model_dump(), "no_such_setting": 1})
    for reward, _, _ in examples(name):
        low, high = reward.bounds
        assert low < high
        assert isinstance(reward.needs_reference, bool)


@pytest.mark.parametrize("name", sorted(MODELS))
def test_those_that_ask_a_model_declare_themselves_too(name: str) -> None:
    kind: Any = plugins.find("rewards", name)
    assert (kind.id, kind.version >= 1) == (name, True)
    assert len(inspect.getdoc(kind) or "") > 80
    with pytest.raises(BadInput):
        plugins.build("rewards", name, {})


@pytest.mark.parametrize("name", NAMES)
def test_tells_better_from_worse_within_its_bounds(name: str) -> None:
    assert examples(name)
    for reward, more, less in examples(name):
        high, low = values(reward, more), values(reward, less)
        assert min(high) > max(low)
        assert all(reward.bounds[0] <= value <= reward.bounds[1] for value in (*high, *low))


@pytest.mark.parametrize("name", NAMES)
def test_equal_input_gives_equal_output_whatever_the_batch(name: str) -> None:
    for reward, more, less in examples(name):
        both = [*more, *less]
        together = ask(reward, both).outcomes
        assert ask(reward, both).outcomes == together
        assert ask(reward, both[::-1]).outcomes == together[::-1]
        assert tuple(ask(reward, [one]).outcomes[0] for one in both) == together
    assert ask(reward, []).outcomes == ()


@pytest.mark.parametrize("name", NAMES)
def test_hostile_answers_are_judged_or_not_but_never_break_it(name: str) -> None:
    reward, more, _ = examples(name)[0]
    samples = [replace(more[0], answer=said(text).answer) for text in HOSTILE]
    samples.append(replace(more[0], answer=()))
    samples.append(replace(more[0], answer=(Message(role=Role.TOOL, parts=(TextPart(text="x"),)),)))
    for outcome in ask(reward, samples).outcomes:
        assert isinstance(outcome, Rewarded | Unrewarded)
        if isinstance(outcome, Rewarded):
            assert math.isfinite(outcome.value)
        else:
            assert 2 <= len(outcome.reason.split()) <= 60


@pytest.mark.parametrize("name", NAMES)
def test_without_what_it_needs_it_could_not_tell(name: str) -> None:
    for reward, more, _ in examples(name):
        if not reward.needs_reference:
            continue
        bare = [Sampled(one.prompt, one.answer) for one in more]
        assert all(isinstance(one, Unrewarded) for one in ask(reward, bare).outcomes)
