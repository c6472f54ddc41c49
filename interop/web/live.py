"""Server-sent events: one reader of the feed, any number of browsers.

A browser gets the whole state when it connects, so it may drop out and come back at any time. What waits for a slow
one is kept by subject and replaced by newer news of the same subject, so nothing grows and nothing stale is sent.
"""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any

from aiohttp import web

from interop.feed import Feed
from interop.web.day import TOPICS, Day

__all__ = ["Live"]

_HINTS = frozenset({"message", "alarm", "dispatch", "resource", "peer"})
"""Topics whose content the browser fetches as a table: it is told only that there is news."""
_QUEUE = 4096
_HEARTBEAT_S = 15.0
_PACE_S = 0.1
_RETRY_MS = 1000


class _Browser:
    """What one browser has yet to be sent, by subject."""

    def __init__(self) -> None:
        self.pending: dict[str, tuple[str, Any]] = {}
        self.news = asyncio.Event()

    def put(self, topic: str, data: Any) -> None:
        subject = f"{topic} {data.get('isp')}" if topic == "actual" else topic
        self.pending.pop(subject, None)
        self.pending[subject] = (topic, data)
        self.news.set()

    def take(self) -> list[tuple[str, Any]]:
        items = list(self.pending.values())
        self.pending.clear()
        self.news.clear()
        return items


class Live:
    """Follows a feed for the life of an application and serves `/live`.

    Args:
        feed: what is followed.
        most: how many browsers are served at a time; the next one is told to come back (503).
    """

    def __init__(self, feed: Feed, most: int = 64) -> None:
        self.day = Day()
        self._feed = feed
        self._most = most
        self._browsers: set[_Browser] = set()
        self._ids = itertools.count(1)
        self._closing = False

    async def follow(self, app: web.Application) -> AsyncIterator[None]:
        """A clean-up context for `app.cleanup_ctx`."""
        with self._feed.subscribe(_QUEUE) as subscription:
            for topic in TOPICS:
                self.day.apply(topic, self._feed.latest(topic))
            task = asyncio.create_task(self._pump(subscription), name="web-live")
            yield
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

    async def close(self, app: web.Application) -> None:
        """End all streams, so that a server that stops need not wait for browsers to leave."""
        self._closing = True
        for browser in self._browsers:
            browser.news.set()

    async def _pump(self, subscription: AsyncIterator[tuple[str, Any]]) -> None:
        async for topic, data in subscription:
            hint = "resource" if topic.startswith("telemetry/") else topic
            shown = {} if hint in _HINTS else self.day.apply(topic, data)
            if shown is not None:
                for browser in self._browsers:
                    browser.put(hint, shown)

    async def stream(self, request: web.Request) -> web.StreamResponse:
        """`GET /live`: a `snapshot`, then events named after their topics; `ping` when there is no other news."""
        if len(self._browsers) >= self._most or self._closing:
            raise web.HTTPServiceUnavailable(
                text="too many live pages are open; close one", headers={"Retry-After": "5"}
            )
        response = web.StreamResponse(
            headers={
                "Content-Type": "text/event-stream",
                "Cache-Control": "no-store",
                "X-Accel-Buffering": "no",
            }
        )
        browser = _Browser()
        self._browsers.add(browser)
        try:
            await response.prepare(request)
            await response.write(b"retry: %d\n\n" % _RETRY_MS + self._event("snapshot", dict(self.day.snapshot())))
            while not self._closing:
                try:
                    await asyncio.wait_for(browser.news.wait(), _HEARTBEAT_S)
                except TimeoutError:
                    await response.write(self._event("ping", {}))
                    continue
                await response.write(b"".join(self._event(topic, data) for topic, data in browser.take()))
                await asyncio.sleep(_PACE_S)
        except ConnectionError:
            pass  # the browser went away, which is how every stream ends
        finally:
            self._browsers.discard(browser)
        return response

    def _event(self, name: str, data: Any) -> bytes:
        body = json.dumps(data, separators=(",", ":"), default=str, allow_nan=False)
        return f"id: {next(self._ids)}\nevent: {name}\ndata: {body}\n\n".encode()
