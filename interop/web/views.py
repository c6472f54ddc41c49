"""What the pages need to know of the server, and no more."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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
    def feed(self) -> Feed: ...

    async def messages(self, conversation: str | None, limit: int) -> Sequence[Row]:
        """The latest messages, oldest first; of one conversation, or of all.

        Keys: direction ("in", "out"), adapter, peer, kind, message_id, conversation_id, at, state, reason, accepted
        (None while unanswered), reasons, signature, message (canonical; an Acknowledgement answers `refers_to`).
        """

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
