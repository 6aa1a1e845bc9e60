"""A bad source -> everything it touched: named, withdrawn in the ledger, and the recipe that retrains without it."""

from collections.abc import Container, Iterable
from dataclasses import dataclass, field
from typing import Any

from goldsmith.engines.evidence import promotion_of, record_lines, records_of
from goldsmith.engines.reviews import decisions
from goldsmith.trust.workspace import Workspace
from goldsmith.types.artifact import Digest
from goldsmith.types.errors import BadInput
from goldsmith.types.lineage import Collection, Model, Release, Run
from goldsmith.types.recipe import Recipe, SourceEntry, TrainStep, Without
from goldsmith.types.review import Decision


@dataclass(slots=True)
class Touched:
    """What a recalled source, batch or record is in, each in ledger order; `withdrawn`: promotions taken back now."""

    without: Without
    collections: list[Digest] = field(default_factory=list)
    reviews: list[Digest] = field(default_factory=list)
    releases: list[Digest] = field(default_factory=list)
    runs: list[Digest] = field(default_factory=list)
    models: list[Digest] = field(default_factory=list)
    promotions: list[Digest] = field(default_factory=list)
    withdrawn: list[Digest] = field(default_factory=list)
    names: dict[Digest, str] = field(default_factory=dict)
    recipe: Recipe | None = None

    def as_dict(self) -> dict[str, Any]:
        """Plain data for printing or JSON."""
        kinds = ("collections", "reviews", "releases", "runs", "models", "promotions", "withdrawn")
        listed = {kind: [{"digest": d, "name": self.names.get(d)} for d in getattr(self, kind)] for kind in kinds}
        return {"recalled": self.without.model_dump(exclude_none=True), **listed}


def recall(ws: Workspace, without: Without, reason: str) -> Touched:
    """Withdraw what `without` touched: collections (of a source or batch), releases, models and their promotions.

    With a collection go the decisions that let some of it in. Serving stops at the next request. Nothing is deleted.
    Errors: BadInput if it touches nothing here.
    """
    touched = find_touched(ws, without)
    with ws.atomically():
        whole = touched.collections if without.record is None else []
        for digest in [*whole, *touched.reviews, *touched.releases, *touched.models, *touched.promotions]:
            if ws.withdrawn(digest) is None:
                ws.withdraw(digest, reason, recalled=without.model_dump(exclude_none=True))
                touched.withdrawn.append(digest)
    touched.recipe = _retrain(ws, touched)
    return touched


def find_touched(ws: Workspace, without: Without) -> Touched:
    """Name everything a source, batch or record is in, without changing anything."""
    touched = Touched(without)
    known: list[str] = []
    for statement in ws.statements("collection"):
        digest = statement.subjects["collection"]
        collection = ws.store.get_artifact(digest, Collection)
        known.append(f"{collection.source}/{collection.batch}")
        if _matches_collection(ws, without, collection):
            touched.collections.append(digest)
            touched.names[digest] = known[-1]
    if not touched.collections:
        raise BadInput(
            "nothing in this workspace comes from there",
            found=" ".join(f"{k} {v}" for k, v in without.model_dump(exclude_none=True).items()),
            allowed=", ".join(dict.fromkeys(known)) or "there are no collections yet",
        )
    _follow(ws, touched)
    if without.record is None:
        _add_reviews(ws, touched)
    return touched


def _add_reviews(ws: Workspace, touched: Touched) -> None:
    """The decisions that let recalled rows in; those that keep rows out stand."""
    for collection in touched.collections:
        for one in decisions(ws, collection):
            if one.review.decision is not Decision.REJECT:
                _add(touched.reviews, one.digest)
                touched.names[one.digest] = f"{one.review.decision.value} {touched.names[collection]}"


def _matches_collection(ws: Workspace, without: Without, collection: Collection) -> bool:
    if without.source not in (None, collection.source) or without.batch not in (None, collection.batch):
        return False
    return without.record is None or any(digest == without.record for _, digest in record_lines(ws, collection.records))


def _follow(ws: Workspace, touched: Touched) -> None:
    for statement in ws.statements("release"):
        digest = statement.subjects["release"]
        release = ws.store.get_artifact(digest, Release)
        if set(release.collections) & set(touched.collections) and _uses(ws, release, touched.without):
            _add(touched.releases, digest)
            touched.names[digest] = release.name
    for statement in ws.statements("run"):
        digest = statement.subjects["run"]
        if ws.store.get_artifact(digest, Run).release in touched.releases:
            _add(touched.runs, digest)
            touched.names[digest] = str(statement.predicate.get("method"))
    for statement in ws.statements("model"):  # ledger order: ancestors come before their descendants
        digest = statement.subjects["model"]
        model = ws.store.get_artifact(digest, Model)
        parents: set[Digest | None] = {model.base}
        if model.run is not None:
            parents.add(ws.store.get_artifact(model.run, Run).base)
        if model.run in touched.runs or parents & set(touched.models):
            _add(touched.models, digest)
            touched.names[digest] = model.name
            standing, verdict = promotion_of(ws, digest)
            if standing == "promoted" and verdict is not None:
                _add(touched.promotions, verdict.subjects["verdict"])
                touched.names[verdict.subjects["verdict"]] = model.name


def _add(listed: list[Digest], digest: Digest) -> None:
    if digest not in listed:
        listed.append(digest)


def _uses(ws: Workspace, release: Release, without: Without) -> bool:
    """Whether any record of the recalled kind is really in the release: a quarantined batch touched nothing."""
    if without.record is not None:
        return any(digest == without.record for _, digest in record_lines(ws, release.records))
    return any(
        without.source in (None, r.origin.source) and without.batch in (None, r.origin.batch)
        for r in records_of(ws, release)
    )


def _retrain(ws: Workspace, touched: Touched) -> Recipe | None:
    """The newest touched run's recipe over the same collections, without what was recalled."""
    if not touched.runs:
        return None
    run = ws.store.get_artifact(touched.runs[-1], Run)
    recipe = Recipe.model_validate_json(ws.store.get_bytes(run.recipe))
    release = ws.store.get_artifact(run.release, Release)
    gone = touched.collections if touched.without.record is None else []
    sources = tuple(_sources(ws, [d for d in release.collections if d not in gone]))
    if not sources:
        return None
    asked = recipe.release.require_accept
    still = {one.name for one in sources}
    policy = recipe.release.model_copy(
        update={
            "without": (*recipe.release.without, touched.without),
            "require_accept": asked if asked == "all" else tuple(name for name in asked if name in still),
        }
    )
    name = recipe.name if recipe.name.endswith("-recalled") else f"{recipe.name}-recalled"
    steps = tuple(_without_gone(step, still) for step in recipe.train)
    return recipe.model_copy(update={"name": name, "sources": sources, "release": policy, "train": steps})


def _without_gone(step: TrainStep, still: Container[str]) -> TrainStep:
    """The step without what it mixed in of sources that are gone."""
    if "mix" not in step.settings:
        return step
    mix = [{**one, "sources": [name for name in one["sources"] if name in still]} for one in step.settings["mix"]]
    kept = {**step.settings, "mix": [one for one in mix if one["sources"]]}
    return step.model_copy(update={"settings": kept})


def _sources(ws: Workspace, collections: Iterable[Digest]) -> Iterable[SourceEntry]:
    for digest in collections:
        collection = ws.store.get_artifact(digest, Collection)
        yield SourceEntry(name=collection.source, batch=collection.batch, collection=digest)
