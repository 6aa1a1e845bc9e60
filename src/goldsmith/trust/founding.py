"""Founding a workspace: its identity, its first trust root, its folder (there wholly or not at all)."""

import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Literal

from goldsmith.trust import attest, canonical, clock, durable, root
from goldsmith.trust.keys import KeyRing, PrivateKey
from goldsmith.trust.ledger import Ledger
from goldsmith.trust.root import KeyRole, Quota, TrustRoot
from goldsmith.trust.store import Store
from goldsmith.types.artifact import Frozen
from goldsmith.types.errors import Unavailable


class WorkspaceInfo(Frozen):
    """`workspace.json`: the name, the ledger's `origin` in its checkpoints, and the `audience` deliveries
    must name."""

    kind: Literal["workspace"] = "workspace"
    name: str
    origin: str
    audience: str
    created_at: str


def operator_key(trust_root: TrustRoot, keys: KeyRing) -> PrivateKey:
    now = clock.now()
    for trusted in trust_root.with_role(KeyRole.OPERATOR):
        key = keys.find(trusted.keyid)
        if key is not None and trusted.valid_at(now):
            return key
    raise Unavailable(
        "no operator's key of this trust root is at hand, and the ledger's checkpoints are signed with one",
        where=str(keys.folder),
    )


def local_root(name: str, keys: KeyRing, sources: Sequence[str] | None, quotas: Sequence[Quota]) -> bytes:
    held = set(keys.names())

    def local(key_name: str) -> PrivateKey:
        return keys.get(key_name) if key_name in held else keys.create(key_name)

    now = clock.now()
    entries = [
        root.trusted(f"local-{role}", local(f"local-{role}").public, roles=[role], days=3650, start=now)
        for role in KeyRole
        if role is not KeyRole.SOURCE
    ]
    speakers = (
        {f"source-{one}": (one,) for one in sources} if sources is not None else {"local-source": (root.ANY_SOURCE,)}
    )
    for key_name, allowed in speakers.items():
        public = local(key_name).public
        entries.append(root.trusted(key_name, public, roles=["source"], sources=allowed, days=3650, start=now))
    master = local("local-root")
    trust_root = TrustRoot(
        name=name,
        version=1,
        previous=None,
        self_attested=True,
        threshold=1,
        root_keys=(root.root_key(master.public),),
        keys=tuple(entries),
        quotas=tuple(quotas),
        issued_at=now,
    )
    return root.sign_root(trust_root, [master])


@contextmanager
def staged(path: Path) -> Iterator[Path]:
    """A folder beside `path` that takes its place at the end, or disappears."""
    staging = path.parent / f".{path.name}.creating"
    durable.make_folder(path.parent)
    with durable.storage_errors(path):
        with suppress(FileNotFoundError):
            shutil.rmtree(staging)  # what a killed creation left
        staging.mkdir()
        try:
            yield staging
            staging.rename(path)
            durable.sync_folder(path.parent)
        except BaseException:
            shutil.rmtree(staging, ignore_errors=True)
            raise


def lay_out(folder: Path, info: WorkspaceInfo, root_envelope: bytes, trust_root: TrustRoot, keys: KeyRing) -> None:
    scratch = folder / "scratch"
    store = Store(folder / "store", partial=scratch / "partial")
    operator = operator_key(trust_root, keys)
    about = canonical.artifact_bytes(info)
    durable.write(folder / "workspace.json", about, partial=scratch / "partial")
    durable.write(folder / "trust-root.json", root_envelope, partial=scratch / "partial")
    identity = {"audience": info.audience, "name": info.name, "origin": info.origin}
    genesis = attest.sign(
        "workspace",
        {"workspace.json": canonical.digest(about)},
        identity,
        operator,
        role=KeyRole.OPERATOR,
        self_attested=trust_root.self_attested,
    )
    ledger = Ledger(folder / "ledger", scratch=scratch)
    with ledger.transaction(operator):
        ledger.append(root_envelope)
        ledger.append(genesis)
    durable.sync_folder(store.folder)
