"""Raw rows to records, in the row formats of one file; knows nothing else of it, so that parts can be parsed apart."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from goldsmith.engines.reading import detect, origins
from goldsmith.engines.reading.faults import Fault
from goldsmith.engines.reading.json_text import encode
from goldsmith.types.check import Row
from goldsmith.types.errors import BadInput
from goldsmith.types.record import Origin, Record
from goldsmith.types.row_format import RowFormat, RowProblem


@dataclass(slots=True)
class RowParser:
    """`formats`: those to choose from. `usual`: the file's own, in whose words a row that none claims is explained;
    found by `look_ahead`, or the first row's.
    """

    formats: Sequence[RowFormat]
    defaults: Origin
    row_origin: bool = True
    usual: RowFormat | None = None

    def fresh(self) -> "RowParser":
        """The same parser, nothing of what it has met in it but the usual format."""
        return RowParser(self.formats, self.defaults, self.row_origin, self.usual)

    def told(self) -> tuple[object, ...]:
        """What its records depend on beside the rows."""
        formats = [(form.id, form.version, repr(form)) for form in self.formats]
        return formats, None if self.usual is None else self.usual.id, repr(self.defaults), self.row_origin

    def look_ahead(self, rows: Sequence[Mapping[str, Any]], name: str, where: str) -> None:
        """Recognise the file's usual format by its first rows. Errors: BadInput if none fits, or two do."""
        if len(self.formats) == 1:
            return
        problem: RowProblem | None = None
        for row in rows:
            try:
                form = detect.choose(self.formats, row)
                self.usual = self.usual or form
            except detect.Ambiguous as ambiguous:
                raise BadInput(
                    f"the row format of {name} is ambiguous",
                    where=where,
                    found=ambiguous.found,
                    allowed="rows that one format fits best",
                    next_step="name the format (--format, or `format:` in a recipe)",
                ) from ambiguous
            except RowProblem as unclaimed:
                problem = problem or unclaimed
        if problem is not None and self.usual is None:
            raise BadInput(
                f"no row format fits the first rows of {name}",
                where=where,
                found=problem.found,
                allowed=problem.allowed,
                next_step="name the format and its fields, or convert the rows",
            ) from problem

    def row(self, line: int, raw: dict[str, Any]) -> tuple[str, Row] | Fault:
        """The raw row's format and record, or why it cannot be used."""
        try:
            form = self.formats[0] if len(self.formats) == 1 else self._detected(raw)
            content, rest = form.parse(raw)
            origin = origins.take(rest, self.defaults, row_origin=self.row_origin)
            record = Record(content=content, origin=origin, extra=encode(rest, sort_keys=True) if rest else None)
        except RowProblem as problem:
            return Fault.of(line, problem)
        except BadInput:
            raise
        except ValueError as error:  # pydantic, of a text that is none
            return Fault(line, "a value that a record cannot hold", found=str(error).splitlines()[0])
        return form.id, Row(line, record)

    def _detected(self, row: dict[str, Any]) -> RowFormat:
        """The row's format. A row that none claims is explained as the file's usual format, if it has its field."""
        try:
            form = detect.choose(self.formats, row)
        except detect.Ambiguous:
            raise
        except RowProblem as unclaimed:
            if self.usual is not None:
                try:
                    self.usual.parse(row)
                except RowProblem as precise:
                    root = (precise.where or "").split(".")[0].split("[")[0]
                    if row.get(root) is not None:
                        raise precise from unclaimed
            raise
        if self.usual is None:
            self.usual = form
        return form
