"""Settings of the grid operator's desk, and what its pure functions need to know of their surroundings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum
from pathlib import Path

from datamodels import MarketTerms, Participant

__all__ = ["GridOperatorOptions", "Operator", "PointOptions", "SettledPer"]


class SettledPer(StrEnum):
    """How many days one settlement covers."""

    DAILY = "daily"
    MONTHLY = "monthly"


@dataclass(frozen=True, slots=True)
class PointOptions:
    """A congestion point with a net of its own.

    Attributes:
        address: the congestion point, as in `[[market.congestion_points]]`.
        network_file: its net (JSON tables of a SimBench extract, see `Grid`).
        history_file: measured quarter-hours behind it (npz, see `History`).
    """

    address: str
    network_file: Path
    history_file: Path


@dataclass(frozen=True, slots=True)
class GridOperatorOptions:
    """Settings of the grid operator's desk.

    Attributes:
        network_file: the net of every congestion point that `points` does not name (JSON tables of a SimBench
            extract, see `Grid`).
        history_file: measured quarter-hours of whole local days, to know each bus's usual load (npz, see `History`).
        points: congestion points with a net of their own.
        connections: EANs that must all be metered before a day is settled, whoever meters them; without any, and
            without `represented` and an answer of a common reference operator, nothing is settled.
        represented: EANs by the domain of the aggregator that represents them.
        expected: domains whose prognoses are awaited; by default those of `represented`, else all aggregators among
            the peers. The answer of a common reference operator goes before all three.
        reserve: share of a rating that may be planned with.
        offers_within_minutes: market time after which is chosen among the offers that came, though not all have.
        request_valid_minutes: market time for which an intraday request holds.
        release_reservations: tell aggregators before the day-ahead gate what contracts need not reserve any more.
        direct_activation: order what a contract reserves without an offer, where the offers do not clear.
        settlement: what one settlement covers.
    """

    network_file: Path | None = None
    history_file: Path | None = None
    points: tuple[PointOptions, ...] = ()
    connections: tuple[str, ...] = ()
    represented: dict[str, tuple[str, ...]] = field(default_factory=dict)
    expected: tuple[str, ...] = ()
    reserve: float = 0.97
    offers_within_minutes: int = 60
    request_valid_minutes: int = 30
    release_reservations: bool = False
    direct_activation: bool = False
    settlement: SettledPer = SettledPer.DAILY

    def __post_init__(self) -> None:
        if not 0 < self.reserve <= 1:
            raise ValueError(f"reserve {self.reserve} is not in (0, 1]")
        if (self.network_file is None) != (self.history_file is None):
            raise ValueError("network_file and history_file belong together")
        if self.network_file is None and not self.points:
            raise ValueError("name network_file and history_file, or points with a net of their own")
        if self.offers_within_minutes < 0 or self.request_valid_minutes < 1:
            raise ValueError("offers_within_minutes must be 0 or more, request_valid_minutes 1 or more")

    @property
    def offers_within(self) -> timedelta:
        return timedelta(minutes=self.offers_within_minutes)

    @property
    def request_valid(self) -> timedelta:
        return timedelta(minutes=self.request_valid_minutes)


@dataclass(frozen=True, slots=True)
class Operator:
    """The grid operator as its pure functions see it: its domain, the agreed terms, its peers and its settings."""

    domain: str
    terms: MarketTerms
    participants: Mapping[str, Participant]
    options: GridOperatorOptions
