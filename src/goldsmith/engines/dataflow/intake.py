"""A file, or stored records -> `StoredRows`: pieces are parsed, projected and looked at row by row in a map step.

Each piece gives a part and its features; both are named by a digest of the piece's bytes, the row formats and the code,
so that a run that was killed takes up where it was. Small files stay in memory, on the same path.
"""

import hashlib
import weakref
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

from goldsmith.engines.dataflow.engine import Engine, Local
from goldsmith.engines.dataflow.partfile import Account, account_of, features_bytes, part_bytes
from goldsmith.engines.dataflow.scratch import HEADER_BYTES, Scratch, code_digest, default_folder
from goldsmith.engines.dataflow.stored import Part, StoredRows
from goldsmith.engines.reading.container import Notes
from goldsmith.engines.reading.faults import Fault
from goldsmith.engines.reading.read import uncollected
from goldsmith.engines.text.features import MapsRows
from goldsmith.engines.text.projection import ProjectedRows
from goldsmith.types.check import Check, CheckContext, Row
from goldsmith.types.errors import BadInput

PIECE_BYTES = 8 << 20
ON_DISK_FROM_BYTES = 64 << 20


class Piece(Protocol):
    """Some of the raw rows, to be parsed apart."""

    def rows(self, notes: Notes) -> Iterator[tuple[int, Any]]:
        """(line, row or fault)."""
        ...

    def digest(self) -> bytes:
        """SHA-256 of the rows and their places."""
        ...


class Parser(Protocol):
    """Raw rows to records."""

    def row(self, line: int, raw: Any) -> tuple[str, Row] | Fault:
        """The row's format and record, or why it cannot be used."""
        ...

    def fresh(self) -> "Parser":
        """The same parser, as before it met any row."""
        ...

    def told(self) -> tuple[object, ...]:
        """What its records depend on beside the rows."""
        ...


class Supply(Protocol):
    """Where rows come from: a file (`Reading`), or a workspace (`stated.Stated`). `identity`: what tells it from others
    on this machine; `text_bytes`: about how much text it holds.
    """

    @property
    def identity(self) -> str: ...
    @property
    def text_bytes(self) -> int: ...
    def parser(self) -> Parser: ...
    def pieces(self, size: int) -> Iterator[Piece]: ...
    def account(self, formats: Mapping[str, int], faults: Sequence[Fault], notes: Mapping[str, str | int]) -> None: ...
    def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Job:
    """What every piece needs: how to parse it and which checks look at its rows one by one."""

    parser: Parser
    checks: tuple[MapsRows, ...]
    context: CheckContext

    def digest(self) -> bytes:
        """SHA-256 of the formats, the checks with their settings, what they may know, and the code."""
        checks = [(check.id, check.version, repr(check)) for check in self.checks]
        told = (*self.parser.told(), checks, _known(self.context))
        return hashlib.sha256(f"{code_digest()} {told!r}".encode("utf-8", "surrogatepass")).digest()


def _known(context: CheckContext) -> tuple[object, ...]:
    texts = hashlib.sha256()
    for text in context.eval_texts:
        texts.update(text.encode("utf-8", "surrogatepass") + b"\0")
    return (
        texts.hexdigest(),
        tuple(context.eval_names),
        None if context.allowed_hosts is None else sorted(context.allowed_hosts),
        None if context.allowed_tools is None else sorted(context.allowed_tools),
        sorted(context.trusted_sources),
        context.use,
    )


def map_piece(job: Job, piece: Piece) -> tuple[bytes, bytes]:
    """The map step, pure: a piece's part and features as files. Errors: BadInput of a piece that spoils its file."""
    parser = job.parser.fresh()
    notes = Notes()
    rows: list[Row] = []
    faults: list[Fault] = []
    formats: dict[str, int] = {}
    with uncollected():
        for line, raw in piece.rows(notes):
            found = raw if isinstance(raw, Fault) else parser.row(line, raw)
            if isinstance(found, Fault):
                faults.append(found)
            else:
                formats[found[0]] = formats.get(found[0], 0) + 1
                rows.append(found[1])
        view = ProjectedRows(rows)
        part = part_bytes(view, Account(formats, tuple(faults), notes.facts))
        features = {check.id: check.row_features(view, job.context) for check in job.checks}
        del view  # and with it the rows, before the collector would walk them all
        rows.clear()
    return part, features_bytes(features)


