"""What a report may tell besides the workspace's own facts: one answer and its teachers, a recall, an anchor."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Story:
    """Extras of a report, all optional.

    `question`, `answer`: a served exchange; `served_model`: the digest the server named in its response header.
    `teachers`: as `stages.trace.teachers` gives them. `recalled`: as `Touched.as_dict()`. `checkpoint` and `root`: what
    to keep outside the workspace. `notes`: sentences for the reader.
    """

    question: str | None = None
    answer: str | None = None
    served_model: str | None = None
    teachers: Sequence[Mapping[str, Any]] = ()
    recalled: Mapping[str, Any] | None = None
    checkpoint: str | None = None
    root: str | None = None
    notes: Sequence[str] = field(default=())
