"""Statements and envelopes: an independent verifier agrees, and nothing can be changed, added or said without right."""

import base64
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from hypothesis import given, settings
from hypothesis import strategies as st
from securesystemslib.dsse import Envelope

from goldsmith.trust import attest, canonical, envelope, root
from goldsmith.trust.keys import PrivateKey
from goldsmith.trust.root import TrustRoot
from goldsmith.types.errors import BadInput, Forged, GoldsmithError

SUBJECT = canonical.digest(b"subject")
WHEN = "2026-03-01T12:00:00Z"


def statement_of(party: Any, name: str = "release", **changes: Any) -> bytes:
    role = changes.pop("role", "operator")
    key = changes.pop("key", None) or party.ring.get(role)
    content = changes.pop("content", {"note": "Grüße"})
    return attest.sign(name, {"thing": SUBJECT}, content, key, role=role, **{"issued_at": WHEN, **changes})


def test_signed_and_verified(party: Any) -> None:
    data = statement_of(party)
    found = attest.verify(data, party.trust_root)
    assert found.predicate_type == "release"
    assert dict(found.subjects) == {"thing": SUBJECT}
    assert found.predicate == {"note": "Grüße"}
    assert (found.role, found.source, found.issued_at) == ("operator", None, WHEN)
    assert found.keyid == party.ring.get("operator").keyid
    assert found.digest == canonical.digest(data)
    assert found.self_attested is False


def test_an_independent_verifier_agrees(party: Any) -> None:
    """DSSE v1 and in-toto Statement v1 with nothing but json, base64 and Ed25519."""
    fields = json.loads(statement_of(party))
    payload = base64.standard_b64decode(fields["payload"])
    kind = fields["payloadType"].encode()
    assert kind == b"application/vnd.in-toto+json"
    message = b"DSSEv1 %d %s %d %s" % (len(kind), kind, len(payload), payload)
    (signature,) = fields["signatures"]
    public = next(key.public for key in party.trust_root.keys if key.keyid == signature["keyid"])
    Ed25519PublicKey.from_public_bytes(bytes.fromhex(public)).verify(base64.b64decode(signature["sig"]), message)
    statement = json.loads(payload)
    assert statement["_type"] == "https://in-toto.io/Statement/v1"
    assert statement["predicateType"] == "https://goldsmith.dev/release/v1"
    assert statement["subject"] == [{"name": "thing", "digest": {"sha256": SUBJECT[7:]}}]


def test_dsse_published_pre_authentication_encoding() -> None:
    held = Envelope(b"hello world", "http://example.com/HelloWorld", {})
    assert held.pae() == b"DSSEv1 29 http://example.com/HelloWorld 11 hello world"


@settings(max_examples=120, derandomize=True, deadline=None)
@given(st.data())
def test_any_single_changed_byte_is_refused(shared_party: Any, data: st.DataObject) -> None:
    sealed = statement_of(shared_party)
    place = data.draw(st.integers(0, len(sealed) - 1))
    other = data.draw(st.integers(0, 255).filter(lambda one: one != sealed[place]))
    with pytest.raises(GoldsmithError):
        attest.verify(sealed[:place] + bytes([other]) + sealed[place + 1 :], shared_party.trust_root)


@pytest.fixture(scope="module")
def shared_party(tmp_path_factory: pytest.TempPathFactory, make: SimpleNamespace) -> Any:
    return make.party(tmp_path_factory.mktemp("party") / "keys")


@pytest.mark.parametrize(
    ("name", "roles"), [(name, roles) for name, roles in attest.ROLES.items() if name != "verdict"]
)
def test_each_type_is_for_its_roles_alone(party: Any, name: str, roles: frozenset[root.KeyRole]) -> None:
    for role in root.KeyRole:
        source = "acme" if role is root.KeyRole.SOURCE else None
        key = party.ring.get("source-acme" if source else role)
        if role in roles:
            assert (
                attest.verify(statement_of(party, name, role=role, key=key, source=source), party.trust_root).role
                == role
            )
        else:
            with pytest.raises(BadInput, match="may not state"):
                statement_of(party, name, role=role, key=key, source=source)


