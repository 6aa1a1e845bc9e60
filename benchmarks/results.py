"""How every benchmark leaves its figures: a list of rows in `benchmarks/results/NAME.json`."""

import json
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"


def row(
    what: str, ours: Sequence[float], peer: Sequence[float] | None, unit: str, *, peer_version: str | None = None
) -> dict[str, Any]:
    """Medians of ours and the peer's; the ratio is ours over the peer's, pair by pair, then its median (none where the
    peer's is 0).
    """
    ratio = statistics.median(a / b for a, b in zip(ours, peer, strict=True)) if peer and all(peer) else None
    return {
        "what": what,
        "ours": round(statistics.median(ours), 4),
        "peer": round(statistics.median(peer), 4) if peer else None,
        "peer_version": peer_version,
        "ratio": round(ratio, 3) if ratio is not None else None,
        "unit": unit,
        "repeats": len(ours),
    }


def peak_mb() -> float:
    """The most memory this program has held, in MB. (`ru_maxrss` would count what its parent held when it forked.)"""
    told = Path("/proc/self/status").read_text(encoding="utf-8")
    return int(told.split("VmHWM:")[1].split()[0]) / 1024


def save(name: str, rows: list[dict[str, Any]]) -> Path:
    """Write and print the rows."""
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{name}.json"
    path.write_text(json.dumps(rows, indent=2) + "\n", encoding="utf-8")
    for one in rows:
        print(json.dumps(one))
    return path
