"""Until when a message of ours means anything: later, its recipient would have to refuse it as expired."""

from __future__ import annotations

from datetime import datetime

from datamodels import FlexOffer, FlexOrder, FlexRequest, MarketMessage
from interop.market.book import Book

__all__ = ["deadline"]


def deadline(book: Book, message: MarketMessage) -> datetime | None:
    """A request and an offer end when they expire, an offer also with the request it answers, an order with the offer
    it buys (UFTP 3.1.0 sections 3.8 to 3.10: "Reference message expired"); None where nothing expires."""
    match message:
        case FlexRequest():
            return message.expires
        case FlexOffer():
            return min(message.expires, _expiry(book, message.request) or message.expires)
        case FlexOrder():
            return _expiry(book, message.offer)
        case _:
            return None


def _expiry(book: Book, message_id: str | None) -> datetime | None:
    known = book.find(message_id) if message_id else None
    if known is None or not isinstance(known.message, FlexRequest | FlexOffer):
        return None
    return known.message.expires
