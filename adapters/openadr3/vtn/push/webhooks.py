"""Webhooks: every route is a place in the journal of edits, and walks along it by itself.

Nothing is written for each of many receivers: what all have had is one number (the mark), and only a route that is
behind it for trouble's sake has a document of its own. A kill repeats what was under way; the id in the header, which
is route and edit, lets a receiver drop it. In order per route; a route that fails is tried again, ever more slowly, and
after the last try counts as broken until its subscription is put anew.

Calls have two lanes. Whoever does not answer within a second leaves the quick one, so that receivers that accept and
never answer hold up only each other.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp

from adapters.openadr3.vtn.push.callback import Callbacks
from adapters.openadr3.vtn.push.config import WebhookConfig
from adapters.openadr3.vtn.push.routes import Route, headers
from adapters.ports import Change, Edit, Programmes, State

__all__ = ["AFTER_YOU_S", "Webhooks"]

_ROUTE, _DEAD, _MARK = "push.route", "push.dead", "push.mark"
"""Kinds of documents: a route with trouble, a notification given up, what all others have had."""
AFTER_YOU_S = 0.005
"""Whoever made an edit gets his answer before others hear of it."""
_QUICK_S = 1.0
_CONNECTIONS = 48
"""Calls under way in each lane."""
_FLUSH_S = 0.25
_STEEPER = 3.0
_GONE = 410
_AT_ONCE = 10

log = logging.getLogger(__name__)


@dataclass(slots=True, eq=False)
class _Line:
    """A route and how far it is: all edits up to `seq` are dealt with; `besides` are notifications that are not of the
    journal, `saved` is its document."""

    route: Route
    seq: int
    tries: int = 0
    broken: str = ""
    slow: bool = False
    task: asyncio.Task[None] | None = None
    besides: deque[tuple[str, bytes]] = field(default_factory=deque)
    saved: Mapping[str, Any] | None = None

    @property
    def document(self) -> Mapping[str, Any]:
        return {"seq": self.seq, "tries": self.tries, "broken": self.broken}


class Webhooks:
    """`body` says what a route is told of an edit (None: nothing), `alarm` is told (route, what happened)."""

    def __init__(
        self,
        config: WebhookConfig,
        callbacks: Callbacks,
        programmes: Programmes,
        state: State,
        body: Callable[[Route, Edit], bytes | None],
        alarm: Callable[[Route, str], None],
    ) -> None:
        self._config = config
        self._callbacks = callbacks
        self._programmes = programmes
        self._state = state
        self._body = body
        self._alarm = alarm
        self._key = Path(config.signing_key_file).read_bytes().strip() if config.signing_key_file else b""
        self._lines: dict[str, _Line] = {}
        self._gone: set[str] = set()
        self._mark = 0
        self._quick, self._slow = asyncio.Semaphore(_CONNECTIONS), asyncio.Semaphore(_CONNECTIONS)
        self._wake, self._flush = asyncio.Event(), asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []

    # --- life ---

    async def start(self, routes: Sequence[Route]) -> None:
        """Go on where the last run stopped."""
        self._mark = self._state.load(_MARK).get(_MARK, {}).get("seq", 0)
        saved = self._state.load(_ROUTE)
        for route in routes:
            own = saved.pop(route.id, None)
            line = _Line(route, self._mark)
            if own is not None:
                line = _Line(route, own["seq"], own["tries"], own["broken"], slow=own["tries"] > 0, saved=own)
            self._lines[route.id] = line
        self._gone = set(saved)
        self._programmes.watch(self._edited)
        self._tasks = [asyncio.create_task(self._walk()), asyncio.create_task(self._keep())]
        self._wake.set()

    async def stop(self) -> None:
        """Let go of what is under way; it is tried again by the next run."""
        running = [*self._tasks, *(line.task for line in self._lines.values() if line.task is not None)]
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
        self._tasks = []
        await self._save()

    # --- subscriptions ---

    def put(self, subscription: str, routes: Sequence[Route]) -> None:
        """A subscription's routes from now on (none: it was deleted). A callback that stays keeps its place; one that
        was broken begins anew."""
        kept: dict[str, _Line] = {}
        for id in [id for id in self._lines if id.rpartition("/")[0] == subscription]:
            line = self._lines.pop(id)
            if line.task is not None:
                line.task.cancel()
            if line.saved is not None:
                self._gone.add(id)
            kept[line.route.url] = line
        for route in routes:
            old = kept.get(route.url)
            if old is None or old.broken:
                self._lines[route.id] = _Line(route, self._programmes.last)
            else:
                self._lines[route.id] = _Line(route, old.seq, saved=None if old.saved is None else {})
        self._wake.set()
        self._flush.set()

    def tell(self, id: str, body: Callable[[Route], bytes | None]) -> None:
        """Notify routes of something that is not in the journal, and that a kill therefore forgets."""
        for line in self._lines.values():
            if not line.broken and (told := body(line.route)) is not None:
                line.besides.append((id, told))
        self._wake.set()

    @property
    def behind(self) -> int:
        """How many routes have, or may have, something before them."""
        last = self._programmes.last
        return sum(line.task is not None or line.seq != last for line in self._lines.values() if not line.broken)

    @property
    def troubled(self) -> Mapping[str, str]:
        """Routes that fail, and how."""
        lines = self._lines.items()
        return {id: line.broken or f"{line.tries} tries failed" for id, line in lines if line.broken or line.tries}

    # --- walking ---

    def _edited(self, edits: Sequence[Edit]) -> None:
        self._wake.set()

    async def _walk(self) -> None:
        while True:
            await self._wake.wait()
            await asyncio.sleep(AFTER_YOU_S)
            self._wake.clear()
            for n, line in enumerate(list(self._lines.values()), 1):
                is_idle = line.task is None and not line.broken and self._lines.get(line.route.id) is line
                if is_idle and (line.besides or self._programmes.last != line.seq):
                    line.task = asyncio.create_task(self._drain(line))
                if n % _AT_ONCE == 0:
                    await asyncio.sleep(0)
            self._flush.set()

    def _next(self, line: _Line) -> tuple[str, bytes, int] | None:
        """What the route is told next: id, body, and how far the route is then."""
        if line.besides:
            id, body = line.besides.popleft()
            return id, body, line.seq
        edits = self._programmes.since(line.seq)
        if edits is None:
            self._break(line, f"{self._programmes.last - line.seq} edits lie behind, more than are kept")
            return None
        for edit in edits:
            told = self._body(line.route, edit)
            if told is not None:
                return str(edit.seq), told, edit.seq
            line.seq = edit.seq
        return None

    async def _drain(self, line: _Line) -> None:
        try:
            while (found := self._next(line)) is not None:
                id, body, seq = found
                if not await self._deliver(line, f"{line.route.id}/{id}", body):
                    return
                line.seq = seq
        except Exception:  # a bug with one object must not end a route unseen: people and its owner learn of it
            log.exception("openadr3: notifying %s failed", line.route.id)
            self._break(line, "failed, see the log")
        finally:
            line.task = None
            self._flush.set()

    async def _deliver(self, line: _Line, id: str, body: bytes) -> bool:
        """Whether it was delivered; otherwise the route is broken now."""
        while trouble := await self._try(line, id, body):
            line.tries += 1
            self._flush.set()
            log.info("openadr3: notification %s, try %d: %s", id, line.tries, trouble)
            if line.tries >= self._config.tries or trouble == str(_GONE):
                dead = {"id": id, "url": line.route.url, "reason": trouble, "body": body.decode()}
                await self._state.commit(Change(_DEAD, line.route.id, dead))
                self._break(line, f"given up after {line.tries} tries: {trouble}")
                return False
            pause = self._config.first_pause_s * _STEEPER ** (line.tries - 1)
            await asyncio.sleep(pause * (1 + random.random() / 4))  # noqa: S311 - spreads load only
        line.tries = 0
        return True

    def _break(self, line: _Line, reason: str) -> None:
        line.broken = reason
        log.warning("openadr3: subscription %s is broken: %s", line.route.id, reason)
        self._alarm(line.route, reason)

    # --- calling ---

    async def _try(self, line: _Line, id: str, body: bytes) -> str:
        """What went wrong, empty if nothing did."""
        if not line.slow:
            async with self._quick:
                call = asyncio.create_task(self._call(line.route, id, body))
                try:
                    await asyncio.wait({call}, timeout=_QUICK_S)
                except asyncio.CancelledError:
                    call.cancel()
                    await asyncio.gather(call, return_exceptions=True)
                    raise
            if call.done():
                return call.result()
            line.slow = True
            if not self._slow.locked():
                async with self._slow:
                    return await call
            call.cancel()  # it is made again when there is a place
            await asyncio.gather(call, return_exceptions=True)
        async with self._slow:
            began = time.monotonic()
            trouble = await self._call(line.route, id, body)
            line.slow = bool(trouble) or time.monotonic() - began > _QUICK_S
            return trouble

    async def _call(self, route: Route, id: str, body: bytes) -> str:
        try:
            status = await self._callbacks.post(
                route.url, body, headers(id, body, route.bearer, self._key, int(time.time()))
            )
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            return str(error) or type(error).__name__
        return "" if 200 <= status < 300 else str(status)

    # --- keeping ---

    async def _keep(self) -> None:
        while True:
            await self._flush.wait()
            self._flush.clear()
            await self._save()
            await asyncio.sleep(_FLUSH_S)

    async def _save(self) -> None:
        """Write down where the routes are: most of them in one number."""
        changes = [Change(kind, id, None) for id in self._gone for kind in (_ROUTE, _DEAD)]
        self._gone = set()
        well = [line for line in self._lines.values() if not (line.broken or line.tries or line.saved is not None)]
        mark = min((line.seq for line in well), default=self._programmes.last)
        for line in self._lines.values():
            if line.broken or line.tries or (line.saved is not None and line.seq < mark):
                if line.document != line.saved:
                    line.saved = line.document
                    changes.append(Change(_ROUTE, line.route.id, line.saved))
            elif line.saved is not None:
                line.saved = None
                changes.append(Change(_ROUTE, line.route.id, None))
        if mark != self._mark:
            self._mark = mark
            changes.append(Change(_MARK, _MARK, {"seq": mark}))
        if changes:
            await self._state.commit(*changes)
