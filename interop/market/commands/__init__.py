"""Manual trading: what an operator says becomes a market message, checked before anybody hears of it.

Each command is a body (a dataclass, read from JSON) and a pure function `(book, context, body, now) -> message` that
raises for what cannot be said (see `checks`). Between its look at the book and the mark that `MarketDesk.say` leaves
there nothing is awaited, and the message id says what is traded (an offer has one order id for ever): whatever the desk
decides of its own accord meanwhile, nothing is ordered twice. The same words twice are one message.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from adapters.ports import Direction
from datamodels import MarketMessage
from interop.desk import DeskContext
from interop.market.book import Book
from interop.market.commands import grid, reference, settling, supply
from interop.market.commands.checks import Unfit

__all__ = ["COMMANDS", "Command", "Unfit", "compose"]


@dataclass(frozen=True, slots=True)
class Command:
    """`body` is what the operator says, `compose` makes a message of it."""

    body: type[Any]
    compose: Callable[[Book, DeskContext, Any, datetime], MarketMessage]


COMMANDS: Mapping[str, Command] = {
    "request": Command(grid.RequestBody, grid.request),
    "order": Command(grid.OrderBody, grid.order),
    "reserve": Command(grid.ReserveBody, grid.reserve),
    "settle": Command(settling.SettleBody, settling.settlement),
    "offer": Command(supply.OfferBody, supply.offer),
    "revoke": Command(supply.RevokeBody, supply.revoke),
    "prognosis": Command(supply.PrognosisBody, supply.prognosis),
    "metering": Command(supply.MeteringBody, supply.metering),
    "publish": Command(reference.PublishBody, reference.publish),
    "query": Command(reference.QueryBody, reference.query),
}


def compose(verb: str, book: Book, context: DeskContext, body: Any, now: datetime) -> MarketMessage:
    """The message that a command makes of its body; the one said before, where the same was said before.

    Raises:
        LookupError: something that is referred to is not known.
        Unfit: the body does not fit the market; all its problems are named.
        ValueError: it cannot be said as things stand, or was said before and refused.
    """
    message = COMMANDS[verb].compose(book, context, body, now)
    known = book.find(message.head.message_id, Direction.OUT, message.head.recipient)
    if known is None:
        return message
    if known.accepted is False:
        raise ValueError(f"{known.peer} refused this before ({message.head.message_id}); say it differently")
    return known.message
