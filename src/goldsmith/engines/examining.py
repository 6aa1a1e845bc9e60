"""Runs evals on a model and on its base: the same tasks, paired, every item kept."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeGuard, cast

from goldsmith.engines.metric_results import Column, kind_of, result_of
from goldsmith.engines.rollout import roll_out
from goldsmith.engines.sandbox import RecordingSandbox
from goldsmith.types.errors import BadInput, GoldsmithError, Unavailable
from goldsmith.types.record import Record, Role
from goldsmith.types.score import Eval, Measure, MetricResult, Score, Unscored
from goldsmith.types.trajectory import Answerer, StopReason, Task, Trajectory

Who = Literal["tuned", "base"]
Progress = Callable[[str, int, int], None]
"""Called with the eval's name, items done and items in all (both models together)."""
NamedEvals = Sequence[tuple[str, Eval | Measure]]


@dataclass
class _Sheet:
    """One eval's scores and item rows."""

    columns: dict[str, Column] = field(default_factory=dict)
    rows: list[dict[str, Any]] = field(default_factory=list)

    def put(self, who: Who, item: str, scores: dict[str, Score], trajectory: Trajectory | None, eval_name: str) -> None:
        for metric, score in scores.items():
            column = self.columns.setdefault(metric, Column())
            (column.tuned if who == "tuned" else column.base)[item] = score
        row: dict[str, Any] = {
            "eval": eval_name,
            "item": item,
            "model": who,
            "scores": {metric: score.model_dump(mode="json") for metric, score in scores.items()},
            "trajectory": None if trajectory is None else trajectory.model_dump(mode="json"),
        }
        self.rows.append(row)


def examine(
    answerer: Answerer,
    base_answerer: Answerer | None,
    evals: NamedEvals,
    train_records: Sequence[Record] = (),
    validation_records: Sequence[Record] = (),
    seed: int = 0,
    *,
    max_new_tokens: int = 256,
    batch_size: int = 64,
    progress: Progress | None = None,
) -> tuple[tuple[MetricResult, ...], Iterator[dict[str, Any]]]:
    """Examine `answerer` and, if given, `base_answerer` on the same items.

    Returns one result for each metric of each eval, in the evals' order, and one JSON-able row for each item
    and model: `eval`, `item`, `model` (tuned or base), `scores` by metric, `trajectory` (None for measures).

    Means are over the scored items of each model, differences over the items scored for both. Items of one
    cluster (ids equal up to the last `#`) count as dependent. `n == 0` says that nothing could be scored:
    mean 0 within 0..1 by the method "nothing scored", which no gate may read as a score.

    What fails for one item is `Unscored` with the reason. An eval that cannot set its tasks, or on which
    every item fails in the machinery, raises `BadInput` or `Unavailable` with the eval's name.
    """
    _unique_names(evals)
    results: list[MetricResult] = []
    rows: list[dict[str, Any]] = []
    models: list[tuple[Who, Answerer]] = [("tuned", answerer)]
    if base_answerer is not None:
        models.append(("base", base_answerer))
    for name, each in evals:
        sheet = _Sheet()
        if _is_measure(each):
            _run_measure(name, each, models, train_records, validation_records, sheet, progress)
        else:
            _run_eval(name, cast("Eval", each), models, sheet, progress, max_new_tokens, batch_size)
        results += [
            result_of(name, metric, column, kind_of(each, metric), seed) for metric, column in sheet.columns.items()
        ]
        rows.extend(sheet.rows)
    return tuple(results), iter(rows)


def texts_of(evals: NamedEvals) -> list[tuple[str, str]]:
    """(eval name, text) for what the evals' tasks ask, the user's words: none of it may be trained on.

    System texts are left out: "You are a helpful assistant." is everywhere and proves nothing.
    """
    out: list[tuple[str, str]] = []
    for name, each in evals:
        if _is_measure(each):
            continue
        for task in _tasks(name, cast("Eval", each)):
            asked = [message.text for message in task.messages if message.role is Role.USER]
            out.extend((name, text) for text in asked if text.strip())
    return out


def _is_measure(each: Eval | Measure) -> TypeGuard[Measure]:
    return hasattr(each, "measure")


def _unique_names(evals: NamedEvals) -> None:
    names = [name for name, _ in evals]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise BadInput("two evals have the same name", found=", ".join(twice), next_step="give each a name of its own")


