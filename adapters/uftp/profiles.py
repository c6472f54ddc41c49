"""Messages bent to what a peer's software takes, as far as their meaning allows (`datamodels.profiles`).

Each bending is a loss. What the peer would surely refuse, and no bending can mend, is not sent.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal
from itertools import groupby

from adapters.errors import Rejection
from adapters.ports import History
from adapters.uftp.elements import Element
from adapters.uftp.rules.registry import span
from datamodels import Disposition, FlexOffer, FlexRequest, Loss, Problem, ProfileLimits, limits_of

__all__ = ["obey"]

_NO_DIGITS = frozenset("BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX VND VUV XAF XOF XPF".split())  # noqa: SIM905
_THREE_DIGITS = frozenset("BHD IQD JOD KWD LYD OMR TND".split())  # noqa: SIM905
"""Currencies of ISO 4217 whose minor unit is not a hundredth."""


def obey(element: Element, profile: str, history: History) -> tuple[Element, tuple[Loss, ...]]:
    """A message in the shape that the peer's validators take. `history` knows the request that is answered.

    Raises:
        Rejection: the peer refuses such a message whatever its shape (a partial order, say).
    """
    limits = limits_of(profile)
    losses: list[Loss] = []
    if element.name == "FlexOffer":
        element = _offer(element, limits, history, losses)
    elif element.name == "FlexOrder":
        element = _order(element, limits, history, losses)
    elif element.name == "Metering":
        element = _metering(element, limits, losses)
    return element, tuple(losses)


def _offer(element: Element, limits: ProfileLimits, history: History, losses: list[Loss]) -> Element:
    most = limits.most_options or len(element.children)
    kept, dropped = element.children[:most], element.children[most:]
    losses.extend(Loss("OfferOption", o["OptionReference"], "the peer takes fewer options an offer") for o in dropped)
    request = _request(element.get("FlexRequestMessageID"), history) if limits.request_partition else None
    options = []
    for option in kept:
        option = _cut(option, request, losses)
        if not limits.partial_activation:
            option = _indivisible(option, losses)
        if limits.currency_digits:
            option = _priced(option, element["Currency"], losses)
        options.append(option)
    return replace(element, children=tuple(options))


def _order(element: Element, limits: ProfileLimits, history: History, losses: list[Loss]) -> Element:
    problems: list[Problem] = []
    factor, offer = element["ActivationFactor"], element.get("FlexOfferMessageID")
    if factor != 1 and not limits.partial_activation:
        hint = "order the whole option, or another one"
        problems.append(
            Problem("uftp.profile", "ActivationFactor", f"{factor}: the peer sells whole options", hint=hint)
        )
    if offer is None and not limits.unsolicited_orders:
        hint = "order what was offered"
        problems.append(Problem("uftp.profile", "Unsolicited", "the peer takes no unsolicited orders", hint=hint))
    if problems:
        raise Rejection(problems)
    if limits.request_partition:
        found = history.find(offer) if offer else None
        asked = found.message.request if found and isinstance(found.message, FlexOffer) else None
        element = _cut(element, _request(asked, history), losses)
    return _priced(element, element["Currency"], losses) if limits.currency_digits else element


def _metering(element: Element, limits: ProfileLimits, losses: list[Loss]) -> Element:
    ean = element["EAN"]
    if len(ean) <= 1 + limits.ean_digits:
        return element
    why = f"the peer reads {limits.ean_digits} digits: connections that differ in the last ones only look alike to it"
    losses.append(Loss("EAN", ean, why))
    return replace(element, attributes={**element.attributes, "EAN": ean[: 1 + limits.ean_digits]})


def _indivisible(option: Element, losses: list[Loss]) -> Element:
    if option["MinActivationFactor"] == 1:
        return option
    losses.append(Loss("MinActivationFactor", str(option["MinActivationFactor"]), "the peer orders whole options"))
    return replace(option, attributes={**option.attributes, "MinActivationFactor": Decimal("1.00")})


def _priced(element: Element, currency: str, losses: list[Loss]) -> Element:
    price = element["Price"]
    digits = 0 if currency in _NO_DIGITS else 3 if currency in _THREE_DIGITS else 2
    exact = price.quantize(Decimal(1).scaleb(-digits))
    if exact != price:
        losses.append(Loss("Price", str(price), f"the peer refuses prices with more digits than {currency} has"))
        return element
    return replace(element, attributes={**element.attributes, "Price": exact})


def _request(message_id: str | None, history: History) -> FlexRequest | None:
    found = history.find(message_id) if message_id else None
    return found.message if found and isinstance(found.message, FlexRequest) else None


def _cut(parent: Element, request: FlexRequest | None, losses: list[Loss]) -> Element:
    """The ISPs of an offer's option or an order, cut as the request's are wherever their power allows."""
    if request is None:
        return parent
    powers: dict[int, int] = {}
    for isp in parent.children:
        first, last = span(isp)
        powers |= dict.fromkeys(range(first, last + 1), isp["Power"])
    owner = {number: n for n, asked in enumerate(request.isps) for number in asked.isps}
    cut = tuple(_runs(powers, owner))
    requested = {(r.start, r.duration) for r in request.isps if r.disposition is Disposition.REQUESTED}
    if not requested & {(isp["Start"], isp["Duration"]) for isp in cut}:
        losses.append(Loss("ISP", parent.name, "no stretch is cut as in the request, because its powers differ"))
    return replace(parent, children=cut)


def _runs(powers: dict[int, int], owner: dict[int, int]) -> Iterator[Element]:
    """Stretches of one power within one ISP element of the request."""
    numbers = sorted(powers)
    alike = groupby(enumerate(numbers), key=lambda item: (item[1] - item[0], powers[item[1]], owner.get(item[1])))
    for (_, power, _), group in alike:
        run = [number for _, number in group]
        yield Element("ISP", {"Power": power, "Start": run[0], "Duration": len(run)})
