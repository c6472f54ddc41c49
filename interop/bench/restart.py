"""How soon a server is ready again on a store of many messages."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

from adapters.ports import Direction
from datamodels import (
    Disposition,
    FlexOffer,
    FlexOrder,
    FlexRequest,
    Head,
    IspSeries,
    MarketCalendar,
    MarketMessage,
    OfferOption,
    RequestIsp,
    encode,
)
from interop.bench.process import serve
from interop.bench.trade import AGR, DSO, POINT, Parties
from interop.market import ids
from interop.market.book import MESSAGE, Record
from interop.step import MARKET, wire_kind
from interop.store import (
    Batch,
    Document,
    Event,
    InboxEntry,
    InboxMark,
    InboxState,
    OutboxEntry,
    OutboxMark,
    Store,
    Taken,
)
from interop.store import OutboxState as State

__all__ = ["ready_s"]

_RAW = b"x" * 11_000
_TOGETHER = 64


async def ready_s(folder: Path, messages: int) -> float:
    """Seconds from starting an aggregator's server, its imports included, until it says that it is ready."""
    parties = Parties(folder, 0, 1)
    config = parties.config(AGR)
    store = await Store.open(parties.folders[AGR] / "data")
    numbers, rows = iter(range(messages // 6)), iter(range(1, messages + 1))
    await asyncio.gather(*(_fill(store, numbers, rows) for _ in range(_TOGETHER)))
    await store.close()
    began = time.perf_counter()
    async with serve(parties.folders[AGR], config):
        return time.perf_counter() - began


async def _fill(store: Store, numbers: Iterator[int], rows: Iterator[int]) -> None:
    """Trades as an aggregator's store holds them: of each six messages, three of which the book remembers."""
    for number in numbers:
        request, offer, order = _trade(number)
        for message in (request, order):
            answer = ids.reply_head(message.head, message.head.created)
            said = (_queued(answer, f"{wire_kind(message)}Response"),)
            taken, record = _taken(next(rows), message), _record(message, Direction.IN, DSO)
            await store.commit(Batch(taken=(taken,), documents=(record,), outbox=said))
            await store.commit(Batch(tries=(_delivered(answer),)))
        said = (_queued(offer.head, "FlexOffer"),)
        await store.commit(Batch(documents=(_record(offer, Direction.OUT, DSO),), outbox=said))
        await store.commit(Batch(taken=(_taken(next(rows), offer, "FlexOfferResponse"),)))
        await store.commit(Batch(tries=(_delivered(offer.head),)))


def _trade(number: int) -> tuple[FlexRequest, FlexOffer, FlexOrder]:
    calendar, at = MarketCalendar("Europe/Amsterdam"), datetime.now(UTC).replace(microsecond=0)
    period = (at + timedelta(days=7)).date()
    isps = tuple(
        RequestIsp(k, 1, Disposition.REQUESTED, -(number + k) * 7, 0) for k in range(1, calendar.isps(period) + 1)
    )
    power = IspSeries.of(calendar, period, [-(number + k) for k in range(len(isps))])
    head = ids.head(DSO, AGR, at, "filled", number)
    request = FlexRequest(head, POINT, calendar, period, 1, at + timedelta(days=1), isps)
    offered = ids.head(AGR, DSO, at, "offer", number, conversation=head.conversation_id)
    option = OfferOption("A", Decimal("10.50"), power)
    offer = FlexOffer(offered, POINT, request.expires, "EUR", (option,), head.message_id)
    ordered = ids.head(DSO, AGR, at, "order", number, conversation=head.conversation_id)
    order = FlexOrder(
        ordered, POINT, str(number), option.price, "EUR", power, offer=offered.message_id, option=option.reference
    )
    return request, offer, order


def _taken(seq: int, message: MarketMessage, answer: str = "") -> Taken:
    """The message as it was received, or an answer to it of the given kind."""
    head, kind = message.head, answer or wire_kind(message)
    raw = head.message_id.encode() + _RAW
    identity = (head.message_id, head.conversation_id)
    entry = InboxEntry("uftp", DSO, kind, raw, head.created, *identity, digest=hashlib.sha256(raw).digest())
    mark = InboxMark(seq, InboxState.DONE, "", kind, None if answer else encode(message), None if answer else True)
    return Taken(seq, entry, mark=mark)


def _record(message: MarketMessage, direction: Direction, peer: str) -> Document:
    return Document(MARKET, MESSAGE, message.head.message_id, encode(Record(direction, peer, message, accepted=True)))


def _queued(head: Head, kind: str) -> OutboxEntry:
    event = Event("message.out", head.created, {"message_id": head.message_id, "kind": kind})
    return OutboxEntry("uftp", DSO, head.message_id, head.conversation_id, kind, _RAW, head.created, 0.0, event=event)


def _delivered(head: Head) -> OutboxMark:
    return OutboxMark(head.message_id, State.DELIVERED, 1, 0.0, 0.0)
