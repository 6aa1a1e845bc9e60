"""Between messages and tokens: the one place, for training and for serving.

The model's own chat template writes the text (see `chat_render`), so training sees what serving sees, token by token,
or the row is refused. A user who types `<|im_end|>` gets these ten characters, never the token.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from goldsmith.engines.chat_calls import ParsedTurn, call_format, call_start, read_turn
from goldsmith.engines.chat_messages import disarm, separator_for
from goldsmith.engines.chat_render import FALLBACK_TEMPLATE, Rendered, Renderer
from goldsmith.engines.chat_tokens import add_tokens
from goldsmith.types.errors import BadInput, Unavailable
from goldsmith.types.record import Comparison, Conversation, Message, Role, Text, ToolSchema

Ids = NDArray[np.int32]
Mask = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Encoded:
    """Tokens and which of them the model learns to write: `input_ids[T]` int32, `trained[T]` bool."""

    input_ids: Ids
    trained: Mask


@dataclass(frozen=True, slots=True)
class EncodedComparison:
    """One prompt and two continuations, each with the mask of its trained tokens; all one-dimensional."""

    prompt_ids: Ids
    chosen_ids: Ids
    rejected_ids: Ids
    chosen_trained: Mask
    rejected_trained: Mask


class Chat:
    """A tokenizer with its template and its stop tokens, read-only.

    `eos_ids` are the ids generation stops at, as the model's generation config says them. `stop_ids` are those and the
    special token the template ends a turn with: what training teaches to end with and what serving stops at.
    """

    def __init__(self, tokenizer: Any, eos_ids: Sequence[int] = ()) -> None:
        if not getattr(tokenizer, "is_fast", False):
            raise BadInput(
                "this tokenizer cannot tell which characters a token covers",
                found=type(tokenizer).__name__,
                allowed="a fast tokenizer (a tokenizer.json)",
                next_step="convert it with transformers and save it again",
            )
        own = tokenizer.eos_token_id
        ends = frozenset(int(i) for i in eos_ids) | (frozenset() if own is None else frozenset((int(own),)))
        if not ends:
            raise BadInput(
                "the model has no end-of-text token, so it could never learn to stop",
                next_step="set eos_token in the tokenizer's config",
            )
        given = tokenizer.chat_template
        if not given:
            tokenizer.chat_template = FALLBACK_TEMPLATE
        elif not isinstance(given, str):
            raise BadInput(
                "the tokenizer has several chat templates",
                found=", ".join(given),
                allowed="one",
                next_step="save the model with the one template that is meant",
            )
        self.tokenizer = tokenizer
        self.template: str = tokenizer.chat_template
        self.tokenizer_digest = _tokenizer_digest(tokenizer)
        self.template_digest = "sha256:" + hashlib.sha256(self.template.encode()).hexdigest()
        self.form = call_format(self.template)
        self.call_start = call_start(self.form)
        """What a tool call begins with in the model's text; None where there is no such mark."""
        self.renderer = Renderer(tokenizer, self.template, ends)
        self.stop_ids = self.renderer.stop_ids
        self.facts: dict[str, str] = {
            "template": "own" if given else "fallback_chatml",
            "calls": self.form,
        } | {f"template_{name}": str(value).lower() for name, value in self.renderer.arguments.items()}

    @cached_property
    def pad_id(self) -> int:
        """A token to fill with; it is never trained, so an end token in that part does no harm."""
        pad = self.tokenizer.pad_token_id
        return int(pad) if pad is not None else min(self.stop_ids)

    # ---- tokens ----------------------------------------------------------------------------------------------

    def _tokens(
        self, rendered: Sequence[Rendered], cuts: Sequence[tuple[int, ...]]
    ) -> list[tuple[Ids, NDArray[np.int64]]]:
        """For each text its token ids and the character each token starts at. No token reaches over a cut."""
        plain = [i for i, r in enumerate(rendered) if r.separator is None]
        batch = (
            self.tokenizer([rendered[i].text for i in plain], add_special_tokens=False, return_offsets_mapping=True)
            if plain
            else {"input_ids": [], "offset_mapping": []}
        )
        found: dict[int, tuple[Ids, NDArray[np.int64]]] = {}
        for i, ids, offsets in zip(plain, batch["input_ids"], batch["offset_mapping"], strict=True):
            bounds = np.asarray(offsets, dtype=np.int64).reshape(-1, 2)
            if all(_falls_between(bounds, cut) for cut in cuts[i]):
                found[i] = (np.asarray(ids, dtype=np.int32), bounds[:, 0])
        return [found[i] if i in found else self._pieces(r, cuts[i]) for i, r in enumerate(rendered)]

    def _pieces(self, rendered: Rendered, cuts: tuple[int, ...]) -> tuple[Ids, NDArray[np.int64]]:
        """Tokens of a text that has to be cut: at separators, so that no typed control token comes to life, and
        where the model starts to write, so that the prompt's tokens are those that serving makes."""
        ids: list[int] = []
        starts: list[int] = []
        edges = sorted({0, len(rendered.text), *cuts})
        for low, high in pairwise(edges):
            place = low
            for piece in rendered.text[low:high].split(rendered.separator or "\ufdd0"):
                out = self.tokenizer(piece, add_special_tokens=False, return_offsets_mapping=True)
                ids += out["input_ids"]
                starts += [place + start for start, _ in out["offset_mapping"]]
                place += len(piece) + 1
        return np.asarray(ids, dtype=np.int32), np.asarray(starts, dtype=np.int64)

    def _encode(self, plans: Sequence[Rendered]) -> list[Encoded]:
        cuts = [tuple(edge for span in r.spans for edge in span) for r in plans]
        encoded = []
        for rendered, (ids, starts) in zip(plans, self._tokens(plans, cuts), strict=True):
            trained = np.zeros(len(ids), dtype=np.bool_)
            for low, high in rendered.spans:
                inside = (starts >= low) & (starts < high)
                if not inside.any() or int(ids[np.flatnonzero(inside)[-1]]) not in self.stop_ids:
                    raise BadInput(
                        "the end token of a trained turn does not come out of the tokenizer as one token",
                        found=repr(rendered.text[max(low, high - 20) : high]),
                        next_step="register the end token as a special token of the tokenizer",
                    )
                trained |= inside
            encoded.append(Encoded(ids, trained))
        return encoded

    # ---- the public doors ------------------------------------------------------------------------------------

    def encode_prompt(self, messages: Sequence[Message], tools: Sequence[ToolSchema] = ()) -> Ids:
        """Tokens to continue from: the conversation and the generation prompt.

        Raises:
            BadInput: media, tool arguments that are no JSON object, or a conversation the template cannot write.
        """
        chat, schemas, separator = self.renderer.inputs(messages, tools)
        text = self.renderer.render(chat, schemas, prompt=True)
        return self._tokens([Rendered(text, (), separator)], [()])[0][0]

    def encode_after(
        self, before: Sequence[Message], turn: Message, results: Sequence[Message], tools: Sequence[ToolSchema] = ()
    ) -> Ids:
        """What comes between a turn that the model wrote, its stop token included, and the place where it goes on: the
        tools' `results` and the generation prompt. What the model wrote itself is not tokenised again.

        Raises:
            BadInput: a conversation the template cannot write, or one it writes differently when results are added.
        """
        text, separator = self.renderer.after(before, turn, results, tools)
        return self._pieces(Rendered(text, (), separator), ())[0]

    def encode_conversation(self, conversation: Conversation) -> Encoded:
        """A whole conversation; trained are the assistant's turns that are not marked otherwise.

        Raises:
            BadInput: nothing to train, an empty turn, media, a template that rewrites earlier turns or never stops.
        """
        return self._encode([self.plan_conversation(conversation)])[0]

    def plan_conversation(self, conversation: Conversation) -> Rendered:
        plan, _ = self.renderer.plan(conversation.messages, conversation.tools, 0)
        if not plan.spans:
            raise BadInput(
                "the conversation has no assistant turn to train",
                allowed="at least one trained assistant turn",
            )
        return plan

    def encode_conversations(self, conversations: Sequence[Conversation]) -> list[Encoded]:
        """As `encode_conversation`, tokenised in one go."""
        return self._encode([self.plan_conversation(c) for c in conversations])

    def encode_continuation(
        self, prompt: Sequence[Message], continuation: Sequence[Message], tools: Sequence[ToolSchema] = ()
    ) -> Encoded:
        """Prompt and continuation; only the continuation's assistant turns count as trained."""
        return self._encode([self._continued(prompt, continuation, tools)[0]])[0]

    def _continued(
        self, prompt: Sequence[Message], continuation: Sequence[Message], tools: Sequence[ToolSchema]
    ) -> tuple[Rendered, int]:
        if not continuation or continuation[0].role is not Role.ASSISTANT:
            raise BadInput(
                "a continuation must start with the assistant",
                found=continuation[0].role.value if continuation else "no message",
                allowed="assistant",
            )
        plan, before = self.renderer.plan((*prompt, *continuation), tools, len(prompt))
        if not plan.spans:
            raise BadInput(
                "the continuation has no assistant turn to train",
                allowed="at least one trained assistant turn",
            )
        return plan, before

    def encode_steps(
        self, prompt: Sequence[Message], answer: Message, tools: Sequence[ToolSchema], steps: Sequence[str]
    ) -> tuple[Ids, list[int], int]:
        """Prompt and answer up to its stop token; the place of each step's last token, and of the answer's first. The
        steps are texts that stand in the answer in this order; no token straddles the end of one.

        Raises:
            BadInput: as for conversations, or the chat template does not write a step as it is.
        """
        plan, _ = self._continued(prompt, (answer,), tools)
        low, high = plan.spans[-1]
        cuts, place = [low], low
        for number, step in enumerate(steps, 1):
            text = disarm(step, self.renderer.special, plan.separator) if plan.separator is not None else step
            found = plan.text.find(text, place, high)
            if found < 0:
                raise BadInput("the chat template rewrites a step", where=f"step {number}", found=repr(step[:40]))
            place = found + len(text)
            cuts.append(place)
        ids, starts = self._tokens([plan], [(*cuts, high)])[0]
        ends = [int(np.flatnonzero(starts < cut)[-1]) for cut in cuts[1:]]
        stop = int(np.flatnonzero(starts < high)[-1])
        return ids[: stop + 1], ends, int(np.flatnonzero(starts >= low)[0])

    def encode_comparison(self, comparison: Comparison) -> EncodedComparison:
        """Prompt, chosen and rejected.

        Raises:
            BadInput: as for conversations, or chosen and rejected are the same tokens.
        """
        sides = [
            self._continued(comparison.prompt, side, comparison.tools)
            for side in (comparison.chosen, comparison.rejected)
        ]
        plans = [plan for plan, _ in sides]
        cuts = [(before, *(edge for span in plan.spans for edge in span)) for plan, before in sides]
        tokens = self._tokens(plans, cuts)
        heads = [ids[starts < before] for (ids, starts), (_, before) in zip(tokens, sides, strict=True)]
        if not np.array_equal(heads[0], heads[1]):
            tokens = [self._pieces(plan, cut) for plan, cut in zip(plans, cuts, strict=True)]
            heads = [ids[starts < before] for (ids, starts), (_, before) in zip(tokens, sides, strict=True)]
        chosen, rejected = (self._side(plan, *t) for plan, t in zip(plans, tokens, strict=True))
        n = len(heads[0])
        if np.array_equal(chosen.input_ids, rejected.input_ids):
            raise BadInput("chosen and rejected are the same", allowed="two answers that differ")
        if not np.array_equal(heads[0], heads[1]) or not np.array_equal(chosen.input_ids[:n], rejected.input_ids[:n]):
            raise BadInput("the chat template writes the prompt differently before chosen and rejected")
        return EncodedComparison(
            chosen.input_ids[:n],
            chosen.input_ids[n:],
            rejected.input_ids[n:],
            chosen.trained[n:],
            rejected.trained[n:],
        )

    def _side(self, plan: Rendered, ids: Ids, starts: NDArray[np.int64]) -> Encoded:
        trained = np.zeros(len(ids), dtype=np.bool_)
        for low, high in plan.spans:
            trained |= (starts >= low) & (starts < high)
        return Encoded(ids, trained)

    def encode_text(self, text: Text) -> Encoded:
        """Plain text for continued pre-training: every token is trained, and an end token closes it."""
        if not text.text.strip():
            raise BadInput("the text is empty")
        head = [] if self.tokenizer.bos_token_id is None else [self.tokenizer.bos_token_id]
        separator = separator_for([text.text])
        body = Rendered(disarm(text.text, self.renderer.special, separator), (), separator)
        end = self.tokenizer.eos_token_id
        ids = [*head, *self._pieces(body, ())[0], min(self.stop_ids) if end is None else end]
        return Encoded(np.asarray(ids, dtype=np.int32), np.ones(len(ids), dtype=np.bool_))

    def parse_turn(self, generated_ids: Sequence[int]) -> ParsedTurn:
        """What the model wrote after a prompt, up to its first stop token."""
        ids = [int(i) for i in generated_ids]
        end = next((place for place, i in enumerate(ids) if i in self.stop_ids), None)
        text = self.tokenizer.decode(ids[:end], skip_special_tokens=False, clean_up_tokenization_spaces=False)
        return read_turn(text, self.form, finished=end is not None)

    def parse_text(self, text: str, *, finished: bool = True) -> ParsedTurn:
        """As `parse_turn`, from text without its stop token."""
        return read_turn(text, self.form, finished=finished)


