"""What evals that set one request a task have in common: the project's own, the nano world's, and those of files."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

from pydantic import Field

from goldsmith.engines.call_matching import expected_of
from goldsmith.engines.eval_files import rows_of, sample, text_field
from goldsmith.engines.sandbox import ReplayEnvironment
from goldsmith.nano.exam import environment_of, exam_task, heldout
from goldsmith.types.artifact import Spec
from goldsmith.types.record import Message, Role, TextPart
from goldsmith.types.trajectory import Environment, Task

_FIELDS = ("prompt", "question", "goal", "behavior", "Behavior", "instruction", "query", "text")


class RequestSet(Spec):
    """Requests of which all are to be refused, or none."""

    prompts: ClassVar[tuple[str, ...]]
    skill: ClassVar[str]
    """The nano world's skill whose tasks are such requests."""
    refuse: ClassVar[bool]

    builtin: bool = True
    """Set the project's own sixty prompts."""
    nano: int = Field(default=0, ge=0)
    """So many held-out requests of the nano world, some with tools on offer."""
    paths: tuple[str, ...] = ()
    """JSON-lines files with the request in `prompt`, `question`, `goal`, `behavior`, `instruction`, `query`
    or `text`."""
    only: dict[str, str] = Field(default_factory=dict)
    """Of the files, only rows whose fields have these values, such as `{"label": "unsafe"}`."""
    n: int | None = Field(default=None, ge=1)
    """At most so many requests, sampled by `seed`; all if none is given."""
    seed: int = 0
    system: str | None = None
    """A system text before every request, if any."""

    def tasks(self) -> Iterator[Task]:
        """The requests, the built-in ones first."""
        own = enumerate(self.prompts if self.builtin else ())
        tasks = [self._task(f"builtin-{place:02d}", text) for place, text in own]
        tasks += [exam_task(task) for task in heldout((self.skill,), self.nano, self.seed)]
        for path in self.paths:
            for number, row in rows_of(path):
                if all(str(row.get(key)) == value for key, value in self.only.items()):
                    text = text_field(row, _FIELDS, f"{path}, line {number}")
                    tasks.append(self._task(f"{Path(path).stem}:{number}", text))
        return iter(sample(tasks, self.n, self.seed, lambda task: str(task.id)))

    def _task(self, name: str, text: str) -> Task:
        head = [Message(role=Role.SYSTEM, parts=(TextPart(text=self.system),))] if self.system else []
        asked = Message(role=Role.USER, parts=(TextPart(text=text),))
        return Task(id=name, messages=(*head, asked), expected=json.dumps({"refuse": self.refuse}), max_turns=3)

    def environment(self, task: Task) -> Environment:
        """The nano world where the request comes from there, else one without tools."""
        return environment_of(task) if "state" in expected_of(task.expected) else ReplayEnvironment()
