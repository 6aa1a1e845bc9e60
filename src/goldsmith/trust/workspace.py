"""A workspace: one folder with all evidence, whose every file `verify` can account for.

::

    workspace.json     which workspace this is, bound by the ledger's second entry
    trust-root.json    the trust root in force (its earlier versions are in the ledger)
    store/             objects by digest
    ledger/            signed statements as Merkle leaves, and the signed checkpoint
    scratch/           not evidence, never verified; may be deleted while nothing runs

Private keys live outside, by default in `.goldsmith-keys` beside the workspace.
"""

import fcntl
import os
import re
import secrets
import weakref
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from goldsmith.trust import attest, canonical, clock, durable, founding, reach, root
from goldsmith.trust import envelope as envelopes
from goldsmith.trust.attest import Statement
from goldsmith.trust.founding import WorkspaceInfo
from goldsmith.trust.journal import Journal
from goldsmith.trust.keys import KeyRing, PrivateKey
from goldsmith.trust.ledger import Ledger
from goldsmith.trust.root import KeyRole, Quota, TrustRoot
from goldsmith.trust.store import Store
from goldsmith.types.artifact import Digest, Frozen
from goldsmith.types.errors import BadInput, Tampered, Unavailable

KEYS_FOLDER = ".goldsmith-keys"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


