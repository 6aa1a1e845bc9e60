"""Times as they are written in evidence: RFC 3339, UTC, whole seconds (`2026-01-31T09:30:00Z`)."""

import re
from datetime import UTC, datetime, timedelta

from goldsmith.types.errors import BadInput

_FORM = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")


def now() -> str:
    """This moment."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def moment(text: str) -> datetime:
    """The moment a text names. Errors: BadInput if it is in any other form."""
    try:
        if _FORM.fullmatch(text) is None:
            raise ValueError("not in the form")
        return datetime.strptime(text, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)
    except ValueError as error:
        raise BadInput("this is not a time", found=repr(text)[:40], allowed="2026-01-31T09:30:00Z (UTC)") from error


def later(text: str, *, days: float) -> str:
    """The moment `days` after `text`."""
    return (moment(text) + timedelta(days=days)).strftime("%Y-%m-%dT%H:%M:%SZ")
