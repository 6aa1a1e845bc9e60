"""Reading back what earlier stages left in the workspace, and finding it by name."""

from collections.abc import Iterable, Iterator
from typing import Any

import orjson

from goldsmith.trust import canonical, records
from goldsmith.trust.attest import Statement
from goldsmith.trust.workspace import Workspace
from goldsmith.types.artifact import Digest
from goldsmith.types.check import Row
from goldsmith.types.errors import BadInput
from goldsmith.types.finding import Finding
from goldsmith.types.lineage import Collection, Examination, LeftOut, Model, Release, Run
from goldsmith.types.record import Record


def rows_of(ws: Workspace, collection: Collection) -> Iterator[Row]:
    """A collection's records at their lines, one after the other."""
    with ws.store.open_file(collection.records) as stream:
        for line, record in zip(lines_of(ws, collection), records.stream(stream), strict=True):
            yield Row(line, record)


def lines_of(ws: Workspace, collection: Collection) -> list[int]:
    """The lines of the delivered file at which a collection's records stood, in their order."""
    return _field(canonical.load(ws.store.get_bytes(collection.places)), "lines")


def faults_of(ws: Workspace, collection: Collection) -> list[tuple[int, str]]:
    """A collection's faulty lines, each with its fault in words."""
    places = canonical.load(ws.store.get_bytes(collection.places))
    return [(fault["line"], fault["what"]) for fault in _field(places, "faults")]


def _field(places: Any, name: str) -> list[Any]:
    found = places[name]
    assert isinstance(found, list)
    return found


def record_lines(ws: Workspace, blob: Digest) -> Iterator[tuple[bytes, Digest]]:
    """Each record of a stored blob as its canonical line (without the newline), with its digest; nothing is held."""
    with ws.store.open_file(blob) as stream:
        for number, text in records.stream_lines(stream):
            yield text, records.digest_of(number, records.parse_line(number, text))


def records_of(ws: Workspace, release: Release) -> Iterator[Record]:
    """A release's records, in its order, one after the other."""
    with ws.store.open_file(release.records) as stream:
        yield from records.stream(stream)


def row_names(ws: Workspace, release: Release) -> list[str]:
    """What messages call each record of a release, in its order: the delivery, and the line there."""
    out = {(one.source, one.batch, one.line) for one in left_out_of(ws, release)}
    found: list[str] = []
    for digest in release.collections:
        collection = ws.store.get_artifact(digest, Collection)
        unit = (collection.source, collection.batch)
        found += [row_name(*unit, line) for line in lines_of(ws, collection) if (*unit, line) not in out]
    return found


def row_name(source: str, batch: str, line: int) -> str:
    """How the product names a row, wherever it speaks of one."""
    return f"{source} / {batch} line {line}"


def left_out_of(ws: Workspace, release: Release) -> Iterator[LeftOut]:
    """What was delivered and is not in the release, with the reasons."""
    with ws.store.open_file(release.left_out) as stream:
        for line in stream:
            yield LeftOut.model_validate_json(line)


def findings_of(ws: Workspace, release: Release) -> Iterator[Finding]:
    """What the checks found in the release's collections."""
    with ws.store.open_file(release.findings) as stream:
        for line in stream:
            yield Finding.model_validate_json(line)


def json_lines(items: Iterable[dict[str, Any]]) -> bytes:
    """Measurements (floats allowed) as JSON lines."""
    return b"".join(orjson.dumps(item, option=orjson.OPT_APPEND_NEWLINE) for item in items)


def find_model(ws: Workspace, name: str) -> tuple[Digest, Model]:
    """The model called `name` (the newest of that name), or with that digest or unique digest prefix.

    Errors: BadInput if there is none or more than one, naming those there are.
    """
    digest = _find(ws, "model", name)
    return digest, ws.store.get_artifact(digest, Model)


def _find(ws: Workspace, kind: str, name: str) -> Digest:
    statements = list(ws.statements(kind))
    called = [s.subjects[kind] for s in statements if s.predicate.get("name") == name]
    if called:
        return called[-1]
    wanted = name.removeprefix("sha256:")
    digests = dict.fromkeys(s.subjects[kind] for s in statements)
    matching = [d for d in digests if len(wanted) >= 6 and d.removeprefix("sha256:").startswith(wanted)]
    if len(matching) == 1:
        return matching[0]
    known = ", ".join(dict.fromkeys(str(s.predicate.get("name")) for s in statements)) or "none yet"
    raise BadInput(
        f"there is {'more than one' if matching else 'no'} {kind} {name!r} in this workspace",
        where=str(ws.path),
        allowed=f"a digest, its first 6 or more digits, or a name: {known}",
    )


