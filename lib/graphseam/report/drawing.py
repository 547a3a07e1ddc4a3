"""The report's pictures as SVG: they take their colours from the page, so that they suit a light and a dark one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from markupsafe import Markup, escape

from graphseam.report.content import OTHER, CutMap, Sample
from graphseam.report.picture import on_the_map

COLOURS = 11  # .c0 to .c10 of the page; .cx is grey
WIDTH, HEIGHT = 440, 330
LEFT, BOTTOM, TOP, RIGHT = 40, 34, 12, 12  # margins of a plot with axes
INTERVALS = 5  # between the marks of an axis


def scatter(sample: Sample) -> tuple[Markup, list[tuple[str, str, int]]]:
    """(the sample in two dimensions, its legend: (class, group, nodes))."""
    counts = Counter(sample.groups)
    named = [name for name, _ in sorted(counts.items(), key=lambda item: (-item[1], item[0])) if name != OTHER]
    style = {name: f"c{place}" for place, name in enumerate(named[:COLOURS])}
    dots = [
        f'<circle class="{style.get(group, "cx")}" cx="{14 + 412 * x:.1f}" cy="{14 + 412 * y:.1f}" r="2.6">'
        f"<title>{escape(id_)}: {sample.by} {escape(group)}</title></circle>"
        for id_, group, (x, y) in zip(sample.ids, sample.groups, sample.places, strict=True)
    ]
    legend = [(style[name], name, counts[name]) for name in named[:COLOURS]]
    others = sum(counts.values()) - sum(count for _, _, count in legend)
    if others:
        legend.append(("cx", OTHER if sample.by == "label" else "other subgraphs", others))
    return _svg(440, 440, dots, f"{len(dots):,} nodes by their vectors"), legend


def cut_map(cut: CutMap) -> Markup:
    """Subgraphs as circles whose area is their number of nodes; lines as wide as the edges cut between them."""
    places = on_the_map(list(cut.nodes), cut.between)
    most_nodes, most_edges = max(cut.nodes.values()), max(cut.between.values(), default=1)
    unit = min(34.0, 150 / len(cut.nodes) ** 0.5)

    def at(node: int) -> tuple[float, float]:
        x, y = places[node]
        return 40 + 360 * x, 40 + 250 * y

    lines = []
    for (a, b), count in sorted(cut.between.items(), key=lambda item: item[1]):
        (x, y), (u, v) = at(a), at(b)
        strength = (count / most_edges) ** 0.5
        lines.append(
            f'<line class="cut" x1="{x:.1f}" y1="{y:.1f}" x2="{u:.1f}" y2="{v:.1f}" stroke-width="{7 * strength:.2f}" '
            f'stroke-opacity="{0.15 + 0.55 * strength:.2f}">'
            f"<title>{count:,} edges cut between subgraphs {a} and {b}</title></line>"
        )
    circles = []
    for node, size in cut.nodes.items():
        x, y = at(node)
        radius = max(3.0, unit * (size / most_nodes) ** 0.5)
        name = f'<text x="{x:.1f}" y="{y + 4:.1f}" class="name">{node}</text>' if radius >= 11 else ""
        circles.append(
            f'<circle class="subgraph" cx="{x:.1f}" cy="{y:.1f}" r="{radius:.1f}">'
            f"<title>subgraph {node}: {size:,} nodes, {cut.edges[node]:,} edges inside</title></circle>{name}"
        )
    return _svg(440, 330, [*lines, *circles], "The subgraphs of level 1 and the edges cut between them")


def reliability_curve(bins: Sequence[dict[str, Any]]) -> Markup:
    """Observed rate over predicted probability, a dot per bin, its area the number of predictions (on a log scale)."""
    low, high = 0.0, 1.0
    most = max(bins[at]["mean_probability"] for at in range(len(bins)))
    if most < 0.5:  # probabilities of links are mostly small
        high = INTERVALS * _round_step(1.15 * max(most, max(row["observed_rate"] for row in bins)) / INTERVALS)
    x, y = _scale(low, high, LEFT, WIDTH - RIGHT), _scale(low, high, HEIGHT - BOTTOM, TOP)
    ticks = np.linspace(low, high, INTERVALS + 1)
    marks = _axes(x, y, ticks, ticks, "predicted probability", "came true")
    marks.append(f'<line class="ideal" x1="{x(low):.1f}" y1="{y(low):.1f}" x2="{x(high):.1f}" y2="{y(high):.1f}"/>')
    points = [(x(row["mean_probability"]), y(row["observed_rate"])) for row in bins]
    marks.append(f'<polyline class="line" points="{" ".join(f"{u:.1f},{v:.1f}" for u, v in points)}"/>')
    for (u, v), row in zip(points, bins, strict=True):
        radius = 2 + 1.1 * np.log10(1 + row["support"])
        marks.append(
            f'<circle class="c0" cx="{u:.1f}" cy="{v:.1f}" r="{radius:.1f}"><title>{row["support"]:,} predictions of '
            f"{row['mean_probability']:.3f} on average, of which {row['observed_rate']:.3f} came true</title></circle>"
        )
    return _svg(WIDTH, HEIGHT, marks, "Reliability of the probabilities")


def by_stratum(strata: Sequence[str], series: dict[str, list[float | None]], least: float) -> Markup:
    """Groups of bars, one group per stratum, one bar per name; the axis begins at `least`."""
    x = _scale(0, len(strata), LEFT, WIDTH - RIGHT)
    y = _scale(least, 1.0, HEIGHT - BOTTOM, TOP)
    marks = _axes(x, y, [], np.linspace(least, 1.0, INTERVALS + 1), "", "")
    width = (x(1) - x(0)) * 0.8 / max(1, len(series))
    for group, stratum in enumerate(strata):
        start = x(group) + (x(1) - x(0)) * 0.1
        label = stratum.removeprefix("degree ").replace(" to ", "-").replace(" or more", "+")
        marks.append(f'<text class="tick" x="{x(group + 0.5):.1f}" y="{HEIGHT - BOTTOM + 15}">{escape(label)}</text>')
        for place, (name, values) in enumerate(series.items()):
            value = values[group]
            if value is None:
                continue
            top = y(max(value, least))
            marks.append(
                f'<rect class="c{place}" x="{start + place * width:.1f}" y="{top:.1f}" width="{width * 0.9:.1f}" '
                f'height="{max(0.0, y(least) - top):.1f}" rx="1.5">'
                f"<title>{escape(name)}, {escape(stratum)}: {value:.4f}</title></rect>"
            )
    marks.append(_x_name("smaller degree of the two ends"))
    return _svg(WIDTH, HEIGHT, marks, "By degree")


def _round_step(least: float) -> float:
    """The smallest of 1, 2, 5, 10, … times a power of ten that is not below `least`."""
    power = 10.0 ** np.floor(np.log10(max(least, 1e-12)))
    return next(float(part * power) for part in (1, 2, 5, 10) if part * power >= 0.999 * least)


def _scale(low: float, high: float, start: float, end: float) -> Any:
    return lambda value: start + (value - low) / ((high - low) or 1.0) * (end - start)


def _axes(x: Any, y: Any, x_ticks: Iterable[float], y_ticks: Iterable[float], x_name: str, y_name: str) -> list[str]:
    marks = []
    for value in y_ticks:
        place = y(value)
        marks.append(f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{place:.1f}" y2="{place:.1f}"/>')
        marks.append(f'<text class="tick end" x="{LEFT - 5}" y="{place + 4:.1f}">{value:.3g}</text>')
    for value in x_ticks:
        marks.append(f'<text class="tick" x="{x(value):.1f}" y="{HEIGHT - BOTTOM + 15}">{value:.3g}</text>')
    if x_name:
        marks.append(_x_name(x_name))
    if y_name:
        marks.append(f'<text class="axis end" x="{WIDTH - RIGHT}" y="{TOP - 2}">{y_name}</text>')
    return marks


def _x_name(name: str) -> str:
    return f'<text class="axis" x="{(LEFT + WIDTH - RIGHT) / 2:.0f}" y="{HEIGHT - 3}">{name}</text>'


def _svg(width: int, height: int, marks: list[str], title: str) -> Markup:
    """An SVG as wide as its place. The marks are made here, with everything from the data escaped."""
    return Markup(f'<svg viewBox="0 0 {width} {height}" role="img" aria-label="{escape(title)}">{"".join(marks)}</svg>')
