"""Taking an offer back (UFTP FlexOfferRevocation): when that may be done, and in which words."""

from __future__ import annotations

from datetime import datetime

from adapters.ports import Direction
from datamodels import FlexOffer, OfferRevocation, Role, TradeState
from interop.market.book import Book, Record
from interop.market.ids import head
from interop.market.states import state_of

__all__ = ["revocation", "why_not"]

_WHY_NOT = {
    TradeState.ORDERING: "is ordered, and so binding",
    TradeState.ORDERED: "is ordered, and so binding",
    TradeState.PARTLY_ORDERED: "is ordered, and so binding",
    TradeState.REVOKED: "is revoked already",
    TradeState.REJECTED: "was rejected, so there is nothing to take back",
    TradeState.EXPIRED: "has expired",
}


def why_not(book: Book, record: Record, offer: FlexOffer, now: datetime) -> str | None:
    """Why an offer of ours may not be taken back; None where it may (UFTP 3.8).

    One that is unanswered may be: both messages go out in order. Once its first ISP has begun none may.
    """
    if why := _WHY_NOT.get(state := state_of(book, record, now)):
        return f"{why} ({offer.expires:%Y-%m-%d %H:%M}Z)" if state is TradeState.EXPIRED else why
    begins = [o.power.calendar.start(o.power.period, min(o.power.isps)) for o in offer.options if o.power.isps]
    if begins and min(begins) <= now:
        return f"holds an ISP that began at {min(begins):%Y-%m-%d %H:%M}Z"
    return None


def revocation(book: Book, role: Role, offer_id: str, now: datetime) -> OfferRevocation:
    """The message that takes back an offer of ours.

    Raises:
        LookupError: we know no such offer.
        ValueError: it may not be taken back, and why.
    """
    if role is not Role.AGR:
        raise ValueError(f"only an aggregator takes back offers, and this party is a {role}")
    record = book.record(offer_id)
    if record is None or not isinstance(record.message, FlexOffer) or record.direction is not Direction.OUT:
        raise LookupError(f"we made no offer {offer_id}; gridparley flex status lists them")
    offer = record.message
    if why := why_not(book, record, offer, now):
        raise ValueError(f"offer {offer_id} {why}")
    about = offer.head
    return OfferRevocation(
        head(about.sender, about.recipient, now, "revocation", offer_id, conversation=about.conversation_id), offer_id
    )
