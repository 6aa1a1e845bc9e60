"""DSSE envelopes (Dead Simple Signing Envelope v1) with Ed25519, through securesystemslib, in one encoding
only.

An envelope is stored as canonical JSON; its base64 is checked strictly, it has no other fields than DSSE's,
its signatures are sorted by key, and every one of them has to hold. So an envelope has no byte that could
be changed without anyone noticing.
"""

import base64
import binascii
from collections.abc import Mapping, Sequence

from securesystemslib.dsse import Envelope
from securesystemslib.exceptions import VerificationError
from securesystemslib.signer import Signature  # type: ignore[attr-defined]

from goldsmith.trust import canonical
from goldsmith.trust.keys import PrivateKey, PublicKey
from goldsmith.types.errors import BadInput, Forged


def seal(payload: bytes, payload_type: str, signers: Sequence[PrivateKey]) -> bytes:
    """`payload`, signed by each of `signers`, as canonical JSON."""
    envelope = Envelope(payload, payload_type, {})
    for key in sorted(signers, key=lambda one: one.keyid):
        envelope.sign(key.signer())
    return canonical.encode(envelope.to_dict())


def parse(data: bytes) -> Envelope:
    """The envelope in `data`, its signatures not yet checked. Errors: BadInput if any byte is not as `seal`
    writes it."""
    fields = canonical.load(data)
    _require_fields(fields, {"payload", "payloadType", "signatures"}, "envelope")
    if not isinstance(fields["payloadType"], str) or not isinstance(fields["signatures"], list):
        raise BadInput("this is not a DSSE envelope", where="envelope", allowed="payloadType text, signatures list")
    signatures: dict[str, Signature] = {}
    for entry in fields["signatures"]:
        _require_fields(entry, {"keyid", "sig"}, "signature")
        keyid = entry["keyid"]
        if not isinstance(keyid, str) or (signatures and keyid <= max(signatures)):
            raise BadInput("signatures are not sorted by key, each key once", where="signature", found=keyid)
        signatures[keyid] = Signature(keyid, strict_base64(entry["sig"], "sig").hex())
    return Envelope(strict_base64(fields["payload"], "payload"), fields["payloadType"], signatures)


def _require_fields(fields: object, names: set[str], where: str) -> None:
    if not isinstance(fields, dict) or set(fields) != names:
        found = sorted(fields) if isinstance(fields, dict) else type(fields).__name__
        raise BadInput("this is not a DSSE envelope", where=where, found=found, allowed=", ".join(sorted(names)))


def strict_base64(text: object, where: str) -> bytes:
    """Standard base64 (RFC 4648 section 4) in its one canonical form. Errors: BadInput."""
    try:
        if isinstance(text, str):
            data = base64.b64decode(text.encode("ascii"), validate=True)
            if base64.b64encode(data).decode() == text:
                return data
    except (binascii.Error, ValueError):
        pass
    raise BadInput("this is not base64 in its canonical form", where=where, found=repr(text)[:80])


def verify(envelope: Envelope, payload_type: str, keys: Mapping[str, PublicKey]) -> list[str]:
    """Check the type and *every* signature; the ids of the keys that signed, sorted.

    `keys`: the keys that may sign, by id. Errors: Forged if there is no signature, one by another key, or
    one that does not hold.
    """
    if envelope.payload_type != payload_type:
        raise Forged("this envelope holds another type", found=envelope.payload_type, allowed=payload_type)
    if not envelope.signatures:
        raise Forged("nobody signed this", allowed="a signature by a key of the trust root")
    for keyid in envelope.signatures:
        if keyid not in keys:
            raise Forged(
                "this is signed by a key that the trust root does not know",
                found=f"keyid {keyid[:80]}",
                next_step="have the key added to the trust root, or refuse what it signed",
            )
    signed = sorted(envelope.signatures)
    try:
        envelope.verify([keys[keyid].for_envelopes() for keyid in signed], len(signed))
    except VerificationError as error:
        raise Forged("a signature does not hold", found=f"keyid {', '.join(signed)}") from error
    return signed
