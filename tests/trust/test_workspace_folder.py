"""A workspace: made whole, opened anywhere, with what was stated and withdrawn."""

import errno
import os
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from goldsmith.trust import attest, canonical, clock, durable, envelope, reach, root
from goldsmith.trust.keys import KeyRing
from goldsmith.trust.verify import verify
from goldsmith.trust.workspace import Workspace
from goldsmith.types.errors import BadInput, Forged, Replayed, Tampered, Unavailable
from goldsmith.types.lineage import LeftOut

THING = canonical.digest(b"thing")


def test_made_without_keys_it_vouches_for_itself(tmp_path: Path) -> None:
    with Workspace.create(tmp_path / ".goldsmith") as ws:
        assert (ws.name, ws.audience, ws.self_attested) == ("goldsmith", "goldsmith", True)
        assert ws.keys.folder == tmp_path / ".goldsmith-keys"
        assert "local-source" in ws.keys.names()
        assert ws.source_key("anybody").keyid == ws.keys.get("local-source").keyid
        assert next(ws.statements()).self_attested
        assert sorted(one.name for one in ws.path.iterdir()) == [
            "ledger", "scratch", "store", "trust-root.json", "workspace.json",
        ]  # fmt: skip
    assert not any(b"PRIVATE" in one.read_bytes() for one in (tmp_path / ".goldsmith").rglob("*") if one.is_file())
    with Workspace.create(tmp_path / "second") as other:
        assert other.keys.get("local-operator").keyid == ws.keys.get("local-operator").keyid
        assert other.info.origin != ws.info.origin


def test_made_under_an_organisations_root(tmp_path: Path, party: Any) -> None:
    with Workspace.create(
        tmp_path / "ws",
        name="org",
        keys=party.ring,
        root_envelope=party.envelope,
        audience="https://org.example/tuning",
    ) as ws:
        assert not ws.self_attested
        assert ws.audience == "https://org.example/tuning"
        assert ws.root_fingerprint == party.fingerprint
        assert (ws.path / "trust-root.json").read_bytes() == party.envelope
        assert ws.attest("run", {"x": THING}, role="trainer").self_attested is False


def test_no_operator_no_workspace(tmp_path: Path, party: Any) -> None:
    with pytest.raises(Unavailable, match="operator"):
        Workspace.create(tmp_path / "ws", keys=KeyRing(tmp_path / "empty"), root_envelope=party.envelope)
    assert not (tmp_path / "ws").exists()
    assert not (tmp_path / ".ws.creating").exists()


def test_where_it_may_be_made(tmp_path: Path) -> None:
    (tmp_path / "ws").mkdir()
    Workspace.create(tmp_path / "ws").close()
    with pytest.raises(BadInput, match="not empty"):
        Workspace.create(tmp_path / "ws")
    (tmp_path / "file").write_text("x")
    with pytest.raises(BadInput, match="not empty"):
        Workspace.create(tmp_path / "file")
    for name in ("two words", "", "ü", "a+b"):
        with pytest.raises(BadInput, match="name"):
            Workspace.create(tmp_path / "other", name=name or " ")
    with pytest.raises(Unavailable, match="no workspace"):
        Workspace.open(tmp_path)


def test_what_a_killed_creation_left_is_replaced(tmp_path: Path) -> None:
    (tmp_path / ".ws.creating").mkdir()
    (tmp_path / ".ws.creating" / "half").write_text("x")
    Workspace.create(tmp_path / "ws").close()
    assert not (tmp_path / ".ws.creating").exists()
    assert verify(tmp_path / "ws").ok


def test_a_full_disk_makes_no_workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    keys = KeyRing(tmp_path / "keys")
    Workspace.create(tmp_path / "first", keys=keys).close()
    real, left = os.write, 3

    def fill(*args: Any) -> int:
        nonlocal left
        left -= 1
        if left < 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(*args)

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", fill)
        with pytest.raises(Unavailable, match="full"):
            Workspace.create(tmp_path / "ws", keys=keys)
    assert not (tmp_path / "ws").exists()
    Workspace.create(tmp_path / "ws", keys=keys).close()


