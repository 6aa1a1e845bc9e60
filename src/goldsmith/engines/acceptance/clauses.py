"""A contract's clauses, applied one by one. What cannot be told is inconclusive, and inconclusive is not accepted."""

from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from goldsmith.engines.acceptance.delivered import Delivered
from goldsmith.engines.acceptance.people import agreement, gold_accuracy, inspection
from goldsmith.trust import clock
from goldsmith.types.contract import ClauseResult, Contract, Covers, Power
from goldsmith.types.errors import BadInput
from goldsmith.types.finding import Outcome
from goldsmith.types.record import Maker

MOST_LINES = 1000
"""A clause names so many lines at most; its figure counts them all."""
_PASS, _FAIL, _OPEN = Outcome.PASS, Outcome.FAIL, Outcome.INCONCLUSIVE


def apply(contract: Contract, told: Delivered) -> tuple[ClauseResult, ...]:
    """Every clause of the contract, in its order; for a redelivery also what became of the defects."""
    return tuple(one.model_copy(update={"lines": one.lines[:MOST_LINES]}) for one in _clauses(contract, told))


def outcome_of(clauses: Iterable[ClauseResult]) -> Outcome:
    """Fail if any clause fails, else inconclusive if any could not be told, else pass."""
    found = {one.outcome for one in clauses}
    return next((one for one in (_FAIL, _OPEN) if one in found), _PASS if found else _OPEN)


def _clauses(contract: Contract, told: Delivered) -> Iterator[ClauseResult]:
    count = len(told.rows)
    if count == 0:
        yield _result("records", _OPEN, "no records", "a delivery with records")
        return
    yield from _deadline(contract, told)
    yield from _records(contract, count)
    for one in contract.coverage:
        yield _covers(one, told)
    yield from _licences(contract, told)
    yield from _human(contract, told)
    yield from _rates(contract, told)
    if contract.gold_accuracy is not None:
        yield gold_accuracy(contract.gold_accuracy, told)
    if contract.agreement is not None:
        yield agreement(contract.agreement, told)
    for power in contract.power:
        yield _power(power, told)
    if contract.sampling is not None:
        yield inspection(contract, contract.sampling, told)
    if contract.no_quarantine:
        yield _quarantine(told)
    for check in contract.must_tell:
        yield _must_tell(check, told)
    yield from _redelivery(contract, told)


def _result(
    clause: str,
    outcome: Outcome,
    figure: str,
    required: str,
    *,
    counted: float | None = None,
    lines: Iterable[int] = (),
) -> ClauseResult:
    """`counted`: a figure without sampling error, whose interval has equal ends."""
    return ClauseResult(
        clause=clause, outcome=outcome, figure=figure, low=counted, high=counted, required=required,
        lines=tuple(sorted(set(lines))),
    )  # fmt: skip


def _deadline(contract: Contract, told: Delivered) -> Iterator[ClauseResult]:
    if contract.deadline is None:
        return
    last = contract.deadline if "T" in contract.deadline else f"{contract.deadline}T23:59:59Z"
    try:
        late = clock.moment(told.delivered_at) > clock.moment(last)
    except ValueError as error:
        allowed = "2026-12-31 or 2026-12-31T18:00:00Z"
        raise BadInput(
            "this deadline is no time", where="deadline", found=contract.deadline, allowed=allowed
        ) from error
    yield _result("deadline", _FAIL if late else _PASS, f"delivered {told.delivered_at}", f"by {contract.deadline}")


def _records(contract: Contract, count: int) -> Iterator[ClauseResult]:
    if contract.records is None:
        return
    low, high = contract.records.at_least, contract.records.at_most
    good = (low is None or count >= low) and (high is None or count <= high)
    words = " and ".join([f"at least {low}"] * (low is not None) + [f"at most {high}"] * (high is not None))
    yield _result("records", _PASS if good else _FAIL, f"{count} records", words, counted=float(count))


