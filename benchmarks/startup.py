"""`make bench NAME=startup`: how long `goldsmith --help` takes, beside a bare interpreter."""

import subprocess
import sys
import time

from results import row, save

REPEATS = 11
HELP = [sys.executable, "-m", "goldsmith.cli.main", "--help"]
BARE = [sys.executable, "-c", "pass"]


def seconds(command: list[str]) -> float:
    """Wall seconds of one run."""
    started = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - started


def main() -> None:
    """Interleaved runs after one warm-up each."""
    seconds(HELP), seconds(BARE)
    pairs = [(seconds(HELP), seconds(BARE)) for _ in range(REPEATS)]
    ours, peer = [a for a, _ in pairs], [b for _, b in pairs]
    save("startup", [row("goldsmith --help", ours, peer, "s", peer_version="bare python -c pass")])


if __name__ == "__main__":
    main()
