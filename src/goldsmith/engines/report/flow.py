"""The way of the data as a drawing: geometry only, in CSS pixels; the template paints it.

Ribbons are as high as the records they carry. What is quarantined stops at the checks; what is left out leaves
downwards; what was recalled afterwards is hatched all the way.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

from goldsmith.engines.report.facts import Facts, Round, Unit
from goldsmith.engines.report.inert import count, inert

SOURCE_X, GATE_X, RELEASE_X, STEPS_X = 190, 372, 520, 596
BAR, STEP_W, STEP_H, GAP, MODEL_W = 10, 112, 56, 22, 148
TOP, FLOW_H, SLOT, LEAST = 44, 190, 58, 190


@dataclass(frozen=True, slots=True)
class Ribbon:
    """A filled band from (x0, y0) to (x1, y1), `h0` and `h1` high."""

    d: str
    kind: str
    title: str


@dataclass(frozen=True, slots=True)
class Box:
    x: float
    y: float
    w: float
    h: float
    kind: str
    lines: tuple[str, ...] = ()
    title: str = ""


@dataclass(frozen=True, slots=True)
class Label:
    x: float
    y: float
    text: str
    kind: str
    anchor: str = "start"


@dataclass(slots=True)
class Flow:
    """One round's drawing. `words`: the same, to be read aloud."""

    title: str
    width: float = 0
    height: float = 0
    ribbons: list[Ribbon] = field(default_factory=list)
    boxes: list[Box] = field(default_factory=list)
    labels: list[Label] = field(default_factory=list)
    crosses: list[tuple[float, float]] = field(default_factory=list)
    arrows: list[str] = field(default_factory=list)
    words: list[str] = field(default_factory=list)


def flow_of(one: Round, facts: Facts, *, last: bool) -> Flow:
    """Lay out one round; the last one ends in the report's model and its verdict."""
    flow = Flow(title=f"From {count(len(one.units), 'delivery', 'deliveries')} to {one.steps[-1].model_name}")
    admitted = [unit for unit in one.units if not unit.quarantined]
    stopped = [unit for unit in one.units if unit.quarantined]
    total = max(1, sum(unit.delivered for unit in one.units))
    high = {id(unit): max(4.0, FLOW_H * unit.delivered / total) for unit in one.units}
    slots = {id(unit): max(float(SLOT), high[id(unit)] + 26) for unit in one.units}
    region = max(float(LEAST), sum(slots[id(unit)] for unit in admitted))
    y = TOP + (region - sum(slots[id(unit)] for unit in admitted)) / 2
    middles: dict[int, float] = {}
    for unit in admitted:
        middles[id(unit)] = y + slots[id(unit)] / 2
        y += slots[id(unit)]
    y = TOP + region
    for unit in stopped:
        middles[id(unit)] = y + slots[id(unit)] / 2
        y += slots[id(unit)]
    bottom = y
    for unit in one.units:
        _source(flow, unit, middles[id(unit)], high[id(unit)])
    flow.boxes.append(Box(GATE_X, TOP - 4, BAR, bottom - TOP + 8, "gate", title="the checks"))
    for unit in stopped:
        _stop(flow, unit, middles[id(unit)])
    centre, kept = _through(flow, one, admitted, middles, high, TOP + region)
    _training(flow, one, facts, centre, kept, last=last)
    _headings(flow)
    flow.height = bottom + 16
    flow.words = _in_words(one, facts, last=last)
    return flow


def _band(x0: float, y0: float, h0: float, x1: float, y1: float, h1: float) -> str:
    """A ribbon's outline; y is the upper edge."""
    mid = (x0 + x1) / 2
    return (
        f"M{x0:.1f} {y0:.1f}C{mid:.1f} {y0:.1f} {mid:.1f} {y1:.1f} {x1:.1f} {y1:.1f}V{y1 + h1:.1f}"
        f"C{mid:.1f} {y1 + h1:.1f} {mid:.1f} {y0 + h0:.1f} {x0:.1f} {y0 + h0:.1f}Z"
    )


def _kind(unit: Unit) -> str:
    if unit.quarantined:
        return "stopped"
    return "recalled" if unit.recalled is not None else "kept"


def _source(flow: Flow, unit: Unit, middle: float, high: float) -> None:
    kind = _kind(unit)
    title = f"{unit.name}: {count(unit.delivered, 'record')} delivered, {unit.state}"
    flow.boxes.append(Box(SOURCE_X, middle - high / 2, BAR, high, f"bar {kind}", title=title))
    x, y = SOURCE_X + BAR, middle - high / 2
    flow.ribbons.append(Ribbon(_band(x, y, high, GATE_X, y, high), kind, title))
    struck = " struck" if unit.recalled is not None else ""
    flow.labels.append(Label(SOURCE_X - 12, middle - 3, cut(unit.name, 26), f"name{struck}", "end"))
    below = f"{count(unit.delivered, 'record')}"
    if unit.recalled is not None:
        below += ", recalled"
    flow.labels.append(Label(SOURCE_X - 12, middle + 14, below, "small", "end"))


def _stop(flow: Flow, unit: Unit, middle: float) -> None:
    flow.crosses.append((GATE_X + BAR / 2, middle))
    flow.labels.append(Label(GATE_X + 30, middle - 2, "quarantined", "stopped"))
    flow.labels.append(Label(GATE_X + 30, middle + 15, f"{count(unit.delivered, 'record')} kept out", "small"))


