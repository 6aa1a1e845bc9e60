"""Collections -> findings: every check over all rows together, because contrast between sources is evidence."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import cast

from goldsmith import plugins
from goldsmith.engines.dataflow.engine import Engine, named
from goldsmith.engines.dataflow.intake import Intake
from goldsmith.engines.dataflow.stated import Blob, Stated
from goldsmith.engines.evidence import faults_of, find_release, lines_of
from goldsmith.engines.nearest import turns_of
from goldsmith.engines.reading.read import Reading, read
from goldsmith.engines.screening import Screening, decide, screen
from goldsmith.engines.text.evidence import bounded
from goldsmith.engines.votes import read_votes
from goldsmith.trust.workspace import Workspace
from goldsmith.types.artifact import Digest
from goldsmith.types.check import Check, CheckContext, Row, Vote
from goldsmith.types.errors import BadInput
from goldsmith.types.finding import Finding, Outcome, Severity, SourceVerdict
from goldsmith.types.lineage import Collection
from goldsmith.types.recipe import CheckEntry
from goldsmith.types.record import Origin, Role
from goldsmith.types.row_format import RowFormat

FAULTY = "faulty_row"
"""The check name under which unreadable rows are reported."""


@dataclass(frozen=True, slots=True)
class Checked:
    """What the checks said. `findings` holds the faulty rows too; `sources` one verdict for each source x batch."""

    rows: Sequence[Row]
    screening: Screening
    findings: tuple[Finding, ...]
    sources: tuple[SourceVerdict, ...]

    @property
    def verdict(self) -> Outcome:
        """Fail if any source x batch failed, inconclusive if any could not be told, else pass."""
        found = {one.verdict for one in self.sources}
        for outcome in (Outcome.FAIL, Outcome.INCONCLUSIVE):
            if outcome in found:
                return outcome
        return Outcome.PASS if found else Outcome.INCONCLUSIVE


def check_collections(
    ws: Workspace,
    collections: Sequence[Digest],
    entry: CheckEntry,
    eval_texts: Sequence[tuple[str, str]],
    votes: Sequence[Vote] = (),
    *,
    engine: Engine | None = None,
    on_disk: bool | None = None,
) -> Checked:
    """Check what was delivered. `eval_texts`: (eval name, text) of every eval that will be run.

    Nothing of the corpus is held: of large collections the parts lie in the workspace's scratch, from where a run that
    was killed is taken up. Errors: Unavailable for a full disk.
    """
    blobs: list[Blob] = []
    faults: list[Finding] = []
    trusted: set[str] = set()
    for digest in collections:
        collection = ws.store.get_artifact(digest, Collection)
        blobs.append(Blob(collection.records, partial(lines_of, ws, collection)))
        faults += _faults(faults_of(ws, collection), collection.source, collection.batch)
        if any(s.predicate.get("trusted") for s in ws.about(digest, "collection")):
            trusted.add(collection.source)
    context = CheckContext(
        eval_names=[name for name, _ in eval_texts],
        eval_texts=[text for _, text in eval_texts],
        votes=votes,
        allowed_hosts=None if entry.allowed_hosts is None else frozenset(entry.allowed_hosts),
        allowed_tools=None if entry.allowed_tools is None else frozenset(entry.allowed_tools),
        trusted_sources=frozenset(trusted),
        use=entry.use,
        previous=_previous(ws, entry.previous),
    )
    checks = checks_of(entry)
    chosen = engine or named(entry.engine, workers=entry.workers, ray_address=entry.ray_address)
    intake = Intake(Stated(ws.store, blobs), checks, context, engine=chosen, scratch=_scratch(ws), on_disk=on_disk)
    rows = intake.rows()
    checked = _check(rows, faults, checks, context)
    intake.done(rows)
    return checked


def check_file(
    path: Path,
    entry: CheckEntry,
    *,
    format_name: str | None = None,
    origin: Origin | None = None,
    evals: Sequence[Path] = (),
    votes: Path | None = None,
    strict: bool = False,
    previous: Path | None = None,
    engine: Engine | None = None,
    scratch: Path | None = None,
    progress: Callable[[int, int], None] = lambda *_: None,
) -> tuple[Checked, Reading]:
    """Check a file alone, without a workspace or keys; its rows' own `source` and `batch` are taken at their word.

    With `strict` the first faulty row is an error. `engine` maps the parts of the file (that of `entry`, by default);
    of a large file they lie in `scratch`, from where a run that was killed is taken up; `progress(parts, reused)`
    follows them. Errors: BadInput for a faulty file; Unavailable for a full disk.
    """
    formats = cast(list[RowFormat], plugins.build_all("sources"))
    texts = [pair for one in evals for pair in eval_texts(one)]
    context = CheckContext(
        eval_names=[name for name, _ in texts],
        eval_texts=[text for _, text in texts],
        votes=read_votes(votes) if votes else (),
        allowed_hosts=None if entry.allowed_hosts is None else frozenset(entry.allowed_hosts),
        allowed_tools=None if entry.allowed_tools is None else frozenset(entry.allowed_tools),
        use=entry.use,
        previous=_rows_of_file(previous, formats, origin, scratch) if previous else None,
    )
    checks = checks_of(entry)
    reading = read(path, formats, format_name=format_name, origin_defaults=origin or Origin())
    chosen = engine or named(entry.engine, workers=entry.workers, ray_address=entry.ray_address)
    intake = Intake(reading, checks, context, engine=chosen, scratch=scratch, progress=progress)
    rows = intake.rows()
    if strict and reading.faults:
        intake.done(rows)
        first = reading.faults[0]
        raise BadInput(
            f"{len(reading.faults)} faulty row(s), the first: {first.what}",
            where=reading.place(first.line),
            found=first.found,
            allowed=first.allowed,
            next_step="mend the rows, or leave --strict out to have them reported as findings",
        )
    default = origin or Origin()
    faults = _faults(((f.line, str(f)) for f in reading.faults), default.source, default.batch)
    checked = _check(rows, faults, checks, context)
    intake.done(rows)
    return checked, reading


def _rows_of_file(path: Path, formats: list[RowFormat], origin: Origin | None, scratch: Path | None) -> Sequence[Row]:
    intake = Intake(read(path, formats, origin_defaults=origin or Origin()), scratch=scratch)
    rows = intake.rows()
    intake.done(rows)
    return rows


def _previous(ws: Workspace, name: str | None) -> Sequence[Row] | None:
    if name is None:
        return None
    _, made = find_release(ws, name)
    intake = Intake(Stated(ws.store, [Blob(made.records)]), scratch=_scratch(ws))
    rows = intake.rows()
    intake.done(rows)
    return rows


def _scratch(ws: Workspace) -> Path:
    return ws.scratch / "parts"


def checks_of(entry: CheckEntry) -> list[Check]:
    """The checks an entry asks for: all built-in ones but `off`, and the third parties' `extra`."""
    built = plugins.build_all("checks", entry.settings, entry.off)
    extra = [
        plugins.build("checks", name, entry.settings.get(name)) for name in entry.extra if name not in entry.settings
    ]
    return cast(list[Check], [*built, *extra])


def eval_texts(path: Path) -> list[tuple[str, str]]:
    """(the set's path, text) of every user turn and answer of an eval set, in any supported row format."""
    batches = read(path, cast(list[RowFormat], plugins.build_all("sources"))).batches()
    rows = (row for batch in batches for row in batch)
    turns = (turn for row in rows for turn in turns_of(row.record) if turn.role is not Role.TOOL)
    return [(str(path), turn.text) for turn in turns if turn.text]


def _check(rows: Sequence[Row], faults: list[Finding], checks: Sequence[Check], context: CheckContext) -> Checked:
    screening = screen(rows, checks, context)
    findings = (*faults, *screening.findings)
    return Checked(rows, screening, findings, decide(findings, rows))


def _faults(told: Iterable[tuple[int, str]], source: str, batch: str) -> list[Finding]:
    """The faulty rows, each with its fault; of very many the rest together."""
    return bounded((_fault(line, what, source, batch) for line, what in told), "{n} more rows cannot be used")


def _fault(line: int, what: str, source: str, batch: str) -> Finding:
    return Finding(
        check=FAULTY,
        severity=Severity.EXCLUDE,
        score=1.0,
        evidence=what,
        lines=(line,),
        source=source,
        batch=batch,
    )
