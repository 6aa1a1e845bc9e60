"""The coverage matrix: how much of each known attack the checks find in one's own data, and what they cannot see."""

from typing import Literal

from goldsmith.types.artifact import Digest, Frozen, Real, SafeInt
from goldsmith.types.attack import Pool


class Cell(Frozen):
    """One attack at one size, over `draws` independent plantings.

    `tpr`: share of the planted rows above the line that at most 1 % of the untouched rows exceed, with the lower
    bound of its 95 % interval (Wilson's, draws as clusters). For attacks on votes: share of the planted annotators
    that a finding names. `named`: in how many draws the source x batch that holds the planted rows was quarantined.
    `honest`: how many other source x batches were judged over all draws, and how many of them were quarantined.
    `cpu_s`: CPU-seconds of the checks in one draw. `seen_by`: the checks that set the planted rows apart.
    `inapplicable`: why the attack has no place in this data; then everything else is zero.
    """

    attack: str
    records: SafeInt
    draws: SafeInt = 0
    planted: SafeInt = 0
    found: SafeInt = 0
    tpr: Real = 0.0
    tpr_low: Real = 0.0
    named: SafeInt = 0
    named_low: Real = 0.0
    honest: SafeInt = 0
    honest_quarantined: SafeInt = 0
    cpu_s: Real = 0.0
    seen_by: tuple[str, ...] = ()
    inapplicable: str | None = None


class Coverage(Frozen):
    """What a drill measured. The planted records were for testing; they are in no file and in no release.

    `rows`: how many rows were drilled, of `rows_in_all`. `line`: the value of `combined` that counts as found;
    `clean_above`: the share of the untouched rows beyond it. `clean_quarantined`: source x batches that are
    quarantined without anything planted. `cut_short`: why there are fewer draws than `draws_asked`. `data`: the digest
    of the file that was drilled; None where rows in memory were.
    """

    kind: Literal["coverage"] = "coverage"
    rows: SafeInt
    rows_in_all: SafeInt
    sources: SafeInt
    pool: Pool
    seed: SafeInt
    draws_asked: SafeInt
    new_source: bool = False
    line: Real
    clean_above: Real
    clean_quarantined: tuple[str, ...] = ()
    checks: tuple[str, ...]
    cells: tuple[Cell, ...]
    cpu_s: Real
    cut_short: str | None = None
    data: Digest | None = None

    def of(self, attack: str) -> tuple[Cell, ...]:
        """The cells of one attack, fewest records first."""
        return tuple(sorted((c for c in self.cells if c.attack == attack), key=lambda c: c.records))

    def least_records(self, attack: str, at_least: float = 0.9) -> int | None:
        """From how many planted records on at least this share is found, in every larger size too; None: in no size
        that was tried.
        """
        least = None
        for cell in reversed(self.of(attack)):
            if cell.inapplicable is not None or not cell.draws or cell.tpr < at_least:
                break
            least = cell.records
        return least

    def blind_to(self, at_least: float = 0.9) -> tuple[str, ...]:
        """Attacks that had a place in this data and of which less was found, in every size that was tried."""
        tried = dict.fromkeys(c.attack for c in self.cells if c.inapplicable is None and c.draws)
        return tuple(a for a in tried if self.least_records(a, at_least) is None)
