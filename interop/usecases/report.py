"""What a use case hands over: indicators with definitions, charts, tables, a business case, and what it all rests on.

One object, two forms: `as_json` for programs, `interop.usecases.page` for people.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from interop.usecases.sheet import BusinessCase

__all__ = ["Bars", "Chart", "Indicator", "Line", "Report", "Table"]


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

    @property
    def styles(self) -> tuple[str, ...]:
        """A class per line for the page's style sheet: s0.. in order, l0.. for limits, the same for the same label."""
        limits = list(dict.fromkeys(line.label for line in self.lines if line.limit))
        others = [n for n, line in enumerate(self.lines) if not line.limit]
        return tuple(
            f"l{limits.index(line.label)}" if line.limit else f"s{others.index(n)}" for n, line in enumerate(self.lines)
        )

    @property
    def legend(self) -> tuple[tuple[str, str], ...]:
        """(style, label) of each line, of those with the same style once."""
        return tuple(dict(zip(self.styles, (line.label for line in self.lines), strict=True)).items())


@dataclass(frozen=True, slots=True)
class Bars:
    """Bars side by side, one group per label."""

    title: str
    unit: str
    labels: tuple[str, ...]
    series: tuple[Line, ...]
    note: str = ""

    @property
    def legend(self) -> tuple[tuple[str, str], ...]:
        """(style, label) of each series."""
        return tuple((f"s{k}", line.label) for k, line in enumerate(self.series))


@dataclass(frozen=True, slots=True)
class Table:
    title: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """`variants` maps short names to what they are, in order; `failures` is empty where what was `checked` holds."""

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
    checked: str
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
