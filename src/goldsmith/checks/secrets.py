"""Keys and passwords in the text: a model that learns them will say them."""

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np

from goldsmith.engines.text.credentials import ASSIGNED, SESSION, found_secrets, possible_shapes
from goldsmith.engines.text.evidence import findings_by_group, mask
from goldsmith.engines.text.features import RowFeatures
from goldsmith.engines.text.projection import ProjectedRows, project
from goldsmith.engines.text.whole import whole_texts
from goldsmith.types.artifact import Spec
from goldsmith.types.check import CheckContext, CheckReport, Row
from goldsmith.types.finding import Severity


class Secrets(Spec):
    """Credentials by their published shapes, and high-entropy values assigned to names such as `api_key` or
    `password`.

    Evidence is masked. Values that are visibly made up (`example`, `your_key`, `xxxx`, runs such as `12345`, keyboard
    walks, low entropy) are left alone, and so is everything in `allow`. Records with a credential of a known shape are
    left out; an assigned value is a warning. A token that a tool hands out within the row is a session's, not
    somebody's key: it is counted among the facts and not held against the row.
    """

    id: ClassVar[str] = "secrets"
    version: ClassVar[int] = 2
    allow: tuple[str, ...] = ()

    def __call__(self, rows: Sequence[Row], context: CheckContext) -> CheckReport:
        """Score 1 for a credential of a known shape, 0.6 for an assigned high-entropy value."""
        view = project(rows)
        features = view.features(self, context)
        shaped: dict[int, str] = features.notes("shaped")
        assigned: dict[int, str] = features.notes("assigned")
        sessions = sum(features.notes("sessions").values())
        scores: list[float | None] = [1.0 if i in shaped else 0.6 if i in assigned else 0.0 for i in range(len(view))]
        findings = findings_by_group(
            view, shaped, check=self.id, severity=Severity.EXCLUDE, score=1.0,
            evidence="{n} with a credential of a known shape", examples=shaped,
        )  # fmt: skip
        findings += findings_by_group(
            view, assigned.keys() - shaped.keys(), check=self.id, severity=Severity.WARN, score=0.6,
            evidence="{n} with a random-looking value assigned to a key, token or password", examples=assigned,
        )  # fmt: skip
        return CheckReport(
            findings, scores, facts={"known_shape": len(shaped), "assigned": len(assigned), "session_tokens": sessions}
        )

    def row_features(self, rows: ProjectedRows, context: CheckContext) -> RowFeatures:
        """The first credential of each sort in a row, masked, and how many session tokens it holds."""
        notes: dict[str, dict[int, Any]] = {"shaped": {}, "assigned": {}, "sessions": {}}
        columns = rows.columns
        read = whole_texts(rows)
        possible = possible_shapes(read.encoded, read.signs)
        for index in np.flatnonzero(possible.any(axis=1)).tolist():
            issued = "\n".join(text for _, text in columns.results[index])
            for kind, secret in found_secrets(read.texts[index], issued, possible[index].tolist()):
                if secret in self.allow:
                    continue
                if kind == SESSION:
                    notes["sessions"][index] = notes["sessions"].get(index, 0) + 1
                else:
                    notes["assigned" if kind == ASSIGNED else "shaped"].setdefault(index, f"{kind} {mask(secret)}")
        return RowFeatures(notes)


def _row(text: str) -> dict[str, object]:
    return {"messages": [{"role": "user", "content": "How do I log in?"}, {"role": "assistant", "content": text}]}


_PARTS = (
    "AKIA",
    "Q3ZTNV7WKHD2MRBX",
    "ghp_",
    "kT9vQ2mZx7LwB4nRc8YdJ1fHs6GpE3aVuXo5",
    "8fQ2zL7vRk3TmN9w",
    "XpB6cYd1HsJ4",
)
CAUGHT = [
    _row(f"Use the key {_PARTS[0]}{_PARTS[1]} for the bucket."),
    _row(f"git clone with {_PARTS[2]}{_PARTS[3]}"),
    _row(f"api_key = '{_PARTS[4]}{_PARTS[5]}'"),
]
CLEAN = [
    _row("Set AWS_ACCESS_KEY_ID to AKIAIOSFODNN7EXAMPLE, as the manual does."),
    _row("api_key = 'your_api_key_goes_here_1234'"),
    _row("password: correct horse battery staple"),
    _row("The token economy of the village depends on bicycles and on nothing else."),
]
