"""The desk of a party that trades for the sake of trading (`kind = "trader"`): for benches and crash campaigns.

As DSO it asks, `at_once` requests open at a time, until `trades` are done, and orders what is offered; as AGR it offers
half of what is asked for. What follows on a message is decided with it, in one transaction. Ids and contents derive
from the number of the trade, so a restart goes on where it was.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from adapters.ports import Direction, Interpretation, Received
from datamodels import (
    Disposition,
    FlexOffer,
    FlexOrder,
    FlexRequest,
    Head,
    IspSeries,
    OfferOption,
    RequestIsp,
    Role,
)
from interop.desk import DeskContext
from interop.effects import Effect
from interop.market import ids
from interop.market.desk import MarketDesk, read_options
from interop.market.machine import say

__all__ = ["BASELINE", "TraderDesk", "build"]

BASELINE = "bench-baseline"
"""What offers and orders refer to: prognoses would be two messages more."""

_ASKED = range(70, 77)


@dataclass(frozen=True, slots=True)
class TraderOptions:
    """`recipient`, `point`: whom a DSO asks, about which congestion point."""

    recipient: str = ""
    point: str = ""
    trades: int = 0
    at_once: int = 1


class TraderDesk(MarketDesk):
    def __init__(self, context: DeskContext, options: TraderOptions) -> None:
        super().__init__(context)
        self._options = options
        self._opened = 0
        """How many trades are surely in the book; looked up again after a load."""

    def load(self, documents: Mapping[tuple[str, str], Any]) -> None:
        super().load(documents)
        self._opened = 0

    def on_message(
        self, peer: str, adapter: str, interpretation: Interpretation, received: Received, now: datetime
    ) -> list[Effect]:
        effects = super().on_message(peer, adapter, interpretation, received, now)
        message = interpretation.message
        if message is None or self.book.find(message.head.message_id, Direction.IN, peer) is None:
            return effects
        following: list[Effect] = []
        if isinstance(message, FlexRequest) and self.context.role is Role.AGR:
            following = say(self._offer(message, now))
        elif isinstance(message, FlexOffer) and self.context.role is Role.DSO:
            following = say(self._order(message, now))
        self.book.apply(following)
        return [*effects, *following]

    async def work(self, now: datetime) -> None:
        options = self._options
        while self._opened < options.trades:
            head = self._head(self._opened, now)
            if head.message_id not in self.book:
                before = self._opened - options.at_once
                if before >= 0 and not self._ordered(before, now):
                    return
                await self.say(self._request(self._opened, head))
            self._opened += 1

    def _ordered(self, number: int, now: datetime) -> bool:
        """Whether the order that ends a trade was accepted; it is named after the request."""
        return self.book.order_named(self.context.domain, self._head(number, now).message_id) is not None

    def _head(self, number: int, now: datetime) -> Head:
        return ids.head(self.context.domain, self._options.recipient, now.replace(microsecond=0), "trade", number)

    def _request(self, number: int, head: Head) -> FlexRequest:
        calendar, at = self.context.terms.calendar, head.created
        period, chance = (at + timedelta(days=7)).date(), random.Random(number)  # noqa: S311 - any numbers will do
        isps = tuple(
            RequestIsp(k, 1, Disposition.REQUESTED, -chance.randrange(1000, 10**6), 0)
            if k in _ASKED
            else RequestIsp(k, 1, Disposition.AVAILABLE, 0, chance.randrange(10**6))
            for k in range(1, calendar.isps(period) + 1)
        )
        return FlexRequest(head, self._options.point, calendar, period, 1, at + timedelta(days=1), isps)

    def _offer(self, request: FlexRequest, now: datetime) -> FlexOffer:
        asked, at = request.head, now.replace(microsecond=0)
        spans = [(i.start, i.duration, i.min_power_w // 2) for i in request.isps if i.start in _ASKED]
        power = IspSeries.from_spans(request.calendar, request.period, spans)
        option = OfferOption("A", Decimal("10.50"), power)
        head = ids.head(
            asked.recipient, asked.sender, at, "offer", asked.message_id, conversation=asked.conversation_id
        )
        currency = request.calendar.currency
        return FlexOffer(
            head,
            request.congestion_point,
            request.expires,
            currency,
            (option,),
            asked.message_id,
            baseline_reference=BASELINE,
        )

    def _order(self, offer: FlexOffer, now: datetime) -> FlexOrder:
        offered, option, at = offer.head, offer.options[0], now.replace(microsecond=0)
        head = ids.head(
            offered.recipient, offered.sender, at, "order", offered.message_id, conversation=offered.conversation_id
        )
        return FlexOrder(
            head,
            offer.congestion_point,
            offer.request or offered.message_id,
            option.price,
            offer.currency,
            option.power,
            offer=offered.message_id,
            option=option.reference,
            baseline_reference=BASELINE,
        )


def build(options: Mapping[str, Any], context: DeskContext) -> TraderDesk:
    """The desk; ValueError where an option is wrong."""
    return TraderDesk(context, read_options(TraderOptions, options))
