"""MQTT notifications: one walk along the journal of edits, which a restart takes up where it was.

An edit is done with when the broker has taken all that it means. While the broker is away it is tried again for ever:
nothing is lost as long as the journal reaches back.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Sequence
from typing import Protocol

from adapters.openadr3.vtn.push.webhooks import AFTER_YOU_S
from adapters.ports import Change, Edit, Programmes, State

__all__ = ["MqttFeed", "Publisher"]

KIND, KEY = "push.mqtt", "mark"
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 1.0, 60.0
_FLUSH_S = 0.25
_AT_ONCE = 20

log = logging.getLogger(__name__)


class Publisher(Protocol):
    """A broker; `port` is where an embedded one listens, else 0."""

    @property
    def port(self) -> int: ...

    async def start(self) -> None: ...

    async def stop(self) -> None: ...

    async def publish(self, messages: Sequence[tuple[str, bytes]]) -> None:
        """Hand messages (topic, body) over (OSError: not all of them; do it again)."""


class MqttFeed:
    """`messages` says what an edit means to whom."""

    def __init__(
        self,
        publisher: Publisher,
        programmes: Programmes,
        state: State,
        messages: Callable[[Edit], Iterable[tuple[str, bytes]]],
    ) -> None:
        self.publisher = publisher
        self.trouble = ""
        self._programmes = programmes
        self._state = state
        self._messages = messages
        self._seq = 0
        self._saved = -1
        self._wake = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Raises OSError or ssl.SSLError where the embedded broker cannot listen as configured."""
        await self.publisher.start()
        self._seq = self._state.load(KIND).get(KEY, {}).get("seq", self._programmes.last)
        self._programmes.watch(lambda edits: self._wake.set())
        self._wake.set()
        self._tasks = [asyncio.create_task(self._walk()), asyncio.create_task(self._keep())]

    async def stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks = []
        await self._save()
        await self.publisher.stop()

    async def say(self, messages: Sequence[tuple[str, bytes]]) -> None:
        """Publish what is not in the journal, once."""
        try:
            await self.publisher.publish(messages)
        except OSError as error:
            log.warning("openadr3: MQTT: %s", error)

    async def _walk(self) -> None:
        while True:
            await self._wake.wait()
            await asyncio.sleep(AFTER_YOU_S)
            self._wake.clear()
            edits = self._programmes.since(self._seq)
            if edits is None:
                log.error("openadr3: MQTT: edits up to %d lie behind the journal, and are not told", self._seq)
                self._seq = self._programmes.last
            for edit in edits or ():
                await self._publish(edit)
                self._seq = edit.seq

    async def _publish(self, edit: Edit) -> None:
        try:
            messages = []
            for message in self._messages(edit):
                messages.append(message)
                if len(messages) % _AT_ONCE == 0:
                    await asyncio.sleep(0)
        except Exception:  # a bug with one object must not end the feed
            log.exception("openadr3: MQTT: edit %d cannot be told", edit.seq)
            return
        pause = _FIRST_PAUSE_S
        while True:
            try:
                await self.publisher.publish(messages)
            except OSError as error:
                if str(error) != self.trouble:
                    log.warning("openadr3: MQTT: %s", error)
                self.trouble = str(error)
                await asyncio.sleep(pause)
                pause = min(2 * pause, _LONGEST_PAUSE_S)
            else:
                self.trouble = ""
                return

    async def _keep(self) -> None:
        while True:
            await asyncio.sleep(_FLUSH_S)
            await self._save()

    async def _save(self) -> None:
        if self._seq != self._saved:
            self._saved = self._seq
            await self._state.commit(Change(KIND, KEY, {"seq": self._saved}))