def test_statements_are_found_by_type_and_subject(ws: Workspace) -> None:
    first = ws.attest("admission", {"model": THING}, {"reason": "base"}, role="operator")
    second = ws.attest("review", {"model": THING, "other": canonical.digest(b"x")}, {"note": "fine"}, role="reviewer")
    assert [one.index for one in ws.statements()] == [1, 2, 3]
    assert list(ws.statements("admission")) == [first]
    assert ws.about(THING) == [first, second]
    assert ws.about(THING, "review") == [second]
    assert ws.about(canonical.digest(b"none")) == []
    with pytest.raises(BadInput):
        ws.statements("rumour")
    with Workspace.open(ws.path) as again:
        assert list(again.statements()) == list(ws.statements())
        assert again.journal.workspace.predicate["name"] == "demo"


def test_withdrawn_is_seen_by_other_processes(ws: Workspace) -> None:
    with Workspace.open(ws.path) as serving:
        assert serving.withdrawn(THING) is None
        stated = ws.withdraw(THING, "the vendor's batch was poisoned", source_of_it="vendor")
        found = serving.withdrawn(THING)
        assert found == stated
        assert found is not None
        assert found.predicate == {"reason": "the vendor's batch was poisoned", "source_of_it": "vendor"}
        ws.withdraw(THING, "again")
        assert serving.withdrawn(THING) == stated
        with serving.atomically():
            assert serving.withdrawn(THING) == stated


def test_artifacts_are_stored_and_stated(ws: Workspace) -> None:
    value = LeftOut(record=THING, source="a", batch="b", line=1, reason="r")
    stated = ws.attest_artifact("answer", value, {"by": "me"}, role="reviewer")
    assert ws.store.get_artifact(stated.subjects["left_out"], LeftOut) == value


def test_who_has_no_key_states_nothing(ws: Workspace, tmp_path: Path) -> None:
    with Workspace.open(ws.path, KeyRing(tmp_path / "none")) as reader:
        assert len(list(reader.statements())) == 1
        with pytest.raises(Unavailable, match="may sign as operator") as caught:
            reader.attest("admission", {"x": THING}, role="operator")
        assert "trust root" in str(caught.value)
    with pytest.raises(BadInput):
        ws.attest("release", {"x": THING}, {"loss": 0.5}, role="operator")
    assert ws.ledger.size == 2


@pytest.mark.parametrize("name", ["workspace.json", "trust-root.json"])
def test_a_changed_file_is_not_opened(ws: Workspace, name: str) -> None:
    path = ws.path / name
    path.write_bytes(path.read_bytes()[:-1] + b" }")
    with pytest.raises(Tampered) as caught:
        Workspace.open(ws.path)
    assert name in str(caught.value)


def rotated(party: Any, **changes: Any) -> bytes:
    update = {"version": 2, "previous": party.fingerprint, "issued_at": clock.now(), **changes}
    return root.sign_root(party.trust_root.model_copy(update=update), party.masters)


def test_rotation(tmp_path: Path, party: Any) -> None:
    with Workspace.create(tmp_path / "ws", name="org", keys=party.ring, root_envelope=party.envelope) as ws:
        ws.attest("answer", {"x": THING}, role="reviewer")
        old_head = ws.checkpoint()
        kept = tuple(key for key in party.trust_root.keys if key.name != "reviewer")
        fresh = root.trusted("operator-2", party.ring.create("operator-2").public, roles=["operator"])
        kept = tuple(fresh if key.name == "operator" else key for key in kept)
        new = rotated(party, keys=kept)
        ws.rotate_root(new)
        assert ws.trust_root.version == 2
        assert ws.root_fingerprint == root.fingerprint(new)
        assert (ws.path / "trust-root.json").read_bytes() == new
        with pytest.raises(Unavailable):
            ws.attest("answer", {"x": THING}, role="reviewer")
        ws.attest("admission", {"x": THING}, role="operator")
        with pytest.raises(Replayed):
            ws.rotate_root(new)
        with pytest.raises(Forged):
            ws.rotate_root(
                root.sign_root(
                    party.trust_root.model_copy(
                        update={"version": 3, "previous": ws.root_fingerprint, "issued_at": clock.now()}
                    ),
                    party.masters[:1],
                )
            )
        assert len(list(ws.statements("answer"))) == 1
        with Workspace.open(ws.path, party.ring) as again:
            assert again.trust_root.version == 2
        report = verify(ws.path, party.fingerprint, old_head)
        assert report.standing == "verified", report
        assert report.root_version == 2


