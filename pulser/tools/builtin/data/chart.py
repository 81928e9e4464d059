"""Charts as SVG text: histogram, bars, line, scatter and a heat map. No script, no font, no style sheet.

Every chart has a title and a description for those who cannot see it. Axes take the colour of the text around them, marks a
middle tone that reads on a dark and on a light ground.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape
from itertools import count
from typing import Any

MARK = "#4589ff"
WARM = "#fa4d56"
COOL = "#4589ff"
LEFT, RIGHT, TOP, BOTTOM = 64, 16, 34, 46
_numbers = count(1)


def clean(text: Any, width: int = 24) -> str:
    """One short escaped line; characters that XML forbids are replaced."""
    line = "".join(sign if sign.isprintable() else " " for sign in str(text))
    line = " ".join(line.split())
    return escape(line if len(line) <= width else line[: width - 1] + "…", quote=True)


def number(value: float) -> str:
    """A number as an axis shows it."""
    if value == 0:
        return "0"
    size = abs(value)
    if size >= 1e15 or size < 1e-4:
        return f"{value:.2e}"
    for unit, name in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e4, "k")):
        if size >= unit:
            return f"{value / (1e3 if name == 'k' else unit):.4g}{name}"
    return f"{value:.4g}"


def svg(title: str, description: str, body: str, width: int = 480, height: int = 280) -> str:
    """The picture around ``body``; ids are unique within the process, so several fit on one page."""
    mark = next(_numbers)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" role="img" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
        f'aria-labelledby="chart-{mark}-title chart-{mark}-desc" font-family="system-ui, sans-serif" font-size="11">'
        f'<title id="chart-{mark}-title">{clean(title, 200)}</title><desc id="chart-{mark}-desc">{clean(description, 400)}</desc>'
        f'<text x="{LEFT}" y="18" font-size="13" font-weight="600" fill="currentColor">{clean(title, 60)}</text>{body}</svg>'
    )


def alone(picture: str) -> str:
    """The picture as a file of its own, where no page gives it colours: dark or light as the reader's system is."""
    style = ":root{color:#161616;background:#fff}@media(prefers-color-scheme:dark){:root{color:#f4f4f4;background:#161616}}"
    return picture.replace("<title", f"<style>{style}</style><title", 1)


def ticks(low: float, high: float, wanted: int = 5) -> list[float]:
    """Round numbers between ``low`` and ``high``."""
    span = high - low
    if not math.isfinite(span) or span <= 0:
        return [low]
    rough = span / wanted
    power = 10.0 ** math.floor(math.log10(rough))
    step = next((factor * power for factor in (1, 2, 5, 10) if factor * power >= rough), power * 10)
    first = math.ceil(low / step - 1e-9)
    return [round(index * step, 12) for index in range(first, first + 20) if index * step <= high + step * 1e-9]


def _scale(low: float, high: float, start: float, end: float) -> Any:
    span = (high - low) or 1.0
    return lambda value: round(start + (value - low) / span * (end - start), 2)


def _label(x: float, y: float, text: str, anchor: str = "middle") -> str:
    return f'<text x="{x:g}" y="{y:g}" text-anchor="{anchor}" fill="currentColor" fill-opacity="0.8">{text}</text>'


def _rule(x1: float, y1: float, x2: float, y2: float, opacity: float = 0.15) -> str:
    return f'<line x1="{x1:g}" y1="{y1:g}" x2="{x2:g}" y2="{y2:g}" stroke="currentColor" stroke-opacity="{opacity}"/>'


def _side(low: float, high: float, width: int, height: int) -> tuple[str, Any]:
    """The vertical axis with its lines, and its scale."""
    y = _scale(low, high, height - BOTTOM, TOP)
    marks = "".join(_rule(LEFT, y(tick), width - RIGHT, y(tick)) + _label(LEFT - 6, y(tick) + 4, number(tick), "end") for tick in ticks(low, high))
    return marks + _rule(LEFT, height - BOTTOM, width - RIGHT, height - BOTTOM, 0.5), y