def _tasks(name: str, each: Eval) -> list[Task]:
    try:
        tasks = list(each.tasks())
    except GoldsmithError:
        raise
    except Exception as error:
        raise Unavailable(
            f"eval {name!r} could not set its tasks", where=name, found=f"{type(error).__name__}: {error}"
        ) from error
    ids = [task.id for task in tasks]
    if len(set(ids)) != len(ids):
        raise BadInput(f"eval {name!r} has two tasks with one id", where=name)
    if not tasks:
        raise BadInput(f"eval {name!r} has no tasks", where=name, next_step="check its settings and files")
    return tasks


def _run_eval(
    name: str,
    each: Eval,
    models: Sequence[tuple[Who, Answerer]],
    sheet: _Sheet,
    progress: Progress | None,
    max_new_tokens: int,
    batch_size: int,
) -> None:
    tasks = _tasks(name, each)
    for place, (who, model) in enumerate(models):
        ready: list[tuple[Task, RecordingSandbox]] = []
        broken: list[tuple[Task, str]] = []
        for task in tasks:
            try:
                ready.append((task, RecordingSandbox(each.environment(task), task.tools)))
            except Exception as error:
                broken.append((task, f"no environment: {type(error).__name__}: {error}"))

        def report(done: int, _: int, place: int = place) -> None:
            if progress is not None:
                progress(name, place * len(tasks) + done, len(models) * len(tasks))

        trajectories = roll_out(
            [task for task, _ in ready],
            [sandbox for _, sandbox in ready],
            model,
            max_new_tokens=max_new_tokens,
            batch_size=batch_size,
            progress=report,
        )
        _refuse_if_all_failed(name, who, tasks, broken, trajectories)
        scored = [
            _scores(each, task, trajectory, sandbox)
            for (task, sandbox), trajectory in zip(ready, trajectories, strict=True)
        ]
        dicts = [scores for scores in scored if isinstance(scores, dict)]
        if not dicts:
            raise Unavailable(f"eval {name!r} could not score any item", where=name, found=scored[0])
        metrics = dict.fromkeys(metric for scores in dicts for metric in scores)
        for (task, _), trajectory, scores in zip(ready, trajectories, scored, strict=True):
            kept = scores if isinstance(scores, dict) else _all_unscored(metrics, scores)
            sheet.put(who, task.id, kept, trajectory, name)
        for task, reason in broken:
            sheet.put(who, task.id, _all_unscored(metrics, reason), None, name)


def _scores(each: Eval, task: Task, trajectory: Trajectory, sandbox: RecordingSandbox) -> dict[str, Score] | str:
    try:
        return each.score(task, trajectory, sandbox)
    except Exception as error:
        return f"scoring failed: {type(error).__name__}: {error}"


def _all_unscored(metrics: dict[str, None], reason: str) -> dict[str, Score]:
    # Metrics of one skill or kind (`success/mail_send`) do not concern an item whose scoring failed.
    names = [metric for metric in metrics if "/" not in metric] or ["score"]
    return {metric: Unscored(reason=reason[:500]) for metric in names}


def _refuse_if_all_failed(
    name: str,
    who: Who,
    tasks: Sequence[Task],
    broken: Sequence[tuple[Task, str]],
    trajectories: Sequence[Trajectory],
) -> None:
    failed = [t for t in trajectories if t.stop_reason is StopReason.ERROR]
    if len(failed) + len(broken) == len(tasks):
        reason = (failed[0].error if failed else broken[0][1]) or "unknown"
        raise Unavailable(
            f"eval {name!r} failed on every one of its {len(tasks)} tasks",
            where=f"{name}, {who} model",
            found=reason,
            next_step="fix the cause; an eval that cannot run is never a score",
        )


def _run_measure(
    name: str,
    each: Measure,
    models: Sequence[tuple[Who, Answerer]],
    train: Sequence[Record],
    validation: Sequence[Record],
    sheet: _Sheet,
    progress: Progress | None,
) -> None:
    for place, (who, model) in enumerate(models):
        try:
            measured = each.measure(model, train, validation)
        except GoldsmithError:
            raise
        except Exception as error:
            raise Unavailable(
                f"eval {name!r} failed",
                where=f"{name}, {who} model",
                found=f"{type(error).__name__}: {error}",
            ) from error
        for metric, items in measured.items():
            sheet.columns.setdefault(metric, Column())
            ids = [item for item, _ in items]
            if len(set(ids)) != len(ids):
                raise BadInput(f"eval {name!r} scores an item twice", where=f"{name}.{metric}")
        by_item: dict[str, dict[str, Score]] = {}
        for metric, items in measured.items():
            for item, score in items:
                by_item.setdefault(item, {})[metric] = score
        for item, scores in by_item.items():
            sheet.put(who, item, scores, None, name)
        if progress is not None:
            progress(name, place + 1, len(models))
