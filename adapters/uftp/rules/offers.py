"""Offers and their revocation, and the references that trade messages share."""

from __future__ import annotations

from collections.abc import Iterator

from adapters.ports import Direction
from adapters.uftp.elements import Element
from adapters.uftp.rules.registry import Context, Finding, known, numbers, rule
from datamodels import BaselineMethod, FlexOffer, FlexRequest, Prognosis, Role

_TRADE = ("FlexOffer", "FlexOrder", "FlexSettlement")


def _rows(element: Element) -> Iterator[Element]:
    """Where ContractID, D-PrognosisMessageID and BaselineReference stand."""
    if element.name == "FlexSettlement":
        yield from element.all("FlexOrderSettlement")
    else:
        yield element


@rule("R17", _TRADE, "Unknown reference BaselineReference", "3.5 generic reasons")
def baseline_known(context: Context) -> Iterator[Finding]:
    for row in _rows(context.element):
        reference = row.get("BaselineReference")
        if reference is not None and reference not in context.terms.baseline_references:
            yield Finding("BaselineReference", f"no baseline {reference!r} is agreed")


@rule("R18", (*_TRADE, "FlexRequest", "FlexReservationUpdate"), "Unknown reference ContractID", "3.5 generic reasons")
def contract_known(context: Context) -> Iterator[Finding]:
    parties = {context.own_domain, context.sender}
    places = [*_rows(context.element), *context.element.all("ContractSettlement")]
    for row in places:
        id = row.get("ContractID")
        contract = context.terms.contract(id) if id is not None else None
        if id is not None and (contract is None or {contract.dso, contract.agr} != parties):
            yield Finding("ContractID", f"there is no contract {id!r} between these two parties")


@rule("R19", _TRADE, "Unknown reference D-PrognosisMessageID", "3.5 generic reasons")
def prognosis_known(context: Context) -> Iterator[Finding]:
    # Whatever the conversation: a prognosis is sent once a day, the trades that follow have conversations of their own.
    direction = Direction.OUT if context.own_role is Role.AGR else Direction.IN
    for row in _rows(context.element):
        id = row.get("D-PrognosisMessageID")
        if id is not None and known(context, id, Prognosis, direction) is None:
            yield Finding("D-PrognosisMessageID", f"no prognosis {id} was exchanged")


@rule("M6", ("FlexOffer",), "No baseline", "3.8")
def has_baseline(context: Context) -> Iterator[Finding]:
    contract = context.terms.contract(context.element.get("ContractID") or "")
    method = contract.baseline_method if contract else context.terms.baseline_method
    if method is BaselineMethod.D_PROGNOSIS and context.element.get("D-PrognosisMessageID") is None:
        yield Finding("D-PrognosisMessageID", "baselines are D-prognoses here, and the offer names none")


def _request(context: Context) -> FlexRequest | None:
    found = known(context, context.element.get("FlexRequestMessageID"), FlexRequest, Direction.OUT)
    if found is None or found[1].head.conversation_id != context.element["ConversationID"]:
        return None
    return found[1]


@rule("R30", ("FlexOffer",), "Invalid Message", "3.8")
def solicited_offer(context: Context) -> Iterator[Finding]:
    unsolicited, reference = context.element.get("Unsolicited"), context.element.get("FlexRequestMessageID")
    if unsolicited is not None and unsolicited != (reference is None):
        yield Finding(
            "Unsolicited",
            f"is {str(unsolicited).lower()}, and a request is {'not ' if reference is None else ''}named",
            "FlexRequestMessageID must be present if and only if the offer is solicited",
        )


@rule("R23", ("FlexOffer",), "Unknown reference FlexRequestMessageID", "3.5 generic reasons")
def request_known(context: Context) -> Iterator[Finding]:
    if context.element.get("FlexRequestMessageID") is not None and _request(context) is None:
        yield Finding("FlexRequestMessageID", "no such request was sent to this party in this conversation")


