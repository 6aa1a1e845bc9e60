"""Release, base, method -> Model: the trainer itself measures and states what it did."""

import json
import platform
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

import goldsmith
from goldsmith import plugins
from goldsmith.engines import model_files
from goldsmith.engines.evidence import records_of, row_names
from goldsmith.engines.splits import split_records
from goldsmith.engines.trusting import trust_of
from goldsmith.trust import canonical
from goldsmith.trust.workspace import Workspace
from goldsmith.types.artifact import Digest, Spec
from goldsmith.types.asking import Asked
from goldsmith.types.errors import BadInput
from goldsmith.types.lineage import Model, Release, Run
from goldsmith.types.recipe import CheckEntry, Parallel, Recipe, TrainStep
from goldsmith.types.record import Record

if TYPE_CHECKING:
    from goldsmith.engines.training.driver import TrainingJob, TrainingOutcome

KINDS: dict[str, tuple[str, ...]] = {
    "sft": ("conversation", "text"),
    "dpo": ("comparison",),
    "reward_model": ("comparison",),
    "process_reward": ("conversation",),
}
"""Which records a built-in method learns from; others are for other steps of the recipe."""
WELL_FORMED = "well_formed"
LOCK = ("torch", "transformers", "peft", "accelerate", "tokenizers", "safetensors", "numpy")


@dataclass(frozen=True, slots=True)
class Trained:
    digest: Digest
    model: Model
    run: Run
    folder: Path


def register_base(ws: Workspace, base: str) -> tuple[Digest, Model]:
    """Take a base model in, once: its files' digests are stated; large weights stay where they are."""
    folder = model_files.locate_base(base)
    keep = model_files.total_bytes(folder) <= model_files.STORED_BYTES_AT_MOST
    with ws.atomically():
        model, _ = model_files.take_in(ws, folder, name=base, form="full", base=None, run=None, keep=keep)
        digest = canonical.artifact_digest(model)
        if not ws.about(digest, "model"):
            more = {} if keep else {"weights": "external", "folder": str(folder.resolve())}
            ws.attest_artifact("model", model, {"name": base, "of": "base", **more}, role="operator")
    return digest, model


def base_folder(ws: Workspace, digest: Digest) -> Path:
    """A folder with the whole model that a step starts from: an adapter is merged into its base first."""
    return _whole(ws, _merged(ws, digest))


def records_for(method: str, records: Sequence[Record]) -> list[Record]:
    """The records a method learns from."""
    kinds = KINDS.get(method)
    return [record for record in records if kinds is None or record.content.kind in kinds]


def build_methods(steps: Sequence[TrainStep]) -> list[Spec]:
    """Each step's method with its settings. Errors: BadInput naming the step and a misspelt setting."""
    built = []
    for number, step in enumerate(steps, start=1):
        try:
            built.append(plugins.build("methods", step.method, step.settings, hand=_only_named))
        except BadInput as error:
            error.where = f"train, step {number}" + (f": {error.where}" if error.where else "")
            raise
    return built


def checks_for(recipe: Recipe) -> CheckEntry:
    """The recipe's checks as its steps need them: where each step writes its own answers, prompts alone are no defect.
    What the recipe says of it itself stands. Errors: as `build_methods`."""
    entry, methods = recipe.checks, build_methods(recipe.train)
    writes = bool(methods) and all(getattr(method, "group_size", 0) for method in methods)
    if not writes or WELL_FORMED in entry.off:
        return entry
    own = {"prompts_alone": True, **entry.settings.get(WELL_FORMED, {})}
    return entry.model_copy(update={"settings": {**entry.settings, WELL_FORMED: own}})


def require_parts(steps: Sequence[TrainStep], base: Path) -> None:
    """What each step tunes by name is in the base, as far as its config tells. Errors: BadInput naming the step."""
    for number, (step, method) in enumerate(zip(steps, build_methods(steps), strict=True), start=1):
        adapter = getattr(method, "adapter", None)
        if adapter is None or not adapter.names_parts:
            continue  # nothing to load torch for
        from goldsmith.engines.training.model.meta import require_parts as in_base

        try:
            in_base(base, method)  # type: ignore[arg-type]
        except BadInput as error:
            error.where = f"train, step {number}: {step.method}" + (f".{error.where}" if error.where else "")
            raise


