"""Text of strangers made harmless to look at: what a reader cannot see is spelt out, so that nothing hides or reorders.

Markup is the template's business (autoescape); this is about characters that act without markup: control and
direction marks, zero-width joiners, private use, lone surrogates, and towers of combining marks.
"""

import re
import unicodedata
from collections.abc import Iterable

_ACTING = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}
_MARKS_AT_MOST = 3
_NAME = re.compile(r"(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z]{2,24}(?::\d{1,5})?", re.I)
_QUOTED = re.compile(r"“([^”]{2,80})”")
_FILES = {"json", "jsonl", "txt", "csv", "py", "md", "html", "parquet", "yaml"}


def inert(text: str) -> str:
    """`text` with each acting character spelt out (`⟨U+202E⟩`) and at most three combining marks on a letter."""
    if text.isascii() and text.isprintable():
        return text
    out: list[str] = []
    marks = 0
    for char in text:
        category = unicodedata.category(char)
        marks = marks + 1 if category in {"Mn", "Me"} else 0
        if marks > _MARKS_AT_MOST:
            continue
        if char in "\n\t":
            out.append(" ⏎ " if char == "\n" else " ")
        elif category in _ACTING:
            out.append(f"⟨U+{ord(char):04X}⟩")
        else:
            out.append(char)
    return "".join(out)


def excerpt(text: str, limit: int = 320) -> str:
    """At most `limit` characters of `text`, made inert; what was cut shows as an ellipsis."""
    return inert(text[:limit]) + ("…" if len(text) > limit else "")


def marked(text: str, evidence: str = "") -> list[tuple[str, bool]]:
    """`text` in pieces, each with whether it deserves the reader's eye: hosts, addresses, what `evidence` quotes."""
    spans = [match.span() for match in _NAME.finditer(text) if _is_host(match.group())]
    for phrase in _QUOTED.findall(evidence):
        spans += [match.span() for match in re.finditer(re.escape(phrase), text, re.I)]
    pieces: list[tuple[str, bool]] = []
    place = 0
    for start, end in _merged(spans):
        if start > place:
            pieces.append((text[place:start], False))
        pieces.append((text[start:end], True))
        place = end
    if place < len(text):
        pieces.append((text[place:], False))
    return pieces


def _is_host(name: str) -> bool:
    return name.split(":")[0].rsplit(".", 1)[-1].lower() not in _FILES


def _merged(spans: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    out: list[tuple[int, int]] = []
    for start, end in sorted(spans):
        if out and start <= out[-1][1]:
            out[-1] = (out[-1][0], max(end, out[-1][1]))
        else:
            out.append((start, end))
    return out


def short(digest: str) -> str:
    """The first 12 hexadecimal digits of a digest, for showing; the whole goes beside it."""
    return digest.removeprefix("sha256:")[:12]


def words(name: str) -> str:
    """A name of the code's in words: `success/order_support` -> `success · order support`."""
    return name.replace("/", " · ").replace("_", " ")


def count(number: int, noun: str = "", plural: str = "") -> str:
    """A number with thousands set apart, and its noun: `1,240 records`."""
    shown = f"{number:,}"
    if not noun:
        return shown
    return f"{shown} {noun if number == 1 else plural or noun + 's'}"
