"""A round's answers with their rewards, as rows to learn from; and the prompts they are answers to.

Axes: P prompts, G answers to each, A = P x G answers in this order, N tokens of a forward's answers.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from goldsmith.engines.chat import Chat
from goldsmith.engines.training.data.batches import Batch, Plan, dealt
from goldsmith.engines.training.data.rows import Node, Row
from goldsmith.engines.training.reinforcement.generate import Sampled as Written
from goldsmith.types.errors import BadInput
from goldsmith.types.record import Comparison, Conversation, Message, Record, Role, ToolSchema


@dataclass(frozen=True, slots=True)
class Prompt:
    """What is asked, and what the row knows besides."""

    messages: tuple[Message, ...]
    tools: tuple[ToolSchema, ...]
    reference: tuple[Message, ...]
    item: Mapping[str, Any] = field(default_factory=dict)


def prompt_of(record: Record, *, episode: bool = False) -> Prompt:
    """A record's prompt: a conversation up to its last assistant turn, or what a comparison's answers continue.

    `episode`: up to all that came after the user spoke last, the calls of tools and their results with it.

    Raises:
        BadInput: a record of another kind, or nobody asks anything.
    """
    content = record.content
    item = json.loads(record.extra) if record.extra else {}
    if isinstance(content, Comparison):
        return Prompt(content.prompt, content.tools, content.chosen, item)
    if not isinstance(content, Conversation):
        raise BadInput(f"a {content.kind} holds no prompt to answer", allowed="conversation or comparison")
    cut = len(content.messages)
    after = (Role.ASSISTANT, Role.TOOL) if episode else (Role.ASSISTANT,)
    while cut and content.messages[cut - 1].role in after:
        cut -= 1
    if not cut:
        raise BadInput("nothing is asked before the assistant speaks", allowed="a message before the first answer")
    return Prompt(content.messages[:cut], content.tools, content.messages[cut:], item)


def takes(record: Record) -> bool:
    """Whether a record asks something."""
    return isinstance(record.content, Conversation | Comparison)


def prompt_row(chat: Chat, record: Record, name: str, key: str, *, episode: bool = False) -> Row:
    """The tokens to answer. Raises BadInput for what cannot be asked."""
    prompt = prompt_of(record, episode=episode)
    ids = chat.encode_prompt(prompt.messages, prompt.tools)
    return Row((Node(ids, np.zeros(len(ids), dtype=np.bool_)),), name, key)


@dataclass(frozen=True, slots=True)
class Round:
    """Answers as rows. `rows[i]` is a prompt with the answers `members[i]`; `prompts_A` numbers each answer's prompt.

    `rewards_PG`: NaN where it could not be told. `values`: means to log.
    """

    rows: tuple[Row, ...]
    members: tuple[tuple[int, ...], ...]
    written: tuple[Written, ...]
    rewards_PG: NDArray[np.float64]
    values: Mapping[str, float]

    @property
    def tokens(self) -> int:
        """Tokens that the model wrote."""
        return sum(one.tokens for one in self.written)

    def answers_of(self, batch: Batch) -> list[int]:
        """The answers of a forward, in the order of its owners."""
        return [answer for row in batch.rows for answer in self.members[row]]

    def counted(self, mask_unfinished: bool) -> NDArray[np.bool_]:
        """The answers that an update counts, [A]: those whose reward could be told, cut-off ones if they shall."""
        known_A = ~np.isnan(self.rewards_PG.ravel())
        return np.asarray(known_A & np.array([one.finished or not mask_unfinished for one in self.written]))

    def teaching(self, advantages_A: NDArray[np.float64], *, all_rows: bool = False) -> list[int]:
        """The rows that hold an answer with an advantage; the others would add nothing but work."""
        return [row for row, those in enumerate(self.members) if all_rows or advantages_A[list(those)].any()]

    def only(self, answers: Sequence[int]) -> "Round":
        """The same with rows of these answers alone."""
        wanted = set(answers)
        rows: list[Row] = []
        members: list[tuple[int, ...]] = []
        for row, those in zip(self.rows, self.members, strict=True):
            left = tuple(a for a in those if a in wanted)
            if left:
                branches = (row.nodes[1 + place] for place, a in enumerate(those) if a in wanted)
                rows.append(replace(row, nodes=(row.nodes[0], *branches)))
                members.append(left)
        return replace(self, rows=tuple(rows), members=tuple(members))

    def sizes(self, counted_A: NDArray[np.bool_]) -> tuple[int, int]:
        """Answers that count, and their tokens."""
        lengths_A = np.array([one.tokens for one in self.written])
        return int(counted_A.sum()), int(lengths_A[counted_A].sum())

    def lengths(self, row: int) -> list[int]:
        """Tokens that the model wrote of each answer of a row."""
        return [self.written[a].tokens for a in self.members[row]]

    def forwards(self, plan: Plan, chosen: Sequence[int]) -> list[Batch]:
        """The rows at `chosen` in forwards of the plan's size, enough of them for its processes to share;
        `Batch.rows` numbers this round's rows."""
        own = Plan(self.rows, 0, len(self.rows), 1, plan.forward_tokens, plan.forward_rows, share=plan.share)
        parts = dealt([self.rows[row].tokens for row in chosen], plan.processes)
        return [batch for part in parts for batch in own.forwards([chosen[place] for place in part])]


def answer_rows(
    prompts: Sequence[Row], groups: Sequence[Sequence[Written]], capacity: int
) -> tuple[tuple[Row, ...], tuple[tuple[int, ...], ...]]:
    """A prompt and its answers as one row, or as several where they would not fit a forward."""
    rows: list[Row] = []
    members: list[tuple[int, ...]] = []
    answer = 0
    for prompt, group in zip(prompts, groups, strict=True):
        root = Node(prompt.nodes[0].ids, np.zeros(len(prompt.nodes[0].ids), dtype=np.bool_))
        for part in _parts(group, max(1, capacity - len(root.ids))):
            branches = tuple(Node(one.ids, one.own, 0) for one in part)
            rows.append(Row((root, *branches), prompt.name, prompt.key))
            members.append(tuple(range(answer, answer + len(part))))
            answer += len(part)
    return tuple(rows), tuple(members)


def _parts(group: Sequence[Written], room: int) -> Iterator[list[Written]]:
    part: list[Written] = []
    used = 0
    for one in group:
        if part and used + len(one.ids) > room:
            yield part
            part, used = [], 0
        part.append(one)
        used += len(one.ids)
    yield part
