"""`verify` notices any changed byte, any added or removed file, any other encoding, and says which object it is."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from goldsmith.trust import canonical, clock, merkle, note, records, root
from goldsmith.trust.verify import verify
from goldsmith.trust.workspace import Workspace
from goldsmith.types.errors import BadInput, Forged, IntegrityFailure, Replayed, Tampered, Unavailable
from goldsmith.types.finding import Outcome, Verdict
from goldsmith.types.lineage import Collection, Examination, Model, Release, Run
from goldsmith.types.review import Review

PROPERTY = settings(max_examples=80, derandomize=True, deadline=None)


class Evidence(SimpleNamespace):
    """A finished workspace and what was kept outside of it."""

    folder: Path
    fingerprint: str
    old_head: str
    head: str
    made: dict[str, str]


@pytest.fixture(scope="module")
def evidence(tmp_path_factory: pytest.TempPathFactory, make: SimpleNamespace) -> Evidence:
    """Everything a real workspace has: an organisation's root, the whole chain, a withdrawal, a rotation."""
    base = tmp_path_factory.mktemp("evidence")
    party = make.party(base / "keys")
    with Workspace.create(base / "ws", name="org", keys=party.ring, root_envelope=party.envelope) as ws:
        made = make.circle(ws, base)
        old_head = ws.checkpoint()
        ws.withdraw(made["verdict"], "recalled")
        update = {"version": 2, "previous": party.fingerprint, "issued_at": clock.now()}
        ws.rotate_root(root.sign_root(party.trust_root.model_copy(update=update), party.masters))
        head = ws.checkpoint()
    return Evidence(folder=base / "ws", fingerprint=party.fingerprint, old_head=old_head, head=head, made=made)


def files_of(folder: Path) -> list[Path]:
    return sorted(one for one in folder.rglob("*") if one.is_file() and "scratch" not in one.relative_to(folder).parts)


def state(folder: Path) -> dict[Path, bytes]:
    return {one: one.read_bytes() for one in folder.rglob("*") if one.is_file()}


def test_it_verifies_and_says_what_it_covers(evidence: Evidence) -> None:
    before = state(evidence.folder)
    report = verify(evidence.folder, evidence.fingerprint, evidence.head)
    assert report.ok, report
    assert report.standing == "verified"
    assert state(evidence.folder) == before
    assert (report.name, report.root_version, report.self_attested) == ("org", 2, False)
    counts = report.counts
    assert counts["files"] == len(files_of(evidence.folder))
    assert counts["bytes"] == sum(one.stat().st_size for one in files_of(evidence.folder))
    assert counts["objects"] == len([one for one in files_of(evidence.folder) if one.parts[-3] == "store"])
    assert counts["ledger entries"] == len(list((evidence.folder / "ledger" / "entries").iterdir()))
    assert (counts["trust roots"], counts["delivery statements"], counts["model statements"]) == (2, 2, 2)
    assert "verified: workspace org" in str(report)
    report.raise_if_failed()


def test_without_something_from_outside_it_is_self_consistent_only(evidence: Evidence) -> None:
    for pins in ({}, {"root_fingerprint": evidence.fingerprint}, {"checkpoint": evidence.head}):
        report = verify(evidence.folder, **pins)
        assert report.standing == "self-consistent only"
        assert "not checked" in str(report)


def test_older_pins_hold_as_well(evidence: Evidence) -> None:
    newest = verify(evidence.folder).root_fingerprint
    assert newest != evidence.fingerprint
    assert verify(evidence.folder, newest, evidence.old_head).standing == "verified"
    witnessed = evidence.head + "— witness.example/w QUJDREVGR0g=\n"
    assert verify(evidence.folder, newest, witnessed).standing == "verified"


