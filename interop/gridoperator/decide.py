"""From offers to orders: when to decide, among which offers, and what is ordered."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from decimal import Decimal

from adapters.ports import Direction
from datamodels import FlexOffer, FlexOrder, FlexRequest, IspSeries, limits_of
from interop.gridoperator.options import Operator
from interop.gridoperator.position import Position, gate, placed
from interop.gridoperator.request import asked, contracts
from interop.market.book import Book
from interop.market.choice import Choice, Pick
from interop.market.ids import head
from interop.market.reserve import direct_price, held, shrunk, unused

__all__ = ["candidates", "direct_orders", "is_due", "may_part", "orders"]

_POST = timedelta(minutes=1)
"""Market time left for an order to arrive before its offer expires."""
_MONEY = Decimal("0.0001")


def candidates(operator: Operator, book: Book, position: Position, now: datetime) -> list[FlexOffer]:
    """Offers that can be ordered, earliest first: alive, on a prognosis that still holds, none ordered before.

    Answers to this position's requests, and unsolicited ones. What was asked for an older position is void: who is
    asked again offers again.
    """
    made_for = {record.message.head.message_id for record in asked(operator, book, position).values()}
    used = {order.offer for order in book.messages(FlexOrder, direction=Direction.OUT)}
    found = []
    for record in book.records():
        offer = record.message
        if not isinstance(offer, FlexOffer) or record.direction is not Direction.IN or not record.accepted:
            continue
        prognosis = position.prognoses.get(record.peer)
        is_ours = prognosis is not None and offer.prognosis == prognosis.head.message_id
        is_meant = offer.congestion_point == position.point and (offer.unsolicited or offer.request in made_for)
        is_alive = not record.revoked and now < offer.expires and offer.head.message_id not in used
        if is_ours and is_meant and is_alive and now < _begin(offer):
            found.append(offer)
    return found


def is_due(operator: Operator, book: Book, position: Position, offers: Sequence[FlexOffer], now: datetime) -> bool:
    """Whether all who were asked have answered, or time is up: the window is over, or an offer is about to expire."""
    silent, since = False, now
    spoken = {o.request for o in book.messages(FlexOffer, direction=Direction.IN, accepted=True)}
    for record in asked(operator, book, position).values():
        assert isinstance(record.message, FlexRequest)
        since = min(since, record.message.head.created)
        silent |= record.accepted is not False and record.message.head.message_id not in spoken
    until = min([since + operator.options.offers_within, *(offer.expires - _POST for offer in offers)])
    return not silent or now >= until


def may_part(operator: Operator, offer: FlexOffer) -> bool:
    """Whether an offer may be activated in part: by the terms of its congestion point, and by what its maker takes."""
    point = operator.terms.congestion_point(offer.congestion_point)
    peer = operator.participants.get(offer.head.sender)
    return (point is None or point.partial_activation) and (peer is None or limits_of(peer.profile).partial_activation)


def orders(operator: Operator, book: Book, position: Position, picks: Sequence[Pick], now: datetime) -> list[FlexOrder]:
    """One order per pick, in the conversation of its offer. An offer has one order id for ever: it is ordered once."""
    found = []
    for pick in picks:
        offer, about = pick.offer, pick.offer.head
        request = book.record(offer.request or "")
        asked_for = request.message if request and isinstance(request.message, FlexRequest) else None
        found.append(
            FlexOrder(
                head=head(
                    operator.domain, about.sender, now, "order", about.message_id, conversation=about.conversation_id
                ),
                congestion_point=offer.congestion_point,
                order_reference=f"{position.day:%Y%m%d}-{about.message_id[:8]}-{pick.option.reference}",
                price=pick.price,
                currency=offer.currency,
                power=pick.power,
                offer=about.message_id,
                option=pick.option.reference,
                activation_factor=pick.factor,
                prognosis=offer.prognosis,
                contract=offer.contract,
                baseline_reference=offer.baseline_reference,
                service_type=asked_for.service_type if asked_for else None,
            )
        )
    return found


def direct_orders(
    operator: Operator, book: Book, position: Position, choice: Choice, chosen: Sequence[FlexOrder], now: datetime
) -> list[FlexOrder]:
    """What contracts reserve, ordered without an offer for what the chosen orders leave open (UFTP 3.8).

    Once per contract and set of prognoses; not from peers that know no unsolicited orders.
    """
    calendar = operator.terms.calendar
    lead = calendar.intraday_lead if now >= gate(calendar, position.day) else timedelta(0)
    begins = dict(enumerate(calendar.starts(position.day), 1))
    open_w = {k: power for k, power in choice.shortfall_w.items() if begins[k] > now + lead}
    known = [*placed(book, position.point, position.day), *chosen]
    found: list[FlexOrder] = []
    for agr, prognosis in position.prognoses.items():
        for contract in contracts(operator, agr) if _takes_direct_orders(operator, agr) else ():
            reserved = held(book, contract, calendar, position.point, position.day)
            about = head(operator.domain, agr, now, "direct", contract.id, position.key)
            if reserved is None or book.record(about.message_id) is not None:
                continue
            power = _useful(shrunk(unused(reserved, contract.id, known), open_w))
            if not power.isps:
                continue
            open_w = {k: rest for k, need in open_w.items() if (rest := need - (power.at(k) or 0))}
            found.append(
                FlexOrder(
                    head=about,
                    congestion_point=position.point,
                    order_reference=f"{position.day:%Y%m%d}-{about.message_id[:8]}-{contract.id}",
                    price=direct_price(contract, power),
                    currency=contract.currency,
                    power=power,
                    unsolicited=True,
                    contract=contract.id,
                    prognosis=prognosis.head.message_id,
                    service_type=next(iter(contract.service_types), None),
                )
            )
    return found


def _begin(offer: FlexOffer) -> datetime:
    """When the first ISP of any option begins: from then on the offer cannot be ordered."""
    return min(o.power.calendar.start(o.power.period, min(o.power.isps)) for o in offer.options)


def _takes_direct_orders(operator: Operator, agr: str) -> bool:
    peer = operator.participants[agr]
    return limits_of(peer.profile).unsolicited_orders and "3.1.0" in peer.uftp_versions


def _useful(power: IspSeries) -> IspSeries:
    return power.restricted(k for k, p in power if p)
