"""The candidates of a sweep, and what each changes in a training step's settings."""

import itertools
import math
import random
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from goldsmith.types.errors import BadInput
from goldsmith.types.recipe import Sweep

MOST = 10_000
"""Combinations that a grid may have."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """One combination. `rank` and `dropout` are None where the whole model is tuned, `neftune_alpha` where the sweep
    does not try any."""

    tune: str
    learning_rate: float
    weight_decay: float
    rank: int | None = None
    dropout: float | None = None
    neftune_alpha: float | None = None

    def __str__(self) -> str:
        parts = [self.tune, f"lr {self.learning_rate:.3g}"]
        parts += [] if self.rank is None else [f"rank {self.rank}"]
        parts += [f"dropout {self.dropout:g}"] if self.dropout else []
        parts += [f"decay {self.weight_decay:g}"] if self.weight_decay else []
        parts += [f"noise {self.neftune_alpha:g}"] if self.neftune_alpha else []
        return ", ".join(parts)

    def as_dict(self) -> dict[str, Any]:
        """The settings that it has."""
        return {name: value for name, value in asdict(self).items() if value is not None}


def candidates(sweep: Sweep, seed: int) -> list[Candidate]:
    """Every combination once, or `sweep.draw` drawn by `seed`; the same sweep and seed give the same ones.

    Errors: BadInput if there are more than `MOST`.
    """
    found = _drawn(sweep, seed) if sweep.draw is not None else _grid(sweep)
    return list(dict.fromkeys(found))


def _rates(sweep: Sweep, tune: str) -> tuple[float, ...]:
    if tune != "full":
        return sweep.learning_rate
    return sweep.full_learning_rate or tuple(float(f"{rate / 10:.12g}") for rate in sweep.learning_rate)


def _grid(sweep: Sweep) -> list[Candidate]:
    lists = (sweep.tune, sweep.rank, sweep.learning_rate, sweep.dropout, sweep.weight_decay, _noises(sweep))
    counts = [len(each) for each in lists]
    if math.prod(counts) > MOST:
        raise BadInput(
            "the sweep's grid is too large",
            where="sweep",
            found=f"{math.prod(counts)} combinations",
            allowed=f"{MOST}",
            next_step="set draw to the number of combinations to try",
        )
    found: list[Candidate] = []
    for tune in sweep.tune:
        for rate, decay, noise in itertools.product(_rates(sweep, tune), sweep.weight_decay, _noises(sweep)):
            if tune == "full":
                found.append(Candidate(tune, rate, decay, neftune_alpha=noise))
                continue
            adapters = itertools.product(sweep.rank, sweep.dropout)
            found += [Candidate(tune, rate, decay, rank, dropout, noise) for rank, dropout in adapters]
    return found


def _noises(sweep: Sweep) -> tuple[float | None, ...]:
    return sweep.neftune_alpha or (None,)


def _drawn(sweep: Sweep, seed: int) -> list[Candidate]:
    dice = random.Random(f"sweep {seed}")  # reproducible, not secret
    found: list[Candidate] = []
    for _ in range(sweep.draw or 0):
        tune = dice.choice(sweep.tune)
        rates = _rates(sweep, tune)
        low, high = math.log(min(rates)), math.log(max(rates))
        rate = float(f"{math.exp(dice.uniform(low, high)):.4g}")
        decay, rank, dropout = dice.choice(sweep.weight_decay), dice.choice(sweep.rank), dice.choice(sweep.dropout)
        # Drawn only where it is tried: the draws of a sweep without it stay what they were.
        noise = dice.choice(sweep.neftune_alpha) if sweep.neftune_alpha else None
        full = tune == "full"
        found.append(Candidate(tune, rate, decay, None if full else rank, None if full else dropout, noise))
    return found


def settings_of(candidate: Candidate, given: Mapping[str, Any]) -> dict[str, Any]:
    """The step's settings `given` in the recipe with the candidate's put in; what has no meaning then is taken out."""
    adapter = dict(given.get("adapter") or {})
    precision = given.get("precision", "float32")
    if candidate.tune == "full":
        adapter = {key: adapter[key] for key in ("last_layers", "only") if key in adapter}
        precision = "bfloat16_mixed" if precision == "bfloat16" else precision
    else:
        adapter.pop("only", None)
        adapter |= {"kind": candidate.tune, "rank": candidate.rank, "dropout": candidate.dropout}
        precision = "bfloat16" if candidate.tune == "qlora" else precision
    found = {
        **given,
        "learning_rate": candidate.learning_rate,
        "weight_decay": candidate.weight_decay,
        "adapter": adapter,
        "precision": precision,
    }
    if candidate.neftune_alpha is not None:
        found["neftune_alpha"] = candidate.neftune_alpha
    if "precision" not in given and precision == "float32":
        del found["precision"]
    return {key: value for key, value in found.items() if value != {}}
