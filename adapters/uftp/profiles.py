"""Peer profiles: what a counterpart's implementation refuses though the standard allows it.

Our own checks are never weakened. A message that a peer's validators are known to refuse is still sent, as the market
decided, and the reason why it may come back is reported as a loss.
"""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

from adapters.uftp.codec import Element
from datamodels import Loss

__all__ = ["JAVA", "obey"]

JAVA = "java-3.x"
_CENT = Decimal("0.01")


def obey(element: Element, profile: str) -> tuple[Element, tuple[Loss, ...]]:
    """A message in the shape that the profile's validators take, as far as its meaning allows.

    java-3.x wants prices with exactly the digits of the currency, one option an offer, no partial activation, and
    no unsolicited orders.
    """
    if profile != JAVA or element.name not in ("FlexOffer", "FlexOrder"):
        return element, ()
    losses: list[Loss] = []
    if element.name == "FlexOrder":
        if element.get("ActivationFactor") != 1:
            losses.append(Loss("ActivationFactor", str(element["ActivationFactor"]), f"{JAVA} refuses partial orders"))
        if element.get("FlexOfferMessageID") is None:
            losses.append(Loss("Unsolicited", "true", f"{JAVA} refuses unsolicited orders"))
        return _priced(element, losses), tuple(losses)
    if len(element.children) > 1:
        losses.append(Loss("OfferOption", str(len(element.children)), f"{JAVA} refuses orders on several options"))
    options = tuple(_priced(option, losses) for option in element.children)
    return replace(element, children=options), tuple(losses)


def _priced(element: Element, losses: list[Loss]) -> Element:
    price = element["Price"]
    exact = price.quantize(_CENT)
    if exact != price:
        losses.append(Loss("Price", str(price), f"{JAVA} refuses prices that are no whole cents"))
        return element
    return replace(element, attributes={**element.attributes, "Price": exact})
