"""The clauses about people: gold accuracy and agreement of annotators, and the inspection of a random sample."""

import numpy as np

from goldsmith.engines.acceptance.delivered import Delivered
from goldsmith.engines.acceptance.plan import Plan, drawn, plan_for
from goldsmith.engines.annotators import agreement as coefficients
from goldsmith.engines.annotators.reliability import gold_bounds
from goldsmith.trust import canonical
from goldsmith.types.contract import AgreementClause, ClauseResult, Contract, GoldAccuracy, Sampling
from goldsmith.types.errors import Inconclusive
from goldsmith.types.finding import Outcome

_PASS, _FAIL, _OPEN = Outcome.PASS, Outcome.FAIL, Outcome.INCONCLUSIVE


def gold_accuracy(clause: GoldAccuracy, told: Delivered) -> ClauseResult:
    """Of all annotators together; the lines are those of wrong votes, where votes tell lines."""
    required = f"at least {clause.at_least:.1%} (lower {clause.level:.0%} bound)"
    struck = told.struck.get("gold_accuracy", frozenset())
    panel = told.panel
    counted = panel.on_gold & np.array([vote.line not in struck for vote in panel.votes], bool)
    asked, right = int(counted.sum()), panel.labels == panel.gold[panel.items]
    if asked < max(1, clause.fewest):
        figure = f"{asked} votes on gold items, of {len(panel)} votes; {max(1, clause.fewest)} are needed"
        return ClauseResult(clause="gold_accuracy", outcome=_OPEN, figure=figure, required=required)
    hits = int((counted & right).sum())
    bounds = gold_bounds(np.array([hits]), np.array([asked]), clause.level)
    low, high = float(bounds.low[0]), float(bounds.high[0])
    outcome = _PASS if low >= clause.at_least else _FAIL if high < clause.at_least else _OPEN
    wrong = {panel.votes[at].line for at in np.flatnonzero(counted & ~right).tolist()}
    return ClauseResult(
        clause="gold_accuracy",
        outcome=outcome,
        figure=f"{hits} of {asked} gold votes right ({hits / asked:.1%})",
        low=low,
        high=high,
        required=required,
        lines=tuple(sorted(line for line in wrong if line is not None)),
    )


def agreement(clause: AgreementClause, told: Delivered) -> ClauseResult:
    """Held against the 95 % interval of the coefficient, a bootstrap over items."""
    required = f"{clause.statistic} at least {clause.at_least:.3f} (95 % interval)"
    try:
        if clause.statistic == "gwet_ac1":
            found = coefficients.ac_interval(told.panel.counts)
        else:
            found = coefficients.alpha_interval(told.panel.counts, clause.scale, told.panel.label_values)
    except Inconclusive as error:
        figure = f"could not be told: {error.what}"
        return ClauseResult(clause="agreement", outcome=_OPEN, figure=figure, required=required)
    outcome = _PASS if found.low >= clause.at_least else _FAIL if found.high < clause.at_least else _OPEN
    return ClauseResult(
        clause="agreement", outcome=outcome, figure=f"{found.value:.3f} over {found.items} items", low=found.low,
        high=found.high, required=required,
    )  # fmt: skip


def inspection(contract: Contract, sampling: Sampling, told: Delivered) -> ClauseResult:
    """The random sample that people inspected, by the plan for this lot. Bad records found earlier fail it as such."""
    if not told.lot:
        figure = "no record is new or changed: nothing to inspect"
        return ClauseResult(clause="sampling", outcome=_PASS, figure=figure, required="inspection of what is new")
    plan = plan_for(sampling, len(told.lot))
    required = f"{plan.accept} bad records at most in a random sample of {plan.size} from {plan.lot}{_risks(plan)}"
    fault = _not_of_this(contract, told, plan)
    if fault is not None:
        return ClauseResult(clause="sampling", outcome=_OPEN, figure=fault, required=required)
    assert told.sheet is not None
    judged = told.sheet.defective
    bad = sorted(line for line, defective in judged.items() if defective)
    bad = [line for line in bad if line not in told.struck.get("sampling", frozenset())]
    waiting = sum(defective is None for defective in judged.values())
    outcome = _FAIL if len(bad) > plan.accept else _OPEN if waiting else _PASS
    low, high = _bounds(len(bad), len(judged) - waiting)
    figure = f"{len(bad)} bad of {len(judged) - waiting} inspected" + (f", {waiting} not yet judged" if waiting else "")
    return ClauseResult(
        clause="sampling", outcome=outcome, figure=figure, low=low, high=high, required=required, lines=tuple(bad)
    )


def _risks(plan: Plan) -> str:
    if plan.producer_risk is None or plan.consumer_risk is None:
        return ""
    return f" (a good lot is refused with {plan.producer_risk:.1%}, a bad one accepted with {plan.consumer_risk:.1%})"


def _not_of_this(contract: Contract, told: Delivered, plan: Plan) -> str | None:
    """Why the sheet handed in does not count, if it does not."""
    sheet = told.sheet
    if sheet is None:
        return "nobody has inspected a sample: goldsmith contract sample draws it"
    if sheet.contract != canonical.artifact_digest(contract):
        return "the inspection sheet is of another contract"
    if sheet.records != told.root:
        return "the inspection sheet is of other records"
    if tuple(sorted(sheet.defective)) != drawn(told.lot, plan.size, sheet.seed):
        return "the inspected lines are not the random sample that the sheet's seed draws"
    return None


def _bounds(bad: int, size: int) -> tuple[float | None, float | None]:
    """The exact 95 % interval of a share (Clopper and Pearson 1934)."""
    from scipy.stats import beta

    if size == 0:
        return None, None
    low = 0.0 if bad == 0 else float(beta.ppf(0.025, bad, size - bad + 1))
    high = 1.0 if bad == size else float(beta.ppf(0.975, bad + 1, size - bad))
    return low, high
