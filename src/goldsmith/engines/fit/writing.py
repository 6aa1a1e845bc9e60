"""What methods that learn from their own answers take for writing them: by the model itself over one turn or several,
or by vLLM beside it; and what of it cannot be told beforehand."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from goldsmith.engines.fit.estimate import cache_bytes
from goldsmith.engines.fit.hardware import GIB
from goldsmith.engines.fit.simulate import Counts
from goldsmith.engines.training.reinforcement.generate import ROWS_AT_ONCE
from goldsmith.engines.training.reinforcement.settings import OnlineSettings


@dataclass(frozen=True, slots=True)
class Answers:
    """The longest answers there may be: `tokens`, of which the model writes at most `own`. `open_end`: tools' answers
    are as long as they are, and come on top."""

    tokens: int
    own: int
    open_end: bool


def longest(settings: OnlineSettings, prompt: int, config: Any) -> Answers:
    """After a prompt of so many tokens. Of several turns: what `episode_tokens` allows, tools' answers with it; without
    that what the model itself may write. Both within the model's context."""
    turn, own = int(settings.max_new_tokens), int(settings.longest_answer)
    if not settings.plays_episodes:
        return Answers(turn, turn, False)
    bound = settings.episode_tokens
    tokens = own if bound is None else max(turn, int(bound))  # the first turn is not asked whether it fits
    if context := getattr(config.get_text_config(), "max_position_embeddings", None):
        tokens = max(turn, min(tokens, int(context) - prompt))
    return Answers(tokens, min(own, tokens), bound is None)


def sampler(settings: OnlineSettings, counts: Counts, *, prompt: int, answers: Answers, device: str) -> int:
    """Bytes of the model's own sampler at its worst moment; none where another engine writes.

    A prompt is read once for all its answers. After a tool has answered, each conversation is read anew, as many side
    by side as are written.
    """
    if settings.generate.engine != "builtin":
        return 0
    each = 2 if device == "cuda" and settings.precision != "float32" else 4
    group, most = int(settings.group_size), ROWS_AT_ONCE[device]
    asked = settings.batch_size * settings.gradient_accumulation
    prompts = min(max(1, most // group), asked)
    first = _bytes(counts, prompts, prompts * group, prompt, int(settings.max_new_tokens), each)
    if not settings.plays_episodes:
        return first
    rows = min(most, asked * group)
    so_far = prompt + answers.tokens - int(settings.max_new_tokens)
    return max(first, _bytes(counts, rows, rows, so_far, int(settings.max_new_tokens), each))


def _bytes(counts: Counts, read: int, rows: int, prompt: int, answer: int, each: int) -> int:
    """The more of reading `read` prompts side by side, and of writing `rows` answers."""
    reading = cache_bytes(counts, read * (prompt + max(64, prompt // 4)), bytes_each=each)
    reading += read * prompt * (2 * counts.hidden + 3 * counts.widest) * each  # a layer's states and its inner ones
    return max(reading, sampling_bytes(counts, rows=rows, prompt=prompt, answer=answer, bytes_each=each))


def sampling_bytes(counts: Counts, *, rows: int, prompt: int, answer: int, bytes_each: int) -> int:
    """Writing `rows` answers side by side: keys and values in buffers that grow by a quarter (`sampling/batch.py`), one
    layer's old buffer beside its new one, and a step's logits, log-probabilities, probabilities (float32) and running
    sums (float64) over the vocabulary."""
    columns = prompt + max(64, prompt // 4)
    while columns < prompt + answer:
        columns += 1 + max(64, (columns + 1) // 4)
    cache = cache_bytes(counts, columns * rows, bytes_each=bytes_each)
    return cache + cache // max(1, counts.layers) + rows * counts.vocabulary * (3 * 4 + 8 + bytes_each)


def beside(settings: OnlineSettings, room: int) -> int:
    """Bytes of a device with this `room` that an engine beside the trainer takes for itself: vLLM its share, for the
    base, its cache and its forwards together."""
    return int(float(settings.generate.memory_share) * room) if settings.generate.engine == "vllm" else 0


def said(settings: OnlineSettings, counts: Counts, answers: Answers, *, device: str, room: int) -> Iterator[str]:
    """What a reader should know about these figures."""
    if settings.plays_episodes and answers.open_end:
        yield (
            f"Answers of {int(settings.turns)} turns are counted with the {answers.own:,} tokens that the model may "
            "write. How long tools' answers are cannot be told: set episode_tokens, which bounds both together, for a "
            "figure that holds."
        )
    elif settings.plays_episodes:
        yield f"Answers of {int(settings.turns)} turns with what tools answer: up to {answers.tokens:,} tokens."
    if settings.generate.engine != "vllm":
        return
    if device == "cpu":
        yield "What vLLM takes on a CPU cannot be told here."
        return
    share, base = beside(settings, room), counts.parameters * (4 if settings.precision == "float32" else 2)
    yield (
        f"vLLM takes its share of the device whatever it needs (generate.memory_share: "
        f"{float(settings.generate.memory_share):g}, {share / GIB:.1f} GiB); its own base is in it."
    )
    if base >= share:
        yield f"That is less than its base takes ({base / GIB:.1f} GiB): vLLM would not start. Raise memory_share."
