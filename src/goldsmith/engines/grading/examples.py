"""Short samples for the examples that every reward carries."""

from collections.abc import Mapping, Sequence
from typing import Any

from goldsmith.types.record import Message, Role, TextPart, ToolCallPart
from goldsmith.types.reward import Sampled

Example = tuple[Mapping[str, Any], Sequence[Sampled], Sequence[Sampled]]
"""Settings; samples that must get more; samples that must get less."""


def said(text: str, /, *, call: tuple[str, str] | None = None, finished: bool = True, **item: Any) -> Sampled:
    """The answer `text`, with a tool call (name, arguments) if given, to a row with these fields."""
    parts = (TextPart(text=text), *((ToolCallPart(name=call[0], arguments=call[1]),) if call else ()))
    return Sampled(
        prompt=(Message(role=Role.USER, parts=(TextPart(text="Go on."),)),),
        answer=(Message(role=Role.ASSISTANT, parts=parts),),
        item=item,
        finished=finished,
        tokens=len(text.split()),
    )