def _covers(one: Covers, told: Delivered) -> ClauseResult:
    origins, count = told.rows.origins, len(told.rows)
    if one.topic is not None:
        name = f"coverage: topic {one.topic}"
        words = tuple(word.lower() for word in one.words)
        hits = sum(any(word in text.lower() for word in words) for text in told.rows.columns.user)
    else:
        kind = next(field for field in ("domain", "language", "maker") if getattr(one, field) is not None)
        wanted = str(getattr(one, kind))
        name = f"coverage: {kind} {wanted}"
        hits = sum(str(value or "").lower() == wanted.lower() for value in getattr(origins, kind))
    share = hits / count
    good = (
        (one.at_least is None or hits >= one.at_least)
        and (one.share_at_least is None or share >= one.share_at_least)
        and (one.share_at_most is None or share <= one.share_at_most)
    )
    bounds = (
        ("at least {}", one.at_least),
        ("at least {:.1%}", one.share_at_least),
        ("at most {:.1%}", one.share_at_most),
    )
    required = " and ".join(text.format(bound) for text, bound in bounds if bound is not None)
    return _result(name, _PASS if good else _FAIL, f"{hits} records ({share:.1%})", required, counted=share)


def _licences(contract: Contract, told: Delivered) -> Iterator[ClauseResult]:
    if not contract.licences:
        return
    allowed = {one.strip().lower() for one in contract.licences}
    values, lines = told.rows.origins.licence, told.rows.lines
    wrong = [at for at, value in enumerate(values) if (value or "").strip().lower() not in allowed]
    wrong = _unstruck("licences", wrong, told)
    silent = sum(values[at] is None for at in wrong)
    others = sorted({str(values[at])[:40] for at in wrong if values[at] is not None})[:5]
    figure = f"{len(wrong)} records with another licence ({', '.join(others)})" if others else f"{len(wrong)} records"
    figure += f", {silent} of them with none stated" if silent else ""
    yield _result(
        "licences", _FAIL if wrong else _PASS, figure, "every record: " + " or ".join(contract.licences),
        counted=len(wrong) / len(values), lines=(int(lines[at]) for at in wrong),
    )  # fmt: skip


def _human(contract: Contract, told: Delivered) -> Iterator[ClauseResult]:
    if contract.human_share is None:
        return
    makers = list(told.rows.origins.maker)
    share = sum(one is Maker.HUMAN for one in makers) / len(makers)
    unknown = sum(one is Maker.UNKNOWN for one in makers)
    figure = f"{share:.1%} stated to be human" + (f", {unknown} records do not say" if unknown else "")
    reachable = share + unknown / len(makers) >= contract.human_share
    outcome = _PASS if share >= contract.human_share else _OPEN if reachable else _FAIL
    yield _result("human_share", outcome, figure, f"at least {contract.human_share:.1%}", counted=share)


def _rates(contract: Contract, told: Delivered) -> Iterator[ClauseResult]:
    count = len(told.rows) + told.faulty
    for name in type(contract.rates).model_fields:
        most = getattr(contract.rates, name)
        if most is None:
            continue
        check = "faulty_row" if name == "faulty" else name
        required = f"at most {most:.2%} of records"
        if name != "faulty" and check not in told.ran:
            yield _result(name, _OPEN, "the check did not run", required)
        elif check in told.silent:
            yield _result(name, _OPEN, f"could not tell: {told.silent[check]}", required)
        else:
            lines = told.lines_of(check) - told.struck.get(name, frozenset())
            rate = len(lines) / count
            outcome = _FAIL if rate > most else _PASS
            yield _result(name, outcome, f"{len(lines)} of {count} ({rate:.2%})", required, counted=rate, lines=lines)


