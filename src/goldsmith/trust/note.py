"""Checkpoints as C2SP tlog-checkpoint: the head of a ledger as a signed note with Ed25519.

::

    <origin>
    <size>
    <base64 of the root>

    — <origin> <base64 of key id (4 bytes) || signature (64 bytes)>
"""

import base64
import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass

from goldsmith.trust import envelope
from goldsmith.trust.keys import PrivateKey, PublicKey
from goldsmith.types.errors import BadInput, Forged

_ED25519 = b"\x01"
_ORIGIN = re.compile(r"[!-*,-~]{1,200}")
_SIZE = re.compile(r"0|[1-9][0-9]{0,15}")
_DASH = "—"
_SIGNATURE = re.compile(_DASH + r" ([^\s+]+) ([A-Za-z0-9+/=]+)")


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """`size` leaves of the log `origin` have this `root` (32 bytes)."""

    origin: str
    size: int
    root: bytes

    def body(self) -> bytes:
        """What is signed."""
        return f"{self.origin}\n{self.size}\n{base64.b64encode(self.root).decode()}\n".encode()


def key_id(name: str, key: PublicKey) -> bytes:
    """The 4-byte key id of a signed note: SHA-256(name || newline || 0x01 || public key)[:4]."""
    return hashlib.sha256(name.encode() + b"\n" + _ED25519 + key.raw).digest()[:4]


def sign(checkpoint: Checkpoint, key: PrivateKey) -> str:
    """The checkpoint as a signed note. Errors: BadInput if the origin has spaces, a plus or other than
    ASCII."""
    if _ORIGIN.fullmatch(checkpoint.origin) is None:
        raise BadInput("this cannot be a log's origin", found=ascii(checkpoint.origin)[:80], allowed=_ORIGIN.pattern)
    signature = key_id(checkpoint.origin, key.public) + key.sign(checkpoint.body())
    line = f"{_DASH} {checkpoint.origin} {base64.b64encode(signature).decode()}\n"
    return checkpoint.body().decode() + "\n" + line


def parse(text: str) -> tuple[Checkpoint, list[bytes]]:
    """The checkpoint and the signatures (key id || signature) made in its origin's name, none of them
    checked yet.

    Lines signed by others (witnesses) are legal and left out. Errors: BadInput for anything that is not a
    checkpoint.
    """
    body, blank, tail = text.partition("\n\n")
    lines = body.split("\n")
    if not blank or len(lines) != 3 or not tail.endswith("\n"):
        raise BadInput("this is not a checkpoint", found=ascii(text[:60]), allowed="a C2SP tlog-checkpoint")
    origin, size, root = lines
    if _ORIGIN.fullmatch(origin) is None or _SIZE.fullmatch(size) is None:
        raise BadInput("this is not a checkpoint", found=ascii(f"{origin} {size}")[:120], allowed="origin, size, root")
    checkpoint = Checkpoint(origin, int(size), envelope.strict_base64(root, "root"))
    if len(checkpoint.root) != 32:
        raise BadInput(
            "this is not a checkpoint",
            where="root",
            found=f"{len(checkpoint.root)} bytes",
            allowed="32 bytes",
        )
    signatures = []
    for line in tail[:-1].split("\n"):
        match = _SIGNATURE.fullmatch(line)
        if match is None:
            raise BadInput("this is not a checkpoint", where="signature", found=ascii(line[:60]))
        signature = envelope.strict_base64(match[2], "signature")
        if match[1] == origin:
            signatures.append(signature)
    return checkpoint, signatures


def verify(text: str, origin: str, keys: Iterable[PublicKey]) -> Checkpoint:
    """The checkpoint, if one of `keys` signed it for this log. Errors: Forged; BadInput for another form."""
    checkpoint, signatures = parse(text)
    if checkpoint.origin != origin:
        raise Forged("this checkpoint is of another ledger", found=checkpoint.origin, allowed=origin)
    for key in keys:
        for signature in signatures:
            if key_id(origin, key) == signature[:4] and key.signed(signature[4:], checkpoint.body()):
                return checkpoint
    raise Forged(
        "this checkpoint is not signed by an operator's key of the trust root",
        where=f"size {checkpoint.size}",
    )


def sole(checkpoint: Checkpoint, text: str) -> str:
    """The one encoding of a checkpoint that carries just one signature, the first of `text`'s own."""
    signature = parse(text)[1][0]
    line = f"{_DASH} {checkpoint.origin} {base64.b64encode(signature).decode()}\n"
    return checkpoint.body().decode() + "\n" + line
