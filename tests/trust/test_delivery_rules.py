"""A delivery is taken in whole or refused whole, with the reason."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from goldsmith.trust import attest, canonical, clock, deliveries, envelope, records, root
from goldsmith.trust.keys import PrivateKey
from goldsmith.trust.root import Quota
from goldsmith.trust.workspace import Workspace
from goldsmith.types.errors import BadInput, Forged, GoldsmithError, Replayed, Tampered, Unavailable
from goldsmith.types.lineage import Delivery

Parts = SimpleNamespace


@pytest.fixture
def desk(tmp_path: Path, make: SimpleNamespace) -> Iterator[Parts]:
    """An organisation's workspace, a file of three records, and the quotas of its sources."""
    quotas = (Quota(source="acme", records=7, per_delivery=4),)
    party = make.party(tmp_path / "keys", quotas=quotas)
    ws = Workspace.create(tmp_path / "ws", name="org", keys=party.ring, root_envelope=party.envelope)
    rows = [make.chat(f"question {number}") for number in range(3)]
    yield Parts(ws=ws, party=party, folder=tmp_path, rows=rows, digests=[records.record_digest(one) for one in rows])
    ws.close()


def written(desk: Parts, name: str = "feedback.jsonl", rows: Any = None) -> Path:
    path: Path = desk.folder / name
    path.write_bytes(records.blob(desk.rows if rows is None else rows))
    return path


def signed(desk: Parts, path: Path, **changes: Any) -> Path:
    """A delivery that is right but for `changes`."""
    sequence, previous = deliveries.next_number(desk.ws, "acme")
    right = {
        "key": desk.party.ring.get("source-acme"), "source": "acme", "batch": "b1", "sequence": sequence,
        "previous": previous, "record_digests": desk.digests, "audience": desk.ws.audience,
    }  # fmt: skip
    return deliveries.sign(path, **{**right, **changes})


def refused(desk: Parts, path: Path, error: type[GoldsmithError], why: str, **more: Any) -> GoldsmithError:
    """The refusal; and that it left no trace."""
    before, objects = desk.ws.checkpoint(), list(desk.ws.store.list())
    with pytest.raises(error, match=why or None) as caught:
        deliveries.accept(desk.ws, path, more.pop("digests", desk.digests), **more)
    assert desk.ws.checkpoint() == before
    assert list(desk.ws.store.list()) == objects
    return caught.value


def test_taken_in(desk: Parts) -> None:
    path = written(desk)
    target = signed(desk, path)
    assert target.name == "feedback.jsonl.delivery.json"
    assert deliveries.peek(target).records == 3
    accepted = deliveries.accept(desk.ws, path, desk.digests)
    assert desk.ws.store.get_artifact(accepted.digest, Delivery) == accepted.delivery == deliveries.peek(target)
    assert desk.ws.store.get_bytes(accepted.file) == path.read_bytes()
    assert desk.ws.ledger.entry(2) == target.read_bytes()
    assert (accepted.statement.source, accepted.statement.index) == ("acme", 2)
    assert deliveries.next_number(desk.ws, "acme") == (2, accepted.digest)
    assert deliveries.next_number(desk.ws, "vendor") == (1, None)


def test_replayed_whatever_its_name(desk: Parts) -> None:
    path = written(desk)
    target = signed(desk, path)
    deliveries.accept(desk.ws, path, desk.digests)
    refused(desk, path, Replayed, "taken in before")
    copy = desk.folder / "elsewhere.delivery.json"
    copy.write_bytes(target.read_bytes())
    refused(desk, path, Replayed, "taken in before", delivery_file=copy)


def test_order(desk: Parts) -> None:
    path = written(desk)
    signed(desk, path, sequence=2)
    assert "in between" in str(refused(desk, path, Replayed, "before this one is missing").next_step)
    signed(desk, path)
    deliveries.accept(desk.ws, path, desk.digests)
    signed(desk, path, previous=canonical.digest(b"another"))
    refused(desk, path, Replayed, "does not follow")
    signed(desk, path, previous=None)
    refused(desk, path, Replayed, "does not follow")
    signed(desk, path)
    deliveries.accept(desk.ws, path, desk.digests)
    signed(desk, path, sequence=1, previous=None)
    refused(desk, path, Replayed, "taken in before")


def test_a_nonce_is_used_once(desk: Parts, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deliveries.secrets, "token_hex", lambda _: "0" * 32)
    path = written(desk)
    target = signed(desk, path)
    deliveries.accept(desk.ws, path, desk.digests)
    target.unlink()
    signed(desk, path)
    refused(desk, path, Replayed, "nonce")


def test_two_in_one_transaction_are_still_in_order(desk: Parts) -> None:
    path = written(desk)
    with desk.ws.atomically():
        signed(desk, path)
        deliveries.accept(desk.ws, path, desk.digests)
        with pytest.raises(Replayed):
            deliveries.accept(desk.ws, path, desk.digests)
        signed(desk, path)
        deliveries.accept(desk.ws, path, desk.digests)
    assert deliveries.next_number(desk.ws, "acme")[0] == 3


