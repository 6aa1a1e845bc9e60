"""Offline verification of a workspace, or of a copy of it: every file accounted for, every signature and
digest checked.

It needs no key, no network and no clock. Without a trust root's fingerprint and a checkpoint from outside
the folder it can only say that the folder agrees with itself: whoever can write to it could have made it
all anew, or have gone back to an older state.
"""

import os
import re
import stat
from collections import Counter
from pathlib import Path
from typing import Literal

from goldsmith.trust import canonical, envelope, merkle, note, reach
from goldsmith.trust.chain import Chain, Problem, ProblemKind
from goldsmith.trust.founding import WorkspaceInfo
from goldsmith.trust.journal import Journal
from goldsmith.trust.ledger import entry_name
from goldsmith.types.artifact import Digest, Frozen, SafeInt
from goldsmith.types.errors import (
    BadInput,
    Forged,
    GoldsmithError,
    IntegrityFailure,
    Replayed,
    Tampered,
    Unavailable,
)

_ENTRY = re.compile(r"ledger/entries/([0-9]{8})\.json")
_OBJECT = re.compile(r"store/([0-9a-f]{2})/([0-9a-f]{62})")
_FILES = frozenset({"workspace.json", "trust-root.json", "ledger/checkpoint"})
_FOLDER = re.compile(r"store|store/[0-9a-f]{2}|ledger|ledger/entries")
_LEFT = "added, or left by a run that did not finish (opening the workspace puts that aside)"
_ERRORS: dict[str, type[IntegrityFailure]] = {"forged": Forged, "replayed": Replayed}