def _bottom(low: float, high: float, width: int, height: int, name: str) -> tuple[str, Any]:
    x = _scale(low, high, LEFT, width - RIGHT)
    marks = "".join(_label(x(tick), height - BOTTOM + 16, number(tick)) for tick in ticks(low, high, 6))
    return marks + _label((LEFT + width - RIGHT) / 2, height - 8, clean(name, 50)), x


def histogram(
    title: str, edges: Sequence[float], counts: Sequence[int], name: str = "", labels: tuple[str, str] | None = None, width: int = 480, height: int = 280
) -> str:
    """``counts[i]`` values lie between ``edges[i]`` and ``edges[i + 1]``; ``labels`` replace the numbers at both ends (dates)."""
    top = max(counts, default=0) or 1
    axis, y = _side(0, top, width, height)
    if labels:
        x = _scale(edges[0], edges[-1], LEFT, width - RIGHT)
        under = _label(LEFT, height - BOTTOM + 16, clean(labels[0]), "start") + _label(width - RIGHT, height - BOTTOM + 16, clean(labels[1]), "end")
    else:
        under, x = _bottom(edges[0], edges[-1], width, height, name)
    bars = []
    for start, end, amount in zip(edges, edges[1:], counts, strict=False):
        left, right, level = x(start), x(end), y(amount)
        said = f"{number(start)} to {number(end)}: {amount:,}" if not labels else f"{amount:,}"
        bars.append(
            f'<rect x="{left + 0.5:g}" y="{level:g}" width="{max(right - left - 1, 0.5):g}" height="{height - BOTTOM - level:g}" '
            f'fill="{MARK}"><title>{said}</title></rect>'
        )
    most = max(range(len(counts)), key=lambda at: counts[at], default=0)
    where = f"Most between {number(edges[most])} and {number(edges[most + 1])} ({counts[most]:,})." if counts and not labels else ""
    return svg(title, f"Histogram of {sum(counts):,} values in {len(counts)} bins. {where}", axis + under + "".join(bars), width, height)


def bars(title: str, labels: Sequence[Any], values: Sequence[float], width: int = 480, height: int = 0) -> str:
    """One horizontal bar for each label; negative values grow to the left of zero."""
    row = 22
    height = height or TOP + row * max(len(labels), 1) + 12
    low, high = min(0.0, *values, 0.0), max(0.0, *values, 0.0)
    x = _scale(low, high or 1.0, 150, width - 70)
    body = []
    for index, (label, value) in enumerate(zip(labels, values, strict=True)):
        top = TOP + index * row
        left, right = sorted((x(0.0), x(value)))
        body.append(_label(144, top + 14, clean(label, 22), "end"))
        body.append(
            f'<rect x="{left:g}" y="{top + 2:g}" width="{max(right - left, 0.5):g}" height="{row - 6}" '
            f'fill="{MARK if value >= 0 else WARM}"><title>{clean(label, 100)}: {value:,.12g}</title></rect>'
        )
        body.append(_label(right + 5, top + 14, number(value), "start"))
    largest = max(range(len(values)), key=lambda at: values[at], default=None)
    said = f" Largest: {labels[largest]} with {values[largest]:,.6g}." if largest is not None else ""
    return svg(title, f"Bar chart of {len(labels)} values.{said}", "".join(body), width, height)


def line(
    title: str,
    xs: Sequence[float],
    ys: Sequence[float],
    x_name: str = "",
    y_name: str = "",
    ends: tuple[str, str] | None = None,
    width: int = 640,
    height: int = 280,
) -> str:
    """Points joined in their order; ``ends`` are shown under the axis instead of numbers (dates, names)."""
    axis, under, x, y = _plane(xs, ys, x_name, ends, width, height)
    points = " ".join(f"{x(a):g},{y(b):g}" for a, b in zip(xs, ys, strict=True))
    dots = "".join(f'<circle cx="{x(a):g}" cy="{y(b):g}" r="2.5" fill="{MARK}"/>' for a, b in zip(xs, ys, strict=True)) if len(xs) <= 60 else ""
    drawn = f'<polyline points="{points}" fill="none" stroke="{MARK}" stroke-width="1.8" stroke-linejoin="round"/>'
    return svg(title, f"Line of {len(xs)} points of {y_name}, from {min(ys):.6g} to {max(ys):.6g}.", axis + under + drawn + dots, width, height)


