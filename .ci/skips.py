"""Fails on a skipped test whose reason is not on the allowlist beside this file."""

import sys
from pathlib import Path

allowed = [
    line.strip()
    for line in (Path(__file__).parent / "allowed-skips.txt").read_text().splitlines()
    if line.strip() and not line.startswith("#")
]
unknown = []
for name in sys.argv[1:]:
    for line in Path(name).read_text().splitlines():
        if line.strip() and not any(reason in line for reason in allowed):
            unknown.append(line)
if unknown:
    print("skipped for a reason that is not on .ci/allowed-skips.txt:", *unknown, sep="\n  ")
    sys.exit(1)
