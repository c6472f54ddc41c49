"""Server-sent events: one reader of the feed, any number of browsers.

A browser gets the whole state when it connects, so it may drop out and come back at any time. What waits for a slow
one is kept by subject and replaced by newer news of the same subject, so nothing grows and nothing stale is sent.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from datetime import datetime
from typing import Any

from aiohttp import web

from adapters.waiting import happens
from interop.store import StoreError
from interop.web.conversations import settlement_in
from interop.web.day import TOPICS, Day
from interop.web.views import Views

__all__ = ["Live"]

log = logging.getLogger(__name__)

_HINTS = frozenset({"message", "alarm", "dispatch", "resource", "peer", "programme"})
"""Topics whose content the browser fetches as a table: it is told only that there is news."""
_QUEUE = 4096
_SEARCHED = 500
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
        views: whose feed is followed.
        now: market time.
        most: how many browsers are served at a time; the next one is told to come back (503).
    """

    def __init__(self, views: Views, now: Callable[[], datetime], most: int = 64) -> None:
        self.day = Day()
        self.now = now
        self._views = views
        self._most = most
        self._browsers: set[_Browser] = set()
        self._ids = itertools.count(1)
        self._closing = False

    async def follow(self, app: web.Application) -> AsyncIterator[None]:
        """A clean-up context for `app.cleanup_ctx`."""
        feed = self._views.feed
        with feed.subscribe(_QUEUE) as subscription:
            for topic in TOPICS:
                self.day.apply(topic, feed.latest(topic))
            await self._look_for_settlement()
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
            subject = "resource" if topic.startswith("telemetry/") else topic
            if subject in _HINTS:
                self._tell(subject, {})
                if subject == "message" and "Settlement" in str(data):
                    await self._look_for_settlement()
            elif (shown := self.day.apply(topic, data)) is not None:
                self._tell(topic, shown)

    def _tell(self, topic: str, data: Any) -> None:
        for browser in self._browsers:
            browser.put(topic, data)

    async def _look_for_settlement(self) -> None:
        """The message that settles the day is known to the store, whether or not anybody publishes its rows."""
        try:
            messages = await self._views.messages(None, _SEARCHED)
        except StoreError as error:
            log.warning("cannot look for a settlement: %s", error)
            return
        found = settlement_in(messages, self.day.isp_hours)
        if found is not None and (shown := self.day.apply("settlement", found)) is not None:
            self._tell("settlement", shown)

    async def stream(self, request: web.Request) -> web.StreamResponse:
        """`GET /live`: a `snapshot`, then events named after their topics, and the `clock` at least every 15 s."""
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
            snapshot = self._event("snapshot", dict(self.day.snapshot()))
            await response.write(b"retry: %d\n\n" % _RETRY_MS + snapshot + self._clock())
            while not self._closing:
                if not await happens(browser.news, _HEARTBEAT_S):
                    await response.write(self._clock())
                    continue
                news = b"".join(self._event(topic, data) for topic, data in browser.take())
                await response.write(news + self._clock())
                await asyncio.sleep(_PACE_S)
        except ConnectionError:
            pass  # the browser went away, which is how every stream ends
        finally:
            self._browsers.discard(browser)
        return response

    def _clock(self) -> bytes:
        return self._event("clock", {"market_time": self.now().isoformat()})

    def _event(self, name: str, data: Any) -> bytes:
        body = json.dumps(data, separators=(",", ":"), default=str, allow_nan=False)
        return f"id: {next(self._ids)}\nevent: {name}\ndata: {body}\n\n".encode()
