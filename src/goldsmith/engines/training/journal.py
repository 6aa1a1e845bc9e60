"""What a run says while it runs: a metrics file, any tracker accelerate knows, and a progress bar on stderr."""

import json
import logging
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from goldsmith.engines.training.method import Metrics
from goldsmith.trust.durable import replace, storage_errors

log = logging.getLogger("goldsmith.training")

EVERY_SECONDS = 10.0
"""How often a run without a terminal says where it is."""
MEASURED = frozenset({"seconds"})
"""What differs between two runs that are otherwise the same: how long a step took on this machine, at this hour."""


def evidence_of(data: bytes) -> bytes:
    """A metrics file without what was merely measured: the same training gives the same bytes, so the same digest."""
    lines = [json.loads(line) for line in data.splitlines()]
    kept = [{key: value for key, value in line.items() if key not in MEASURED} for line in lines]
    return b"".join(json.dumps(line, sort_keys=True).encode() + b"\n" for line in kept)


class Journal:
    """Open for the length of a run. Lines after `step` of an earlier attempt are taken back on opening.

    `silent`: of a process beside the one that writes; says nothing.
    """

    def __init__(
        self,
        path: Path,
        accelerator: Any,
        *,
        step: int,
        steps: int,
        trackers: Sequence[str],
        progress: bool,
        silent: bool = False,
    ) -> None:
        self.silent = silent
        self.bar: Any = None
        self.task: Any = None
        self.clock = time.perf_counter()
        self.path, self.accelerator, self.trackers = path, accelerator, tuple(trackers)
        self.missing = 0
        """Updates of an earlier attempt that its file no longer tells of."""
        if silent:
            return
        with storage_errors(path):
            kept = _lines_until(path, step)
            self.missing = step - sum("grad_norm" in json.loads(line) for line in kept)
            replace(path, b"".join(kept))
            self.file = path.open("ab")
        self.steps, self.began, self.said = steps, (step, self.clock), self.clock
        self.tells = progress and not sys.stderr.isatty()
        if progress:
            going_on = f"going on after update {step} of {steps}" if step else f"{steps} updates"
            print(f"  {going_on}; metrics of each: {path}", file=sys.stderr, flush=True)
        if progress and not self.tells:
            self._open_bar(step, steps)

    def _open_bar(self, step: int, steps: int) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        self.bar = Progress(
            TextColumn("training"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[note]}"),
            console=Console(stderr=True),
        )
        self.task = self.bar.add_task("training", total=steps, completed=step, note="")
        self.bar.start()

    def __enter__(self) -> "Journal":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.silent:
            return
        self.file.close()
        if self.bar is not None:
            self.bar.stop()
        if self.trackers:
            self.accelerator.end_training()

    def _write(self, line: Mapping[str, Any]) -> None:
        if self.silent:
            return
        with storage_errors(self.path):
            self.file.write(json.dumps(line, sort_keys=True).encode() + b"\n")
            self.file.flush()

    def update(self, metrics: Metrics) -> None:
        """One update's metrics."""
        now = time.perf_counter()
        seconds, self.clock = now - self.clock, now
        values = {
            "loss": metrics.loss,
            "grad_norm": metrics.grad_norm,
            "learning_rate": metrics.learning_rate,
            **metrics.values,
        }
        counts = {"epoch": metrics.epoch, "tokens": metrics.tokens, "label_tokens": metrics.labels}
        self._write({"step": metrics.step, **values, **counts, "seconds": round(seconds, 4)})
        self._track({**values, "tokens_per_s": metrics.tokens / max(seconds, 1e-9)}, metrics.step)
        if self.bar is not None:
            self.bar.update(self.task, completed=metrics.step, note=f"loss {metrics.loss:.4f}")
        elif not self.silent and self.tells and (now - self.said >= EVERY_SECONDS or metrics.step == self.steps):
            self.said = now
            print(f"  update {self._place(metrics, now)}", file=sys.stderr, flush=True)

    def _place(self, metrics: Metrics, now: float) -> str:
        first, began = self.began
        each = (now - began) / max(metrics.step - first, 1)
        left = (self.steps - metrics.step) * each
        rest = f", {_duration(left)} left" if metrics.step < self.steps else f", {_duration(now - began)} in all"
        return f"{metrics.step} of {self.steps}: loss {metrics.loss:.4f}, {each:.2g} s an update{rest}"

    def validation(self, step: int, values: Mapping[str, float]) -> None:
        """What the validation after `step` found."""
        named = {f"validation_{key}": value for key, value in values.items()}
        self._write({"step": step, **named})
        self._track(named, step)
        self.clock = time.perf_counter()

    def note(self, step: int, values: Mapping[str, Any]) -> None:
        """What belongs to the evidence and is no number."""
        self._write({"step": step, **values})

    def warn(self, step: int, text: str) -> None:
        """Something a person should look at."""
        self._write({"step": step, "warning": text})
        if self.silent:
            return
        log.warning("step %d: %s", step, text)

    def _track(self, values: Mapping[str, float], step: int) -> None:
        if self.trackers and not self.silent:
            self.accelerator.log(dict(values), step=step)


def _duration(seconds: float) -> str:
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"


def _lines_until(path: Path, step: int) -> list[bytes]:
    if step == 0 or not path.exists():
        return []
    kept = []
    for line in path.read_bytes().splitlines(keepends=True):
        try:
            if line.endswith(b"\n") and json.loads(line)["step"] <= step:
                kept.append(line)
        except (ValueError, KeyError):
            break  # a line torn by the end of the process that wrote it
    return kept
