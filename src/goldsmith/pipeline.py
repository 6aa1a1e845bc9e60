"""The only file that knows the order: recipe in, verdict out."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from goldsmith.engines.yaml_file import read_yaml
from goldsmith.stages import check, collect, examine, promote, release, train
from goldsmith.trust import canonical
from goldsmith.trust.workspace import Workspace
from goldsmith.types.artifact import Digest
from goldsmith.types.finding import Outcome, Verdict
from goldsmith.types.lineage import Examination, Model, Release
from goldsmith.types.recipe import PromotionPolicy, Recipe, SourceEntry

Say = Callable[[str], None]


@dataclass(slots=True)
class Circle:
    """What one run of the circle left, by digest. `models`: one for each training step, the last is the candidate."""

    recipe: Recipe
    collections: list[Digest] = field(default_factory=list)
    checked: check.Checked | None = None
    release: tuple[Digest, Release] | None = None
    base: Digest | None = None
    trained: list[train.Trained] = field(default_factory=list)
    examination: tuple[Digest, Examination] | None = None
    verdict: tuple[Digest, Verdict] | None = None

    @property
    def outcome(self) -> Outcome:
        return self.verdict[1].outcome if self.verdict else Outcome.INCONCLUSIVE


def read_recipe(path: Path) -> tuple[Recipe, PromotionPolicy]:
    """A recipe and its promotion policy. Errors: BadInput with file, line and a suggestion; nothing else is touched."""
    recipe = read_yaml(path, Recipe)
    if recipe.promote is not None:
        return recipe, recipe.promote
    policy = promote.read_policy(path.parent / str(recipe.policy))
    return recipe.model_copy(update={"promote": policy, "policy": None}), policy


def dry_run(recipe: Recipe) -> None:
    """Build every capability the recipe names, so that a misspelt setting fails before any work is done."""
    check.checks_of(recipe.checks)
    examine.build_evals(recipe.examine)
    train.build_methods(recipe.train)


def run(ws: Workspace, recipe: Recipe, folder: Path, *, say: Say = lambda _: None, progress: bool = True) -> Circle:
    """Run the whole circle: collect, check, release, train, examine, promote. File names are relative to `folder`.

    Everything is stated in the workspace as it happens. Errors: what the stages raise; what was stated before stands.
    """
    policy = recipe.promote
    assert policy is not None  # read_recipe resolves it
    dry_run(recipe)
    circle = Circle(recipe)
    recipe_digest = ws.store.put_bytes(recipe.model_dump_json().encode())
    prepare(ws, circle, folder, say=say)
    assert circle.release is not None
    circle.base = train.register_base(ws, recipe.base)[0]
    current = circle.base
    for number, step in enumerate(recipe.train, start=1):
        say(f"train: {step.method}, step {number} of {len(recipe.train)}")
        last = number == len(recipe.train)
        trained = train.train(
            ws,
            circle.release[0],
            current,
            step,
            name=recipe.name if last else f"{recipe.name}-{step.method}",
            recipe=recipe_digest,
            seed=recipe.seed,
            validation_share=recipe.validation_share,
            trackers=recipe.trackers,
            progress=progress,
        )
        circle.trained.append(trained)
        current = trained.digest
    judge(ws, circle, policy, say=say, progress=progress)
    return circle


def take_in(ws: Workspace, entry: SourceEntry, folder: Path) -> Digest:
    """Take in one delivery; the collection's digest. Errors: as the collect stage."""
    return collect.collect(ws, entry, folder, reuse=True).digest


def prepare(ws: Workspace, circle: Circle, folder: Path, *, say: Say = lambda _: None) -> None:
    """The data's half: collect, check, release."""
    recipe = circle.recipe
    for entry in recipe.sources:
        say(f"collect: {entry.name} / {entry.batch}")
        circle.collections.append(take_in(ws, entry, folder))
    say("check: every row of every delivery")
    circle.checked = check.check_collections(ws, circle.collections, recipe.checks, examine.eval_texts(recipe.examine))
    for one in circle.checked.sources:
        reasons = f" ({'; '.join(one.reasons)})" if one.reasons else ""
        say(f"  {one.source} / {one.batch}: {one.verdict.value}, {one.records} records{reasons}")
    digest, made, verdict = release.release(
        ws,
        recipe.name,
        circle.collections,
        circle.checked.findings,
        circle.checked.sources,
        recipe.release,
        circle.checked.screening.inconclusive,
    )
    circle.release = (digest, made)
    say(f"release: {made.count} records in, {made.left_out_count} left out with reasons")
    if verdict.evidence:
        say(f"  {len(verdict.evidence)} decision(s) of reviewers honoured: goldsmith show decisions")


def judge(
    ws: Workspace,
    circle: Circle,
    policy: PromotionPolicy,
    *,
    say: Say = lambda _: None,
    progress: bool = True,
) -> None:
    """The model's half after training: examine against the base model, promote or refuse."""
    assert circle.release is not None
    say("examine: tuned and base model on the same tasks")
    shown: set[str] = set()

    def tick(name: str, done: int, total: int) -> None:
        if progress and done >= total and name not in shown:
            shown.add(name)
            say(f"  {name}: {total} answers")

    circle.examination = examine.examine(
        ws,
        circle.trained[-1].digest,
        circle.base,
        circle.recipe.examine,
        release=circle.release[0],
        validation_share=circle.recipe.validation_share,
        seed=circle.recipe.seed,
        progress=tick,
    )
    circle.verdict = promote.promote(ws, circle.examination[0], policy)
    say(f"promote: {circle.verdict[1].outcome.value}")


def summary(circle: Circle) -> dict[str, object]:
    """The circle as plain data for `--json`."""
    return {
        "recipe": circle.recipe.name,
        "verdict": circle.outcome.value,
        "collections": circle.collections,
        "release": circle.release[0] if circle.release else None,
        "sources": _sources(circle),
        "models": [one.digest for one in circle.trained],
        "weights": [weights_digest(one.model) for one in circle.trained],
        "examination": circle.examination[0] if circle.examination else None,
        "results": [json.loads(r.model_dump_json()) for r in circle.examination[1].results]
        if circle.examination
        else [],
        "rules": [r.model_dump(mode="json") for r in circle.verdict[1].rules] if circle.verdict else [],
    }


def weights_digest(model: Model) -> Digest:
    """One digest of all of a model's files, and of nothing else.

    A model's own digest also says where it comes from: in another workspace, where the same rows were delivered under
    another signature, the same weights are another model.
    """
    return canonical.digest(canonical.encode([file.model_dump(mode="json") for file in model.files]))


def _sources(circle: Circle) -> Sequence[dict[str, object]]:
    return [one.model_dump(mode="json") for one in circle.checked.sources] if circle.checked else []
