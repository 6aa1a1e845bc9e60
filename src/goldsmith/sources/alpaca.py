"""Alpaca rows: `instruction`, `input`, `output` (with `system`, `history`), Dolly's names for the same, and pairs."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from goldsmith.engines.reading.chat_turns import looks_like_turns, messages
from goldsmith.engines.reading.fields import as_boolean, optional_text, rest_of, text, unfolded
from goldsmith.engines.reading.json_text import show
from goldsmith.types.artifact import Spec
from goldsmith.types.record import Comparison, Content, Conversation, Message, Rating, Role, TextPart
from goldsmith.types.row_format import Parsed, RowProblem

_CHAT = frozenset(("messages", "conversations", "preferred_output", "prompt"))


class Alpaca(Spec):
    """An instruction, perhaps with an input, and an answer; or `chosen` and `rejected` answers; or `kto_tag` on one.

    Instruction and input become one user turn, joined by a newline as LLaMA-Factory does. The settings name the fields;
    where `output` and `input` are missing, Dolly's `response` and `context` are read. Without an instruction, `input`
    may be a list of turns.
    """

    id: ClassVar[str] = "alpaca"
    version: ClassVar[int] = 1
    instruction: str = "instruction"
    input: str = "input"
    output: str = "output"

    def confidence(self, row: Mapping[str, Any]) -> float:
        if not _CHAT.isdisjoint(row):
            return 0.0
        _, gives = self._names(row)
        answered = isinstance(row.get(gives), str) or ("chosen" in row and "rejected" in row)
        if isinstance(row.get(self.instruction), str):
            return 0.9 if answered else 0.0
        asked = row.get(self.input)
        return 0.6 if isinstance(row.get(gives), str) and (isinstance(asked, str) or looks_like_turns(asked)) else 0.0

    def _names(self, row: Mapping[str, Any]) -> tuple[str, str]:
        asks = "context" if self.input not in row and "context" in row else self.input
        return asks, "response" if self.output not in row and "response" in row else self.output

    def parse(self, row: Mapping[str, Any]) -> Parsed:
        asks, gives = self._names(row)
        pair = row.get("chosen") is not None or row.get("rejected") is not None
        label = None if pair else as_boolean(row.get("kto_tag"))
        taken = {self.instruction, asks, gives, "history", "system"}
        taken |= {"chosen", "rejected"} if pair else set()
        taken |= {"kto_tag"} if label is not None else set()
        turns_rest: dict[str, Any] = {}
        prompt = self._prompt(row, asks, turns_rest)
        if pair:
            taken.discard(gives)
            chosen, rejected = (_said(Role.ASSISTANT, text(row, side)) for side in ("chosen", "rejected"))
            return Parsed(
                Comparison(prompt=prompt, chosen=(chosen,), rejected=(rejected,)), rest_of(row, frozenset(taken))
            )
        answer = _said(Role.ASSISTANT, text(row, gives))
        rest = {**rest_of(row, frozenset(taken)), **turns_rest}
        if label is not None:
            return Parsed(Rating(prompt=prompt, answer=(answer,), label=label), rest)
        return Parsed(Conversation(messages=(*prompt, answer)), rest)

    def _prompt(self, row: Mapping[str, Any], asks: str, rest: dict[str, Any]) -> tuple[Message, ...]:
        system = optional_text(row, "system")
        turns = [_said(Role.SYSTEM, system)] if system else []
        history = unfolded(row["history"], "history") if row.get("history") else []
        if not isinstance(history, list):
            raise RowProblem("history must be a list", where="history", found=show(history), allowed="a list of pairs")
        for position, exchange in enumerate(history):
            if not isinstance(exchange, list) or len(exchange) != 2 or not all(isinstance(t, str) for t in exchange):
                where = f"history[{position}]"
                raise RowProblem(
                    "history must hold pairs of texts", where=where, found=show(exchange), allowed="[said, answered]"
                )
            turns += [_said(Role.USER, exchange[0]), _said(Role.ASSISTANT, exchange[1])]
        if self.instruction not in row and looks_like_turns(row.get(asks)):
            return (*turns, *messages(row[asks], asks, rest))
        instruction = optional_text(row, self.instruction) if self.instruction in row else ""
        parts = [part for part in (instruction, optional_text(row, asks)) if part]
        return (*turns, _said(Role.USER, "\n".join(parts)))

    def render(self, content: Content) -> dict[str, Any]:
        if isinstance(content, Comparison) and len(content.chosen) == len(content.rejected) == 1 and not content.tools:
            sides = {"chosen": _plain(content.chosen[0]), "rejected": _plain(content.rejected[0])}
            return {**self._asked(content.prompt), **sides}
        if isinstance(content, Rating) and content.label is not None and len(content.answer) == 1 and not content.tools:
            return {**self._asked(content.prompt), self.output: _plain(content.answer[0]), "kto_tag": content.label}
        if isinstance(content, Conversation) and content.messages and not content.tools:
            return {**self._asked(content.messages[:-1]), self.output: _plain(content.messages[-1])}
        raise RowProblem("Alpaca rows hold one text answer, a pair of them or a labelled one", found=content.kind)

    def _asked(self, prompt: Sequence[Message]) -> dict[str, Any]:
        row: dict[str, Any] = {}
        turns = list(prompt)
        if turns and turns[0].role is Role.SYSTEM:
            row["system"] = _plain(turns.pop(0))
        roles = [turn.role for turn in turns]
        if roles != [Role.USER, Role.ASSISTANT] * (len(turns) // 2) + [Role.USER]:
            raise RowProblem("Alpaca rows alternate user and assistant", found=", ".join(roles))
        if len(turns) > 1:
            row["history"] = [[_plain(turns[n]), _plain(turns[n + 1])] for n in range(0, len(turns) - 1, 2)]
        return {self.instruction: _plain(turns[-1]), self.input: "", **row}


def _said(role: Role, words: str) -> Message:
    return Message(role=role, parts=(TextPart(text=words),))


def _plain(turn: Message) -> str:
    if len(turn.parts) != 1 or not isinstance(turn.parts[0], TextPart) or not turn.trained:
        raise RowProblem("Alpaca rows hold plain, trained text only", found=f"a turn of {turn.role}")
    return turn.parts[0].text


ROWS = [
    (
        {"instruction": "Name the capital.", "input": "France", "output": "Paris"},
        "user: Name the capital.\\nFrance | assistant: Paris",
    ),
    (
        {
            "instruction": "And Italy?",
            "input": "",
            "output": "Rome",
            "system": "Brief.",
            "history": [["France?", "Paris"]],
        },
        "system: Brief. | user: France? | assistant: Paris | user: And Italy? | assistant: Rome",
    ),
    (
        {"instruction": "Sum up.", "context": "A long text.", "response": "Short.", "category": "summarization"},
        "user: Sum up.\\nA long text. | assistant: Short.",
    ),
    (
        {"instruction": "Name a river.", "input": "", "chosen": "The Rhine.", "rejected": "No."},
        "user: Name a river. || assistant: The Rhine. || assistant: No.",
    ),
    ({"input": "2 + 2", "output": "4", "type": "sum"}, "user: 2 + 2 | assistant: 4"),
    ({"input": [{"role": "user", "content": "2 + 2"}], "output": "4"}, "user: 2 + 2 | assistant: 4"),
]