@pytest.mark.parametrize(
    ("changes", "error", "why"),
    [
        (lambda desk: {"key": PrivateKey.generate()}, Forged, "does not know"),
        (lambda desk: {"key": desk.party.ring.get("source-vendor")}, Forged, "may not speak for"),
        (lambda desk: {"source": "vendor"}, Forged, "may not speak for"),
        (lambda desk: {"key": desk.party.ring.get("operator")}, Forged, "has not the role source"),
        (lambda desk: {"audience": "somebody else"}, Forged, "meant for somebody else"),
        (lambda desk: {"now": "2025-06-01T00:00:00Z", "days": 3650}, Forged, "not valid then"),
        (lambda desk: {"now": clock.later(clock.now(), days=1)}, Forged, "in the future"),
        (lambda desk: {"now": clock.later(clock.now(), days=-31)}, Replayed, "expired"),
        (lambda desk: {"days": -1}, BadInput, "expires before"),
        (lambda desk: {"sequence": 0}, BadInput, "from 1"),
        (lambda desk: {"record_digests": desk.digests[:2]}, Tampered, "not as many records"),
        (lambda desk: {"record_digests": desk.digests[::-1]}, Tampered, "not those that were signed"),
    ],
)
def test_refused(desk: Parts, changes: Callable[[Parts], Any], error: type[GoldsmithError], why: str) -> None:
    path = written(desk)
    signed(desk, path, **changes(desk))
    refused(desk, path, error, why)


def test_another_file(desk: Parts) -> None:
    path = written(desk)
    target = signed(desk, path)
    path.write_bytes(path.read_bytes().replace(b"question 1", b"question 9"))
    refused(desk, path, Tampered, "not the one that was signed")
    moved = written(desk, "renamed.jsonl")
    refused(desk, moved, Tampered, "another name", delivery_file=target)
    refused(desk, moved, Unavailable, "nobody vouches")


def test_an_expired_key_delivers_no_more(desk: Parts) -> None:
    path = written(desk)
    signed(desk, path, days=36500)
    refused(desk, path, Forged, "no longer valid", now="2037-01-01T00:00:00Z")


def test_quotas(desk: Parts, make: SimpleNamespace) -> None:
    many = [make.chat(f"many {number}") for number in range(5)]
    path = written(desk, rows=many)
    digests = [records.record_digest(one) for one in many]
    signed(desk, path, record_digests=digests)
    error = refused(desk, path, BadInput, "larger than", digests=digests)
    assert (error.found, error.allowed) == ("5 records", "4 per delivery")
    for _ in range(2):
        path = written(desk)
        signed(desk, path)
        deliveries.accept(desk.ws, path, desk.digests)
    signed(desk, path)
    assert refused(desk, path, BadInput, "exceed its quota").allowed == "7 records in all"


@pytest.mark.parametrize("content", [b"", b"{}", b"\xff", b"[1]"])
def test_a_delivery_file_that_is_none(desk: Parts, content: bytes) -> None:
    path = written(desk)
    deliveries.delivery_path(path).write_bytes(content)
    assert refused(desk, path, BadInput, "").where == str(deliveries.delivery_path(path))


def test_another_statement_is_no_delivery(desk: Parts) -> None:
    path = written(desk)
    other = attest.sign("admission", {"x": desk.digests[0]}, {}, desk.party.ring.get("operator"), role="operator")
    deliveries.delivery_path(path).write_bytes(other)
    refused(desk, path, BadInput, "not a delivery")


@pytest.mark.parametrize(
    ("change", "error"),
    [
        (lambda one: one["predicate"]["content"]["delivery"].update(source="vendor"), Forged),
        (lambda one: one["predicate"]["content"]["delivery"].update(file="sha256:" + "0" * 64), Forged),
        (lambda one: one["predicate"]["content"]["delivery"].update(issued_at="2026-05-05T00:00:00Z"), Forged),
        (lambda one: one["predicate"]["content"].update(more=1), Forged),
        (lambda one: one["predicate"]["content"]["delivery"].pop("kind"), Forged),
        (lambda one: one["predicate"]["content"]["delivery"].pop("nonce"), BadInput),
        (lambda one: one["predicate"].update(content={}), BadInput),
    ],
)
def test_a_statement_at_odds_with_its_delivery(desk: Parts, change: Any, error: type[GoldsmithError]) -> None:
    path = written(desk)
    target = signed(desk, path)
    payload = json.loads(envelope.parse(target.read_bytes()).payload)
    change(payload)
    key = desk.party.ring.get("source-acme")
    target.write_bytes(envelope.seal(canonical.encode(payload), attest.PAYLOAD_TYPE, [key]))
    refused(desk, path, error, "")


def test_any_changed_byte_of_a_delivery_file_is_refused(desk: Parts) -> None:
    path = written(desk)
    target = signed(desk, path)
    right = target.read_bytes()
    for place in range(0, len(right), 37):
        target.write_bytes(right[:place] + bytes([right[place] ^ 1]) + right[place + 1 :])
        with pytest.raises(GoldsmithError):
            deliveries.accept(desk.ws, path, desk.digests)
    target.write_bytes(right)
    deliveries.accept(desk.ws, path, desk.digests)


def test_the_easy_way_signs_with_the_rings_key(ws: Workspace, tmp_path: Path, make: SimpleNamespace) -> None:
    desk = Parts(folder=tmp_path, rows=[make.chat("one")])
    path = written(desk)
    digests = [records.record_digest(one) for one in desk.rows]
    deliveries.sign_next(ws, path, source="acme", batch="b1", record_digests=digests)
    assert deliveries.accept(ws, path, digests).statement.self_attested
    with pytest.raises(Unavailable, match="may sign as source"):
        deliveries.sign_next(ws, path, source="stranger", batch="b1", record_digests=digests)


def test_a_rotation_that_drops_a_key_ends_its_deliveries(desk: Parts) -> None:
    path = written(desk)
    signed(desk, path)
    held = desk.party
    kept = [key for key in held.trust_root.keys if key.name != "source-acme"]
    new = held.trust_root.model_copy(
        update={"version": 2, "previous": held.fingerprint, "keys": tuple(kept), "issued_at": clock.now()}
    )
    desk.ws.rotate_root(root.sign_root(new, held.masters))
    refused(desk, path, Forged, "does not know")
