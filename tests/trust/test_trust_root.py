"""The trust root: threshold of root keys, rotation, windows, and the rules that make one coherent."""

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from pydantic import ValidationError

from goldsmith.trust import canonical, clock, envelope, root
from goldsmith.trust.keys import PrivateKey
from goldsmith.trust.root import TrustRoot
from goldsmith.types.errors import BadInput, Forged, Replayed

NEXT = "2026-02-01T00:00:00Z"


def following(party: Any, **changes: Any) -> TrustRoot:
    update = {"version": 2, "previous": party.fingerprint, "issued_at": NEXT, **changes}
    return TrustRoot.model_validate({**party.trust_root.model_dump(), **update})


def test_opened_with_its_threshold(party: Any) -> None:
    assert root.open_root(party.envelope) == party.trust_root
    assert party.fingerprint == canonical.digest(canonical.artifact_bytes(party.trust_root))
    assert root.open_root(root.sign_root(party.trust_root, party.masters)) == party.trust_root


def test_fewer_than_the_threshold_is_forged(party: Any) -> None:
    with pytest.raises(Forged, match="too few") as caught:
        root.open_root(root.sign_root(party.trust_root, party.masters[:1]))
    assert caught.value.found == "1 of 3"
    with pytest.raises(Forged, match="nobody"):
        root.open_root(root.sign_root(party.trust_root, []))
    with pytest.raises(Forged, match="does not know"):
        root.open_root(root.sign_root(party.trust_root, [party.masters[0], PrivateKey.generate()]))


def test_an_operators_key_signs_no_root(party: Any) -> None:
    with pytest.raises(Forged):
        root.open_root(root.sign_root(party.trust_root, [party.masters[0], party.ring.get("operator")]))


def test_rotation_needs_old_and_new_keys(party: Any) -> None:
    fresh = [PrivateKey.generate() for _ in range(2)]
    new = following(party, root_keys=tuple(root.root_key(key.public) for key in fresh))
    signers = [*party.masters[:2], *fresh]
    assert root.accept_rotation(party.trust_root, party.fingerprint, root.sign_root(new, signers)) == new
    for too_few in (party.masters[:2], fresh, [party.masters[0], *fresh], [*party.masters[:2], fresh[0]]):
        with pytest.raises(Forged):
            root.accept_rotation(party.trust_root, party.fingerprint, root.sign_root(new, too_few))


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"version": 3}, Replayed),
        ({"previous": "sha256:" + "0" * 64}, Replayed),
        ({"version": 1, "previous": None}, Replayed),
        ({"name": "other"}, BadInput),
        ({"issued_at": "2025-01-01T00:00:00Z"}, BadInput),
    ],
)
def test_a_version_out_of_order_is_refused(party: Any, changes: dict[str, Any], error: type[Exception]) -> None:
    new = following(party, **changes)
    with pytest.raises(error):
        root.accept_rotation(party.trust_root, party.fingerprint, root.sign_root(new, party.masters))


def key_of(**changes: Any) -> Callable[[Any], dict[str, Any]]:
    return lambda party: {"keys": [{**party.trust_root.keys[0].model_dump(), **changes}]}


@pytest.mark.parametrize(
    "changes",
    [
        lambda party: {"threshold": 0},
        lambda party: {"threshold": 4},
        lambda party: {"root_keys": [party.trust_root.root_keys[0].model_dump()] * 2},
        lambda party: {"keys": [party.trust_root.keys[0].model_dump()] * 2},
        lambda party: {"quotas": [{"source": "acme", "records": 1, "per_delivery": 1}] * 2},
        lambda party: {"version": 0},
        lambda party: {"version": 2},
        lambda party: {"previous": "sha256:" + "0" * 64},
        lambda party: {"issued_at": "yesterday"},
        lambda party: {"unknown": 1},
        key_of(keyid="0" * 64),
        key_of(public="0" * 63),
        key_of(roles=[]),
        key_of(roles=["emperor"]),
        key_of(roles=["source"]),
        key_of(sources=["acme"]),
        key_of(roles=["source"], sources=["*"]),
        key_of(valid_from="2027-01-01T00:00:00Z", valid_until="2026-01-01T00:00:00Z"),
    ],
)
def test_an_incoherent_root_cannot_be_made(party: Any, changes: Callable[[Any], dict[str, Any]]) -> None:
    with pytest.raises(ValidationError):
        TrustRoot.model_validate({**party.trust_root.model_dump(), **changes(party)})


def test_an_incoherent_root_cannot_be_opened(party: Any) -> None:
    wire = {**party.trust_root.model_dump(mode="json"), "schema": "goldsmith.trust-root/v1", "threshold": 4}
    sealed = envelope.seal(canonical.encode(wire), root.PAYLOAD_TYPE, party.masters)
    with pytest.raises(BadInput, match="threshold"):
        root.open_root(sealed)


def test_windows_and_sources(party: Any) -> None:
    key = party.trust_root.with_role(root.KeyRole.SOURCE)[0]
    assert key.speaks_for("acme")
    assert not key.speaks_for("vendor")
    assert key.valid_at(key.valid_from)
    assert key.valid_at(key.valid_until)
    assert not key.valid_at("2025-12-31T23:59:59Z")
    assert not key.valid_at(clock.later(key.valid_until, days=1))
    assert party.trust_root.key("none") is None
    assert party.trust_root.quota("acme") is None


def test_any_source_is_for_self_attested_roots(party: Any) -> None:
    wide = key_of(roles=["source"], sources=["*"])(party)
    local = TrustRoot.model_validate({**party.trust_root.model_dump(), **wide, "self_attested": True})
    assert local.keys[0].speaks_for("anybody")


@pytest.mark.parametrize(
    "text", ["", "2026-01-01", "2026-01-01T00:00:00+00:00", "2026-13-01T00:00:00Z", "2026-01-01T00:00:00Z\n"]
)
def test_times_have_one_form(text: str) -> None:
    with pytest.raises(BadInput):
        clock.moment(text)


def test_times_advance() -> None:
    assert clock.later("2026-02-28T23:59:59Z", days=1) == "2026-03-01T23:59:59Z"
    assert clock.moment(clock.now()) >= clock.moment("2026-01-01T00:00:00Z")


def test_a_default_window_begins_now(make: SimpleNamespace, tmp_path: Path) -> None:
    key = root.trusted("k", PrivateKey.generate().public, roles=["trainer"])
    assert key.valid_at(clock.now())
