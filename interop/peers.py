"""The peer table: what operators said of counterparts, in the configuration or since, and what a directory says.

An operator's word counts; a directory fills in keys and an address where operators gave none.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from datetime import datetime, timedelta

from datamodels import Participant, ParticipantKey, ParticipantStatus, decode, encode
from interop.feed import Feed
from interop.store import Batch, Document, Event, StorePort

__all__ = ["FOUND", "PEER", "SPACE", "Peers"]

SPACE, PEER, FOUND = "hub", "peer", "found"


class Peers(Mapping[str, Participant]):
    """By domain (or venID); changes are durable when they return and seen by every adapter at once."""

    def __init__(
        self, configured: Iterable[Participant], store: StorePort, feed: Feed, now: Callable[[], datetime]
    ) -> None:
        self._said = {p.domain: p for p in configured}
        self._found: dict[str, Participant] = {}
        self._peers = dict(self._said)
        self._store = store
        self._feed = feed
        self._now = now

    async def load(self) -> None:
        for document in await self._store.documents(SPACE, PEER):
            self._said[document.key] = decode(document.value, Participant)
        for document in await self._store.documents(SPACE, FOUND):
            self._found[document.key] = decode(document.value, Participant)
        for domain in self._said | self._found:
            self._peers[domain] = self._known(domain)

    async def put(self, participant: Participant) -> None:
        """Add a peer, or replace what operators said of it."""
        await self._say(participant, "peer.added" if participant.domain not in self._said else "peer.changed")

    async def bar(self, domain: str) -> Participant:
        """Revoke a peer: it stays known, and everything it sends is refused (KeyError for an unknown one)."""
        await self._say(replace(self._peers[domain], status=ParticipantStatus.BARRED), "peer.barred")
        return self._peers[domain]

    async def rotate(self, domain: str, key: bytes, overlap: timedelta) -> Participant:
        """Trust a new key from now on, and the present ones until `overlap` has passed.

        Raises:
            KeyError: an unknown peer.
            ValueError: it has the key already, or operators listed no key that could be rotated.
        """
        if not self._peers[domain].keys:
            raise ValueError(f"{domain} has no key yet: gridparley peer add lists its first")
        said = self._said.get(domain)
        if said is None or not said.keys:
            raise ValueError(f"the keys of {domain} come from a directory, where it rotates them itself")
        now = self._now()
        present = [k for k in said.keys if k.is_valid(now)]
        if any(k.public_key == key for k in present):
            raise ValueError(f"{domain} has that key already")
        until = now + overlap
        ending = [replace(k, not_after=min(k.not_after or until, until)) for k in present]
        await self._say(replace(said, keys=(*ending, ParticipantKey(key, now))), "peer.rotated")
        return self._peers[domain]

    async def learn(self, found: Participant) -> Participant:
        """Take up what a directory says of a participant (see `adapters.ports.Ports`)."""
        domain, before = found.domain, self._found.get(found.domain)
        news = before is None or _facts(before) != _facts(found)
        events = (self._event("peer.discovered", found),) if news else ()
        await self._commit(Document(SPACE, FOUND, domain, encode(found)), events)
        self._found[domain] = found
        self._show(domain, "peer.discovered" if news else "")
        return self._peers[domain]

    # --- inside ----------------------------------------------------------------------------------------------------

    def _known(self, domain: str) -> Participant:
        said, found = self._said.get(domain), self._found.get(domain)
        if said is None:
            assert found is not None
            return found
        if found is None or found.role is not said.role:
            return said
        kept = said if said.endpoint else found
        return replace(
            said,
            keys=said.keys or found.keys,
            endpoint=kept.endpoint,
            endpoint_until=kept.endpoint_until,
            uftp_versions=found.uftp_versions,
        )

    async def _say(self, participant: Participant, what: str) -> None:
        domain = participant.domain
        document = Document(SPACE, PEER, domain, encode(participant))
        await self._commit(document, (self._event(what, participant),))
        self._said[domain] = participant
        self._show(domain, what)

    async def _commit(self, document: Document, events: tuple[Event, ...]) -> None:
        await self._store.commit(Batch(documents=(document,), events=events))

    def _event(self, what: str, participant: Participant) -> Event:
        """The log keeps every key that was ever trusted: what it opened can be verified again later."""
        keys = [base64.b64encode(key.public_key).decode("ascii") for key in participant.keys]
        return Event(what, self._now(), {"peer": participant.domain, "role": str(participant.role), "keys": keys})

    def _show(self, domain: str, what: str) -> None:
        self._peers[domain] = self._known(domain)
        if what:
            self._feed.publish("peer", {"peer": domain, "role": str(self._peers[domain].role), "event": what})

    def __getitem__(self, domain: str) -> Participant:
        return self._peers[domain]

    def __iter__(self) -> Iterator[str]:
        return iter(self._peers)

    def __len__(self) -> int:
        return len(self._peers)


def _facts(participant: Participant) -> object:
    """What is worth a line in the log when it changes; how long it holds is not."""
    keys = [key.public_key for key in participant.keys]
    return participant.role, keys, participant.endpoint, participant.uftp_versions
