"""What a model answers to questions, asked in several ways: whether it knows, before it is taught to say so."""

from collections.abc import Sequence
from pathlib import Path

from goldsmith.engines.honesty.questions import Question
from goldsmith.types.record import Message, Role, TextPart

WAYS = ("{prompt}", "Answer in short. {prompt}", "{prompt} Answer with one sentence.")
"""One right answer may be luck, so a question is put in several ways."""


def ask(
    model: str | Path,
    questions: Sequence[Question],
    *,
    ways: Sequence[str] = WAYS,
    max_new_tokens: int = 64,
    device: str = "cpu",
) -> list[list[str]]:
    """For each question the model's greedy answers, one for each way; an answer that did not end is an empty text.

    Errors: Unavailable, BadInput (no such model, or not one that answers).
    """
    from goldsmith.engines.sampler import LocalAnswerer

    texts = [way.format(prompt=one.prompt) for one in questions for way in ways]
    prompts = [((Message(role=Role.USER, parts=(TextPart(text=text),)),), ()) for text in texts]
    with LocalAnswerer(model, device=device) as answerer:
        said = [one.text if one.finished else "" for one in answerer.answer(prompts, max_new_tokens=max_new_tokens)]
    return [said[start : start + len(ways)] for start in range(0, len(said), len(ways))]
