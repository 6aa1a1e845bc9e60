"""Questions with known answers or none: read from files, and rid of the passage that answers them."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from goldsmith.engines.call_matching import loose
from goldsmith.engines.eval_files import rows_of, text_field
from goldsmith.engines.text.evidence import quote
from goldsmith.types.errors import BadInput

_QUESTION = ("question", "query", "prompt", "instruction")
_CONTEXT = ("context", "passage", "text", "document", "input")
_ANSWER = ("answers", "answer", "reference", "output")


@dataclass(frozen=True, slots=True)
class Question:
    """`answers`: any of them is right; none: it cannot be answered. `context`: the text it is asked about, if any."""

    id: str
    text: str
    answers: tuple[str, ...]
    context: str | None = None

    @property
    def answerable(self) -> bool:
        """Whether it has an answer."""
        return bool(self.answers)

    @property
    def prompt(self) -> str:
        """The context, then the question."""
        return self.text if self.context is None else f"{self.context}\n\n{self.text}"


def questions_of(path: str | Path) -> Iterator[Question]:
    """The questions of a JSON-lines file: `question`, `answers` (a text, a list, or SQuAD's `{"text": [...]}`; empty
    or with `is_impossible` true: it cannot be answered) and `context`, or the usual other names.

    Errors: BadInput naming the line; Unavailable where there is no file.
    """
    for number, row in rows_of(path):
        where = f"{path}, line {number}"
        text = text_field(row, _QUESTION, where)
        context = next((row[name] for name in _CONTEXT if isinstance(row.get(name), str) and row[name].strip()), None)
        yield Question(f"{Path(path).stem}:{number}", text, _answers(row, where), context)


def _answers(row: Mapping[str, Any], where: str) -> tuple[str, ...]:
    if row.get("is_impossible") is True:
        return ()
    name = next((name for name in _ANSWER if name in row), None)
    if name is None:
        raise BadInput(
            "the row does not say what the answer is",
            where=where,
            found=quote(", ".join(map(str, row))),
            allowed="`answers` (empty where there is none) or `is_impossible`",
        )
    value = row[name]
    value = value.get("text") if isinstance(value, Mapping) else value
    members = [] if value is None else value if isinstance(value, list) else [value]
    found = [one if isinstance(one, str) else json.dumps(one) for one in members]
    return tuple(dict.fromkeys(one.strip() for one in found if one.strip()))


def is_right(answers: Sequence[str], said: str) -> bool:
    """Whether one of the answers stands in what was said, as whole words, without regard to case."""
    text = loose(said)
    return any(_stands_in(loose(answer), text) for answer in answers)


def _stands_in(answer: str, text: str) -> bool:
    return bool(answer) and re.search(rf"(?<!\w){re.escape(answer)}(?!\w)", text) is not None


# A full stop ends a sentence before a blank, unless it follows a title, an initial or a number of a list.
_END = re.compile(
    r"(?<!\bMr)(?<!\bMrs)(?<!\bMs)(?<!\bDr)(?<!\bSt)(?<!\bNo)(?<!\be\.g)(?<!\bi\.e)(?<!\b[A-Z])(?<!\b\d)"
    r"[.!?][\"'\u201d\u2019)\]]*\s+|[。！？]\s*|\n+"
)


def sentences(text: str) -> list[str]:
    """The text in pieces that end where a sentence or a line does; joined they are the text."""
    found, start = [], 0
    for match in _END.finditer(text):
        found.append(text[start : match.end()])
        start = match.end()
    return [*found, text[start:]] if start < len(text) else found


def without_support(question: Question) -> Question | None:
    """The question with every sentence taken out of its context that holds an answer, so that it cannot be answered.

    None where that cannot be done: there is no context or no answer, no sentence holds it (it has to be concluded, so
    what supports it is not known), nothing would be left, or the question itself says it.
    """
    if question.context is None or not question.answers:
        return None
    if is_right(question.answers, question.text):
        return None
    pieces = sentences(question.context)
    kept = [piece for piece in pieces if not is_right(question.answers, piece)]
    left = "".join(kept).strip()
    if len(kept) == len(pieces) or not left or is_right(question.answers, left):
        return None
    return replace(question, id=f"{question.id}-without", answers=(), context=left)