@rule("R34", ("FlexOffer",), "Request mismatch", "3.8")
def offers_what_is_requested(context: Context) -> Iterator[Finding]:
    request = _request(context)
    if request is None or request.period != context.element["Period"]:
        return
    end = context.last_isp or 0
    offered: set[int] = set()
    for spans in context.spans:
        offered |= numbers(spans.pairs, end)
    if not offered & request.requested:
        yield Finding("OfferOption", "no ISP that was requested is offered")


@rule("M9", ("FlexOffer",), "Power value rejection", "3.8, appendix 3")
def inside_request(context: Context) -> Iterator[Finding]:
    request, offer = _request(context), context.canonical
    if request is None or not isinstance(offer, FlexOffer):
        return
    contract = context.terms.contract(offer.contract or request.contract or "")
    if contract is None or not contract.bounded_offers:
        return
    for option in offer.options:
        for number, power in option.power:
            bounds = request.bounds(number)
            if bounds is not None and not bounds.min_power_w <= power <= bounds.max_power_w:
                allowed = f"{bounds.min_power_w}..{bounds.max_power_w} W"
                yield Finding(f"OfferOption {option.reference}", f"{power} W in ISP {number} is not in {allowed}")
                break


@rule("R32", ("FlexOffer",), "Invalid Message", "4.2")
def market_currency(context: Context) -> Iterator[Finding]:
    stated, market = context.element["Currency"], context.terms.calendar.currency
    if stated != market:
        yield Finding("Currency", f"the market settles in {market}", f"Currency {stated}")


@rule("R45", ("FlexOffer",), "No MutEx offer support", "3.8")
def exclusive_options(context: Context) -> Iterator[Finding]:
    point = context.terms.congestion_point(context.element["CongestionPoint"])
    if len(context.element.children) > 1 and point is not None and not point.mutex_offers:
        yield Finding("OfferOption", f"{point.address} takes one option an offer")


@rule("R51", ("FlexOffer",), "Invalid Message", "4.2")
def options_told_apart(context: Context) -> Iterator[Finding]:
    seen: set[str] = set()
    for option in context.element.children:
        reference = option["OptionReference"]
        if reference in seen:
            yield Finding("OptionReference", f"{reference} stands twice", "OptionReference is not unique")
        seen.add(reference)


# --- revocation ---------------------------------------------------------------------------------------------------


def _revoked(context: Context) -> FlexOffer | None:
    found = known(context, context.element["FlexOfferMessageID"], FlexOffer, Direction.IN)
    if found is None or found[1].head.conversation_id != context.element["ConversationID"]:
        return None
    return found[1]


# The same words for a foreign offer as for none: nobody learns here what others offer.
_NO_OFFER = Finding("FlexOfferMessageID", "no such offer was received from this party in this conversation")


@rule("R6", ("FlexOfferRevocation",), "Unknown reference FlexOfferMessageID", "3.5 generic reasons")
def revoker_is_offerer(context: Context) -> Iterator[Finding]:
    found = context.history.find(context.element["FlexOfferMessageID"], Direction.IN, context.sender)
    if found is not None and found.peer != context.sender:
        yield _NO_OFFER


@rule("R20.revocation", ("FlexOfferRevocation",), "Unknown reference FlexOfferMessageID", "3.5 generic reasons")
def revoked_offer_known(context: Context) -> Iterator[Finding]:
    if _revoked(context) is None:
        yield _NO_OFFER


@rule("R49", ("FlexOfferRevocation",), "Flexibility procured", "3.8")
def still_revocable(context: Context) -> Iterator[Finding]:
    offer = _revoked(context)
    if offer is None:
        return
    orders = context.history.orders(offer.head.message_id)
    if orders:
        yield Finding("FlexOfferMessageID", f"ordered as {orders[0].order_reference}, and that order is accepted")
    begins = [
        option.power.calendar.start(option.power.period, min(option.power.isps))
        for option in offer.options
        if option.power.isps
    ]
    if begins and min(begins) <= context.now:
        yield Finding("FlexOfferMessageID", f"its first ISP began at {min(begins):%Y-%m-%d %H:%MZ}")
