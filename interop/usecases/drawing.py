"""Charts as inline SVG: steps over a day and grouped bars, each drawn wide and narrow, coloured by the page's style."""

from __future__ import annotations

import math
from html import escape

import numpy as np

from interop.usecases.report import Bars, Chart

__all__ = ["drawn"]

_WIDE, _NARROW = 860, 360
_HEIGHT, _LEFT, _TOP, _BOTTOM = 250, 46, 10, 24
_BAR, _GROUP_GAP = 9, 8


def drawn(chart: Chart | Bars) -> str:
    """The chart for wide and for narrow pages; the style sheet shows one of them."""
    forms = ((_WIDE, "wide"), (_NARROW, "narrow"))
    if isinstance(chart, Chart):
        return "".join(_steps(chart, width, name) for width, name in forms)
    return "".join(_bars(chart, width, name) for width, name in forms)


def _svg(width: int, height: float, name: str, title: str, parts: list[str]) -> str:
    head = f'<svg class="{name}" viewBox="0 0 {width} {height:g}" role="img" aria-label="{escape(title)}">'
    return head + "".join(parts) + "</svg>"


def _steps(chart: Chart, width: int, name: str) -> str:
    everything = np.concatenate([np.asarray(line.values, float) for line in chart.lines])
    ticks = _ticks(float(everything.min()), float(everything.max()))
    low, high = ticks[0], ticks[-1]
    count = len(chart.lines[0].values)
    right, floor = width - 20, _HEIGHT - _BOTTOM

    def x(isp: float) -> float:
        return _LEFT + (right - _LEFT) * isp / count

    def y(value: float) -> float:
        return floor - (floor - _TOP) * (value - low) / (high - low)

    parts = [
        f'<line class="{_rule(tick)}" x1="{_LEFT}" x2="{right}" y1="{y(tick):.1f}" y2="{y(tick):.1f}"/>'
        f'<text class="tick" text-anchor="end" x="{_LEFT - 6}" y="{y(tick) + 4:.1f}">{_number(tick)}</text>'
        for tick in ticks
    ]
    hours = count / 24
    parts += [
        f'<text class="tick" text-anchor="middle" x="{x(hour * hours):.1f}" y="{_HEIGHT - 6}">{hour:02d}:00</text>'
        for hour in range(0, 25, 3 if width == _WIDE else 6)
    ]
    for line, style in zip(chart.lines, chart.styles, strict=True):
        values = [*line.values, line.values[-1]]
        path = f"M{x(0):.1f} {y(values[0]):.1f}"
        for isp in range(1, count + 1):
            path += f"H{x(isp):.1f}V{y(values[isp]):.1f}"
        parts.append(f'<path class="line {style}" d="{path}"><title>{escape(line.label)}</title></path>')
    return _svg(width, _HEIGHT, name, f"{chart.title}, {chart.unit}", parts)


def _bars(chart: Bars, width: int, name: str) -> str:
    everything = np.concatenate([np.asarray(line.values, float) for line in chart.series])
    ticks = _ticks(
        min(float(everything.min()), 0.0), max(float(everything.max()), 0.0), most=5 if width == _WIDE else 3
    )
    low, high = ticks[0], ticks[-1]
    left, right = 90, width - 26
    step = _BAR * len(chart.series) + _GROUP_GAP
    floor = _TOP + step * len(chart.labels)

    def x(value: float) -> float:
        return left + (right - left) * (value - low) / (high - low)

    parts = [
        f'<line class="{_rule(tick)}" x1="{x(tick):.1f}" x2="{x(tick):.1f}" y1="{_TOP}" y2="{floor}"/>'
        f'<text class="tick" text-anchor="middle" x="{x(tick):.1f}" y="{floor + 16}">{_number(tick)}</text>'
        for tick in ticks
    ]
    for n, label in enumerate(chart.labels):
        top = _TOP + n * step + _GROUP_GAP / 2
        middle = top + _BAR * len(chart.series) / 2
        parts.append(f'<text class="tick" text-anchor="end" x="{left - 6}" y="{middle + 4:.1f}">{escape(label)}</text>')
        for k, line in enumerate(chart.series):
            begin, end = sorted((x(0.0), x(line.values[n])))
            parts.append(
                f'<rect class="bar s{k}" x="{begin:.1f}" y="{top + k * _BAR:.1f}" width="{max(end - begin, 0.5):.1f}"'
                f' height="{_BAR - 1}"><title>{escape(label)}, {escape(line.label)}:'
                f" {line.values[n]:.0f} {escape(chart.unit)}</title></rect>"
            )
    return _svg(width, floor + 24, name, f"{chart.title}, {chart.unit}", parts)


def _ticks(low: float, high: float, most: int = 6) -> list[float]:
    """Round values that span low..high."""
    if high - low < 1e-9:
        low, high = low - 0.5, high + 0.5
    raw = (high - low) / (most - 1)
    size = 10 ** math.floor(math.log10(raw))
    step = next(m * size for m in (1, 2, 2.5, 5, 10) if m * size >= raw * (1 - 1e-9))
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(k * step, 10) for k in range(first, last + 1)]


def _rule(tick: float) -> str:
    return "zero" if tick == 0 else "grid"


def _number(value: float) -> str:
    return f"{value:g}".replace("-", "\N{MINUS SIGN}")
