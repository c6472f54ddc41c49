"""Simulator processes on loopback, and an adapter with recording ports."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from adapters.clock import Anchor, FileClock
from adapters.modbus import ModbusAdapter, build
from adapters.ports import Change, Ports
from datamodels import Binding, DispatchUpdate, MarketTerms, Quantity, Resource, ResourceKind, ResourceRole, Telemetry

ROOT = Path(__file__).parents[3]
BEGIN = datetime(2026, 5, 20, 10, tzinfo=UTC)
START = "2026-05-20T00:00:00+00:00"
RATE = 900.0
DEVICES: dict[str, dict[str, Any]] = {
    "pv": {"kind": "pv", "start": START, "w_max": 10000, "available_w": [8000.0] * 960},
    "battery": {
        "kind": "battery",
        "start": START,
        "capacity_wh": 100_000,
        "content_wh": 50_000,
        "charge_max_w": 5000,
        "discharge_max_w": 5000,
        "charge_efficiency": 0.95,
        "discharge_efficiency": 0.95,
    },
}


class Process:
    """One simulator process."""

    def __init__(self, process: asyncio.subprocess.Process, listening: dict[str, str]) -> None:
        self._process = process
        self.listening = listening

    def send(self, number: int) -> None:
        self._process.send_signal(number)

    async def end(self, how: int = signal.SIGTERM) -> int:
        if self._process.returncode is None:
            self._process.send_signal(signal.SIGCONT)
            self._process.send_signal(how)
        return await self._process.wait()


class Recorder:
    """`ports.Inbound`, `State` and `Trace` in memory."""

    def __init__(self) -> None:
        self.samples: list[Telemetry] = []
        self.updates: list[DispatchUpdate] = []
        self.frames = 0
        self.documents: dict[str, dict[str, Any]] = {}

    async def telemetry(self, samples: list[Telemetry]) -> None:
        self.samples += samples

    async def dispatch_update(self, update: DispatchUpdate) -> None:
        self.updates.append(update)

    def load(self, kind: str) -> dict[str, dict[str, Any]]:
        return dict(self.documents.get(kind, {}))

    async def commit(self, *changes: Change) -> None:
        for change in changes:
            documents = self.documents.setdefault(change.kind, {})
            documents.pop(change.key, None)
            if change.value is not None:
                documents[change.key] = json.loads(json.dumps(change.value))

    def __call__(self, *args: Any) -> None:
        self.frames += 1

    def last(self, resource: str, quantity: Quantity) -> float | None:
        return next((t.value for t in reversed(self.samples) if (t.resource, t.quantity) == (resource, quantity)), None)

    def news(self, dispatch: str) -> list[str]:
        return [u.status.value for u in self.updates if u.dispatch == dispatch]


@pytest.fixture
def clock_file(tmp_path: Path) -> Path:
    path = tmp_path / "clock.json"
    Anchor(time.time(), BEGIN, RATE).write(path)
    return path


@pytest.fixture
def clock(clock_file: Path) -> FileClock:
    return FileClock(clock_file)


@pytest.fixture
def recorder() -> Recorder:
    return Recorder()


@pytest.fixture
async def simulate(tmp_path: Path, clock_file: Path) -> AsyncIterator[Callable[..., Awaitable[Process]]]:
    """Start a simulator process for device descriptions; `kind` pulls in the defaults above."""
    started: list[Process] = []

    async def start(*devices: dict[str, Any]) -> Process:
        file = tmp_path / f"devices{len(started)}.json"
        file.write_text(json.dumps([{**DEVICES[d["kind"]], **d} for d in devices]), encoding="utf-8")
        command = [sys.executable, "-m", "adapters.modbus.simulator", "--devices", str(file)]
        command += ["--clock", str(clock_file), "--log", str(tmp_path / "log.jsonl")]
        process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE, cwd=ROOT)
        assert process.stdout is not None
        listening = {}
        for _ in devices:
            line = json.loads(await process.stdout.readline())
            listening[line["resource"]] = line["listening"]
        started.append(Process(process, listening))
        return started[-1]

    yield start
    for process in started:
        await process.end()


def resource(name: str, address: str, kind: str) -> Resource:
    if kind == "pv":
        return Resource(
            name, "c", ResourceKind.PV, ResourceRole.PRODUCER, -10000, 0, binding=Binding("modbus", address)
        )
    return Resource(
        name, "c", ResourceKind.BATTERY, ResourceRole.STORAGE, -5000, 5000, binding=Binding("modbus", address)
    )


@pytest.fixture
async def adapt(clock: FileClock, recorder: Recorder) -> AsyncIterator[Callable[..., Awaitable[ModbusAdapter]]]:
    """Start an adapter for {name: (address, kind)}."""
    started: list[ModbusAdapter] = []

    async def start(devices: dict[str, tuple[str, str]], **config: Any) -> ModbusAdapter:
        resources = {name: resource(name, address, kind) for name, (address, kind) in devices.items()}
        ports = Ports(recorder, recorder, clock, recorder, MarketTerms(), {}, resources)  # type: ignore[arg-type]
        quick = {"poll_s": 0.05, "timeout_s": 0.3, "reversion_s": 3600, "reconnect_max_s": 0.2, "verify_s": 0.3}
        adapter = build({**quick, **config}, ports)
        adapter.resources = resources  # type: ignore[attr-defined]
        await adapter.start()
        started.append(adapter)
        return adapter

    yield start
    for adapter in started:
        await adapter.stop()


@pytest.fixture
def eventually() -> Callable[..., Awaitable[float]]:
    """Wait until a condition holds; returns how long it took, fails after `within` s."""

    async def wait(condition: Callable[[], Any], within: float = 5.0) -> float:
        begin = time.monotonic()
        while not condition():
            assert time.monotonic() - begin < within, "it did not happen in time"
            await asyncio.sleep(0.02)
        return time.monotonic() - begin

    return wait