def _power(one: Power, told: Delivered) -> ClauseResult:
    name = f"power: {one.attack}, {one.records} records"
    required = f"at least {one.at_least:.2f} found (lower bound)"
    if told.coverage is None:
        return _result(name, _OPEN, "no coverage was handed in: goldsmith drill FILE --json measures it", required)
    if told.coverage.rows_in_all != len(told.rows):
        figure = f"the drill was of {told.coverage.rows_in_all} rows, the delivery has {len(told.rows)}"
        return _result(name, _OPEN, figure, required)
    cell = next((cell for cell in told.coverage.of(one.attack) if cell.records == one.records), None)
    if cell is None:
        sizes = ", ".join(str(c.records) for c in told.coverage.of(one.attack)) or "not at all"
        return _result(name, _OPEN, f"not drilled at this size (drilled: {sizes})", required)
    if cell.inapplicable is not None or not cell.draws:
        return _result(name, _OPEN, f"has no place in this data: {cell.inapplicable or 'no draw was made'}", required)
    outcome = _PASS if cell.tpr_low >= one.at_least else _FAIL if cell.tpr < one.at_least else _OPEN
    figure = f"{cell.tpr:.3f} of {cell.planted} planted rows found, {cell.draws} draws"
    return _result(name, outcome, figure, required).model_copy(update={"low": cell.tpr_low, "high": None})


def _quarantine(told: Delivered) -> ClauseResult:
    out = [one for one in told.sources if one.verdict is _FAIL]
    unclear = [one for one in told.sources if one.verdict is _OPEN]
    lines = {
        line
        for finding in told.findings
        if finding.severity.value == "quarantine"
        for line in finding.lines
    } - told.struck.get("no_quarantine", frozenset())  # fmt: skip
    figure = "; ".join(f"{one.source} / {one.batch}: {'; '.join(one.reasons)}"[:300] for one in out) or "none"
    outcome = _FAIL if out else _OPEN if unclear or not told.sources else _PASS
    return _result("no_quarantine", outcome, figure, "no source x batch quarantined", lines=lines)


def _must_tell(check: str, told: Delivered) -> ClauseResult:
    why = told.silent.get(check) or (None if check in told.ran else "the check did not run")
    return _result(f"must_tell: {check}", _OPEN if why else _PASS, why or "it could tell", "the check can tell")


def _redelivery(contract: Contract, told: Delivered) -> Iterator[ClauseResult]:
    before = told.before
    if before is None:
        return
    back = [at for at, content in enumerate(told.contents) if content in before.defective]
    lines = {int(told.rows.lines[at]) for at in back}
    same = sum(content in before.contents for content in told.contents)
    figure = (
        f"{len(back)} records that were at fault are back; {same} unchanged, {len(told.rows) - same} new or changed"
    )
    yield _result("redelivery: defects mended", _FAIL if back else _PASS, figure, "none comes back", lines=lines)
    if not before.declared:
        return
    if before.rejections:
        most = contract.redelivery.at_most
        outcome = _PASS if before.rejections <= most else _FAIL
        figure = f"delivery after {before.rejections} rejection(s)"
        yield _result("redelivery: attempts", outcome, figure, f"at most {most} redeliveries")
    if before.rejected_at is not None:
        last = clock.later(before.rejected_at, days=contract.redelivery.within_days)
        late = clock.moment(told.delivered_at) > clock.moment(last)
        figure = f"delivered {told.delivered_at}, rejected {before.rejected_at}"
        required = f"within {contract.redelivery.within_days} days"
        yield _result("redelivery: in time", _FAIL if late else _PASS, figure, required)


def _unstruck(clause: str, positions: Sequence[int], told: Delivered) -> list[int]:
    struck = told.struck.get(clause, frozenset())
    return [at for at in positions if int(told.rows.lines[at]) not in struck] if struck else list(positions)


def defective_contents(clauses: Iterable[ClauseResult], told: Delivered) -> tuple[str, ...]:
    """The content digests of the records that failed clauses name."""
    lines = {line for one in clauses if one.outcome is _FAIL for line in one.lines}
    at = np.flatnonzero(np.isin(told.rows.lines, sorted(lines))).tolist() if lines else []
    return tuple(sorted({told.contents[position] for position in at}))
