"""The agent loop: turns, limits, parallel calls, and failures that stay where they happen."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from goldsmith.engines.rollout import (
    each_alone_if_needed,
    final_answer,
    logprobs_or_unscored,
    roll_out,
    unscored_if_failed,
)
from goldsmith.engines.sandbox import RecordingSandbox
from goldsmith.engines.scripted import ScriptedAnswerer
from goldsmith.types.record import Message, Role, TextPart, ToolCallPart, ToolResultPart, ToolSchema
from goldsmith.types.score import Unscored
from goldsmith.types.trajectory import Answer, AnswerLogprob, StopReason, Task

ADD = {"type": "function", "function": {"name": "add", "parameters": {"type": "object", "required": ["n"]}}}


class Sum:
    """Adds up; knows no number above 100."""

    def __init__(self) -> None:
        self.total = 0

    def call(self, name: str, arguments: Mapping[str, Any]) -> str:
        if arguments["n"] > 100:
            raise OverflowError("too much")
        self.total += arguments["n"]
        return str(self.total)

    def snapshot(self) -> str:
        return str(self.total)


def tasks(*texts: str, max_turns: int = 4) -> list[Task]:
    schema = ToolSchema(name="add", definition=json.dumps(ADD))
    return [
        Task(
            id=f"t{place}",
            messages=(Message(role=Role.USER, parts=(TextPart(text=text),)),),
            tools=(schema,),
            max_turns=max_turns,
        )
        for place, text in enumerate(texts)
    ]


def adding(*numbers: int) -> Message:
    parts = [ToolCallPart(name="add", arguments=json.dumps({"n": n})) for n in numbers]
    return Message(role=Role.ASSISTANT, parts=tuple(parts))


def follow(messages: Sequence[Message], tools: Sequence[ToolSchema]) -> Message | str:
    """The user's text is a plan: numbers to add, turns parted by semicolons; then the answer."""
    turn = sum(m.role is Role.ASSISTANT for m in messages)
    plan = [step for step in messages[0].text.split(";") if step.strip()]
    if turn < len(plan):
        return adding(*[int(n) for n in plan[turn].split()])
    return f"The sum is {messages[-1].text}."


def play(items: list[Task], answerer: Any, **limits: Any) -> tuple[list[Any], list[RecordingSandbox]]:
    sandboxes = [RecordingSandbox(Sum(), task.tools) for task in items]
    return roll_out(items, sandboxes, answerer, **limits), sandboxes


def test_calls_are_run_and_answered_turn_by_turn() -> None:
    (trajectory,), (sandbox,) = play(tasks("1 2; 3"), ScriptedAnswerer(follow))
    assert trajectory.stop_reason is StopReason.ANSWERED
    assert final_answer(trajectory) == "The sum is 6."
    assert [call.step for call in trajectory.calls] == [0, 0, 1]
    assert [call.result for call in trajectory.calls] == ["1", "3", "6"]
    assert [m.role.value for m in trajectory.messages] == [
        "assistant",
        "tool",
        "tool",
        "assistant",
        "tool",
        "assistant",
    ]
    assert sandbox.snapshot() == "6"


def test_every_result_names_its_call() -> None:
    (trajectory,), _ = play(tasks("1 2; 3"), ScriptedAnswerer(follow))
    made = [call.id for message in trajectory.messages for call in message.calls]
    answered = [p.call_id for m in trajectory.messages for p in m.parts if isinstance(p, ToolResultPart)]
    assert made == answered
    assert len(set(made)) == 3
    assert all(name is not None and len(name) == 9 and name.isalnum() for name in made)


@pytest.mark.parametrize("batch_size", [1, 3, 64])
def test_batches_change_nothing_and_keep_the_order(batch_size: int) -> None:
    items = tasks("1", "", "2; 3; 4", "5 6", "7;8", "9", "10 11 12")
    sizes: list[int] = []

    class Watched(ScriptedAnswerer):
        def answer(self, prompts: Any, *, max_new_tokens: int = 256) -> list[Answer]:
            sizes.append(len(prompts))
            return super().answer(prompts, max_new_tokens=max_new_tokens)

    found, sandboxes = play(items, Watched(follow), batch_size=batch_size)
    assert [t.task_id for t in found] == [t.id for t in items]
    assert [s.snapshot() for s in sandboxes] == ["1", "0", "9", "11", "15", "9", "33"]
    assert max(sizes) == min(batch_size, 7)
    if batch_size == 64:
        assert sizes == [7, 6, 2, 1]  # one batch a turn, finished tasks gone


def test_the_turn_limit_runs_the_last_calls_and_stops() -> None:
    (trajectory,), (sandbox,) = play(tasks("1;1;1;1;1", max_turns=3), ScriptedAnswerer(follow))
    assert trajectory.stop_reason is StopReason.TURN_LIMIT
    assert sandbox.snapshot() == "3"
    assert final_answer(trajectory) == ""


def test_an_answer_that_is_cut_off_stops_and_is_kept_as_text() -> None:
    long = ScriptedAnswerer(lambda *_: "word " * 50)
    (trajectory,), _ = play(tasks("x"), long, max_new_tokens=10)
    assert trajectory.stop_reason is StopReason.TOKEN_LIMIT
    assert final_answer(trajectory).split() == ["word"] * 10


