"""Statistical figures as inline SVG: deterministic, in the page's font and colours, inert whatever the data says.

Figures are drawn in CSS pixels (1 pt = 1 px) and post-processed: no XML namespace, metadata, comment, style sheet or
outside reference is left, ids are the figure's own, and the palette becomes the page's variables, so that dark pages
work.
"""

import re
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from io import BytesIO
from typing import Any
from xml.etree import ElementTree

from markupsafe import Markup

from goldsmith.engines.report.facts import Metric, Step, Unit
from goldsmith.engines.report.flow import cut
from goldsmith.engines.report.gather import series
from goldsmith.engines.report.inert import count, inert, words

INK, MUTED, LINE, GOLD, GOOD, BAD, OPEN = "#1d1c1a", "#6b675f", "#e4dfd3", "#b8860b", "#2f7d4f", "#b3372f", "#b4540a"
PAPER = "#fffefb"
VARIABLES = {
    INK: "ink", MUTED: "muted", LINE: "line", GOLD: "gold", GOOD: "good", BAD: "bad", OPEN: "open", PAPER: "paper",
}  # fmt: skip
STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "font.family": "DejaVu Sans",
    "font.size": 12,
    "text.parse_math": False,
    "axes.unicode_minus": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": LINE,
    "axes.linewidth": 1,
    "axes.labelcolor": MUTED,
    "axes.labelsize": 12,
    "xtick.color": LINE,
    "ytick.color": LINE,
    "xtick.labelcolor": MUTED,
    "ytick.labelcolor": MUTED,
    "xtick.labelsize": 11.5,
    "ytick.labelsize": 11.5,
    "text.color": INK,
    "figure.facecolor": "none",
    "axes.facecolor": "none",
    "savefig.facecolor": "none",
    "path.simplify": False,
}
POINTS_AT_MOST = 400
BINS = 480
SEVERITY = {"quarantine": BAD, "exclude": OPEN, "warn": GOLD}


