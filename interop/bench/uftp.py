"""Signed FlexRequests over HTTP: received, made durable, judged and answered."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import tempfile
import time
import uuid
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

from aiohttp import web

from adapters.uftp import SigningKey, public_key_string
from adapters.uftp.codec import encode
from adapters.uftp.envelope import seal
from adapters.uftp.mapping import to_wire
from datamodels import (
    CongestionPoint,
    Disposition,
    FlexRequest,
    Head,
    MarketCalendar,
    MarketTerms,
    RequestIsp,
    Role,
)
from interop.bench.measure import Contestant, Sample, cpu_s, in_turn, post_all, quantile
from interop.bench.process import process, serve
from interop.bench.registry import bench
from interop.bench.report import CannotMeasure, Report, Row, Scale, Target

__all__ = ["uftp"]

_PYTHON = "GRIDPARLEY_SHAPESHIFTER_PYTHON"
_PEER = "shapeshifter-uftp"
_SCRIPT = Path(__file__).with_name("shapeshifter_peer.py")
_AGR, _DSO, _POINT = "agr.example.org", "dso.example.org", "ea1.2020-01.org.example:bench"
_CONNECTIONS = 8
_ANSWERS_S = 60.0
_HOW = (
    "FlexRequests of 96 quarter-hours (UFTP 3.1.0, signed beforehand) posted over {connections} keep-alive connections "
    "to `gridparley serve` as AGR, in a process of its own on loopback, with its store on disk; {count} messages in "
    "{rounds} turns. 200 leaves only when the message is durable; after it the server checks it against every rule and "
    "delivers a signed FlexRequestResponse. CPU is all of that, counted until the last response has arrived; messages/s "
    "and latency are those of the 200. The load comes from another process on the same machine, and so does the sink "
    "of the responses: wall figures suffer where cores are few. Peer: {peer}"
)
_WITH_PEER = (
    "shapeshifter-uftp's AGR service (FastAPI, uvicorn) under the interpreter that " + _PYTHON + " names, sent the same "
    "kind of messages and answering each with a FlexRequestResponse; it keeps messages in memory and checks the schema, "
    "but few of the rules."
)
_WITHOUT_PEER = (
    "none, because " + _PYTHON + " is not set (name the python of a virtual environment that holds "
    "shapeshifter-uftp==2.4.0 and fastapi<0.140)."
)


@bench("uftp")
async def uftp(scale: Scale) -> Report:
    """Signed FlexRequests a second into a durable store, CPU per message, and latency at 8 connections."""
    rounds, count = scale.pick(4, 1), scale.pick(500, 40)
    keys = {domain: SigningKey.from_seed(os.urandom(32)) for domain in (_AGR, _DSO)}
    contestants: dict[str, Contestant] = {}
    async with AsyncExitStack() as opened:
        folder = Path(opened.enter_context(tempfile.TemporaryDirectory(prefix="gridparley-bench-")))
        sink = await opened.enter_async_context(_sink())
        ours = await opened.enter_async_context(serve(folder, _config(folder, keys, sink.url)))
        contestants["ours"] = _contestant(ours.adapters["uftp"], ours.pid, keys[_DSO], sink, count)
        if python := os.environ.get(_PYTHON):
            setup = _peer_setup(keys, sink.url)
            peer = await opened.enter_async_context(
                process(python, str(_SCRIPT), json.dumps(setup), errors=folder / "peer.log")
            )
            url = f"http://127.0.0.1:{peer.ready['port']}/shapeshifter/api/v3/message"
            contestants["peer"] = _contestant(url, peer.pid, keys[_DSO], sink, count)
        taken = await in_turn(contestants, rounds)
    text = _WITH_PEER if "peer" in taken else _WITHOUT_PEER
    how = _HOW.format(connections=_CONNECTIONS, count=count * rounds, rounds=rounds, peer=text)
    return Report("uftp", how, _rows(taken["ours"], taken.get("peer")))


def _rows(ours: Sample, peer: Sample | None) -> tuple[Row, ...]:
    name = _PEER if peer else None

    def row(case: str, unit: str, figure: str, target: Target | None = None) -> Row:
        return Row(case, unit, _figure(ours, figure), _figure(peer, figure) if peer else None, name, target)

    return (
        row("accepted, wall", "messages/s", "rate"),
        row("accepted, judged and answered, CPU", "ms/message", "cpu", Target("<=", 2.0)),
        row("latency of the 200, median", "ms", "p50"),
        row("latency of the 200, 99th percentile", "ms", "p99", Target("<=", 50.0)),
    )


def _figure(sample: Sample, name: str) -> float:
    if name in ("p50", "p99"):
        return quantile(sample.latencies_s, int(name[1:])) * 1e3
    return sample.per_s if name == "rate" else sample.cpu_each_s * 1e3


def _contestant(url: str, pid: int, key: SigningKey, sink: _Sink, count: int) -> Contestant:
    async def contestant() -> Sample:
        bodies = [_message(key) for _ in range(count)]
        answered, cpu, wall = sink.received, cpu_s(pid), time.perf_counter()
        latencies = await post_all(url, bodies, _CONNECTIONS, "text/xml")
        took = time.perf_counter() - wall
        await sink.until(answered + count)
        return Sample(count, took, cpu_s(pid) - cpu, latencies)

    return contestant


def _message(key: SigningKey) -> bytes:
    """A signed FlexRequest for a day next week, all of its ISPs with limits of their own."""
    calendar, now = MarketCalendar("Europe/Amsterdam"), datetime.now(UTC)
    period = (now + timedelta(days=7)).date()
    isps = [
        RequestIsp(n, 1, Disposition.REQUESTED, -1000 * n, 0)
        if 70 <= n <= 76
        else RequestIsp(n, 1, Disposition.AVAILABLE, 0, 500 * n)
        for n in range(1, calendar.isps(period) + 1)
    ]
    head = Head(_DSO, _AGR, str(uuid.uuid4()), str(uuid.uuid4()), now)
    request = FlexRequest(head, _POINT, calendar, period, 1, now + timedelta(days=1), tuple(isps))
    point = CongestionPoint(_POINT, _DSO, now.date() - timedelta(days=1))
    element, _ = to_wire(request, "3.1.0", MarketTerms(calendar, (point,)))
    return seal(encode(element), _DSO, Role.DSO, key)


class _Sink:
    """Where responses are delivered to: takes and counts them."""

    def __init__(self) -> None:
        self.url = ""
        self.received = 0
        self._news = asyncio.Event()

    async def handle(self, request: web.Request) -> web.Response:
        await request.read()
        self.received += 1
        self._news.set()
        return web.Response()

    async def until(self, count: int) -> None:
        """Wait until that many have come.

        Raises:
            CannotMeasure: they do not come.
        """
        try:
            async with asyncio.timeout(_ANSWERS_S):
                while self.received < count:
                    self._news.clear()
                    await self._news.wait()
        except TimeoutError:
            raise CannotMeasure(f"{count - self.received} messages are without response") from None


@asynccontextmanager
async def _sink() -> AsyncIterator[_Sink]:
    sink, app = _Sink(), web.Application()
    app.router.add_post("/{path:.*}", sink.handle)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        sink.url = f"http://127.0.0.1:{runner.addresses[0][1]}/shapeshifter/api/v3/message"
        yield sink
    finally:
        await runner.cleanup()


def _config(folder: Path, keys: dict[str, SigningKey], sink: str) -> Sequence[str]:
    key_file = folder / "signing.key"
    key_file.write_bytes(base64.b64encode(keys[_AGR].secret))
    key_file.chmod(0o600)
    return [
        *("[party]", f'domain = "{_AGR}"', 'role = "AGR"'),
        *("[[market.congestion_points]]", f'address = "{_POINT}"', f'dso = "{_DSO}"'),
        *("[adapters.uftp]", f'domain = "{_AGR}"', 'role = "AGR"', 'listen = "127.0.0.1:0"'),
        *('signing_key_file = "signing.key"', "rate_limit_per_s = 0"),
        *("[[peers]]", f'domain = "{_DSO}"', 'role = "DSO"', f'endpoint = "{sink}"'),
        f'keys = ["{public_key_string(keys[_DSO].public)}"]',
    ]


def _peer_setup(keys: dict[str, SigningKey], sink: str) -> dict[str, str]:
    return {
        "domain": _AGR,
        "secret": base64.b64encode(keys[_AGR].secret).decode(),
        "key": base64.b64encode(keys[_DSO].public).decode(),
        "endpoint": sink,
    }
