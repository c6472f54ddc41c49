"""kill -9 in the middle of a trade: nothing acknowledged is lost, and no order is dispatched twice.

Two real servers trade over signed UFTP; SunSpec devices run in a process of their own. One server is killed, at a named
point of its work or at a random moment, and started again on its data. Then the trade must come to the same end.
"""

from __future__ import annotations

import asyncio
import json
import random
import sqlite3
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import aiohttp
import pytest

from adapters.clock import Anchor
from interop.demo.judge import ledger
from interop.demo.processes import Fleet
from interop.demo.world import World
from interop.scenarios import SCENARIOS

POINTS = [
    "before_effects_commit",
    "after_effects_commit",
    "before_delivery",
    "after_delivery_before_mark",
    "before_dispatch",
    "after_dispatch_before_mark",
]


class Trade:
    """A grid operator, an aggregator and its SunSpec devices, without homes."""

    def __init__(self, folder: Path) -> None:
        self.world = World(SCENARIOS["rural1"](), folder)
        self.fleet = Fleet(folder / "logs")

    async def begin(self) -> None:
        self.world.lay_out()
        Anchor(time.time(), self.world.trade_start - timedelta(minutes=10), 1.0).write(self.world.clock)
        devices = self.world.devices()
        listing = self.world.folder / "devices.json"
        listing.write_text(json.dumps(devices), encoding="utf-8")
        await self.fleet.start(
            "field",
            *("adapters.modbus.simulator", "--devices", str(listing), "--clock", str(self.world.clock)),
            *("--log", str(self.world.folder / "logs" / "field.truth.jsonl")),
        )
        ready = await self.fleet.json_lines("field", len(devices), 30)
        self.world.configure({line["resource"]: line["listening"] for line in ready})

    async def serve(self, party: str, crash_at: str = "") -> None:
        env = {"GRIDPARLEY_CRASH_AT": crash_at} if crash_at else {}
        await self.fleet.start(party, "interop", "serve", str(self.world.folder / f"{party}.toml"), env=env)

    def open_market(self) -> None:
        Anchor(time.time(), self.world.trade_start, 1.0).write(self.world.clock)

    async def ended(self, party: str, within_s: float = 20) -> int:
        child = self.fleet.children[party]
        child.expected_to_end = True
        async with asyncio.timeout(within_s):
            return await child.process.wait()

    async def finished(self, within_s: float = 45) -> None:
        """Wait until an order is dispatched to every SunSpec device and both outboxes are empty."""
        wanted = {d["resource"] for d in self.world.devices()}
        deadline = time.monotonic() + within_s
        while time.monotonic() < deadline:
            if wanted <= self.dispatched() and not ledger(self.world).lost():
                return
            await asyncio.sleep(0.2)
        raise AssertionError(f"not finished: {len(self.dispatched())} dispatched, lost {ledger(self.world).lost()}")

    def dispatched(self) -> set[str]:
        """Resources whose dispatch the aggregator's own state shows as carried to them."""
        return {
            event["resource"]
            for event in self.events("agr", "dispatch.instructed")
            if event["resource"][:2] in ("pv", "ba")
        }

    def events(self, party: str, kind: str) -> list[dict[str, object]]:
        path = self.world.folder / party / "data" / "gridparley.db"
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as database:
            rows = database.execute("SELECT data FROM events WHERE kind = ? ORDER BY seq", (kind,)).fetchall()
        return [json.loads(row[0]) for row in rows]

    def check(self) -> None:
        """The trade happened once, whatever was killed."""
        assert ledger(self.world).lost() == []
        for party in ("agr", "dso"):
            path = self.world.folder / party / "data" / "gridparley.db"
            with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as database:
                assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)
                assert database.execute("SELECT count(*) FROM inbox WHERE state = 'FAILED'").fetchone() == (0,)
                sent = Counter(kind for (kind,) in database.execute("SELECT kind FROM outbox"))
            expected = (
                {"Prognosis": 1, "FlexOffer": 1, "FlexRequestResponse": 1, "FlexOrderResponse": 1}
                if party == "agr"
                else {"FlexRequest": 1, "FlexOrder": 1, "PrognosisResponse": 1, "FlexOfferResponse": 1}
            )
            assert sent == expected
        instructed = Counter((e["dispatch"], e["revision"]) for e in self.events("agr", "dispatch.instructed"))
        assert set(instructed.values()) == {1}, "a dispatch was instructed twice"
        first = [dispatch for dispatch, revision in instructed if revision == 0]
        assert len(first) == len(set(first)) == 28, "one dispatch per resource"
        assert len(self.events("agr", "order.dispatched")) == 1


@pytest.fixture
async def trade(tmp_path: Path) -> AsyncIterator[Trade]:
    trade = Trade(tmp_path)
    await trade.begin()
    yield trade
    await trade.fleet.stop()


async def verify_chain(trade: Trade, party: str) -> None:
    """`gridparley replay` recomputes every hash of the event log."""
    await trade.fleet.stop("agr", "dso")
    await trade.fleet.start("replay", "interop", "replay", str(trade.world.folder / f"{party}.toml"))
    assert await trade.ended("replay") == 0


@pytest.mark.slow
@pytest.mark.parametrize("point", POINTS)
async def test_killed_at_a_named_point(trade: Trade, point: str) -> None:
    await trade.serve("dso")
    await trade.serve("agr", crash_at=point)
    await up(trade)
    trade.open_market()
    assert await trade.ended("agr") == -9, "the point was never reached"
    await trade.serve("agr")
    await trade.finished()
    trade.check()
    await verify_chain(trade, "agr")


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2])
async def test_killed_at_random_moments(trade: Trade, seed: int) -> None:
    """Either party, several times in one trade."""
    rng = random.Random(seed)
    await trade.serve("dso")
    await trade.serve("agr")
    await up(trade)
    trade.open_market()
    for _ in range(3):
        await asyncio.sleep(rng.uniform(0.1, 0.9))
        party = rng.choice(["agr", "dso"])
        await trade.fleet.kill(party)
        await trade.serve(party)
    await trade.finished()
    trade.check()
    await verify_chain(trade, "dso")


async def up(trade: Trade) -> None:
    """Both servers answer."""
    parties = trade.world.parties
    async with aiohttp.ClientSession() as session:
        for port in (party.http for party in parties):
            for _ in range(300):
                try:
                    async with session.get(f"http://127.0.0.1:{port}/healthz") as response:
                        if response.status == 200:
                            break
                except aiohttp.ClientError:
                    await asyncio.sleep(0.1)
            else:
                raise AssertionError(f"nobody answers on {port}")
