"""The only file that knows the order: recipe in, verdict out."""

import json
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from goldsmith.engines.evidence import find_model, find_release, find_stated, left_out_of, promotion_of, records_of
from goldsmith.engines.lineage import made_before
from goldsmith.engines.model_files import is_here, locate_base
from goldsmith.engines.reading.identity import digest_of
from goldsmith.engines.sweeping.account import Swept
from goldsmith.engines.trusting import trust_of
from goldsmith.engines.votes import read_votes
from goldsmith.engines.yaml_file import read_yaml
from goldsmith.stages import check, collect, diligence, drill, examine, export, promote, release, sweep, train
from goldsmith.trust import canonical
from goldsmith.trust.workspace import Workspace
from goldsmith.types.artifact import Digest
from goldsmith.types.check import CheckContext
from goldsmith.types.coverage import Coverage
from goldsmith.types.data_card import DataCard
from goldsmith.types.diligence import Diligence
from goldsmith.types.errors import BadInput
from goldsmith.types.finding import Outcome, Verdict
from goldsmith.types.lineage import Collection, Examination, Model, Release
from goldsmith.types.recipe import CheckEntry, Parallel, PromotionPolicy, Recipe, SourceEntry, Sweep
from goldsmith.types.record import Origin

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
    try:
        recipe = read_yaml(path, Recipe)
    except BadInput as error:
        raise _placed(error) from error
    if recipe.promote is not None:
        return recipe, recipe.promote
    policy = promote.read_policy(path.parent / str(recipe.policy))
    return recipe.model_copy(update={"promote": policy, "policy": None}), policy


def _placed(error: BadInput) -> BadInput:
    """The same error; of a setting of training that stands among the recipe's own keys it says where it belongs."""
    from goldsmith.engines.training.settings import TrainingSettings

    key = error.what.removeprefix("unknown key '").split("'")[0]
    if error.what.startswith("unknown key '") and key in TrainingSettings.model_fields:
        error.what = f"{key!r} is a setting of a training step, not of the recipe"
        error.allowed = None
        error.next_step = f"put it there: train: [{{method: ..., settings: {{{key}: {error.found}}}}}]"
    return error


def dry_run(recipe: Recipe) -> None:
    """Build every capability the recipe names, so that a misspelt setting fails before any work is done."""
    check.checks_of(train.checks_for(recipe))
    examine.build_evals(recipe.examine)
    methods = train.build_methods(recipe.train)
    train.require_sources(methods, [one.name for one in recipe.sources])
    if getattr(methods[-1], "ends_in", "words") == "number":
        examine.require_answers_not_needed(recipe.examine, recipe.train[-1].method)


def require_base(recipe: Recipe, *, here: bool = False) -> None:
    """The base is there, and so is what the steps tune of it: told before any source is read and checked. `here`: fetch
    nothing; a base that is not on this machine is passed over. Errors: Unavailable, BadInput."""
    if here and not is_here(recipe.base):
        return
    train.require_parts(recipe.train, locate_base(recipe.base))


def run(
    ws: Workspace,
    recipe: Recipe,
    folder: Path,
    *,
    say: Say = lambda _: None,
    progress: bool = True,
    parallel: Parallel | None = None,
) -> Circle:
    """Run the whole circle: collect, check, release, train, examine, promote. File names are relative to `folder`.

    Everything is stated in the workspace as it happens. `parallel`: how training is shared, in place of what the recipe
    says. Errors: what the stages raise; what was stated before stands.
    """
    policy = recipe.promote
    assert policy is not None  # read_recipe resolves it
    dry_run(recipe)
    require_base(recipe)
    circle = Circle(recipe)
    recipe_digest = ws.store.put_bytes(recipe.model_dump_json().encode())
    prepare(ws, circle, folder, say=say)
    assert circle.release is not None
    circle.base = train.register_base(ws, recipe.base)[0]
    if (before := made_before(ws, recipe.name, recipe_digest, circle.release[0], circle.base)) is not None:
        say(_on_file(ws, recipe.name, before))
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
            parallel=parallel or recipe.parallel,
        )
        circle.trained.append(trained)
        current = trained.digest
    judge(ws, circle, policy, say=say, progress=progress)
    return circle


