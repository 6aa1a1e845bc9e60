"""Keys: named by their public half, readable by their owner alone, never shown."""

import hashlib
import os
import pickle
import stat
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from goldsmith.trust.keys import KeyRing, PrivateKey, PublicKey
from goldsmith.types.errors import BadInput, Unavailable


def test_a_key_signs_and_its_public_half_checks() -> None:
    key = PrivateKey.generate()
    signature = key.sign(b"words")
    assert len(signature) == 64
    assert key.public.signed(signature, b"words")
    assert not key.public.signed(signature, b"other words")
    assert not key.public.signed(b"short", b"words")
    assert not PrivateKey.generate().public.signed(signature, b"words")
    assert key.keyid == hashlib.sha256(key.public.raw).hexdigest()
    again = PublicKey.from_hex(key.public.hex)
    assert again == key.public
    assert len({again, key.public}) == 1


@pytest.mark.parametrize("passphrase", [None, "correct horse"])
def test_saved_and_loaded(tmp_path: Path, passphrase: str | None) -> None:
    key, path = PrivateKey.generate(), tmp_path / "k.pem"
    key.save(path, passphrase)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert path.read_bytes().startswith(b"-----BEGIN ENCRYPTED" if passphrase else b"-----BEGIN PRIVATE")
    assert PrivateKey.load(path, passphrase).keyid == key.keyid
    with pytest.raises(BadInput, match="passphrase"):
        PrivateKey.load(path, None if passphrase else "something")
    assert [one.name for one in tmp_path.iterdir()] == ["k.pem"]


def test_a_wrong_passphrase_shows_nothing_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "k.pem"
    PrivateKey.generate().save(path, "right")
    with pytest.raises(BadInput) as caught:
        PrivateKey.load(path, "wrong")
    assert path.read_text().splitlines()[1] not in str(caught.value)


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o620, 0o644])
def test_a_key_that_others_can_reach_is_refused(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "k.pem"
    PrivateKey.generate().save(path)
    path.chmod(mode)
    with pytest.raises(BadInput, match="read by others") as caught:
        PrivateKey.load(path)
    assert caught.value.next_step is not None
    assert "chmod 600" in caught.value.next_step


def test_a_key_is_never_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "k.pem"
    PrivateKey.generate().save(path)
    before = path.read_bytes()
    with pytest.raises(BadInput, match="never overwritten"):
        PrivateKey.generate().save(path)
    assert path.read_bytes() == before


def test_files_that_are_no_ed25519_keys(tmp_path: Path) -> None:
    path = tmp_path / "k.pem"
    with pytest.raises(Unavailable, match="no such key"):
        PrivateKey.load(path)
    pem = ec.generate_private_key(ec.SECP256R1()).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    for content in (pem, b"not a key"):
        path.write_bytes(content)
        path.chmod(0o600)
        with pytest.raises(BadInput):
            PrivateKey.load(path)


def test_the_private_half_is_never_shown(tmp_path: Path) -> None:
    key, path = PrivateKey.generate(), tmp_path / "k.pem"
    key.save(path)
    assert repr(key) == f"PrivateKey({key.keyid[:12]}…)"
    assert key.public.hex in repr(key.public)
    with pytest.raises(TypeError):
        pickle.dumps(key)


@pytest.mark.parametrize("text", ["", "00", "zz" * 32, "AB" * 32, "0" * 63])
def test_public_keys_have_one_form(text: str) -> None:
    with pytest.raises(BadInput):
        PublicKey.from_hex(text)
    assert PublicKey(b"\x00" * 32) != text
    with pytest.raises(BadInput):
        PublicKey(b"\x00" * 31)


def test_a_ring_is_a_private_folder(tmp_path: Path) -> None:
    ring = KeyRing(tmp_path / "ring", passphrase="p")
    assert ring.names() == []
    assert ring.find("0") is None
    first, second = ring.create("first"), ring.create("second")
    assert stat.S_IMODE(ring.folder.stat().st_mode) == 0o700
    fresh = KeyRing(tmp_path / "ring", passphrase="p")
    assert fresh.names() == ["first", "second"]
    assert fresh.get("first").keyid == first.keyid
    found = fresh.find(second.keyid)
    assert found is not None
    assert found.keyid == second.keyid
    assert fresh.find("0" * 64) is None
    for name in ("../escape", "", ".hidden", "a/b", "a" * 65, "a\n"):
        with pytest.raises(BadInput):
            ring.create(name)
    with pytest.raises(BadInput):
        ring.create("first")


def test_a_ring_key_that_others_can_read_is_refused(tmp_path: Path) -> None:
    ring = KeyRing(tmp_path / "ring")
    ring.create("first")
    os.chmod(ring.folder / "first.pem", 0o644)
    with pytest.raises(BadInput):
        KeyRing(ring.folder).find("0")
