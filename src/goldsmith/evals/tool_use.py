"""Does the model make the right next tool call, in anybody's conversations?"""

import json
from collections import Counter
from collections.abc import Iterator
from typing import ClassVar

from pydantic import Field

from goldsmith.engines.call_matching import (
    WantedCall,
    calls_in,
    expected_of,
    match,
    wanted_from_json,
    wanted_to_json,
)
from goldsmith.engines.eval_files import conversations_of, sample
from goldsmith.engines.rollout import unscored_if_failed
from goldsmith.engines.sandbox import ReplayEnvironment, parse_arguments
from goldsmith.types.artifact import Spec
from goldsmith.types.record import Conversation, Message, Role, TextPart, ToolCallPart, ToolSchema
from goldsmith.types.score import Score, Scored
from goldsmith.types.trajectory import Environment, StopReason, Task, Trajectory

_BOOK = {"type": "function", "function": {"name": "book", "parameters": {"type": "object"}}}
EXAMPLE_ROWS = [
    {
        "messages": [
            {"role": "user", "content": "Two seats for Hamlet, please."},
            {
                "role": "assistant",
                "tool_calls": [
                    {"id": "1", "function": {"name": "book", "arguments": '{"seats": 2, "play": "Hamlet"}'}}
                ],
            },
            {"role": "tool", "tool_call_id": "1", "content": "booked"},
            {"role": "assistant", "content": "Done."},
        ],
        "tools": [_BOOK],
    }
]


class ToolUse(Spec):
    """Next-call prediction: at every assistant turn of the conversations, does the model call what was called
    there?

    After the AST evaluation of the Berkeley Function-Calling Leaderboard: values are compared by type, texts
    without case and end punctuation, parallel calls in any order. Files: stored records, OpenAI chat rows,
    API-Bank dialogues, ToolAlpaca rows.

    Metrics on turns with calls: `tool_selection` (the same tools, each as often), `argument_accuracy` (mean
    share of right arguments over the wanted calls), `exact_call` (every wanted call exactly, nothing else).
    On turns without calls, where tools are on offer: `no_needless_call`. Turns of one conversation count as
    one cluster.
    """

    id: ClassVar[str] = "tool_use"
    version: ClassVar[int] = 1

    paths: tuple[str, ...] = Field(min_length=1)
    """JSON-lines files of conversations with the right calls."""
    n: int | None = Field(default=None, ge=1)
    """At most so many turns, sampled by `seed`; all if none is given."""
    seed: int = 0
    include_turns_without_calls: bool = True
    """Also set turns where the right thing is to call nothing."""

    def tasks(self) -> Iterator[Task]:
        """One task for each turn; its id is the conversation's id, `#`, and the turn's index."""
        tasks = [
            task
            for path in self.paths
            for name, conversation in conversations_of(path)
            for task in _turns(name, conversation, self.include_turns_without_calls)
        ]
        return iter(sample(tasks, self.n, self.seed, lambda task: str(task.id)))

    def environment(self, task: Task) -> Environment:
        """Answers nothing: the first turn is all that is looked at."""
        return ReplayEnvironment()

    def score(self, task: Task, trajectory: Trajectory, environment: Environment) -> dict[str, Score]:
        """Scores of the first assistant turn."""
        problem = unscored_if_failed(trajectory)
        wanted = wanted_from_json(expected_of(task.expected)["calls"])
        made = calls_in(trajectory.messages[:1])
        if not wanted:
            return {"no_needless_call": problem or Scored(value=float(not made))}
        matching = match(wanted, made)
        same_names = Counter(call.name for call in wanted) == Counter(call.name for call in made)
        return {
            "tool_selection": problem or Scored(value=float(same_names)),
            "argument_accuracy": problem or Scored(value=matching.argument_accuracy),
            "exact_call": problem or Scored(value=float(matching.exact)),
        }


def _turns(name: str, conversation: Conversation, without_calls: bool) -> Iterator[Task]:
    for place, message in enumerate(conversation.messages):
        if message.role is not Role.ASSISTANT or not place:
            continue
        parsed = [(call.name, parse_arguments(call.arguments)) for call in message.calls]
        # A call whose arguments are no object is nothing that a model should learn to match.
        wanted = [WantedCall(called, arguments) for called, arguments in parsed if arguments is not None]
        if len(wanted) < len(parsed) or not (wanted or (without_calls and conversation.tools)):
            continue
        yield Task(
            id=f"{name}#{place}",
            messages=conversation.messages[:place],
            tools=conversation.tools,
            expected=json.dumps({"calls": wanted_to_json(wanted)}, ensure_ascii=False),
            max_turns=1,
        )


def _example(arguments: dict[str, object]) -> tuple[Task, Trajectory]:
    call = ToolCallPart(id="call00001", name="book", arguments=json.dumps({"seats": 2, "play": "Hamlet"}))
    asked = Message(role=Role.USER, parts=(TextPart(text="Two seats for Hamlet, please."),))
    conversation = Conversation(
        messages=(asked, Message(role=Role.ASSISTANT, parts=(call,))),
        tools=(ToolSchema(name="book", definition=json.dumps(_BOOK)),),
    )
    task = next(_turns("example", conversation, False))
    made = call.model_copy(update={"arguments": json.dumps(arguments)})
    said = (Message(role=Role.ASSISTANT, parts=(made,)),)
    return task, Trajectory(task_id=task.id, messages=said, stop_reason=StopReason.TURN_LIMIT)


def solved() -> tuple[Task, Trajectory]:
    """The wanted call, its keys in another order."""
    return _example({"play": "hamlet", "seats": 2.0})


def failed() -> tuple[Task, Trajectory]:
    """A number as a text, and an argument that nobody wanted."""
    return _example({"play": "Hamlet", "seats": "2", "row": 1})