class Workspace:
    """An open workspace. Close it, or use it as a context manager; several processes may have it open."""

    def __init__(self, path: str | os.PathLike[str], keys: KeyRing | None = None) -> None:
        self.path = Path(path)
        self.scratch = self.path / "scratch"
        if not (self.path / "workspace.json").is_file():
            raise Unavailable(
                "there is no workspace here", where=str(self.path), next_step="make one with `goldsmith init`"
            )
        self.keys = keys or KeyRing(self.path.parent / KEYS_FOLDER)
        self._unattested = self.scratch / "unattested"
        durable.make_folder(self.scratch)
        self.store = Store(self.path / "store", partial=self.scratch / "partial", on_new=self._note_new)
        self.ledger = Ledger(self.path / "ledger", scratch=self.scratch)
        self.info = self._read_info()
        self._mend_root()
        self._hold = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
        self._closer = weakref.finalize(self, os.close, self._hold)
        self._put_aside()

    @classmethod
    def open(cls, path: str | os.PathLike[str], keys: KeyRing | None = None) -> "Workspace":
        """Open a workspace, repairing what a killed process left.

        Errors: Unavailable if there is none; Tampered or Forged if its ledger, its trust root or
        workspace.json do not hold.
        """
        return cls(path, keys)

    @classmethod
    def create(
        cls,
        path: str | os.PathLike[str],
        *,
        name: str | None = None,
        keys: KeyRing | None = None,
        root_envelope: bytes | None = None,
        audience: str | None = None,
        sources: Sequence[str] | None = None,
        quotas: Sequence[Quota] = (),
    ) -> "Workspace":
        """Make a workspace, wholly or not at all.

        Without `root_envelope`, local keys are made for all roles and everything is self-attested: one key
        for every source, or one for each of `sources`. With it, `keys` must hold an operator's key of that
        root. Errors: BadInput if `path` holds something already; Unavailable on a full disk.
        """
        path = Path(path)
        name = name or (path.resolve().name.lstrip(".") or "workspace")
        if _NAME.fullmatch(name) is None:
            raise BadInput("this cannot be a workspace's name", found=ascii(name)[:80], allowed=_NAME.pattern)
        if path.exists() and (not path.is_dir() or any(path.iterdir())):
            raise BadInput("the workspace's folder is not empty", where=str(path), next_step="choose another folder")
        keys = keys or KeyRing(path.parent / KEYS_FOLDER)
        if root_envelope is None:
            root_envelope = founding.local_root(name, keys, sources, quotas)
        trust_root = root.open_root(root_envelope)
        origin = f"goldsmith.local/{name}/{root.fingerprint(root_envelope)[7:15]}{secrets.token_hex(4)}"
        info = WorkspaceInfo(name=name, origin=origin, audience=audience or name, created_at=clock.now())
        with founding.staged(path) as staging:
            founding.lay_out(staging, info, root_envelope, trust_root, keys)
        return cls(path, keys)

    def close(self) -> None:
        """Let go of the workspace; what was stored and never stated is put aside, if nobody else has it open."""
        if self._closer.alive:
            self._put_aside()
            self._closer()

    def __enter__(self) -> "Workspace":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def name(self) -> str:
        return self.info.name

    @property
    def audience(self) -> str:
        """What a delivery must name as its audience."""
        return self.info.audience

    @property
    def journal(self) -> Journal:
        """What the ledger says."""
        return self.ledger.journal

    @property
    def trust_root(self) -> TrustRoot:
        """The trust root in force."""
        return self.journal.trust_root

    @property
    def root_fingerprint(self) -> Digest:
        """The fingerprint of the trust root in force. Keep it outside the workspace."""
        return self.journal.root_at(self.journal.size).fingerprint

    @property
    def self_attested(self) -> bool:
        """Whether the one who made this workspace vouches for itself."""
        return self.trust_root.self_attested

    def checkpoint(self) -> str:
        """The ledger's signed head. Keep it outside the workspace."""
        return self.ledger.checkpoint()

    # --- keys

    def key_for(self, role: str, source: str | None = None) -> PrivateKey:
        """The ring's key that may now sign in this role (for this source). Errors: Unavailable if it has
        none."""
        now = clock.now()
        for trusted in self.trust_root.with_role(KeyRole(role)):
            if trusted.valid_at(now) and (source is None or trusted.speaks_for(source)):
                key = self.keys.find(trusted.keyid)
                if key is not None:
                    return key
        for_source = f" for the source {source!a}" if source is not None else ""
        raise Unavailable(
            f"no key at hand may sign as {role}{for_source}",
            where=str(self.keys.folder),
            allowed="a key that the trust root lists with this role, valid now",
            next_step="name the folder that holds the key, or have one added to the trust root",
        )

    def source_key(self, source: str) -> PrivateKey:
        """The ring's key that may sign for `source`. Errors: as `key_for`."""
        return self.key_for(KeyRole.SOURCE, source)

    def rotate_root(self, root_envelope: bytes) -> TrustRoot:
        """Put the next version of the trust root in force. Errors: Forged or Replayed if it may not
        follow."""
        held = self.journal.root_at(self.journal.size)
        new = root.accept_rotation(held.trust_root, held.fingerprint, root_envelope)
        with self.ledger.transaction(founding.operator_key(new, self.keys)):
            self.ledger.append(root_envelope)
        self._mend_root()
        return new

    # --- statements

    @contextmanager
    def atomically(self) -> Iterator[None]:
        """Statements and deliveries inside are committed together at the end, or, on an error, not at all."""
        with self.ledger.transaction(self.key_for(KeyRole.OPERATOR)):
            yield

    def attest(
        self,
        predicate_type: str,
        subjects: Mapping[str, Digest],
        predicate: Mapping[str, Any] | None = None,
        *,
        role: str,
        source: str | None = None,
    ) -> Statement:
        """Sign a statement with the ring's key for `role` and put it in the ledger.

        Errors: BadInput (unknown type, role that may not state it, content without canonical form),
        Unavailable (no key, full disk); then nothing was stated.
        """
        key = self.key_for(role, source)
        with self.atomically():
            envelope = attest.sign(
                predicate_type,
                subjects,
                predicate or {},
                key,
                role=role,
                source=source,
                self_attested=self.self_attested,
            )
            return self.append(envelope)

    def attest_artifact(
        self, predicate_type: str, value: Frozen, predicate: Mapping[str, Any] | None = None, *, role: str
    ) -> Statement:
        """Store a value and state it; the statement's subject is its digest, named by its kind."""
        kind = canonical.schema_of(value).split(".", 1)[1].split("/")[0]
        return self.attest(predicate_type, {kind: self.store.put_artifact(value)}, predicate, role=role)

    def append(self, envelope: bytes) -> Statement:
        """Put somebody's signed statement in the ledger.

        Errors: Forged, Replayed, BadInput if it may not stand there (a trust root goes in by `rotate_root`).
        """
        attest.read(envelope)
        with self.atomically():
            self.ledger.append(envelope)
            return self.journal.statements[-1]

    def statements(self, predicate_type: str | None = None) -> Iterator[Statement]:
        """The ledger's statements (of one type), verified, in its order."""
        if predicate_type is not None:
            attest.type_uri(predicate_type)
        return (one for one in list(self.journal.statements) if predicate_type in (None, one.predicate_type))

    def refresh(self) -> None:
        """Read what other processes have stated since."""
        if self.ledger.idle:
            self.ledger.refresh()

    def about(self, digest: Digest, predicate_type: str | None = None) -> list[Statement]:
        """The statements that have `digest` among their subjects."""
        return [one for one in self.statements(predicate_type) if digest in one.subjects.values()]

    def withdraw(self, digest: Digest, reason: str, *, role: str = "operator", **more: Any) -> Statement:
        """State that `digest` no longer stands, and why. A withdrawal is never taken back; state the thing
        anew."""
        return self.attest("withdrawal", {"withdrawn": digest}, {**more, "reason": reason}, role=role)

    def withdrawn(self, digest: Digest) -> Statement | None:
        """The statement that withdrew `digest`, if there is one; other processes' statements count."""
        self.refresh()
        return self.journal.withdrawals.get(digest)

    # --- opening

    def _read_info(self) -> WorkspaceInfo:
        path = self.path / "workspace.json"
        with durable.storage_errors(path):
            data = path.read_bytes()
        stated = self.journal.workspace
        if stated.subjects != {"workspace.json": canonical.digest(data)}:
            raise Tampered("workspace.json is not what the ledger was begun with", where=str(path))
        return canonical.read_artifact(data, WorkspaceInfo)

    def _mend_root(self) -> None:
        # trust-root.json is a copy of what the ledger holds; a rotation that was killed in between leaves
        # the older one.
        path = self.path / "trust-root.json"
        held = self.journal.root_at(self.journal.size)
        with durable.storage_errors(path):
            data = path.read_bytes() if path.exists() else b""
        if data == held.envelope:
            return
        if data not in [earlier.envelope for earlier in self.journal.roots]:
            raise Tampered("trust-root.json is not the trust root of the ledger", where=str(path))
        durable.write(path, held.envelope, partial=self.scratch / "partial")

    def _note_new(self, digest: Digest) -> None:
        with (
            durable.storage_errors(self._unattested),
            open(self._unattested, "a", encoding="ascii") as stream,
        ):
            stream.write(digest + "\n")

    def _candidates(self) -> set[Digest]:
        text = self._unattested.read_text(encoding="ascii", errors="replace")
        return {line for line in text.splitlines() if canonical.is_digest(line)}

    @contextmanager
    def _alone(self) -> Iterator[bool]:
        try:
            fcntl.flock(self._hold, fcntl.LOCK_EX | fcntl.LOCK_NB)
            alone = True
        except BlockingIOError:
            alone = False
        try:
            yield alone
        finally:
            fcntl.flock(self._hold, fcntl.LOCK_SH)

    def _put_aside(self) -> None:
        with self._alone() as alone:
            if alone and self._unattested.exists():
                self._sweep(self._candidates())
                self._unattested.unlink()

    def sweep(self) -> list[Digest]:
        """Move every stored object that no statement leads to into `scratch/swept`; their digests.

        Errors: Unavailable while another process, which may be about to state something, has the workspace
        open.
        """
        with self._alone() as alone:
            if not alone:
                raise Unavailable("another process has this workspace open", where=str(self.path))
            return self._sweep(set(self.store.list()))

    def _sweep(self, candidates: set[Digest]) -> list[Digest]:
        payloads = [envelopes.parse(entry).payload for entry in self.ledger]
        kept = reach.reachable(payloads, self.store.locate, wanted=candidates)
        swept = sorted(digest for digest in candidates - kept if self.store.has(digest))
        durable.make_folder(self.scratch / "swept")
        for digest in swept:
            self.store.locate(digest).rename(self.scratch / "swept" / digest[7:])
        return swept
