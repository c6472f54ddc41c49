"""What a grid operator says by hand: requests, orders, and updates of reservations."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import ROUND_HALF_EVEN, Decimal

from adapters.ports import Direction
from datamodels import (
    CongestionPoint,
    Disposition,
    FlexOffer,
    FlexOrder,
    FlexRequest,
    IspSeries,
    MarketCalendar,
    OfferOption,
    Participant,
    Problem,
    Prognosis,
    RequestIsp,
    Reservation,
    Role,
    dumps,
    limits_of,
)
from interop.desk import DeskContext
from interop.market.book import Book, Record
from interop.market.commands.checks import (
    StretchBody,
    ahead,
    as_role,
    contract_with,
    contract_with_id,
    money,
    peer_of,
    place,
    refuse,
    series,
    valid,
)
from interop.market.ids import head
from interop.market.reserve import direct_price, held, unused

__all__ = ["OrderBody", "RequestBody", "RequestIspBody", "ReserveBody", "order", "request", "reserve"]

_MONEY = Decimal("0.0001")
_WHOLE = Decimal(1)


@dataclass(frozen=True, slots=True)
class RequestIspBody:
    """Allowed deviation from the aggregator's baseline in `duration` ISPs from number `start` on, W."""

    start: int
    min_power_w: int
    max_power_w: int
    duration: int = 1
    disposition: Disposition = Disposition.REQUESTED


@dataclass(frozen=True, slots=True)
class RequestBody:
    """A request to one aggregator.

    `peer` and `congestion_point` may be left out where there is only one. Without `expires` it ends at the day-ahead
    gate or, once that has passed, when the first requested ISP begins. `revises` is the id of an earlier request of
    ours, which this one replaces in the same conversation.
    """

    period: date
    isps: tuple[RequestIspBody, ...]
    peer: str = ""
    congestion_point: str = ""
    expires: datetime | None = None
    contract: str | None = None
    service_type: str | None = None
    revises: str = ""


@dataclass(frozen=True, slots=True)
class OrderBody:
    """An order: of an `offer` (its `option`, if it has several, and the `factor` of it), or a direct one.

    A direct order draws on what a `contract` reserves: it needs `period` and `isps` too. Its price is the contract's,
    unless another was agreed.
    """

    offer: str = ""
    option: str | None = None
    factor: Decimal = _WHOLE
    contract: str | None = None
    congestion_point: str = ""
    period: date | None = None
    isps: tuple[StretchBody, ...] = ()
    price: Decimal | None = None


@dataclass(frozen=True, slots=True)
class ReserveBody:
    """How much of a contract's reservation is still wanted on a day: signed W, 0 to let it go; it can only shrink."""

    contract: str
    period: date
    isps: tuple[StretchBody, ...]
    congestion_point: str = ""


# --- request ------------------------------------------------------------------------------------------------------


def request(book: Book, context: DeskContext, body: RequestBody, now: datetime) -> FlexRequest:
    """A FlexRequest (UFTP 3.8)."""
    as_role(context, Role.DSO, "asks for flexibility")
    calendar = context.terms.calendar
    before = _revised(book, body)
    peer = peer_of(context, body.peer or (before.head.recipient if before else ""), Role.AGR).domain
    point = place(context, body.congestion_point, context.domain).address
    contract = contract_with(context, body.contract, peer)
    isps = tuple(
        RequestIsp(i.start, i.duration, i.disposition, i.min_power_w, i.max_power_w)
        for i in sorted(body.isps, key=lambda i: i.start)
    )
    wanted = sorted(k for i in isps if i.disposition is Disposition.REQUESTED for k in i.isps)
    conversation = before.head.conversation_id if before else None
    words = dumps((point, body.period, isps, body.expires, body.contract, body.service_type))
    made = FlexRequest(
        head=head(context.domain, peer, now, "request", words, body.revises, conversation=conversation),
        congestion_point=point,
        calendar=calendar,
        period=body.period,
        revision=before.revision + 1 if before else 1,
        expires=body.expires or _expiry(calendar, body.period, wanted, now),
        isps=isps,
        contract=contract.id if contract else None,
        service_type=body.service_type,
    )
    problems = valid(made, "request")
    if not problems:
        problems = ahead(calendar, body.period, wanted, now, "request.isps")
        problems += _expires_in_time(made, now)
    refuse(problems)
    return made


def _revised(book: Book, body: RequestBody) -> FlexRequest | None:
    if not body.revises:
        return None
    record = book.record(body.revises)
    if record is None or not isinstance(record.message, FlexRequest) or record.direction is not Direction.OUT:
        raise LookupError(f"we made no request {body.revises}; gridparley flex status lists them")
    conversation = record.message.head.conversation_id
    same = (r for r in book.messages(FlexRequest, direction=Direction.OUT) if r.head.conversation_id == conversation)
    newest = max(same, key=lambda r: r.revision)
    if newest.period != body.period:
        raise ValueError(f"request {body.revises} is about {newest.period}; a revision keeps its day")
    return newest


