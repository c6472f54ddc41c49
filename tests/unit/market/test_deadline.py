"""Until when what we say means anything."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from types import ModuleType
from typing import Any

import pytest

from adapters.ports import Direction
from adapters.uftp.codec import decode
from adapters.uftp.mapping import to_canonical
from interop.effects import Put
from interop.market.book import MESSAGE, Book, Record
from interop.market.deadline import deadline


@pytest.fixture
def said(world: ModuleType) -> dict[str, Any]:
    names = ("FlexRequest", "FlexOffer", "FlexOrder", "D-Prognosis", "FlexOfferRevocation")
    found = {}
    for name in names:
        found[name], _ = to_canonical(decode((world.DATA / f"{name}.xml").read_bytes()), world.TERMS.calendar)
    return found


def _book(*messages: Any) -> Book:
    book = Book()
    book.apply(Put(MESSAGE, m.head.message_id, Record(Direction.IN, m.head.sender, m, True)) for m in messages)
    return book


def test_requests_and_offers_end_when_they_say(said: dict[str, Any]) -> None:
    assert deadline(Book(), said["FlexRequest"]) == said["FlexRequest"].expires
    assert deadline(Book(), said["FlexOffer"]) == said["FlexOffer"].expires


def test_an_offer_ends_with_its_request_and_an_order_with_its_offer(said: dict[str, Any]) -> None:
    """U-11: what the peer would refuse as "Reference message expired" goes back to its owner."""
    early = said["FlexOffer"].expires - timedelta(hours=3)
    request = replace(said["FlexRequest"], expires=early)
    offer = replace(said["FlexOffer"], request=request.head.message_id)
    assert deadline(_book(request), offer) == early
    order = replace(said["FlexOrder"], offer=offer.head.message_id)
    assert deadline(_book(request, offer), order) == offer.expires
    assert deadline(Book(), order) is None


def test_other_messages_never_end(said: dict[str, Any]) -> None:
    assert deadline(Book(), said["D-Prognosis"]) is None
    assert deadline(Book(), said["FlexOfferRevocation"]) is None
