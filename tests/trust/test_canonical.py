"""Canonical bytes: equal to RFC 8785 where defined, refused where not, and never silently different."""

import json
from enum import StrEnum
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import pytest
import rfc8785
from hypothesis import given, settings
from hypothesis import strategies as st

from goldsmith.trust import canonical
from goldsmith.types.artifact import Frozen, Real, Spec
from goldsmith.types.errors import BadInput, Unavailable
from goldsmith.types.lineage import LeftOut

LIMIT = 2**53 - 1
TEXT = st.text(st.characters(exclude_categories=("Cs",)), max_size=20)
KEY = st.text(st.characters(max_codepoint=127), max_size=8)
ATOM = st.one_of(st.none(), st.booleans(), st.integers(-LIMIT, LIMIT), TEXT)
VALUE = st.recursive(
    ATOM, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEY, inner, max_size=4), max_leaves=20
)
PROPERTY = settings(max_examples=150, derandomize=True, deadline=None)


@PROPERTY
@given(VALUE)
def test_equals_rfc8785_and_reads_back(value: Any) -> None:
    data = canonical.encode(value)
    assert data == rfc8785.dumps(value)
    assert canonical.load(data) == value
    assert canonical.read_json(data) == value


@PROPERTY
@given(VALUE)
def test_any_other_encoding_is_refused(value: Any) -> None:
    data = canonical.encode(value)
    for other in (
        json.dumps(value, indent=1),
        json.dumps(value, sort_keys=False, ensure_ascii=True),
        f" {data.decode()}",
    ):
        if other.encode() != data:
            with pytest.raises(BadInput):
                canonical.load(other.encode())


@pytest.mark.parametrize(
    "data",
    [b'{"a":1,"a":1}', b'{"b":1,"a":2}', b'"\\u0041"', b"1\n", b"1.0", b"1e2", b"NaN", b"-0", b"9007199254740992", b"",
     b"[1",     b'{"\xc3\xa9":1}', b"\xff"],
)  # fmt: skip
def test_noncanonical_bytes_are_refused(data: bytes) -> None:
    with pytest.raises(BadInput):
        canonical.load(data)


class _Word(str):
    pass


class _Choice(StrEnum):
    A = "a"


@pytest.mark.parametrize(
    ("value", "path"),
    [
        (1.0, "$"),
        ({"a": [0, 0, 0, float("nan")]}, "$.a[3]"),
        ({"a": {"b": b"x"}}, "$.a.b"),
        ([LIMIT + 1], "$[0]"),
        ([-LIMIT - 1], "$[0]"),
        ({"a": "\ud800"}, "$.a"),
        ([{"x": ["fine", "\udfff"]}], "$[0].x[1]"),
        ("\udc00", "$"),
        ({"é": 1}, "$"),
        ({1: 1}, "$"),
        ([{"s"}], "$[0]"),
        ([_Word("x")], "$[0]"),
        ([_Choice.A], "$[0]"),
        ([object()], "$[0]"),
    ],
)
def test_what_is_outside_the_domain_is_named_by_its_path(value: Any, path: str) -> None:
    with pytest.raises(BadInput) as caught:
        canonical.encode(value)
    assert caught.value.where == path
    assert caught.value.allowed is not None


def test_nesting_is_bounded() -> None:
    value: Any = 0
    for _ in range(99):
        value = [value]
    assert canonical.load(canonical.encode(value)) == value
    for _ in range(5):
        value = [value]
    with pytest.raises(BadInput, match="deeper"):
        canonical.encode(value)
    with pytest.raises(BadInput):
        canonical.load(b"[" * 5000 + b"]" * 5000)


def test_tuples_are_lists() -> None:
    assert canonical.encode((1, ("a",))) == b'[1,["a"]]'


@pytest.mark.parametrize(
    ("data", "why"),
    [
        ('{"a": 1, "b": {"c": 1, "c": 2}}', "'c' appears twice"),
        ("[NaN]", "NaN"),
        ("[-Infinity]", "Infinity"),
        ("[1e999]", "too large"),
        ("[9007199254740992]", "beyond"),
        ('"\\ud800"', "surrogate"),
        ('{"\\udc00": 1}', "surrogate"),
        ('["\ud800"]', "surrogate"),
        ("{} {}", "not JSON"),
        ("", "not JSON"),
        (b"\xff\xfe", "UTF-8"),
        (b"\xef\xbb\xbf{}", "byte order mark"),
        ("[" * 100_000, "nested"),
        ("[" + "9" * 5000 + "]", "5000 digits"),
    ],
)
def test_foreign_json_that_could_be_read_in_two_ways_is_refused(data: bytes | str, why: str) -> None:
    with pytest.raises(BadInput, match=why):
        canonical.read_json(data, where="feedback.jsonl line 3")


def test_a_syntax_error_names_file_line_and_column() -> None:
    with pytest.raises(BadInput) as caught:
        canonical.read_json('{"a":\n  oops}', where="rows.jsonl")
    assert caught.value.where == "rows.jsonl, line 2 column 3"