def _expiry(calendar: MarketCalendar, day: date, wanted: list[int], now: datetime) -> datetime:
    gate = datetime.combine(day - timedelta(days=1), calendar.day_ahead_gate, calendar.zone)
    if now < gate or not wanted or not 1 <= wanted[0] <= calendar.isps(day):
        return gate.astimezone(UTC)
    return calendar.start(day, wanted[0])


def _expires_in_time(made: FlexRequest, now: datetime) -> Iterator[Problem]:
    last = made.calendar.end(made.period, max(k for i in made.isps for k in i.isps))
    if not now < made.expires <= last:
        text = f"{made.expires:%Y-%m-%d %H:%M}Z is not between now ({now:%Y-%m-%d %H:%M}Z) and the end of its last ISP"
        yield Problem("flex.expires", "request.expires", text)


# --- order --------------------------------------------------------------------------------------------------------


def order(book: Book, context: DeskContext, body: OrderBody, now: datetime) -> FlexOrder:
    """A FlexOrder (UFTP 3.8), of an offer or direct."""
    as_role(context, Role.DSO, "orders")
    if body.offer:
        if body.contract is not None or body.period is not None or body.isps or body.price is not None:
            hint = "leave out contract, period, isps and price: the offer says them"
            refuse([Problem("flex.order", "order", "is of an offer, and direct as well", hint=hint)])
        return _of_offer(book, context, body, now)
    return _direct(book, context, body, now)


def _of_offer(book: Book, context: DeskContext, body: OrderBody, now: datetime) -> FlexOrder:
    record = book.record(body.offer)
    if record is None or not isinstance(record.message, FlexOffer) or record.direction is not Direction.IN:
        raise LookupError(f"no offer {body.offer} was made to us; gridparley flex status lists them")
    offer = record.message
    option = offer.option(body.option)
    if option is None:
        listed = ", ".join(o.reference for o in offer.options)
        raise LookupError(f"offer {body.offer}: which option? It has {listed}")
    about = offer.head
    request = book.record(offer.request or "")
    asked = request.message if request and isinstance(request.message, FlexRequest) else None
    # The desk derives the same id from the offer, so whoever comes second finds the order of the first.
    made = FlexOrder(
        head=head(context.domain, about.sender, now, "order", body.offer, conversation=about.conversation_id),
        congestion_point=offer.congestion_point,
        order_reference=f"{option.power.period:%Y%m%d}-{about.message_id[:8]}-{option.reference}",
        price=option.price if body.factor == 1 else (option.price * body.factor).quantize(_MONEY, ROUND_HALF_EVEN),
        currency=offer.currency,
        power=option.power if body.factor == 1 else option.power.scaled(body.factor),
        offer=body.offer,
        option=option.reference,
        activation_factor=body.factor,
        contract=offer.contract,
        prognosis=offer.prognosis,
        baseline_reference=offer.baseline_reference,
        service_type=asked.service_type if asked else None,
    )
    earlier = _ordered(book, body.offer)
    if earlier is not None:
        if (earlier.option, earlier.activation_factor) == (made.option, made.activation_factor):
            return earlier
        raise ValueError(f"offer {body.offer} is ordered already, as {earlier.order_reference}: an offer is sold once")
    if why := _gone(record, offer, now):
        raise ValueError(f"offer {body.offer} {why}")
    peer = peer_of(context, about.sender, Role.AGR)
    point = place(context, offer.congestion_point)
    refuse([*_factor(body.factor, option, point, peer), *_not_begun(option.power, now)])
    return made


def _ordered(book: Book, offer: str) -> FlexOrder | None:
    """The order of an offer, whatever its verdict."""
    return next((o for o in book.messages(FlexOrder, direction=Direction.OUT) if o.offer == offer), None)


def _gone(record: Record, offer: FlexOffer, now: datetime) -> str:
    if record.revoked:
        return "is revoked"
    if not record.accepted:
        return "was refused by us"
    return f"expired at {offer.expires:%Y-%m-%d %H:%M}Z" if offer.expires <= now else ""


def _factor(factor: Decimal, option: OfferOption, point: CongestionPoint, peer: Participant) -> Iterator[Problem]:
    where = "order.factor"
    if factor == 1:
        return
    if not option.min_activation <= factor < 1 or factor != round(factor, 2):
        least = option.min_activation
        yield Problem("flex.factor", where, f"{factor} is not between {least} and 1.00, in hundredths")
    if not point.partial_activation:
        yield Problem("flex.factor", where, f"{point.address} knows no partial activation", hint="order all of it")
    elif not limits_of(peer.profile).partial_activation:
        yield Problem("flex.factor", where, f"{peer.domain} takes no partial orders", hint="order all of it")


