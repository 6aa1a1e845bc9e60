"""Plays a round: prompts in, the model's own answers with their rewards out.

Several processes share it: each writes the answers to some of the prompts, a prompt's whole group, and has them
rewarded; then all know all of them. What is drawn follows from the prompt: the answers are those of one process.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from goldsmith.engines.grading.asking import Outcome, Verdicts, ask
from goldsmith.engines.training.data.batches import dealt
from goldsmith.engines.training.data.rows import Row
from goldsmith.engines.training.guards.finite import Diverged
from goldsmith.engines.training.model.policy import Policy
from goldsmith.engines.training.reinforcement import alarms, episodes
from goldsmith.engines.training.reinforcement.advantages import informative
from goldsmith.engines.training.reinforcement.episodes import Played
from goldsmith.engines.training.reinforcement.generate import Decoding, Seed, Writer
from goldsmith.engines.training.reinforcement.generate import Sampled as Written
from goldsmith.engines.training.reinforcement.rounds import Prompt, Round, answer_rows, prompt_of
from goldsmith.engines.training.reinforcement.settings import OnlineSettings
from goldsmith.engines.training.scale import parallel
from goldsmith.types.errors import GoldsmithError, Unavailable
from goldsmith.types.record import Message, Record, Role, TextPart
from goldsmith.types.reward import Reward, Sampled, Unrewarded


@dataclass(frozen=True, slots=True)
class Prepared:
    """What rounds are played with. `records`: of all rows, by row key: what a reward may read beside the answer."""

    records: Mapping[str, Record]
    writer: Writer


@dataclass(frozen=True, slots=True)
class _Told:
    """An answer and what each reward, by its label, makes of it. `values`: of the episode, to log."""

    written: Written
    outcomes: Mapping[str, Outcome]
    values: Mapping[str, float]


def play(
    policy: Policy,
    settings: OnlineSettings,
    prompts: Sequence[Row],
    prepared: Prepared,
    *,
    group_size: int,
    capacity: int,
    seeds: Sequence[Seed],
) -> Round:
    """Sample answers to `prompts`, have them rewarded. `capacity`: tokens that a row should not exceed. `seeds`: one
    for each prompt.

    Raises:
        Diverged: more rewards than allowed could not be told. Unavailable: a reward cannot judge at all; Elsewhere:
        another process failed.
    """
    ranks = parallel.here()
    mine = dealt([row.tokens for row in prompts], ranks.size)[ranks.rank]

    def work() -> list[list[_Told]]:
        return _told(
            policy, settings, [prompts[i] for i in mine], prepared, group_size, [tuple(seeds[i]) for i in mine]
        )

    with policy.whole():  # answers are of uneven length, so that processes would wait for one another's layers
        mine_told = ranks.together(work)
    found = ranks.merged(dict(zip(mine, mine_told, strict=True)))
    told = [one for place in range(len(prompts)) for one in found[place]]
    rewards_A, values, reasons = _summed(settings, told)
    rewards_PG = rewards_A.reshape(len(prompts), group_size)
    groups = [[one.written for one in found[place]] for place in range(len(prompts))]
    rows, members = answer_rows(prompts, groups, capacity)
    values |= _described(told, rewards_PG)
    round_ = Round(rows, members, tuple(one.written for one in told), rewards_PG, values)
    if values["unrewarded"] > float(settings.unrewarded_at_most):
        raise Diverged(
            f"{values['unrewarded']:.0%} of a round's answers could not be rewarded",
            where=", ".join(row.name for row in prompts[:5]),
            found="; ".join(reasons[:3]),
            allowed=f"{float(settings.unrewarded_at_most):.0%} (unrewarded_at_most)",
            next_step="look at the reward; the last checkpoint is kept",
        )
    return round_


def _told(
    policy: Policy,
    settings: OnlineSettings,
    prompts: Sequence[Row],
    prepared: Prepared,
    group_size: int,
    seeds: Sequence[Seed],
) -> list[list[_Told]]:
    """The answers to each of these prompts, with what the rewards make of them."""
    prepared.writer.take(policy)
    asked = [prompt_of(prepared.records[row.key], episode=settings.plays_episodes) for row in prompts]
    decoding = Decoding(int(settings.max_new_tokens), float(settings.temperature), float(settings.top_p))
    starts = [row.nodes[0].ids for row in prompts]
    groups = prepared.writer.write(starts, group_size, decoding, seeds)
    if settings.plays_episodes:
        played = episodes.go_on(
            policy, prepared.writer, settings, [row.key for row in prompts], asked, starts, groups, decoding, seeds
        )
    else:
        played = [
            Played(one, _single(policy, prompt, one))
            for prompt, group in zip(asked, groups, strict=True)
            for one in group
        ]
    outcomes = _judged(settings, played)
    told = [
        _Told(one.written, {label: found[a] for label, found in outcomes.items()}, one.values)
        for a, one in enumerate(played)
    ]
    return [told[low : low + group_size] for low in range(0, len(told), group_size)]


def _judged(settings: OnlineSettings, played: Sequence[Played]) -> dict[str, list[Outcome]]:
    """What each reward makes of each answer. An episode in which the machinery failed is shown to none."""
    whole = [place for place, one in enumerate(played) if one.failed is None]
    found: dict[str, list[Outcome]] = {}
    for entry in settings.rewards:
        outcomes: list[Outcome] = [Unrewarded(f"the machinery failed: {one.failed}") for one in played]
        samples = [played[place].sampled for place in whole]
        verdicts = _asked(settings.judge(entry.label), entry.label, samples) if whole else None
        for place, outcome in zip(whole, verdicts.outcomes if verdicts else (), strict=True):
            outcomes[place] = outcome
        found[entry.label] = outcomes
    return found


def _asked(reward: Reward, label: str, samples: Sequence[Sampled]) -> Verdicts:
    try:
        return ask(reward, samples)
    except GoldsmithError:
        raise
    except Exception as error:
        raise Unavailable(
            "a reward failed while it judged a round's answers",
            where=label,
            found=f"{type(error).__name__}: {error}"[:300],
            next_step="mend the reward and run the same command again; the last checkpoint is kept",
        ) from error


def _single(policy: Policy, prompt: Prompt, one: Written) -> Sampled:
    """An answer of a single turn as a reward sees it."""
    turn = policy.chat.parse_turn(one.ids.tolist())
    ids = one.ids[:-1] if one.finished else one.ids
    text = str(policy.chat.tokenizer.decode(ids.tolist(), skip_special_tokens=False))
    return Sampled(
        prompt=prompt.messages,
        answer=(turn.message or Message(role=Role.ASSISTANT, parts=(TextPart(text=text),)),),
        tools=prompt.tools,
        item=prompt.item,
        reference=prompt.reference,
        finished=one.finished,
        tokens=one.tokens,
    )


def _summed(settings: OnlineSettings, told: Sequence[_Told]) -> tuple[NDArray[np.float64], dict[str, float], list[str]]:
    """The weighted sum for each answer [A], each reward's means by `reward/LABEL`, and why some could not be told."""
    total_A = np.zeros(len(told))
    values: dict[str, float] = {}
    reasons: list[str] = []
    for entry in settings.rewards:
        verdicts = Verdicts(tuple(one.outcomes[entry.label] for one in told))
        for name, value in verdicts.means().items():  # reward, reward/PART, unrewarded
            kind, _, part = name.partition("/")
            values["/".join(filter(None, (kind, entry.label, part)))] = value
        if entry.weight:
            found_A = np.array([np.nan if value is None else value for value in verdicts.values])
            total_A += float(entry.weight) * found_A
            reasons += [f"{entry.label}: {reason}" for reason in verdicts.unrewarded]
    return total_A, values, reasons


def _described(told: Sequence[_Told], rewards_PG: NDArray[np.float64]) -> dict[str, float]:
    written = [one.written for one in told]
    known = rewards_PG[~np.isnan(rewards_PG)]
    tokens = sum(one.tokens for one in written)
    return {
        "reward": float(known.mean()) if len(known) else 0.0,
        "reward_deviation": float(known.std()) if len(known) else 0.0,
        "unrewarded": float(np.isnan(rewards_PG).mean()),
        "informative_groups": float(informative(rewards_PG).mean()),
        "answer_tokens": tokens / len(written),
        "unfinished": float(np.mean([not one.finished for one in written])),
        "repetition": float(np.mean([alarms.repetition(one.ids[one.own].tolist()) for one in written])),
        # the surprise of what a model draws from itself is, on average, its entropy
        "entropy": -sum(float(one.logprobs.sum()) for one in written) / max(1, tokens),
        **{name: float(np.mean([one.values[name] for one in told])) for name in told[0].values},
    }