def find_release(ws: Workspace, name: str) -> tuple[Digest, Release]:
    """The release called `name`, or with that digest or digest prefix. Errors: BadInput."""
    digest = _find(ws, "release", name)
    return digest, ws.store.get_artifact(digest, Release)


def find_collection(ws: Workspace, name: str) -> tuple[Digest, Collection]:
    """The collection with that digest or unique digest prefix, or the newest of `source/batch`. Errors: BadInput."""
    stated = dict.fromkeys(s.subjects["collection"] for s in ws.statements("collection"))
    known = {digest: ws.store.get_artifact(digest, Collection) for digest in stated}
    named = [digest for digest, one in known.items() if f"{one.source}/{one.batch}" == name]
    if named:
        return named[-1], known[named[-1]]
    wanted = name.removeprefix("sha256:")
    matching = [d for d in known if len(wanted) >= 6 and d.removeprefix("sha256:").startswith(wanted)]
    if len(matching) == 1:
        return matching[0], known[matching[0]]
    raise BadInput(
        f"there is {'more than one' if matching else 'no'} collection {name!r} in this workspace",
        where=str(ws.path),
        allowed="a digest, its first 6 or more digits, or source/batch: "
        + (", ".join(dict.fromkeys(f"{one.source}/{one.batch}" for one in known.values())) or "none yet"),
    )


def find_stated(ws: Workspace, name: str) -> tuple[Digest, Release | Collection]:
    """The release or the collection called so; a release wins. Errors: BadInput naming what there is of both."""
    try:
        return find_release(ws, name)
    except BadInput as no_release:
        try:
            return find_collection(ws, name)
        except BadInput as no_collection:
            raise BadInput(
                f"there is no file, no release and no collection {name!r}",
                where=str(ws.path),
                allowed=f"a file, or of releases {no_release.allowed}; of collections {no_collection.allowed}",
            ) from no_collection


def newest_release(ws: Workspace) -> tuple[Digest, Release]:
    """The release that was stated last, refused ones too. Errors: BadInput if there is none."""
    stated = list(ws.statements("release"))
    if not stated:
        raise BadInput(
            "there is no release in this workspace yet", where=str(ws.path), next_step="goldsmith run RECIPE"
        )
    digest = stated[-1].subjects["release"]
    return digest, ws.store.get_artifact(digest, Release)


def promotion_of(ws: Workspace, model: Digest) -> tuple[str, Statement | None]:
    """How a model stands: `promoted`, `admitted` (a base model, by its operator), `refused`, `withdrawn` or `unjudged`,
    and the statement that says so."""
    withdrawn = ws.withdrawn(model)
    standing: tuple[str, Statement | None] = ("unjudged", None)
    for statement in ws.about(model):
        if statement.predicate_type == "verdict" and statement.predicate.get("gate") == "promotion":
            passed = statement.predicate.get("outcome") == "pass"
            standing = ("promoted" if passed else "refused", statement)
        elif statement.predicate_type == "admission":
            standing = ("admitted", statement)
    if withdrawn is not None and (standing[1] is None or (standing[1].index or 0) < (withdrawn.index or 0)):
        return "withdrawn", withdrawn
    return standing


def root_model(ws: Workspace, digest: Digest) -> Digest:
    """The base model a model goes back to, through every training run and merge."""
    current = digest
    while True:
        model = ws.store.get_artifact(current, Model)
        parent = ws.store.get_artifact(model.run, Run).base if model.run is not None else model.base
        if parent is None:
            return current
        current = parent


def newest_examination(ws: Workspace, model: Digest) -> Digest:
    """The digest of a model's newest examination. Errors: BadInput if it was never examined."""
    found = [
        s.subjects["examination"]
        for s in ws.statements("examination")
        if ws.store.get_artifact(s.subjects["examination"], Examination).model == model
    ]
    if not found:
        raise BadInput(
            "this model was never examined", found=model, next_step="goldsmith examine MODEL --recipe RECIPE"
        )
    return found[-1]
