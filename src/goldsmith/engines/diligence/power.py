"""A drill's coverage matrix as the report tells it."""

from goldsmith.types.coverage import Coverage
from goldsmith.types.diligence import Power


def of_coverage(coverage: Coverage, rows: int, *, given: bool) -> tuple[tuple[Power, ...], str]:
    """The cells, and how they came about. `rows`: records of the report's data; `given`: whether the matrix came from a
    file, so that nothing but its size says what it was measured on."""
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
    if given and coverage.rows_in_all != rows:
        told += f" It was given with --coverage and is of data of another size: this report is about {rows:,} records."
    elif given:
        told += " It was given with --coverage."
    if coverage.cut_short:
        told += f" It was cut short: {coverage.cut_short}."
    return cells, told
