"""What is said to a common reference operator: portfolios published, and questions about them (UFTP 3.3, 3.4)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import TypeAlias

from datamodels.messages import Head
from datamodels.portfolio import AgrView, ConnectionPeriod, DsoView, PointPeriod

__all__ = [
    "AgrPortfolioQuery",
    "AgrPortfolioUpdate",
    "DsoPortfolioQuery",
    "DsoPortfolioUpdate",
    "ReferenceMessage",
]


@dataclass(frozen=True, slots=True)
class DsoPortfolioUpdate:
    """A DSO publishes congestion points and their connections. What it does not name stays as it was."""

    head: Head
    timezone: str
    points: tuple[PointPeriod, ...]


@dataclass(frozen=True, slots=True)
class AgrPortfolioUpdate:
    """An aggregator says which connections it represents, and on which days."""

    head: Head
    timezone: str
    connections: tuple[ConnectionPeriod, ...]


@dataclass(frozen=True, slots=True)
class AgrPortfolioQuery:
    """An aggregator asks at which congestion points its connections are on a day; answered with an `AgrView`."""

    head: Head
    timezone: str
    period: date

    @property
    def blank(self) -> AgrView:
        """The view of an answer that shows nothing."""
        return AgrView(self.timezone, self.period, ())


@dataclass(frozen=True, slots=True)
class DsoPortfolioQuery:
    """A DSO asks which aggregators are behind a congestion point on a day; answered with a `DsoView`."""

    head: Head
    timezone: str
    period: date
    congestion_point: str

    @property
    def blank(self) -> DsoView:
        """The view of an answer that shows nothing."""
        return DsoView(self.timezone, self.period, self.congestion_point, ())


ReferenceMessage: TypeAlias = DsoPortfolioUpdate | AgrPortfolioUpdate | AgrPortfolioQuery | DsoPortfolioQuery
