"""What a sweep knows so far: one file, written whole after every result, so that a killed sweep goes on."""

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from goldsmith.trust.durable import replace

Status = Literal["ok", "failed", "out of budget"]


@dataclass(frozen=True, slots=True)
class Result:
    """One candidate taken to one rung. `score`: lower is better, None where there is none, and then `reason` says why.

    `seconds`: of the process from start to end; `train_seconds` of its updates alone, `trained_steps` of them;
    `cpu_seconds`: user and system; `memory`: the most bytes it held (on a GPU: that the device held).
    """

    candidate: int
    rung: int
    status: Status
    step: int = 0
    score: float | None = None
    quality: float | None = None
    seconds: float = 0.0
    cpu_seconds: float = 0.0
    train_seconds: float = 0.0
    trained_steps: int = 0
    memory: int = 0
    reason: str = ""


@dataclass(slots=True)
class State:
    """The results there are, and seconds spent on attempts that came to none."""

    path: Path
    results: list[Result] = field(default_factory=list)
    lost_seconds: float = 0.0
    running_seconds: float = 0.0

    @classmethod
    def read(cls, path: Path) -> "State":
        """The state in the file, or an empty one. What ran when the last process was killed counts as spent."""
        if not path.is_file():
            return cls(path)
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        results = [Result(**one) for one in found["results"]]
        return cls(path, results, found["lost_seconds"] + found["running_seconds"])

    def write(self) -> None:
        """Put it on disk, whole or not at all. Errors: Unavailable."""
        document = {
            "results": [asdict(one) for one in self.results],
            "lost_seconds": self.lost_seconds,
            "running_seconds": self.running_seconds,
        }
        replace(self.path, json.dumps(document, indent=1, sort_keys=True).encode())

    def put(self, result: Result) -> None:
        """Keep a result. Errors: Unavailable."""
        self.running_seconds = 0.0
        self.results.append(result)
        self.write()

    def lose(self, seconds: float) -> None:
        """Keep that seconds were spent on an attempt that will be made again."""
        self.running_seconds = 0.0
        self.lost_seconds += seconds
        self.write()

    def find(self, candidate: int, rung: int) -> Result | None:
        """The result of a candidate at a rung."""
        return next((one for one in self.results if (one.candidate, one.rung) == (candidate, rung)), None)

    def of(self, candidate: int) -> list[Result]:
        """A candidate's results, rung by rung."""
        return sorted((one for one in self.results if one.candidate == candidate), key=lambda one: one.rung)

    @property
    def spent(self) -> float:
        """Seconds of this machine so far."""
        return sum(one.seconds for one in self.results) + self.lost_seconds + self.running_seconds
