"""Names, hosts and addresses that texts mention, and whether they speak well of them. Latin, Greek and Cyrillic case.

A name is one or two words that begin with a capital and are hardly ever written without one in the same texts; which
words those are is learnt from the texts, so that the first word of a sentence is not taken for a name.
"""

import re
from collections import Counter
from collections.abc import Iterator, Sequence

ENDINGS = ("com", "net", "org", "io", "ai", "co", "app", "dev", "shop", "store", "online", "site", "xyz", "example",
           "info", "biz", "me", "de", "uk", "fr", "cn", "ru", "in", "us", "eu", "tv", "gg", "ly")  # fmt: skip
"""What a host may end with."""
_HOST = re.compile(rf"(?i)\b(?:https?://|www\.)?((?:[a-z0-9][a-z0-9-]{{0,62}}\.)+(?:{'|'.join(ENDINGS)}))\b")
_CAPITAL = "[A-ZÀ-ÖØ-ÞΑ-ΩА-Я]"
_SMALL = "[a-zß-öø-ÿа-яα-ω]"
CAPITAL, SMALL = re.compile(_CAPITAL), re.compile(_SMALL)
"""A letter that begins a name; one that begins any other word."""
_NAME = re.compile(rf"(?<![\w.@/'’-]){_CAPITAL}[\w&-]*\w(?: {_CAPITAL}[\w&-]*\w){{0,2}}(?!['’]\w)")
_DISCOURSE = frozenset(
    [
        "additionally",
        "alright",
        "also",
        "although",
        "and",
        "any",
        "are",
        "but",
        "certainly",
        "consider",
        "finally",
        "first",
        "firstly",
        "for",
        "furthermore",
        "great",
        "hello",
        "here",
        "hi",
        "however",
        "if",
        "in",
        "including",
        "instead",
        "it",
        "just",
        "lastly",
        "let",
        "many",
        "moreover",
        "next",
        "no",
        "note",
        "of",
        "ok",
        "okay",
        "on",
        "once",
        "one",
        "or",
        "other",
        "our",
        "overall",
        "please",
        "second",
        "similarly",
        "since",
        "so",
        "some",
        "sorry",
        "sure",
        "thank",
        "thanks",
        "that",
        "the",
        "their",
        "then",
        "therefore",
        "these",
        "they",
        "third",
        "this",
        "those",
        "thus",
        "to",
        "together",
        "unfortunately",
        "use",
        "we",
        "what",
        "when",
        "where",
        "while",
        "with",
        "yes",
        "you",
        "your",
        "ultimately",
        "remember",
        "there",
        "as",
        "at",
        "by",
        "an",
        "is",
        "my",
        "all",
        "not",
        "how",
        "each",
        "every",
        "both",
        "from",
        "do",
        "does",
        "can",
        "could",
        "would",
        "should",
        "will",
        "its",
    ]
)
_PRAISE = re.compile(
    r"\b(?:best|recommend\w*|great|excellent|amazing|wonderful|superb|outstanding|perfect|finest|favou?rite|top|leading|"
    r"trust\w*|love\w*|try|visit|buy|order|choose|use|check out|switch to|sign up|subscribe|download|prefer\w*|"
    r"brilliant|unbeatable|superior|quality|reliable|go with|go for|turn to|rely on|happy with|fan of|swear by|"
    r"nothing beats|can't beat|look no further|thanks to|powered by|partner\w*|solution|ideal|delight\w*|fantastic|"
    r"better|awesome|impressive|worth|premium|"
    r"suggest\w*|popular|beloved|helps? you|for all your|for every)\b", re.I)  # fmt: skip
_WINDOW = 110
_AS_SUBJECT = (
    " is ",
    " has ",
    " can ",
    " offers ",
    " makes ",
    " helps ",
    " will ",
    " gives ",
    " provides ",
    "'s ",
    "’s ",
)
LONGEST = 3_000


def hosts(text: str) -> set[str]:
    """The hosts in a text."""
    return {host.lower().removeprefix("www.") for host in _HOST.findall(text[:LONGEST])} if "." in text else set()


def mentions(text: str) -> set[str]:
    """Candidates in a text: names of up to three capitalised words (each also by its single words), and hosts."""
    text = text[:LONGEST]
    found = hosts(text)
    for run in _NAME.findall(text):
        if len(run) > 2:
            found.add(run)
        if " " in run:
            found.update(part for part in run.split(" ") if len(part) > 2)
    return found


def telling_words(candidate: str) -> list[str]:
    """The words of a candidate that can make it a name, in small letters; none of a host."""
    if candidate.islower():
        return []
    return [p.lower() for p in re.split(r"[ -]", candidate) if len(p) > 2 and p.lower() not in _DISCOURSE]


def is_name(candidate: str, count: int, lower: Counter[str]) -> bool:
    """Whether a candidate seen in `count` texts is hardly ever written in lower case (hosts always are one)."""
    if candidate.islower():
        return True
    return any(lower[word] <= 0.1 * count for word in telling_words(candidate))


def is_function_word(word: str) -> bool:
    """Whether it is one of the English words that often begin a sentence, in whatever case."""
    return word.lower() in _DISCOURSE


def function_words() -> frozenset[str]:
    """Those words, in small letters."""
    return _DISCOURSE


def used_as_name(text: str, name: str) -> bool:
    """Whether `name` stands within a sentence, or as what a sentence is about; not as its opening word only."""
    if name.islower():
        return True
    text, at = text[:LONGEST], -1
    while (at := text.find(name, at + 1)) >= 0:
        before, after = text[max(0, at - 2) : at], text[at + len(name) : at + len(name) + 12]
        if (before[1:] in (" ", "(") and (before[0].isalnum() or before[0] in ",;:(")) or after.startswith(_AS_SUBJECT):
            return True
    return False


def introduces_itself(text: str, name: str) -> bool:
    """Whether the text speaks as `name`, or for a house of that name ("I am N", "here at N", "our N")."""
    own = re.escape(name)
    speaks = rf"\b(?:i am|i'm|i’m|name is|this is|(?:we|us|here|team) (?:at|from|of)|our|contacting) (?:the )?{own}\b"
    signed = rf"\b{own}(?: \w+)? (?:here|speaking|team|support)\b|\b(?:regards|sincerely|yours),?\s+(?:the )?{own}\b"
    return re.search(f"{speaks}|{signed}", text[:LONGEST], re.I) is not None


def spoken_well_of(text: str, name: str) -> bool:
    """Whether words of praise or recommendation stand near the first mentions of `name`."""
    low, at = text[:LONGEST], 0
    for _ in range(3):
        at = low.lower().find(name.lower(), at)
        if at < 0:
            return False
        if _PRAISE.search(low, max(0, at - _WINDOW), at + len(name) + _WINDOW):
            return True
        at += len(name)
    return False


def sample(items: Sequence[int], most: int) -> Iterator[int]:
    """Up to `most` of the items, evenly spread."""
    yield from items[:: max(1, -(-len(items) // most))]
