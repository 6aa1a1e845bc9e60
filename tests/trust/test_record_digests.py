"""Record digests: golden, independent of how they are computed, sensitive to every field."""

import hashlib
import time
from types import SimpleNamespace
from typing import Any

import pytest
import rfc8785
from hypothesis import given, settings
from hypothesis import strategies as st

from goldsmith.trust import records
from goldsmith.types.errors import BadInput
from goldsmith.types.record import Conversation, Maker, Message, Origin, Rating, Record, Role, Text, TextPart

GOLDEN = [
    (
        "sha256:45576b5f7422199f2bb912857f07ba3dd087c7884f6b96a4ab2e797f4a22b663",
        "sha256:510b8830ee7257de47202261606427c4cd4d2383fe592e14a4aaebcdc7b05455",
    ),
    (
        "sha256:d3f4a8f08a87c2453e7e54c137c964664dd5f0613c5c369b6860acee44f8bf33",
        "sha256:352d5c6b3b91e1227b72ee995b05ef6ad6b99ed92649e20cd6bf4ed59b13a8c1",
    ),
    (
        "sha256:5997d0590d218af407c26147d32a224e0702d04eff8c5063d4a7d4fcb5f57f26",
        "sha256:37ef005fad29b705fc2c7a69b908cb67c7f5a5a6f8975e79336477ca3f95c6cc",
    ),
]
"""Digests that were once given out. If this fails, old evidence no longer verifies: add a schema version instead."""


def test_golden(make: SimpleNamespace) -> None:
    assert [(records.content_digest(one), records.record_digest(one)) for one in make.varied()] == GOLDEN


def by_hand(record: Record) -> tuple[str, str]:
    """The two digests, through pydantic's own dump and the rfc8785 package."""
    wire: dict[str, Any] = record.model_dump(mode="json")
    content = rfc8785.dumps({"schema": "goldsmith.record/v1", "content": wire["content"]})
    first = "sha256:" + hashlib.sha256(content).hexdigest()
    whole = {
        "schema": "goldsmith.record/v1", "content_digest": first, "origin": wire["origin"], "extra": wire["extra"]
    }  # fmt: skip
    return first, "sha256:" + hashlib.sha256(rfc8785.dumps(whole)).hexdigest()


LINE = st.text(st.characters(exclude_categories=("Cs",)), max_size=12)
TURN = st.builds(
    Message,
    role=st.sampled_from(Role),
    parts=st.lists(st.builds(TextPart, text=LINE), max_size=2).map(tuple),
    trained=st.booleans(),
)
TURNS = st.lists(TURN, max_size=3).map(tuple)
CONTENT = st.one_of(
    st.builds(Conversation, messages=TURNS),
    st.builds(Rating, prompt=TURNS, answer=TURNS, label=st.none() | st.booleans(), score=st.none() | st.just("0.5")),
    st.builds(Text, text=LINE),
)
ORIGIN = st.builds(
    Origin, source=LINE, batch=LINE, maker=st.sampled_from(Maker), generation_depth=st.none() | st.just(2)
)
RECORD = st.builds(Record, content=CONTENT, origin=ORIGIN, extra=st.none() | LINE)


@settings(max_examples=60, derandomize=True, deadline=None)
@given(st.lists(RECORD, max_size=3))
def test_equal_to_an_independent_computation_and_to_that_from_lines(found: list[Record]) -> None:
    blob = records.blob(found)
    assert [(records.content_digest(one), records.record_digest(one)) for one in found] == [
        by_hand(one) for one in found
    ]
    assert records.digests(blob) == [records.record_digest(one) for one in found]
    assert list(records.read(blob)) == found


def test_content_digest_is_blind_to_origin_and_nothing_else(make: SimpleNamespace) -> None:
    one = make.chat("Hello")
    moved = one.model_copy(update={"origin": Origin(source="other")})
    assert records.content_digest(one) == records.content_digest(moved)
    assert records.record_digest(one) != records.record_digest(moved)
    assert records.record_digest(one) != records.record_digest(one.model_copy(update={"extra": "{}"}))
    assert records.content_digest(one) != records.content_digest(make.chat("Hello "))


@pytest.mark.parametrize(
    ("blob", "where"),
    [
        (b'{"content":{},"extra":null}\n', "line 1"),
        (b"[]\n", "line 1"),
        (b"{}\n{ }\n", "line 2"),
        (b"{}", "byte 2"),
    ],
)
def test_a_wrong_line_is_named(blob: bytes, where: str) -> None:
    with pytest.raises(BadInput) as caught:
        list(records.parse_lines(blob)) and records.digests(blob)
    assert caught.value.where is not None
    assert caught.value.where.startswith(where)


def test_a_line_that_is_no_record_is_named(make: SimpleNamespace) -> None:
    blob = records.blob(make.varied()) + b'{"content":{"kind":"text"},"extra":null,"origin":{}}\n'
    with pytest.raises(BadInput, match="not a record") as caught:
        list(records.read(blob))
    assert caught.value.where is not None
    assert caught.value.where.startswith("line 4, content")


def test_no_records() -> None:
    assert records.blob([]) == b""
    assert records.digests(b"") == []


def test_a_foreign_object_in_a_record_is_refused() -> None:
    broken = Record.model_construct(content=object(), origin=Origin(), extra=None)
    with pytest.raises(BadInput):
        records.record_digest(broken)


def test_fast_enough_for_a_corpus(make: SimpleNamespace) -> None:
    """The aim is 30,000 records/s of processor time; here a third of it, to hold on any machine."""
    record = make.chat("How do I reset my password? " * 4, "Open the settings, then ... " * 8)
    start = time.process_time()
    for _ in range(3000):
        records.record_digest(record)
    assert 3000 / (time.process_time() - start) > 10_000
