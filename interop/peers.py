"""The peer table: configured counterparts, overridden by those that were added or barred while the server ran."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from datetime import datetime

from datamodels import Participant, ParticipantStatus, decode, encode
from interop.feed import Feed
from interop.store import Batch, Document, Event, StorePort

__all__ = ["PEER", "SPACE", "Peers"]

SPACE, PEER = "hub", "peer"


class Peers(Mapping[str, Participant]):
    """By domain (or venID); changes are durable when they return and seen by every adapter at once."""

    def __init__(
        self, configured: Iterable[Participant], store: StorePort, feed: Feed, now: Callable[[], datetime]
    ) -> None:
        self._peers = {p.domain: p for p in configured}
        self._store = store
        self._feed = feed
        self._now = now

    async def load(self) -> None:
        for document in await self._store.documents(SPACE, PEER):
            self._peers[document.key] = decode(document.value, Participant)

    async def put(self, participant: Participant) -> None:
        """Add a peer, or replace what is known of it."""
        await self._write(participant, "peer.added" if participant.domain not in self._peers else "peer.changed")

    async def bar(self, domain: str) -> Participant:
        """Revoke a peer: it stays known, and everything it sends is refused (KeyError for an unknown one)."""
        barred = replace(self._peers[domain], status=ParticipantStatus.BARRED)
        await self._write(barred, "peer.barred")
        return barred

    async def _write(self, participant: Participant, what: str) -> None:
        domain = participant.domain
        event = Event(what, self._now(), {"peer": domain, "role": str(participant.role)})
        await self._store.commit(
            Batch(documents=(Document(SPACE, PEER, domain, encode(participant)),), events=(event,))
        )
        self._peers[domain] = participant
        self._feed.publish("peer", {"peer": domain, "role": str(participant.role), "event": what})

    def __getitem__(self, domain: str) -> Participant:
        return self._peers[domain]

    def __iter__(self) -> Iterator[str]:
        return iter(self._peers)

    def __len__(self) -> int:
        return len(self._peers)
