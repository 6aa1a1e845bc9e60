"""From a model back to the base it grew from, one training run at a time."""

from collections.abc import Iterator
from dataclasses import dataclass

from goldsmith.engines.evidence import root_model
from goldsmith.trust.workspace import Workspace
from goldsmith.types.artifact import Digest
from goldsmith.types.lineage import Model, Run


@dataclass(frozen=True, slots=True)
class Ancestor:
    """A model in a line of descent, and the run that made it; `run` is None for a base model and for a merge."""

    digest: Digest
    model: Model
    run: Run | None


def ancestry(ws: Workspace, digest: Digest) -> Iterator[Ancestor]:
    """The model itself, then what it was trained from, back to its base. Errors: Tampered if a link does not hold."""
    current: Digest | None = digest
    while current is not None:
        model = ws.store.get_artifact(current, Model)
        run = ws.store.get_artifact(model.run, Run) if model.run is not None else None
        yield Ancestor(current, model, run)
        current = run.base if run is not None else model.base


def made_before(ws: Workspace, name: str, recipe: Digest, release: Digest, base: Digest) -> Digest | None:
    """The newest model `name` that this very recipe made of this release, from this base; None if there is none."""
    for statement in reversed(list(ws.statements("model"))):
        if (statement.predicate.get("of"), statement.predicate.get("name")) != ("run", name):
            continue
        digest = statement.subjects["model"]
        model = ws.store.get_artifact(digest, Model)
        run = None if model.run is None else ws.store.get_artifact(model.run, Run)
        if run is not None and (run.recipe, run.release) == (recipe, release) and root_model(ws, digest) == base:
            return digest
    return None
