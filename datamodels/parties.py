"""Who takes part: participants, their contracts, and the places in the grid they speak about."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from enum import StrEnum

from datamodels.calendar import MarketCalendar
from datamodels.series import IspSeries, Run

__all__ = [
    "BaselineMethod",
    "CongestionPoint",
    "Connection",
    "Contract",
    "MarketTerms",
    "Participant",
    "ParticipantKey",
    "ParticipantStatus",
    "Prosumer",
    "RedispatchBy",
    "Role",
    "SettlementBasis",
]


class Role(StrEnum):
    """USEF participant roles. Only AGR, CRO and DSO appear in UFTP messages."""

    AGR = "AGR"
    DSO = "DSO"
    CRO = "CRO"
    BRP = "BRP"
    TSO = "TSO"
    MDC = "MDC"
    ESCO = "ESCO"
    PROSUMER = "PROSUMER"


class ParticipantStatus(StrEnum):
    """ACTIVE: listed by an operator. DISCOVERED: nobody listed it, a directory vouches for it. BARRED: refused."""

    ACTIVE = "active"
    DISCOVERED = "discovered"
    BARRED = "barred"


@dataclass(frozen=True, slots=True)
class ParticipantKey:
    """A public signing key (32 bytes, Ed25519) and the time it may be used; None is unbounded."""

    public_key: bytes
    not_before: datetime | None = None
    not_after: datetime | None = None

    def is_valid(self, now: datetime) -> bool:
        return (self.not_before is None or self.not_before <= now) and (self.not_after is None or now <= self.not_after)


@dataclass(frozen=True, slots=True)
class Participant:
    """A counterpart: its domain and role, where it listens, its keys, and how much leniency it is granted.

    `profile` names a peer profile ("strict" bends no rule). Two keys at once cover a key rotation. What a directory
    says holds for a time only: keys have their `not_after`, the endpoint has `endpoint_until` (None is unbounded).
    `adapter` carries messages to it; without one, the first that carries market messages does.
    """

    domain: str
    role: Role
    endpoint: str = ""
    keys: tuple[ParticipantKey, ...] = ()
    uftp_versions: tuple[str, ...] = ("3.1.0", "3.0.0")
    profile: str = "strict"
    status: ParticipantStatus = ParticipantStatus.ACTIVE
    endpoint_until: datetime | None = None
    adapter: str = ""


class RedispatchBy(StrEnum):
    """Who restores the balance that an activation upsets."""

    AGR = "AGR"
    DSO = "DSO"


class BaselineMethod(StrEnum):
    """What an order's deviation is measured from."""

    D_PROGNOSIS = "D_PROGNOSIS"
    REFERENCE = "REFERENCE"


class SettlementBasis(StrEnum):
    """Whether the price pays what was delivered (UFTP 2.6.2) or what was ordered, with penalties for the rest."""

    PAY_DELIVERED = "pay_delivered"
    PAY_ORDERED = "pay_ordered"


@dataclass(frozen=True, slots=True)
class Contract:
    """A bilateral flexibility contract between a DSO and an aggregator (UFTP appendix 3).

    `reserved` is what the aggregator must be able to offer on every day: signed W per stretch of ISPs. Where
    `bounded_offers` holds, no offer may leave the bounds of the request that it answers.
    `price_eur_per_kwh` pays what is ordered of `reserved` without an offer.
    """

    id: str
    dso: str
    agr: str
    service_types: tuple[str, ...] = ()
    baseline_method: BaselineMethod = BaselineMethod.D_PROGNOSIS
    currency: str = "EUR"
    penalty_eur_per_kwh: Decimal = Decimal(0)
    reserved: tuple[Run, ...] = ()
    bounded_offers: bool = False
    price_eur_per_kwh: Decimal = Decimal(0)

    def reserved_on(self, calendar: MarketCalendar, day: date) -> IspSeries | None:
        """What is reserved on a day, None where nothing is; ISPs that a short day lacks fall away."""
        if not self.reserved:
            return None
        last = calendar.isps(day)
        cut = (Run(r.start, min(r.duration, last - r.start + 1), r.power_w) for r in self.reserved if r.start <= last)
        return IspSeries.from_runs(calendar, day, cut)


@dataclass(frozen=True, slots=True)
class CongestionPoint:
    """A place in the grid with a limit. `import_limit_w` >= 0 and `export_limit_w` >= 0 bound |net power|."""

    address: str
    dso: str
    start: date
    end: date | None = None
    mutex_offers: bool = True
    partial_activation: bool = True
    day_ahead_redispatch_by: RedispatchBy = RedispatchBy.AGR
    intraday_redispatch_by: RedispatchBy | None = None
    import_limit_w: int | None = None
    export_limit_w: int | None = None


@dataclass(frozen=True, slots=True)
class Connection:
    """A grid connection (`ean.…` or `ea1.…`). Personal data: leaves the aggregator only as a pseudonym."""

    address: str
    congestion_point: str
    start: date
    end: date | None = None
    agr: str | None = None
    prosumer: str | None = None


@dataclass(frozen=True, slots=True)
class Prosumer:
    """A household or business, known by a pseudonym. Never named to the DSO: it sees counts only."""

    id: str
    connections: tuple[str, ...] = ()
    consents: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class MarketTerms:
    """The rules both parties agreed on: calendar, places, contracts, and the market's optional components.

    Where `power_limits_bind` holds, prognoses and offers beyond a congestion point's limits are rejected.
    """

    calendar: MarketCalendar = MarketCalendar()
    congestion_points: tuple[CongestionPoint, ...] = ()
    contracts: tuple[Contract, ...] = ()
    baseline_method: BaselineMethod = BaselineMethod.D_PROGNOSIS
    settlement_basis: SettlementBasis = SettlementBasis.PAY_DELIVERED
    penalty_eur_per_kwh: Decimal = Decimal(0)
    baseline_references: tuple[str, ...] = ()
    power_limits_bind: bool = False

    def congestion_point(self, address: str) -> CongestionPoint | None:
        return next((cp for cp in self.congestion_points if cp.address == address), None)

    def contract(self, id: str) -> Contract | None:
        return next((c for c in self.contracts if c.id == id), None)
