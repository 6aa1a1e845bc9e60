"""Signs only ever skip patterns that cannot match: what is found with them is what the patterns alone find."""

import re
import sys

from hypothesis import given, settings
from hypothesis import strategies as st

from goldsmith.checks.personal_data import personal_data, personal_data_possible
from goldsmith.engines.text.credentials import SHAPES, found_secrets
from goldsmith.engines.text.signs import AT, CODED, DOUBLE_COLON, POSTAL, TOKEN, Literals, Signs, encoded, signs_of
from goldsmith.engines.text.signs import signs_table as table_of

_MOST = Signs(1 << 20, 1 << 20, 1 << 20, 1 << 20, 1 << 20, AT | CODED | POSTAL | DOUBLE_COLON | TOKEN)
_DIGITS = "0123456789" * 3 + "٣۴५７߂𝟗"
_TEXTS = st.lists(
    st.one_of(
        st.text(st.sampled_from(_DIGITS), min_size=1, max_size=12),
        st.text(st.sampled_from("ABCDGHX"), min_size=1, max_size=3),
        st.text(st.sampled_from(" .-/:@()+,_=\n'\"é中ſK"), min_size=1, max_size=2),
        st.sampled_from(
            [
                "AKIA",
                "ghp_",
                "sk-",
                "key",
                "token",
                "Bearer ",
                "passport ",
                "plate ",
                "born ",
                "DOB: ",
                "PESEL ",
                "5 Oak St",
                ", TX ",
                " rue de ",
                "straße ",
                "DE44 5001 0517 5407 3249 31",
                "4539 1488 0343 6467",
                "820-01-9999",
                "a1B2c3D4e5F6g7H8i9J0k1L2",
                "2a01:4f8::1",
                "811218-9876",
                "131052-308T",
                "85.07.30-033.28",
                "12 Mai 1980",
                "+49 30 901820 471",
                "gertrud@posteo-mail.de",
                "93.184.216.34",
                "SW1A 1AA",
                "C01X00T47",
                "AB 12 34 56 C",
            ]
        ),
    ),
    max_size=9,
).map("".join)


def naive(text: str) -> Signs:
    """The signs of a text by regular expressions, digits of every script counted as they are."""
    marks = AT * ("@" in text) | DOUBLE_COLON * ("::" in text)
    marks |= CODED * bool(re.search(r"[A-Z]{2} ?\d\d", text)) | POSTAL * bool(re.search(r"\d[A-Z]{2}", text))
    marks |= TOKEN * any(re.search(r"\d", run) for run in re.findall(r"[A-Za-z0-9+/_.~=-]{20,}", text))
    stretches = re.findall(r"[\d ().-]+", text)
    return Signs(
        len(re.findall(r"\d", text)),
        max(map(len, re.findall(r"\d+", text)), default=0),
        len(re.findall(r"(?<=\d)\.(?=\d)", text)),
        max((len(re.findall(r"\d", one)) for one in stretches), default=0),
        text.count(":"),
        marks,
    )


@settings(max_examples=400, deadline=None)
@given(_TEXTS)
def test_signs_are_exact_for_ascii_and_never_too_low(text: str) -> None:
    found, right = signs_of(text), naive(text)
    if text.isascii():
        assert found == right
    assert all(mine >= theirs for mine, theirs in zip(found[:5], right[:5], strict=True))
    assert found.marks & right.marks == right.marks


def test_every_decimal_digit_of_unicode_is_seen() -> None:
    digits = [chr(code) for code in range(128, sys.maxunicode + 1) if chr(code).isdecimal()]
    assert len(digits) > 600
    table = table_of(encoded([f"é{digit}中" for digit in digits]))
    assert (table[:, :4] > 0).all()
    assert not table_of(encoded(["é中ёα—，"]))[:, :5].any()


@settings(max_examples=400, deadline=None)
@given(_TEXTS)
def test_personal_data_is_what_the_patterns_alone_find(text: str) -> None:
    unfiltered = list(personal_data(text, signs=_MOST))
    assert list(personal_data(text)) == unfiltered
    assert personal_data_possible(table_of(encoded([text])))[0] or not unfiltered


@settings(max_examples=300, deadline=None)
@given(_TEXTS)
def test_secrets_are_what_the_patterns_alone_find(text: str) -> None:
    assert list(found_secrets(text)) == list(found_secrets(text, possible=[True] * (len(SHAPES) + 1)))


@settings(max_examples=200, deadline=None)
@given(st.lists(st.text(st.sampled_from("abé中"), max_size=30), max_size=5))
def test_literals_are_held_where_python_says_so(texts: list[str]) -> None:
    words = ["ab", "aba", "ba", "bab", "中", "é中", "aaaa"]
    held = Literals(words).held(encoded(texts))
    assert held.tolist() == [[word in text for word in words] for text in texts]


def test_a_row_with_nothing_and_a_text_of_five_megabytes() -> None:
    assert signs_of("") == Signs(0, 0, 0, 0, 0, 0)
    assert signs_of("7" * 5_000_000).run == 5_000_000
    assert signs_of("\ud800 AB12") == signs_of("? AB12")