def _through(
    flow: Flow,
    one: Round,
    admitted: Sequence[Unit],
    middles: dict[int, float],
    high: dict[int, float],
    bottom: float,
) -> tuple[float, float]:
    """From the checks to the release and to what was left out; the release's middle and height."""
    share = {id(u): (u.used / u.delivered if u.delivered else 0.0) for u in admitted}
    kept = max(3.0, sum(high[id(u)] * share[id(u)] for u in admitted))
    out = sum(high[id(u)] * (1 - share[id(u)]) for u in admitted)
    out_count = sum(unit.left_out for unit in admitted)
    centre = (TOP + bottom) / 2 - (14 if out_count else 0)
    into, away = centre - kept / 2, min(bottom - max(out, 3.0) - 8, centre + kept / 2 + 44)
    away = max(away, centre + kept / 2 + 22)
    flow.boxes.append(Box(RELEASE_X, into, BAR, kept, "bar release", title=f"release {one.name}"))
    first_away = away
    for unit in admitted:
        top, x = middles[id(unit)] - high[id(unit)] / 2, GATE_X + BAR
        part = high[id(unit)] * share[id(unit)]
        if part > 0:
            title = f"{unit.name}: {count(unit.used, 'record')} in the release"
            flow.ribbons.append(Ribbon(_band(x, top, part, RELEASE_X, into, part), _kind(unit), title))
            into += part
        rest = high[id(unit)] - part
        if unit.left_out and rest > 0:
            title = f"{unit.name}: {count(unit.left_out, 'record')} left out"
            flow.ribbons.append(Ribbon(_band(x, top + part, rest, RELEASE_X, away, max(rest, 1.0)), "out", title))
            away += max(rest, 1.0)
    if out_count:
        flow.boxes.append(Box(RELEASE_X, first_away, BAR, max(3.0, away - first_away), "bar out"))
        flow.labels.append(Label(RELEASE_X + 20, first_away + 9, f"{count(out_count)} left out,", "out"))
        flow.labels.append(Label(RELEASE_X + 20, first_away + 25, "reasons on file", "small"))
    return centre, kept


def _training(flow: Flow, one: Round, facts: Facts, centre: float, kept: float, *, last: bool) -> None:
    kind = "recalled" if one.withdrawn is not None else "kept"
    x, y = float(STEPS_X), centre - STEP_H / 2
    flow.ribbons.append(
        Ribbon(
            _band(RELEASE_X + BAR, centre - kept / 2, kept, x, y, STEP_H),
            kind,
            f"release {one.name}: {count(one.count, 'record')}",
        )
    )
    flow.labels.append(Label(RELEASE_X + BAR / 2, centre - kept / 2 - 10, count(one.count, "record"), "name", "middle"))
    base_y = y - 62
    flow.boxes.append(Box(x, base_y, STEP_W, 34, "base", (cut(one.base_name, 15),), f"starts from {one.base_name}"))
    flow.arrows.append(f"M{x + STEP_W / 2:.1f} {base_y + 34:.1f}V{y - 5:.1f}")
    for step in one.steps:
        title = f"{step.method}: {count(step.updates, 'update')} on {count(step.records_used, 'record')}"
        lines = (step.method.upper() if len(step.method) <= 4 else cut(step.method, 13), count(step.updates, "update"))
        flow.boxes.append(Box(x, y, STEP_W, STEP_H, "step", lines, title))
        flow.arrows.append(f"M{x + STEP_W:.1f} {centre:.1f}H{x + STEP_W + GAP - 5:.1f}")
        x += STEP_W + GAP
    name = facts.name if last else one.steps[-1].model_name
    gone = last and facts.withdrawn is not None
    kind = "model gone" if gone else "model"
    flow.boxes.append(Box(x, y, MODEL_W, STEP_H, kind, (cut(name, 16), "model"), name))
    if last:
        flow.arrows.append(f"M{x + MODEL_W / 2:.1f} {y + STEP_H:.1f}V{y + STEP_H + 19:.1f}")
        flow.boxes.append(Box(x + 8, y + STEP_H + 24, MODEL_W - 16, 32, f"verdict {facts.tone}", (facts.badge,)))
    flow.width = x + MODEL_W + 4


def _headings(flow: Flow) -> None:
    for x, text, anchor in (
        (SOURCE_X + BAR, "delivered", "end"),
        (GATE_X + BAR / 2, "checked", "middle"),
        (RELEASE_X + BAR / 2, "released", "middle"),
        (STEPS_X, "trained", "start"),
        (flow.width - 4, "model", "end"),
    ):
        flow.labels.append(Label(x, 18, text, "heading", anchor))


def cut(text: str, limit: int) -> str:
    """A name, inert and short enough for its place in a drawing."""
    shown = inert(text)
    return shown if len(shown) <= limit else shown[: limit - 1] + "…"


def _in_words(one: Round, facts: Facts, *, last: bool) -> list[str]:
    told = []
    for unit in one.units:
        fate = f"{count(unit.used)} went into the release"
        if unit.quarantined:
            fate = "quarantined by the checks, none went into the release"
        elif unit.left_out:
            fate += f", {count(unit.left_out)} left out with reasons"
        if unit.recalled is not None:
            fate += f"; recalled afterwards: {unit.recalled}"
        told.append(f"{unit.name} delivered {count(unit.delivered, 'record')}: {fate}.")
    told.append(f"The release {one.name} froze {count(one.count, 'record')}.")
    parent = one.base_name
    for step in one.steps:
        told.append(f"{step.method} made {step.model_name} out of {parent} in {count(step.updates, 'update')}.")
        parent = step.model_name
    if last:
        told.append(f"Verdict: {facts.badge}. {facts.why}")
    return told
