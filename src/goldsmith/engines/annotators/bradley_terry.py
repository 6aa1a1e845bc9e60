"""Which answer, or model, wins: a Bradley-Terry model with covariates, standard errors clustered by judge.

The probability that the option shown first wins is logistic in: strength of the first minus strength of the second,
plus an intercept (the pull of the first place), plus covariates given as differences first minus second (log length,
headers, lists, ...). A tie is half a win. Votes of one judge are not independent, so the covariance is the cluster
sandwich (Liang and Zeger 1986) with the factor G / (G - 1) * (N - 1) / (N - k) that Stata and statsmodels use.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from goldsmith.engines.annotators.panel import Floats, Ints
from goldsmith.types.errors import Inconclusive


@dataclass(frozen=True)
class BradleyTerry:
    """Coefficients in logits with t intervals on G - 1 degrees of freedom; `names` in the order of all arrays.

    `strengths` are relative to the first player, whose strength is 0. `judges`: clusters G.
    """

    names: tuple[str, ...]
    values: Floats
    errors: Floats
    low: Floats
    high: Floats
    covariance: Floats
    judges: int
    votes: int

    def of(self, name: str) -> tuple[float, float, float]:
        """Value and interval of one coefficient."""
        at = self.names.index(name)
        return float(self.values[at]), float(self.low[at]), float(self.high[at])


def bradley_terry(
    first: Ints,
    second: Ints,
    won: Floats,
    judges: Ints,
    players: Sequence[str] = (),
    covariates: dict[str, Floats] | None = None,
    *,
    confidence: float = 0.95,
) -> BradleyTerry:
    """Fit by Newton's method. `won` [N]: 1 the first won, 0 the second, 0.5 a tie.

    Without `players` the place and the covariates alone are fitted. Errors: Inconclusive for fewer than two judges,
    for players that no chain of votes links, or where a coefficient has no finite estimate (somebody always wins).
    """
    design, names = _design(first, second, players, covariates or {})
    groups = np.unique(judges)
    if len(groups) < 2:
        raise Inconclusive("a standard error clustered by judge needs at least two judges", found=len(groups))
    if np.linalg.matrix_rank(design) < design.shape[1]:
        allowed = "players linked by votes, and covariates that vary on their own"
        raise Inconclusive(
            "the votes do not tell all coefficients apart", found=", ".join(names)[:200], allowed=allowed
        )
    values, bread = _newton(design, np.asarray(won, np.float64), names)
    residual = np.asarray(won, np.float64) - _logistic(design @ values)
    code = np.searchsorted(groups, judges)
    sums = np.zeros((len(groups), design.shape[1]))
    np.add.at(sums, code, design * residual[:, None])
    n, k, g = len(won), design.shape[1], len(groups)
    factor = g / (g - 1) * (n - 1) / max(1, n - k)
    covariance = factor * bread @ (sums.T @ sums) @ bread
    errors = np.sqrt(np.maximum(np.diag(covariance), 0.0))
    from scipy.stats import t

    half = float(t.ppf(0.5 + confidence / 2, g - 1)) * errors
    return BradleyTerry(tuple(names), values, errors, values - half, values + half, covariance, g, n)


def _design(
    first: Ints, second: Ints, players: Sequence[str], covariates: dict[str, Floats]
) -> tuple[Floats, list[str]]:
    rows = np.arange(len(first))
    columns = [np.ones((len(first), 1))]
    names = ["first place"]
    if len(players) > 1:
        sides = np.zeros((len(first), len(players)))
        np.add.at(sides, (rows, first), 1.0)
        np.add.at(sides, (rows, second), -1.0)
        columns.append(sides[:, 1:])
        names += list(players[1:])
    for name, values in covariates.items():
        columns.append(np.asarray(values, np.float64)[:, None])
        names.append(name)
    return np.concatenate(columns, axis=1), names


def _logistic(x: Floats) -> Floats:
    from scipy.special import expit

    return np.asarray(expit(x), np.float64)


def _newton(design: Floats, won: Floats, names: Sequence[str]) -> tuple[Floats, Floats]:
    """The maximum of the likelihood and the inverse information there."""
    values = np.zeros(design.shape[1])
    for _ in range(60):
        chance = _logistic(design @ values)
        information = (design * (chance * (1 - chance))[:, None]).T @ design
        try:
            step = np.linalg.solve(information, design.T @ (won - chance))
        except np.linalg.LinAlgError as error:
            raise Inconclusive("a coefficient has no finite estimate", found=", ".join(names)[:200]) from error
        values = values + np.clip(step, -4, 4)
        if float(np.abs(step).max()) < 1e-9:
            return values, np.asarray(np.linalg.inv(information), np.float64)
        if float(np.abs(values).max()) > 30:
            break
    worst = names[int(np.abs(values).argmax())]
    raise Inconclusive("a coefficient has no finite estimate: it always decides the vote", found=worst)