def test_a_promotion_is_the_promoters_alone(party: Any) -> None:
    promotion, gate = {"gate": "promotion"}, {"gate": "release"}
    assert attest.verify(statement_of(party, "verdict", role="promoter", content=promotion), party.trust_root)
    assert attest.verify(statement_of(party, "verdict", role="operator", content=gate), party.trust_root)
    with pytest.raises(BadInput, match="may not state"):
        statement_of(party, "verdict", role="operator", content=promotion)
    for content in ({}, {"gate": "other"}):
        with pytest.raises(BadInput, match="names its gate"):
            statement_of(party, "verdict", role="promoter", content=content)


def test_a_key_without_the_role_is_forged(party: Any) -> None:
    data = statement_of(party, "run", role="trainer", key=party.ring.get("operator"))
    with pytest.raises(Forged, match="has not the role trainer"):
        attest.verify(data, party.trust_root)


@pytest.mark.parametrize("when", ["2025-12-31T23:59:59Z", "2099-01-01T00:00:00Z"])
def test_outside_the_keys_window_is_forged(party: Any, when: str) -> None:
    with pytest.raises(Forged, match="not valid then") as caught:
        attest.verify(statement_of(party, issued_at=when), party.trust_root)
    assert caught.value.found == when


def test_another_source_is_forged(party: Any) -> None:
    key = party.ring.get("source-acme")
    assert attest.verify(statement_of(party, "delivery", role="source", key=key, source="acme"), party.trust_root)
    with pytest.raises(Forged, match="may not speak for"):
        attest.verify(statement_of(party, "delivery", role="source", key=key, source="vendor"), party.trust_root)
    with pytest.raises(BadInput, match="names the source"):
        statement_of(party, "delivery", role="source", key=key)
    with pytest.raises(BadInput, match="names the source"):
        statement_of(party, source="acme")


def test_an_unknown_key_is_forged(party: Any) -> None:
    with pytest.raises(Forged, match="does not know"):
        attest.verify(statement_of(party, key=PrivateKey.generate()), party.trust_root)


def test_the_self_attested_mark_is_the_roots(party: Any) -> None:
    local = TrustRoot.model_validate({**party.trust_root.model_dump(), "self_attested": True})
    assert attest.verify(statement_of(party, self_attested=True), local).self_attested
    for data, held in ((statement_of(party), local), (statement_of(party, self_attested=True), party.trust_root)):
        with pytest.raises(Forged, match="selfAttested"):
            attest.verify(data, held)
    unmarked = statement_of(
        party, "delivery", role="source", key=party.ring.get("source-acme"), source="acme", self_attested=None
    )
    assert attest.verify(unmarked, local).self_attested


def test_what_cannot_be_signed(party: Any) -> None:
    with pytest.raises(BadInput, match="no such predicate"):
        statement_of(party, "rumour")
    with pytest.raises(BadInput, match="about something"):
        attest.sign("release", {}, {}, party.ring.get("operator"), role="operator")
    with pytest.raises(BadInput) as caught:
        statement_of(party, content={"loss": 0.5})
    assert caught.value.where == "$.predicate.content.loss"


def resealed(party: Any, change: Any, key: PrivateKey | None = None) -> bytes:
    """A statement with its payload changed and signed again by the right key."""
    payload = json.loads(envelope.parse(statement_of(party)).payload)
    change(payload)
    return envelope.seal(canonical.encode(payload), attest.PAYLOAD_TYPE, [key or party.ring.get("operator")])


@pytest.mark.parametrize(
    "change",
    [
        lambda one: one.update(extra=1),
        lambda one: one.pop("_type"),
        lambda one: one.update(_type="https://in-toto.io/Statement/v0.1"),
        lambda one: one.update(predicateType="https://example.com/x"),
        lambda one: one.update(subject=[]),
        lambda one: one.update(subject=one["subject"] * 2),
        lambda one: one.update(subject="x"),
        lambda one: one["subject"][0].update(uri="x"),
        lambda one: one["subject"][0]["digest"].update(sha256="AB" * 32),
        lambda one: one["subject"][0]["digest"].update(sha512="0"),
        lambda one: one["predicate"].pop("issuedAt"),
        lambda one: one["predicate"].update(issuedAt="now"),
        lambda one: one["predicate"].update(issuedAt=5),
        lambda one: one["predicate"].update(selfAttested=0),
        lambda one: one["predicate"].update(selfAttested=None),
        lambda one: one["predicate"].update(more=1),
        lambda one: one["predicate"].update(content=[]),
        lambda one: one["predicate"].update(source=1),
        lambda one: one["predicate"].update(source="acme"),
        lambda one: one["predicate"].update(role="trainer"),
        lambda one: one["predicate"].update(role="emperor"),
    ],
)
def test_a_statement_has_one_form_even_when_rightly_signed(party: Any, change: Any) -> None:
    with pytest.raises(BadInput):
        attest.verify(resealed(party, change), party.trust_root)


