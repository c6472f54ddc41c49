"""Orders: whether they buy what was offered, at the price it was offered for."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import ROUND_HALF_EVEN, Decimal

from adapters.ports import Direction, Known
from adapters.uftp.rules.registry import Context, Finding, known, numbers, rule
from datamodels import FlexOffer, FlexRequest, OfferOption

_ORDER = ("FlexOrder",)
_DIGITS = Decimal("0.0001")
_WHOLE = Decimal(1)


def _offer(context: Context) -> tuple[Known, FlexOffer] | None:
    found = known(context, context.element.get("FlexOfferMessageID"), FlexOffer, Direction.OUT)
    if found is None or found[1].head.conversation_id != context.element["ConversationID"]:
        return None
    return found


def _option(context: Context) -> OfferOption | None:
    found = _offer(context)
    return found[1].option(context.element.get("OptionReference")) if found else None


@rule("R31", _ORDER, "Invalid Message", "3.8")
def solicited_order(context: Context) -> Iterator[Finding]:
    # Absent means false: up to 3.0.0 every order refers to an offer.
    unsolicited, reference = bool(context.element.get("Unsolicited")), context.element.get("FlexOfferMessageID")
    if unsolicited != (reference is None):
        yield Finding(
            "Unsolicited",
            f"is {'true' if unsolicited else 'false or absent'}, and an offer is "
            f"{'not ' if reference is None else ''}named",
            "FlexOfferMessageID must be present if and only if the order is solicited",
        )


@rule("R20", _ORDER, "Unknown reference FlexOfferMessageID", "3.5 generic reasons")
def offer_known(context: Context) -> Iterator[Finding]:
    if context.element.get("FlexOfferMessageID") is not None and _offer(context) is None:
        yield Finding("FlexOfferMessageID", "no such offer was sent to this party in this conversation")


@rule("R7", _ORDER, "Reference message revoked", "3.5 generic reasons")
def offer_not_revoked(context: Context) -> Iterator[Finding]:
    found = _offer(context)
    if found is not None and found[0].revoked:
        yield Finding("FlexOfferMessageID", "the offer was revoked")


@rule("R11", ("FlexOffer", "FlexOrder"), "Reference message expired", "3.5 generic reasons")
def reference_alive(context: Context) -> Iterator[Finding]:
    reference = _reference(context)
    if reference is not None and reference.expires < context.now:
        yield Finding(_reference_name(context), f"expired at {reference.expires:%Y-%m-%d %H:%M:%SZ}")


@rule("R14", ("FlexOffer", "FlexOrder"), "Reference Period mismatch", "3.5 generic reasons")
def same_period(context: Context) -> Iterator[Finding]:
    reference = _reference(context)
    if reference is None:
        return
    period = reference.period if isinstance(reference, FlexRequest) else reference.options[0].power.period
    if period != context.element["Period"]:
        yield Finding("Period", f"the message referred to is about {period}")


def _reference_name(context: Context) -> str:
    return "FlexRequestMessageID" if context.element.name == "FlexOffer" else "FlexOfferMessageID"


def _reference(context: Context) -> FlexRequest | FlexOffer | None:
    if context.element.name == "FlexOrder":
        found = _offer(context)
        return found[1] if found else None
    request = known(context, context.element.get("FlexRequestMessageID"), FlexRequest, Direction.OUT)
    if request is None or request[1].head.conversation_id != context.element["ConversationID"]:
        return None
    return request[1]


@rule("R22", _ORDER, "Unknown reference OptionReference", "3.5 generic reasons")
def option_known(context: Context) -> Iterator[Finding]:
    if _offer(context) is not None and _option(context) is None:
        stated = context.element.get("OptionReference")
        why = "the offer has several options and the order names none" if stated is None else f"no option {stated!r}"
        yield Finding("OptionReference", why)


@rule("R35", _ORDER, "Invalid Message", "4.2")
def order_currency(context: Context) -> Iterator[Finding]:
    found = _offer(context)
    expected = found[1].currency if found else context.terms.calendar.currency
    if context.element["Currency"] != expected:
        yield Finding("Currency", f"expected {expected}", f"Currency {context.element['Currency']}")


@rule("R37", _ORDER, "ISP mismatch", "3.8")
def same_isps(context: Context) -> Iterator[Finding]:
    option = _option(context)
    if option is None:
        return
    ordered = {k for spans in context.spans for k in numbers(spans.pairs, len(option.power))}
    if ordered != option.power.isps:
        odd = sorted(ordered ^ option.power.isps)
        yield Finding("ISP", f"{len(odd)} ISPs differ from the offered ones, the first is {odd[0]}")


@rule("R36", _ORDER, "Power mismatch", "2.6, 3.8")
def power_as_offered(context: Context) -> Iterator[Finding]:
    option, factor = _option(context), context.element["ActivationFactor"]
    if option is None:
        return
    # Peers round differently; half a watt either way is theirs.
    tolerance = Decimal(0) if factor == 1 else _WHOLE
    (spans,) = context.spans
    for (first, last), power in zip(spans.pairs, context.element.column("Power"), strict=True):
        for number in range(max(first, 1), min(last, len(option.power)) + 1):
            offered = option.power.at(number)
            if offered is not None and abs(power - offered * factor) > tolerance:
                yield Finding(f"ISP {number}", f"{power} W ordered of {offered} W at factor {factor}")


@rule("R38", _ORDER, "Price mismatch", "2.6, 3.8")
def price_as_offered(context: Context) -> Iterator[Finding]:
    option, factor = _option(context), context.element["ActivationFactor"]
    if option is None:
        return
    expected = (option.price * factor).quantize(_DIGITS, ROUND_HALF_EVEN)
    if context.element["Price"] != expected:
        yield Finding("Price", f"{context.element['Price']} instead of {expected}: {option.price} at factor {factor}")


@rule("R46", _ORDER, "Flexibility procured", "3.8")
def ordered_once(context: Context) -> Iterator[Finding]:
    found = _offer(context)
    if found is None:
        return
    for order in context.history.orders(found[1].head.message_id):
        if order.head.message_id != context.element["MessageID"]:
            yield Finding(
                "FlexOfferMessageID", "an offer is ordered once", f"already ordered as {order.order_reference}"
            )


@rule("R47", _ORDER, "Power mismatch", "2.6, 3.8")
def activation_allowed(context: Context) -> Iterator[Finding]:
    option, factor = _option(context), context.element["ActivationFactor"]
    point = context.terms.congestion_point(context.element["CongestionPoint"])
    if factor != 1 and point is not None and not point.partial_activation:
        yield Finding("ActivationFactor", f"{point.address} knows no partial activation", "ActivationFactor")
    elif option is not None and factor < option.min_activation:
        yield Finding("ActivationFactor", f"{factor} is below the offered {option.min_activation}", "ActivationFactor")


@rule("M8", _ORDER, "Invalid Message", "4.2")
def order_reference_unique(context: Context) -> Iterator[Finding]:
    reference = context.element["OrderReference"]
    order = context.history.order_named(context.sender, reference)
    if order is not None and order.head.message_id != context.element["MessageID"]:
        yield Finding("OrderReference", f"{reference} was used before", "OrderReference is not unique")
