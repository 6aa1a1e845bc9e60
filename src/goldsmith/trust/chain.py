"""Whether what the ledger states hangs together: delivery -> collection -> release -> run -> model ->
examination and verdict, every digest in its place, every count and Merkle root recomputed from the records
themselves."""

from collections import Counter
from collections.abc import Callable, Iterator
from typing import Literal, NoReturn

from goldsmith.trust import canonical, merkle, records
from goldsmith.trust.attest import Statement
from goldsmith.trust.canonical import AnyFrozen
from goldsmith.trust.journal import Journal, delivery_in
from goldsmith.types.artifact import Digest, Frozen
from goldsmith.types.diligence import Diligence
from goldsmith.types.errors import BadInput
from goldsmith.types.finding import Verdict
from goldsmith.types.lineage import Collection, Delivery, Examination, Model, Release, Run
from goldsmith.types.review import Review

ProblemKind = Literal["tampered", "forged", "replayed", "unexpected", "missing"]


class Problem(Frozen):
    """One thing that does not hold. `object`: the file or the digest it is about."""

    kind: ProblemKind
    object: str
    what: str


class _Broken(Exception):
    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        super().__init__(problem.what)


ARTIFACTS: dict[str, type[Frozen]] = {
    "collection": Collection,
    "release": Release,
    "run": Run,
    "model": Model,
    "examination": Examination,
    "verdict": Verdict,
    "review": Review,
}
"""The predicate types whose subject is a stored value of this type."""


