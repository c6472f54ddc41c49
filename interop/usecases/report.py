"""What a use case hands over: indicators with definitions, charts, tables, a business case, and what it all rests on.

One object, two forms: `as_json` for programs, `interop.usecases.page` for people.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from interop.usecases.assumptions import Assumption
from interop.usecases.sheet import Figure, Flow, Row, Sensitivity, sensitivities, work_out

__all__ = ["Bars", "BusinessCase", "Chart", "Indicator", "Line", "Report", "Table", "business_case"]


@dataclass(frozen=True, slots=True)
class Indicator:
    """A key performance indicator in each variant of a use case; NaN is "does not apply"."""

    name: str
    label: str
    unit: str
    definition: str
    values: Mapping[str, float]
    digits: int = 1


@dataclass(frozen=True, slots=True)
class Line:
    label: str
    values: Sequence[float]
    limit: bool = False


@dataclass(frozen=True, slots=True)
class Chart:
    """Steps over a day's ISPs."""

    title: str
    unit: str
    lines: tuple[Line, ...]
    note: str = ""


@dataclass(frozen=True, slots=True)
class Bars:
    """Bars side by side, one group per label."""

    title: str
    unit: str
    labels: tuple[str, ...]
    series: tuple[Line, ...]
    note: str = ""


@dataclass(frozen=True, slots=True)
class Table:
    title: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    note: str = ""


@dataclass(frozen=True, slots=True)
class BusinessCase:
    """`measured` are the run's figures that formulas use; every figure says its formula."""

    lead: str
    assumed: Mapping[str, Assumption]
    measured: Mapping[str, tuple[float, str, str]]
    figures: tuple[Figure, ...]
    flows: tuple[Flow, ...]
    sensitivities: tuple[Sensitivity, ...]

    @property
    def values(self) -> dict[str, float]:
        return {figure.name: figure.value for figure in self.figures}


def business_case(
    lead: str,
    rows: Sequence[Row],
    assumed: Mapping[str, Assumption],
    measured: Mapping[str, tuple[float, str, str]],
    flows: Sequence[Flow],
    varied: Sequence[str],
    result: str,
) -> BusinessCase:
    """Work a business case out: `measured` maps names to (value, unit, what it is), `varied` are assumptions whose
    half and double are tried on the figure `result`."""
    values = {name: entry[0] for name, entry in measured.items()}
    used = {name: entry for name, entry in assumed.items() if any(_names(name, row.formula) for row in rows)}
    figures = work_out(rows, assumed, values)
    return BusinessCase(
        lead, used, measured, figures, tuple(flows), sensitivities(rows, assumed, values, varied, result)
    )


def _names(name: str, formula: str) -> bool:
    return name in formula.replace("(", " ").replace(")", " ").split()


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """`variants` maps short names to what they are, in order; `failures` is empty where all went well."""

    name: str
    title: str
    lead: str
    variants: Mapping[str, str]
    indicators: tuple[Indicator, ...]
    charts: tuple[Chart | Bars, ...]
    tables: tuple[Table, ...]
    business: BusinessCase
    method: tuple[str, ...]
    data: tuple[str, ...]
    notice: str
    failures: tuple[str, ...] = field(default=())

    def as_json(self) -> dict[str, Any]:
        """Plain data; NaN becomes null."""
        plain: dict[str, Any] = _plain(asdict(self))
        return plain


def _plain(value: Any) -> Any:
    match value:
        case Mapping():
            return {str(key): _plain(entry) for key, entry in value.items()}
        case str() | bool() | None | int():
            return value
        case float():
            return round(value, 6) if value == value else None
        case _ if hasattr(value, "tolist"):
            return _plain(value.tolist())
        case _:
            return [_plain(entry) for entry in value]
