"""A drill's coverage matrix as the report tells it."""

from collections.abc import Sequence

from goldsmith.types.artifact import Digest
from goldsmith.types.coverage import Coverage
from goldsmith.types.diligence import Power


def of_coverage(coverage: Coverage, data: Sequence[Digest] | None) -> tuple[tuple[Power, ...], str]:
    """The cells, and how they came about. `data`: the digests that name the report's data, if the matrix came from a
    file; a matrix of other data, or of data it does not name, is told and its cells are not."""
    if data is not None and coverage.data not in data:
        other = "other data" if coverage.data else "data that it does not name"
        return (), (
            f"The drill given with --coverage is of {other} ({coverage.data or 'no digest'}, {coverage.rows_in_all:,} "
            f"records; this report is about {', '.join(data) or 'several deliveries'}). It says nothing about how well "
            "attacks would be found here, and its figures are not shown."
        )
    cells = tuple(
        Power(
            attack=cell.attack, records=cell.records, draws=cell.draws, caught=cell.tpr, low=cell.tpr_low,
            named=cell.named, inapplicable=cell.inapplicable,
        )
        for cell in coverage.cells
        if cell.draws or cell.inapplicable is not None
    )  # fmt: skip
    part = "all" if coverage.rows == coverage.rows_in_all else f"a sample of {coverage.rows:,} of"
    told = (
        f"A drill planted known attacks in a copy of {part} {coverage.rows_in_all:,} records and ran "
        f"{len(coverage.checks)} checks. {100 * coverage.clean_above:.1f} % of the untouched records lie above "
        "the line."
    )
    if data is not None:
        told += f" It was given with --coverage, and is of this very data ({coverage.data})."
    if coverage.cut_short:
        told += f" It was cut short: {coverage.cut_short}."
    return cells, told
