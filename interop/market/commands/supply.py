"""What an aggregator says by hand: prognoses, offers and their revocation, and metering."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal

from adapters.ports import Direction
from datamodels import (
    BaselineMethod,
    CongestionPoint,
    FlexOffer,
    FlexRequest,
    Head,
    Metering,
    MeteringKind,
    MeterProfile,
    OfferOption,
    OfferRevocation,
    Participant,
    Problem,
    Prognosis,
    Role,
    dumps,
    limits_of,
)
from interop.desk import DeskContext
from interop.market.book import Book
from interop.market.commands.checks import (
    StretchBody,
    ahead,
    as_role,
    contract_with,
    money,
    peer_of,
    place,
    refuse,
    series,
    valid,
)
from interop.market.ids import head
from interop.market.revoke import revocation

__all__ = [
    "MeteringBody",
    "OfferBody",
    "OptionBody",
    "PrognosisBody",
    "ReadingBody",
    "RevokeBody",
    "metering",
    "offer",
    "prognosis",
    "revoke",
]


@dataclass(frozen=True, slots=True)
class PrognosisBody:
    """Expected net power of a whole day, absolute W; it replaces what was prognosed for that day before."""

    period: date
    isps: tuple[StretchBody, ...]
    congestion_point: str = ""


@dataclass(frozen=True, slots=True)
class OptionBody:
    """One of several ways to help: deviation from the baseline, a price for all of it, the smallest part to buy."""

    isps: tuple[StretchBody, ...]
    price: Decimal
    reference: str = ""
    min_activation: Decimal = Decimal("1.00")


@dataclass(frozen=True, slots=True)
class OfferBody:
    """An offer: the answer to a `request`, or unsolicited, which then needs a `period`.

    Without `expires` it ends with the request or, unsolicited, when its first ISP begins.
    """

    options: tuple[OptionBody, ...]
    request: str = ""
    congestion_point: str = ""
    period: date | None = None
    expires: datetime | None = None
    contract: str | None = None


@dataclass(frozen=True, slots=True)
class RevokeBody:
    offer: str


@dataclass(frozen=True, slots=True)
class ReadingBody:
    """One value per ISP of the day: kW of `Power`, kWh of every other kind."""

    kind: MeteringKind
    values: tuple[Decimal, ...]


@dataclass(frozen=True, slots=True)
class MeteringBody:
    """A day that is over, as it was measured at one connection (`ean.…`): its profiles, or one power all day, kW."""

    connection: str
    period: date
    profiles: tuple[ReadingBody, ...] = ()
    flat_kw: Decimal | None = None
    congestion_point: str = ""


# --- prognosis ----------------------------------------------------------------------------------------------------


def prognosis(book: Book, context: DeskContext, body: PrognosisBody, now: datetime) -> Prognosis:
    """A D-Prognosis (UFTP 3.7), one revision above the last."""
    as_role(context, Role.AGR, "prognoses")
    calendar, point = context.terms.calendar, place(context, body.congestion_point)
    power, problems = series(calendar, body.period, body.isps, "prognosis.isps")
    earlier = _prognoses(book, point.address, body.period)
    if earlier and earlier[-1].power == power:
        return earlier[-1]
    revision = earlier[-1].revision + 1 if earlier else 1
    subject = ["prognosis", point.address, body.period, *([revision] if revision > 1 else [])]
    to = peer_of(context, point.dso, Role.DSO).domain
    made = Prognosis(head(context.domain, to, now, *subject), point.address, revision, power)
    refuse(problems or valid(made, "prognosis"))
    if calendar.day_span(body.period)[1] <= now:
        raise ValueError(f"{body.period} is over; what was measured is said with metering")
    return made


def _prognoses(book: Book, point: str, day: date) -> list[Prognosis]:
    found = [
        p
        for p in book.messages(Prognosis, direction=Direction.OUT)
        if (p.congestion_point, p.power.period) == (point, day)
    ]
    return sorted(found, key=lambda p: p.revision)


# --- offer --------------------------------------------------------------------------------------------------------


def offer(book: Book, context: DeskContext, body: OfferBody, now: datetime) -> FlexOffer:
    """A FlexOffer (UFTP 3.8)."""
    as_role(context, Role.AGR, "offers flexibility")
    request = _asked(book, body.request, now) if body.request else None
    if request is None and body.period is None:
        hint = "name the request that it answers, or the day it is about"
        refuse([Problem("flex.offer", "offer", "answers no request and names no period", hint=hint)])
    day = request.period if request else body.period
    assert day is not None
    calendar = context.terms.calendar
    point = place(context, request.congestion_point if request else body.congestion_point)
    peer = peer_of(context, request.head.sender if request else point.dso, Role.DSO)
    contract = contract_with(context, body.contract or (request.contract if request else None), peer.domain)
    options: list[OfferOption] = []
    problems: list[Problem] = []
    for n, option in enumerate(body.options, 1):
        power, wrong = series(calendar, day, option.isps, f"offer.options[{n}].isps")
        problems += [*wrong, *money(option.price, f"offer.options[{n}].price")]
        options.append(OfferOption(option.reference or str(n), option.price, power, option.min_activation))
    first = min((k for o in options for k in o.power.isps), default=None)
    begins = calendar.start(day, first) if first else now
    method = contract.baseline_method if contract else context.terms.baseline_method
    by_prognosis = method is BaselineMethod.D_PROGNOSIS
    made = FlexOffer(
        head=_offer_head(context, peer, request, (point.address, day, options, body.expires), now),
        congestion_point=point.address,
        expires=body.expires or (request.expires if request else begins),
        currency=calendar.currency,
        options=tuple(options),
        request=request.head.message_id if request else None,
        unsolicited=request is None,
        contract=contract.id if contract else None,
        prognosis=_baseline(book, point.address, day) if by_prognosis else None,
        baseline_reference=None if by_prognosis else next(iter(context.terms.baseline_references), None),
    )
    known = book.record(made.head.message_id)
    if known is not None and isinstance(known.message, FlexOffer):
        return known.message
    refuse(problems or valid(made, "offer"))
    refuse(_unfit(made, request, point, peer, now))
    return made


def _offer_head(
    context: DeskContext, peer: Participant, request: FlexRequest | None, content: object, now: datetime
) -> Head:
    about = request.head if request else None
    subject = ["offer", about.message_id if about else "unsolicited", dumps(content)]
    return head(context.domain, peer.domain, now, *subject, conversation=about.conversation_id if about else None)


def _asked(book: Book, id: str, now: datetime) -> FlexRequest:
    record = book.record(id)
    if record is None or not isinstance(record.message, FlexRequest) or record.direction is not Direction.IN:
        raise LookupError(f"no request {id} was made to us; gridparley flex status lists them")
    if record.message.call is not None:
        raise ValueError(f"request {id} calls what group {record.message.call.group} agreed to: no offer answers it")
    if record.message.expires <= now:
        raise ValueError(f"request {id} expired at {record.message.expires:%Y-%m-%d %H:%M}Z")
    return record.message


def _baseline(book: Book, point: str, day: date) -> str:
    """The newest prognosis that was accepted or, where none was answered yet, the newest."""
    verdicts = {
        p.head.message_id: record.accepted
        for p in _prognoses(book, point, day)
        if (record := book.record(p.head.message_id)) and record.accepted is not False
    }
    if not verdicts:
        raise ValueError(f"nothing is prognosed for {point} on {day}; say that first: an offer deviates from it")
    return next((id for id in reversed(verdicts) if verdicts[id]), next(reversed(verdicts)))


def _unfit(
    made: FlexOffer, request: FlexRequest | None, point: CongestionPoint, peer: Participant, now: datetime
) -> Iterator[Problem]:
    calendar, day = made.options[0].power.calendar, made.options[0].power.period
    isps = {k for o in made.options for k in o.power.isps}
    most = limits_of(peer.profile).most_options
    if len(made.options) > 1 and not point.mutex_offers:
        yield Problem("flex.mutex", "offer.options", f"{point.address} knows no offers with several options")
    elif most is not None and len(made.options) > most:
        yield Problem("flex.mutex", "offer.options", f"{peer.domain} takes offers with {most} option only")
    if request is not None and not isps & request.requested:
        asked = f"ISPs {min(request.requested)} to {max(request.requested)} are" if request.requested else "nothing is"
        yield Problem("flex.mismatch", "offer.options", f"no requested ISP is offered; {asked} requested")
    yield from ahead(calendar, day, isps, now, "offer.options")
    latest = min(calendar.end(day, max(isps)), request.expires) if request else calendar.end(day, max(isps))
    if not now < made.expires <= latest:
        text = f"{made.expires:%Y-%m-%d %H:%M}Z is not between now ({now:%Y-%m-%d %H:%M}Z) and {latest:%Y-%m-%d %H:%M}Z"
        yield Problem("flex.expires", "offer.expires", text)


def revoke(book: Book, context: DeskContext, body: RevokeBody, now: datetime) -> OfferRevocation:
    """A FlexOfferRevocation (UFTP 3.8); see `interop.market.revoke`."""
    return revocation(book, context.role, body.offer, now)


# --- metering -----------------------------------------------------------------------------------------------------


def metering(book: Book, context: DeskContext, body: MeteringBody, now: datetime) -> Metering:
    """A Metering (UFTP 3.9), one revision above the last of that connection and day."""
    as_role(context, Role.AGR, "meters")
    calendar, point = context.terms.calendar, place(context, body.congestion_point)
    to = peer_of(context, point.dso, Role.DSO).domain
    ean = body.connection.replace("ean.", "E")
    readings = body.profiles
    if body.flat_kw is not None:
        readings = (*readings, ReadingBody(MeteringKind.POWER, (body.flat_kw,) * calendar.isps(body.period)))
    profiles = tuple(MeterProfile(p.kind, "kW" if p.kind is MeteringKind.POWER else "kWh", p.values) for p in readings)
    earlier = sorted(
        (m for m in book.messages(Metering, direction=Direction.OUT) if (m.ean, m.period) == (ean, body.period)),
        key=lambda m: m.revision,
    )
    if earlier and earlier[-1].profiles == profiles:
        return earlier[-1]
    revision = earlier[-1].revision + 1 if earlier else 1
    subject = ["metering", body.connection, body.period, *([revision] if revision > 1 else [])]
    made = Metering(head(context.domain, to, now, *subject), ean, calendar, body.period, revision, profiles)
    refuse([*valid(made, "metering"), *_readings(body.connection, ean, readings)])
    if now < calendar.day_span(body.period)[1]:
        raise ValueError(f"{body.period} is not over (market time is {now:%Y-%m-%d %H:%M}Z): it cannot be metered yet")
    return made


def _readings(connection: str, ean: str, readings: Sequence[ReadingBody]) -> Iterator[Problem]:
    if not (ean.startswith("E") and ean[1:].isdecimal() and len(ean) in (17, 19)):
        yield Problem("flex.ean", "metering.connection", f"{connection!r} is no EAN", hint="write ean. and 18 digits")
    if not readings:
        yield Problem("flex.readings", "metering.profiles", "nothing was read", hint="add a profile")
    for kind in (k for k, n in Counter(p.kind for p in readings).items() if n > 1):
        yield Problem("flex.readings", "metering.profiles", f"{kind} stands twice")
