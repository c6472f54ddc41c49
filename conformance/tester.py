"""What a case works with: steps, checks, cleanups, and a recorded connection to the device under test."""

from __future__ import annotations

import itertools
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from urllib.parse import urlsplit

import aiohttp

from conformance.case import Case, Level
from conformance.dut import Dut

__all__ = ["Answer", "Check", "Event", "Inconclusive", "Result", "Step", "Stopped", "Tester"]

_ANSWER_S = 5.0
_ALIVE_S = 3.0
_LONGEST_BODY = 8 * 1024 * 1024


class Result(StrEnum):
    OK = "ok"
    BAD = "bad"


class Stopped(Exception):
    """A required check was bad: the rest of the case makes no sense."""


class Inconclusive(Exception):
    """The state to be tested could not be reached."""


@dataclass(frozen=True, slots=True)
class Check:
    """One judgement; `events` numbers the exchanges it rests on."""

    id: str
    expected: str
    clause: str
    level: Level
    result: Result
    got: str
    hint: str
    events: tuple[int, ...]


@dataclass(slots=True)
class Step:
    title: str
    checks: list[Check] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Event:
    """Bytes on the wire: "tx" from us, "rx" from the device; `seconds` since the case began."""

    n: int
    seconds: float
    direction: str
    note: str
    raw: bytes


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back: status 0 where the device gave none, and `error` says why."""

    status: int
    content_type: str
    body: bytes
    error: str = ""

    def __str__(self) -> str:
        return f"HTTP {self.status}" if self.status else f"no answer: {self.error}"


class Tester:
    """One run of one case."""

    def __init__(self, case: Case, dut: Dut, session: aiohttp.ClientSession) -> None:
        self.case = case
        self.settings = dut.settings
        self.steps: list[Step] = []
        self.events: list[Event] = []
        self.cleanups: list[Callable[[], Awaitable[None]]] = []
        self._url = dut.url.rstrip("/")
        self._session = session
        self._began = time.perf_counter()
        self._numbers = itertools.count(1)
        self._preamble_numbers = itertools.count(1)
        self._in_preamble = False
        self._seen = 0

    @asynccontextmanager
    async def step(self, title: str, *, preamble: bool = False) -> AsyncIterator[None]:
        """A step of the case. A preamble leads to what is tested: a bad check in it makes it inconclusive."""
        self.steps.append(Step(title))
        self._in_preamble = preamble
        try:
            yield
        except Stopped:
            if not preamble:
                raise
        finally:
            self._in_preamble = False
        if preamble and (bad := [c for c in self.steps[-1].checks if c.result is Result.BAD]):
            raise Inconclusive(f"{title}: expected {bad[0].expected}, got {bad[0].got}")

    def check(
        self, ok: bool, expected: str, *, got: object = "", hint: str = "", clause: str = "", level: Level | None = None
    ) -> bool:
        """Judge one thing. Clause and level are the case's own unless given."""
        # Numbered apart, so that a longer preamble leaves the ids of what is judged as they are.
        number = f"p{next(self._preamble_numbers)}" if self._in_preamble else str(next(self._numbers))
        events = tuple(e.n for e in self.events[self._seen :])
        result = Result.OK if ok else Result.BAD
        clause = clause or self.case.clause
        shown = "" if ok else f"{got}"[:300]
        level = level or self.case.level
        id = f"{self.case.id}.{number}"
        self.steps[-1].checks.append(Check(id, expected, clause, level, result, shown, "" if ok else hint, events))
        return ok

    def require(self, ok: bool, expected: str, *, got: object = "", hint: str = "", clause: str = "") -> None:
        """A check without which the case cannot go on; raises `Stopped`."""
        if not self.check(ok, expected, got=got, hint=hint, clause=clause):
            raise Stopped

    def cleanup(self, action: Callable[[], Awaitable[None]]) -> None:
        """Have `action` done at the end, last in first out, however the case ends."""
        self.cleanups.append(action)

    def unique(self, prefix: str) -> str:
        """A name that no other case uses."""
        return f"{prefix}-{uuid.uuid4().hex[:12]}"

    async def post(self, path: str, body: bytes, content_type: str) -> Answer:
        """POST exactly these bytes; whatever happens is an answer, and is recorded."""
        self._seen = len(self.events)
        self._record("tx", f"POST {path or '/'} {content_type}", body)
        answer = await self._send(path, body, content_type)
        self._record("rx", str(answer), answer.body)
        return answer

    async def _send(self, path: str, body: bytes, content_type: str) -> Answer:
        timeout = aiohttp.ClientTimeout(total=_ANSWER_S)
        headers = {"Content-Type": content_type}
        try:
            async with self._session.post(self._url + path, data=body, headers=headers, timeout=timeout) as reply:
                content = bytearray()
                async for chunk in reply.content.iter_any():
                    content += chunk
                    if len(content) > _LONGEST_BODY:
                        return Answer(0, "", bytes(content), f"more than {_LONGEST_BODY} bytes")
                return Answer(reply.status, reply.content_type, bytes(content))
        except TimeoutError:
            return Answer(0, "", b"", f"nothing within {_ANSWER_S:g} s")
        except (aiohttp.ClientError, OSError) as error:
            return Answer(0, "", b"", f"{type(error).__name__}")

    async def alive(self) -> bool:
        """Whether the device answers HTTP at all."""
        parts = urlsplit(self._url)
        timeout = aiohttp.ClientTimeout(total=_ALIVE_S)
        try:
            async with self._session.get(f"{parts.scheme}://{parts.netloc}/", timeout=timeout):
                return True
        except (aiohttp.ClientError, OSError, TimeoutError):
            return False

    def _record(self, direction: str, note: str, raw: bytes) -> None:
        self.events.append(Event(len(self.events) + 1, time.perf_counter() - self._began, direction, note, raw))
