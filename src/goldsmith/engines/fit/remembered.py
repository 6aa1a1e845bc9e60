"""What was followed once, kept in the user's cache folder: the next time it takes no time.

A result is named by the digest of all that it follows from: the model's config, the settings, the shape of each
forward, the device, the libraries' versions and this package's own source. Nothing that was kept can therefore be out
of date; a file that is damaged, or a folder that cannot be written, costs time and nothing else.
"""

import hashlib
import importlib.metadata
import json
import os
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from goldsmith.engines.dataflow.scratch import code_digest
from goldsmith.engines.fit.following import Reads, shape_of
from goldsmith.engines.fit.simulate import Counts, Simulated, simulate
from goldsmith.engines.training.data.batches import Batch
from goldsmith.engines.training.settings import TrainingSettings

_LIBRARIES = ("torch", "transformers", "peft")


def simulated_once(
    config: Any, settings: TrainingSettings, batches: Sequence[Batch], *, device: str, reads: Reads
) -> Simulated:
    """As `simulate`, which is asked only where nobody has asked the same before."""
    file = folder() / f"{_name(config, settings, batches, device, reads)}.json"
    known = _read(file)
    if known is not None:
        return known
    found = simulate(config, settings, batches, device=device, reads=reads)
    _write(file, found)
    return found


def folder() -> Path:
    """Where results are kept."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "goldsmith" / "fit"


def _name(config: Any, settings: TrainingSettings, batches: Sequence[Batch], device: str, reads: Reads) -> str:
    told = {
        "config": config.to_dict(),
        "settings": [type(settings).__name__, settings.model_dump_json()],
        "batches": [shape_of(batch) for batch in batches],
        "asked": [device, reads],
        "code": [code_digest(), *(f"{name} {importlib.metadata.version(name)}" for name in _LIBRARIES)],
    }
    return hashlib.sha256(json.dumps(told, sort_keys=True, default=repr).encode()).hexdigest()


def _read(file: Path) -> Simulated | None:
    try:
        told = json.loads(file.read_text(encoding="utf-8"))
        found = Simulated(**{**told, "counts": Counts(**told["counts"])})
    except (OSError, ValueError, TypeError, KeyError):
        return None
    numbers = [*asdict(found.counts).values(), *asdict(replace(found, counts=0)).values()]  # type: ignore[arg-type]
    return found if all(type(number) is int and number >= 0 for number in numbers) else None


def _write(file: Path, found: Simulated) -> None:
    fresh = file.with_suffix(f".{os.getpid()}")
    with suppress(OSError):
        file.parent.mkdir(parents=True, exist_ok=True)
        fresh.write_text(json.dumps(asdict(found)), encoding="utf-8")
        fresh.replace(file)
