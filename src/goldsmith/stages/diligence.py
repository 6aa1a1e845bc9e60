"""Checked data -> a due-diligence report: JSON, an HTML page and, in a workspace, a signed statement with its proof."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol, cast

import numpy as np
from numpy.typing import NDArray

from goldsmith import plugins
from goldsmith.engines.diligence.assemble import assemble
from goldsmith.engines.diligence.material import Material
from goldsmith.engines.diligence.page import render
from goldsmith.engines.diligence.power import of_coverage
from goldsmith.engines.evidence import left_out_of
from goldsmith.engines.reading.identity import digest_of
from goldsmith.engines.screening import Screening
from goldsmith.trust import canonical, clock
from goldsmith.trust import diligence as proofs
from goldsmith.trust.attest import Statement
from goldsmith.trust.durable import storage_errors
from goldsmith.trust.workspace import Workspace
from goldsmith.types.artifact import Digest
from goldsmith.types.check import Check, CheckContext, Row, Vote
from goldsmith.types.coverage import Coverage
from goldsmith.types.diligence import Diligence, Power, Subject
from goldsmith.types.errors import BadInput, Unavailable
from goldsmith.types.finding import Finding, SourceVerdict
from goldsmith.types.lineage import Collection, Delivery, Release
from goldsmith.types.record import Record, Text

GUARDS = ("secrets", "personal_data")
"""The checks that say which text may not be shown."""


class Judged(Protocol):
    """Rows that were checked, and what the checks said (the check stage's `Checked`)."""

    @property
    def rows(self) -> Sequence[Row]: ...
    @property
    def screening(self) -> Screening: ...
    @property
    def findings(self) -> tuple[Finding, ...]: ...
    @property
    def sources(self) -> tuple[SourceVerdict, ...]: ...


@dataclass(frozen=True, slots=True)
class Asked:
    """What a report is asked for beside the data: the checks that ran, those left out, votes, and a drill's power."""

    checks: Sequence[Check] = ()
    off: Sequence[str] = ()
    votes: Sequence[Vote] = ()
    power: Sequence[Power] = ()
    power_told: str = ""
    made_at: str | None = None


@dataclass(frozen=True, slots=True)
class Written:
    """The files of a report; `proof` only where it was signed."""

    page: Path
    report: Path
    proof: Path | None = None


def describe_file(path: Path, judged: Judged, asked: Asked, *, faulty: int) -> Diligence:
    """The report on a file that was checked alone."""
    subject = Subject(
        what="file", name=path.name, digest=digest_of(path), records=len(judged.rows), delivered=len(judged.rows),
        faulty=faulty,
    )  # fmt: skip
    return assemble(_material(judged, asked, subject, None))


def describe_stated(
    ws: Workspace, digest: Digest, stated: Release | Collection, judged: Judged, asked: Asked
) -> Diligence:
    """The report on a release or a collection of a workspace, whose deliveries were all checked."""
    common: dict[str, Any] = {
        "digest": digest, "delivered": len(judged.rows), "merkle_root": stated.merkle_root, "workspace": ws.name,
        "trust_root": ws.root_fingerprint, "self_attested": ws.self_attested, "withdrawn": _withdrawn(ws, digest),
    }  # fmt: skip
    if isinstance(stated, Collection):
        name = f"{stated.source} / {stated.batch}"
        subject = Subject(what="collection", name=name, records=stated.count, faulty=stated.faulty, **common)
        return assemble(_material(judged, asked, subject, None))
    faulty = sum(ws.store.get_artifact(one, Collection).faulty for one in stated.collections)
    subject = Subject(
        what="release", name=stated.name, records=stated.count, faulty=faulty, left_out=stated.left_out_count, **common
    )
    gone = {(one.source, one.batch, one.line) for one in left_out_of(ws, stated)}
    kept = np.fromiter(
        (
            (row.record.origin.source, row.record.origin.batch, row.line) not in gone
            for row in judged.rows
        ),
        np.bool_,
        len(judged.rows),
    )  # fmt: skip
    return assemble(_material(judged, asked, subject, kept))


def read_coverage(path: Path) -> Coverage:
    """A drill's result (`goldsmith drill --json`). Errors: BadInput if the file holds none."""
    try:
        with storage_errors(path):
            told = json.loads(path.read_bytes())
        return Coverage.model_validate({name: told[name] for name in Coverage.model_fields if name in told})
    except (ValueError, TypeError) as error:
        raise BadInput(
            "this is not a drill's result",
            where=str(path),
            found=str(error).splitlines()[0][:160],
            allowed="what `goldsmith drill FILE --json` prints",
        ) from error


def power_of(coverage: Coverage | None, data: Sequence[Digest] | None) -> tuple[tuple[Power, ...], str]:
    """A drill's cells and how they came about; nothing, and no word, without a drill. `data`: see `of_coverage`."""
    return ((), "") if coverage is None else of_coverage(coverage, data)


def data_of(ws: Workspace, stated: Release | Collection) -> list[Digest]:
    """The delivered file of a collection, or of a release that is of one delivery: what a drill of the same data names.

    The drill of one file says nothing of a release of several: none is named then.
    """
    if isinstance(stated, Release):
        if len(stated.collections) != 1:
            return []
        stated = ws.store.get_artifact(stated.collections[0], Collection)
    return [ws.store.get_artifact(stated.delivery, Delivery).file]


def write(value: Diligence, out: Path, ws: Workspace | None = None) -> Written:
    """Write the page to `out` and the report beside it (`.json`); in a workspace sign both and write the proof
    (`.proof.json`). Each file appears whole or not at all. Errors: Unavailable if they cannot be written.
    """
    page = render(value).encode()
    report = out.with_suffix(".json")
    if ws is None:
        _put(out, page)
        _put(report, canonical.artifact_bytes(value))
        return Written(out, report)
    statement = sign(ws, value, canonical.digest(page))
    proof = out.with_suffix(".proof.json")
    _put(out, page)
    _put(report, canonical.artifact_bytes(value))
    _put(proof, canonical.artifact_bytes(proofs.prove(ws, statement)))
    return Written(out, report, proof)


def sign(ws: Workspace, value: Diligence, page: Digest) -> Statement:
    """State the report: its subject is the data's digest, its predicate the report's, the page's and the verdict."""
    with ws.atomically():
        report = ws.store.put_artifact(value)
        said = {"report": report, "page": page, "verdict": value.verdict.value}
        return ws.attest("due-diligence", {value.subject.what: value.subject.digest}, said, role="operator")


def sensitive(texts: Sequence[str]) -> list[bool]:
    """For each text whether the checks for secrets and personal data find something in it."""
    rows = [Row(line, Record(content=Text(text=text))) for line, text in enumerate(texts, 1)]
    flagged: set[int] = set()
    for name in GUARDS:
        guard = cast(Check, plugins.build("checks", name))
        for finding in guard(rows, CheckContext()).findings:
            flagged.update(finding.lines)
    return [row.line in flagged for row in rows]


def _material(judged: Judged, asked: Asked, subject: Subject, kept: NDArray[np.bool_] | None) -> Material:
    material = Material(
        rows=judged.rows, screening=judged.screening, findings=judged.findings, sources=judged.sources,
        checks=asked.checks, subject=subject, sensitive=sensitive, off=asked.off, votes=asked.votes, kept=kept,
        power=asked.power, power_told=asked.power_told, made_at=asked.made_at or clock.now(),
    )  # fmt: skip
    return (
        material
        if subject.withdrawn is None
        else replace(material, notes=(f"This {subject.what} was withdrawn: {subject.withdrawn}",))
    )


def _withdrawn(ws: Workspace, digest: Digest) -> str | None:
    statement = ws.withdrawn(digest)
    return None if statement is None else str(statement.predicate.get("reason", "no reason given"))


def _put(path: Path, data: bytes) -> None:
    partial = path.with_name(path.name + ".partial")
    with storage_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.is_dir():
            raise Unavailable("a folder is in the way", where=str(path))
        partial.write_bytes(data)
        partial.replace(path)
