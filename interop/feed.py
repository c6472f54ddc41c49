"""What happens right now, for whoever watches: in memory, lossy for the slow, never durable (the event log is)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

__all__ = ["Feed", "Subscription"]


class Subscription(AsyncIterator[tuple[str, Any]]):
    """Items published since the subscription began; a reader too slow for its queue loses the oldest."""

    def __init__(self, feed: Feed, size: int) -> None:
        self._feed = feed
        self._queue: asyncio.Queue[tuple[str, Any]] = asyncio.Queue(size)
        self.lost = 0

    def put(self, item: tuple[str, Any]) -> None:
        if self._queue.full():
            self._queue.get_nowait()
            self.lost += 1
        self._queue.put_nowait(item)

    async def __anext__(self) -> tuple[str, Any]:
        return await self._queue.get()

    def close(self) -> None:
        self._feed.leave(self)

    def __enter__(self) -> Subscription:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


class Feed:
    """Topics with a latest value and any number of subscribers. Use from the event loop only."""

    def __init__(self) -> None:
        self._latest: dict[str, Any] = {}
        self._subscribers: set[Subscription] = set()

    def publish(self, topic: str, data: Any) -> None:
        """Hand JSON-ready `data` to every subscriber and keep it as the topic's latest."""
        self._latest[topic] = data
        for subscriber in self._subscribers:
            subscriber.put((topic, data))

    def latest(self, topic: str) -> Any:
        """The last item of a topic, or None."""
        return self._latest.get(topic)

    def topics(self) -> list[str]:
        return sorted(self._latest)

    def subscribe(self, size: int = 256) -> Subscription:
        """An async iterator of (topic, data); close it, or use it as a context manager."""
        subscription = Subscription(self, size)
        self._subscribers.add(subscription)
        return subscription

    def leave(self, subscription: Subscription) -> None:
        self._subscribers.discard(subscription)
