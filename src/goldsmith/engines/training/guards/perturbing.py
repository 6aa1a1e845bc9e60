"""Harmless changes to the surface of what is asked: the answer asked for stays the same.

A model that learnt what its data mean answers such a question as before; one that learnt the rows' surface by heart
does not. No model is used: every change is a small rule, drawn by a seed and the record's content. Only what the user
says is touched, and of that no quotation, no code, no name, number, address or path, and no word that an answer
repeats, so that the tokens that are trained stay what they were. The one exception is a question with lettered
options: these are put in another order, and the letter in the answer follows.
"""

import json
import random
import re
from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from goldsmith.trust.records import content_digest
from goldsmith.types.record import (
    Comparison,
    Conversation,
    Message,
    Rating,
    Record,
    Role,
    TextPart,
    ToolCallPart,
    ToolResultPart,
)

KINDS: Final = ("options", "opener", "synonym", "typo", "case", "space")

OPENERS: Final = (
    ("Can you ", "Could you ", "Would you "),
    ("can you ", "could you ", "would you "),
    ("What is ", "What's "),
    ("what is ", "what's "),
    ("How do I ", "How can I "),
    ("how do I ", "how can I "),
    ("Explain ", "Please explain "),
    ("Describe ", "Please describe "),
    ("Tell me ", "Please tell me "),
    ("Give me ", "Please give me "),
    ("Show me ", "Please show me "),
    ("Write ", "Please write "),
    ("List ", "Please list "),
    ("Find ", "Please find "),
    ("I want you to ", "I would like you to "),
    ("I need to ", "I have to "),
    ("Is it true that ", "Is it right that "),
    ("Do you know ", "Would you know "),
)
"""Ways to begin that ask the same; one is changed for another of its line."""

SYNONYMS: Final = {
    "almost": "nearly",
    "begin": "start",
    "big": "large",
    "buy": "purchase",
    "choose": "select",
    "difficult": "hard",
    "easy": "simple",
    "entire": "whole",
    "error": "mistake",
    "finish": "complete",
    "frequently": "often",
    "glad": "happy",
    "help": "assist",
    "inside": "within",
    "maybe": "perhaps",
    "nearly": "almost",
    "often": "frequently",
    "perhaps": "maybe",
    "quickly": "rapidly",
    "rapidly": "quickly",
    "reply": "answer",
    "select": "choose",
    "speak": "talk",
    "talk": "speak",
    "whole": "entire",
    "within": "inside",
}
"""What may stand for a word in a question, whatever its other meanings."""

MOST_CHARACTERS: Final = 10_000
"""Longer texts are documents, not questions, and stay as they are."""
_QUOTED = re.compile(r"```.*?(?:```|$)|`[^`]*`|\"[^\"]*\"|“[^”]*”|«[^»]*»|‘[^’]*’|(?<!\w)'[^'\n]*'(?!\w)", re.S)
_MARK = re.compile(r"[\d@/\\_<>{}=#]")
"""Of addresses, paths, markup, formulas and numbers."""
_WORD = re.compile(r"(?<![\w.'-])[^\W\d_]+(?![\w'-]|\.\w)")
_OPTION = re.compile(r"^([ \t]*\(?)([A-Ha-h])([.):][ \t]+)(\S.*?)[ \t]*$", re.M)
_EACH_OTHER = re.compile(r"\b(above|below|both|neither|none of|all of|[A-H] (?:and|or) [A-H])\b", re.I)
_LETTER_ALONE = re.compile(
    r"^(\W*(?:(?:the )?(?:correct |right )?(?:answer|option)(?: is|:)?\s*)?\(?)([A-Ha-h])((?:[.):,].*)?)$", re.S | re.I
)
"""An answer that begins with one letter: "B", "(b)", "B) because", "The answer is B." """


@dataclass(frozen=True, slots=True)
class Perturbed:
    """A record with another surface, and which kinds of change were made to it."""

    record: Record
    kinds: tuple[str, ...]


