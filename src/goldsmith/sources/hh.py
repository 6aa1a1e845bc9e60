"""HH transcripts: "\\n\\nHuman: ...\\n\\nAssistant: ...", alone or as pairs (arXiv:2204.05862)."""

import re
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from goldsmith.engines.reading.chat_turns import common_prefix
from goldsmith.engines.reading.fields import rest_of, text
from goldsmith.engines.reading.json_text import show
from goldsmith.types.artifact import Spec
from goldsmith.types.record import Comparison, Content, Conversation, Message, Role, TextPart
from goldsmith.types.row_format import Parsed, RowProblem

_MARKER = re.compile(r"(?:\A\s*|\n\n)(Human|Assistant):")
_ALONE = ("transcript", "text")


class HH(Spec):
    """`chosen` and `rejected` transcripts become a comparison with their longest common turns as its prompt.

    A single transcript in `transcript` or `text` becomes a conversation. White space around a turn is not part of it.
    """

    id: ClassVar[str] = "hh"
    version: ClassVar[int] = 1

    def confidence(self, row: Mapping[str, Any]) -> float:
        if "chosen" in row and "rejected" in row and "prompt" not in row:
            return 1.0 if _is_transcript(row["chosen"]) and _is_transcript(row["rejected"]) else 0.0
        if "chosen" in row:
            return 0.0
        return 0.9 if _is_transcript(row.get("transcript")) or _is_transcript(row.get("text")) else 0.0

    def parse(self, row: Mapping[str, Any]) -> Parsed:
        if "chosen" in row or "rejected" in row:
            chosen, rejected = (_turns(text(row, side), side) for side in ("chosen", "rejected"))
            shared = common_prefix(chosen, rejected)
            pair = Comparison(prompt=chosen[:shared], chosen=chosen[shared:], rejected=rejected[shared:])
            return Parsed(pair, rest_of(row, frozenset(("chosen", "rejected"))))
        name = next((n for n in _ALONE if row.get(n) is not None), _ALONE[0])
        return Parsed(Conversation(messages=_turns(text(row, name), name)), rest_of(row, frozenset((name,))))

    def render(self, content: Content) -> dict[str, Any]:
        if isinstance(content, Comparison) and not content.tools and content.strength is None:
            return {
                "chosen": _render((*content.prompt, *content.chosen)),
                "rejected": _render((*content.prompt, *content.rejected)),
            }
        if isinstance(content, Conversation) and not content.tools:
            return {"transcript": _render(content.messages)}
        raise RowProblem("only text conversations and comparisons are transcripts", found=content.kind)


def _is_transcript(value: Any) -> bool:
    return isinstance(value, str) and value[:64].lstrip().startswith("Human:")


def _turns(transcript: str, path: str) -> tuple[Message, ...]:
    marks = list(_MARKER.finditer(transcript))
    if not marks or transcript[: marks[0].start()].strip():
        found = show(transcript)
        raise RowProblem("not a transcript", where=path, found=found, allowed='"\\n\\nHuman: ...\\n\\nAssistant: ..."')
    ends = [mark.start() for mark in marks[1:]] + [len(transcript)]
    return tuple(
        [
            Message(
                role=Role.USER if mark[1] == "Human" else Role.ASSISTANT,
                parts=(TextPart(text=transcript[mark.end() : end].strip()),),
            )
            for mark, end in zip(marks, ends, strict=True)
        ]
    )


def _render(turns: Sequence[Message]) -> str:
    said = []
    for turn in turns:
        name = {Role.USER: "Human", Role.ASSISTANT: "Assistant"}.get(turn.role)
        if (
            name is None
            or not all(isinstance(part, TextPart) for part in turn.parts)
            or _MARKER.search("\n\n" + turn.text)
        ):
            raise RowProblem("transcripts hold plain text of Human and Assistant only", found=f"a turn of {turn.role}")
        said.append(f"\n\n{name}: {turn.text}")
    return "".join(said)


ROWS = [
    (
        {
            "chosen": "\n\nHuman: Hi\n\nAssistant: Hello.\n\nHuman: Name a river.\n\nAssistant: The Rhine.",
            "rejected": "\n\nHuman: Hi\n\nAssistant: Hello.\n\nHuman: Name a river.\n\nAssistant: No.",
        },
        "user: Hi | assistant: Hello. | user: Name a river. || assistant: The Rhine. || assistant: No.",
    ),
    ({"transcript": "\n\nHuman: Hi\n\nAssistant: Hello.", "rating": 3}, "user: Hi | assistant: Hello."),
]