def test_a_rotation_killed_before_its_copy_is_mended(tmp_path: Path, party: Any) -> None:
    with Workspace.create(tmp_path / "ws", name="org", keys=party.ring, root_envelope=party.envelope) as ws:
        new = rotated(party)
        ws.rotate_root(new)
        (ws.path / "trust-root.json").write_bytes(party.envelope)
    with Workspace.open(ws.path, party.ring):
        assert (ws.path / "trust-root.json").read_bytes() == new
    (ws.path / "trust-root.json").unlink()
    with pytest.raises(Tampered):
        Workspace.open(ws.path, party.ring)


def test_what_was_never_stated_is_put_aside(ws: Workspace) -> None:
    stated = ws.store.put_bytes(b"stated later on")
    nested = ws.store.put_bytes(f'{{"it":"{stated}"}}'.encode())
    ws.attest("admission", {"x": nested}, role="operator")
    orphan = ws.store.put_bytes(b"of a run that died")
    assert not verify(ws.path).ok
    with Workspace.open(ws.path) as other:
        assert ws.store.has(orphan)
        with pytest.raises(Unavailable, match="another process"):
            other.sweep()
    assert ws.store.has(orphan)
    ws.close()
    ws.close()
    assert not ws.store.has(orphan)
    assert (ws.scratch / "swept" / orphan[7:]).read_bytes() == b"of a run that died"
    assert ws.store.get_bytes(stated) == b"stated later on"
    assert verify(ws.path).ok


def test_opening_puts_aside_what_a_killed_run_left(ws: Workspace) -> None:
    ws.close()
    child = os.fork()
    if child == 0:  # pragma: no cover - runs in the child
        Workspace.open(ws.path).store.put_bytes(b"of a run that died")
        os._exit(0)
    os.waitpid(child, 0)
    assert not verify(ws.path).ok
    Workspace.open(ws.path).close()
    assert verify(ws.path).ok


def test_sweeping_finds_what_was_put_in_from_outside(ws: Workspace) -> None:
    stray = b"put in by hand"
    place = ws.store.locate(canonical.digest(stray))
    place.parent.mkdir(exist_ok=True)
    place.write_bytes(stray)
    assert ws.sweep() == [canonical.digest(stray)]
    assert ws.sweep() == []


def test_reachability_follows_mentions_across_pieces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reach, "_PIECE_BYTES", 50)
    digests = [canonical.digest(bytes([number])) for number in range(4)]
    path = tmp_path / "object"
    path.write_text("x" * 20 + digests[0] + "y" * 33 + f'{{"sha256":"{digests[1][7:]}"}}' + digests[2])
    assert reach.mentions_in_file(path) == set(digests[:3])
    assert reach.mentions(b"sha256:" + b"0" * 63) == set()


def test_reachability_stops_when_all_is_found(ws: Workspace) -> None:
    first = ws.store.put_bytes(b"first")
    ws.attest("admission", {"x": first}, role="operator")
    payloads = [envelope.parse(entry).payload for entry in ws.ledger]
    assert reach.reachable(payloads, ws.store.locate, wanted=set()) == {first}
    assert attest.read(ws.ledger.entry(2)).subjects == {"x": first}


def test_storage_errors_pass_ours_on(tmp_path: Path) -> None:
    inner = Unavailable("ours")
    with pytest.raises(Unavailable) as caught, durable.storage_errors(tmp_path):
        raise inner
    assert caught.value is inner
    with pytest.raises(Unavailable, match="cannot be read or written"):
        durable.make_folder(Path("/proc/none/of/this"))


def test_a_copy_is_opened_elsewhere(ws: Workspace, tmp_path: Path) -> None:
    shutil.copytree(ws.path, tmp_path / "elsewhere" / "copy")
    with Workspace.open(tmp_path / "elsewhere" / "copy", ws.keys) as copy:
        copy.attest("admission", {"x": THING}, role="operator")
        assert copy.ledger.size == ws.ledger.size + 1


def test_a_first_version_of_somebody_elses_workspace(ws: Workspace, make: SimpleNamespace, tmp_path: Path) -> None:
    party = make.party(tmp_path / "strangers")
    with pytest.raises(Replayed):
        ws.rotate_root(party.envelope)
    with pytest.raises(Replayed, match="second entry"):
        ws.append(ws.ledger.entry(1))
    with pytest.raises(BadInput, match="not a statement"):
        ws.append(ws.ledger.entry(0))
