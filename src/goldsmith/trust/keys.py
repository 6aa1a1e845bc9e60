"""Ed25519 keys (RFC 8032): made, kept in files only their owner can read, and named by the hash of their
public half.

The private half never appears in a message, a log or a `repr`.
"""

import hashlib
import os
import re
import stat
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    KeySerializationEncryption,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)
from securesystemslib.signer import CryptoSigner, SSlibKey  # type: ignore[attr-defined]

from goldsmith.trust import durable
from goldsmith.types.errors import BadInput, Unavailable

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


class PublicKey:
    """The public half: 32 bytes that check signatures. `keyid` is the SHA-256 of those bytes, in hex."""

    def __init__(self, raw: bytes) -> None:
        if len(raw) != 32:
            raise BadInput("an Ed25519 public key has 32 bytes", found=f"{len(raw)} bytes")
        self.raw = raw
        self.keyid = hashlib.sha256(raw).hexdigest()

    @classmethod
    def from_hex(cls, text: str) -> "PublicKey":
        """From 64 lower-case hex digits. Errors: BadInput."""
        if re.fullmatch(r"[0-9a-f]{64}", text) is None:
            raise BadInput("this is not a public key", found=repr(text)[:80], allowed="64 lower-case hex digits")
        return cls(bytes.fromhex(text))

    @property
    def hex(self) -> str:
        return self.raw.hex()

    def signed(self, signature: bytes, message: bytes) -> bool:
        """Whether `signature` is this key's over `message`."""
        try:
            Ed25519PublicKey.from_public_bytes(self.raw).verify(signature, message)
        except (InvalidSignature, ValueError):
            return False
        return True

    def for_envelopes(self) -> SSlibKey:
        """The same key as securesystemslib holds it."""
        return SSlibKey(self.keyid, "ed25519", "ed25519", {"public": self.hex})

    def __eq__(self, other: object) -> bool:
        return isinstance(other, PublicKey) and other.raw == self.raw

    def __hash__(self) -> int:
        return hash(self.raw)

    def __repr__(self) -> str:
        return f"PublicKey({self.hex})"


class PrivateKey:
    """The private half. `repr` shows the key's name alone."""

    def __init__(self, secret: Ed25519PrivateKey) -> None:
        self._secret = secret
        self.public = PublicKey(secret.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw))

    @classmethod
    def generate(cls) -> "PrivateKey":
        """A new key from the system's randomness."""
        return cls(Ed25519PrivateKey.generate())

    @property
    def keyid(self) -> str:
        return self.public.keyid

    def sign(self, message: bytes) -> bytes:
        """The signature over `message`, 64 bytes."""
        return self._secret.sign(message)

    def signer(self) -> CryptoSigner:
        """The same key as securesystemslib signs with it."""
        return CryptoSigner(self._secret, self.public.for_envelopes())

    def save(self, path: str | os.PathLike[str], passphrase: str | None = None) -> None:
        """Write PKCS#8 PEM readable by its owner only (0600), encrypted where a passphrase is given.

        Errors: BadInput if there is a file already: a key is never overwritten. Unavailable on a full disk.
        """
        path = Path(path)
        if path.exists() or path.is_symlink():
            raise BadInput("there is a file in the new key's place; keys are never overwritten", where=str(path))
        lock: KeySerializationEncryption = NoEncryption()
        if passphrase is not None:
            lock = BestAvailableEncryption(passphrase.encode())
        pem = self._secret.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, lock)
        durable.write(path, pem, partial=path.parent, mode=0o600)

    @classmethod
    def load(cls, path: str | os.PathLike[str], passphrase: str | None = None) -> "PrivateKey":
        """Read a key file. Errors: Unavailable if it is not there; BadInput if others can read it, if the
        passphrase is missing or wrong, or if it holds no Ed25519 key."""
        path = Path(path)
        try:
            mode = stat.S_IMODE(path.stat().st_mode)
            if mode & 0o077:
                raise BadInput(
                    "this private key can be read by others, so it proves nothing",
                    where=str(path),
                    found=f"mode {mode:04o}",
                    allowed="mode 0600",
                    next_step=f"chmod 600 {path}; replace the key if others may have copied it",
                )
            pem = path.read_bytes()
        except OSError as error:
            raise Unavailable(
                "there is no such key",
                where=str(path),
                found=error.strerror,
                next_step="name the folder that holds the keys, or make one with KeyRing.create",
            ) from error
        try:
            secret = load_pem_private_key(pem, None if passphrase is None else passphrase.encode())
        except (ValueError, TypeError) as error:
            # The library's own words are not passed on: they could quote the file.
            raise BadInput(
                "this key cannot be opened: wrong or missing passphrase, or not a PEM private key",
                where=str(path),
            ) from error.with_traceback(None)
        if not isinstance(secret, Ed25519PrivateKey):
            raise BadInput("this is not an Ed25519 key", where=str(path), found=type(secret).__name__)
        return cls(secret)

    def __repr__(self) -> str:
        return f"PrivateKey({self.keyid[:12]}…)"

    def __reduce__(self) -> str:
        raise TypeError("a private key is not copied into other formats")


class KeyRing:
    """A folder of private keys, outside every workspace, one `NAME.pem` each; the folder is readable by its
    owner only."""

    def __init__(self, folder: str | os.PathLike[str], passphrase: str | None = None) -> None:
        self.folder = Path(folder)
        self._passphrase = passphrase
        self._loaded: dict[str, PrivateKey] = {}

    def _path(self, name: str) -> Path:
        if _NAME.fullmatch(name) is None:
            raise BadInput("this cannot be a key's name", found=ascii(name)[:80], allowed=_NAME.pattern)
        return self.folder / f"{name}.pem"

    def create(self, name: str) -> PrivateKey:
        """Make and save a key. Errors: BadInput if the name is taken."""
        path = self._path(name)
        durable.make_folder(self.folder, mode=0o700)
        key = PrivateKey.generate()
        key.save(path, self._passphrase)
        self._loaded[name] = key
        return key

    def get(self, name: str) -> PrivateKey:
        """The key of this name. Errors as in `PrivateKey.load`."""
        if name not in self._loaded:
            self._loaded[name] = PrivateKey.load(self._path(name), self._passphrase)
        return self._loaded[name]

    def names(self) -> list[str]:
        """The names of the keys in the folder, sorted."""
        return sorted(path.stem for path in self.folder.glob("*.pem")) if self.folder.is_dir() else []

    def find(self, keyid: str) -> PrivateKey | None:
        """The key with this id, if the folder holds it."""
        return next((key for key in map(self.get, self.names()) if key.keyid == keyid), None)