def require_sources(methods: Sequence[Spec], names: Sequence[str]) -> None:
    """Every source that a step mixes in is a source of the recipe, so that what was trained on is in its release."""
    for method in methods:
        for part in getattr(method, "mix", ()):
            if unknown := next((name for name in part.sources if name not in names), None):
                raise BadInput(
                    f"the {part.part} of a training step names a source that the recipe does not have",
                    where="train, settings, mix",
                    found=repr(unknown),
                    allowed=", ".join(dict.fromkeys(names)),
                    next_step="add it to `sources` (earlier deliveries by their `collection`)",
                )


def _only_named(asked: Asked) -> str | None:
    """A model by digest, not looked for yet."""
    return asked.name if asked.kind == "models" else None


def _from(ws: Workspace) -> plugins.Hand:
    """Hands out the workspace's own models, whole and checked, where a capability asks for one by its digest."""

    def hand(asked: Asked) -> str | None:
        digest = asked.name if asked.kind == "models" and asked.name.startswith("sha256:") else None
        return None if digest is None else str(_whole(ws, digest))

    return hand


def named_models(ws: Workspace, step: TrainStep) -> dict[Digest, str]:
    """The folder of each model of the workspace that a step's method, or a reward of its, names by digest: whole and
    checked. Errors: BadInput, of settings and of digests that are not there."""
    found: dict[Digest, str] = {}
    given = _from(ws)

    def hand(asked: Asked) -> str | None:
        folder: str | None = given(asked)
        if folder is not None:
            found[asked.name] = folder
        return folder

    plugins.build("methods", step.method, step.settings, hand=hand)
    return found


def train(
    ws: Workspace,
    release_digest: Digest,
    base: Digest,
    step: TrainStep,
    *,
    name: str,
    recipe: Digest,
    seed: int,
    validation_share: float,
    trackers: Sequence[str] = (),
    progress: bool = True,
    parallel: Parallel = Parallel(),
) -> Trained:
    """Train one step of a recipe from model `base` on a release; state the run and the model.

    A run that was interrupted is resumed when the same step is started again. Errors: BadInput (rows, settings,
    divergence), Unavailable (disk, model, a lost process), all with the last good checkpoint kept. How the work is
    shared (`parallel`) is no part of what is trained, so a run goes on when that is changed.
    """
    from goldsmith.engines.training.driver import TrainingJob

    base = _merged(ws, base)
    made_from = ws.store.get_artifact(release_digest, Release)
    everything = list(records_of(ws, made_from))
    names = {id(one): name for one, name in zip(everything, row_names(ws, made_from), strict=True)}
    wanted = records_for(step.method, everything)
    if not wanted:
        raise BadInput(
            f"the release {made_from.name!r} holds no record that {step.method} learns from",
            found=f"{made_from.count} records of other kinds",
            allowed=" or ".join(KINDS.get(step.method, ("any",))),
            next_step="see how the rows are read (goldsmith show rows FILE), or take a method that learns from them",
        )
    training, validation = split_records(wanted, validation_share)
    method = plugins.build("methods", step.method, step.settings, hand=_from(ws))
    settings = canonical.spec_text(method)
    key = canonical.digest(canonical.encode([release_digest, base, step.method, settings, seed]))[7:23]
    scratch = ws.scratch / "runs" / key
    job = TrainingJob(
        method=method,
        base=str(_whole(ws, base)),
        records=training,
        validation=validation or None,
        row_names=[names[id(one)] for one in training],
        validation_names=[names[id(one)] for one in validation] or None,
        output_dir=scratch / "model",
        scratch_dir=scratch,
        seed=seed,
        trust=trust_of(ws, made_from) if getattr(method, "trust_weighting", False) else None,
        trackers=tuple(trackers),
        progress=progress,
        shard=parallel.shard,
    )
    outcome = _shared(job, parallel)
    _forget_paths(outcome.model_dir, base)
    with ws.atomically():
        run = _run(ws, outcome, step.method, settings, release_digest, base, recipe, seed)
        run_digest = ws.attest_artifact("run", run, {"method": step.method}, role="trainer").subjects["run"]
        parent = base if outcome.form == "adapter" else None
        model, _ = model_files.take_in(ws, outcome.model_dir, name=name, form=outcome.form, base=parent, run=run_digest)
        stated = ws.attest_artifact("model", model, {"name": name, "of": "run"}, role="trainer")
    shutil.rmtree(scratch / "checkpoints", ignore_errors=True)
    return Trained(stated.subjects["model"], model, run, outcome.model_dir)