@contextmanager
def drawing(name: str, width: float, height: float) -> Iterator[tuple[Any, list[Markup]]]:
    """A figure `width` x `height` px; the finished SVG is put into the list on leaving."""
    import matplotlib
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    drawn: list[Markup] = []
    with matplotlib.rc_context({**STYLE, "svg.hashsalt": name}), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a glyph the measuring font lacks; the page's font draws it
        figure = Figure(figsize=(width / 72, height / 72), dpi=72)
        yield figure, drawn
        FigureCanvasSVG(figure)
        out = BytesIO()
        figure.savefig(out, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    drawn.append(_inline(out.getvalue(), name, width, height))


def _inline(data: bytes, name: str, width: float, height: float) -> Markup:
    root = ElementTree.fromstring(data)
    for parent in list(root.iter()):
        for child in list(parent):
            if child.tag.rsplit("}", 1)[-1] in ("metadata", "style", "title"):
                parent.remove(child)
    for element in root.iter():
        element.tag = element.tag.rsplit("}", 1)[-1]
        for key in list(element.attrib):
            value = element.attrib.pop(key)
            element.attrib[key.rsplit("}", 1)[-1]] = _own(value, key, name)
    root.attrib = {
        "viewBox": f"0 0 {width:g} {height:g}",
        "style": f"width:{width:g}px;max-width:100%;height:auto",
        "aria-hidden": "true",
        "class": "figure",
    }
    return Markup(ElementTree.tostring(root, encoding="unicode"))


def _own(value: str, key: str, name: str) -> str:
    """An attribute with the figure's own ids and the page's colours and font."""
    if key == "id":
        return f"{name}-{value}"
    value = re.sub(r"url\(#", f"url(#{name}-", value)
    if key.endswith("href"):
        return re.sub(r"^#", f"#{name}-", value)
    if key.rsplit("}", 1)[-1] == "style":
        value = re.sub(r"font: ([\d.]+px)[^;]*", r"font-size: \1", value)
        value = re.sub(r"font-family:[^;]*;?", "", value)
    for colour, variable in VARIABLES.items():
        value = value.replace(colour, f"var(--{variable})")
    return value


def barcode(units: Sequence[Unit], name: str, width: float) -> Markup | None:
    """One lane for each delivery, one spike for each row something was found in: its height is the finding's score."""
    if not units:
        return None
    lane, top, bottom = 70.0, 4.0, 28.0
    height = top + lane * len(units) + bottom
    with drawing(name, width, height) as (figure, drawn):
        axes = figure.add_axes((0, 0, 1, 1))
        axes.set(xlim=(0, width), ylim=(height, 0))
        axes.axis("off")
        for place, unit in enumerate(units):
            _lane(axes, unit, top + lane * place, lane, width)
        words_at(axes, 0, height - 8, "first row", MUTED, 11.5)
        words_at(axes, width, height - 8, "last row", MUTED, 11.5, ha="right")
        words_at(axes, width / 2, height - 8, "position in the delivered file", MUTED, 11.5, ha="center")
    return drawn[0]


def _lane(axes: Any, unit: Unit, top: float, lane: float, width: float) -> None:
    floor, room = top + lane - 10, lane - 34
    words_at(axes, 0, top + 14, cut(unit.name, 28 if width < 500 else 70), INK, 12.5)
    flagged = len(unit.suspicion)
    shown = f"{count(flagged)} of {count(len(unit.lines))} rows" if flagged else "nothing found"
    shown = f"{unit.state} · {shown}" if unit.state != "in" and width >= 500 else shown
    words_at(axes, width, top + 14, shown, BAD if unit.quarantined else MUTED, 12, ha="right")
    axes.plot([0, width], [floor, floor], color=LINE, linewidth=1.2, solid_capstyle="butt")
    bins: dict[int, tuple[float, str]] = {}
    total = max(1, len(unit.lines))
    spots = max(1, min(BINS, int(width / 2)))
    places = {line: at for at, line in enumerate(sorted(set(unit.lines) | set(unit.suspicion)))}
    for line, (score, severity) in sorted(unit.suspicion.items()):
        at = min(spots - 1, places[line] * spots // max(total, len(places)))
        if at not in bins or (_rank(severity), score) > (_rank(bins[at][1]), bins[at][0]):
            bins[at] = (score, severity)
    for severity, colour in SEVERITY.items():
        spikes = [(at, score) for at, (score, kind) in sorted(bins.items()) if kind == severity]
        if spikes:
            axes.vlines(
                [(at + 0.5) * width / spots for at, _ in spikes],
                [floor - max(3.0, room * score) for _, score in spikes],
                floor,
                colors=colour,
                linewidth=1.6 if severity == "quarantine" else 1.3,
            )
        if spikes and severity == "quarantine":  # not by colour alone
            tops = [floor - max(3.0, room * score) for _, score in spikes]
            axes.plot([(at + 0.5) * width / spots for at, _ in spikes], tops, "o", markersize=4.5, color=colour, mew=0)


def _rank(severity: str) -> int:
    return ("note", "warn", "exclude", "quarantine").index(severity)


def words_at(axes: Any, x: float, y: float, text: str, colour: str, size: float, **how: Any) -> None:
    """Text at a place of a figure; nothing in it is taken for markup or mathematics."""
    axes.text(x, y, text, color=colour, fontsize=size, va="baseline", parse_math=False, **how)


def curves(step: Step, names: Sequence[tuple[str, str]], name: str, width: float, *, share: bool) -> Markup | None:
    """Lines over the updates of a run. `names`: (field of the log, `line` or `dots`). `share`: values in 0..1."""
    found = [(how, series(step.metrics, key)) for key, how in names]
    found = [one for one in found if one[1]]
    if not found:
        return None
    height = 240
    with drawing(name, width, height) as (figure, drawn):
        axes = figure.add_axes((44 / width, 44 / height, (width - 56) / width, (height - 56) / height))
        axes.grid(axis="y", color=LINE, linewidth=0.8)
        axes.set_axisbelow(True)
        for how, points in found:
            _curve(axes, points, how)
        axes.margins(x=0.02, y=0.12)
        if share:
            axes.set_ylim(-0.03, 1.06)
        axes.set_xlabel("updates")
        axes.xaxis.get_major_locator().set_params(integer=True, nbins=5)
        axes.yaxis.get_major_locator().set_params(nbins=5)
        axes.tick_params(length=0)
        axes.spines["left"].set_visible(False)
    return drawn[0]


def _curve(axes: Any, points: Sequence[tuple[float, float]], how: str) -> None:
    thin = _thinned(points)
    steps, values = [s for s, _ in thin], [v for _, v in thin]
    if how == "dots":
        axes.plot(steps, values, color=INK, linewidth=1.4, marker="o", markersize=4.5, markerfacecolor=PAPER)
        return
    if len(points) >= 24:
        axes.plot(steps, values, color=GOLD, linewidth=0.9, alpha=0.35)
        steps, values = _smoothed(thin)
    axes.plot(steps, values, color=GOLD, linewidth=2, solid_capstyle="round")


def _thinned(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    stride = max(1, -(-len(points) // POINTS_AT_MOST))
    return [*points[:-1:stride], points[-1]]


def _smoothed(points: Sequence[tuple[float, float]]) -> tuple[list[float], list[float]]:
    """A centred mean over a twentieth of the run: the trend, without hiding the noise behind it."""
    reach = max(1, len(points) // 40)
    values = []
    for place in range(len(points)):
        window = [v for _, v in points[max(0, place - reach) : place + reach + 1]]
        values.append(sum(window) / len(window))
    return [s for s, _ in points], values


def intervals(metrics: Sequence[Metric], name: str, width: float) -> Markup | None:
    """Dot and 95 % interval: the tuned model (filled) over its base (hollow), with the policy's bounds as ticks."""
    if not metrics:
        return None
    beside = width >= 600
    left, right, row = (330.0, 84.0, 42.0) if beside else (10.0, 62.0, 58.0)
    height = row * len(metrics) + 30
    low, high = _span(metrics)
    with drawing(name, width, height) as (figure, drawn):
        axes = figure.add_axes((0, 0, 1, 1))
        axes.set(xlim=(0, width), ylim=(height, 0))
        axes.axis("off")

        def at(value: float) -> float:
            return left + (width - left - right) * (value - low) / (high - low)

        for tick in _ticks(low, high):
            axes.plot([at(tick)] * 2, [4, height - 24], color=LINE, linewidth=1, zorder=0)
            words_at(axes, at(tick), height - 8, f"{tick:g}", MUTED, 11.5, ha="center")
        for place, metric in enumerate(metrics):
            middle = row * place + (20 if beside else 38)
            _row(axes, metric, middle, at, width, left, beside=beside)
    return drawn[0]


def _row(axes: Any, metric: Metric, middle: float, at: Any, width: float, left: float, *, beside: bool) -> None:
    found = metric.result
    label = cut(words(found.metric.removeprefix("success/")), 24 if beside else 32)
    words_at(axes, 0, middle + 4 if beside else middle - 20, label, INK, 13)
    if beside:
        words_at(axes, left - 24, middle + 4, cut(words(found.eval), 22), MUTED, 12, ha="right")
    mark = {"pass": "✓", "fail": "✕", "inconclusive": "?"}.get(metric.outcome or "", "")
    colour = {"pass": GOOD, "fail": BAD, "inconclusive": OPEN}.get(metric.outcome or "", INK)
    if found.n == 0:
        words_at(axes, at(0.0) if beside else 0, middle + 4, "nothing scored", OPEN, 12)
        return
    _bounds(axes, metric, middle, at)
    if found.base_mean is not None:
        y = middle - 5
        if found.base_low is not None and found.base_high is not None:
            axes.plot([at(found.base_low), at(found.base_high)], [y, y], color=MUTED, linewidth=1.4, alpha=0.7)
        axes.plot([at(found.base_mean)], [y], "o", markersize=7, markerfacecolor=PAPER, markeredgecolor=MUTED)
    y = middle + 5
    axes.plot([at(found.low), at(found.high)], [y, y], color=GOLD, linewidth=3.4, solid_capstyle="round")
    axes.plot([at(found.mean)], [y], "o", markersize=9.5, markerfacecolor=GOLD, markeredgecolor=PAPER)
    value = f"{found.mean:.2f}"
    words_at(axes, width - 22, middle + 5, value, INK, 13, ha="right", fontweight="bold")
    if mark:
        words_at(axes, width, middle + 5, mark, colour, 13, ha="right", fontweight="bold")


def _bounds(axes: Any, metric: Metric, middle: float, at: Any) -> None:
    """What the policy allows as a pale band, from its bound on."""
    floors = [bound for sign, bound in metric.bounds if sign == "≥"]
    ceilings = [bound for sign, bound in metric.bounds if sign == "≤"]
    if not metric.bounds:
        return
    first, last = axes.get_xlim()[0], axes.get_xlim()[1]
    start = at(max(floors)) if floors else max(first, at(0.0))
    end = at(min(ceilings)) if ceilings else min(last, at(1.0) if metric.is_share else last)
    if end > start:
        axes.fill_between([start, end], middle - 15, middle + 15, color=GOOD, alpha=0.13, linewidth=0, zorder=0.5)
    for bound in (max(floors, default=None), min(ceilings, default=None)):
        if bound is not None:
            axes.plot([at(bound)] * 2, [middle - 15, middle + 15], color=GOOD, linewidth=2, solid_capstyle="butt")


def _span(metrics: Sequence[Metric]) -> tuple[float, float]:
    if all(metric.is_share for metric in metrics):
        return 0.0, 1.0
    values = [0.0]
    for metric in metrics:
        found = metric.result
        values += [found.low, found.high, *(bound for _, bound in metric.bounds)]
        values += [value for value in (found.base_low, found.base_high) if value is not None]
    low, high = min(values), max(values)
    return low - 0.02 * (high - low), high + 0.04 * (high - low) + 1e-9


def _ticks(low: float, high: float) -> list[float]:
    from matplotlib.ticker import MaxNLocator

    if (low, high) == (0.0, 1.0):
        return [0.0, 0.25, 0.5, 0.75, 1.0]
    return [float(round(tick, 9)) for tick in MaxNLocator(5).tick_values(low, high) if low <= tick <= high]


def summary(metrics: Sequence[Metric], base: str | None) -> str:
    """The interval figure in words."""
    told = []
    for metric in metrics:
        found = metric.result
        against = f", {base or 'base'} {found.base_mean:.2f}" if found.base_mean is not None else ""
        told.append(f"{words(found.metric)} {found.mean:.2f} ({found.low:.2f} to {found.high:.2f}){against}")
    return inert("; ".join(told))