def test_foreign_json_keeps_what_is_legal() -> None:
    text = '{"é": [1.5, -2e3, true, null], "pair": "\\ud83d\\ude00 Ü"}'
    assert canonical.read_json(text) == {"é": [1.5, -2000.0, True, None], "pair": "\U0001f600 Ü"}
    assert canonical.read_json("[12345678901234567890]", big_integers="keep") == [12345678901234567890]
    assert canonical.read_json("9007199254740991") == LIMIT
    with pytest.raises(BadInput):
        canonical.read_json("[" + "9" * 500 + "]", big_integers="keep")


def test_digests() -> None:
    assert canonical.digest(b"abc") == "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert canonical.raw(canonical.digest(b"abc")).hex() == canonical.digest(b"abc")[7:]
    for wrong in ("sha256:AB", "md5:" + "0" * 64, "0" * 64, "sha256:" + "0" * 64 + "\n"):
        assert not canonical.is_digest(wrong)
        with pytest.raises(BadInput):
            canonical.raw(wrong)


def test_file_digest(tmp_path: Path) -> None:
    path = tmp_path / "f"
    path.write_bytes(b"abc")
    assert canonical.file_digest(path) == canonical.digest(b"abc")
    with pytest.raises(Unavailable):
        canonical.file_digest(tmp_path / "none")


LEFT = LeftOut(record="sha256:" + "0" * 64, source="a", batch="b", line=1, reason="r")


def test_golden_artifact() -> None:
    assert canonical.artifact_bytes(LEFT) == (
        b'{"batch":"b","line":1,"reason":"r","record":"sha256:'
        + b"0" * 64
        + b'","schema":"goldsmith.left_out/v1","source":"a"}'
    )
    assert canonical.artifact_digest(LEFT) == "sha256:8acb2c652575ab0a4369fa2d73d54339d993424cabf268130e513e26e493c23b"
    assert canonical.read_artifact(canonical.artifact_bytes(LEFT), LeftOut) == LEFT


class Reading(Frozen):
    """A value with a float, which is written as text."""

    share: Real
    many: tuple[int, ...] = ()


def test_reals_are_text() -> None:
    reading = Reading(share=0.1, many=(1, 2))
    assert canonical.artifact_bytes(reading) == b'{"many":[1,2],"schema":"goldsmith.reading/v1","share":"0.1"}'
    assert canonical.read_artifact(canonical.artifact_bytes(reading), Reading) == reading


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b'{"many":[],"schema":"goldsmith.other/v1","share":"0.1"}', "another kind"),
        (b'{"many":[],"share":"0.1"}', "another kind"),
        (b"[]", "another kind"),
        (b'{"many":[],"schema":"goldsmith.reading/v1"}', "Field required"),
        (b'{"many":[],"schema":"goldsmith.reading/v1","share":"0.10"}', "not its own"),
        (b'{"many":["1"],"schema":"goldsmith.reading/v1","share":"0.1"}', "not its own"),
        (b'{"schema":"goldsmith.reading/v1","share":"0.1"}', "not its own"),
        (b'{"many":[],"schema":"goldsmith.reading/v1","share":"nan"}', "finite"),
        (b'{"many": [],"schema":"goldsmith.reading/v1","share":"0.1"}', "canonical"),
    ],
)
def test_an_artifact_has_one_encoding(data: bytes, why: str) -> None:
    with pytest.raises(BadInput, match=why):
        canonical.read_artifact(data, Reading)


def test_schema_in() -> None:
    assert canonical.schema_in(canonical.artifact_bytes(LEFT)) == "goldsmith.left_out/v1"
    for data in (b"", b"[]", b"{", b"{}", b'{"schema":1}', b"weights"):
        assert canonical.schema_in(data) is None


class Inner(Frozen):
    depth: int = 2


class Caps(Spec):
    """A capability with every kind of setting."""

    id: ClassVar[str] = "caps"
    version: ClassVar[int] = 3
    rate: float = 1e-05
    names: frozenset[str] = frozenset({"b", "a"})
    table: dict[str, float] = {"x": 0.5}  # noqa: RUF012
    inner: Inner = Inner()
    choice: _Choice = _Choice.A
    where: Path = Path("a/b")
    order: tuple[int, ...] = (2, 1)


def test_a_capability_is_its_id_version_and_settings() -> None:
    assert json.loads(canonical.spec_text(Caps())) == {
        "id": "caps", "schema": "goldsmith.spec/v1", "version": 3,
        "settings": {
            "rate": "1e-05", "names": ["a", "b"], "table": {"x": "0.5"}, "inner": {"depth": 2}, "choice": "a",
            "where": "a/b", "order": [2, 1],
        },
    }  # fmt: skip
    assert canonical.spec_digest(Caps()) == canonical.spec_digest(Caps(rate=0.00001))
    assert canonical.spec_digest(Caps()) != canonical.spec_digest(Caps(rate=0.0001))


def test_models_outside_the_domain_are_refused(make: SimpleNamespace) -> None:
    with pytest.raises(BadInput):
        canonical.encode_models({"a": object()}, lambda value: (_ for _ in ()).throw(TypeError("no")))