def open_chat(base: str | Path, new_tokens: Sequence[str] = ()) -> Chat:
    """The Chat of a model folder or hub id; `new_tokens` become tokens of it.

    Raises:
        Unavailable: no tokenizer there. BadInput: one that cannot be used (see Chat), or a new token that is one.
    """
    from transformers import AutoTokenizer, GenerationConfig

    try:
        tokenizer = AutoTokenizer.from_pretrained(str(base), trust_remote_code=False)
    except (OSError, ValueError) as error:
        raise Unavailable("the model's tokenizer could not be read", where=str(base), found=str(error)[:200]) from error
    add_tokens(tokenizer, new_tokens)
    try:
        eos = GenerationConfig.from_pretrained(str(base)).eos_token_id
    except (OSError, ValueError):
        eos = None
    return Chat(tokenizer, eos if isinstance(eos, list) else [] if eos is None else [eos])


def _falls_between(bounds_T2: NDArray[np.int64], cut: int) -> bool:
    """Whether the tokens before character `cut` cover exactly the text before it. A space that belongs to the token
    after the cut (byte-level tokenizers leave it out of the offsets) makes it false."""
    before = bounds_T2[bounds_T2[:, 0] < cut]
    return cut == 0 or (len(before) > 0 and int(before[:, 1].max()) == cut)


def _tokenizer_digest(tokenizer: Any) -> str:
    backend = json.loads(tokenizer.backend_tokenizer.to_str())
    backend.pop("padding", None)  # set by use, not part of the identity
    backend.pop("truncation", None)
    special = {key: str(value) for key, value in tokenizer.special_tokens_map.items()}
    body = json.dumps([backend, special], sort_keys=True, ensure_ascii=True)
    return "sha256:" + hashlib.sha256(body.encode()).hexdigest()
