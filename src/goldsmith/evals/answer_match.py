"""Is the answer the one in the file?"""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import Field

from goldsmith.engines.call_matching import expected_of, loose
from goldsmith.engines.eval_files import rows_of, sample, text_field
from goldsmith.engines.grading.numbers import same_number, stated_number
from goldsmith.engines.rollout import final_answer, unscored_if_failed
from goldsmith.engines.sandbox import ReplayEnvironment
from goldsmith.engines.scripted import replied
from goldsmith.types.artifact import Spec
from goldsmith.types.errors import BadInput
from goldsmith.types.record import Message, Role, TextPart
from goldsmith.types.score import Score, Scored
from goldsmith.types.trajectory import Environment, Task, Trajectory

EXAMPLE_ROWS = [{"question": "What is seven times six?", "answer": "7 * 6 = 42\n#### 42"}]


class AnswerMatch(Spec):
    """Questions with reference answers, compared by a rule. Metric `correct`.

    `exact`: equal without case, blanks at the ends and end punctuation. `contains`: the reference stands in
    the answer, as whole words. `numeric`: the reference's number (after `####`, as GSM8K writes it, else its
    last) equals the answer's (after `####`, else its last), to one part in a million. Where the reference
    field is a list, any of its members will do.
    """

    id: ClassVar[str] = "answer_match"
    version: ClassVar[int] = 1

    paths: tuple[str, ...] = Field(min_length=1)
    """JSON-lines files, gzipped or not."""
    question_field: str = "question"
    answer_field: str = "answer"
    match: Literal["exact", "contains", "numeric"] = "numeric"
    n: int | None = Field(default=None, ge=1)
    """At most so many questions, sampled by `seed`; all if none is given."""
    seed: int = 0
    system: str | None = None
    """A system text before every question, if any."""

    def tasks(self) -> Iterator[Task]:
        """The questions; an id is the file's name and the line."""
        tasks = [self._task(path, number, row) for path in self.paths for number, row in rows_of(path)]
        return iter(sample(tasks, self.n, self.seed, lambda task: str(task.id)))

    def environment(self, task: Task) -> Environment:
        """One without tools."""
        return ReplayEnvironment()

    def score(self, task: Task, trajectory: Trajectory, environment: Environment) -> dict[str, Score]:
        """`correct`; an answer that was cut off or could not be read is judged by what is there."""
        references = expected_of(task.expected)["answers"]
        answer = final_answer(trajectory)
        right = any(_same(reference, answer, self.match) for reference in references)
        return {"correct": unscored_if_failed(trajectory) or Scored(value=float(right))}

    def _task(self, path: str, number: int, row: dict[str, Any]) -> Task:
        where = f"{path}, line {number}"
        question = text_field(row, (self.question_field,), where)
        value = row.get(self.answer_field)
        members = value if isinstance(value, list) else [value]
        answers = [text_field({self.answer_field: one}, (self.answer_field,), where) for one in members]
        if not answers or (self.match == "numeric" and any(stated_number(answer) is None for answer in answers)):
            raise BadInput(
                "the reference answer holds no number" if answers else "the row has no reference answer",
                where=where,
                allowed="a number, after #### or as the last one" if answers else "a text or a list of texts",
                next_step="set match to exact or contains, or mend the row",
            )
        head = [Message(role=Role.SYSTEM, parts=(TextPart(text=self.system),))] if self.system else []
        return Task(
            id=f"{Path(path).name}:{number}",
            messages=(*head, Message(role=Role.USER, parts=(TextPart(text=question),))),
            expected=json.dumps({"answers": answers}, ensure_ascii=False),
            max_turns=1,
        )


def _same(reference: str, answer: str, how: str) -> bool:
    if how == "numeric":
        wanted, found = stated_number(reference), stated_number(answer)
        return wanted is not None and found is not None and same_number(wanted, found)
    wanted_text, text = loose(reference), loose(answer)
    if how == "exact" or not wanted_text:
        return wanted_text == text
    return re.search(rf"(?<!\w){re.escape(wanted_text)}(?!\w)", text) is not None


def _said(text: str) -> tuple[Task, Trajectory]:
    return replied(AnswerMatch(paths=("example.jsonl",))._task("example.jsonl", 1, EXAMPLE_ROWS[0]), text)


def solved() -> tuple[Task, Trajectory]:
    """The right number, said in words around it."""
    return _said("Seven times six makes 42.0.")


def failed() -> tuple[Task, Trajectory]:
    """The right number on the way, another at the end."""
    return _said("That is 42, no, wait: 48.")
