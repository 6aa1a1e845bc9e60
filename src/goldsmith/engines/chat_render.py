"""A conversation as its template writes it, with the character spans the model has to write itself.

What the template writes up to a turn *with* the generation prompt is what the model is given when it answers; what
it writes after that is what the model has to say. Both must be prefixes of the whole, or the row is refused: a
template that rewrites earlier turns would let training see what serving never shows. Templates with `{% generation %}`
marks say the same of themselves (tested on real ones); without marks it works as well.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from goldsmith.engines.chat_messages import (
    disarm,
    first_places,
    separator_for,
    strings_in,
    template_messages,
    template_tools,
)
from goldsmith.types.errors import BadInput
from goldsmith.types.record import Message, Role, ToolSchema

FALLBACK_TEMPLATE = (
    "{%- for message in messages -%}{{ '<|im_start|>' + message['role'] + '\\n' }}"
    "{%- if message['role'] == 'assistant' -%}{%- generation -%}{{ message['content'] }}"
    "{%- for call in message['tool_calls'] or [] -%}{{ '\\n<tool_call>\\n' }}"
    '{{ {"name": call.function.name, "arguments": call.function.arguments} | tojson }}'
    "{{ '\\n</tool_call>' }}{%- endfor -%}{{ eos_token }}{%- endgeneration -%}{{ '\\n' }}"
    "{%- else -%}"
    "{%- if loop.first and tools -%}{{ 'Tools: ' }}{{ tools | tojson }}{{ '\\n' }}{%- endif -%}"
    "{{ message['content'] + '<|im_end|>\\n' }}{%- endif -%}{%- endfor -%}"
    "{%- if add_generation_prompt -%}{{ '<|im_start|>assistant\\n' }}{%- endif -%}"
)
"""ChatML for base models that bring no template; a turn of the assistant ends in the model's own end-of-text token."""


@dataclass(frozen=True, slots=True)
class Rendered:
    """Text with the character spans the model writes. `separator` marks where text must be cut before tokenising."""

    text: str
    spans: tuple[tuple[int, int], ...]
    separator: str | None = None


_PROBE = ({"role": "user", "content": "ping"}, {"role": "assistant", "content": "gqxzpong"})
_ARGUMENTS: tuple[dict[str, bool], ...] = ({}, {"enable_thinking": False}, {"thinking": False})
"""What templates of reasoning models are told, tried in this order, so that they write a turn as they open it."""


