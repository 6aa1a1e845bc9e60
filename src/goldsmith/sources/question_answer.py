"""Question and answer rows: `{"question": ..., "answer": ...}`, as GSM8K has them."""

from collections.abc import Mapping
from typing import Any, ClassVar

from goldsmith.engines.reading.fields import rest_of, text
from goldsmith.types.artifact import Spec
from goldsmith.types.record import Content, Conversation, Message, Role, TextPart
from goldsmith.types.row_format import Parsed, RowProblem


class QuestionAnswer(Spec):
    """One question, one answer, as a conversation of two turns. `question`, `answer`: the names of the fields."""

    id: ClassVar[str] = "question_answer"
    version: ClassVar[int] = 1
    question: str = "question"
    answer: str = "answer"

    def confidence(self, row: Mapping[str, Any]) -> float:
        return 0.75 if isinstance(row.get(self.question), str) and isinstance(row.get(self.answer), str) else 0.0

    def parse(self, row: Mapping[str, Any]) -> Parsed:
        turns = (
            Message(role=Role.USER, parts=(TextPart(text=text(row, self.question)),)),
            Message(role=Role.ASSISTANT, parts=(TextPart(text=text(row, self.answer)),)),
        )
        return Parsed(Conversation(messages=turns), rest_of(row, frozenset((self.question, self.answer))))

    def render(self, content: Content) -> dict[str, Any]:
        turns = content.messages if isinstance(content, Conversation) and not content.tools else ()
        plain = all(len(turn.parts) == 1 and isinstance(turn.parts[0], TextPart) and turn.trained for turn in turns)
        if [turn.role for turn in turns] != [Role.USER, Role.ASSISTANT] or not plain:
            raise RowProblem("only one question with one text answer is a row here", found=content.kind)
        return {self.question: turns[0].text, self.answer: turns[1].text}


ROWS = [
    (
        {"question": "What is 2 + 2?", "answer": "2 + 2 = 4\n#### 4"},
        "user: What is 2 + 2? | assistant: 2 + 2 = 4\\n#### 4",
    )
]
