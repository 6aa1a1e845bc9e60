"""Streams of text: characters stay whole, stop texts stay unseen, tool calls are held back."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from goldsmith.engines.sampling.detokenise import TextStream, decode, overlap
from goldsmith.engines.sampling.turns import TurnStream


@pytest.fixture(scope="module")
def tokenizer(tiny: Any) -> Any:
    return tiny.tokenizer()


def pushed(tokenizer: Any, ids: list[int], stop: tuple[str, ...] = ()) -> tuple[list[str], TextStream]:
    stream = TextStream(tokenizer, stop)
    pieces = [stream.push(token) for token in ids]
    return [*pieces, stream.finish()], stream


def test_characters_of_several_tokens_come_out_whole(tokenizer: Any) -> None:
    text = "naïve 日本語 👩‍🚀 done"
    ids = tokenizer(text)["input_ids"]
    assert len(ids) > len(text), "every character takes several tokens"
    pieces, _ = pushed(tokenizer, ids)
    assert "".join(pieces) == text
    assert not any("�" in piece for piece in pieces)
    assert pieces[-1] == ""


@settings(derandomize=True, max_examples=200, deadline=None)
@given(text=st.text(max_size=40))
def test_pieces_join_to_the_text(text: str, tokenizer: Any) -> None:
    ids = tokenizer(text, add_special_tokens=False)["input_ids"]
    pieces, _ = pushed(tokenizer, ids)
    assert "".join(pieces) == decode(tokenizer, ids)


@settings(derandomize=True, max_examples=200, deadline=None)
@given(ids=st.lists(st.integers(0, 399), max_size=30))
def test_pieces_join_to_the_decoding_of_any_tokens(ids: list[int], tokenizer: Any) -> None:
    """Whatever a model writes, broken UTF-8 and special tokens included."""
    ids = [token for token in ids if token < len(tokenizer)]
    pieces, _ = pushed(tokenizer, ids)
    assert "".join(pieces) == decode(tokenizer, ids)


@settings(derandomize=True, max_examples=200, deadline=None)
@given(text=st.text(alphabet="ab日", max_size=30), stop=st.lists(st.text("ab日", min_size=1, max_size=4), max_size=3))
def test_nothing_of_a_stop_text_is_seen(text: str, stop: list[str], tokenizer: Any) -> None:
    ids = tokenizer(text, add_special_tokens=False)["input_ids"]
    pieces, stream = pushed(tokenizer, ids, tuple(stop))
    ends = [text.index(s) for s in stop if s in text]
    # a token can complete two stop texts at once; the one that begins first counts, as far as it was seen
    shown = "".join(pieces)
    assert stream.stopped == bool(ends)
    assert text.startswith(shown)
    assert not any(s in shown for s in stop)
    if not ends:
        assert shown == text


@settings(derandomize=True, max_examples=300, deadline=None)
@given(text=st.text("ab", max_size=8), stop=st.text("ab", min_size=1, max_size=5))
def test_overlap_is_the_longest_end_that_starts_the_stop(text: str, stop: str) -> None:
    expected = max(size for size in range(len(stop)) if size == 0 or text.endswith(stop[:size]))
    assert overlap(text, stop) == expected


CALLS = {
    "nano": ("Here you go.", '<|call|>{"name": "x", "arguments": {}}'),
    "hermes": ("Here\n\nyou go.", '\n<tool_call>\n{"name": "x"}\n</tool_call>'),
    "mistral": ("", '[TOOL_CALLS][{"name": "x"}]'),
    "llama3": ("", '{"name": "x", "parameters": {}}'),
}


@pytest.mark.parametrize("form", sorted(CALLS))
@pytest.mark.parametrize("size", [1, 3, 7, 1000])
def test_a_call_is_held_back_from_its_first_character(form: str, size: int) -> None:
    text, call = CALLS[form]
    stream = TurnStream(form)
    whole = text + call
    out = "".join(stream.push(whole[at : at + size]) for at in range(0, len(whole), size))
    assert out == text
    assert stream.rest(text) == ""


@pytest.mark.parametrize("form", [*sorted(CALLS), "none"])
def test_text_without_a_call_comes_out_whole(form: str) -> None:
    text = "a < b, <|c and [TOOL, then {x}\n\nbye<tool_"
    stream = TurnStream(form)
    out = "".join(stream.push(character) for character in text)
    assert text.startswith(out)
    assert len(out) >= len(text) - len("<tool_call>")
    assert out + stream.rest(text) == text
