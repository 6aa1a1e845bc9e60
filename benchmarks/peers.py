"""Other tools that do the same jobs, on the same data: personal data, label errors, near duplicates, drift.

Run: make bench NAME=peers, or python benchmarks/peers.py [--data FOLDER] [--environments FOLDER] [--job NAME ...]
[--texts N] [--repeats N]. Each peer sits in an environment of its own, because their requirements exclude each other:

    for each NAME of: presidio datatrove data-juicer evidently
    python -m venv .peers/NAME && .peers/NAME/bin/pip install PACKAGES
    presidio: presidio-analyzer and a spaCy model (--model; en_core_web_sm by default)
    datatrove: datatrove[processing,multilingual]    data-juicer: py-data-juicer aiohttp
    evidently: evidently pandas<3

A peer whose environment is missing is left out, and its rows in `results/peers.json` stay as they were. cleanlab is in
the development environment. Ours and the peer take turns; CPU seconds are user + system of the work after a warm-up.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import peers_drift
import peers_labels
import peers_personal
import results
from neardup_corpus import corpus, true_pairs

HERE = Path(__file__).resolve().parent
Answer = dict[str, Any]
Tool = Callable[[str, dict[str, Any]], Answer | None]


class Peers:
    """Runs a peer's task in its environment."""

    def __init__(self, environments: Path) -> None:
        self.environments = environments

    def __call__(self, tool: str, task: dict[str, Any]) -> Answer | None:
        """The peer's answer, or None where it is not installed."""
        python = self.environments / tool / "bin" / "python"
        if not python.exists():
            print(f"{tool} is left out: {python} does not exist", file=sys.stderr)
            return None
        with tempfile.TemporaryDirectory() as folder:
            given, told = Path(folder) / "task.json", Path(folder) / "answer.json"
            given.write_text(json.dumps(task), encoding="utf-8")
            ran = subprocess.run(
                [str(python), str(HERE / "peer_tools.py"), tool, str(given), str(told)],
                capture_output=True, text=True, check=False, cwd=folder,
                env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": ""},
            )  # fmt: skip
            if ran.returncode:
                raise RuntimeError(f"{tool} failed:\n{ran.stderr[-2000:]}")
            answer: Answer = json.loads(told.read_text(encoding="utf-8"))
            return answer


def duplicates(given: argparse.Namespace, peers: Tool) -> list[dict[str, Any]]:
    """Near duplicates: CPU, recall and precision against exact Jaccard; see `neardup.py` for what counts as found."""
    import neardup
    import numpy as np

    texts, _ = corpus(given.data, given.texts)
    pairs, _ = true_pairs(texts, neardup.THRESHOLD)
    neardup.ours(texts[:200])
    settings = {"datatrove": {}, "data-juicer": {"ignore_pattern": r"\p{P}"}}  # the latter as its recipes have it
    runs: dict[str, list[Answer]] = {"ours": []}
    for _ in range(given.repeats):
        started = neardup.cpu_s()
        kept = np.flatnonzero(neardup.ours(texts)).tolist()
        runs["ours"].append(_told(kept, neardup.cpu_s() - started, "ours", pairs, len(texts)))
        for tool, own in settings.items():
            if answer := peers(tool, {"texts": texts, "settings": own}):
                told = _told(answer["found"], answer["cpu_s"], answer["version"], pairs, len(texts))
                runs.setdefault(tool, []).append(told)
    rows = []
    for tool in settings:
        for what, unit in (("cpu_s", f"CPU-s for {len(texts)} texts"), ("recall", "share"), ("precision", "share")):
            if theirs := runs.get(tool):
                mine, other = ([run[what] for run in some] for some in (runs["ours"], theirs))
                name = f"duplicates, {tool}: {what}"
                rows.append(results.row(name, mine, other, unit, peer_version=theirs[0]["version"]))
    return rows


def _told(kept: list[int], cpu: float, version: str, pairs: Any, count: int) -> Answer:
    import numpy as np

    stays = np.zeros(count, bool)
    stays[kept] = True
    removed = np.flatnonzero(~stays)
    return {
        "cpu_s": cpu,
        "version": version,
        "recall": float(1 - (stays[pairs[:, 0]] & stays[pairs[:, 1]]).mean()),
        # Who of a pair stays is each tool's own choice, so either may be the one that was removed.
        "precision": float(np.isin(removed, pairs.ravel()).mean()),
    }


JOBS: dict[str, Callable[[argparse.Namespace, Tool], list[dict[str, Any]]]] = {
    "duplicates": duplicates,
    "personal data": lambda given, peers: peers_personal.rows(given.data, peers, given.model, given.repeats),
    "labels": lambda given, _: peers_labels.rows(given.data, given.repeats),
    "drift": lambda given, peers: peers_drift.rows(given.data, peers, given.repeats),
}


def main() -> None:
    """Measures the jobs and puts their rows in the place of the saved ones."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--data", type=Path, default=HERE.parents[1] / "shared" / "data")
    parser.add_argument("--environments", type=Path, default=HERE.parent / ".peers")
    parser.add_argument("--job", nargs="*", choices=[*JOBS], default=[*JOBS])
    parser.add_argument("--texts", type=int, default=20_000, help="of the near-duplicate job")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--model", default="en_core_web_sm", help="spaCy model for Presidio")
    given = parser.parse_args()
    path = results.RESULTS / "peers.json"
    for job in given.job:
        new = JOBS[job](given, Peers(given.environments))
        old = json.loads(path.read_text()) if path.exists() else []
        measured = {row["what"] for row in new}
        both = [*(row for row in old if row["what"] not in measured), *new]
        results.save("peers", sorted(both, key=lambda row: str(row["what"])))


if __name__ == "__main__":
    main()
