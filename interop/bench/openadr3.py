"""A VTN of OpenADR 3: events written durably, and read one by one and in lists by a VEN that sees few of them."""

from __future__ import annotations

import asyncio
import itertools
import json
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp

from adapters.openadr3.vtn.auth import hashed
from interop.bench.measure import Sample, cpu_s, quantile
from interop.bench.process import serve
from interop.bench.registry import bench
from interop.bench.report import CannotMeasure, Report, Row, Scale, Target

__all__ = ["openadr3"]

_CONNECTIONS = 16
_HOW = (
    "`gridparley serve` with its store on disk, plain HTTP on loopback, {connections} keep-alive connections, client "
    "and server on the same machine. Events have 24 intervals and one of {targets} targets; {events} are there before "
    "any is read. The VEN is granted some of the targets and lists 50 events a time. A write is durable before its "
    "answer. CPU is that of the serving process."
)


@dataclass(frozen=True, slots=True)
class _Api:
    session: aiohttp.ClientSession
    base: str
    pid: int

    async def ask(self, token: str, method: str, path: str, data: bytes | None = None) -> bytes:
        headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
        async with self.session.request(method, self.base + path, data=data, headers=headers) as reply:
            body = await reply.read()
        if reply.status not in (200, 201):
            raise CannotMeasure(f"{method} {path} answers {reply.status}: {body[:300]!r}")
        return body

    async def token(self, client: str) -> str:
        form = {"grant_type": "client_credentials", "client_id": client, "client_secret": client}
        async with self.session.post(f"{self.base}/auth/token", data=form) as reply:
            return str((await reply.json())["access_token"])

    async def many(self, token: str, count: int, request: Callable[[], tuple[str, str, bytes | None]]) -> Sample:
        """`count` requests, as many at a time as there are connections."""
        left, latencies = iter(range(count)), list[float]()

        async def one() -> None:
            for _ in left:
                began = time.perf_counter()
                await self.ask(token, *request())
                latencies.append(time.perf_counter() - began)

        cpu, wall = cpu_s(self.pid), time.perf_counter()
        async with asyncio.TaskGroup() as group:
            for _ in range(_CONNECTIONS):
                group.create_task(one())
        return Sample(count, time.perf_counter() - wall, cpu_s(self.pid) - cpu, tuple(latencies))


@bench("openadr3")
async def openadr3(scale: Scale) -> Report:
    """Events a second that a VTN writes, and reads and lists with privacy among 10,000 events with 1,000 targets."""
    events, targets, reads = scale.pick(10_000, 200), scale.pick(1_000, 50), scale.pick(2_000, 100)
    async with AsyncExitStack() as opened:
        folder = Path(opened.enter_context(tempfile.TemporaryDirectory(prefix="gridparley-bench-")))
        party = await opened.enter_async_context(serve(folder, _config()))
        connector = aiohttp.TCPConnector(limit=_CONNECTIONS)
        session = await opened.enter_async_context(aiohttp.ClientSession(connector=connector))
        api = _Api(session, f"{party.adapters['openadr3']}/3.1.0", party.pid)
        grid, ven = await api.token("grid"), await api.token("ven")
        program = json.loads(await api.ask(grid, "POST", "/programs", b'{"programName":"p"}'))["id"]
        granted = [f"t{n}" for n in range(0, targets, max(targets // 100, 1))]
        enrolled = {"objectType": "BL_VEN_REQUEST", "clientID": "ven", "venName": "ven", "targets": granted}
        await api.ask(grid, "POST", "/vens", json.dumps(enrolled).encode())
        bodies = _events(program, targets)
        written = await api.many(grid, events, lambda: ("POST", "/events", next(bodies)))
        shown = json.loads(await api.ask(ven, "GET", "/events?limit=50"))
        listed = await api.many(ven, reads, lambda: ("GET", "/events?limit=50", None))
        item = f"/events/{shown[0]['id']}"
        read = await api.many(ven, reads, lambda: ("GET", item, None))
    how = _HOW.format(connections=_CONNECTIONS, targets=targets, events=events)
    rows = (*_rows("POST event", written, 500), *_rows("GET list", listed, 1000), *_rows("GET event", read, 2500))
    return Report("openadr3", how, rows)


def _rows(name: str, taken: Sample, least: float) -> Iterator[Row]:
    yield Row(f"{name}, wall", "requests/s", taken.per_s, target=Target(">=", least, "ours"))
    yield Row(f"{name}, p50", "ms", quantile(taken.latencies_s, 50) * 1e3)
    yield Row(f"{name}, CPU", "µs/request", taken.cpu_each_s * 1e6)


def _events(program: str, targets: int) -> Iterator[bytes]:
    intervals = [{"id": n, "payloads": [{"type": "PRICE", "values": [n / 10]}]} for n in range(24)]
    period = {"start": "2030-01-01T00:00:00Z", "duration": "PT1H"}
    for n in itertools.count():
        event: dict[str, Any] = {"programID": program, "intervalPeriod": period, "intervals": intervals}
        yield json.dumps(event | {"targets": [f"t{n % targets}"]}).encode()


def _config() -> list[str]:
    lines = [
        *("[party]", 'domain = "dso.example.org"', 'role = "AGR"'),
        *("[adapters.openadr3.vtn]", 'listen = "127.0.0.1:0"', 'profile = "lab"', "insecure = true"),
    ]
    for client, role in (("grid", "bl"), ("ven", "ven")):
        lines += ["[[adapters.openadr3.vtn.clients]]", f'id = "{client}"', f'role = "{role}"']
        lines += [f'secret_hash = "{hashed(client)}"']
    return lines
