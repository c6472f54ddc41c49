"""Signed FlexRequests over HTTP: received, made durable, checked and recorded."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import random
import re
import tempfile
import time
import uuid
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import aiohttp

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
from interop.bench.process import Process, process, serve
from interop.bench.registry import bench
from interop.bench.report import CannotMeasure, Report, Row, Scale, Target

__all__ = ["uftp"]

Count = Callable[[], Awaitable[int]]

_PYTHON = "GRIDPARLEY_SHAPESHIFTER_PYTHON"
_PEER = "shapeshifter-uftp"
_SCRIPT = Path(__file__).with_name("shapeshifter_peer.py")
_AGR, _DSO, _POINT = "agr.example.org", "dso.example.org", "ea1.2020-01.org.example:bench"
_CONNECTIONS = 8
_DONE_S, _LOOK_S = 60.0, 0.1
_HOW = (
    "FlexRequests of 96 quarter-hours (UFTP 3.1.0, signed beforehand) posted over {connections} keep-alive "
    "connections to `gridparley serve` as AGR, in a process of its own on loopback, with its store on disk; "
    "{count} messages in {rounds} turns. 200 leaves only when the message is durable; after it the server checks "
    'it against every rule and records it. Nobody decides (desk "none"), so nothing is answered. CPU is all of '
    "that, counted until the last message is recorded; messages/s and latency are those of the 200. The load "
    "comes from another process on the same machine: wall figures suffer where cores are few. Peer: {peer}"
)
_WITH_PEER = (
    "shapeshifter-uftp's AGR service (FastAPI, uvicorn) under the interpreter that "
    + _PYTHON
    + " names, sent the same "
    "kind of messages; it keeps them in memory, checks the schema but few of the rules, and its handler only counts."
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
        ours = await opened.enter_async_context(serve(folder, _config(folder, keys)))
        recorded = partial(_recorded, f"{ours.http}/metrics")
        contestants["ours"] = _contestant(ours.adapters["uftp"], ours.pid, keys[_DSO], recorded, count)
        if python := os.environ.get(_PYTHON):
            setup = _peer_setup(keys)
            peer = await opened.enter_async_context(
                process(python, str(_SCRIPT), json.dumps(setup), errors=folder / "peer.log")
            )
            url = f"http://127.0.0.1:{peer.ready['port']}/shapeshifter/api/v3/message"
            contestants["peer"] = _contestant(url, peer.pid, keys[_DSO], partial(_counted, peer), count)
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
        row("accepted, checked and recorded, CPU", "ms/message", "cpu", Target("<=", 2.0)),
        row("latency of the 200, median", "ms", "p50"),
        row("latency of the 200, 99th percentile", "ms", "p99", Target("<=", 50.0)),
    )


def _figure(sample: Sample, name: str) -> float:
    if name in ("p50", "p99"):
        return quantile(sample.latencies_s, int(name[1:])) * 1e3
    return sample.per_s if name == "rate" else sample.cpu_each_s * 1e3


def _contestant(url: str, pid: int, key: SigningKey, done: Count, count: int) -> Contestant:
    async def contestant() -> Sample:
        bodies = [_message(key) for _ in range(count)]
        # Alone and first: what a process does once is not measured, and the peer fails when that meets other threads.
        await post_all(url, [_message(key)], 1, "text/xml")
        before = await done()
        cpu, wall = cpu_s(pid), time.perf_counter()
        latencies = await post_all(url, bodies, _CONNECTIONS, "text/xml")
        took = time.perf_counter() - wall
        await _until(done, before + count)
        return Sample(count, took, cpu_s(pid) - cpu, latencies)

    return contestant


def _message(key: SigningKey) -> bytes:
    """A signed FlexRequest for a day next week, all of its ISPs with limits of their own."""
    calendar, now = MarketCalendar("Europe/Amsterdam"), datetime.now(UTC).replace(microsecond=0)
    period = (now + timedelta(days=7)).date()
    isps = [
        RequestIsp(n, 1, Disposition.REQUESTED, -random.randrange(10**6), 0)  # noqa: S311 - no message like another
        if 70 <= n <= 76
        else RequestIsp(n, 1, Disposition.AVAILABLE, 0, random.randrange(10**6))  # noqa: S311
        for n in range(1, calendar.isps(period) + 1)
    ]
    head = Head(_DSO, _AGR, str(uuid.uuid4()), str(uuid.uuid4()), now)
    request = FlexRequest(head, _POINT, calendar, period, 1, now + timedelta(days=1), tuple(isps))
    point = CongestionPoint(_POINT, _DSO, now.date() - timedelta(days=1))
    element, _ = to_wire(request, "3.1.0", MarketTerms(calendar, (point,)))
    return seal(encode(element), _DSO, Role.DSO, key)


async def _counted(peer: Process) -> int:
    return int((await peer.ask("count"))["count"])


async def _recorded(metrics: str) -> int:
    """How many messages the server has received, checked and recorded as such."""
    async with aiohttp.ClientSession() as session, session.get(metrics) as response:
        text = await response.text()
    found = re.search(r'^gridparley_inbox\{state="DONE"\} (\S+)', text, re.MULTILINE)
    return int(float(found[1])) if found else 0


async def _until(count: Count, wanted: int) -> None:
    try:
        async with asyncio.timeout(_DONE_S):
            while await count() < wanted:  # noqa: ASYNC110  # another process counts
                await asyncio.sleep(_LOOK_S)
    except TimeoutError:
        raise CannotMeasure("messages were accepted, but are not worked on") from None


def _config(folder: Path, keys: dict[str, SigningKey]) -> Sequence[str]:
    key_file = folder / "signing.key"
    key_file.write_bytes(base64.b64encode(keys[_AGR].secret))
    key_file.chmod(0o600)
    return [
        *("[party]", f'domain = "{_AGR}"', 'role = "AGR"'),
        *("[[market.congestion_points]]", f'address = "{_POINT}"', f'dso = "{_DSO}"'),
        *("[adapters.uftp]", f'domain = "{_AGR}"', 'role = "AGR"', 'listen = "127.0.0.1:0"'),
        *('signing_key_file = "signing.key"', "rate_limit_per_s = 0"),
        *("[[peers]]", f'domain = "{_DSO}"', 'role = "DSO"'),
        f'keys = ["{public_key_string(keys[_DSO].public)}"]',
    ]


def _peer_setup(keys: dict[str, SigningKey]) -> dict[str, str]:
    return {
        "domain": _AGR,
        "secret": base64.b64encode(keys[_AGR].secret).decode(),
        "key": base64.b64encode(keys[_DSO].public).decode(),
    }