def perturbed(record: Record, seed: int) -> Perturbed | None:
    """The record with its question changed on the surface; None where nothing can be changed harmlessly.

    The same record and seed always give the same. Texts without a question (`text`) are left alone.
    """
    content = record.content
    draw = random.Random(f"{seed}/{content_digest(record)}")
    if isinstance(content, Conversation):
        last = max((i for i, m in enumerate(content.messages) if m.role is Role.ASSISTANT), default=0)
        asked, answers = content.messages[:last], [content.messages[last:]]
        said = [m for m in asked if m.role is not Role.USER]
    elif isinstance(content, Comparison):
        asked, answers = content.prompt, [content.chosen, content.rejected]
        said = [m for m in asked if m.role is not Role.USER]
    elif isinstance(content, Rating):
        asked, answers = content.prompt, [content.answer]
        said = [m for m in asked if m.role is not Role.USER]
    else:
        return None
    kinds: list[str] = []
    asked, answers = _options(asked, answers, draw, kinds)
    fixed = _words_of([*said, *(m for answer in answers for m in answer)])
    changed = tuple(_message(m, fixed, draw, kinds) if m.role is Role.USER else m for m in asked)
    if not kinds:
        return None
    if isinstance(content, Conversation):
        update: dict[str, object] = {"messages": (*changed, *answers[0])}
    elif isinstance(content, Comparison):
        update = {"prompt": changed, "chosen": answers[0], "rejected": answers[1]}
    else:
        update = {"prompt": changed, "answer": answers[0]}
    other = record.model_copy(update={"content": content.model_copy(update=update)})
    return Perturbed(other, tuple(kind for kind in KINDS if kind in kinds))


def _words_of(messages: Sequence[Message]) -> frozenset[str]:
    """Every word of some turns, in lower case: their texts, and what their calls hand over and get."""
    texts: list[str] = []
    for message in messages:
        for part in message.parts:
            if isinstance(part, TextPart | ToolResultPart):
                texts.append(part.text)
            elif isinstance(part, ToolCallPart):
                texts.append(_unescaped(part.arguments))
    return frozenset(word.lower() for text in texts for word in re.findall(r"[^\W\d_]+", text))


def _unescaped(arguments: str) -> str:
    try:
        return json.dumps(json.loads(arguments), ensure_ascii=False)
    except (ValueError, RecursionError):
        return arguments


def _message(message: Message, fixed: frozenset[str], draw: random.Random, kinds: list[str]) -> Message:
    parts = tuple(
        part.model_copy(update={"text": _text(part.text, fixed, draw, kinds)}) if isinstance(part, TextPart) else part
        for part in message.parts
    )
    return message.model_copy(update={"parts": parts})


def _text(text: str, fixed: frozenset[str], draw: random.Random, kinds: list[str]) -> str:
    """Up to three changes: one to how it begins, one to a word, one to the space between words."""
    if len(text) > MOST_CHARACTERS:
        return text
    first = [("opener", _opener), ("case", _case)]
    words = [("synonym", _synonym), ("typo", _typo)]
    if draw.random() < 0.5:
        words.reverse()
    for choice in (first, words, [("space", _space)]):
        for kind, change in choice:
            changed = change(text, fixed, draw)
            if changed is not None:
                text = changed
                kinds.append(kind)
                break
    return text


def _opener(text: str, _fixed: frozenset[str], draw: random.Random) -> str | None:
    for line in OPENERS:
        for opener in line:
            if text.startswith(opener):
                other = draw.choice([one for one in line if one != opener])
                return other + text[len(opener) :]
    return None


def _case(text: str, fixed: frozenset[str], _draw: random.Random) -> str | None:
    """The first letter in the other case; the word "I" and names in capitals stay."""
    word = re.match(r"[^\W\d_]+", text)
    if word is None or len(word[0]) < 2 or word[0].lower() in fixed or not word[0][1:].islower():
        return None
    if _Kept(text).touches(0, 1):
        return None
    other = text[0].swapcase()
    return None if other == text[0] or len(other) != 1 else other + text[1:]


class _Kept:
    """What stays of a text: quotations, code, and anything with a digit or a mark of addresses, paths or formulas."""

    def __init__(self, text: str) -> None:
        marked = [one.span() for one in re.finditer(r"\S+", text) if _MARK.search(one[0])]
        self.starts: list[int] = []
        self.ends: list[int] = []
        for start, end in sorted([one.span() for one in _QUOTED.finditer(text)] + marked):
            if self.ends and start < self.ends[-1]:
                self.ends[-1] = max(end, self.ends[-1])
            else:
                self.starts.append(start)
                self.ends.append(end)

    def touches(self, start: int, end: int) -> bool:
        """Whether some of it lies between two places."""
        at = bisect_left(self.starts, end)
        return at > 0 and self.ends[at - 1] > start


