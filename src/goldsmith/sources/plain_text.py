"""Plain text rows: `{"text": ...}`, for continued pre-training."""

from collections.abc import Mapping
from typing import Any, ClassVar

from goldsmith.engines.reading.fields import rest_of, text
from goldsmith.types.artifact import Spec
from goldsmith.types.record import Content, Text
from goldsmith.types.row_format import Parsed, RowProblem


class PlainText(Spec):
    """A text. `text`: the name of the field."""

    id: ClassVar[str] = "plain_text"
    version: ClassVar[int] = 1
    text: str = "text"

    def confidence(self, row: Mapping[str, Any]) -> float:
        return 0.6 if isinstance(row.get(self.text), str) else 0.0

    def parse(self, row: Mapping[str, Any]) -> Parsed:
        return Parsed(Text(text=text(row, self.text)), rest_of(row, frozenset((self.text,))))

    def render(self, content: Content) -> dict[str, Any]:
        if not isinstance(content, Text):
            raise RowProblem("only texts are plain text rows", found=content.kind, allowed="text")
        return {self.text: content.text}


ROWS = [({"text": "Moles dig.", "url": "https://example.org"}, "Moles dig.")]
