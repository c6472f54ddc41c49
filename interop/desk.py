"""The contract between the hub and a desk: the part of the server that decides (an aggregator's, a grid operator's).

A desk is a pure state machine: it is told what happened and answers with effects; it does no I/O while told. What it
wants of its own accord (timers, an operator's command) it hands to `DeskContext.do`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from adapters.clock import Clock
from adapters.ports import Adapter, Direction, History, Interpretation, Known, Received
from datamodels import (
    DispatchUpdate,
    FlexOrder,
    GridSignal,
    MarketTerms,
    Participant,
    Resource,
    Role,
    Telemetry,
)
from interop.effects import Effect
from interop.feed import Feed
from interop.programmes.objects import Objects
from interop.store import StorePort

__all__ = ["Desk", "DeskContext", "DeskFactory", "DeskRunner", "NoDesk", "NoHistory"]


class Desk(Protocol):
    """Decides. Calls come one at a time, in the order in which messages were made durable.

    The effects of a call are durable before any of them leaves. After an exception (a bug) or a restart, `load` is
    called again with everything durable, so a desk must keep nothing that matters outside its `Put` effects.
    """

    history: History

    def load(self, documents: Mapping[tuple[str, str], Any]) -> None:
        """Forget everything, then take up what `Put` stored, by (kind, key): encoded, so that what nobody asks for need
        not be decoded."""

    def on_message(
        self, peer: str, adapter: str, interpretation: Interpretation, received: Received, now: datetime
    ) -> Sequence[Effect]:
        """A market message arrived; refused by its adapter where `interpretation.problems` holds an ERROR."""

    def on_conflict(self, received: Received, interpretation: Interpretation, now: datetime) -> Sequence[Effect]:
        """A message came with the id of an earlier one, but other content; it changes no state."""

    def on_undeliverable(self, message_id: str, reason: str, now: datetime) -> Sequence[Effect]:
        """A message of ours could not be delivered and will not be tried again."""

    def on_dispatch_update(self, update: DispatchUpdate, now: datetime) -> Sequence[Effect]:
        """A dispatch moved along its life cycle; impossible or repeated moves are not reported."""

    def on_signal(self, peer: str, adapter: str, signal: GridSignal, now: datetime) -> Sequence[Effect]:
        """A utility or control centre imposes something."""

    def obeys(self, signal: GridSignal) -> bool:
        """Whether a signal of that kind and with those targets is acted on here."""

    def on_telemetry(self, samples: Sequence[Telemetry]) -> None:
        """Measurements arrived. They are stored already; a desk has no effects here, it may wake its own loop."""


class DeskRunner(Desk, Protocol):
    """A desk with a control loop of its own."""

    async def start(self) -> None:
        """Called once, after `load` and when adapters run."""

    async def stop(self) -> None:
        """End the loop; `do` still works until this returns."""


@dataclass(frozen=True, slots=True)
class DeskContext:
    """What a desk may know and use. `participants`, `resources` and `adapters` are live mappings."""

    domain: str
    role: Role
    terms: MarketTerms
    participants: Mapping[str, Participant]
    resources: Mapping[str, Resource]
    clock: Clock
    feed: Feed
    store: StorePort
    adapters: Mapping[str, Adapter]
    do: Callable[[Sequence[Effect]], Awaitable[None]]
    """Carry out effects, one transaction; durable when it returns, and serialised with messages."""
    programmes: Objects | None = None
    """What VENs of ours say; None where there is no programme model."""


DeskFactory = Callable[[Mapping[str, Any], DeskContext], DeskRunner]
"""The value of an entry point in group `gridparley.desks`: `build(options, context)`."""


class NoHistory:
    """Nothing was said before."""

    def find(self, message_id: str, direction: Direction | None = None, peer: str | None = None) -> Known | None:
        return None

    def latest_revision(self, kind: str, peer: str, subject: str, period: str) -> int | None:
        return None

    def latest_created(self, kind: str, peer: str) -> datetime | None:
        return None

    def order_named(self, peer: str, reference: str) -> FlexOrder | None:
        return None

    def orders(self, offer: str) -> Sequence[FlexOrder]:
        return ()

    def orders_between(self, congestion_point: str, first: str, last: str) -> Sequence[FlexOrder]:
        return ()


class NoDesk:
    """The desk of a server that only listens and records (kind = "none")."""

    def __init__(self) -> None:
        self.history: History = NoHistory()

    def load(self, documents: Mapping[tuple[str, str], Any]) -> None:
        pass

    def on_message(
        self, peer: str, adapter: str, interpretation: Interpretation, received: Received, now: datetime
    ) -> Sequence[Effect]:
        return ()

    def on_conflict(self, received: Received, interpretation: Interpretation, now: datetime) -> Sequence[Effect]:
        return ()

    def on_undeliverable(self, message_id: str, reason: str, now: datetime) -> Sequence[Effect]:
        return ()

    def on_dispatch_update(self, update: DispatchUpdate, now: datetime) -> Sequence[Effect]:
        return ()

    def on_signal(self, peer: str, adapter: str, signal: GridSignal, now: datetime) -> Sequence[Effect]:
        return ()

    def obeys(self, signal: GridSignal) -> bool:
        return False

    def on_telemetry(self, samples: Sequence[Telemetry]) -> None:
        pass

    async def start(self) -> None:
        pass

    async def stop(self) -> None:
        pass
