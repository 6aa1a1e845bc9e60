"""What could not be seen, in plain words: the power of the checks here, what was not told, what no check can tell."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

from goldsmith.engines.text.evidence import quote
from goldsmith.types.diligence import Measure, Power, Subject

NOT_MEASURED = (
    "Power not measured: no drill was run on this data, so nobody knows how many poisoned records the checks would "
    "have missed here. Run the same command with --drill, or give the result of a drill with --coverage."
)
WEAK, BLIND = 0.9, 0.1
"""Shares of planted records found: from `WEAK` on an attack counts as found, below `BLIND` as not seen at all."""
ALWAYS = (
    "No check reads whether an answer is true. A source that is wrong in a steady, fluent way passes.",
    "Poison that is written anew each time (a leak by paraphrase, a cipher nobody has seen, a taste bent in a few "
    "pairs) looks like ordinary data. The drill plants known attacks; the next one is not among them.",
    "What the origins say of a record (who wrote it, under which licence, how many model generations from a person) is "
    "the sources' word. The checks can contradict it, never confirm it.",
)


def residual(
    power: Sequence[Power], inconclusive: Mapping[str, str], off: Sequence[str], subject: Subject, gold: Measure
) -> tuple[str, ...]:
    """Sentences for the first page, most pressing first."""
    told = [*weaknesses(power)]
    if not power:
        told.append(
            "Without a drill a clean verdict says only that nothing was found, not that there was nothing to find."
        )
    if inconclusive:
        told.append(f"{len(inconclusive)} of the checks could not tell: " + _names(inconclusive) + ".")
    if off:
        told.append("Left out on request, so nothing is known of it: " + _names(off) + ".")
    if gold.value is None:
        told.append("Accuracy rests on nobody's answer key: no gold items were given.")
    if subject.records < 200:
        told.append(
            f"{subject.records:,} records are few: statistics over a batch need hundreds, and most checks on a whole "
            "batch keep silent below that."
        )
    return (*told, *ALWAYS)


def _names(checks: Iterable[str]) -> str:
    return ", ".join(quote(name.replace("_", " "), 60) for name in sorted(checks))


def weaknesses(power: Sequence[Power]) -> list[str]:
    """What the drill did not find, in a few sentences, and what it found."""
    unseen, found = [], []
    told = []
    for attack, cells in by_attack(power).items():
        name, worst, least = quote(attack.replace("_", " "), 60), cells[-1], least_records(cells)
        if worst.caught < BLIND:
            unseen.append(f"{name} ({worst.records})")
        elif least is None:
            told.append(
                f"Of {worst.records} planted records of {name}, {percent(1 - worst.caught)} were missed: that much of "
                "it could be in this data unseen."
            )
        elif least > cells[0].records:
            told.append(f"{name.capitalize()} is found from {least} records on, and missed with {cells[0].records}.")
        else:
            found.append(f"{name} ({least})")
    if unseen:
        told.insert(
            0,
            "Not seen at all, with this many planted records of it: " + ", ".join(unseen) + ". If somebody did that "
            "to this data, this report would not say so.",
        )
    if found:
        told.append("Nine in ten planted records or more were found, with so few: " + ", ".join(found) + ".")
    draws = [cell for cells in by_attack(power).values() for cell in cells]
    if draws:
        least_sure = min((cell for cell in draws if cell.caught >= WEAK), key=lambda cell: cell.low, default=None)
        if least_sure is not None and least_sure.low < WEAK:
            number = f"{least_sure.draws} draws" if least_sure.draws > 1 else "one draw"
            told.append(
                f"The drill was short: with {number} a figure of {percent(least_sure.caught)} may be as low as "
                f"{percent(least_sure.low)}. A longer one says more."
            )
    return told


def by_attack(power: Sequence[Power]) -> dict[str, list[Power]]:
    """The measured cells of each attack, fewest records first; attacks by name."""
    out: dict[str, list[Power]] = defaultdict(list)
    for cell in sorted(power, key=lambda cell: (cell.attack, cell.records)):
        if cell.inapplicable is None and cell.draws:
            out[cell.attack].append(cell)
    return out


def least_records(cells: Sequence[Power]) -> int | None:
    """From how many planted records on at least nine in ten are found, in every larger size too."""
    least = None
    for cell in reversed(cells):
        if cell.caught < WEAK:
            break
        least = cell.records
    return least


def percent(value: float) -> str:
    """A share in whole per cent."""
    return f"{100 * value:.0f} %"