def test_the_token_limit_counts_all_turns() -> None:
    def chatty(messages: Sequence[Message], tools: Any) -> Message:
        return Message(role=Role.ASSISTANT, parts=(TextPart(text="a b c d"), *adding(1).parts))

    (trajectory,), (sandbox,) = play(tasks("x", max_turns=99), ScriptedAnswerer(chatty), token_limit=10)
    assert trajectory.stop_reason is StopReason.TOKEN_LIMIT
    assert sandbox.snapshot() == "3"


def test_what_cannot_be_parsed_is_kept_and_not_run() -> None:
    class Garbled(ScriptedAnswerer):
        def answer(self, prompts: Any, *, max_new_tokens: int = 256) -> list[Answer]:
            text = "<call> {broken https://evil.example"
            return [Answer(message=None, text=text, finished=True, prompt_tokens=1, completion_tokens=3)] * len(prompts)

    (trajectory,), _ = play(tasks("x"), Garbled(follow))
    assert trajectory.stop_reason is StopReason.UNPARSABLE
    assert "evil.example" in final_answer(trajectory)
    assert trajectory.calls == ()


def test_one_environment_that_fails_does_not_stop_the_rest() -> None:
    found, sandboxes = play(tasks("1", "2; 500; 3", "4"), ScriptedAnswerer(follow))
    assert [t.stop_reason for t in found] == [StopReason.ANSWERED, StopReason.ERROR, StopReason.ANSWERED]
    assert found[1].error == "OverflowError: too much"
    assert [call.name for call in found[1].calls] == ["add", "add"]
    assert sandboxes[1].snapshot() == "2"
    failed = unscored_if_failed(found[1])
    assert isinstance(failed, Unscored)
    assert "OverflowError" in failed.reason
    assert unscored_if_failed(found[0]) is None


def test_one_prompt_that_the_model_cannot_take_does_not_stop_the_rest() -> None:
    def picky(messages: Sequence[Message], tools: Any) -> Message | str:
        if messages[0].text == "3":
            raise MemoryError("no room")
        return follow(messages, tools)

    found, _ = play(tasks("1", "2", "3", "4", "5"), ScriptedAnswerer(picky))
    assert [t.stop_reason is StopReason.ERROR for t in found] == [False, False, True, False, False]
    assert found[2].error == "MemoryError: no room"


def test_a_model_that_answers_too_little_is_an_error() -> None:
    class Short(ScriptedAnswerer):
        def answer(self, prompts: Any, *, max_new_tokens: int = 256) -> list[Answer]:
            return []

    found, _ = play(tasks("1", "2"), Short(follow))
    assert all(t.stop_reason is StopReason.ERROR and "asked for 1" in (t.error or "") for t in found)


def test_ctrl_c_is_not_swallowed() -> None:
    def interrupted(*_: Any) -> str:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        play(tasks("1", "2"), ScriptedAnswerer(interrupted))


def test_progress_counts_up_to_all() -> None:
    seen: list[tuple[int, int]] = []
    items = tasks("1", "2;3", "")
    play(items, ScriptedAnswerer(follow), progress=lambda done, total: seen.append((done, total)))
    assert seen == sorted(seen)
    assert seen[-1] == (3, 3)


def test_nothing_to_do_is_nothing_done() -> None:
    assert play([], ScriptedAnswerer(follow)) == ([], [])


def test_each_task_needs_a_sandbox() -> None:
    with pytest.raises(ValueError, match="sandboxes"):
        roll_out(tasks("1"), [], ScriptedAnswerer(follow))


@pytest.mark.parametrize("bad", [set(), {0}, {3, 4}, set(range(9))])
def test_halving_finds_exactly_the_bad_items(bad: set[int]) -> None:
    calls: list[int] = []

    def ask(items: Sequence[int]) -> list[int]:
        calls.append(len(items))
        if bad & set(items):
            raise ValueError(f"bad {sorted(bad & set(items))}")
        return [item * 10 for item in items]

    found = each_alone_if_needed(ask, list(range(9)))
    for item, result in enumerate(found):
        assert isinstance(result, ValueError) if item in bad else result == item * 10
    assert len(calls) == 1 if not bad else len(calls) <= 17


def test_logprobs_that_cannot_be_had_are_unscored() -> None:
    class Model(ScriptedAnswerer):
        def logprobs(self, items: Any) -> list[AnswerLogprob]:
            if any("too long" in m.text for _, continuation, _ in items for m in continuation):
                raise ValueError("beyond the context")
            return super().logprobs(items)

    texts = ["fine", "too long", "", "fine too"]
    items = [((), (Message(role=Role.ASSISTANT, parts=(TextPart(text=t),)),), ()) for t in texts]
    found = logprobs_or_unscored(Model(follow), items, batch_size=3)
    assert [isinstance(f, Unscored) for f in found] == [False, True, True, False]
    assert isinstance(found[1], Unscored)
    assert "beyond the context" in found[1].reason
    assert found[0] == AnswerLogprob(logprob=-4.0, tokens=4)
