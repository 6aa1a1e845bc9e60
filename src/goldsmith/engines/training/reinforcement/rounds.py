"""One round: prompts in, the model's own answers with their rewards out, as rows to learn from.

Axes: P prompts, G answers to each, A = P x G answers in this order, N tokens of a forward's answers.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from goldsmith.engines.chat import Chat
from goldsmith.engines.grading.asking import ask
from goldsmith.engines.training.batches import Batch, Plan
from goldsmith.engines.training.guards import Diverged
from goldsmith.engines.training.policy import Policy
from goldsmith.engines.training.reinforcement import alarms
from goldsmith.engines.training.reinforcement.advantages import informative
from goldsmith.engines.training.reinforcement.generate import Decoding, generate
from goldsmith.engines.training.reinforcement.generate import Sampled as Written
from goldsmith.engines.training.reinforcement.settings import OnlineSettings
from goldsmith.engines.training.rows import Node, Row
from goldsmith.types.errors import BadInput
from goldsmith.types.record import Comparison, Conversation, Message, Record, Role, TextPart, ToolSchema
from goldsmith.types.reward import Sampled

Records = Mapping[str, Record]
"""The records of all rows, by row key: what a reward may read beside the answer."""


@dataclass(frozen=True, slots=True)
class Prompt:
    """What is asked, and what the row knows besides."""

    messages: tuple[Message, ...]
    tools: tuple[ToolSchema, ...]
    reference: tuple[Message, ...]
    item: Mapping[str, Any] = field(default_factory=dict)


def prompt_of(record: Record) -> Prompt:
    """A record's prompt: a conversation up to its last assistant turn, or what a comparison's answers continue.

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
    while cut and content.messages[cut - 1].role is Role.ASSISTANT:
        cut -= 1
    if not cut:
        raise BadInput("nothing is asked before the assistant speaks", allowed="a message before the first answer")
    return Prompt(content.messages[:cut], content.tools, content.messages[cut:], item)


def takes(record: Record) -> bool:
    """Whether a record asks something."""
    return isinstance(record.content, Conversation | Comparison)


def prompt_row(chat: Chat, record: Record, name: str, key: str) -> Row:
    """The tokens to answer. Raises BadInput for what cannot be asked."""
    prompt = prompt_of(record)
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
        return sum(len(one.ids) for one in self.written)

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
        lengths_A = np.array([len(one.ids) for one in self.written])
        return int(counted_A.sum()), int(lengths_A[counted_A].sum())

    def forwards(self, plan: Plan, chosen: Sequence[int]) -> list[Batch]:
        """The rows at `chosen` in forwards of the plan's size; `Batch.rows` numbers this round's rows."""
        own = Plan(self.rows, 0, len(self.rows), 1, plan.forward_tokens, plan.forward_rows, share=plan.share)
        return list(own.forwards(chosen))


def play(
    policy: Policy,
    settings: OnlineSettings,
    prompts: Sequence[Row],
    records: Records,
    *,
    group_size: int,
    capacity: int,
    seed: int,
) -> Round:
    """Sample answers to `prompts`, have them rewarded. `capacity`: tokens that a row should not exceed.

    Raises:
        Diverged: more rewards than allowed could not be told. Unavailable: a reward cannot judge at all.
    """
    decoding = Decoding(int(settings.max_new_tokens), float(settings.temperature), float(settings.top_p))
    groups = generate(policy, [row.nodes[0].ids for row in prompts], group_size, decoding, seed)
    written = [one for group in groups for one in group]
    asked = [prompt_of(records[row.key]) for row in prompts for _ in range(group_size)]
    samples = [_sample(policy, prompt, one) for prompt, one in zip(asked, written, strict=True)]
    rewards_A, values, reasons = _reward(settings, samples)
    rewards_PG = rewards_A.reshape(len(prompts), group_size)
    rows, members = _rows(prompts, groups, capacity)
    values |= _described(written, rewards_PG)
    round_ = Round(rows, members, tuple(written), rewards_PG, values)
    if values["unrewarded"] > float(settings.unrewarded_at_most):
        raise Diverged(
            f"{values['unrewarded']:.0%} of a round's answers could not be rewarded",
            where=", ".join(row.name for row in prompts[:5]),
            found="; ".join(reasons[:3]),
            allowed=f"{float(settings.unrewarded_at_most):.0%} (unrewarded_at_most)",
            next_step="look at the reward; the last checkpoint is kept",
        )
    return round_


def _sample(policy: Policy, prompt: Prompt, one: Written) -> Sampled:
    turn = policy.chat.parse_turn(one.ids.tolist())
    message = turn.message or Message(role=Role.ASSISTANT, parts=(TextPart(text=_text(policy, one)),))
    return Sampled(
        prompt=prompt.messages,
        answer=(message,),
        tools=prompt.tools,
        item=prompt.item,
        reference=prompt.reference,
        finished=one.finished,
        tokens=len(one.ids),
    )


def _text(policy: Policy, one: Written) -> str:
    ids = one.ids[:-1] if one.finished else one.ids
    return str(policy.chat.tokenizer.decode(ids.tolist(), skip_special_tokens=False))


def _reward(
    settings: OnlineSettings, samples: Sequence[Sampled]
) -> tuple[NDArray[np.float64], dict[str, float], list[str]]:
    """The weighted sum for each answer [A], each reward's means by `reward/LABEL`, and why some could not be told."""
    total_A = np.zeros(len(samples))
    values: dict[str, float] = {}
    reasons: list[str] = []
    for entry in settings.rewards:
        verdicts = ask(settings.judge(entry.label), samples)
        for name, value in verdicts.means().items():  # reward, reward/PART, unrewarded
            kind, _, part = name.partition("/")
            values["/".join(filter(None, (kind, entry.label, part)))] = value
        if entry.weight:
            found_A = np.array([np.nan if value is None else value for value in verdicts.values])
            total_A += float(entry.weight) * found_A
            reasons += [f"{entry.label}: {reason}" for reason in verdicts.unrewarded]
    return total_A, values, reasons


def _described(written: Sequence[Written], rewards_PG: NDArray[np.float64]) -> dict[str, float]:
    known = rewards_PG[~np.isnan(rewards_PG)]
    tokens = sum(len(one.ids) for one in written)
    return {
        "reward": float(known.mean()) if len(known) else 0.0,
        "reward_deviation": float(known.std()) if len(known) else 0.0,
        "unrewarded": float(np.isnan(rewards_PG).mean()),
        "informative_groups": float(informative(rewards_PG).mean()),
        "answer_tokens": tokens / len(written),
        "unfinished": float(np.mean([not one.finished for one in written])),
        "repetition": float(np.mean([alarms.repetition(one.ids.tolist()) for one in written])),
        # the surprise of what a model draws from itself is, on average, its entropy
        "entropy": -sum(float(one.logprobs.sum()) for one in written) / max(1, tokens),
    }


def _rows(
    prompts: Sequence[Row], groups: Sequence[Sequence[Written]], capacity: int
) -> tuple[tuple[Row, ...], tuple[tuple[int, ...], ...]]:
    """A prompt and its answers as one row, or as several where they would not fit a forward."""
    rows: list[Row] = []
    members: list[tuple[int, ...]] = []
    answer = 0
    for prompt, group in zip(prompts, groups, strict=True):
        root = Node(prompt.nodes[0].ids, np.zeros(len(prompt.nodes[0].ids), dtype=np.bool_))
        for part in _parts(group, max(1, capacity - len(root.ids))):
            branches = tuple(Node(one.ids, np.ones(len(one.ids), dtype=np.bool_), 0) for one in part)
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
