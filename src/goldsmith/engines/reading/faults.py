"""A row that cannot be used, and where it stands. It never stops the rest of its file."""

from dataclasses import dataclass

from goldsmith.types.row_format import RowProblem


@dataclass(frozen=True, slots=True)
class Fault:
    """`line`: as in `Row`. `where`: the field's path in the row. `str(fault)` is one line for people."""

    line: int
    what: str
    where: str | None = None
    found: str | None = None
    allowed: str | None = None

    @staticmethod
    def of(line: int, problem: RowProblem) -> "Fault":
        """The fault that a row's problem is at this line."""
        return Fault(line, problem.what, problem.where, problem.found, problem.allowed)

    def __str__(self) -> str:
        place = f"line {self.line}" + (f", {self.where}" if self.where else "")
        found = f"; found {self.found}" if self.found else ""
        return f"{place}: {self.what}{found}" + (f"; allowed: {self.allowed}" if self.allowed else "")