@dataclass(slots=True)
class _Slot:
    """A piece's place among the parts, filled when its files are there."""

    key: str
    part: Path | bytes | None = None
    features: Path | bytes | None = None


class Intake:
    """A file, or stored records, being taken in. `rows()` maps what no earlier run has; `done()` lets go of what a
    killed run would need.

    `progress(parts, reused)` is called after each part.
    """

    def __init__(
        self,
        supply: Supply,
        checks: Sequence[Check] = (),
        context: CheckContext | None = None,
        *,
        engine: Engine | None = None,
        scratch: Path | None = None,
        on_disk: bool | None = None,
        progress: Callable[[int, int], None] = lambda *_: None,
    ) -> None:
        mapped = tuple(check for check in checks if isinstance(check, MapsRows))
        # What a map sees travels to every worker: no votes and no other rows, which say nothing about one row.
        known = replace(context or CheckContext(), votes=(), previous=None)
        self._job = Job(supply.parser(), mapped, known)
        self._supply, self._engine, self._progress = supply, engine or Local(), progress
        if on_disk is None:
            on_disk = supply.text_bytes >= ON_DISK_FROM_BYTES
        self._scratch: Scratch | None = None
        if on_disk:
            name = hashlib.sha256(supply.identity.encode("utf-8", "surrogateescape")).hexdigest()[:24]
            self._scratch = Scratch(scratch or default_folder(), name)

    def rows(self) -> StoredRows:
        """The supply's usable rows; a reading's counts, faults and facts are complete then.

        Errors: BadInput (the file is spoilt; nothing of it is left lying), Unavailable (a full disk).
        """
        try:
            return self._stored(self._mapped())
        except BadInput:
            if self._scratch is not None:
                self._scratch.remove()
            raise

    def _mapped(self) -> list[_Slot]:
        """Every piece's files, those of an earlier run where they are whole."""
        slots: list[_Slot] = []
        waiting: deque[_Slot] = deque()
        reused = 0

        def tasks() -> Iterator[Piece]:
            nonlocal reused
            digest = self._job.digest()
            for piece in self._supply.pieces(PIECE_BYTES):
                slot = _Slot(hashlib.sha256(digest + piece.digest()).hexdigest())
                slots.append(slot)
                if self._reuse(slot):
                    reused += 1
                    self._progress(len(slots), reused)
                else:
                    waiting.append(slot)
                    yield piece

        for part, features in self._engine.map(map_piece, self._job, tasks()):
            slot = waiting.popleft()
            slot.part, slot.features = (
                self._kept(slot.key + ".part", part),
                self._kept(slot.key + ".features", features),
            )
            self._progress(len(slots) - len(waiting), reused)
        if self._scratch is not None:
            self._scratch.keep_only([slot.key + kind for slot in slots for kind in (".part", ".features")])
        return slots

    def _reuse(self, slot: _Slot) -> bool:
        if self._scratch is None:
            return False
        slot.part, slot.features = self._scratch.find(slot.key + ".part"), self._scratch.find(slot.key + ".features")
        return slot.part is not None and slot.features is not None

    def _kept(self, name: str, data: bytes) -> Path | bytes:
        return data if self._scratch is None else self._scratch.write(name, data)

    def _stored(self, slots: Sequence[_Slot]) -> StoredRows:
        parts, features = [], []
        for slot in slots:
            assert slot.part is not None
            assert slot.features is not None
            part = Part(slot.part, HEADER_BYTES)
            account = account_of(part.batch())
            part.close()
            self._supply.account(account.formats, account.faults, account.notes)
            if part.rows:
                parts.append(part)
                features.append(slot.features)
        self._supply.close()
        return StoredRows(parts, features)

    def done(self, rows: StoredRows) -> None:
        """The work on `rows` is done: their files go when they do, or when the process ends in peace."""
        if self._scratch is not None:
            weakref.finalize(rows, self._scratch.remove)
