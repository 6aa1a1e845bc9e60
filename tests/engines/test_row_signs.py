"""Fast readings of single rows against the slow way to say the same."""

import base64
import math
from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from goldsmith.checks.degenerate_answers import _PLACEHOLDER, _may_hold_place
from goldsmith.engines.text import ciphers, harm, languages

_KNOWN = sorted(harm.weights()[1])
_PIECES = st.one_of(
    st.sampled_from(_KNOWN),
    st.sampled_from(["don't", "d'", "''", "İ", "É", "\n", "how  to", "K", "a'b'c", "the"]),
    st.text(st.sampled_from("abkilmo' -é"), max_size=5),
)


def slow_harm(text: str) -> float:
    """By sets of tokens."""
    intercept, known = harm.weights()
    words = harm._WORD.findall(text[:1200].lower())
    met = known.keys() & {*words, *(f"{a} {b}" for a, b in pairwise(words))}
    if not met:
        return 0.0
    total = 0.0
    for token in sorted(met):
        total += known[token]
    return 1.0 / (1.0 + math.exp(-max(-30.0, min(30.0, intercept + total))))


@settings(max_examples=300, deadline=None)
@given(st.lists(st.lists(_PIECES, max_size=14).map(" ".join), max_size=4))
def test_harmfulness_is_the_sum_over_distinct_tokens(texts: list[str]) -> None:
    assert harm.harmfulness(texts).tolist() == [slow_harm(text) for text in texts]


_SIGNS = st.one_of(
    st.text(st.sampled_from("abcdef0123456789 ,:"), min_size=10, max_size=60),
    st.text(st.sampled_from("01 "), min_size=30, max_size=90),
    st.text(st.sampled_from(".- /"), min_size=20, max_size=60),
    st.text(st.sampled_from("abc .-"), min_size=20, max_size=60),
    st.text(st.sampled_from("%4aA0 "), min_size=20, max_size=40),
    st.sampled_from([base64.b64encode(b"this is a hidden english sentence").decode(), "\u200b" * 7, "аpple"]),
    st.sampled_from(["uryyb jbeyq guvf vf n frperg zrffntr sbe lbh naq zr", b"the hidden words of this text".hex()]),
    st.sampled_from(["The quick brown fox jumps over the lazy dog and runs home.", "%20%41%42%43%44%45%46%47%48"]),
)


@settings(max_examples=500, deadline=None)
@given(st.lists(_SIGNS, min_size=1, max_size=4).map(" ".join))
def test_no_text_in_code_is_passed_over(text: str) -> None:
    means, letters, worth = ciphers.read([text])
    found = list(ciphers.encodings(text, int(letters[0])))
    hidden = ciphers.cipher(text, float(means[0]), int(letters[0]))
    assert worth[0] or (not found and hidden is None)


def test_plain_english_is_passed_over() -> None:
    text = "The old lighthouse keeper spent his winters by the sea, and in 1890 he wrote two long letters home."
    assert not ciphers.read([text])[2][0]


@settings(max_examples=300, deadline=None)
@given(
    st.lists(
        st.sampled_from(["[insert answer here]", "lorem ipsum dolor", "LOREM IPSUM DOLOR", "<response>", "{{answer}}"])
        | st.sampled_from(["todo", "N/A", "error: a timeout", "The river is long. ", "x" * 120, " ", "{", "none"]),
        max_size=4,
    ).map("".join)
)
def test_no_placeholder_is_passed_over(text: str) -> None:
    assert _may_hold_place(text) or not _PLACEHOLDER.search(text.strip())


def test_a_language_has_one_code() -> None:
    texts = [
        "Wie komme ich zu dem Dorf, das an dem Ende von dem See ist?",
        "こんにちは、これは日本語の文章です。",
        "",
        "7 8 9",
    ]
    assert languages.identify(texts) == ["de", "ja", "", ""]
    assert [languages.KEYS[code] for code in languages.codes(texts).tolist()] == ["de", "ja", "", ""]
    assert len(languages.codes([])) == 0
