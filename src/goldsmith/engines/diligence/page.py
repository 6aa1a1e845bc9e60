"""Diligence -> one self-contained HTML page: no scripts, no requests, every piece of data escaped and made inert."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from goldsmith.engines.diligence import agreement, drift, figures, residual
from goldsmith.engines.diligence.figures import Bar
from goldsmith.engines.report.inert import count, excerpt, inert, marked, short, words
from goldsmith.engines.report.page import OUTCOMES, Panel, day
from goldsmith.trust.canonical import artifact_digest
from goldsmith.types.diligence import CheckRun, Diligence, Drift, Measure, Power, Unit

WIDE, NARROW = 1000.0, 340.0
IN_FIGURE, IN_HEAT, IN_TABLE = 30, 8, 100
BADGES = {"pass": ("PASS", "good"), "fail": ("FAIL", "bad"), "inconclusive": ("INCONCLUSIVE", "open")}
SECTIONS = (
    (
        "Poison and backdoors",
        (
            "covert_tool_calls",
            "trigger_",
            "preference_flips",
            "identity_shift",
            "refusal_removal",
            "source_caps",
            "source_contrast",
            "source_influence",
            "response_density",
            "prompt_mismatch",
            "entity_promotion",
            "encoded_text",
            "explicit_harm",
        ),
    ),
    ("Accuracy and agreement", ("annotator_", "label_noise", "near_miss_labels", "contradictions")),
    ("Broken rows and answers", ("faulty_row", "well_formed", "degenerate_answers", "language_mismatch")),
    ("Bias in preferences", ("length_bias", "position_bias", "sycophancy_bias")),
    ("Duplicates and contamination", ("duplicates", "eval_overlap")),
    ("Secrets, personal data, licences", ("secrets", "personal_data", "licences")),
    ("People and models", ("synthetic_", "human_anchor")),
)
"""What checks are for: by name, or by the beginning of the name (ending in `_`)."""
OTHER = "Further checks"


@dataclass(frozen=True, slots=True)
class PowerRow:
    """One attack of the coverage matrix: its cells by planted records, None where a size was not tried."""

    attack: str
    cells: tuple[Power | None, ...]
    inapplicable: str | None


def render(value: Diligence) -> str:
    """The page, as text. The same value gives the same bytes."""
    env = Environment(
        loader=ChoiceLoader([PackageLoader("goldsmith.engines.diligence"), PackageLoader("goldsmith.engines.report")]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_final,
    )
    env.filters.update(short=short, words=words, count=count, excerpt=excerpt, marked=marked, day=day, percent=percent)
    sizes = sorted({cell.records for cell in value.power})
    return env.get_template("diligence.html").render(
        d=value,
        digest=artifact_digest(value),
        badge=BADGES[value.verdict.value],
        outcomes=OUTCOMES,
        sizes=sizes,
        powers=power_rows(value.power, sizes),
        totals=_totals(value),
        heat=_heat(value.units),
        groups=_groups(value.checks),
        dimensions=(
            ("Accuracy", "Is it right?", value.accuracy),
            ("Completeness", "Is all of it there?", value.completeness),
            ("Consistency", "Does it agree with itself?", value.consistency),
        ),
        drifted=_drifted(value.units),
        drift_rows=[(unit, one) for unit in value.units[:IN_TABLE] for one in unit.drift],
        agreed=_agreed(value),
        by_source=_by_source(value),
        scored=_scored(value),
        mapped=_mapped(value),
        swatches=[figures.swatch(i, f"sw{i}") for i in range(len(value.units[: len(figures.COLOURS)]))],
        coefficients=agreement.COEFFICIENTS,
        limits={"heat": IN_HEAT, "table": IN_TABLE, "figure": IN_FIGURE},
    )


def _final(value: Any) -> Any:
    return value if isinstance(value, Markup) else inert(str(value))


def percent(value: float | None, places: int = 1) -> str:
    """A share in per cent, as short as it may be said."""
    if value is None:
        return "–"
    shown = f"{100 * value:.{places}f}".rstrip("0").rstrip(".") if places else f"{100 * value:.0f}"
    if shown in ("0", "-0") and value > 0:
        return f"under {10**-places:g} %" if places else "under 1 %"
    if shown == "100" and value < 1:
        return f"over {100 - 10**-places:g} %" if places else "over 99 %"
    return f"{shown} %"


def power_rows(power: Sequence[Power], sizes: Sequence[int]) -> list[PowerRow]:
    """The coverage matrix: attacks with the weakest first, those without a place in this data last."""
    rows = []
    for attack in sorted({cell.attack for cell in power}):
        own = {cell.records: cell for cell in power if cell.attack == attack}
        measured = {size: cell for size, cell in own.items() if cell.inapplicable is None and cell.draws}
        why = None if measured else next((cell.inapplicable for cell in own.values() if cell.inapplicable), "not tried")
        rows.append(PowerRow(attack, tuple(measured.get(size) for size in sizes), why))
    known = [[cell.caught for cell in row.cells if cell] for row in rows]
    order = sorted(range(len(rows)), key=lambda i: (not known[i], min(known[i], default=0.0), rows[i].attack))
    return [rows[i] for i in order]


def _totals(value: Diligence) -> dict[str, Any]:
    attacks = {cell.attack for cell in value.power if cell.inapplicable is None and cell.draws}
    weak = [row for row in power_rows(value.power, sorted({c.records for c in value.power})) if _weak(row)]
    told = {measure.name: measure for measure in (*value.accuracy, *value.completeness, *value.consistency)}
    return {
        "units": len(value.units) + value.unlisted_units,
        "quarantined": sum(unit.verdict.value == "fail" for unit in value.units),
        "sources": len({unit.source for unit in value.units}),
        "attacks": len(attacks),
        "strong": len(attacks) - len(weak),
        "gold": told.get("votes on gold items that are right"),
        "unsure": [check for check in value.checks if check.outcome == "could not tell"],
        "off": [check.check for check in value.checks if check.outcome == "left out"],
    }


def _weak(row: PowerRow) -> bool:
    measured = [cell for cell in row.cells if cell]
    return bool(measured) and measured[-1].caught < residual.WEAK


def _heat(units: Sequence[Unit]) -> dict[str, list[tuple[int, float, str]]]:
    """For each check that named something, for each of the first units: rows named, their share, the severity."""
    shown = units[:IN_HEAT]
    checks = sorted({named.check for unit in shown for named in unit.named if named.rows})
    found = {}
    for check in checks:
        cells = []
        for unit in shown:
            named = next((one for one in unit.named if one.check == check), None)
            rows = named.rows if named else 0
            cells.append((rows, rows / max(1, unit.delivered + unit.faulty), named.severity.value if named else "note"))
        found[check] = cells
    return found


def _groups(checks: Sequence[CheckRun]) -> list[tuple[str, list[CheckRun]]]:
    """The checks by what they are for; those that nobody has put anywhere come last, never nowhere."""
    titles = [title for title, _ in SECTIONS] + [OTHER]
    grouped = [(title, [check for check in checks if _section(check.check) == title]) for title in titles]
    return [(title, own) for title, own in grouped if own]


def _section(check: str) -> str:
    for title, names in SECTIONS:
        if any(check == name or (name.endswith("_") and check.startswith(name)) for name in names):
            return title
    return OTHER


def _panel(title: str, note: str, told: str, wide: Markup | None, narrow: Markup | None) -> Panel | None:
    return None if wide is None else Panel(title, note, told, wide, narrow)


def _drifted(units: Sequence[Unit]) -> Panel | None:
    """Batches that are told from the one before most easily come first."""
    measured = [unit for unit in units if any(one.auc is not None for one in unit.drift)]
    measured.sort(key=lambda unit: (-max(one.auc or 0.0 for one in unit.drift), unit.source, unit.batch))
    bars = [
        Bar(
            f"{unit.source} / {unit.batch}", _as_measure(unit.drift, "the batch before"),
            _as_measure(unit.drift, "the other sources"),
        )
        for unit in measured[:IN_FIGURE]
    ]  # fmt: skip
    told = "; ".join(
        f"{unit.source} / {unit.batch}: " + ", ".join(f"{one.versus} {one.auc:.2f}" for one in unit.drift if one.auc)
        for unit in measured[:IN_FIGURE]
    )
    return _panel(
        "How easily each batch is told apart",
        "A classifier sees the texts: 0.5 is chance, 1.0 is always right. Sources differ by nature; a batch that "
        "differs from its own source’s last one deserves a question.",
        told,
        figures.intervals(bars, "drift", WIDE, low=0.4, high=1.0, fine=drift.ALIKE),
        figures.intervals(bars, "driftn", NARROW, low=0.4, high=1.0, fine=drift.ALIKE),
    )


def _as_measure(drifts: Sequence[Drift], versus: str) -> Measure | None:
    found = next((one for one in drifts if one.versus == versus and one.auc is not None), None)
    if found is None:
        return None
    return Measure(name=versus, told=found.told, value=found.auc, low=found.low, high=found.high)


def _agreed(value: Diligence) -> Panel | None:
    listed = value.agreement.annotators
    ranked = sorted(listed, key=lambda one: (_first(one.gold, one.agreement), one.name))[:IN_FIGURE]
    bars = [Bar(one.name, one.gold, one.agreement) for one in ranked]
    return _panel(
        "Annotator by annotator",
        "Least accurate first.",
        "; ".join(
            f"{one.name}: gold {percent(one.gold.value)}, agreement {percent(one.agreement.value)}" for one in ranked
        ),
        figures.intervals(bars, "annotators", WIDE),
        figures.intervals(bars, "annotatorsn", NARROW),
    )


def _by_source(value: Diligence) -> Panel | None:
    bars = [Bar(one.name, None, one) for one in value.agreement.by_source[:IN_FIGURE]]
    return _panel(
        "Source by source",
        "Share of pairs of votes on one item that agree.",
        "; ".join(f"{one.name}: {percent(one.value)}" for one in value.agreement.by_source[:IN_FIGURE]),
        figures.intervals(bars, "bysource", WIDE),
        figures.intervals(bars, "bysourcen", NARROW),
    )


def _first(*measures: Measure) -> float:
    return next((one.value for one in measures if one.value is not None), 2.0)


def _scored(value: Diligence) -> Panel | None:
    above = value.scores.above
    return _panel(
        "All records by suspicion",
        "Bars right of the red line are the records that the checks find more suspicious than 99 % of clean rows; the "
        "dashed line is what clean data of this size would give.",
        f"{percent(above.value, 2)} of the records lie above the 1 % line",
        figures.distribution(value.scores.bins, "scores", WIDE),
        figures.distribution(value.scores.bins, "scoresn", NARROW),
    )


def _mapped(value: Diligence) -> Panel | None:
    chart = value.map
    ringed = sum(point.state in ("above", "exclude", "quarantine") for point in chart.points)
    return _panel(
        "Map of the records",
        chart.told,
        f"{len(chart.points)} records on a map, {ringed} of them marked by a check",
        figures.scatter(chart, "map"),
        None,
    )
