"""A report as one HTML file that asks for nothing: no script, no font, no picture from anywhere."""

from __future__ import annotations

import base64
import hashlib
import math
import re
from pathlib import Path

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from interop.usecases.drawing import drawn
from interop.usecases.report import Report, Table

__all__ = ["render"]

_TEMPLATE, _STYLE = (Path(__file__).with_name(name) for name in ("page.html", "page.css"))
_SMALL = 10
_FIGURE = re.compile(r"-?[\d.]+ ?%?|no sun")


def render(report: Report) -> str:
    """The page."""
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters |= {"number": _number, "figure": _figure, "given": _given}
    template = environment.from_string(_TEMPLATE.read_text(encoding="utf-8"))
    style = _STYLE.read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    return template.render(
        style=Markup(style),  # noqa: S704 - a file of ours
        style_hash=f"sha256-{digest}",
        report=report,
        numeric=_numeric,
        drawn=lambda chart: Markup(drawn(chart)),  # noqa: S704 - labels are escaped
    )


def _numeric(table: Table) -> list[bool]:
    """Which columns hold figures, and stand to the right."""
    return [all(_FIGURE.fullmatch(row[k]) for row in table.rows) for k in range(len(table.header))]


def _number(value: float, digits: int) -> str:
    """With its digits, a real minus and thousands apart; NaN is a dash."""
    if math.isnan(value):
        return "\N{EN DASH}"
    return _typeset(f"{round(value, digits) + 0.0:,.{digits}f}")


def _figure(value: float) -> str:
    """Three digits or so: what a figure made of assumptions deserves."""
    return _number(value, 0 if abs(value) >= 100 else 1 if abs(value) >= _SMALL else 2)


def _given(value: float) -> str:
    """As it was written down."""
    return _typeset(f"{value:,.10g}")


def _typeset(figure: str) -> str:
    return figure.replace(",", "\N{NARROW NO-BREAK SPACE}").replace("-", "\N{MINUS SIGN}")
