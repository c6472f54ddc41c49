"""Subscriptions: the adapter's own durable objects, which no other standard knows."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Any, TypeAlias

from adapters.openadr3.codec import Shape, decode, dumps, encode, loads
from adapters.openadr3.members import Version
from adapters.openadr3.model import Subscription
from adapters.openadr3.vtn.access import Viewer
from adapters.ports import Change, State

__all__ = ["Held", "Subscriptions", "Watcher"]

KIND = "subscription"
_TICK = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class Held:
    """A subscription with whose it is, and in which version's words. `broken` says why its callbacks are given up."""

    id: str
    viewer: Viewer
    version: Version
    value: Subscription
    created: datetime
    modified: datetime
    revision: int = 0
    broken: str = ""


Watcher: TypeAlias = Callable[[Held | None, Held | None], None]
"""Told of every change when it is durable: before and after, None where there is none."""


class Subscriptions:
    """Keeps them. `load` before use."""

    def __init__(self, state: State, now: Callable[[], datetime]) -> None:
        self._state = state
        self._now = now
        self._held: dict[str, Held] = {}
        self._watchers: list[Watcher] = []

    def load(self) -> None:
        """Take up what is durable."""
        held = [_read(id, document) for id, document in self._state.load(KIND).items()]
        self._held = {each.id: each for each in sorted(held, key=lambda h: (h.created, h.id))}

    @property
    def all(self) -> Mapping[str, Held]:
        """By id, oldest first: live."""
        return MappingProxyType(self._held)

    def get(self, id: str) -> Held | None:
        return self._held.get(id)

    def seen_by(self, viewer: Viewer) -> Iterator[Held]:
        """A client's own; all of them for BL."""
        return (h for h in self._held.values() if viewer.is_bl or (viewer.client and h.viewer.client == viewer.client))

    def watch(self, watcher: Watcher) -> None:
        self._watchers.append(watcher)

    async def create(self, viewer: Viewer, version: Version, value: Subscription) -> Held:
        """Durable when it returns, as the others are."""
        now = self._now()
        return await self._put(None, Held(str(uuid.uuid4()), viewer, version, value, now, now))

    async def replace(self, held: Held, version: Version, value: Subscription) -> Held:
        """With another content, and whole again if it was broken."""
        modified = max(self._now(), held.modified + _TICK)
        changed = replace(held, version=version, value=value, modified=modified, revision=held.revision + 1, broken="")
        return await self._put(held, changed)

    async def mark(self, held: Held, broken: str) -> Held:
        """Say why its callbacks are given up; its own content and times stay."""
        return await self._put(held, replace(held, broken=broken))

    async def remove(self, held: Held) -> None:
        await self._state.commit(Change(KIND, held.id, None))
        if self._held.pop(held.id, None) is not None:
            self._tell(held, None)

    async def _put(self, before: Held | None, after: Held) -> Held:
        await self._state.commit(Change(KIND, after.id, _document(after)))
        self._held[after.id] = after
        self._tell(before, after)
        return after

    def _tell(self, before: Held | None, after: Held | None) -> None:
        for watcher in self._watchers:
            watcher(before, after)


def _document(held: Held) -> dict[str, Any]:
    return {
        "client": held.viewer.client,
        "is_bl": held.viewer.is_bl,
        "version": str(held.version),
        "text": dumps(encode(held.value, held.version)).decode(),
        "created": held.created.isoformat(),
        "modified": held.modified.isoformat(),
        "revision": held.revision,
        "broken": held.broken,
    }


def _read(id: str, document: Mapping[str, Any]) -> Held:
    version = Version(document["version"])
    value = decode(Shape(Subscription, version), loads(document["text"].encode())).value
    assert value is not None, f"subscription {id} was checked when it was written"
    return Held(
        id,
        Viewer(document["client"], document["is_bl"]),
        version,
        value,
        datetime.fromisoformat(document["created"]),
        datetime.fromisoformat(document["modified"]),
        document["revision"],
        document["broken"],
    )
