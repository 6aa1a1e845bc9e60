"""A file -> its coverage matrix: known attacks planted into a copy of it, in memory; the file itself is only read."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from random import Random
from typing import Any, cast

from goldsmith import plugins
from goldsmith.engines.drilling import SIZES, Base, drill
from goldsmith.engines.nearest import turns_of
from goldsmith.engines.reading.identity import digest_of
from goldsmith.engines.reading.read import read
from goldsmith.engines.votes import read_votes
from goldsmith.types.attack import Attack, Pool
from goldsmith.types.check import Check, CheckContext, Row
from goldsmith.types.coverage import Coverage
from goldsmith.types.errors import BadInput
from goldsmith.types.recipe import CheckEntry
from goldsmith.types.record import Origin, Role
from goldsmith.types.row_format import RowFormat

MOST_ROWS = 20_000


def drill_file(
    path: Path,
    entry: CheckEntry,
    *,
    format_name: str | None = None,
    origin: Origin | None = None,
    evals: Sequence[Path] = (),
    votes: Path | None = None,
    attacks: Sequence[str] = (),
    most_rows: int = MOST_ROWS,
    **settings: Any,
) -> Coverage:
    """Drill the checks of `entry` on a copy of the file's rows; `settings` are those of `drill_rows`.

    Errors: BadInput for a faulty file, or one without rows. Faulty rows are left out, as in `goldsmith check`.
    """
    formats = cast(list[RowFormat], plugins.build_all("sources"))
    rows = read(path, formats, format_name=format_name, origin_defaults=origin or Origin()).rows
    texts = [
        (str(one), turn.text)
        for one in evals
        for row in read(one, formats).rows
        for turn in turns_of(row.record)
        if turn.role is not Role.TOOL and turn.text
    ]
    context = CheckContext(
        eval_names=[name for name, _ in texts],
        eval_texts=[text for _, text in texts],
        votes=read_votes(votes) if votes else (),
        allowed_hosts=None if entry.allowed_hosts is None else frozenset(entry.allowed_hosts),
        allowed_tools=None if entry.allowed_tools is None else frozenset(entry.allowed_tools),
    )
    checks = cast(list[Check], plugins.build_all("checks", entry.settings, entry.off))
    if not rows:
        raise BadInput("the file has no usable rows", where=str(path), found="0 rows", allowed="at least one")
    told = drill_rows(rows, checks, context, attacks=attacks, most_rows=most_rows, **settings)
    return told.model_copy(update={"data": digest_of(path)})


def drill_rows(
    rows: Sequence[Row],
    checks: Sequence[Check],
    context: CheckContext,
    *,
    attacks: Sequence[str] = (),
    attack_settings: Mapping[str, Mapping[str, Any]] | None = None,
    records: Sequence[int] = SIZES,
    draws: int = 3,
    seed: int = 0,
    pool: Pool = "measurement",
    new_source: bool = False,
    most_rows: int = MOST_ROWS,
    cpu_seconds: float | None = None,
    progress: Callable[[str], None] = lambda _: None,
) -> Coverage:
    """Drill rows in memory; none of them is changed. `attacks`: names, or all there are.

    Of more than `most_rows` rows a sample is drilled, each source x batch in proportion and in its own order.
    """
    given = attack_settings or {}
    wanted = [plugins.build("attacks", name, given.get(name)) for name in attacks or plugins.names("attacks")]
    sample = sampled(rows, most_rows, seed)
    progress(f"{len(sample)} of {len(rows)} rows, untouched: every check")
    return drill(
        Base.of(sample, checks, context),
        cast(list[Attack], wanted),
        records=records,
        draws=draws,
        seed=seed,
        pool=pool,
        new_source=new_source,
        cpu_seconds=cpu_seconds,
        rows_in_all=len(rows),
        progress=progress,
    )


def sampled(rows: Sequence[Row], most: int, seed: int) -> Sequence[Row]:
    """At most about `most` rows, every source x batch in proportion (one row at least), in the order given."""
    if len(rows) <= most:
        return rows
    groups: dict[tuple[str, str], list[int]] = {}
    for i, row in enumerate(rows):
        groups.setdefault((row.record.origin.source, row.record.origin.batch), []).append(i)
    rng = Random(f"{seed}/sample")
    kept: list[int] = []
    for _, members in sorted(groups.items()):
        kept += rng.sample(members, max(1, len(members) * most // len(rows)))
    return [rows[i] for i in sorted(kept)]
