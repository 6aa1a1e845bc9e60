"""What a due-diligence report is made from, whether the rows came from a file or from a workspace."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from goldsmith.engines.screening import Screening
from goldsmith.engines.text.projection import ProjectedRows, project
from goldsmith.types.check import Check, Row, Vote
from goldsmith.types.diligence import Power, Subject
from goldsmith.types.finding import Finding, SourceVerdict

LINE = 0.99
"""The 1 % line: one clean record in a hundred is this suspicious in `combined`."""

Sensitive = Callable[[Sequence[str]], Sequence[bool]]
"""For each text whether it holds a secret or personal data, so that it may not be shown."""


@dataclass(frozen=True)
class Material:
    """Checked rows and what is known about them.

    `kept[i]`: whether row i is in what the report describes (a release leaves rows out); None: all are.
    `off`: checks that were left out by name.
    """

    rows: Sequence[Row]
    screening: Screening
    findings: Sequence[Finding]
    sources: Sequence[SourceVerdict]
    checks: Sequence[Check]
    subject: Subject
    sensitive: Sensitive
    off: Sequence[str] = ()
    votes: Sequence[Vote] = ()
    kept: NDArray[np.bool_] | None = None
    power: Sequence[Power] = ()
    power_told: str = ""
    made_at: str = ""
    notes: Sequence[str] = field(default=())

    def view(self) -> ProjectedRows:
        """All rows, with their columns."""
        return project(self.rows)

    def described(self) -> ProjectedRows:
        """The rows the report describes, with their columns."""
        view = self.view()
        if self.kept is None or bool(self.kept.all()):
            return view
        return project([view[int(i)] for i in np.flatnonzero(self.kept)])

    def combined(self) -> NDArray[np.float64]:
        """`combined` of the rows the report describes."""
        return self.screening.combined if self.kept is None else self.screening.combined[self.kept]