def _not_begun(power: IspSeries, now: datetime) -> list[Problem]:
    return ahead(power.calendar, power.period, power.isps, now, "order.isps")


def _direct(book: Book, context: DeskContext, body: OrderBody, now: datetime) -> FlexOrder:
    missing = [name for name in ("contract", "period", "isps") if getattr(body, name) in (None, ())]
    if missing or body.period is None or body.contract is None:
        text, hint = f"names no offer, and {', '.join(missing)} is missing", "name an offer, or draw on a contract"
        refuse([Problem("flex.order", "order", text, hint=hint)])
        raise AssertionError("unreachable: something is missing")
    contract = contract_with_id(context, body.contract)
    peer = peer_of(context, contract.agr, Role.AGR)
    contract_with(context, body.contract, peer.domain)
    if not limits_of(peer.profile).unsolicited_orders or "3.1.0" not in peer.uftp_versions:
        raise ValueError(f"{peer.domain} takes no orders without an offer")
    calendar, point = context.terms.calendar, place(context, body.congestion_point, context.domain).address
    power, problems = series(calendar, body.period, body.isps, "order.isps")
    prognosis = _baseline(book, peer.domain, point, body.period)
    price = direct_price(contract, power) if body.price is None else body.price
    about = head(context.domain, peer.domain, now, "direct order", dumps((contract.id, point, power, price)))
    made = FlexOrder(
        head=about,
        congestion_point=point,
        order_reference=f"{body.period:%Y%m%d}-{about.message_id[:8]}-{contract.id}",
        price=price,
        currency=contract.currency,
        power=power,
        unsolicited=True,
        contract=contract.id,
        prognosis=prognosis.head.message_id,
        service_type=next(iter(contract.service_types), None),
    )
    known = book.record(about.message_id)
    if known is not None and isinstance(known.message, FlexOrder):
        return known.message
    problems += money(price, "order.price")
    if not problems:
        reserved = held(book, contract, calendar, point, body.period)
        placed = [
            o
            for r in book.records_of(FlexOrder)
            if isinstance(o := r.message, FlexOrder) and r.accepted is not False and o.power.period == body.period
        ]
        left = unused(reserved, contract.id, placed) if reserved else IspSeries.empty(calendar, body.period)
        problems = [*valid(made, "order"), *_within(power, left), *_not_begun(power, now)]
    refuse(problems)
    return made


def _baseline(book: Book, agr: str, point: str, day: date) -> Prognosis:
    prognoses = [
        p
        for p in book.messages(Prognosis, direction=Direction.IN, accepted=True)
        if (p.head.sender, p.congestion_point, p.power.period) == (agr, point, day)
    ]
    if not prognoses:
        raise ValueError(f"{agr} has prognosed nothing for {point} on {day}, so there is nothing to deviate from")
    return prognoses[-1]


def _within(power: IspSeries, left: IspSeries) -> Iterator[Problem]:
    for isp, wanted in power:
        rest = left.at(isp) or 0
        if wanted * rest < 0 or abs(wanted) > abs(rest):
            text = f"ISP {isp}: {wanted} W is ordered, and {rest} W is left of what the contract reserves"
            yield Problem("flex.reserved", "order.isps", text)
            return


# --- reservation --------------------------------------------------------------------------------------------------


def reserve(book: Book, context: DeskContext, body: ReserveBody, now: datetime) -> Reservation:
    """A FlexReservationUpdate (UFTP appendix 3)."""
    as_role(context, Role.DSO, "updates reservations")
    contract = contract_with_id(context, body.contract)
    peer = peer_of(context, contract.agr, Role.AGR).domain
    contract_with(context, body.contract, peer)
    calendar, point = context.terms.calendar, place(context, body.congestion_point, context.domain).address
    power, problems = series(calendar, body.period, body.isps, "reserve.isps")
    agreed = contract.reserved_on(calendar, body.period)
    for isp, wanted in power:
        most = (agreed.at(isp) if agreed else None) or 0
        if wanted * most < 0 or abs(wanted) > abs(most):
            text = f"ISP {isp}: {wanted} W is outside the {most} W that contract {contract.id} reserves"
            problems.append(Problem("flex.reserved", "reserve.isps", text, hint="a reservation can only shrink"))
            break
    if not power.isps and not problems:
        problems.append(Problem("flex.isps", "reserve.isps", "names no ISP"))
    refuse(problems)
    gate = datetime.combine(body.period - timedelta(days=1), calendar.day_ahead_gate, calendar.zone)
    if now >= gate:
        raise ValueError(f"the day-ahead gate for {body.period} closed at {gate:%Y-%m-%d %H:%M}")
    about = head(context.domain, peer, now, "reservation", dumps((contract.id, point, power)))
    reference = f"{contract.id}-{body.period:%Y%m%d}-{about.message_id[:8]}"
    return Reservation(about, point, contract.id, reference, power)