class Renderer:
    """A chat template with its tokenizer's special tokens and the tokens generation stops at.

    `arguments` are handed to the template at every rendering, for training and for serving alike.
    """

    def __init__(self, tokenizer: Any, template: str, eos_ids: frozenset[int]) -> None:
        self.tokenizer = tokenizer
        self.template = template
        self.arguments: dict[str, bool] = next((a for a in _ARGUMENTS if self._opens_as_it_writes(a)), {})
        self.turn_end = self._turn_end(eos_ids)
        """The special token the template writes right after an assistant's text; None where it writes none."""
        self.stop_ids = eos_ids if self.turn_end is None else eos_ids | {self.turn_end}
        """Where generation stops: the model's end tokens and the special token its template ends a turn with."""
        texts: list[str] = [tokenizer.convert_ids_to_tokens(i) for i in self.stop_ids]
        self.stops = sorted(texts, key=lambda text: (-len(text), text))
        self.added_stop: str = tokenizer.eos_token or self.stops[0]
        self._stop = re.compile("|".join(map(re.escape, self.stops)))

    def _opens_as_it_writes(self, arguments: dict[str, bool]) -> bool:
        """Whether a whole turn starts with the generation prompt."""
        self.arguments = arguments
        try:
            return self.render(list(_PROBE), None, prompt=False).startswith(self.render([_PROBE[0]], None, prompt=True))
        except BadInput:
            return False

    def _turn_end(self, eos_ids: frozenset[int]) -> int | None:
        """The special token the template writes right after an assistant's text; None where it writes none."""
        try:
            text = self.render(list(_PROBE), None, prompt=False)
        except BadInput:
            return None
        ids = self.tokenizer(text.rpartition("gqxzpong")[2], add_special_tokens=False)["input_ids"]
        special = set(self.tokenizer.all_special_ids)
        return int(ids[0]) if ids and (ids[0] in special or ids[0] in eos_ids) else None

    @cached_property
    def control(self) -> re.Pattern[str]:
        """Matches the text of every token that steers: special ones, and added ones the template itself writes."""
        added = self.tokenizer.added_tokens_decoder.values()
        texts = {
            token.content
            for token in added
            if token.content.strip() and (token.special or token.content in self.template)
        }
        return re.compile("|".join(map(re.escape, sorted(texts, key=lambda t: (-len(t), t)))) or "(?!)")

    @cached_property
    def special(self) -> re.Pattern[str]:
        """As `control`, less the added tokens an assistant's text may well hold (`<think>`)."""
        texts = {t.content for t in self.tokenizer.added_tokens_decoder.values() if t.special and t.content.strip()}
        return re.compile("|".join(map(re.escape, sorted(texts, key=lambda t: (-len(t), t)))) or "(?!)")

    def render(self, chat: list[dict[str, Any]], tools: list[dict[str, Any]] | None, *, prompt: bool) -> str:
        """The template's text, with the generation prompt or without."""
        from jinja2 import TemplateError
        from transformers.utils.chat_template_utils import render_jinja_template

        try:
            rendered: Any = render_jinja_template(
                conversations=[chat],
                tools=tools,  # type: ignore[arg-type]
                chat_template=self.template,
                add_generation_prompt=prompt,
                **{**self.tokenizer.special_tokens_map, **self.arguments},
            )
        except (TemplateError, TypeError, ValueError) as error:
            raise BadInput(
                "the model's chat template cannot write this conversation",
                found=f"{type(error).__name__}: {str(error)[:200]}",
                next_step="leave the record out, or set a chat_template that can",
            ) from error
        return str(rendered[0][0])

    def inputs(
        self, messages: Sequence[Message], tools: Sequence[ToolSchema]
    ) -> tuple[list[dict[str, Any]], list[dict[str, Any]] | None, str | None]:
        if not messages:
            raise BadInput("the conversation has no messages", allowed="at least one")
        chat = template_messages(messages, nine_character_ids="length != 9" in self.template)
        schemas = template_tools(tools)
        texts = list(strings_in(chat)) + list(strings_in(schemas))
        if not any(self.control.search(text) for text in texts):
            return chat, schemas, None
        separator = separator_for(texts)
        chat = [
            {
                key: value
                if key in ("role", "type")
                else disarm(
                    value,
                    self.special if m["role"] == "assistant" else self.control,
                    separator,
                )
                for key, value in m.items()
            }
            for m in chat
        ]
        return chat, disarm(schemas, self.control, separator), separator

    def plan(self, messages: Sequence[Message], tools: Sequence[ToolSchema], first: int) -> tuple[Rendered, int]:
        """Text and trained spans of the messages from `first` on, and how many characters come before `first`."""
        chat, schemas, separator = self.inputs(messages, tools)
        places = first_places(messages)
        text = self.render(chat, schemas, prompt=False)
        spans: list[tuple[int, int]] = []
        before = 0
        for place, message in enumerate(messages):
            opens = place == first > 0
            if place < first or message.role is not Role.ASSISTANT or not (message.trained or opens):
                continue
            at = places[place]
            prompt = self.render(chat[:at], schemas, prompt=True)
            before = len(prompt) if opens else before
            if not message.trained:
                continue
            if not message.calls and not message.text.strip():
                raise BadInput(f"the assistant's message {place + 1} is empty", allowed="text or a tool call")
            last = at + 1 == len(chat)
            turn = text if last else self.render(chat[: at + 1], schemas, prompt=False)
            _require_prefix(prompt, turn, place)
            end = self._end(turn, len(prompt))
            if end is None and last:
                turn = text = turn.rstrip() + self.added_stop
                end = len(text)
            _require_prefix(turn.rstrip() if end is None else turn[:end], text, place)
            if end is None:
                raise self._never_stops(turn, len(prompt), place)
            spans.append((len(prompt), end))
        return Rendered(text, tuple(spans), separator), before

    def after(
        self, before: Sequence[Message], turn: Message, results: Sequence[Message], tools: Sequence[ToolSchema]
    ) -> tuple[str, str | None]:
        """The text between the end of an assistant's `turn` and the next one, and where to cut it (see `Rendered`)."""
        messages = (*before, turn, *results)
        chat, schemas, separator = self.inputs(messages, tools)
        at, place = first_places(messages)[len(before)], len(before)
        prompt = self.render(chat[:at], schemas, prompt=True)
        written = self.render(chat[: at + 1], schemas, prompt=False)
        whole = self.render(chat, schemas, prompt=True)
        _require_prefix(prompt, written, place)
        end = self._end(written, len(prompt))
        if end is None:
            raise self._never_stops(written, len(prompt), place)
        _require_prefix(written[:end], whole, place)
        return whole[end:], separator

    def _end(self, turn: str, start: int) -> int | None:
        """Where the turn's own stop token ends: the first one after which nothing but stop tokens and blanks come."""
        for found in self._stop.finditer(turn, start):
            if not self._stop.sub("", turn[found.end() :]).strip():
                return found.end()
        return None

    def _never_stops(self, turn: str, start: int, place: int) -> BadInput:
        return BadInput(
            "a trained assistant turn does not end in a token that generation stops at",
            where=f"message {place + 1}",
            found=repr(turn[max(start, len(turn) - 40) :]),
            allowed="a turn that ends in one of " + ", ".join(map(repr, self.stops)),
            next_step="let the chat template end assistant turns in an end token, or add its own to the "
            "generation config's eos_token_id",
        )


def _require_prefix(part: str, whole: str, place: int) -> None:
    if whole.startswith(part):
        return
    pairs = enumerate(zip(part, whole, strict=False))
    at = next((i for i, (a, b) in pairs if a != b), min(len(part), len(whole)))
    raise BadInput(
        "the chat template rewrites earlier text when a turn is added, so training would not see what serving sees",
        where=f"message {place + 1}, character {at} of the rendered text",
        found=f"{part[max(0, at - 20) : at + 20]!r} became {whole[max(0, at - 20) : at + 20]!r}",
        next_step="train the last turn only (trained=false on the others), or set a prefix-preserving template",
    )
