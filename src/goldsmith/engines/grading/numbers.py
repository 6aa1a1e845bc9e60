"""The number that an answer comes down to."""

import math
import re

_NUMBER = re.compile(r"[-\u2212+]?\$?\d[\d,]*(?:\.\d+)?(?:[eE][-+]?\d+)?|[-\u2212+]?\$?\.\d+")
_MARKER = "####"


def stated_number(text: str) -> float | None:
    """The number after the last `####`, as GSM8K writes it, else the last number of the text; None if there is none.

    Thousands separators, a dollar sign and a Unicode minus are understood.
    """
    tail = text.rpartition(_MARKER)[2] if _MARKER in text else text
    found = _NUMBER.findall(tail)
    if not found:
        return None
    chosen = found[0] if _MARKER in text else found[-1]
    try:
        value = float(chosen.replace(",", "").replace("$", "").replace("\u2212", "-"))
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def same_number(wanted: float, found: float, tolerance: float = 1e-6) -> bool:
    """Equal to `tolerance` of the greater one; near zero to one part in a thousand million."""
    return math.isclose(wanted, found, rel_tol=tolerance, abs_tol=1e-9)
