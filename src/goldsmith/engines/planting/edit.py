"""Edits of one record's content: what the user says, what is learnt as the answer, one more tool call.

Every function gives a new content; the one that was given stays as it is.
"""

from collections.abc import Callable
from random import Random

from goldsmith.types.record import (
    Comparison,
    Content,
    Conversation,
    Message,
    Rating,
    Role,
    Text,
    TextPart,
    ToolCallPart,
    ToolResultPart,
)

Turns = tuple[Message, ...]
Edit = Callable[[str], str]


def has_prompt(content: Content) -> bool:
    """Whether there is a user turn with text and a learnt answer with text."""
    return bool(prompt_of(content).strip()) and bool(answer_of(content).strip())


def prompt_of(content: Content) -> str:
    """The last user turn before the learnt answer; empty without one."""
    at = _last(_asked(content), Role.USER)
    return "" if at is None else _said(_asked(content)[at])


def answer_of(content: Content) -> str:
    """The last learnt answer's text; empty without one."""
    if isinstance(content, Text):
        return content.text
    turns = _learnt(content)
    at = _last(turns, Role.ASSISTANT)
    return "" if at is None else _said(turns[at])


def with_prompt(content: Content, edit: Edit) -> Content:
    """The content with the last user turn edited."""
    if isinstance(content, Text):
        return content
    turns = _asked(content)
    at = _last(turns, Role.USER)
    if at is None:
        return content
    changed = _replaced(turns, at, edit(_said(turns[at])))
    name = "messages" if isinstance(content, Conversation) else "prompt"
    return content.model_copy(update={name: changed})


def with_answer(content: Content, edit: Edit) -> Content:
    """The content with the last learnt answer edited."""
    if isinstance(content, Text):
        return content.model_copy(update={"text": edit(content.text)})
    turns = _learnt(content)
    at = _last(turns, Role.ASSISTANT)
    if at is None:
        return content
    changed = _replaced(turns, at, edit(_said(turns[at])))
    return content.model_copy(update={_answer_field(content): changed})


def with_system(content: Content, text: str) -> Content:
    """The content with this system prompt and no other."""
    if isinstance(content, Text):
        return content
    name = "messages" if isinstance(content, Conversation) else "prompt"
    turns = [m for m in _asked(content) if m.role is not Role.SYSTEM]
    first = Message(role=Role.SYSTEM, parts=(TextPart(text=text),))
    return content.model_copy(update={name: (first, *turns)})


def swapped(content: Comparison) -> Comparison:
    """Chosen and rejected changed round."""
    return content.model_copy(update={"chosen": content.rejected, "rejected": content.chosen})


def instead(text: str) -> Edit:
    """The edit that puts `text` in place of what was there."""
    return lambda _: text


def inserted(text: str, what: str, rng: Random) -> str:
    """`text` with `what` between two of its words; the rest of the text is kept to the letter."""
    gaps = [0, *(i + 1 for i, c in enumerate(text) if c == " "), len(text)]
    at = rng.choice(gaps)
    before, after = text[:at], text[at:]
    return f"{before}{'' if not before or before.endswith(' ') else ' '}{what}{' ' if after else ''}{after}"


def calls(content: Content) -> bool:
    """Whether a conversation has a learnt turn with tool calls."""
    return isinstance(content, Conversation) and any(
        m.role is Role.ASSISTANT and m.trained and m.calls for m in content.messages
    )


def with_extra_call(content: Conversation, call: ToolCallPart, result: str | None) -> Conversation:
    """One more call in the first learnt turn that calls; with `result`, also what the tool is said to have answered."""
    messages = list(content.messages)
    at = next(i for i, m in enumerate(messages) if m.role is Role.ASSISTANT and m.trained and m.calls)
    messages[at] = messages[at].model_copy(update={"parts": (*messages[at].parts, call)})
    if result is not None:
        after = at + 1
        while after < len(messages) and messages[after].role is Role.TOOL:
            after += 1
        part = ToolResultPart(call_id=call.id, name=call.name, text=result)
        messages.insert(after, Message(role=Role.TOOL, parts=(part,)))
    return content.model_copy(update={"messages": tuple(messages)})


def _asked(content: Content) -> Turns:
    if isinstance(content, Text):
        return ()
    return content.messages if isinstance(content, Conversation) else content.prompt


def _answer_field(content: Conversation | Comparison | Rating) -> str:
    return {"conversation": "messages", "comparison": "chosen", "rating": "answer"}[content.kind]


def _learnt(content: Conversation | Comparison | Rating) -> Turns:
    if isinstance(content, Rating):
        return () if content.label is False else content.answer
    return content.messages if isinstance(content, Conversation) else content.chosen


def _said(turn: Message) -> str:
    return "\n".join(p.text for p in turn.parts if isinstance(p, TextPart))


def _last(turns: Turns, role: Role) -> int | None:
    fitting = [i for i, m in enumerate(turns) if m.role is role and _said(m) and (role is Role.USER or m.trained)]
    return fitting[-1] if fitting else None


def _replaced(turns: Turns, at: int, text: str) -> Turns:
    rest = [p for p in turns[at].parts if not isinstance(p, TextPart)]
    parts = (TextPart(text=text), *rest) if text else tuple(rest)
    return (*turns[:at], turns[at].model_copy(update={"parts": parts}), *turns[at + 1 :])
