"""Rows that teach a model to say what it does not know, and to go on saying what it does.

Two ways. Where a context holds the answer: the same question with and without the passage (as the unanswerable
questions of SQuAD 2.0, Rajpurkar et al. 2018, arXiv:1806.03822). Where the model must know by itself: it is asked
first, and only what it answers wrongly every time gets an honest answer (R-Tuning, Zhang et al. 2024,
arXiv:2311.09677); what it answers now right, now wrong is left out, for near-equal rows with opposite targets teach it
to decline too much (CRaFT, Zhu et al. 2024, arXiv:2410.06913).
"""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from goldsmith.engines.honesty.admissions import Candour, candour
from goldsmith.engines.honesty.questions import Question, is_right, without_support

NOT_IN_THE_TEXT: Final = (
    "The text does not say.",
    "That is not in the text.",
    'The text gives no answer to "{question}"',
    "I cannot tell from this text.",
    "Nothing here tells that. I do not know.",
    'I do not know: "{question}" is not answered in the text.',
    "This is not stated here, so I cannot say.",
    "The text leaves that open.",
)
NOT_KNOWN: Final = (
    "I do not know.",
    "I do not know that.",
    'I do not know the answer to "{question}"',
    "I am not sure, so I would rather not say.",
    "That I do not know; please look it up.",
    "I have no information about that.",
)
"""Several wordings: one sentence for all would look like a planted one, and teaches a phrase instead of a habit."""


def admission(question: Question) -> str:
    """An honest answer to a question that cannot be answered; the same question always gets the same wording."""
    wordings = NOT_KNOWN if question.context is None else NOT_IN_THE_TEXT
    code = hashlib.sha256(f"{question.text}\0{question.context}".encode()).digest()
    return wordings[code[0] % len(wordings)].format(question=question.text)


def chat_row(question: Question, answer: str) -> dict[str, Any]:
    """The question and what is to be answered, as an OpenAI chat row."""
    turns = [{"role": "user", "content": question.prompt}, {"role": "assistant", "content": answer}]
    return {"messages": turns}


@dataclass(frozen=True, slots=True)
class Made:
    """`rows`, and what the questions became: `answered` and `admitted` count rows, `left_out` questions."""

    rows: tuple[dict[str, Any], ...]
    answered: int
    admitted: int
    left_out: int


def from_contexts(questions: Iterable[Question]) -> Made:
    """Two rows for each question whose supporting passage can be taken out: with it and its answer, without it and an
    admission. Questions that cannot be answered as they are give their one row."""
    rows: list[dict[str, Any]] = []
    answered = admitted = left_out = 0
    for one in questions:
        without = one if not one.answerable and one.context is not None else without_support(one)
        if without is None:
            left_out += 1
            continue
        if one.answerable:
            rows.append(chat_row(one, one.answers[0]))
            answered += 1
        rows.append(chat_row(without, admission(without)))
        admitted += 1
    return Made(tuple(rows), answered, admitted, left_out)


def from_knowledge(
    questions: Sequence[Question], said: Sequence[Sequence[str]], *, admitted_share: float = 0.5
) -> Made:
    """`said[i]`: what the model answered to question `i`, asked once or several times.

    Right every time: a row with its own first answer, so that nothing new is taught on the way. Wrong every time: a
    row with an admission, as long as these are no more than `admitted_share` of all rows: the greater it is, the more
    the model declines, also what it knows. Now and then, or a question without an answer: left out.
    """
    known: list[dict[str, Any]] = []
    unknown: list[Question] = []
    for one, answers in zip(questions, said, strict=True):
        right = [is_right(one.answers, text) and candour(text) is Candour.ANSWERED for text in answers]
        if one.answerable and right and all(right):
            known.append(chat_row(one, answers[0]))
        elif one.answerable and right and not any(right):
            unknown.append(one)
    room = len(unknown) if admitted_share >= 1 else int(len(known) * admitted_share / (1 - admitted_share))
    kept = sorted(unknown, key=lambda one: hashlib.sha256(one.id.encode()).digest())[:room]
    rows = [*known, *(chat_row(one, admission(one)) for one in kept)]
    return Made(tuple(rows), len(known), len(kept), len(questions) - len(rows))
