"""Sources against each other: honest ones are left alone, weak evidence adds up, and being different is no crime."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from goldsmith.engines import contrast, multiplicity
from goldsmith.engines.text.projection import ProjectedRows, project
from goldsmith.types.check import Row
from goldsmith.types.finding import Finding, Severity
from goldsmith.types.record import Conversation, Message, Origin, Record, Role, TextPart

WORDS = "river stone lamp bread window garden paper silver music winter letter market".split()  # noqa: SIM905
OTHER = "tenseur matrice noyau gradient vecteur couche entropie".split()  # noqa: SIM905


def rows(sources: int, each: int, seed: int, other: int = 0) -> list[Row]:
    """`sources` of the same words, and `other` sources of quite other words."""
    rng = np.random.default_rng(seed)
    made = []
    for number in range(sources + other):
        vocabulary = WORDS if number < sources else OTHER
        for _ in range(each):
            turns = [
                Message(role=role, parts=(TextPart(text=" ".join(rng.choice(vocabulary, 12))),))
                for role in (Role.USER, Role.ASSISTANT)
            ]
            origin = Origin(source=f"s{number:02d}", batch="b1")
            made.append(Row(len(made) + 1, Record(content=Conversation(messages=tuple(turns)), origin=origin)))
    return made


def combine_of(checks: int) -> Callable[[NDArray[np.float64]], NDArray[np.float64]]:
    """What the smallest of so many independent shares is worth."""
    return lambda smallest: (1.0 - smallest) ** checks


def named(view: ProjectedRows, shares: dict[str, NDArray[np.float64]], **more: frozenset[str]) -> list[Finding]:
    found, _ = contrast.findings(view, shares, combine_of(len(shares)), **more)
    return [f for f in found if f.severity is Severity.QUARANTINE]


@pytest.fixture(scope="module")
def twenty() -> ProjectedRows:
    return project(rows(20, 150, 0))


def clean(view: ProjectedRows, checks: int, seed: int) -> dict[str, NDArray[np.float64]]:
    rng = np.random.default_rng(seed)
    return {f"check{i:02d}": rng.random(len(view)) for i in range(checks)}


def of(view: ProjectedRows, source: str) -> NDArray[np.int64]:
    return np.flatnonzero([name == source for name, _ in (view.groups.names[g] for g in view.groups.of_row)])


def test_honest_sources_are_left_alone(twenty: ProjectedRows) -> None:
    """The family-wise error over 20 sources x 30 checks x lines is at most 1 % by design: of 150 runs at most 5 name
    anybody (binomial, 99.9 %).
    """
    alarms = sum(bool(named(twenty, clean(twenty, 30, seed))) for seed in range(150))
    assert alarms <= 5


def test_weak_evidence_of_several_checks_adds_up(twenty: ProjectedRows) -> None:
    """No single check finds the planted rows rare: each is among the odder tenth in six checks."""
    hits, alone = 0, 0
    for seed in range(20):
        shares = clean(twenty, 12, seed)
        rng = np.random.default_rng(1000 + seed)
        planted = rng.choice(of(twenty, "s07"), 50, replace=False)
        for name in list(shares)[:6]:
            shares[name][planted] = 0.02 + 0.13 * rng.random(50)
        found = named(twenty, shares)
        assert {f.source for f in found} <= {"s07"}
        hits += bool(found)
        alone += bool(named(twenty, {"check00": shares["check00"]}))
    assert hits >= 19
    assert alone <= 10


def test_the_evidence_names_rows_and_the_contrast(twenty: ProjectedRows) -> None:
    shares = clean(twenty, 5, 3)
    planted = of(twenty, "s03")[:40]
    shares["check02"][planted] = 0.001
    (found,) = named(twenty, shares)
    assert (found.source, found.batch, found.subject) == ("s03", "b1", "source")
    assert {twenty[int(i)].line for i in planted} <= set(found.lines)
    assert len(found.lines) < 60
    assert "of 150 records" in found.evidence
    assert "in the 19 source x batches like it" in found.evidence
    assert [e.split(":")[0] for e in found.examples] == ["here"] * 4 + ["elsewhere"] * 2
    assert named(twenty, shares, trusted=frozenset({"s03"})) == []


def test_being_different_is_not_held_against_a_source() -> None:
    view = project(rows(12, 150, 1, other=1))
    shares = clean(view, 3, 5)
    alone = of(view, "s12")
    shares["check00"][alone[:9]] = 0.001  # six in a hundred: as loud as an honest set of its own kind may be
    assert named(view, shares) == []
    shares["check00"][alone[:75]] = 0.001  # half: no clean set is
    (found,) = named(view, shares)
    assert found.source == "s12"
    assert "no clean set has more than" in found.evidence


def test_peers_that_differ_among_themselves_prove_less(twenty: ProjectedRows) -> None:
    """With rates spread over the sources the highest of them is no outlier; with equal rates it would be."""

    def shares_of(rates: NDArray[np.float64], seed: int) -> dict[str, NDArray[np.float64]]:
        rng = np.random.default_rng(seed)
        low = rng.random(len(twenty)) < rates[twenty.groups.of_row]
        return {"check": np.where(low, 0.005, 0.5)}

    spread, equal = 0, 0
    for seed in range(20):
        rates = np.random.default_rng(seed).beta(1.0, 40.0, 20)
        rates[4] = np.sort(rates)[-2]
        spread += bool(named(twenty, shares_of(rates, seed)))
        rates[:] = 0.02
        rates[4] = 0.25
        equal += "s04" in {f.source for f in named(twenty, shares_of(rates, seed))}
    assert spread <= 1
    assert equal == 20


def test_a_check_that_tells_of_one_source_only_is_not_compared(twenty: ProjectedRows) -> None:
    shares = clean(twenty, 4, 9)
    shares["gated"] = np.full(len(twenty), np.nan)
    shares["gated"][of(twenty, "s05")] = 0.03
    assert named(twenty, shares) == []
    shares["gated"] = np.where(np.isnan(shares["gated"]), 0.5, shares["gated"])
    assert [f.source for f in named(twenty, shares)] == ["s05"]


def test_small_sources_are_a_note() -> None:
    view = project([*rows(6, 100, 2), *(replace(r, line=r.line + 5000) for r in rows(8, 4, 3)[24:])])
    view = project(
        [
            replace(r, record=r.record.model_copy(update={"origin": Origin(source="tiny", batch=f"b{r.line % 2}")}))
            if r.line > 5000
            else r
            for r in view
        ]
    )
    found, facts = contrast.findings(view, clean(view, 3, 1), combine_of(3))
    assert [f.severity for f in found] == [Severity.NOTE]
    assert "2 source x batches have fewer than 20 records" in found[0].evidence
    assert facts["too_small"] == 2
    assert facts["compared"] == 6


def test_the_order_of_the_rows_does_not_matter(twenty: ProjectedRows) -> None:
    shares = clean(twenty, 5, 3)
    shares["check02"][of(twenty, "s03")[:40]] = 0.001
    order = np.random.default_rng(0).permutation(len(twenty))
    moved = project([twenty[int(i)] for i in order])
    again = named(moved, {name: values[order] for name, values in shares.items()})
    (first,), (second,) = named(twenty, shares), again
    assert (first.evidence, first.lines, first.source) == (second.evidence, second.lines, second.source)


def test_no_rows_and_one_source_and_identical_rows() -> None:
    assert contrast.findings(project([]), {}, combine_of(1)) == ([], {})
    one = project(rows(1, 60, 4))
    assert named(one, clean(one, 3, 0)) == []
    same = rows(1, 1, 5) * 200
    same = [
        Row(i + 1, Record(content=r.record.content, origin=Origin(source=f"s{i % 5}", batch="b")))
        for i, r in enumerate(same)
    ]
    assert named(project(same), {"check": np.full(200, 0.5)}) == []


def test_power_is_told() -> None:
    assert contrast.needed(750, 0.01, 20) < 30
    assert contrast.needed(10, 0.01, 20) <= 10
    assert contrast.needed(4, 0.01, 20) == 5
    assert contrast.needed(750, 0.01, 20_000) > contrast.needed(750, 0.01, 20)


def test_holm_counts_what_is_not_listed() -> None:
    assert multiplicity.holm([0.001, 0.02], family=100) == [0.1, pytest.approx(1.0)]
    assert multiplicity.holm([0.01, 0.04]) == multiplicity.holm([0.01, 0.04], family=2)
