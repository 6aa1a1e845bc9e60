"""The report's figures as inline SVG, in the house's style: intervals, the distribution of scores, and the map."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from goldsmith.engines.report.flow import cut
from goldsmith.engines.report.plots import BAD, GOLD, GOOD, INK, LINE, MUTED, PAPER, drawing, words_at
from goldsmith.types.diligence import Bin, Map, Measure

COLOURS = ("#3f78b5", "#2a9d8f", "#8a63b8", "#a8852a", "#3aa6c9", "#a0673d", "#c46a9b", "#6f7f8f")
MARKERS = ("o", "s", "^", "D", "v", "P", "p", "h")
"""For each unit a colour and a shape: nobody has to tell colours apart. Readable on light and dark pages."""
MAP_WIDTH, MAP_HEIGHT = 1000.0, 620.0


@dataclass(frozen=True, slots=True)
class Bar:
    """One row of an interval figure: a filled mark and a hollow one, each with its interval, where there is one."""

    label: str
    filled: Measure | None
    hollow: Measure | None
    alarm: bool = False


def intervals(
    bars: Sequence[Bar], name: str, width: float, *, low: float = 0.0, high: float = 1.0, fine: float | None = None
) -> Markup | None:
    """Dots with 95 % intervals, row by row. `fine`: the range from `low` up to here is where nothing is amiss."""
    if not bars:
        return None
    beside = width >= 600
    left, right, row = (300.0, 70.0, 34.0) if beside else (8.0, 54.0, 54.0)
    height = row * len(bars) + 30
    with drawing(name, width, height) as (figure, drawn):
        axes = figure.add_axes((0, 0, 1, 1))
        axes.set(xlim=(0, width), ylim=(height, 0))
        axes.axis("off")

        def at(value: float) -> float:
            return left + (width - left - right) * (min(max(value, low), high) - low) / (high - low)

        if fine is not None:
            axes.fill_between([at(low), at(fine)], 2, height - 24, color=GOOD, alpha=0.13, linewidth=0, zorder=0)
        for step in range(6):
            tick = low + (high - low) * step / 5
            axes.plot([at(tick)] * 2, [2, height - 24], color=LINE, linewidth=1, zorder=0.5)
            words_at(axes, at(tick), height - 8, f"{tick:.1f}", MUTED, 11.5, ha="center")
        for place, bar in enumerate(bars):
            _row(axes, bar, row * place + (18 if beside else 36), at, width, beside=beside)
    return drawn[0]


def _row(axes: Any, bar: Bar, middle: float, at: Any, width: float, *, beside: bool) -> None:
    colour = BAD if bar.alarm else INK
    words_at(axes, 0, middle + 4 if beside else middle - 18, cut(bar.label, 38 if beside else 44), colour, 12.5)
    both = _known(bar.filled) and _known(bar.hollow)
    if bar.hollow is not None and _known(bar.hollow):
        y = middle - 5 if both else middle
        _interval(axes, bar.hollow, y, at, MUTED, 1.6)
        axes.plot([at(bar.hollow.value)], [y], "o", markersize=7, markerfacecolor=PAPER, markeredgecolor=MUTED)
    if bar.filled is not None and _known(bar.filled):
        y = middle + 5 if both else middle
        _interval(axes, bar.filled, y, at, GOLD, 3.2)
        axes.plot([at(bar.filled.value)], [y], "o", markersize=9, markerfacecolor=GOLD, markeredgecolor=PAPER)
    first = bar.filled if _known(bar.filled) else bar.hollow
    if first is None or first.value is None:
        words_at(axes, at(0.0) if beside else 0, middle + 4, "not measured", MUTED, 12)
    else:
        words_at(axes, width, middle + 4, f"{first.value:.2f}", colour, 12.5, ha="right", fontweight="bold")


def _known(measure: Measure | None) -> bool:
    return measure is not None and measure.value is not None


def _interval(axes: Any, measure: Measure, y: float, at: Any, colour: str, thick: float) -> None:
    if measure.low is not None and measure.high is not None:
        ends = [at(measure.low), at(measure.high)]
        axes.plot(ends, [y, y], color=colour, linewidth=thick, solid_capstyle="round", alpha=0.85)


def distribution(bins: Sequence[Bin], name: str, width: float) -> Markup | None:
    """Records by how few clean rows are as suspicious, on logarithmic scales, with the 1 % line and what clean data of
    this size would give."""
    total = sum(one.records for one in bins)
    if not total:
        return None
    height = 300.0
    decades = len(bins) // 8
    with drawing(name, width, height) as (figure, drawn):
        axes = figure.add_axes((52 / width, 60 / height, (width - 62) / width, (height - 92) / height))
        edges = [place / 8 for place in range(len(bins) + 1)]
        top = max(10.0, max(one.records for one in bins) * 2.2)
        axes.axvspan(2, decades, color=BAD, alpha=0.07, linewidth=0)
        for place, one in enumerate(bins):
            if one.records:
                colour = BAD if place >= 16 else GOLD
                axes.bar(
                    edges[place], one.records - 0.5, bottom=0.5, width=0.105, align="edge", color=colour, linewidth=0
                )
        clean = [max(0.5, total * (one.high - one.low)) for one in bins]
        axes.step(edges, [*clean, clean[-1]], where="post", color=INK, linewidth=1.4, linestyle=(0, (4, 3)))
        axes.axvline(2, color=BAD, linewidth=1.6)
        axes.set(yscale="log", ylim=(0.5, top), xlim=(0, decades))
        axes.grid(axis="y", color=LINE, linewidth=0.8)
        axes.set_axisbelow(True)
        axes.tick_params(length=0, which="both")
        axes.spines["left"].set_visible(False)
        wide = width >= 600
        labels = [f"1 in {10**step:,}" for step in range(decades + 1)]
        axes.set_xticks(
            range(decades + 1),
            labels if wide else ["1", "", "1/100", *("" for _ in range(decades - 3)), f"1/{10**decades:,}"],
        )
        for label, side in ((axes.get_xticklabels()[0], "left"), (axes.get_xticklabels()[-1], "right")):
            label.set_horizontalalignment(side)
        shown = [10**power for power in range(9) if 0.5 < 10**power < top]
        axes.set_yticks(shown, [f"{value:,}" for value in shown])
        axes.set_yticks([], minor=True)
        axes.set_xlabel("how few clean rows are as suspicious" + (" (the last bar holds all beyond)" if wide else ""))
        axes.text(2.04, 1.04, "the 1 % line", transform=axes.get_xaxis_transform(), color=BAD, fontsize=12)
        axes.text(0, 1.04, "records", transform=axes.get_xaxis_transform(), color=MUTED, fontsize=12)
    return drawn[0]


def scatter(chart: Map, name: str, alarm: bool = True) -> Markup | None:
    """The map: a colour and a shape for each unit, a ring round what a check marked. No words, so it may shrink."""
    if not chart.points:
        return None
    with drawing(name, MAP_WIDTH, MAP_HEIGHT) as (figure, drawn):
        axes = figure.add_axes((0.01, 0.01, 0.98, 0.98))
        axes.set(xlim=(-25, 1025), ylim=(-25, 1025))
        axes.axis("off")
        for unit in sorted({point.unit for point in chart.points}, reverse=True):
            own = [point for point in chart.points if point.unit == unit]
            axes.plot(
                [point.x for point in own], [point.y for point in own], MARKERS[unit % len(MARKERS)], markersize=6,
                color=COLOURS[unit % len(COLOURS)], markeredgewidth=0, alpha=0.7, linestyle="none",
            )  # fmt: skip
        marked = [point for point in chart.points if point.state in ("above", "exclude", "quarantine")]
        if marked and alarm:
            axes.plot(
                [point.x for point in marked], [point.y for point in marked], "o", markersize=10.5,
                markerfacecolor="none", markeredgecolor=BAD, markeredgewidth=1.2, linestyle="none",
            )  # fmt: skip
    return drawn[0]


def swatch(unit: int, name: str) -> Markup:
    """The mark of a unit, for the map's legend."""
    with drawing(name, 16, 16) as (figure, drawn):
        axes = figure.add_axes((0, 0, 1, 1))
        axes.set(xlim=(0, 16), ylim=(0, 16))
        axes.axis("off")
        axes.plot([8], [8], MARKERS[unit % len(MARKERS)], markersize=9, color=COLOURS[unit % len(COLOURS)], mew=0)
    return drawn[0]