def _on_file(ws: Workspace, name: str, model: Digest) -> str:
    standing, said = promotion_of(ws, model)
    outcome = None if said is None else said.predicate.get("outcome")
    verdict = f"{standing}, verdict {outcome}" if outcome else standing
    return (
        f"an identical run is on file: model {name} {model[:19]}, {verdict} (goldsmith trace {name}); it is run again"
    )


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
    checks, texts = train.checks_for(recipe), examine.eval_texts(recipe.examine)
    circle.checked = check.check_collections(ws, circle.collections, checks, texts)
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
    say(f"release: {made.count} records in, {made.left_out_count} left out{_why(ws, made)}")
    if verdict.evidence:
        say(f"  {len(verdict.evidence)} decision(s) of reviewers honoured: goldsmith show decisions")


def _why(ws: Workspace, made: Release) -> str:
    """The commonest reasons why records were left out, and the command that tells of each."""
    if not made.left_out_count:
        return ""
    counts = Counter(one.reason.split(":")[0] for one in left_out_of(ws, made))
    told = ", ".join(f"{count} for {reason}" for reason, count in counts.most_common(3))
    return f" ({told}): goldsmith show left-out {made.name}"


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


def try_settings(
    ws: Workspace,
    recipe: Recipe,
    folder: Path,
    *,
    from_release: str | None = None,
    device: Literal["auto", "cpu", "cuda"] = "auto",
    say: Say = lambda _: None,
) -> Swept:
    """Try the recipe's `sweep` on its own data up to the release, or on the workspace's release of a name or digest.

    Errors: as `prepare` and the sweep stage; BadInput if a later step's starting model is not named.
    """
    wish = recipe.sweep or Sweep()
    dry_run(recipe)
    require_base(recipe, here=wish.base is not None)
    if wish.step > 1 and wish.base is None:
        raise BadInput(
            f"step {wish.step} starts from the model of the step before, which is not named",
            where="sweep.base",
            next_step="run the recipe once and name that model (its name or digest) in sweep.base",
        )
    if from_release is None:
        circle = Circle(recipe)
        prepare(ws, circle, folder, say=say)
        assert circle.release is not None
        made = circle.release[1]
    else:
        made = find_release(ws, from_release)[1]
    base = train.register_base(ws, recipe.base)[0] if wish.base is None else find_model(ws, wish.base)[0]
    everything = list(records_of(ws, made))
    step = recipe.train[wish.step - 1]
    wanted = train.records_for(step.method, everything)
    place = train.base_folder(ws, base)
    return sweep.sweep(
        ws,
        recipe,
        (made.records, everything),
        wanted,
        (base, place),
        models=train.named_models(ws, step),
        trust=trust_of(ws, made),
        device=device,
        say=say,
    )


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


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a due-diligence report is asked to take into account. `coverage`: a drill's result, as JSON; `drill`: run a
    small one."""

    entry: CheckEntry
    coverage: Path | None = None
    drill: bool = False
    votes: Path | None = None
    evals: tuple[Path, ...] = ()


DRILL: dict[str, Any] = {"records": (10, 50), "draws": 2, "most_rows": 4000, "cpu_seconds": 600.0}
"""The small drill of a due-diligence report; `goldsmith drill` makes a larger one."""


def diligence_of_file(
    path: Path,
    out: Path,
    wanted: Wanted,
    *,
    format_name: str | None = None,
    origin: Origin | None = None,
    say: Say = lambda _: None,
) -> tuple[Diligence, diligence.Written]:
    """Check a file and write its due-diligence report, unsigned. Errors: BadInput, Unavailable."""
    value, _ = _of_file(path, wanted, format_name, origin, say)
    return value, diligence.write(value, out)


def diligence_of_stated(
    ws: Workspace, name: str, out: Path, wanted: Wanted, *, say: Say = lambda _: None
) -> tuple[Diligence, diligence.Written]:
    """Check a release's or a collection's deliveries again, and write and sign its due-diligence report.

    Errors: BadInput if the workspace has neither a release nor a collection of this name.
    """
    value, _ = _of_stated(ws, name, wanted, say)
    return value, diligence.write(value, out, ws)


def croissant_of_file(path: Path, out: Path, card: Path | None, *, origin: Origin | None = None) -> list[Path]:
    """A file's records with a Croissant description; the paths, the description first."""
    told = DataCard() if card is None else read_yaml(card, DataCard)
    value, checked = _of_file(path, Wanted(CheckEntry()), None, origin, lambda _: None)
    return export.export_croissant((row.record for row in checked.rows), value, out, told)