@pytest.fixture(scope="module")
def spoiled(evidence: Evidence, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy to spoil and to mend again."""
    folder = tmp_path_factory.mktemp("spoiled") / "copy"
    shutil.copytree(evidence.folder, folder)
    shutil.rmtree(folder / "scratch")
    assert verify(folder).ok
    return folder


def named(path: Path, folder: Path) -> set[str]:
    """How a report may call a file: by its place or, for an object, by its digest."""
    place = path.relative_to(folder).as_posix()
    return {place, "sha256:" + place[6:].replace("/", "")}


def assert_noticed(folder: Path, path: Path) -> None:
    report = verify(folder)
    assert report.standing == "failed"
    assert named(path, folder) & {one.object for one in report.problems}, report
    with pytest.raises(IntegrityFailure) as caught:
        report.raise_if_failed()
    assert caught.value.exit_code == 5


@PROPERTY
@given(st.data())
def test_any_changed_byte_is_noticed(spoiled: Path, data: st.DataObject) -> None:
    path = data.draw(st.sampled_from([one for one in files_of(spoiled) if one.stat().st_size]))
    right = path.read_bytes()
    place = data.draw(st.integers(0, len(right) - 1))
    flip = data.draw(st.integers(1, 255))
    try:
        path.write_bytes(right[:place] + bytes([right[place] ^ flip]) + right[place + 1 :])
        assert_noticed(spoiled, path)
    finally:
        path.write_bytes(right)


def respaced(data: bytes) -> bytes:
    return json.dumps(json.loads(data), indent=1).encode()


def reordered(data: bytes) -> bytes:
    fields = json.loads(data)
    return json.dumps(dict(reversed(fields.items())), separators=(",", ":"), ensure_ascii=False).encode()


def is_json(data: bytes) -> bool:
    try:
        return len(json.loads(data)) > 1
    except (ValueError, TypeError):
        return False


@pytest.mark.parametrize(
    "change", [lambda data: data + b"\n", lambda data: data + b"\0", lambda data: data[:-1], respaced, reordered]
)
def test_any_other_encoding_of_any_file_is_noticed(spoiled: Path, change: Callable[[bytes], bytes]) -> None:
    tried = 0
    for path in files_of(spoiled):
        right = path.read_bytes()
        if change in (respaced, reordered) and not is_json(right):
            continue
        if change(right) == right:
            continue
        tried += 1
        try:
            path.write_bytes(change(right))
            assert_noticed(spoiled, path)
        finally:
            path.write_bytes(right)
    assert tried > 15


def test_any_removed_file_is_noticed(spoiled: Path) -> None:
    for path in files_of(spoiled):
        aside = spoiled.parent / "aside"
        path.rename(aside)
        try:
            report = verify(spoiled)
            assert named(path, spoiled) & {one.object for one in report.problems}, (path, report)
            assert not report.ok, path
        finally:
            aside.rename(path)


def added_object(folder: Path) -> Path:
    digest = canonical.digest(b"an object with the right name")
    path = folder / "store" / digest[7:9] / digest[9:]
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(b"an object with the right name")
    return path


def added_entry(folder: Path) -> Path:
    entries = sorted((folder / "ledger" / "entries").iterdir())
    path = folder / "ledger" / "entries" / f"{len(entries):08d}.json"
    shutil.copy(entries[-2], path)
    return path


def written(place: str) -> Callable[[Path], Path]:
    def add(folder: Path) -> Path:
        path = folder / place
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("x")
        return path

    return add


def linked(folder: Path) -> Path:
    path = folder / "ledger" / "link"
    path.symlink_to(folder / "workspace.json")
    return path


def piped(folder: Path) -> Path:
    path = folder / "store" / "pipe"
    os.mkfifo(path)
    return path


@pytest.mark.parametrize(
    "add",
    [
        added_object, added_entry, linked, piped, written("notes.txt"), written("ledger/checkpoint.old"),
        written("ledger/entries/9.json"), written("store/00/short"), written("store/README"), written("a\nb"),
        written("workspace.json~"), written(".hidden"),
    ],
)  # fmt: skip
def test_any_added_file_is_noticed(spoiled: Path, add: Callable[[Path], Path]) -> None:
    path = add(spoiled)
    try:
        report = verify(spoiled)
        objects = {one.object for one in report.problems}
        assert objects & (named(path, spoiled) | {ascii(path.name)}), report
    finally:
        path.unlink()
    for folder in sorted((spoiled / "store").iterdir()):
        if not any(folder.iterdir()):
            folder.rmdir()
    assert verify(spoiled).ok


def test_an_added_folder_is_noticed(spoiled: Path) -> None:
    for place in ("extra", "store/zz", "ledger/entries/more"):
        (spoiled / place).mkdir()
        assert place in {one.object for one in verify(spoiled).problems}
        (spoiled / place).rmdir()


def test_an_object_swapped_for_a_link_is_noticed(spoiled: Path) -> None:
    path = next(one for one in files_of(spoiled) if one.parts[-3] == "store")
    aside = spoiled.parent / "aside"
    path.rename(aside)
    path.symlink_to(aside)
    try:
        assert path.relative_to(spoiled).as_posix() in {one.object for one in verify(spoiled).problems}
    finally:
        path.unlink()
        aside.rename(path)


def test_an_older_state_is_noticed_with_a_newer_checkpoint(evidence: Evidence, spoiled: Path) -> None:
    """The ledger cut back to an earlier, signed and consistent state: only what is kept outside shows it."""
    entries = sorted((spoiled / "ledger" / "entries").iterdir())
    size = int(evidence.old_head.split("\n")[1])
    kept = {
        path: path.read_bytes()
        for path in [*entries[size:], spoiled / "ledger" / "checkpoint", spoiled / "trust-root.json"]
    }
    for path in entries[size:]:
        path.unlink()
    (spoiled / "ledger" / "checkpoint").write_text(evidence.old_head)
    (spoiled / "trust-root.json").write_bytes((spoiled / "ledger" / "entries" / "00000000.json").read_bytes())
    try:
        assert verify(spoiled).standing == "self-consistent only"
        assert verify(spoiled, evidence.fingerprint, evidence.old_head).standing == "verified"
        report = verify(spoiled, evidence.fingerprint, evidence.head)
        assert report.standing == "failed"
        assert report.problems[0].kind == "missing"
        assert "from outside" in report.problems[0].object
    finally:
        for path, data in kept.items():
            path.write_bytes(data)
    assert verify(spoiled).ok


def test_a_workspace_made_anew_is_noticed_with_either_pin(
    evidence: Evidence, tmp_path: Path, make: SimpleNamespace
) -> None:
    """Somebody with no key of ours makes everything again, consistently."""
    forger = make.party(tmp_path / "keys")
    with Workspace.create(tmp_path / "ws", name="org", keys=forger.ring, root_envelope=forger.envelope) as ws:
        make.circle(ws, tmp_path)
        assert verify(ws.path).standing == "self-consistent only"
        by_root = verify(ws.path, evidence.fingerprint, ws.checkpoint())
        assert [one.kind for one in by_root.problems] == ["forged"]
        with pytest.raises(Forged):
            by_root.raise_if_failed()
        by_head = verify(ws.path, forger.fingerprint, evidence.head)
        assert [one.kind for one in by_head.problems] == ["forged"]


def test_a_checkpoint_from_outside_that_is_none(evidence: Evidence) -> None:
    report = verify(evidence.folder, evidence.fingerprint, "not a checkpoint")
    assert report.standing == "failed"


def test_a_rewritten_entry_is_noticed_by_an_older_checkpoint(ws: Workspace) -> None:
    """The operator itself cannot rewrite history that somebody holds a checkpoint of."""
    thing = ws.store.put_bytes(b"thing")
    before = ws.checkpoint()
    shutil.copytree(ws.path, ws.path.parent / "fork")
    ws.attest("admission", {"x": thing}, {"version": "first"}, role="operator")
    head = ws.checkpoint()
    with Workspace.open(ws.path.parent / "fork", ws.keys) as fork:
        fork.attest("admission", {"x": thing}, {"version": "second"}, role="operator")
        assert verify(fork.path, fork.root_fingerprint, before).standing == "verified"
        report = verify(fork.path, fork.root_fingerprint, head)
        assert [one.kind for one in report.problems] == ["tampered"]


def test_a_second_signature_on_the_folders_own_checkpoint_is_noticed(ws: Workspace) -> None:
    path = ws.path / "ledger" / "checkpoint"
    path.write_text(ws.checkpoint() + "— witness.example/w QUJDREVGR0g=\n")
    assert "ledger/checkpoint" in {one.object for one in verify(ws.path).problems}
    path.write_bytes(b"\xff")
    assert "ledger/checkpoint" in {one.object for one in verify(ws.path).problems}


def test_a_checkpoint_over_other_entries_is_noticed(ws: Workspace) -> None:
    head, _ = note.parse(ws.checkpoint())
    other = note.Checkpoint(head.origin, head.size, merkle.leaf_hash(b"other"))
    (ws.path / "ledger" / "checkpoint").write_text(note.sign(other, ws.key_for("operator")))
    assert [(one.kind, one.object) for one in verify(ws.path).problems] == [("tampered", "ledger/checkpoint")]


def test_a_workspace_json_of_another_kind_is_noticed(tmp_path: Path, ws: Workspace) -> None:
    """Even one that the operator signed for."""
    from goldsmith.trust import attest
    from goldsmith.trust.ledger import Ledger

    folder = tmp_path / "odd"
    (folder / "store").mkdir(parents=True)
    about = canonical.encode({"kind": "workspace", "schema": "goldsmith.other/v1"})
    (folder / "workspace.json").write_bytes(about)
    (folder / "trust-root.json").write_bytes(ws.ledger.entry(0))
    operator = ws.key_for("operator")
    identity = dict(ws.journal.workspace.predicate)
    subjects = {"workspace.json": canonical.digest(about)}
    ledger = Ledger(folder / "ledger", scratch=folder / "scratch")
    genesis = attest.sign("workspace", subjects, identity, operator, role="operator", self_attested=True)
    with ledger.transaction(operator):
        ledger.append(ws.ledger.entry(0))
        ledger.append(genesis)
    assert [one.object for one in verify(folder).problems] == ["workspace.json"]
    nameless = attest.sign("workspace", subjects, {"name": "x"}, operator, role="operator", self_attested=True)
    other = Ledger(tmp_path / "other" / "ledger", scratch=tmp_path / "other" / "scratch")
    with other.transaction(operator):
        other.append(ws.ledger.entry(0))
        with pytest.raises(BadInput, match="identity"):
            other.append(nameless)
        other.append(genesis)
    rootless = Ledger(tmp_path / "rootless" / "ledger", scratch=tmp_path / "rootless" / "scratch")
    with pytest.raises(Tampered, match="which workspace"), rootless.transaction(operator):
        rootless.append(ws.ledger.entry(0))
    with pytest.raises(Tampered, match="trust root"), rootless.transaction(operator):
        rootless.append(genesis)


def test_no_folder_and_no_workspace(tmp_path: Path) -> None:
    with pytest.raises(Unavailable):
        verify(tmp_path / "none")
    report = verify(tmp_path)
    assert {one.object for one in report.problems} == {"workspace.json", "trust-root.json", "ledger/checkpoint"}
    assert report.root_fingerprint is None
    assert "(unknown)" in str(report)


def test_a_self_attested_workspace_says_so(ws: Workspace) -> None:
    report = verify(ws.path, ws.root_fingerprint, ws.checkpoint())
    assert report.standing == "verified"
    assert "self-attested" in str(report)


def test_a_replay_in_the_ledger_is_named(ws: Workspace, make: SimpleNamespace, tmp_path: Path) -> None:
    make.deliver(ws, tmp_path, "acme", "b1", [make.chat("one")])
    entries = ws.path / "ledger" / "entries"
    shutil.copy(entries / "00000002.json", entries / "00000004.json")
    with pytest.raises(Replayed, match="taken in before"):
        verify(ws.path).raise_if_failed()


def test_unreadable_files_are_named(ws: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    ws.attest("admission", {"x": ws.store.put_bytes(b"x")}, role="operator")
    real_open, real_read = open, Path.read_bytes
    for part in ("store", "ledger/entries/00000001", "ledger/checkpoint"):

        def read(path: Path, part: str = part) -> bytes:
            if part in str(path):
                raise PermissionError(13, "Permission denied")
            return real_read(path)

        def opened(path: Any, *args: Any, part: str = part, **kwargs: Any) -> Any:
            if part in str(path):
                raise PermissionError(13, "Permission denied")
            return real_open(path, *args, **kwargs)

        with monkeypatch.context() as patch:
            patch.setattr(Path, "read_bytes", read)
            patch.setattr(canonical, "open", opened, raising=False)
            problems = verify(ws.path).problems
        assert any(part in one.object and one.kind == "missing" for one in problems), (part, problems)


# --- what is stated must hang together, even where every signature is right


@pytest.fixture
def circle(ws: Workspace, make: SimpleNamespace, tmp_path: Path) -> SimpleNamespace:
    made = make.circle(ws, tmp_path)
    assert verify(ws.path).ok
    return SimpleNamespace(ws=ws, made=made, collection=next(ws.statements("collection")).subjects["collection"])


def restated(
    circle: SimpleNamespace, name: str, kind: Any, digest: str, role: str, predicate: Any = None, **changes: Any
) -> list[str]:
    """The problems after a rightly signed statement of a value with `changes`."""
    value = circle.ws.store.get_artifact(digest, kind).model_copy(update=changes)
    circle.ws.attest_artifact(name, value, predicate, role=role)
    return [f"{one.kind}: {one.what}" for one in verify(circle.ws.path).problems]


ABSENT = canonical.digest(b"absent")


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"delivery": ABSENT}, "which no sound statement"),
        ({"source": "vendor"}, "another source or batch"),
        ({"batch": "b2"}, "another source or batch"),
        ({"count": 4}, "4 stated"),
        ({"merkle_root": ABSENT}, "Merkle root"),
        ({"records": ABSENT}, "not in the store"),
        ({"places": ABSENT}, "not in the store"),
    ],
)
def test_a_collection_at_odds_with_its_delivery(circle: SimpleNamespace, changes: dict[str, Any], why: str) -> None:
    (problem,) = restated(circle, "collection", Collection, circle.collection, "operator", **changes)
    assert why in problem


def test_a_collection_of_other_records(circle: SimpleNamespace, make: SimpleNamespace) -> None:
    rows = [make.chat(f"other {number}") for number in range(5)]
    other = circle.ws.store.put_bytes(records.blob(rows))
    (problem,) = restated(circle, "collection", Collection, circle.collection, "operator", records=other)
    assert "Merkle root" in problem
    crooked = circle.ws.store.put_bytes(b'{"content": 1}\n')
    assert "canonical" in restated(circle, "collection", Collection, circle.collection, "operator", records=crooked)[1]


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"collections": (ABSENT,)}, "which no sound statement"),
        ({"collections": ()}, "not, together, the collected"),
        ({"count": 6}, "6 stated"),
        ({"merkle_root": ABSENT}, "Merkle root"),
        ({"left_out_count": 2}, "2 stated"),
        ({"left_out": ABSENT}, "not in the store"),
        ({"records": ABSENT}, "not in the store"),
        ({"findings": ABSENT}, "not in the store"),
        ({"policy": ABSENT}, "not in the store"),
    ],
)
def test_a_release_at_odds_with_its_records(circle: SimpleNamespace, changes: dict[str, Any], why: str) -> None:
    (problem,) = restated(circle, "release", Release, circle.made["release"], "operator", **changes)
    assert why in problem


def test_a_record_dropped_without_a_reason(circle: SimpleNamespace) -> None:
    none = circle.ws.store.put_bytes(b"")
    changes = {"left_out": none, "left_out_count": 0}
    (problem,) = restated(circle, "release", Release, circle.made["release"], "operator", **changes)
    assert "not, together, the collected" in problem
    for crooked in (b"[]\n", b"{}\n", b"{}"):
        blob = circle.ws.store.put_bytes(crooked)
        problems = restated(circle, "release", Release, circle.made["release"], "operator", left_out=blob)
        assert "lines that each name a record" in problems[-1]


@pytest.mark.parametrize(
    ("name", "kind", "made", "role", "predicate", "changes", "why"),
    [
        ("run", Run, "run", "trainer", {}, {"release": ABSENT}, "which no sound statement"),
        ("run", Run, "run", "trainer", {}, {"base": ABSENT}, "not in the store"),
        ("run", Run, "run", "trainer", {}, {"metrics": ABSENT}, "not in the store"),
        ("model", Model, "model", "trainer", {}, {"run": ABSENT}, "which no sound statement"),
        ("model", Model, "model", "trainer", {}, {"base": ABSENT}, "not in the store"),
        ("examination", Examination, "examination", "examiner", {}, {"model": ABSENT}, "not in the store"),
        ("examination", Examination, "examination", "examiner", {}, {"base": ABSENT}, "not in the store"),
        ("examination", Examination, "examination", "examiner", {}, {"items": ABSENT}, "not in the store"),
        ("verdict", Verdict, "verdict", "promoter", {"gate": "promotion"}, {"evidence": (ABSENT,)}, "not in the store"),
        ("verdict", Verdict, "verdict", "promoter", {"gate": "promotion"}, {"policy": ABSENT}, "not in the store"),
        ("verdict", Verdict, "verdict", "operator", {"gate": "release"}, {"outcome": Outcome.FAIL}, "another's"),
    ],
)  # fmt: skip
def test_what_comes_after_the_release(
    circle: SimpleNamespace,
    name: str,
    kind: Any,
    made: str,
    role: str,
    predicate: Any,
    changes: dict[str, Any],
    why: str,
) -> None:
    (problem,) = restated(circle, name, kind, circle.made[made], role, predicate, **changes)
    assert why in problem


@pytest.mark.parametrize(
    ("changes", "about", "word", "why"),
    [
        ({"collection": ABSENT}, {}, "reject", "which no sound statement"),
        ({"batch": "b2"}, {}, "reject", "another source or batch"),
        ({"seen": ABSENT}, {}, "reject", "not in the store"),
        ({"reason": "other"}, {"more": ABSENT}, "reject", "not in the store"),
        ({"reason": "other"}, {"collection": None}, "reject", "another delivery"),
        ({"reason": "other"}, {}, "accept", "stated as another"),
    ],
)
def test_a_decision_at_odds_with_its_delivery(
    circle: SimpleNamespace, changes: dict[str, Any], about: dict[str, Any], word: str, why: str
) -> None:
    ws = circle.ws
    value = ws.store.get_artifact(circle.made["review"], Review).model_copy(update=changes)
    digest = ws.store.put_artifact(value)
    held = value.collection if ws.store.has(value.collection) else circle.collection
    subjects = {"review": digest, "collection": held, **about}
    subjects["collection"] = subjects["collection"] or circle.collection
    ws.attest("review", subjects, {"decision": word}, role="reviewer")
    (problem,) = verify(ws.path).problems
    assert why in problem.what


def test_a_release_that_rests_on_a_decision_about_another_delivery(circle: SimpleNamespace) -> None:
    ws = circle.ws
    release = ws.store.get_artifact(circle.made["release"], Release)
    none = ws.store.put_bytes(b"")
    alone = release.model_copy(
        update={
            "collections": (), "records": none, "count": 0, "merkle_root": merkle.root_of([]), "left_out": none,
            "left_out_count": 0, "sources": (),
        }
    )  # fmt: skip
    subject = ws.attest_artifact("release", alone, role="operator").subjects["release"]
    gate = Verdict(gate="release", subject=subject, outcome=Outcome.PASS, policy=release.policy)
    for evidence, why in ((circle.made["review"], "about another delivery"), (release.policy, "no sound statement")):
        value = gate.model_copy(update={"evidence": (evidence,)})
        ws.attest_artifact("verdict", value, {"gate": "release"}, role="operator")
        assert why in verify(ws.path).problems[-1].what


def test_a_base_that_is_no_model(circle: SimpleNamespace) -> None:
    (problem,) = restated(circle, "run", Run, circle.made["run"], "trainer", base=circle.made["release"])
    assert "another kind" in problem


def test_weights_kept_elsewhere(circle: SimpleNamespace) -> None:
    model = circle.ws.store.get_artifact(circle.made["model"], Model)
    away = {"files": (model.files[0].model_copy(update={"digest": ABSENT}),)}
    outside = {"weights": "external"}
    assert restated(circle, "model", Model, circle.made["model"], "trainer", outside, **away) == []
    (problem,) = restated(circle, "model", Model, circle.made["model"], "trainer", **away)
    assert "files adapter.safetensors" in problem


def test_a_statement_without_its_artifact(circle: SimpleNamespace) -> None:
    circle.ws.attest("run", {"run": ABSENT}, role="trainer")
    circle.ws.attest("run", {"run": circle.made["release"]}, role="trainer")
    absent, wrong = verify(circle.ws.path).problems
    assert (absent.kind, absent.object) == ("missing", ABSENT)
    assert wrong.what == "states a run, but no stored run is its subject"


def test_a_delivery_without_its_file(circle: SimpleNamespace) -> None:
    stated = next(circle.ws.statements("delivery"))
    file = next(iter(stated.subjects.values()))
    circle.ws.store.locate(file).unlink()
    problems = verify(circle.ws.path).problems
    assert (problems[0].kind, problems[0].object) == ("missing", file)
