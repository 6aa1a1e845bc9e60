"""A text about another group: pronouns, words and names swapped for their pair, everything else left to the letter.

Counterfactual augmentation after Lu et al. 2018 (arXiv:1807.11714); names swapped in fixed pairs, and the ambiguous
pronouns told by what follows, after Hall Maudslay et al. 2019 (arXiv:1909.00871). English only.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from goldsmith.engines.counterfactual.words import BOUND, NAMES, WORDS, Axis

# Never touched: fenced and inline code, links, addresses, tags and placeholders of a template, paths, and words that
# belong to an identifier (he_said, Anna.txt, @anna).
_KEPT: Final = re.compile(
    r"```.*?(?:```|\Z)|~~~.*?(?:~~~|\Z)|`[^`\n]*`|https?://\S+|\bwww\.\S+|(?<!\S)\S{1,200}@\S+|"
    r"</?[A-Za-z|][^<>\n]{0,200}>|\{\{.{0,200}?\}\}|\{%.{0,200}?%\}|\{[A-Za-z0-9_.!:]{0,80}\}|\[[A-Z_]{2,40}\]|"
    r"<\|[^|\n]{1,40}\|>|(?<![\w.~-])[\w.~-]{0,200}[/\\][\w./\\~-]+|(?<!\w)\w{0,100}[_@#$]\w+|"
    r"(?<!\w)\w{1,100}\.(?=\w)[\w.]+|(?<!\w)\w{1,100}\(",
    re.DOTALL,
)
_WORD: Final = re.compile(r"[^\W\d_]+")
# What follows `her` where it is the object ("saw her yesterday") and not the owner ("her car").
_FOLLOWS_OBJECT: Final = """
a about above after again against all alone already also although always among an and any anyway are around as
at away back because been before behind being below between but by can could did do does down during either else
even ever first for from had has have here how if immediately in instead into is it just last later like may
might must near never next no nor not now of off often on once only onto or out over past quickly quietly right
should since so some soon still than that the their them then there these they this those though through to
today together tomorrow tonight too towards twice under unless until up upon very was well were what when where
whether which while who whom why will with within without would yesterday yet you
"""
_AFTER_OBJECT: Final = frozenset(_FOLLOWS_OBJECT.split())


@dataclass(frozen=True, slots=True)
class Swapped:
    """The `text` about the other group, and how many words were swapped in it."""

    text: str
    words: int


@dataclass(frozen=True, slots=True)
class NotSwapped:
    """Why there is no counterpart."""

    reason: str


def swap(text: str, axis: Axis) -> Swapped | NotSwapped:
    """The text with every word of the axis in place of its pair; letters' case, blanks, marks and all that is code or
    template stay as they are. A text without such a word comes back as it is.

    Swapping twice gives the text again; where it would not (a pronoun that reads two ways), or where a word holds for
    one group only, the text is not swapped.
    """
    if bound := next((w for w in _WORD.findall(text) if w.casefold() in BOUND[axis]), None):
        return NotSwapped(f"{bound.casefold()} is said of one group only")
    there, words = _swapped(text, axis)
    if words and _swapped(there, axis)[0] != text:
        return NotSwapped("swapped twice it would not be the same text")
    return Swapped(there, words)


def _swapped(text: str, axis: Axis) -> tuple[str, int]:
    pieces: list[str] = []
    count = place = 0
    for kept in [*_KEPT.finditer(text), None]:
        end = len(text) if kept is None else kept.start()
        piece, words = _plain(text, place, end, axis)
        pieces += [piece, "" if kept is None else kept.group()]
        count += words
        place = end if kept is None else kept.end()
    return "".join(pieces), count


def _plain(text: str, start: int, end: int, axis: Axis) -> tuple[str, int]:
    """The stretch with its words swapped; what follows it is looked at for pronouns."""
    words = 0

    def put(match: re.Match[str]) -> str:
        nonlocal words
        found = _pair_of(match.group(), axis, lambda: text[match.end() : match.end() + 40])
        words += found is not None
        return match.group() if found is None else found

    # The pattern is matched within the whole text, so that its edges are real edges of words.
    pieces, place = [], start
    for match in _WORD.finditer(text, start, end):
        pieces += [text[place : match.start()], put(match)]
        place = match.end()
    return "".join([*pieces, text[place:end]]), words


def _pair_of(word: str, axis: Axis, after: Callable[[], str]) -> str | None:
    if (name := NAMES[axis].get(word)) is not None:
        return name
    if (name := NAMES[axis].get(word.capitalize())) is not None and word.isupper() and len(word) > 2:
        return name.upper()
    small = word.casefold()
    pair = _pronoun(small, after()) if axis == "gender" and small in ("his", "her", "hers", "him") else None
    pair = pair or WORDS[axis].get(small)
    return None if pair is None else _cased(pair, word)


def _pronoun(word: str, after: str) -> str:
    if word in ("hers", "him"):
        return {"hers": "his", "him": "her"}[word]
    follows = re.match(r"[ \t]+([^\W\d_][\w'\u2019-]*)", after)
    owned = follows is not None and follows[1].casefold() not in _AFTER_OBJECT
    if word == "her":
        return "his" if owned else "him"
    return "her" if owned else "hers"


def _cased(pair: str, like: str) -> str:
    if like.isupper() and len(like) > 1:
        return pair.upper()
    return pair.capitalize() if like[0].isupper() else pair
