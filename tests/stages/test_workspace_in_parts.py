"""The workspace's records in parts on the disk: the same findings, digests and Merkle roots as all in memory."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from goldsmith.engines.dataflow import intake
from goldsmith.engines.evidence import faults_of, rows_of
from goldsmith.engines.screening import decide, excluded, screen
from goldsmith.stages.check import Checked, check_collections, checks_of
from goldsmith.stages.collect import collect, read_source
from goldsmith.stages.release import release
from goldsmith.trust import canonical, merkle, records
from goldsmith.trust.workspace import Workspace
from goldsmith.types.check import CheckContext, Row
from goldsmith.types.errors import BadInput
from goldsmith.types.lineage import Collection, LeftOut
from goldsmith.types.recipe import CheckEntry, ReleasePolicy, SourceEntry

ON = {"duplicates", "source_caps", "well_formed", "licences", "secrets", "encoded_text", "contradictions"}
ENTRY = CheckEntry(off=tuple(sorted({check.id for check in checks_of(CheckEntry())} - ON)))


def line(n: int, source: str) -> str:
    text = " ".join(f"{source} word{n * 31 % 97 + k} \u00e4\u6f22\U0001f642" for k in range(12))
    row: dict[str, Any] = {
        "messages": [
            {"role": "user", "content": f"{n % 90}: what of {text}?"},
            {"role": "assistant", "content": "" if n % 41 == 0 else f"This is {n % 90} of {text}."},
        ],
        "annotator": f"a{n % 3}",
    }
    if n % 7 == 0:
        row = {
            "messages": [
                {"role": "user", "content": f"where is order {n}?"},
                {
                    "role": "assistant",
                    "content": None,
                    "tool_calls": [
                        {"id": "1", "type": "function", "function": {"name": "find", "arguments": f'{{"order": {n}}}'}}
                    ],
                },
                {"role": "tool", "tool_call_id": "1", "content": f"order {n} is at shelf {n % 5}"},
                {"role": "assistant", "content": f"It is at shelf {n % 5}."},
            ],
            "price": 1.5,
        }
    said = json.dumps(row, ensure_ascii=n % 2 == 0)
    return said[: len(said) // 2] if n % 53 == 5 else said


@pytest.fixture
def ws(tmp_path: Path) -> Workspace:
    for source in ("anna", "bert"):
        (tmp_path / f"{source}.jsonl").write_text("".join(line(n, source) + "\n" for n in range(260)), encoding="utf-8")
    return Workspace.create(tmp_path / "ws")


def taken(ws: Workspace, tmp_path: Path) -> list[str]:
    return [collect(ws, SourceEntry(name=n, file=f"{n}.jsonl"), tmp_path).digest for n in ("anna", "bert")]


def in_memory(ws: Workspace, collections: Sequence[str]) -> Checked:
    """The same checks over plain lists of records."""
    rows: list[Row] = []
    for digest in collections:
        rows += rows_of(ws, ws.store.get_artifact(digest, Collection))
    screening = screen(rows, checks_of(ENTRY), CheckContext())
    return Checked(rows, screening, screening.findings, decide(screening.findings, rows))


def test_collections_are_what_was_read(ws: Workspace, tmp_path: Path) -> None:
    for name, digest in zip(("anna", "bert"), taken(ws, tmp_path), strict=True):
        made = ws.store.get_artifact(digest, Collection)
        reading = read_source(tmp_path / f"{name}.jsonl", SourceEntry(name=name, file="-"))
        rows = reading.rows
        assert made.count == len(rows) > 200
        assert made.faulty == len(reading.faults) == 5
        assert ws.store.get_bytes(made.records) == records.blob(row.record for row in rows)
        digests = [records.record_digest(row.record) for row in rows]
        assert made.merkle_root == "sha256:" + merkle.Tree(map(canonical.raw, digests)).root().hex()
        assert list(rows_of(ws, made)) == rows
        assert [n for n, _ in faults_of(ws, made)] == [fault.line for fault in reading.faults]


@pytest.mark.parametrize("on_disk", [False, True])
def test_findings_and_releases_are_those_of_lists(
    ws: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, on_disk: bool
) -> None:
    monkeypatch.setattr(intake, "PIECE_BYTES", 20_000)
    collections = taken(ws, tmp_path)
    oracle = in_memory(ws, collections)
    checked = check_collections(ws, collections, ENTRY, [], on_disk=on_disk)
    assert len(checked.rows.parts.all) > 6  # type: ignore[attr-defined]
    assert checked.screening.findings == oracle.screening.findings
    assert {f.check for f in oracle.findings} >= {"duplicates", "well_formed"}
    faulty = [f for f in checked.findings if f.check == "faulty_row"]
    assert checked.findings == (*faulty, *oracle.findings)
    assert checked.sources == decide(checked.findings, oracle.rows)
    assert checked.screening.scores.keys() == oracle.screening.scores.keys()
    for name, values in oracle.screening.scores.items():
        assert values.tobytes() == checked.screening.scores[name].tobytes(), name
    _, made, _ = release(ws, "r", collections, checked.findings, checked.sources, ReleasePolicy(), {})
    out = excluded(checked.findings)
    kept, left = [], []
    for digest in collections:
        one = ws.store.get_artifact(digest, Collection)
        for row in rows_of(ws, one):
            reason = out.get((one.source, one.batch, row.line))
            if reason is None:
                kept.append(row.record)
            else:
                name = records.record_digest(row.record)
                left.append(
                    LeftOut(record=name, source=one.source, batch=one.batch, line=row.line, reason=reason[:400])
                )
    assert 20 < len(left) == made.left_out_count
    assert made.count == len(kept) > 100
    assert ws.store.get_bytes(made.records) == records.blob(kept)
    assert ws.store.get_bytes(made.left_out) == records.lines(left)
    leaves = sorted(records.record_digest(record) for record in kept)
    assert made.merkle_root == "sha256:" + merkle.Tree(map(canonical.raw, leaves)).root().hex()


def test_a_killed_check_of_a_workspace_is_taken_up(
    ws: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(intake, "PIECE_BYTES", 20_000)
    collections = taken(ws, tmp_path)

    class Counting:
        def __init__(self, most: int = 10**9) -> None:
            self.mapped, self.most = 0, most

        def map(self, function: Any, shared: Any, tasks: Any) -> Any:
            for task in tasks:
                if self.mapped == self.most:
                    raise KeyboardInterrupt
                self.mapped += 1
                yield function(shared, task)

    whole = Counting()
    expected = check_collections(ws, collections, ENTRY, [], engine=whole, on_disk=True)
    findings, all_of_them = expected.findings, whole.mapped
    del expected
    with pytest.raises(KeyboardInterrupt):
        check_collections(ws, collections, ENTRY, [], engine=Counting(3), on_disk=True)
    again = Counting()
    found = check_collections(ws, collections, ENTRY, [], engine=again, on_disk=True)
    assert found.findings == findings
    assert again.mapped == all_of_them - 3
    del found
    assert not list((ws.scratch / "parts").glob("*/*.part"))


def test_a_refused_delivery_leaves_nothing(ws: Workspace, tmp_path: Path) -> None:
    held = set(ws.store.list())
    entry = SourceEntry(name="anna", file="anna.jsonl")
    (tmp_path / "anna.jsonl.delivery.json").write_text("{}", encoding="utf-8")
    with pytest.raises(BadInput):
        collect(ws, entry, tmp_path)
    assert set(ws.store.list()) == held
    assert not list((ws.scratch / "partial").iterdir())


def test_the_release_before_is_read_in_parts(ws: Workspace, tmp_path: Path) -> None:
    collections = taken(ws, tmp_path)
    checked = check_collections(ws, collections, ENTRY, [])
    release(ws, "first", collections, checked.findings, checked.sources, ReleasePolicy(), {})
    off = tuple({check.id for check in checks_of(CheckEntry())} - {"human_anchor", "synthetic_memorisation"})
    found = check_collections(ws, collections, CheckEntry(previous="first", off=off), [])
    assert "human_anchor" in found.screening.scores or found.screening.facts or found.screening.inconclusive


def test_no_records_are_no_rows(ws: Workspace) -> None:
    assert len(check_collections(ws, [], ENTRY, []).rows) == 0
