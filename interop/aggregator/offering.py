"""Putting offers together: which options, for how long, on what grounds. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from decimal import Decimal

from datamodels import (
    CongestionPoint,
    Contract,
    Disposition,
    FlexOffer,
    FlexOrder,
    FlexRequest,
    Head,
    IspSeries,
    OfferOption,
    Participant,
    Problem,
    Prognosis,
    RequestIsp,
    TradeState,
    limits_of,
)
from interop.aggregator.agreements import Agreements
from interop.market.book import Book, Record
from interop.market.facts import Facts
from interop.market.states import steps

__all__ = ["Terms", "ahead", "compose", "covers", "open_offers", "overlapping", "refusals", "relief", "unanswered"]

_OPEN = (TradeState.SENT, TradeState.ACCEPTED)
_NO_LIMIT_W = 10**9


@dataclass(frozen=True, slots=True)
class Terms:
    """How an offer may look: at most so many options, the smallest part that can be bought, and for how long."""

    options: int
    min_activation: Decimal
    valid: timedelta | None = None

    def at(self, point: CongestionPoint | None, peer: Participant | None) -> Terms:
        """These terms as far as the congestion point and the peer's profile allow them."""
        limits = limits_of(peer.profile if peer is not None else "strict")
        most = 1 if point is not None and not point.mutex_offers else limits.most_options or self.options
        parts = limits.partial_activation and (point is None or point.partial_activation)
        return replace(
            self,
            options=min(self.options, most),
            min_activation=self.min_activation if parts else Decimal("1.00"),
        )


# --- what to answer ----------------------------------------------------------------------------


def unanswered(agreed: Agreements, now: datetime) -> list[FlexRequest]:
    """Requests that still run and have no offer of ours, or only such as we took back."""
    return [
        request
        for request in agreed.requests
        if request.expires > now and all(record.revoked for record in agreed.offers_for(request))
    ]


def open_offers(agreed: Agreements, book: Book, now: datetime) -> Iterator[tuple[Record, FlexOffer]]:
    """Offers that may still be ordered."""
    facts = Facts(book, now)
    for record in agreed.offers:
        offer = record.message
        if isinstance(offer, FlexOffer) and steps(facts, record)[-1].after in _OPEN:
            yield record, offer


def overlapping(offer: FlexOffer, options: Sequence[OfferOption]) -> bool:
    """Whether an offer holds an ISP that one of the options holds too: the same flexibility is not offered twice."""
    held = frozenset[int]().union(*(option.power.isps for option in offer.options))
    return any(held & option.power.isps for option in options)


def ahead(request: FlexRequest, begun: int, ordered: IspSeries) -> FlexRequest:
    """What is still to be helped, counted from the baseline with what was `ordered` on it before: ISPs up to `begun`,
    and those in which enough was ordered, are no longer Requested."""
    isps: list[RequestIsp] = []
    for stretch in request.isps:
        for isp in stretch.isps:
            before = ordered.at(isp) or 0
            low, high = stretch.min_power_w - before, stretch.max_power_w - before
            wanted = isp > begun and stretch.disposition is Disposition.REQUESTED and (low >= 0 or high <= 0)
            kind = Disposition.REQUESTED if wanted else Disposition.AVAILABLE
            isps.append(RequestIsp(isp, 1, kind, low, high))
    return replace(request, isps=tuple(isps))


# --- the offer ----------------------------------------------------------------------------


def compose(
    head: Head,
    request: FlexRequest,
    prognosis: Prognosis,
    options: Sequence[OfferOption],
    valid: timedelta | None,
    obligation: IspSeries | None = None,
    *,
    unsolicited: bool = False,
) -> FlexOffer:
    """The offer of these options, the fullest first; it expires with its request, when its first ISP begins, or
    `valid` after it was made, whichever comes first.

    Under a contract options that fall short of the obligation are left out, unless all do: then the fullest is offered
    whole, for it is all there is.
    """
    if obligation is not None:
        enough = [option for option in options if covers(option.power, obligation)]
        options = enough or [replace(options[0], min_activation=Decimal("1.00"))]
    first = min(min(option.power.isps) for option in options)
    ends = [request.expires, request.calendar.start(request.period, first)]
    if valid is not None:
        ends.append(head.created + valid)
    return FlexOffer(
        head=head,
        congestion_point=request.congestion_point,
        expires=min(ends),
        currency=request.calendar.currency,
        options=tuple(options),
        request=None if unsolicited else request.head.message_id,
        unsolicited=unsolicited,
        contract=request.contract,
        prognosis=prognosis.head.message_id,
    )


def relief(head: Head, agreed: Agreements, point: CongestionPoint, first: int, expires: datetime) -> FlexRequest | None:
    """The request that the grid operator should make of us: ISPs from `first` on in which our newest prognosis, with
    what was ordered on it, breaks the congestion point's limits. None where it breaks none."""
    prognosis, reckoned = agreed.prognosis, agreed.foreseen()
    if prognosis is None or reckoned is None:
        return None
    low = -_NO_LIMIT_W if point.export_limit_w is None else -point.export_limit_w
    high = _NO_LIMIT_W if point.import_limit_w is None else point.import_limit_w
    isps: list[RequestIsp] = []
    for isp, power in reckoned:
        base = prognosis.power.at(isp) or 0
        wanted = isp >= first and not low <= power <= high
        kind = Disposition.REQUESTED if wanted else Disposition.AVAILABLE
        isps.append(RequestIsp(isp, 1, kind, low - base, high - base))
    if not any(isp.disposition is Disposition.REQUESTED for isp in isps):
        return None
    series = prognosis.power
    return FlexRequest(head, point.address, series.calendar, series.period, 1, expires, tuple(isps))


# --- direct activation ----------------------------------------------------------------------------


def refusals(order: FlexOrder, contract: Contract | None, left: IspSeries | None) -> tuple[Problem, ...]:
    """Why an unsolicited order is refused: it must stay within what is `left` of its contract's reservation, in the
    same direction (UFTP 3.8, appendix 3)."""
    if contract is None:
        text = "an order without an offer draws on a contract's reservation, and this one names none"
        return (Problem("direct.contract", "ContractID", text, "Unknown reference ContractID", clause="UFTP app. 3"),)
    problems: list[Problem] = []
    for isp, power in order.power:
        rest = (left.at(isp) or 0) if left is not None else 0
        if power and (power * rest <= 0 or abs(power) > abs(rest)):
            text = f"{power} W of {rest} W that {contract.id} still holds in reserve in ISP {isp}"
            problems.append(Problem("direct.reserve", f"ISP {isp}", text, "Power mismatch", clause="UFTP app. 3"))
    return tuple(problems)


def covers(power: IspSeries, obligation: IspSeries) -> bool:
    """Whether a power gives at least what is owed, in every ISP and in its direction."""
    return all(owed * (given := power.at(isp) or 0) > 0 and abs(given) >= abs(owed) for isp, owed in obligation if owed)