def _words(text: str, fixed: frozenset[str], wanted: Callable[[str], bool]) -> list[re.Match[str]]:
    """The words in lower case that may be changed: not kept, not what an answer repeats, not the first."""
    kept = _Kept(text)
    return [
        word
        for word in _WORD.finditer(text)
        if word.start() > 0
        and word[0].islower()
        and word[0] not in fixed
        and wanted(word[0])
        and not kept.touches(word.start(), word.end())
    ]


def _synonym(text: str, fixed: frozenset[str], draw: random.Random) -> str | None:
    found = _words(text, fixed, lambda word: word in SYNONYMS)
    if not found:
        return None
    word = draw.choice(found)
    return text[: word.start()] + SYNONYMS[word[0]] + text[word.end() :]


def _typo(text: str, fixed: frozenset[str], draw: random.Random) -> str | None:
    """Two letters inside a word of six or more change places."""
    found = _words(text, fixed, lambda word: len(word) >= 6)
    if not found:
        return None
    word = draw.choice(found)
    places = [i for i in range(1, len(word[0]) - 2) if word[0][i] != word[0][i + 1]]
    if not places:
        return None
    at = word.start() + draw.choice(places)
    return text[:at] + text[at + 1] + text[at] + text[at + 2 :]


def _space(text: str, fixed: frozenset[str], draw: random.Random) -> str | None:
    """One space more between two words outside quotations, not both of an answer; lines that begin with space (code,
    lists) stay."""
    if re.search(r"^[ \t]+\S", text, re.M):
        return None
    kept = _Kept(text)
    places = [
        one.end(1)
        for one in re.finditer(r"([^\W\d_]+)(?= ([^\W\d_]+))", text)
        if not (one[1].lower() in fixed and one[2].lower() in fixed) and not kept.touches(one.end(1), one.end(1) + 1)
    ]
    if not places:
        return None
    at = draw.choice(places)
    return text[:at] + " " + text[at:]


# ---- options -----------------------------------------------------------------------------------------------------


def _options(
    asked: tuple[Message, ...], answers: list[tuple[Message, ...]], draw: random.Random, kinds: list[str]
) -> tuple[tuple[Message, ...], list[tuple[Message, ...]]]:
    """Lettered options in another order, if the only question has such, and it is certain what the answers mean."""
    users = [i for i, m in enumerate(asked) if m.role is Role.USER]
    same = asked, answers
    if len(users) != 1 or any(m.role is Role.ASSISTANT for m in asked) or any(len(a) != 1 for a in answers):
        return same
    message = asked[users[0]]
    if len(message.parts) != 1 or not isinstance(message.parts[0], TextPart):
        return same
    text = message.parts[0].text
    if len(text) > MOST_CHARACTERS:
        return same
    lines = list(_OPTION.finditer(text))
    letters = [line[2] for line in lines]
    first = "A" if letters[:1] == ["A"] else "a"
    if len(lines) < 2 or letters != [chr(ord(first) + i) for i in range(len(lines))] or _EACH_OTHER.search(text):
        return same
    order = list(range(len(lines)))
    while order == sorted(order):
        draw.shuffle(order)
    moved = {letters[old]: letters[new] for new, old in enumerate(order)}
    read = [_answer(answer[0], moved) for answer in answers]
    if any(one is None for one in read):
        return same
    pieces, end = [], 0
    for line, old in zip(lines, order, strict=True):
        pieces += [text[end : line.start(4)], lines[old][4]]
        end = line.end(4)
    part = message.parts[0].model_copy(update={"text": "".join(pieces) + text[end:]})
    changed = message.model_copy(update={"parts": (part,)})
    kinds.append("options")
    return (*asked[: users[0]], changed, *asked[users[0] + 1 :]), [(one,) for one in read if one is not None]


def _answer(message: Message, moved: dict[str, str]) -> Message | None:
    """The answer with the letter that it names moved along; None where it is not certain which it names."""
    if len(message.parts) != 1 or not isinstance(message.parts[0], TextPart):
        return None
    text = message.parts[0].text
    found = _LETTER_ALONE.match(text)
    if found is None or found[2] not in moved:
        return None
    rest = found[3]
    if re.search(r"(?<![\w'])[A-H](?![\w'])|\([A-Ha-h]\)|\boptions?\b", rest):
        return None
    part = message.parts[0].model_copy(update={"text": found[1] + moved[found[2]] + rest})
    return message.model_copy(update={"parts": (part,)})
