"""Who is connected where: what a common reference operator is told, and what its answers show (UFTP 3.3, 3.4)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import TypeAlias

from datamodels.parties import RedispatchBy

__all__ = [
    "AgrView",
    "ConnectedAt",
    "ConnectionPeriod",
    "DsoView",
    "PointPeriod",
    "PointView",
    "PortfolioView",
]


@dataclass(frozen=True, slots=True)
class ConnectionPeriod:
    """A connection and the days on which it counts; `end` None is open, both days included."""

    address: str
    start: date
    end: date | None = None


@dataclass(frozen=True, slots=True)
class PointPeriod:
    """A congestion point as its DSO publishes it, with the connections behind it."""

    address: str
    start: date
    end: date | None
    mutex_offers: bool
    day_ahead_redispatch_by: RedispatchBy
    connections: tuple[ConnectionPeriod, ...]
    intraday_redispatch_by: RedispatchBy | None = None


@dataclass(frozen=True, slots=True)
class PointView:
    """A congestion point as an aggregator sees it: only its own connections there."""

    address: str
    dso: str
    mutex_offers: bool
    day_ahead_redispatch_by: RedispatchBy
    connections: tuple[str, ...]
    intraday_redispatch_by: RedispatchBy | None = None


@dataclass(frozen=True, slots=True)
class AgrView:
    """Answer to an AGRPortfolioQuery for one day; `unpublished` are own connections at no congestion point."""

    timezone: str
    period: date
    points: tuple[PointView, ...]
    unpublished: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ConnectedAt:
    """A connection behind the asked congestion point, and the aggregator that represents it (None: nobody)."""

    address: str
    agr: str | None = None


@dataclass(frozen=True, slots=True)
class DsoView:
    """Answer to a DSOPortfolioQuery for one day and one congestion point."""

    timezone: str
    period: date
    congestion_point: str
    connections: tuple[ConnectedAt, ...]


PortfolioView: TypeAlias = AgrView | DsoView
