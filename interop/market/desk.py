"""What both parties' desks share: a book, the reaction to messages, and a task that does what the book says is due.

A desk keeps no list of things to do. It derives them from the book: a request without an offer is an offer to make.
After a kill and a restart the book is as it was, so the work left to do is too.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from datetime import date, datetime
from pathlib import Path
from typing import Any, Protocol, TypeVar, runtime_checkable

from adapters.ports import Direction, Enclosed, History, Interpretation, Received
from datamodels import DispatchUpdate, GridSignal, Head, MarketMessage, OfferRevocation, Telemetry
from interop.desk import DeskContext
from interop.effects import Alarm, Effect, Log, Put
from interop.market.book import MESSAGE, Book
from interop.market.called import taken_back
from interop.market.commands import compose
from interop.market.deadline import deadline
from interop.market.machine import Judgement, conflict, forward, react, say
from interop.market.revoke import revocation
from interop.market.seen import seen
from interop.settings import Settings
from interop.signals import SIGNAL, Signals, receive
from interop.step import Undeliverable

__all__ = ["MarketDesk", "SaidAlready", "read_options"]

T = TypeVar("T")
_LOOK_AGAIN_S = 0.25
_AFTER_FAILURE_S = 2.0


def read_options(cls: type[T], options: Mapping[str, Any]) -> T:
    """A desk's `[desk.options]` as its dataclass.

    Raises:
        ValueError: an option is unknown, missing or wrong; all of them are named.
    """
    settings = Settings(Path())
    read = settings.read(cls, options, "")
    if read is None:
        raise ValueError("; ".join(map(str, settings.problems)))
    return read


class SaidAlready(ValueError):
    """A message of that id was sent before."""


@runtime_checkable
class Encloser(Protocol):
    """What `MarketDesk.forward` wants of an adapter; see `adapters.ports.Messenger`."""

    def enclose(self, payload: bytes) -> Enclosed: ...


class MarketDesk(ABC):
    """Base of the aggregator's and the grid operator's desk; subclasses say what is due in `work`."""

    def __init__(self, context: DeskContext) -> None:
        self.context = context
        self.book = Book()
        self.history: History = self.book
        self._wake = asyncio.Event()
        self._tasks: list[asyncio.Task[Any]] = []
        self._log = logging.getLogger(f"gridparley.{type(self).__name__.lower()}")

    # --- Desk: called by the hub ------------------------------------------------------------------------------------

    def load(self, documents: Mapping[tuple[str, str], Any]) -> None:
        self.book.load(documents)

    def on_message(
        self, peer: str, adapter: str, interpretation: Interpretation, received: Received, now: datetime
    ) -> list[Effect]:
        judgement = self.judge(peer, interpretation, now)
        asked = Head(
            peer,
            self.context.domain,
            received.message_id or interpretation.refers_to,
            received.conversation_id or "",
            now,
        )
        effects = react(self.book, peer, interpretation, asked, now, judgement)
        self.book.apply(effects)
        self._wake.set()
        return effects

    def on_conflict(self, received: Received, interpretation: Interpretation, now: datetime) -> list[Effect]:
        return conflict(received.peer, interpretation.message, received.raw, now)

    def on_undeliverable(self, message_id: str, reason: str, now: datetime) -> list[Effect]:
        known = self.book.find(message_id)
        peer = known.peer if known else ""
        return [
            Log("message.undeliverable", {"message_id": message_id, "reason": reason}),
            Alarm("outbox", peer, reason),
        ]

    def on_dispatch_update(self, update: DispatchUpdate, now: datetime) -> list[Effect]:
        return []

    def on_signal(self, peer: str, adapter: str, signal: GridSignal, now: datetime) -> list[Effect]:
        effects = receive(self.signals, signal, peer, now, self.context.terms.calendar.currency)
        if any(isinstance(effect, Put) for effect in effects) and not signal.cancelled and not self.obeys(signal):
            text = f"signal {signal.id} ({signal.kind}) is recorded, but nothing here acts on it"
            effects.append(Alarm("signal.not_obeyed", peer, text))
        effects += taken_back(self.book, peer, signal, now)
        self.book.apply(effects)
        self._wake.set()
        return effects

    def on_telemetry(self, samples: Sequence[Telemetry]) -> None:
        return None

    # --- for subclasses ----------------------------------------------------------------------------

    @property
    def signals(self) -> Signals:
        """What is imposed on us, by whom and which (see `interop.signals.key_of`)."""
        return self.book.documents(SIGNAL)

    def obeys(self, signal: GridSignal) -> bool:
        """Whether this desk acts on a signal of that kind and with those targets."""
        return False

    async def impose(self, signal: GridSignal) -> None:
        """Take a signal from our own operators; durable when this returns."""
        await self.context.do(self.on_signal(self.context.domain, "operator", signal, self.context.clock.now()))

    def judge(self, peer: str, interpretation: Interpretation, now: datetime) -> Judgement:
        """What this party has to say on a message beyond the standard's own rules."""
        return Judgement()

    def reference(self, day: date) -> dict[str, Any]:
        """Who is connected where, for this party's own page: what the common reference operator last showed it."""
        return seen(self.book)

    @abstractmethod
    async def work(self, now: datetime) -> None:
        """Do what is due; called whenever the book changed, and a few times a second."""

    async def say(self, *messages: MarketMessage, also: Sequence[Effect] = ()) -> None:
        """Record and send messages that the book does not hold yet, with further effects in the same transaction."""
        new = [m for m in messages if self.book.find(m.head.message_id, Direction.OUT, m.head.recipient) is None]
        effects = [effect for message in new for effect in say(message, deadline(self.book, message))]
        if not effects and not also:
            return
        self.book.apply(effects)
        try:
            await self.context.do([*effects, *also])
        except BaseException:
            self.book.forget(m.head.message_id for m in new)
            raise

    async def forward(self, payload: bytes, recipient: str = "") -> dict[str, str]:
        """Send a payload that somebody else composed, byte for byte, to whom it names or to `recipient`.

        Raises:
            Rejection: it is no message.
            SaidAlready: a message of that id was sent before.
            Undeliverable: nobody we know is called so, or no adapter carries it.
        """
        messengers = {n: a for n, a in self.context.adapters.items() if isinstance(a, Encloser)}
        if not messengers:
            raise Undeliverable("no adapter carries ready payloads")
        name, messenger = next(iter(messengers.items()))
        enclosed = messenger.enclose(payload)
        message_id, recipient = enclosed.head.message_id, recipient or enclosed.head.recipient
        if recipient not in self.context.participants:
            raise Undeliverable(f"{enclosed.kind} to {recipient!r}: no such peer (gridparley peer add)")
        if any(row.direction is Direction.OUT for row in await self.context.store.message(message_id)):
            raise SaidAlready(f"message {message_id} was sent before; a new one needs a new MessageID")
        effects = forward(self.book, name, recipient, enclosed)
        await self.context.do(effects)
        self.book.apply(effects)
        return {"message_id": message_id, "kind": enclosed.kind, "peer": recipient}

    async def command(self, verb: str, body: Any) -> tuple[MarketMessage, bool]:
        """Say what an operator wants said (see `interop.market.commands`): the message, and whether it is new.

        Nothing is awaited between the look at the book and the mark left there, so the desk's own work and a command
        never trade the same thing twice. Raises what `compose` raises.
        """
        now = self.context.clock.now()
        message = compose(verb, self.book, self.context, body, now)
        if self.book.find(message.head.message_id, Direction.OUT, message.head.recipient) is not None:
            return message, False
        if isinstance(message, OfferRevocation):
            await self._take_back(message)
        else:
            await self.say(message)
        return message, True

    async def revoke(self, offer_id: str) -> OfferRevocation:
        """Take back an offer of ours; LookupError where there is none, ValueError where it is too late."""
        message = revocation(self.book, self.context.role, offer_id, self.context.clock.now())
        await self._take_back(message)
        return message

    async def _take_back(self, message: OfferRevocation) -> None:
        before = self.book.record(message.offer)
        # From here on an order for the offer is refused, also one that is handled before the revocation is durable.
        revoked = self.book.with_revocation(message.offer)
        assert before is not None
        assert revoked is not None
        self.book.apply([revoked])
        try:
            await self.say(message, also=[revoked])
        except BaseException:
            self.book.apply([Put(MESSAGE, message.offer, before)])
            raise

    # --- life ----------------------------------------------------------------------------

    async def start(self) -> None:
        self._tasks.append(asyncio.create_task(self._run(), name=f"{type(self).__name__}.work"))

    async def stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        for task in self._tasks:
            with contextlib.suppress(asyncio.CancelledError):
                await task
        self._tasks.clear()

    async def _run(self) -> None:
        while True:
            pause = _LOOK_AGAIN_S
            self._wake.clear()
            try:
                await self.work(self.context.clock.now())
            except Exception as error:
                # A failure must not end the desk: it is shown, and the same work is due again.
                self._log.exception("the desk's work failed; it is tried again")
                await self.context.do([Alarm("desk.failed", "", f"{type(error).__name__}: {error}")])
                pause = _AFTER_FAILURE_S
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await self._wake.wait()
