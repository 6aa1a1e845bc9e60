"""Makes the twins of rows of your own: `twins.py ROWS.jsonl TWINS.jsonl [--axis gender|origin|faith]`.

Rows are read in any form that Goldsmith reads, one form in a file, and twins are written in it. A row without a word
of the axis, or with one that cannot be swapped, has no twin; how many and why is printed.
"""

import argparse
from collections import Counter
from pathlib import Path
from typing import cast, get_args

from goldsmith import plugins
from goldsmith.engines.counterfactual.swap import NotSwapped
from goldsmith.engines.counterfactual.twins import twin_of
from goldsmith.engines.counterfactual.words import Axis
from goldsmith.engines.reading.read import read
from goldsmith.engines.reading.write import write
from goldsmith.types.row_format import RowFormat


def make(rows: Path, twins: Path, axis: Axis = "gender") -> tuple[int, Counter[str]]:
    """Write the twins; say how many there are, and how often each reason kept a row without one."""
    formats = cast(list[RowFormat], plugins.build_all("sources"))
    reading = read(rows, formats, mixed="refuse")
    found = [twin_of(row.record, axis) for row in reading.rows]
    form = next(one for one in formats if one.id in reading.format_counts)
    count = write(twins, (one for one in found if not isinstance(one, NotSwapped)), form)
    without = Counter(one.reason for one in found if isinstance(one, NotSwapped))
    without.update(f"cannot be read: {fault.what}" for fault in reading.faults)
    return count, without


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("rows", type=Path)
    parser.add_argument("twins", type=Path)
    parser.add_argument("--axis", choices=get_args(Axis), default="gender")
    given = parser.parse_args()
    made, without = make(given.rows, given.twins, given.axis)
    print(f"{made} twins")
    for reason, times in without.most_common():
        print(f"{times} rows without a twin: {reason}")
