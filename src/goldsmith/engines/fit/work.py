"""What is trained, as far as its size goes: rows, the forwards they are put in, and what a run of them holds."""

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from goldsmith.engines.fit import writing
from goldsmith.engines.fit.estimate import ALONE, Memory, Sharing, memory_of
from goldsmith.engines.fit.following import Reads
from goldsmith.engines.fit.remembered import simulated_once
from goldsmith.engines.fit.simulate import Simulated, answered, heaviest, stated_rows
from goldsmith.engines.training.data.batches import pack
from goldsmith.engines.training.data.judged import judged
from goldsmith.engines.training.data.prepare import plan_of, prepare_data
from goldsmith.engines.training.data.rows import Row
from goldsmith.engines.training.reinforcement.settings import OnlineSettings
from goldsmith.engines.training.settings import TrainingSettings
from goldsmith.types.errors import BadInput
from goldsmith.types.record import Record

WHOLE_ANSWERS = ("dpo", "simpo", "orpo", "kto", "grpo", "rloo", "ppo")
"""Methods whose loss reads log-probabilities of answers."""
PAIRS = ("dpo", "simpo", "orpo", "reward_model")
"""Methods whose rows are a prompt with two answers."""
JUDGED = ("reward_model", "process_reward")
"""Methods whose model ends in a number."""
_UPDATES_LOOKED_AT = 50


@dataclass(frozen=True, slots=True)
class Work:
    """What is trained: the rows, and in which forwards. `stated`: the lengths are an assumption, not the data's. Of a
    method that learns from its own answers the rows are prompts; its answers are as long as allowed."""

    method: str
    settings: TrainingSettings
    rows: tuple[Row, ...]
    stated: bool
    sharing: Sharing = ALONE

    @property
    def online(self) -> OnlineSettings | None:
        """The settings of a method that learns from its own answers."""
        return self.settings if isinstance(self.settings, OnlineSettings) else None

    @property
    def longest(self) -> int:
        """Tokens of the longest row."""
        return max(row.longest for row in self.rows)


def stated_work(method: str, settings: TrainingSettings, *, prompt: int, answer: int, rows: int) -> Work:
    """Rows that all have the stated length. Of a method that writes its own answers, `answer` is not asked: theirs are
    as long as its settings allow."""
    if isinstance(settings, OnlineSettings):
        answer = 0
    if prompt + answer > settings.max_length:
        raise BadInput(
            "the stated rows are longer than max_length",
            found=f"{prompt} + {answer} tokens",
            allowed=str(settings.max_length),
            next_step="set max_length in the recipe, or state shorter rows",
        )
    branches = 2 if method in PAIRS else 1 if method in WHOLE_ANSWERS and answer else 0
    made = stated_rows(prompt, answer, branches, rows)
    return Work(method, settings, tuple(judged(row) for row in made) if method in JUDGED else tuple(made), True)


def data_work(method: str, spec: Any, records: Sequence[Record], base: str) -> Work:
    """The rows of real records, in the model's own tokens; its tokenizer has to be here."""
    from goldsmith.engines.chat import open_chat

    settings: TrainingSettings = spec
    lenient = settings.model_copy(update={"early_stopping_patience": 0})
    with tempfile.TemporaryDirectory() as folder:
        data = prepare_data(spec, lenient, open_chat(base), records, None, None, Path(folder))
    read = tuple(judged(row) for row in data.train) if method == "reward_model" else data.train
    return Work(method, settings, read, False)


def simulated(config: Any, work: Work, device: str) -> Simulated:
    """The heaviest forwards of the run, followed."""
    plan = plan_of(work.settings, work.rows, 0, device=device, share=True)
    rows, parts = list(work.rows), [[place] for place in range(len(work.rows))]
    if (online := work.online) is not None:
        longest = writing.longest(online, work.longest, config)
        rows, parts = answered(work.rows, int(online.group_size), longest.tokens, plan.forward_tokens, longest.own)
    updates: list[list[list[int]]] = []
    for step in range(min(plan.steps, _UPDATES_LOOKED_AT)):
        chosen = [place for i in plan.rows_of(step) for place in parts[i]]
        if plan.forward_tokens:
            sizes = [rows[i].tokens for i in chosen]
            updates.append([[chosen[i] for i in members] for members in pack(sizes, plan.forward_tokens)])
        else:
            each = plan.forward_rows
            updates.append([chosen[low : low + each] for low in range(0, len(chosen), each)])
    batches = heaviest(rows, updates)
    return simulated_once(config, work.settings, batches, device=device, reads=reads_of(work.method))


def memory_for(config: Any, work: Work, run: Simulated, device: str, room: int = 0) -> Memory:
    """What the run takes on one device that has `room` bytes, with what its method keeps, and what writes answers."""
    if (online := work.online) is None:
        return memory_of(run, device=device, sharing=work.sharing)
    longest = writing.longest(online, work.longest, config)
    return memory_of(
        run,
        device=device,
        sharing=work.sharing,
        sampling=writing.sampler(online, run.counts, prompt=work.longest, answers=longest, device=device),
        reference=run.weights if online.adapter.kind == "none" else 0,
        writer=writing.beside(online, room) if device == "cuda" else 0,
    )


def reads_of(method: str) -> Reads:
    """What the method's loss reads."""
    return "scores" if method in JUDGED else "answers" if method in WHOLE_ANSWERS else "tokens"