def _shared(job: "TrainingJob", parallel: Parallel) -> "TrainingOutcome":
    """Train where and on as many processes as was asked for."""
    if parallel.engine == "ray":
        from goldsmith.engines.training.scale.ray_workers import train_on_ray

        return train_on_ray(job, parallel.processes, address=parallel.ray_address, retries=parallel.retries)
    from goldsmith.engines.training.scale.launch import train_on

    return train_on(job, parallel.processes)


def _run(
    ws: Workspace,
    outcome: "TrainingOutcome",
    method: str,
    settings: str,
    release: Digest,
    base: Digest,
    recipe: Digest,
    seed: int,
) -> Run:
    from goldsmith.engines.training.journal import evidence_of

    # What decides the order of sums, so the last digits of the weights.
    shared = {key: str(outcome.facts[key]) for key in ("processes", "shard") if key in outcome.facts}
    return Run(
        method=method,
        settings=settings,
        release=release,
        base=base,
        recipe=recipe,
        seed=seed,
        records_used=outcome.rows_used,
        validation_records=outcome.rows_validation,
        rows_cut=outcome.rows_cut,
        rows_dropped=outcome.rows_dropped,
        steps=outcome.steps,
        tokens=outcome.tokens,
        stop=outcome.stop,
        final_loss=outcome.final_loss,
        best_validation_loss=outcome.best_validation_loss,
        metrics=ws.store.put_bytes(evidence_of(outcome.metrics_file.read_bytes())),
        code=f"goldsmith {goldsmith.__version__}",
        environment=json.dumps(environment() | shared, sort_keys=True),
    )


def _forget_paths(folder: Path, base: Digest) -> None:
    """Name the base by its digest: the same training on another machine must give the same model digest."""
    for name, key in (("goldsmith.json", "base"), ("adapter_config.json", "base_model_name_or_path")):
        path = folder / name
        if path.is_file():
            document = {**json.loads(path.read_text(encoding="utf-8")), key: base}
            path.write_text(json.dumps(document, indent=1, sort_keys=True) + "\n", encoding="utf-8")


def _merged(ws: Workspace, digest: Digest) -> Digest:
    """The model itself, or where it is an adapter the whole model that it makes with its base, stated once.

    An adapter is trained on a whole model and fits no other: what is merged becomes a model of its own.
    """
    model = ws.store.get_artifact(digest, Model)
    if model.form == "full":
        return digest
    for statement in ws.statements("model"):
        found = statement.subjects["model"]
        if statement.predicate.get("of") == "merge" and ws.store.get_artifact(found, Model).base == digest:
            return found
    folder = _whole(ws, digest)
    with ws.atomically():
        whole, _ = model_files.take_in(ws, folder, name=f"{model.name} merged", form="full", base=digest, run=None)
        return ws.attest_artifact("model", whole, {"name": whole.name, "of": "merge"}, role="trainer").subjects["model"]


def _whole(ws: Workspace, digest: Digest) -> Path:
    """A folder with the whole model; an adapter is merged into its base first."""
    folder, adapter = model_files.answerer_paths(ws, digest)
    if adapter is None:
        return folder
    from goldsmith.engines.training.model.saving import merge

    merged = ws.scratch / "models" / f"{digest[7:23]}-merged"
    shutil.rmtree(merged, ignore_errors=True)
    return merge(adapter, merged, base=folder)


def environment() -> dict[str, str]:
    """The versions a run depended on."""
    found = {name: metadata.version(name) for name in LOCK}
    return {**found, "python": platform.python_version(), "machine": platform.machine()}