class Chain:
    """Reads stored objects through `read` (None where there is none; bytes already checked against their
    digest)."""

    def __init__(self, journal: Journal, read: Callable[[Digest], bytes | None], has: Callable[[Digest], bool]) -> None:
        self._journal = journal
        self._read = read
        self._has = has
        self._stated: dict[str, set[Digest]] = {name: set() for name in (*ARTIFACTS, "delivery")}
        self._records: dict[Digest, list[Digest]] = {}

    def problems(self) -> Iterator[Problem]:
        """Every break in the chain, in the ledger's order."""
        for statement in self._journal.statements:
            try:
                if statement.predicate_type == "delivery":
                    self._delivery(statement)
                elif statement.predicate_type == "due-diligence":
                    self._diligence(statement)
                elif statement.predicate_type in ARTIFACTS:
                    self._artifact(statement)
            except _Broken as broken:
                yield broken.problem

    def _artifact(self, statement: Statement) -> None:
        name = statement.predicate_type
        kind = ARTIFACTS[name]
        absent = [one for one in statement.subjects.values() if not self._has(one)]
        if absent:
            _break("missing", absent[0], f"stated as a {name} by ledger entry {statement.index}, and not in the store")
        own = [one for one in statement.subjects.values() if self._is(one, kind)]
        if not own:
            _break(
                "missing",
                f"ledger entry {statement.index}",
                f"states a {name}, but no stored {name} is its subject",
            )
        for digest in own:
            self._judge(digest, self._typed(digest, kind, name), statement)
            self._stated[name].add(digest)

    def _judge(self, digest: Digest, value: Frozen, statement: Statement) -> None:
        if isinstance(value, Collection):
            self._collection(digest, value)
        elif isinstance(value, Release):
            self._release(digest, value)
        elif isinstance(value, Run):
            self._run(digest, value)
        elif isinstance(value, Model):
            self._model(digest, value, statement)
        elif isinstance(value, Examination):
            self._typed(value.model, Model, f"{digest} model")
            self._blobs(digest, items=value.items)
            if value.base is not None:
                self._typed(value.base, Model, f"{digest} base")
        elif isinstance(value, Verdict):
            self._blobs(digest, subject=value.subject, policy=value.policy)
            self._blobs(digest, **{f"evidence_{place}": one for place, one in enumerate(value.evidence)})
            if statement.predicate.get("gate") != value.gate:
                _break("forged", digest, f"a verdict of the {value.gate} gate, stated as another's")
            if value.gate == "release":
                self._decisions(digest, value)
        elif isinstance(value, Review):
            self._review(digest, value, statement)

    def _delivery(self, statement: Statement) -> None:
        delivery = delivery_in(statement)
        digest = canonical.artifact_digest(delivery)
        self._typed(digest, Delivery, f"ledger entry {statement.index}")
        self._blobs(digest, file=delivery.file)
        self._stated["delivery"].add(digest)

    def _diligence(self, statement: Statement) -> None:
        where = f"ledger entry {statement.index}"
        report = self._typed(str(statement.predicate.get("report")), Diligence, where)
        for name, digest in statement.subjects.items():
            self._require_stated(name, digest, where)
        if dict(statement.subjects) != {report.subject.what: report.subject.digest}:
            _break("forged", where, "this due-diligence report is about something else than its statement")
        if statement.predicate.get("verdict") != report.verdict.value:
            _break("forged", where, "the statement's verdict is not the one in the report")

    def _collection(self, digest: Digest, value: Collection) -> None:
        self._require_stated("delivery", value.delivery, digest)
        delivery = self._typed(value.delivery, Delivery, f"{digest} delivery")
        if (value.source, value.batch) != (delivery.source, delivery.batch):
            _break("forged", digest, "this collection names another source or batch than its delivery")
        self._blobs(digest, places=value.places)
        found = self._record_digests(value.records, f"{digest} records")
        if len(found) != value.count or delivery.records != value.count:
            _break(
                "tampered",
                digest,
                f"{len(found)} records, {value.count} stated, {delivery.records} delivered",
            )
        if not merkle.root_of(found) == value.merkle_root == delivery.merkle_root:
            _break("tampered", digest, "the records' Merkle root is not the one stated and delivered")

    def _release(self, digest: Digest, value: Release) -> None:
        collected: Counter[Digest] = Counter()
        for one in value.collections:
            self._require_stated("collection", one, digest)
            collection = self._typed(one, Collection, f"{digest} collections")
            collected.update(self._record_digests(collection.records, f"{one} records"))
        released = self._record_digests(value.records, f"{digest} records")
        if len(released) != value.count:
            _break("tampered", digest, f"{len(released)} records, {value.count} stated")
        if merkle.root_of(sorted(released)) != value.merkle_root:
            _break("tampered", digest, "the records' Merkle root is not the one stated")
        left = self._left_out(value.left_out, f"{digest} left_out")
        if len(left) != value.left_out_count:
            _break("tampered", digest, f"{len(left)} records left out, {value.left_out_count} stated")
        if Counter(released) + Counter(left) != collected:
            _break("tampered", digest, "released and left-out records are not, together, the collected ones")
        self._blobs(digest, findings=value.findings, policy=value.policy)

    def _review(self, digest: Digest, value: Review, statement: Statement) -> None:
        self._require_stated("collection", value.collection, digest)
        collection = self._typed(value.collection, Collection, f"{digest} collection")
        if (value.source, value.batch) != (collection.source, collection.batch):
            _break("forged", digest, "this decision names another source or batch than its collection")
        if dict(statement.subjects) != {"review": digest, "collection": value.collection}:
            _break("forged", digest, "this decision is stated of another delivery than the one it is about")
        if statement.predicate.get("decision") != value.decision.value:
            _break("forged", digest, "this decision is stated as another one")
        self._blobs(digest, seen=value.seen)

    def _decisions(self, digest: Digest, value: Verdict) -> None:
        """The decisions a release's verdict rests on are stated, and about deliveries of that release."""
        if not value.evidence:
            return
        release = self._typed(value.subject, Release, f"{digest} subject")
        for one in value.evidence:
            self._require_stated("review", one, digest)
            if self._typed(one, Review, f"{digest} evidence").collection not in release.collections:
                _break("forged", digest, f"rests on the decision {one}, which is about another delivery")

    def _run(self, digest: Digest, value: Run) -> None:
        self._require_stated("release", value.release, digest)
        self._typed(value.base, Model, f"{digest} base")
        self._blobs(digest, metrics=value.metrics, recipe=value.recipe)

    def _model(self, digest: Digest, value: Model, statement: Statement) -> None:
        if value.run is not None:
            self._require_stated("run", value.run, digest)
        if value.base is not None:
            self._typed(value.base, Model, f"{digest} base")
        if statement.predicate.get("weights") != "external":
            self._blobs(digest, **{f"files {file.path}": file.digest for file in value.files})

    def _require_stated(self, name: str, digest: Digest, by: Digest) -> None:
        if digest not in self._stated.get(name, ()):
            _break("missing", by, f"names the {name} {digest}, which no sound statement before it states")

    def _is(self, digest: Digest, kind: type[Frozen]) -> bool:
        data = self._read(digest)
        return data is not None and canonical.schema_in(data) == canonical.schema_of(kind)

    def _typed(self, digest: Digest, kind: type[AnyFrozen], where: str) -> AnyFrozen:
        data = self._read(digest)
        if data is None:
            _break("missing", digest, f"named by {where}, and not in the store")
        try:
            return canonical.read_artifact(data, kind)
        except BadInput as error:
            _break("tampered", digest, f"named by {where}: {error.what}")

    def _blobs(self, by: Digest, **digests: Digest) -> None:
        for field, digest in digests.items():
            if not self._has(digest):
                _break("missing", digest, f"named by {by} {field}, and not in the store")

    def _record_digests(self, blob: Digest, where: str) -> list[Digest]:
        if blob not in self._records:
            try:
                self._records[blob] = records.digests(self._bytes(blob, where))
            except BadInput as error:
                _break("tampered", blob, f"named by {where}: {error.what} ({error.where})")
        return self._records[blob]

    def _left_out(self, blob: Digest, where: str) -> list[Digest]:
        try:
            return [value["record"] for _, value in records.parse_lines(self._bytes(blob, where))]
        except (BadInput, KeyError, TypeError):
            _break("tampered", blob, f"named by {where}: not lines that each name a record")

    def _bytes(self, digest: Digest, where: str) -> bytes:
        data = self._read(digest)
        if data is None:
            _break("missing", digest, f"named by {where}, and not in the store")
        return data


def _break(kind: ProblemKind, about: str, what: str) -> NoReturn:
    raise _Broken(Problem(kind=kind, object=about, what=what))
