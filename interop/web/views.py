"""What the pages need to know of the server, and no more."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any, Protocol, TypeAlias

from interop.feed import Feed

__all__ = ["Row", "Views"]

Row: TypeAlias = Mapping[str, Any]
"""A JSON-ready row; absent keys and None mean "not known". Times are ISO 8601 with an offset."""


class Views(Protocol):
    """Read-only. Lists are in the order in which they are shown."""

    @property
    def own(self) -> str:
        """The name under which this server takes part in conversations."""

    @property
    def role(self) -> str:
        """What this party is: AGR, DSO or CRO."""

    @property
    def timezone(self) -> str:
        """IANA name of the market's zone."""

    @property
    def needs_token(self) -> bool:
        """Whether whoever changes something has to show the API token."""

    @property
    def feed(self) -> Feed: ...

    async def programmes(self) -> Sequence[Row]:
        """Keys as `interop.programmes.rows.programme` has them."""

    async def programme_events(self) -> Sequence[Row]:
        """Those that are not over first, by start; then the latest. Keys as `rows.event` has them."""

    async def programme_event(self, id: str) -> Row | None:
        """One event; keys as `rows.event_whole` has them."""

    async def vens(self) -> Sequence[Row]:
        """Keys as `rows.ven` has them."""

    async def ven(self, id: str) -> Row | None:
        """One VEN; keys as `rows.ven_whole` has them."""

    async def messages(self, conversation: str | None, limit: int) -> Sequence[Row]:
        """The latest messages, oldest first; of one conversation, or of all.

        Keys: direction ("in", "out"), adapter, peer, kind, message_id, conversation_id, at, state, reason, accepted
        (None while unanswered), reasons, signature, message (canonical; an Acknowledgement answers `refers_to`).
        """

    async def places(self) -> Sequence[Row]:
        """Keys: period, congestion_point, prognoses, requests, offers, orders (counts), kwh, price, currency."""

    async def place(self, point: str, day: date) -> Row | None:
        """One congestion point on one day, None where nothing was said about it; keys as `board.place` has them."""

    async def settlements(self) -> Sequence[Row]:
        """Newest first; keys as `board.settlements` has them."""

    async def reference(self) -> Row:
        """Keys: day, points, aggregators, updates; points name connections only where they are our own to name."""

    async def dispatches(self) -> Sequence[Row]:
        """Keys: id, resource, kind, revision, status, value (the one that holds now), at, reason. Newest first."""

    async def resources(self) -> Sequence[Row]:
        """Keys: id, name, kind, adapter, power_kw, stored_kwh, soc (0..1), online, limit_kw."""

    async def peers(self) -> Sequence[Row]:
        """Keys: id, role, adapters, endpoint, status, last_seen, messages, warnings."""

    async def alarms(self, limit: int) -> Sequence[Row]:
        """Keys: rule, peer, message, at. Newest first."""

    async def events(self, limit: int) -> Sequence[Row]:
        """Keys: seq, at, kind, data (a mapping). Newest first."""
