"""OpenAssistant: message trees, and pairs of ranked sibling replies with their context (arXiv:2304.07327)."""

from collections.abc import Mapping
from typing import Any, ClassVar

from goldsmith.engines.reading.fields import rest_of, text
from goldsmith.engines.reading.json_text import show
from goldsmith.types.artifact import Spec
from goldsmith.types.record import Comparison, Content, Conversation, Message, Role, TextPart
from goldsmith.types.row_format import Parsed, RowProblem

_ROLES = {"prompter": Role.USER, "assistant": Role.ASSISTANT}
_NAMES = tuple(_ROLES)


class OASST(Spec):
    """A tree becomes its best thread: from the prompt, always the best-ranked reply, to the last assistant turn.

    Deleted replies are passed over; unranked ones come after ranked ones. The whole tree stays in the record's extra
    fields. A pair (`context`, `chosen`, `rejected`) becomes a comparison.
    """

    id: ClassVar[str] = "oasst"
    version: ClassVar[int] = 1

    def confidence(self, row: Mapping[str, Any]) -> float:
        context, prompt = row.get("context"), row.get("prompt")
        if type(context) is list and context and "chosen" in row and "rejected" in row:
            return 0.95 if type(context[0]) is dict and context[0].get("role") in _NAMES else 0.0
        tree = type(prompt) is dict and prompt.get("role") == "prompter" and "replies" in prompt
        return 0.95 if tree else 0.0

    def parse(self, row: Mapping[str, Any]) -> Parsed:
        if "context" in row:
            return _pair(row)
        tree = row.get("prompt")
        if not isinstance(tree, dict):
            raise RowProblem(
                "a tree without a prompt", where="prompt", found=show(tree), allowed="a message with replies"
            )
        thread = [(tree, "prompt")]
        while True:
            node, path = thread[-1]
            replies = node.get("replies") or []
            if not isinstance(replies, list):
                raise RowProblem(
                    "replies must be a list", where=f"{path}.replies", found=show(replies), allowed="a list"
                )
            ranked = [
                (_rank(r), n) for n, r in enumerate(replies) if isinstance(r, dict) and r.get("deleted") is not True
            ]
            if not ranked:
                break
            best = min(ranked)[1]
            thread.append((replies[best], f"{path}.replies[{best}]"))
        while len(thread) > 1 and thread[-1][0].get("role") != "assistant":
            thread.pop()
        rest = rest_of(row, frozenset())
        if isinstance(tree.get("lang"), str) and "language" not in rest:
            rest["language"] = tree["lang"]
        return Parsed(Conversation(messages=tuple([_said(node, path) for node, path in thread])), rest)

    def render(self, content: Content) -> dict[str, Any]:
        raise RowProblem("OpenAssistant rows are read, not written", found=content.kind, allowed="openai_chat, trl")


def _rank(reply: dict[str, Any]) -> int:
    rank = reply.get("rank")
    return rank if isinstance(rank, int) else 2**31


def _said(node: Any, path: str) -> Message:
    role = node.get("role") if isinstance(node, dict) else None
    if not isinstance(role, str) or role not in _ROLES:
        raise RowProblem("an unknown role", where=f"{path}.role", found=show(role), allowed=", ".join(_ROLES))
    if not isinstance(node.get("text"), str):
        raise RowProblem("a turn that says nothing", where=f"{path}.text", found=show(node.get("text")), allowed="text")
    return Message(role=_ROLES[role], parts=(TextPart(text=node["text"]),))


def _pair(row: Mapping[str, Any]) -> Parsed:
    context = row["context"]
    if not isinstance(context, list):
        raise RowProblem("context must be a list of turns", where="context", found=show(context), allowed="a list")
    prompt = tuple([_said(turn, f"context[{n}]") for n, turn in enumerate(context)])
    sides = [(Message(role=Role.ASSISTANT, parts=(TextPart(text=text(row, s)),)),) for s in ("chosen", "rejected")]
    rest = rest_of(row, frozenset(("context", "chosen", "rejected")))
    if context and rest.get("prompt") == context[0].get("text"):
        del rest["prompt"]
    return Parsed(Comparison(prompt=prompt, chosen=sides[0], rejected=sides[1]), rest)


ROWS = [
    (
        {
            "prompt": "Name a river.",
            "context": [{"role": "prompter", "text": "Name a river."}],
            "chosen": "The Rhine.",
            "rejected": "No.",
            "rank_chosen": 0,
        },
        "user: Name a river. || assistant: The Rhine. || assistant: No.",
    ),
    (
        {
            "message_tree_id": "t1",
            "prompt": {
                "text": "Name a river.",
                "role": "prompter",
                "lang": "en",
                "replies": [
                    {"text": "No.", "role": "assistant", "rank": 1, "replies": []},
                    {
                        "text": "The Rhine.",
                        "role": "assistant",
                        "rank": 0,
                        "replies": [{"text": "Thanks!", "role": "prompter", "replies": []}],
                    },
                ],
            },
        },
        "user: Name a river. | assistant: The Rhine.",
    ),
]
