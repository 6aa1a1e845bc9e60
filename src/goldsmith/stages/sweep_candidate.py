"""One candidate of a sweep, taken to one rung: what `python -m goldsmith.stages.sweep_candidate` does with its task."""

import json
import math
from pathlib import Path
from typing import Any, cast

from goldsmith import plugins
from goldsmith.engines.sweeping.handing import handing
from goldsmith.engines.sweeping.process import cpu_seconds, peak_bytes, read_task
from goldsmith.trust import records
from goldsmith.trust.durable import replace
from goldsmith.types.errors import BadInput, GoldsmithError
from goldsmith.types.recipe import SweepObjective
from goldsmith.types.record import Record
from goldsmith.types.score import Eval, Measure


def main() -> None:
    """Read the task, do it, leave the answer. What goes wrong in the training is an answer as well."""
    task = read_task()
    try:
        answer = _trained(task)
    except GoldsmithError as error:
        answer = {"error": type(error).__name__, "reason": _reason(error)}
    except Exception as error:
        if type(error).__name__ != "OutOfMemoryError":
            raise
        answer = {"error": "OutOfMemory", "reason": "the device has not enough memory"}
    answer |= {"cpu_seconds": cpu_seconds(), "memory": answer.pop("device_memory", None) or peak_bytes()}
    replace(Path(task["answer"]), json.dumps(answer).encode())


def _reason(error: GoldsmithError) -> str:
    where = "" if error.where is None else f" ({error.where})"
    found = "" if error.found is None else f": {error.found[:160]}"
    return f"{error.what}{where}{found}"


def _trained(task: dict[str, Any]) -> dict[str, Any]:
    from goldsmith.engines.training.driver import TrainingJob, train_until

    folder = Path(task["folder"])
    training, validation = _records(Path(task["train"])), _records(Path(task["validation"]))
    objective = None if task["objective"] is None else SweepObjective.model_validate(task["objective"])
    job = TrainingJob(
        method=plugins.build("methods", task["method"], task["settings"], hand=handing(task["models"])),
        base=task["base"],
        records=training,
        validation=validation,
        output_dir=folder / "model",
        scratch_dir=folder,
        seed=task["seed"],
        cache_dir=Path(task["cache"]),
        trust=None if task["trust"] is None else json.loads(Path(task["trust"]).read_bytes()),
        progress=False,
        device=task["device"],
    )
    reached = train_until(job, task["until"], save=objective is not None)
    loss = reached.validation_loss
    quality = loss if objective is None else _quality(objective, task, folder / "model", training, validation)
    if quality is None or not math.isfinite(quality):
        raise BadInput("the validation gave no finite number", found=str(quality))
    return {
        "quality": quality,
        "step": reached.step,
        "train_seconds": reached.seconds,
        "trained_steps": reached.trained_steps,
        "device_memory": reached.peak_device_bytes,
    }


def _records(path: Path) -> list[Record]:
    with path.open("rb") as stream:
        return list(records.stream(stream))


def _quality(
    objective: SweepObjective, task: dict[str, Any], model: Path, training: list[Record], validation: list[Record]
) -> float:
    from goldsmith.engines.examining import examine
    from goldsmith.engines.reward_scoring import open_answerer

    built = cast("Eval | Measure", plugins.build("evals", objective.eval, objective.settings))
    adapter = model if (model / "adapter_config.json").is_file() else None
    with open_answerer(task["base"] if adapter else model, adapter) as answerer:
        results, _ = examine(answerer, None, [(objective.eval, built)], training, validation, task["seed"])
    found = {one.metric: one for one in results}
    if objective.metric not in found:
        raise BadInput(
            f"the eval {objective.eval} has no such metric",
            where="sweep.objective.metric",
            found=objective.metric,
            allowed=", ".join(sorted(found)),
        )
    one = found[objective.metric]
    if one.n == 0:
        raise BadInput(f"{objective.eval} could score nothing", found=objective.metric)
    return float(one.mean)


if __name__ == "__main__":
    main()
