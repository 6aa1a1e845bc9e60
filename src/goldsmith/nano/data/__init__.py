"""The word lists and ways of asking, as JSON beside this file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


def load(name: str) -> Any:
    """A table by its file name without the ending."""
    return json.loads(Path(__file__).with_name(f"{name}.json").read_text(encoding="utf-8"))