def test_a_payload_that_is_no_object(party: Any) -> None:
    key = party.ring.get("operator")
    with pytest.raises(BadInput):
        attest.read(envelope.seal(b"[1]", attest.PAYLOAD_TYPE, [key]))
    with pytest.raises(BadInput, match="not a statement"):
        attest.read(envelope.seal(b"{}", "text/plain", [key]))
    with pytest.raises(BadInput, match="one signature"):
        attest.read(envelope.seal(b"{}", attest.PAYLOAD_TYPE, [key, party.ring.get("trainer")]))


def altered(data: bytes, change: Any) -> bytes:
    fields = json.loads(data)
    change(fields)
    return canonical.encode(fields)


def loose_base64(text: str) -> str:
    """The same bytes with other pad bits."""
    digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    body = text.rstrip("=")
    return body[:-1] + digits[digits.index(body[-1]) | 1] + text[len(body) :]


@pytest.mark.parametrize(
    "change",
    [
        lambda one: one.update(extra=1),
        lambda one: one.pop("payloadType"),
        lambda one: one.update(payloadType=1),
        lambda one: one.update(payload=1),
        lambda one: one.update(payload=one["payload"] + "\n"),
        lambda one: one.update(payload="é"),
        lambda one: one.update(payload="A"),
        lambda one: one.update(signatures={}),
        lambda one: one["signatures"].append("x"),
        lambda one: one["signatures"].append(dict(one["signatures"][0])),
        lambda one: one["signatures"].insert(0, {"keyid": "f" * 64, "sig": ""}),
        lambda one: one["signatures"][0].update(cert="x"),
        lambda one: one["signatures"][0].update(keyid=1),
        lambda one: one["signatures"][0].update(sig=loose_base64(one["signatures"][0]["sig"])),
        lambda one: one["signatures"][0].update(sig=one["signatures"][0]["sig"].replace("=", "")),
    ],
)
def test_an_envelope_has_one_encoding(party: Any, change: Any) -> None:
    data = statement_of(party)
    with pytest.raises(BadInput):
        envelope.parse(altered(data, change))


def test_pad_bits_are_really_the_only_difference() -> None:
    assert base64.b64decode(loose_base64("QQ==")) == base64.b64decode("QQ==")
    with pytest.raises(BadInput):
        envelope.strict_base64(loose_base64("QQ=="), "sig")


def test_every_signature_has_to_hold(party: Any) -> None:
    """securesystemslib is content with a threshold; a junk signature beside a good one is refused here."""
    keys = {key.keyid: key.public for key in party.masters}
    data = envelope.seal(b"{}", "t", party.masters)
    assert len(envelope.verify(envelope.parse(data), "t", keys)) == 3
    junk = altered(data, lambda one: one["signatures"][1].update(sig=one["signatures"][0]["sig"]))
    with pytest.raises(Forged, match="does not hold"):
        envelope.verify(envelope.parse(junk), "t", keys)
    with pytest.raises(Forged, match="another type"):
        envelope.verify(envelope.parse(data), "u", keys)
    with pytest.raises(Forged, match="nobody"):
        envelope.verify(envelope.parse(envelope.seal(b"{}", "t", [])), "t", keys)


def test_parsing_leaves_its_input_alone(party: Any, tmp_path: Path) -> None:
    """securesystemslib's Envelope.from_dict takes its argument apart; ours reads bytes and can read them again."""
    data = statement_of(party)
    assert attest.read(data) == attest.read(data)
    assert envelope.parse(data) == Envelope.from_dict(json.loads(data))
