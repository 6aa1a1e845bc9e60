"""Answers of several turns: the model calls tools, their answers are put in, and it goes on until it has an answer.

What the model wrote is kept as the tokens that were drawn, never as text to be tokenised again; what a tool said is
encoded as anybody's text, so that no control token in it comes to life, and is seen by the model but never learned.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from goldsmith.engines.rollout import Run, advance
from goldsmith.engines.sandbox import RecordingSandbox
from goldsmith.engines.training.model.policy import Policy
from goldsmith.engines.training.reinforcement import worlds
from goldsmith.engines.training.reinforcement.generate import Decoding, Seed, Writer
from goldsmith.engines.training.reinforcement.generate import Sampled as Written
from goldsmith.engines.training.reinforcement.rounds import Prompt
from goldsmith.engines.training.reinforcement.settings import OnlineSettings
from goldsmith.types.errors import BadInput
from goldsmith.types.reward import Episode, Sampled
from goldsmith.types.trajectory import Answer, StopReason

CUT_OFF = (StopReason.TURN_LIMIT, StopReason.TOKEN_LIMIT)


@dataclass(frozen=True, slots=True)
class Played:
    """An answer, and as rewards see it. `failed`: what went wrong with the machinery; then it shows nothing of the
    model. `values`: of the episode, to log."""

    written: Written
    sampled: Sampled
    failed: str | None = None
    values: Mapping[str, float] = field(default_factory=dict)


@dataclass
class _Open:
    """An episode under way. `turns`: what the model wrote; `between`: what came after each turn but the last."""

    run: Run
    prompt: Prompt
    start: NDArray[np.int32]
    seed: Seed
    turns: list[Written] = field(default_factory=list)
    between: list[NDArray[np.int32]] = field(default_factory=list)

    @property
    def context(self) -> NDArray[np.int32]:
        """All tokens so far."""
        return np.concatenate([self.start, self.after])

    @property
    def after(self) -> NDArray[np.int32]:
        """All tokens after the prompt."""
        return np.concatenate([part for pair in zip(self._turn_ids, self._gaps, strict=True) for part in pair])

    @property
    def _turn_ids(self) -> list[NDArray[np.int32]]:
        return [turn.ids for turn in self.turns]

    @property
    def _gaps(self) -> list[NDArray[np.int32]]:
        return [*self.between, *[np.zeros(0, dtype=np.int32)] * (len(self.turns) - len(self.between))]

    def written(self) -> Written:
        """The whole answer."""
        own = [
            np.full(len(part), wrote, dtype=np.bool_)
            for pair in zip(self._turn_ids, self._gaps, strict=True)
            for part, wrote in zip(pair, (True, False), strict=True)
        ]
        logprobs = np.concatenate([turn.logprobs for turn in self.turns])
        return Written(self.after, logprobs, self.run.stop not in CUT_OFF, np.concatenate(own))


def go_on(
    policy: Policy,
    writer: Writer,
    settings: OnlineSettings,
    names: Sequence[str],
    prompts: Sequence[Prompt],
    starts: Sequence[NDArray[np.int32]],
    groups: Sequence[Sequence[Written]],
    decoding: Decoding,
    seeds: Sequence[Seed],
) -> list[Played]:
    """Take every first turn of `groups` on to the end of its episode, all of them side by side, each in a world of its
    own.

    It ends with a turn that calls no tool, with one that cannot be read or was cut off, after `turns` turns, or where
    another turn would not fit `episode_tokens` or the model's context. A tool that fails or takes too long ends it as
    failed, which is neither good nor bad.
    """
    every: list[_Open] = []
    written: list[Written] = []
    for name, prompt, start, group, seed in zip(names, prompts, starts, groups, seeds, strict=True):
        for place, first in enumerate(group):
            task = worlds.task_of(name, prompt, int(settings.turns))
            sandbox = RecordingSandbox(worlds.world_of(settings, task, prompt), prompt.tools)
            every.append(_Open(Run(task, sandbox), prompt, start, (*seed, place)))
            written.append(first)
    under_way = every
    while under_way:
        for one, turn in zip(under_way, written, strict=True):
            _take(policy, settings, one, turn)
        under_way = [one for one in under_way if one.run.stop is None]
        if under_way:
            contexts = [one.context for one in under_way]
            following = [(*one.seed, len(one.turns)) for one in under_way]
            written = [group[0] for group in writer.write(contexts, 1, decoding, following)]
    return [_played(one) for one in every]


def _take(policy: Policy, settings: OnlineSettings, one: _Open, turn: Written) -> None:
    """Take one turn, and put in what comes before the next."""
    one.turns.append(turn)
    read = policy.chat.parse_turn(turn.ids.tolist())
    before = one.run.messages
    advance(one.run, Answer(message=read.message, text=read.text, finished=turn.finished, prompt_tokens=0,
                            completion_tokens=turn.tokens), None)  # fmt: skip
    if one.run.stop is not None:
        return
    said = one.run.messages[len(before) :]
    try:
        gap = policy.chat.encode_after(before, said[0], said[1:], one.prompt.tools)
    except BadInput as error:
        one.run.finish(StopReason.ERROR, str(error).splitlines()[0][:300])
        return
    after = len(one.after) + len(gap) + int(settings.max_new_tokens)
    limit = getattr(policy.inner.config.get_text_config(), "max_position_embeddings", None)
    too_long = settings.episode_tokens is not None and after > int(settings.episode_tokens)
    if too_long or (limit and len(one.start) + after > limit):
        one.run.finish(StopReason.TOKEN_LIMIT)
        return
    one.between.append(gap)


def _played(one: _Open) -> Played:
    trajectory, written = one.run.trajectory(), one.written()
    world = one.run.sandbox.environment
    failed = trajectory.error or "unknown error" if trajectory.stop_reason is StopReason.ERROR else None
    sampled = Sampled(
        prompt=one.prompt.messages,
        answer=trajectory.messages,
        tools=one.prompt.tools,
        item=one.prompt.item,
        reference=one.prompt.reference,
        finished=written.finished,
        tokens=written.tokens,
        episode=Episode(one.run.task, trajectory, world.inner if isinstance(world, worlds.Timed) else world),
    )
    values = {
        "turns": float(len(one.turns)),
        "tool_calls": float(len(trajectory.calls)),
        "episodes_failed": float(failed is not None),
    }
    return Played(written, sampled, failed, values)