class VerifyReport(Frozen):
    """What was checked and what does not hold.

    `standing`: `verified` (nothing is wrong, and fingerprint and checkpoint came from outside),
    `self-consistent only` (nothing is wrong with the folder by itself), or `failed`. `counts`: what was
    covered, by name.
    """

    folder: str
    name: str | None
    standing: Literal["verified", "self-consistent only", "failed"]
    root_fingerprint: Digest | None
    root_version: SafeInt | None
    self_attested: bool | None
    root_pinned: bool
    checkpoint_pinned: bool
    counts: dict[str, SafeInt]
    problems: tuple[Problem, ...]

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong."""
        return not self.problems

    def __str__(self) -> str:
        covered = ", ".join(f"{number} {name}" for name, number in self.counts.items())
        lines = [
            f"{self.standing}: workspace {self.name or '(unknown)'}",
            f"  covers:      {covered}; not scratch/",
        ]
        lines.append(f"  trust root:  {self.root_fingerprint} (version {self.root_version})")
        if self.self_attested:
            lines.append("               self-attested: made locally, vouched for by nobody else")
        if not self.root_pinned:
            lines.append("  not checked: whether this is the right trust root (give its fingerprint from outside)")
        if not self.checkpoint_pinned:
            lines.append("  not checked: whether entries were removed at the end (give a checkpoint from outside)")
        lines += [f"  {one.kind}: {one.object}: {one.what}" for one in self.problems]
        return "\n".join(lines)

    def raise_if_failed(self) -> None:
        """Errors: Forged, Replayed or Tampered naming the first object that does not hold."""
        if self.problems:
            first = self.problems[0]
            raise _ERRORS.get(first.kind, Tampered)(
                f"{first.kind}: {first.what}",
                where=first.object,
                found=f"{len(self.problems)} problems in all",
                next_step="restore the workspace from a copy that verifies",
            )


def verify(
    folder: str | os.PathLike[str], root_fingerprint: str | None = None, checkpoint: str | None = None
) -> VerifyReport:
    """Check everything in a workspace's folder, changing nothing.

    `root_fingerprint`: of the trust root in force, or of an earlier version, known from outside.
    `checkpoint`: a signed head kept outside; it must be of this ledger, which must still hold all it held
    then. Errors: Unavailable if there is no such folder; all else is in the report.
    """
    path = Path(folder)
    if not path.is_dir():
        raise Unavailable("there is no such folder", where=str(path))
    return _Verification(path).run(root_fingerprint, checkpoint)


class _Verification:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.problems: list[Problem] = []
        self.files: dict[str, int] = {}
        self.journal = Journal()
        self.entries: list[bytes] = []
        self.tree = merkle.Tree()
        self.intact: set[Digest] = set()
        self.info: WorkspaceInfo | None = None

    def run(self, root_fingerprint: str | None, checkpoint: str | None) -> VerifyReport:
        self._inventory(self.folder, "")
        self._objects()
        self._ledger()
        self._head("ledger/checkpoint", self._text("ledger/checkpoint"), whole=True)
        self._identity()
        self._reach()
        self.problems += Chain(self.journal, self._read_object, self.intact.__contains__).problems()
        if root_fingerprint is not None:
            self._pin(root_fingerprint)
        if checkpoint is not None:
            self._head("the checkpoint from outside", checkpoint, whole=False)
        pinned = root_fingerprint is not None and checkpoint is not None
        held = self.journal.root_at(self.journal.size) if self.journal.roots else None
        return VerifyReport(
            folder=self.folder.name,
            name=self.info.name if self.info else None,
            standing="failed" if self.problems else "verified" if pinned else "self-consistent only",
            root_fingerprint=held.fingerprint if held else None,
            root_version=held.trust_root.version if held else None,
            self_attested=held.trust_root.self_attested if held else None,
            root_pinned=root_fingerprint is not None,
            checkpoint_pinned=checkpoint is not None,
            counts=self._counts(),
            problems=tuple(self.problems),
        )

    def _counts(self) -> dict[str, int]:
        stated = Counter(one.predicate_type for one in self.journal.statements)
        return {
            "files": len(self.files),
            "bytes": sum(self.files.values()),
            "objects": len(self.intact),
            "ledger entries": self.journal.size,
            "trust roots": len(self.journal.roots),
            **{f"{name} statements": number for name, number in sorted(stated.items())},
        }

    def _report(self, kind: ProblemKind, about: str, what: str) -> None:
        self.problems.append(Problem(kind=kind, object=about, what=what))

    def _report_error(self, about: str, error: GoldsmithError) -> None:
        kinds: dict[type[GoldsmithError], ProblemKind] = {
            Forged: "forged",
            Replayed: "replayed",
            Unavailable: "missing",
        }
        found = f" (found {error.found})" if error.found else ""
        self._report(kinds.get(type(error), "tampered"), about, error.what + found)

    # --- every file and folder is one of ours

    def _inventory(self, folder: Path, prefix: str) -> None:
        for entry in sorted(os.scandir(folder), key=lambda one: one.name):
            name = prefix + entry.name
            shown = name if name.isprintable() and name.isascii() else ascii(name)
            if entry.is_symlink():
                self._report("unexpected", shown, "a symbolic link")
            elif entry.is_dir():
                if name == "scratch":
                    continue
                if _FOLDER.fullmatch(name):
                    self._inventory(folder / entry.name, name + "/")
                else:
                    self._report("unexpected", shown, "a folder that no workspace has")
            elif not stat.S_ISREG(entry.stat(follow_symlinks=False).st_mode):
                self._report("unexpected", shown, "not a plain file")
            elif name in _FILES or _ENTRY.fullmatch(name) or _OBJECT.fullmatch(name):
                self.files[name] = entry.stat(follow_symlinks=False).st_size
            else:
                self._report("unexpected", shown, "a file that no workspace has")
        if not prefix:
            for name in sorted(_FILES - set(self.files)):
                self._report("missing", name, "every workspace has this file")

    # --- the store

    def _locate(self, digest: Digest) -> Path:
        return self.folder / "store" / digest[7:9] / digest[9:]

    def _read_object(self, digest: Digest) -> bytes | None:
        return self._locate(digest).read_bytes() if digest in self.intact else None

    def _objects(self) -> None:
        for name in self.files:
            match = _OBJECT.fullmatch(name)
            if match is None:
                continue
            digest = f"sha256:{match[1]}{match[2]}"
            try:
                found = canonical.file_digest(self.folder / name)
            except Unavailable as error:
                self._report_error(name, error)
                continue
            if found == digest:
                self.intact.add(digest)
            else:
                self._report("tampered", name, f"its bytes have the digest {found}")

    def _reach(self) -> None:
        payloads = [envelope.parse(entry).payload for entry in self.entries[: self.journal.size]]
        led_to = reach.reachable(payloads, self._locate)
        for digest in sorted(self.intact - led_to):
            name = f"store/{digest[7:9]}/{digest[9:]}"
            self._report("unexpected", name, f"a stored object that no statement leads to: {_LEFT}")

    # --- the ledger

    def _ledger(self) -> None:
        present = {int(match[1]) for name in self.files if (match := _ENTRY.fullmatch(name))}
        for index in range(max(present, default=-1) + 1):
            name = f"ledger/entries/{entry_name(index)}"
            if index not in present:
                self._report("missing", name, "there are entries after it")
                for later in sorted(one for one in present if one > index):
                    after = f"ledger/entries/{entry_name(later)}"
                    self._report("unexpected", after, "an entry before it is missing, so nothing vouches for its place")
                break
            try:
                data = self._bytes(name)
                self.journal.read_entry(data)
            except GoldsmithError as error:
                self._report_error(name, error)
                break
            self.entries.append(data)
        self.tree = merkle.Tree(self.entries)

    def _bytes(self, name: str) -> bytes:
        try:
            return (self.folder / name).read_bytes()
        except OSError as error:
            raise Unavailable("this file cannot be read", found=error.strerror) from error

    def _text(self, name: str) -> str | None:
        if name not in self.files:
            return None
        try:
            return self._bytes(name).decode()
        except UnicodeDecodeError:
            self._report("tampered", name, "not UTF-8")
        except Unavailable as error:
            self._report_error(name, error)
        return None

    def _head(self, about: str, text: str | None, *, whole: bool) -> None:
        """Check a checkpoint: the folder's own (`whole`: it covers every entry), or one from outside."""
        if text is None or len(self.journal.statements) == 0:
            return
        try:
            found = note.parse(text)[0]
            size, origin = found.size, self.journal.workspace.predicate["origin"]
            if found.origin != origin:
                self._report("forged", about, f"of another ledger: {found.origin}")
                return
            if size > self.journal.size:
                about = self._first_absent(size) if whole else about
                self._report("missing", about, f"covers {size} ledger entries, of which {self.journal.size} are sound")
                return
            head = note.verify(text, origin, self.journal.operator_keys(size))
        except GoldsmithError as error:
            self._report_error(about, error)
            return
        if self.tree.root_at(size) != head.root:
            self._report("tampered", about, f"the first {size} ledger entries are not those it was signed over")
        if whole and text != note.sole(head, text):
            self._report("tampered", about, "more than one signature, or another encoding")
        for index in range(size, self.journal.size if whole else 0):
            name = f"ledger/entries/{entry_name(index)}"
            self._report(
                "unexpected",
                name,
                f"beyond the checkpoint: {_LEFT}",
            )

    def _first_absent(self, size: int) -> str:
        names = (f"ledger/entries/{entry_name(index)}" for index in range(self.journal.size, size))
        return next((name for name in names if name not in self.files), "ledger/checkpoint")

    def _identity(self) -> None:
        if self.journal.roots and "trust-root.json" in self.files:
            held = self.journal.roots[-1].envelope
            if self._bytes("trust-root.json") != held:
                self._report("tampered", "trust-root.json", "not the trust root that the ledger holds")
        if self.journal.statements and "workspace.json" in self.files:
            data = self._bytes("workspace.json")
            if self.journal.workspace.subjects != {"workspace.json": canonical.digest(data)}:
                self._report("tampered", "workspace.json", "not what the ledger was begun with")
                return
            try:
                self.info = canonical.read_artifact(data, WorkspaceInfo)
            except BadInput as error:
                self._report_error("workspace.json", error)

    def _pin(self, fingerprint: str) -> None:
        if fingerprint not in [held.fingerprint for held in self.journal.roots]:
            found = ", ".join(held.fingerprint for held in self.journal.roots) or "none"
            self._report("forged", "trust-root.json", f"not the trust root {ascii(fingerprint)[:80]} (found {found})")