def croissant_of_stated(ws: Workspace, name: str, out: Path, card: Path | None) -> list[Path]:
    """The same of a release or a collection. Errors: BadInput, Unavailable."""
    told = DataCard() if card is None else read_yaml(card, DataCard)
    value, stated = _of_stated(ws, name, Wanted(CheckEntry()), lambda _: None)
    return export.export_croissant(export.stated_records(ws, stated), value, out, told)


def _of_file(
    path: Path, wanted: Wanted, format_name: str | None, origin: Origin | None, say: Say
) -> tuple[Diligence, check.Checked]:
    given = _given(wanted)
    checked, reading = check.check_file(
        path, wanted.entry, format_name=format_name, origin=origin, evals=wanted.evals, votes=wanted.votes
    )
    asked = _asked(wanted, given, checked, [digest_of(path)], say)
    return diligence.describe_file(path, checked, asked, faulty=len(reading.faults)), checked


def _of_stated(ws: Workspace, name: str, wanted: Wanted, say: Say) -> tuple[Diligence, Release | Collection]:
    given = _given(wanted)
    digest, stated = find_stated(ws, name)
    collections = (digest,) if isinstance(stated, Collection) else stated.collections
    texts = [pair for path in wanted.evals for pair in check.eval_texts(path)]
    checked = check.check_collections(ws, collections, wanted.entry, texts)
    asked = _asked(wanted, given, checked, diligence.data_of(ws, stated), say)
    return diligence.describe_stated(ws, digest, stated, checked, asked), stated


def _given(wanted: Wanted) -> Coverage | None:
    """Read before anything is checked, so that a wrong file costs nothing."""
    if wanted.coverage is not None and wanted.drill:
        raise BadInput("--coverage and --drill were both given", next_step="give one of them")
    return None if wanted.coverage is None else diligence.read_coverage(wanted.coverage)


def _asked(
    wanted: Wanted, given: Coverage | None, checked: check.Checked, data: Sequence[Digest], say: Say
) -> diligence.Asked:
    checks = check.checks_of(wanted.entry)
    votes = read_votes(wanted.votes) if wanted.votes else []
    coverage = given
    if wanted.drill and checked.rows:
        texts = [pair for path in wanted.evals for pair in check.eval_texts(path)]
        context = CheckContext(
            eval_names=[name for name, _ in texts],
            eval_texts=[text for _, text in texts],
            votes=votes,
            allowed_hosts=None if wanted.entry.allowed_hosts is None else frozenset(wanted.entry.allowed_hosts),
            allowed_tools=None if wanted.entry.allowed_tools is None else frozenset(wanted.entry.allowed_tools),
        )
        coverage = drill.drill_rows(checked.rows, checks, context, progress=say, **DRILL)
    power, told = diligence.power_of(coverage, data if given is not None else None)
    return diligence.Asked(checks=checks, off=wanted.entry.off, votes=votes, power=power, power_told=told)
