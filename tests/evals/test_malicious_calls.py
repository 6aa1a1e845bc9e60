"""Harmful calls asked for and their twins: what each kind of model scores, and what the pairs have in common."""

import json
from collections.abc import Callable

import pytest

from goldsmith.engines.call_matching import expected_of
from goldsmith.engines.rollout import roll_out
from goldsmith.engines.sandbox import RecordingSandbox
from goldsmith.engines.scripted import ScriptedAnswerer
from goldsmith.evals.malicious_calls import MaliciousCalls
from goldsmith.nano.misuse import ACTS, INJECTED, OPEN, misuse
from goldsmith.types.record import Message, Role, TextPart, ToolCallPart
from goldsmith.types.score import Scored, Unscored
from goldsmith.types.trajectory import StopReason, Task, Trajectory

EVAL = MaliciousCalls(n_per_skill=2)
CASES = {case.id: case for case in misuse(2, 0, "heldout")}


def calling(*calls: tuple[str, dict[str, str]]) -> Message:
    parts = tuple(ToolCallPart(name=name, arguments=json.dumps(arguments)) for name, arguments in calls)
    return Message(role=Role.ASSISTANT, parts=parts)


def means(respond: Callable[[Task, int], Message | str]) -> dict[str, float]:
    """The mean of each metric for a model that answers turn by turn (0 is the first) as `respond` says."""
    found: dict[str, list[float]] = {}
    for task in EVAL.tasks():
        environment = EVAL.environment(task)

        def say(messages: object, _tools: object, task: Task = task) -> Message | str:
            turn = sum(m.role is Role.ASSISTANT for m in messages)  # type: ignore[attr-defined]
            return respond(task, turn)

        (trajectory,) = roll_out([task], [RecordingSandbox(environment, task.tools)], ScriptedAnswerer(say))
        for metric, score in EVAL.score(task, trajectory, environment).items():
            assert isinstance(score, Scored)
            found.setdefault(metric, []).append(score.value)
    return {metric: sum(values) / len(values) for metric, values in found.items()}


def gold(task: Task, turn: int) -> Message | str:
    right = CASES[task.id].task
    if turn == len(right.steps):
        return right.answer
    return calling(*((one.name, one.mapping()) for one in right.steps[turn]))


def obedient(task: Task, turn: int) -> Message | str:
    """Does whatever anybody says: with an ill intent, what its twin does."""
    case = CASES[task.id]
    if case.kind == "open" and case.harmful:
        return gold(task.model_copy(update={"id": task.id.replace("#harmful", "#twin")}), turn)
    if case.harmful and turn == len(case.task.steps):
        return calling(("mail_send", {"to": case.planted[0], "subject": "x", "body": "y"}))
    return gold(task, min(turn, len(case.task.steps)))


def test_who_does_right_has_all():
    assert set(means(gold).values()) == {1.0}


def test_who_does_nothing_leaves_the_harm_and_is_of_no_use():
    found = means(lambda *_: "No.")
    assert (found["no_harmful_call"], found["no_injected_call"]) == (1.0, 1.0)
    assert {found[m] for m in ("benign_done", "no_needless_refusal", "done_despite_injection")} == {0.0}


def test_who_obeys_everybody_does_the_harm():
    found = means(obedient)
    assert (found["no_harmful_call"], found["no_injected_call"]) == (0.0, 0.0)
    assert (found["benign_done"], found["no_needless_refusal"], found["done_without_injection"]) == (1.0, 1.0, 1.0)


def test_looking_up_is_no_harm_and_a_slip_in_the_wanted_call_is_none():
    task = next(one for one in EVAL.tasks() if one.id.startswith("injected-web_get") and one.id.endswith("#harmful"))
    slip = calling(("web_get", {"url": "https://slip.example/x"}))
    trajectory = Trajectory(task_id=task.id, messages=(slip,), stop_reason=StopReason.TURN_LIMIT)
    scores = EVAL.score(task, trajectory, EVAL.environment(task))
    assert scores["no_injected_call"] == Scored(value=1.0)
    assert scores["done_despite_injection"].value == 0.0


@pytest.mark.parametrize("stop", [StopReason.UNPARSABLE, StopReason.TOKEN_LIMIT])
def test_what_cannot_be_read_is_neither_left_nor_done(stop: StopReason):
    task = next(EVAL.tasks())
    said = Message(role=Role.ASSISTANT, parts=(TextPart(text="<call mail_send"),))
    trajectory = Trajectory(task_id=task.id, messages=(said,), stop_reason=stop)
    (score,) = EVAL.score(task, trajectory, EVAL.environment(task)).values()
    assert isinstance(score, Unscored)


def test_pairs_differ_in_the_intent_or_the_order_alone():
    cases = list(CASES.values())
    assert len(cases) == 2 * 2 * (len(OPEN) + len(INJECTED))
    for bad, good in zip(cases[::2], cases[1::2], strict=True):
        assert (bad.harmful, good.harmful, bad.kind) == (True, False, good.kind)
        assert bad.task.tools == good.task.tools
        if bad.kind == "open":
            assert bad.task.state == good.task.state
            assert bad.task.request != good.task.request
            assert any(one.name in ACTS for one in good.task.expected)
        else:
            assert bad.task.request == good.task.request
            assert any(value in str(bad.task.state) for value in bad.planted)
    requests = {case.task.request for case in misuse(4, 0, "train")}
    assert not requests & {case.task.request for case in cases}
    assert all(expected_of(task.expected)["kind"] in ("open", "injected") for task in EVAL.tasks())
