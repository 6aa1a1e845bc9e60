"""The contract of a row format: how a raw row is recognised, read into a record's content, and written back."""

from collections.abc import Mapping
from typing import Any, ClassVar, NamedTuple, Protocol

from goldsmith.types.errors import BadInput
from goldsmith.types.record import Content

CLAIMED = 0.5
"""A format claims a row from this confidence on."""
MARGIN = 0.1
"""Two formats whose confidence is closer than this leave the row ambiguous."""


class RowProblem(BadInput):
    """A row that cannot be used. `where` is the path of the field inside the row (`messages[2].role`)."""


class Parsed(NamedTuple):
    """What a row says. `rest`: every delivered field that `content` has no place for, by its path in the row."""

    content: Content
    rest: dict[str, Any]


class RowFormat(Protocol):
    """A row format is its settings (mostly the names of the fields it reads).

    Rows come from `goldsmith.engines.reading`: JSON values whose numbers are Python integers within ±(2^53 - 1) or
    `json_text.Number` (the number's own text). Beside the class, its module holds `ROWS`: a list of (raw row, summary)
    in which the summary is the content in plain words, as the contract test writes it.
    """

    id: ClassVar[str]
    version: ClassVar[int]

    def confidence(self, row: Mapping[str, Any]) -> float:
        """How sure the row is of this format, from its content: 0 to 1; `CLAIMED` and more claims it. Never raises."""
        ...

    def parse(self, row: Mapping[str, Any]) -> Parsed:
        """The row's content. Errors: RowProblem with the field's path, what was found and what is allowed.

        Unusable rows are errors (unknown role, a turn of the wrong shape, null content without tool calls, half a
        pair). Suspicious rows are parsed, for checks to report: empty answers, identical pairs, no assistant turn.
        """
        ...

    def render(self, content: Content) -> dict[str, Any]:
        """The content as a row of this format. Errors: BadInput if the format has no way of saying it."""
        ...
