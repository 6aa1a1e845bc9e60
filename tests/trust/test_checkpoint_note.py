"""Checkpoints: C2SP signed notes, checked against the format's published example and an independent verifier."""

import base64
import hashlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from goldsmith.trust import note
from goldsmith.trust.keys import PrivateKey, PublicKey
from goldsmith.trust.note import Checkpoint
from goldsmith.types.errors import BadInput, Forged, GoldsmithError

KEY = PrivateKey.generate()
HEAD = Checkpoint("goldsmith.local/demo/0123", 42, hashlib.sha256(b"root").digest())
TEXT = note.sign(HEAD, KEY)


def test_published_signed_note() -> None:
    """The example of golang.org/x/mod/sumdb/note."""
    public = PublicKey(base64.b64decode("ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW")[1:])
    text = (
        "If you think cryptography is the answer to your problem,\n"
        "then you don't know what your problem is.\n"
    )  # fmt: skip
    signature = base64.b64decode(
        "x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM="
    )
    assert note.key_id("PeterNeumann", public).hex() == "c74f20a3"
    assert signature[:4] == note.key_id("PeterNeumann", public)
    assert public.signed(signature[4:], text.encode())


def test_the_form() -> None:
    lines = TEXT.split("\n")
    assert lines[:4] == [HEAD.origin, "42", base64.b64encode(HEAD.root).decode(), ""]
    assert lines[4].startswith(f"— {HEAD.origin} ")
    assert lines[5:] == [""]
    signature = base64.b64decode(lines[4].split(" ")[2])
    expected = hashlib.sha256(HEAD.origin.encode() + b"\n\x01" + KEY.public.raw).digest()[:4]
    assert signature[:4] == expected
    assert KEY.public.signed(signature[4:], TEXT.split("\n\n")[0].encode() + b"\n")


def test_verified() -> None:
    assert note.verify(TEXT, HEAD.origin, [PrivateKey.generate().public, KEY.public]) == HEAD
    assert note.sole(HEAD, TEXT) == TEXT
    with pytest.raises(Forged, match="another ledger"):
        note.verify(TEXT, "elsewhere", [KEY.public])
    with pytest.raises(Forged, match="not signed"):
        note.verify(TEXT, HEAD.origin, [PrivateKey.generate().public])
    with pytest.raises(Forged, match="not signed"):
        note.verify(TEXT, HEAD.origin, [])


def test_witnesses_may_add_their_lines() -> None:
    witness = "— witness.example/w " + base64.b64encode(b"1234" + b"s" * 72).decode() + "\n"
    assert note.verify(TEXT + witness, HEAD.origin, [KEY.public]) == HEAD
    with pytest.raises(Forged):
        note.verify(TEXT.split("\n\n")[0] + "\n\n" + witness, HEAD.origin, [KEY.public])


@settings(max_examples=200, derandomize=True, deadline=None)
@given(st.data())
def test_any_single_changed_character_is_refused(data: st.DataObject) -> None:
    place = data.draw(st.integers(0, len(TEXT) - 1))
    other = data.draw(st.characters(codec="utf-8").filter(lambda one: one != TEXT[place]))
    with pytest.raises(GoldsmithError):
        note.verify(TEXT[:place] + other + TEXT[place + 1 :], HEAD.origin, [KEY.public])


@pytest.mark.parametrize(
    "text",
    [
        "", "a\n1\n", "\n\n\n\n", TEXT[:-1], TEXT.replace("\n42\n", "\n042\n"), TEXT.replace("\n42\n", "\n-1\n"),
        TEXT.replace("\n\n", "\nextension\n\n"), TEXT.replace("—", "-"), TEXT + "junk\n",
        f"o\n1\n{base64.b64encode(b'short').decode()}\n\n— o QUFB\n", "o o\n" + TEXT.split("\n", 1)[1],
    ],
)  # fmt: skip
def test_other_forms_are_refused(text: str) -> None:
    with pytest.raises(BadInput):
        note.parse(text)


@pytest.mark.parametrize("origin", ["", "two words", "a+b", "ü", "a\nb"])
def test_origins_that_cannot_be(origin: str) -> None:
    with pytest.raises(BadInput):
        note.sign(Checkpoint(origin, 0, HEAD.root), KEY)
