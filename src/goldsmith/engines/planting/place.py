"""Where to plant: rows of one existing source x batch, or of a new source."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from random import Random

from goldsmith.engines.planting import pools
from goldsmith.types.attack import Inapplicable, Plan, Planted
from goldsmith.types.check import CheckContext, Row
from goldsmith.types.record import Content

NEW_BATCH = "drill"


@dataclass(frozen=True, slots=True)
class Place:
    """Rows to be changed: `at` are their positions in `rows`, ascending, all in `group`."""

    rows: Sequence[Row]
    at: tuple[int, ...]
    group: tuple[str, str]

    def planted(
        self, contents: Mapping[int, Content], context: CheckContext, drawn: Mapping[str, str] | None = None
    ) -> Planted:
        """The rows with the contents at these positions replaced; every other row is the very same object."""
        rows = list(self.rows)
        for at, content in contents.items():
            rows[at] = replace(rows[at], record=rows[at].record.model_copy(update={"content": content}))
        return Planted(rows, tuple(sorted(contents)), self.group, context, drawn or {})


def place(
    rows: Sequence[Row], plan: Plan, rng: Random, fits: Callable[[Content], bool], what: str
) -> Place | Inapplicable:
    """`plan.records` rows whose content fits, drawn from one source x batch; `what` names such rows in the reason why
    not.
    """
    groups: dict[tuple[str, str], list[int]] = {}
    for i, row in enumerate(rows):
        if fits(row.record.content):
            origin = row.record.origin
            groups.setdefault((origin.source, origin.batch), []).append(i)
    if not groups:
        return Inapplicable(f"no record {what}")
    if plan.new_source:
        return _new(rows, plan, rng, sorted(i for members in groups.values() for i in members), what)
    large = sorted(g for g, members in groups.items() if len(members) >= plan.records and g not in plan.avoid)
    if not large:
        most = max(len(members) for g, members in groups.items())
        return Inapplicable(
            f"no source x batch has {plan.records} records to plant in: in the largest, {most} records {_plural(what)}"
        )
    group = rng.choice(large)
    return Place(rows, tuple(sorted(rng.sample(groups[group], plan.records))), group)


def _new(rows: Sequence[Row], plan: Plan, rng: Random, fitting: list[int], what: str) -> Place | Inapplicable:
    if len(fitting) < plan.records:
        return Inapplicable(f"{len(fitting)} records {_plural(what)}, and {plan.records} were to be planted")
    group = (f"planted-{pools.word(rng, plan.pool)}", NEW_BATCH)
    copies = []
    for line, i in enumerate(sorted(rng.sample(fitting, plan.records)), 1 + max(row.line for row in rows)):
        record = rows[i].record
        origin = record.origin.model_copy(update={"source": group[0], "batch": group[1]})
        copies.append(Row(line, record.model_copy(update={"origin": origin})))
    return Place([*rows, *copies], tuple(range(len(rows), len(rows) + len(copies))), group)


def _plural(what: str) -> str:
    """`has a prompt` as several records do it."""
    first, _, rest = what.partition(" ")
    return f"{'have' if first == 'has' else 'are' if first == 'is' else first.removesuffix('s')} {rest}"
