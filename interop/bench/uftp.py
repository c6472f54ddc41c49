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
from adapters.uftp.envelope import read, seal
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
from interop.bench import restart, trade
from interop.bench.hostile import bodies, refusals, resident_mb
from interop.bench.measure import Contestant, Sample, cpu_s, in_turn, post_all, quantile
from interop.bench.process import Process, process, serve, write_key
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
    "FlexRequests of 96 quarter-hours (UFTP 3.1.0, signed beforehand, each with numbers of its own) posted over "
    "{connections} keep-alive connections to `gridparley serve` as AGR, in a process of its own on loopback, with its "
    "store on disk; {count} messages in {rounds} turns. 200 leaves only when the message is durable; after it the "
    'server checks it against every rule and records it. Nobody decides (desk "none"), so nothing is answered. CPU is '
    "all of that, from the process's own accounting, counted until the last message is recorded; messages/s and "
    "latency are those of the 200. Whole trade: FlexRequest, response, FlexOffer, response, FlexOrder, response, "
    'between two servers (desk "trader", which offers and orders in the transaction that takes the message in), one '
    "trade after the other, {trades} of them, from the decision to ask until the answer to the order is taken up. "
    "Hostile input: {attacks} kinds of envelopes that must be refused with a 4xx, {hostile} times each; the slowest "
    "of all, and what the process's memory grew by meanwhile. Restart: an aggregator's store of {held} messages, from "
    "the start of the process, its imports included, until it answers. The load comes from other processes on the same "
    "machine: wall figures suffer where cores are few. Peer: {peer}"
)
_WITH_PEER = (
    "shapeshifter-uftp's AGR service (FastAPI, uvicorn) under the interpreter that "
    + _PYTHON
    + " names, sent the same kind of messages; it keeps them in memory, checks the schema but few of the rules, and "
    "its handler only counts. Its trade is between its AGR and DSO services; their handlers answer without checking."
)
_WITHOUT_PEER = (
    "none, because " + _PYTHON + " is not set (name the python of a virtual environment that holds "
    "shapeshifter-uftp==2.4.0 and fastapi<0.140)."
)


@bench("uftp")
async def uftp(scale: Scale) -> Report:
    """Signed FlexRequests into a durable store, a whole trade, hostile input, and a restart on a full store."""
    rounds, count = scale.pick(4, 1), scale.pick(500, 40)
    trades, hostile, held = scale.pick(50, 5), scale.pick(30, 1), scale.pick(21_000, 60)
    python = os.environ.get(_PYTHON)
    rows: list[Row] = []
    with tempfile.TemporaryDirectory(prefix="gridparley-bench-") as name:
        folder = Path(name)
        rows += await _flood(folder, python, rounds, count)
        rows.append(await _trades(folder, python, rounds, trades))
        attacks, more = await _hostile(folder, hostile)
        rows += more
        ready = await restart.ready_s(folder / "full", held)
        rows.append(Row(f"restart on {held} messages", "s", ready, target=Target("<=", 3.0)))
    text = _WITH_PEER if python else _WITHOUT_PEER
    how = _HOW.format(
        connections=_CONNECTIONS,
        count=count * rounds,
        rounds=rounds,
        trades=trades * rounds,
        attacks=attacks,
        hostile=hostile,
        held=held,
        peer=text,
    )
    return Report("uftp", how, tuple(rows))


async def _flood(folder: Path, python: str | None, rounds: int, count: int) -> tuple[Row, ...]:
    keys = {domain: SigningKey.from_seed(os.urandom(32)) for domain in (_AGR, _DSO)}
    contestants: dict[str, Contestant] = {}
    async with AsyncExitStack() as opened:
        ours = await opened.enter_async_context(serve(folder, _config(folder, keys)))
        recorded = partial(_recorded, f"{ours.http}/metrics")
        contestants["ours"] = _contestant(ours.adapters["uftp"], ours.pid, keys[_DSO], recorded, count)
        if python:
            setup = _peer_setup(keys)
            peer = await opened.enter_async_context(
                process(python, str(_SCRIPT), json.dumps(setup), errors=folder / "peer.log")
            )
            url = f"http://127.0.0.1:{peer.ready['port']}/shapeshifter/api/v3/message"
            contestants["peer"] = _contestant(url, peer.pid, keys[_DSO], partial(_counted, peer), count)
        taken = await in_turn(contestants, rounds)
    return _rows(taken["ours"], taken.get("peer"))


async def _trades(folder: Path, python: str | None, rounds: int, trades: int) -> Row:
    """In turn, so that slow phases of the machine meet both."""
    ours: list[float] = []
    theirs: list[float] = []
    for turn in range(rounds):
        place = folder / f"trades-{turn}"
        ours += await trade.ours(place, trades)
        if python:
            theirs += await trade.peers(python, _SCRIPT, place, trades)
    peer = quantile(theirs, 50) * 1e3 if theirs else None
    name = _PEER if theirs else None
    return Row("a whole trade, median", "ms", quantile(ours, 50) * 1e3, peer, name, Target("<=", 25.0))


async def _hostile(folder: Path, rounds: int) -> tuple[int, list[Row]]:
    keys = {domain: SigningKey.from_seed(os.urandom(32)) for domain in (_AGR, _DSO)}
    attacks = bodies(read(_message(keys[_DSO])).payload, _DSO, keys[_DSO])
    place = folder / "hostile"
    place.mkdir()
    async with serve(place, _config(place, keys)) as ours:
        url = ours.adapters["uftp"]
        await refusals(url, attacks, 1)
        before = resident_mb(ours.pid)
        longest = await refusals(url, attacks, rounds)
        grown = max(resident_mb(ours.pid) - before, 0.01)
    return len(attacks), [
        Row("hostile input refused, slowest", "ms", max(longest.values()) * 1e3, target=Target("<=", 50.0)),
        Row("memory grown by hostile input", "MB", grown, target=Target("<=", 32.0)),
    ]


def _rows(ours: Sample, peer: Sample | None) -> tuple[Row, ...]:
    name = _PEER if peer else None

    def row(case: str, unit: str, figure: str, target: Target | None = None) -> Row:
        return Row(case, unit, _figure(ours, figure), _figure(peer, figure) if peer else None, name, target)

    return (
        row("accepted, wall", "messages/s", "rate", Target(">=", 500.0)),
        row("accepted, checked and recorded, CPU", "ms/message", "cpu", Target("<=", 0.2, "ratio")),
        row("latency of the 200, median", "ms", "p50"),
        row("latency of the 200, 99th percentile", "ms", "p99", Target("<=", 150.0)),
    )


def _figure(sample: Sample, name: str) -> float:
    if name in ("p50", "p99"):
        return quantile(sample.latencies_s, int(name[1:])) * 1e3
    return sample.per_s if name == "rate" else sample.cpu_each_s * 1e3


def _contestant(url: str, pid: int, key: SigningKey, done: Count, count: int) -> Contestant:
    async def contestant() -> Sample:
        bodies = [_message(key) for _ in range(count)]
        # Alone and first: what a process does once is not measured, and the peer fails when that meets other threads.
        before = await done()
        await post_all(url, [_message(key)], 1, "text/xml")
        await _until(done, before + 1)
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
    write_key(folder / "signing.key", keys[_AGR])
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
        "role": "AGR",
        "domain": _AGR,
        "secret": base64.b64encode(keys[_AGR].secret).decode(),
        "key": base64.b64encode(keys[_DSO].public).decode(),
    }
