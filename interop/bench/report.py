"""What a bench hands back: rows that compare, and how they came about."""

from __future__ import annotations

import operator
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

__all__ = ["CannotMeasure", "Report", "Row", "Scale", "Target"]

_RELATIONS: dict[str, Callable[[float, float], bool]] = {"<=": operator.le, ">=": operator.ge}


class CannotMeasure(RuntimeError):
    """The bench could not be carried out; the text says why."""


@dataclass(frozen=True, slots=True)
class Target:
    """A bound on a row: of our figure (`of="ours"`, in the row's unit), or of ours over the peer's (`of="ratio"`)."""

    relation: str
    value: float
    of: str = "ours"

    def __str__(self) -> str:
        return f"{self.of} {self.relation} {self.value:g}"

    def holds(self, ours: float, ratio: float | None) -> bool | None:
        """None where there is no ratio to judge by."""
        figure = ours if self.of == "ours" else ratio
        return None if figure is None else _RELATIONS[self.relation](figure, self.value)


@dataclass(frozen=True, slots=True)
class Row:
    """One figure, ours and the peer's, in `unit`."""

    case: str
    unit: str
    ours: float
    peer: float | None = None
    peer_name: str | None = None
    target: Target | None = None

    @property
    def ratio(self) -> float | None:
        """Ours over the peer's."""
        return self.ours / self.peer if self.peer else None

    @property
    def holds(self) -> bool | None:
        return self.target.holds(self.ours, self.ratio) if self.target else None

    def as_dict(self) -> dict[str, Any]:
        ratio = self.ratio
        return {
            "case": self.case,
            "ours": _rounded(self.ours),
            "peer": _rounded(self.peer),
            "peer_name": self.peer_name,
            "unit": self.unit,
            "ratio": _rounded(ratio),
            "target": str(self.target) if self.target else None,
            "holds": self.holds,
        }


@dataclass(frozen=True, slots=True)
class Report:
    """`how` says what was measured and against what, so that the figures can be judged without reading the code."""

    bench: str
    how: str
    rows: tuple[Row, ...]

    def as_dict(self) -> dict[str, Any]:
        return {"bench": self.bench, "how": self.how, "rows": [row.as_dict() for row in self.rows]}


@dataclass(frozen=True, slots=True)
class Scale:
    """How much is done. A quick run shows that a bench works; its figures mean little. A large one also measures what
    takes long and much memory."""

    quick: bool = False
    large: bool = False

    def pick(self, full: int, quick: int) -> int:
        return quick if self.quick else full


def _rounded(value: float | None) -> float | None:
    return None if value is None else float(f"{value:.4g}")
