"""Model, evals -> Examination: scores with intervals, the base model on the same items."""

import json
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import cast

from goldsmith import plugins
from goldsmith.engines import model_files
from goldsmith.engines.evidence import json_lines, records_of
from goldsmith.engines.splits import split_records
from goldsmith.trust import canonical
from goldsmith.trust.workspace import Workspace
from goldsmith.types.artifact import Digest, Spec
from goldsmith.types.errors import BadInput
from goldsmith.types.lineage import Examination, Release
from goldsmith.types.recipe import EvalEntry
from goldsmith.types.record import Record
from goldsmith.types.score import Eval, Measure


def build_evals(entries: Sequence[EvalEntry]) -> list[tuple[str, Eval | Measure]]:
    """The evals a recipe asks for, by the name they are reported under."""
    return [
        (one.name or one.eval, cast(Eval | Measure, plugins.build("evals", one.eval, one.settings))) for one in entries
    ]


def require_answers_not_needed(entries: Sequence[EvalEntry], method: str) -> None:
    """Refuse evals that ask for answers where the model to be examined writes none (`method` makes a reward model)."""
    asking = [name for name, one in build_evals(entries) if not hasattr(one, "measure")]
    if asking:
        raise BadInput(
            f"{method} makes a model that scores answers and writes none: it cannot be examined by what it writes",
            where="examine",
            found=", ".join(asking),
            allowed="preference_accuracy, step_accuracy",
            next_step="examine it with one of these, on comparisons or labelled steps set aside (validation_share)",
        )


def eval_texts(entries: Sequence[EvalEntry]) -> list[tuple[str, str]]:
    """(eval name, text) of everything the evals will ask: none of it may be in the training data."""
    from goldsmith.engines.examining import texts_of

    return texts_of(build_evals(entries))


def examine(
    ws: Workspace,
    model: Digest,
    base: Digest | None,
    entries: Sequence[EvalEntry],
    *,
    release: Digest | None = None,
    validation_share: float = 0.0,
    seed: int = 0,
    progress: Callable[[str, int, int], None] | None = None,
) -> tuple[Digest, Examination]:
    """Run the evals on `model` and on `base`, and state the examination.

    `release` and `validation_share` are those of the training run: what was trained on and what was set aside.
    Errors: BadInput or Unavailable naming the eval that could not run at all.
    """
    from goldsmith.engines.examining import examine as run_evals
    from goldsmith.engines.reward_scoring import AnyAnswerer, open_answerer

    train, validation = _records(ws, release, validation_share)
    evals = build_evals(entries)
    with ExitStack() as stack:

        def answerer(digest: Digest) -> AnyAnswerer:
            found = open_answerer(*model_files.answerer_paths(ws, digest))
            stack.enter_context(found)
            return found

        results, items = run_evals(
            answerer(model),
            None if base is None else answerer(base),
            evals,
            train,
            validation,
            seed,
            progress=progress or (lambda *_: None),
        )
        blob = json_lines(items)
    described = {name: {"id": each.id, "settings": canonical.spec_text(cast(Spec, each))} for name, each in evals}
    with ws.atomically():
        examination = Examination(
            model=model,
            base=base,
            evals=json.dumps(described, sort_keys=True),
            results=results,
            items=ws.store.put_bytes(blob),
            seed=seed,
        )
        stated = ws.attest_artifact("examination", examination, {}, role="examiner")
    return stated.subjects["examination"], examination


def _records(ws: Workspace, release: Digest | None, share: float) -> tuple[list[Record], list[Record]]:
    if release is None:
        return [], []
    return split_records(list(records_of(ws, ws.store.get_artifact(release, Release))), share)
