"""What is traded: prognoses, requests, offers, orders, and reservations (USEF's plan and validate phases)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from enum import StrEnum
from functools import partial
from typing import Any, NamedTuple, TypeAlias

from datamodels import serial
from datamodels.calendar import MarketCalendar
from datamodels.messages import Acknowledgement, Head
from datamodels.metering import Metering
from datamodels.reference import ReferenceMessage
from datamodels.series import IspSeries
from datamodels.settlement import Settlement

__all__ = [
    "Disposition",
    "FlexCall",
    "FlexOffer",
    "FlexOrder",
    "FlexRequest",
    "MarketMessage",
    "OfferOption",
    "OfferRevocation",
    "Prognosis",
    "PrognosisKind",
    "RequestIsp",
    "Reservation",
    "TradeState",
]


class TradeState(StrEnum):
    """Where a message of the market stands. Which of them a kind of message knows, and how it moves between them, is
    for the market to say; ORDERING is an offer whose order is on its way, UNSOLD one whose order was refused."""

    SENT = "SENT"
    ACCEPTED = "ACCEPTED"
    REJECTED = "REJECTED"
    SUPERSEDED = "SUPERSEDED"
    REVOKED = "REVOKED"
    EXPIRED = "EXPIRED"
    BINDING = "BINDING"
    OFFERED = "OFFERED"
    ORDERING = "ORDERING"
    ORDERED = "ORDERED"
    PARTLY_ORDERED = "PARTLY_ORDERED"
    UNSOLD = "UNSOLD"
    DISPATCHED = "DISPATCHED"
    DELIVERED = "DELIVERED"
    METERED = "METERED"
    SETTLED = "SETTLED"
    DISPUTED = "DISPUTED"


class PrognosisKind(StrEnum):
    """D: to the DSO per congestion point; A: to the BRP; T: to the TSO. UFTP carries D only."""

    D = "D"
    A = "A"
    T = "T"


@dataclass(frozen=True, slots=True)
class Prognosis:
    """The aggregator's expected net power at a congestion point, absolute, complete for the day."""

    head: Head
    congestion_point: str
    revision: int
    power: IspSeries
    kind: PrognosisKind = PrognosisKind.D


class Disposition(StrEnum):
    """REQUESTED: the DSO asks to move; AVAILABLE: room that may be used, and must not be exceeded."""

    REQUESTED = "Requested"
    AVAILABLE = "Available"


class RequestIsp(NamedTuple):
    """Allowed deviation from the aggregator's own baseline over a stretch of ISPs, W."""

    start: int
    duration: int
    disposition: Disposition
    min_power_w: int
    max_power_w: int

    @property
    def isps(self) -> range:
        return range(self.start, self.start + self.duration)

    @classmethod
    def of_columns(cls, *columns: Iterable[Any]) -> tuple[RequestIsp, ...]:
        """One of each row: a day of them in a fifth of the time that as many calls take."""
        return tuple(map(partial(tuple.__new__, cls), zip(*columns, strict=True)))


serial.rows(RequestIsp)


@dataclass(frozen=True, slots=True)
class FlexCall:
    """What makes a request a call: the DSO calls what a group has agreed to, and no offer is made (OpenADR DER
    profile, FLEX).

    `baseline` is the DSO's own, absolute, and what the request's bounds are relative to; `connections` are the group's.
    """

    group: str
    baseline: IspSeries
    connections: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class FlexRequest:
    """A DSO asks for flexibility at a congestion point on one day, or calls it where `call` is set: then it binds."""

    head: Head
    congestion_point: str
    calendar: MarketCalendar
    period: date
    revision: int
    expires: datetime
    isps: tuple[RequestIsp, ...]
    contract: str | None = None
    service_type: str | None = None
    call: FlexCall | None = None

    @property
    def requested(self) -> frozenset[int]:
        """Numbers of the ISPs with disposition Requested."""
        return frozenset(k for isp in self.isps if isp.disposition is Disposition.REQUESTED for k in isp.isps)

    def bounds(self, isp: int) -> RequestIsp | None:
        return next((r for r in self.isps if isp in r.isps), None)


@dataclass(frozen=True, slots=True)
class OfferOption:
    """One way to help: deviation from the baseline per ISP, a total price, and the smallest part that can be bought."""

    reference: str
    price: Decimal
    power: IspSeries
    min_activation: Decimal = Decimal("1.00")


@dataclass(frozen=True, slots=True)
class FlexOffer:
    """An aggregator offers one or more mutually exclusive options."""

    head: Head
    congestion_point: str
    expires: datetime
    currency: str
    options: tuple[OfferOption, ...]
    request: str | None = None
    unsolicited: bool = False
    contract: str | None = None
    prognosis: str | None = None
    baseline_reference: str | None = None

    def option(self, reference: str | None) -> OfferOption | None:
        """The option of that reference; without one, the only option there is."""
        if reference is None:
            return self.options[0] if len(self.options) == 1 else None
        return next((o for o in self.options if o.reference == reference), None)


@dataclass(frozen=True, slots=True)
class OfferRevocation:
    """An aggregator takes an offer back."""

    head: Head
    offer: str


@dataclass(frozen=True, slots=True)
class FlexOrder:
    """A DSO buys an option (or part of it): binding once accepted. `power` is the deviation from the baseline."""

    head: Head
    congestion_point: str
    order_reference: str
    price: Decimal
    currency: str
    power: IspSeries
    offer: str | None = None
    option: str | None = None
    activation_factor: Decimal = Decimal("1.00")
    unsolicited: bool = False
    contract: str | None = None
    prognosis: str | None = None
    baseline_reference: str | None = None
    service_type: str | None = None


@dataclass(frozen=True, slots=True)
class Reservation:
    """A DSO says how much of a contract's reserved flexibility it wants to keep (UFTP appendix 3)."""

    head: Head
    congestion_point: str
    contract: str
    reference: str
    power: IspSeries


MarketMessage: TypeAlias = (
    Prognosis
    | FlexRequest
    | FlexOffer
    | OfferRevocation
    | FlexOrder
    | Reservation
    | Metering
    | Settlement
    | ReferenceMessage
    | Acknowledgement
)

serial.repeated(Prognosis, FlexRequest, FlexOffer, FlexOrder, Reservation, Metering, Settlement)
