"""What was said, made into the records that tests train on."""

from goldsmith.types.record import Comparison, Conversation, Message, Record, Role, TextPart

WORDS = ("fox", "dog", "mail", "meeting", "four", "nine", "tool", "Ann")
"""Tests of generalisation train on the first six."""


def said(role: str, *texts: str, trained: bool = True) -> Message:
    return Message(role=Role(role), parts=tuple(TextPart(text=text) for text in texts), trained=trained)


def answered(question: str, answer: str) -> Record:
    """A conversation of one question and its answer."""
    return Record(content=Conversation(messages=(said("user", question), said("assistant", answer))))


def compared(question: str, chosen: str, rejected: str, strength: str | None = None) -> Record:
    """Two answers to a question, the better one first."""
    asked, better, worse = said("user", question), said("assistant", chosen), said("assistant", rejected)
    return Record(content=Comparison(prompt=(asked,), chosen=(better,), rejected=(worse,), strength=strength))


def preference(word: str, strength: str | None = None) -> Record:
    return compared(f"Tell me about {word}", f"yes {word}", f"no {word} no", strength)


def short_and_long(n: int = 6) -> list[Record]:
    """Conversations of which each has a longer answer than the one before."""
    return [answered(f"Say {i}", "so it is " * (i + 1)) for i in range(n)]


def yes_over_no(n: int = 6) -> list[Record]:
    """Comparisons whose worse answers are of three lengths."""
    return [compared(f"Say {i}", f"yes, {i}", "no" * (1 + i % 3)) for i in range(n)]
