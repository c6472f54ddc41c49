"""A clock that stands still until told, a device made of registers, and recorders."""

from __future__ import annotations

import asyncio
import json
import struct
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from adapters.modbus.errors import DeviceException
from adapters.ports import Change
from datamodels import DispatchUpdate

DATA = Path(__file__).parents[2] / "data" / "modbus"


class FakeClock:
    """Market time by hand; the wall clock runs along."""

    rate = 1.0

    def __init__(self) -> None:
        self.time = datetime(2026, 5, 20, 12, tzinfo=UTC)

    def now(self) -> datetime:
        return self.time

    def to_wall(self, instant: datetime) -> datetime:
        return instant

    def from_wall(self, instant: datetime) -> datetime:
        return instant

    async def sleep_until(self, instant: datetime) -> None:
        while self.time < instant:
            await asyncio.sleep(0)

    def forward(self, seconds: float) -> None:
        self.time += timedelta(seconds=seconds)


class RegisterDevice:
    """Holding registers that log what is written and fail as scripted (`control.Link`).

    `script` holds one entry per write to come: None to obey, an exception to raise (a tuple (exception, True) obeys
    first), or "ignore" to acknowledge without doing.
    """

    def __init__(self, base: int, data: bytes) -> None:
        self.base = base
        self.words = list(struct.unpack(f">{len(data) // 2}H", data))
        self.writes: list[tuple[int, tuple[int, ...]]] = []
        self.script: list[Any] = []
        self.reads = 0
        self.failing_reads: list[Exception] = []

    async def read(self, address: int, count: int) -> bytes:
        self.reads += 1
        if self.failing_reads:
            raise self.failing_reads.pop(0)
        first = address - self.base
        if first < 0 or first + count > len(self.words):
            raise DeviceException(3, 2)
        return struct.pack(f">{count}H", *self.words[first : first + count])

    async def write(self, address: int, words: Sequence[int]) -> None:
        step = self.script.pop(0) if self.script else None
        self.writes.append((address, tuple(words)))
        obey, fault = (True, step[0]) if isinstance(step, tuple) else (step is None, step)
        if obey:
            self.words[address - self.base : address - self.base + len(words)] = words
        if isinstance(fault, Exception):
            raise fault


class MemoryState:
    """`ports.State` in memory."""

    def __init__(self) -> None:
        self.documents: dict[str, dict[str, Any]] = {}

    def load(self, kind: str) -> dict[str, dict[str, Any]]:
        return dict(self.documents.get(kind, {}))

    async def commit(self, *changes: Change) -> None:
        for change in changes:
            documents = self.documents.setdefault(change.kind, {})
            documents.pop(change.key, None)
            if change.value is not None:
                documents[change.key] = json.loads(json.dumps(change.value))


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def state() -> MemoryState:
    return MemoryState()


@pytest.fixture
def data() -> Path:
    return DATA


@pytest.fixture
def updates() -> list[DispatchUpdate]:
    return []


@pytest.fixture
def tell(updates: list[DispatchUpdate]) -> Callable[[DispatchUpdate], Awaitable[None]]:
    async def record(update: DispatchUpdate) -> None:
        updates.append(update)

    return record


@pytest.fixture
def register_device() -> type[RegisterDevice]:
    return RegisterDevice
