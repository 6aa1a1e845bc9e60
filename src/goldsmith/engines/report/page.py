"""Facts -> one self-contained HTML page: no scripts, no requests, every piece of data escaped and made inert."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from goldsmith.engines.report import plots
from goldsmith.engines.report.facts import Facts, Step
from goldsmith.engines.report.flow import flow_of
from goldsmith.engines.report.gather import series
from goldsmith.engines.report.inert import count, excerpt, inert, marked, short, words
from goldsmith.engines.report.story import Story
from goldsmith.trust.merkle import InclusionProof, check_record_proof

WIDE, NARROW = 1000, 340
CURVES = (
    ("loss", "Loss", "", (("loss", "line"), ("validation_loss", "dots"))),
    (
        "margin",
        "Preference margin",
        "reward of chosen minus rejected",
        (("reward_margin", "line"), ("validation_reward_margin", "dots")),
    ),
    (
        "accuracy",
        "Preference accuracy",
        "share of pairs with the chosen answer ahead",
        (("reward_accuracy", "line"), ("validation_reward_accuracy", "dots")),
    ),
)
OUTCOMES = {
    "pass": ("✓", "good", "met"),
    "fail": ("✕", "bad", "not met"),
    "inconclusive": ("?", "open", "could not tell"),
}
LOSSES = {"sft": "nats per token", "dpo": "of the preference: 0.693 is a coin toss"}
MONTHS = (
    "January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November",
    "December",
)  # fmt: skip
METHODS = {"sft": "supervised fine-tuning", "dpo": "direct preference optimisation"}


@dataclass(frozen=True, slots=True)
class Panel:
    """A figure with its heading and its words; `wide` for screens, `narrow` for phones."""

    title: str
    note: str
    words: str
    wide: Markup
    narrow: Markup | None = None


def render(facts: Facts, story: Story) -> str:
    """The page, as text. The same facts and story give the same bytes."""
    env = Environment(
        loader=PackageLoader("goldsmith.engines.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_final,
    )
    env.filters.update(short=short, words=words, count=count, excerpt=excerpt, marked=marked, day=day, number=number)
    template = env.get_template("page.html")
    return template.render(
        facts=facts,
        story=story,
        flows=[flow_of(one, facts, last=one is facts.rounds[-1]) for one in facts.rounds],
        caught=[_caught(one.units, place) for place, one in enumerate(facts.rounds)],
        learned=[(step, _curves(step, place)) for place, step in enumerate(_steps(facts))],
        panels=_panels(facts),
        outcomes=OUTCOMES,
        methods=METHODS,
        totals=_totals(facts),
        proven=[_proven(one, facts) for one in story.teachers],
    )


def _final(value: Any) -> Any:
    return value if isinstance(value, Markup) else inert(str(value))


def _proven(teacher: Mapping[str, Any], facts: Facts) -> bool:
    """Whether the record's own proof shows that it is in one of the releases this model learned from."""
    try:
        proof = InclusionProof.model_validate(teacher["inclusion"])
    except (KeyError, ValueError):
        return False
    releases = {(one.merkle_root, one.count) for one in facts.rounds}
    return proof.record == teacher.get("record") and (proof.root, proof.size) in releases and check_record_proof(proof)


def _steps(facts: Facts) -> list[Step]:
    return [step for one in facts.rounds for step in one.steps]


def _totals(facts: Facts) -> dict[str, int]:
    units = [unit for one in facts.rounds for unit in one.units]
    return {
        "delivered": sum(unit.delivered for unit in units),
        "used": sum(unit.used for unit in units),
        "left_out": sum(one.left_out for one in facts.rounds),
        "quarantined": sum(1 for unit in units if unit.quarantined),
        "deliveries": len(units),
        "sources": len({unit.source for unit in units}),
    }


def _caught(units: Sequence[Any], place: int) -> Panel | None:
    wide = plots.barcode(units, f"rows{place}", WIDE)
    if wide is None:
        return None
    told = "; ".join(f"{u.name}: {len(u.suspicion)} of {len(u.lines)} rows with a finding, {u.state}" for u in units)
    return Panel(
        "Every delivered row, in the order it was delivered",
        "A spike is a row in which a check found something; the higher, the more suspicious.",
        told,
        wide,
        plots.barcode(units, f"rows{place}n", NARROW),
    )


def _curves(step: Step, place: int) -> list[Panel]:
    """One panel for each curve the log holds; together they fill the page's width."""
    wanted = [curve for curve in CURVES if any(series(step.metrics, name) for name, _ in curve[3])]
    width = (WIDE - 22.0 * (len(wanted) - 1)) / max(1, len(wanted))
    panels = []
    for key, title, note, names in wanted:
        wide = plots.curves(step, names, f"{key}{place}", width, share=key == "accuracy")
        if wide is not None:
            narrow = plots.curves(step, names, f"{key}{place}n", NARROW, share=key == "accuracy")
            told = f"{title} over {count(step.updates, 'update')} of {step.method}"
            note = note or LOSSES.get(step.method, "")
            panels.append(Panel(title, note, told, wide, narrow))
    return panels


def _panels(facts: Facts) -> list[Panel]:
    """What the policy asks about first; then each eval's other headline metrics; then success skill by skill."""
    scale = [metric for metric in facts.metrics if metric.is_share]
    asked = [metric for metric in scale if metric.outcome is not None or metric.bounds]
    rest = [metric for metric in scale if metric not in asked]
    skills = [metric for metric in rest if metric.result.metric.startswith("success/")]
    heads = [metric for metric in rest if "/" not in metric.result.metric]
    other = [metric for metric in facts.metrics if not metric.is_share and metric.result.n]
    groups = (
        ("asked", "What the promotion policy asks about", asked),
        ("heads", "Further measures", heads),
        ("skills", "Success, skill by skill", skills),
        ("losses", "Fit: how far memory runs ahead of learning", other),
    )
    panels = []
    for key, title, metrics in groups:
        wide = plots.intervals(metrics, key, WIDE)
        if wide is not None:
            note = "nats per token; lower is better" if key == "losses" else ""
            told = plots.summary(metrics, facts.base_name)
            panels.append(Panel(title, note, told, wide, plots.intervals(metrics, f"{key}n", NARROW)))
    return panels


def day(stamp: str) -> str:
    """`2026-01-31T09:30:00Z` as `31 January 2026, 09:30 UTC`; anything else as it is."""
    try:
        year, month, rest = stamp[:4], MONTHS[int(stamp[5:7]) - 1], stamp[11:16]
        return f"{int(stamp[8:10])} {month} {int(year)}, {rest} UTC"
    except (ValueError, IndexError):
        return stamp


def number(value: float | None) -> str:
    """A measurement with as many digits as a reader needs."""
    return "–" if value is None else f"{value:.3f}"