def scatter(title: str, xs: Sequence[float], ys: Sequence[float], x_name: str = "", y_name: str = "", width: int = 480, height: int = 320) -> str:
    """One dot for each pair."""
    axis, under, x, y = _plane(xs, ys, x_name, None, width, height)
    dots = "".join(f'<circle cx="{x(a):g}" cy="{y(b):g}" r="2.6" fill="{MARK}" fill-opacity="0.55"/>' for a, b in zip(xs, ys, strict=True))
    return svg(title, f"Scatter plot of {len(xs)} points: {y_name} over {x_name}.", axis + under + dots, width, height)


def _plane(xs: Sequence[float], ys: Sequence[float], x_name: str, ends: tuple[str, str] | None, width: int, height: int) -> tuple[str, str, Any, Any]:
    low, high = min(ys), max(ys)
    pad = (high - low) * 0.05 or abs(high) * 0.05 or 1.0
    axis, y = _side(low - pad, high + pad, width, height)
    if ends:
        x = _scale(min(xs), max(xs), LEFT + 6, width - RIGHT - 6)
        under = _label(LEFT, height - BOTTOM + 16, clean(ends[0]), "start") + _label(width - RIGHT, height - BOTTOM + 16, clean(ends[1]), "end")
        return axis, under + _label((LEFT + width - RIGHT) / 2, height - 8, clean(x_name, 50)), x, y
    spread = (max(xs) - min(xs)) * 0.03 or abs(max(xs)) * 0.05 or 1.0
    under, x = _bottom(min(xs) - spread, max(xs) + spread, width, height, x_name)
    return axis, under, x, y


def heat_map(title: str, names: Sequence[str], matrix: Sequence[Sequence[float | None]]) -> str:
    """A square of correlations in [-1, 1]: blue for together, red for against, the number in each cell."""
    size, side = 46, 130
    width, height = side + size * len(names) + 16, TOP + size * len(names) + 90
    body = []
    strongest = (0.0, "", "")
    for row, name in enumerate(names):
        body.append(_label(side - 6, TOP + row * size + size / 2 + 4, clean(name, 18), "end"))
        below = TOP + size * len(names) + 12
        x = side + row * size + size / 2
        body.append(
            f'<text x="{x:g}" y="{below}" text-anchor="end" transform="rotate(-40 {x:g} {below})" fill="currentColor" '
            f'fill-opacity="0.8">{clean(name, 18)}</text>'
        )
        for column, value in enumerate(matrix[row]):
            shade = 0.0 if value is None else min(abs(value), 1.0)
            colour = COOL if (value or 0) >= 0 else WARM
            left, top = side + column * size, TOP + row * size
            said = "–" if value is None else f"{value:.2f}"
            body.append(
                f'<rect x="{left}" y="{top}" width="{size - 2}" height="{size - 2}" fill="{colour}" fill-opacity="{shade * 0.75:.2f}" '
                f'stroke="currentColor" stroke-opacity="0.12">'
            )
            body.append(
                f"<title>{clean(name, 60)} and {clean(names[column], 60)}: {said}</title></rect>" + _label(left + size / 2 - 1, top + size / 2 + 4, said)
            )
            if column > row and value is not None and abs(value) > abs(strongest[0]):
                strongest = (value, name, names[column])
    said = f"Strongest: {strongest[1]} and {strongest[2]}, {strongest[0]:.2f}." if strongest[1] else ""
    return svg(title, f"Correlations of {len(names)} columns. {said}", "".join(body), width, height)
