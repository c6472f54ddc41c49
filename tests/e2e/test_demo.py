"""The main job, whole, as `gridparley demo` runs it: every counterpart a process, every message over a socket."""

from __future__ import annotations

import asyncio
import fcntl
from collections.abc import Iterator
from pathlib import Path

import aiohttp
import pytest

from interop.demo.judge import Verdict
from interop.demo.run import Demo, Options
from interop.demo.world import World
from interop.scenarios import SCENARIOS

_AFTERNOON = Options(first_isp=41)
"""The morning passes at once: the order lies between ISP 43 and 50, the sun is out until ISP 61."""


@pytest.fixture(autouse=True)
def alone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """One run at a time: each lives in real time with twenty processes, and two would starve each other."""
    with (tmp_path_factory.getbasetemp().parent / "demo.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


class Silent:
    """Nobody watches; the pages are fetched once while the day runs."""

    def __init__(self) -> None:
        self.phases: list[str] = []
        self.half_way = asyncio.Event()

    def phase(self, name: str, text: str) -> None:
        self.phases.append(name)

    def progress(self, isp: int, of: int, text: str) -> None:
        if isp >= 54:
            self.half_way.set()


async def play(
    folder: Path, scenario: str = "rural1", options: Options = _AFTERNOON
) -> tuple[Verdict, Silent, dict[str, str]]:
    world = World(SCENARIOS[scenario](), folder)
    watcher = Silent()
    demo = Demo(world, options, watcher)
    run = asyncio.create_task(demo.run())
    seen: dict[str, str] = {}
    try:
        await asyncio.wait([run, asyncio.create_task(watcher.half_way.wait())], return_when=asyncio.FIRST_COMPLETED)
        if not run.done():
            async with aiohttp.ClientSession(world.parties[0].url) as session:
                for path in ("/", "/conversations", "/resources", "/peers", "/log", "/metrics", "/readyz"):
                    async with session.get(path) as response:
                        assert response.status == 200, path
                        seen[path] = await response.text()
        return await run, watcher, seen
    finally:
        await demo.close()


@pytest.mark.slow
@pytest.mark.foreign
@pytest.mark.timeout(400)
async def test_a_request_reaches_devices_and_comes_back_settled(tmp_path: Path) -> None:
    verdict, watcher, pages = await play(tmp_path)
    result = verdict.result
    assert verdict.failures == ()
    assert result["isps_congested"]["before"] == 12
    assert result["isps_congested"]["after"] == 0
    assert result["max_loading_pct"]["before"] == pytest.approx(147.0, abs=0.1)
    assert result["max_loading_pct"]["after"] < 100
    assert result["delivered_share"] >= 0.99
    assert result["orders"] == 1
    assert result["devices"] == {"modbus": 13, "openadr2": 13}
    sent = dict(result["uftp"])
    assert sent.pop("Prognosis") == sent.pop("PrognosisResponse") >= 1
    pairs = {"FlexRequest": 1, "FlexOffer": 1, "FlexOrder": 1, "Metering": 13, "Settlement": 1}
    assert sent == pairs | {f"{kind}Response": count for kind, count in pairs.items()}, "none is said twice"
    (settlement,) = verdict.settlements
    (row,) = settlement.rows
    assert row.net == row.price - row.penalty
    assert result["settlement_eur"] == pytest.approx(float(row.net))
    assert list(dict.fromkeys(watcher.phases)) == ["start", "trade", "day", "settlement", "done"]
    assert "battery-1" in pages["/resources"]
    assert "FlexOrder" in pages["/conversations"]


@pytest.mark.slow
@pytest.mark.foreign
@pytest.mark.timeout(400)
async def test_two_aggregators_a_grid_operator_and_a_reference_operator_trade(tmp_path: Path) -> None:
    """The market whole: portfolios, queries, a reservation, prognoses, requests to both, orders, settlement."""
    verdict, _, _ = await play(tmp_path, "market")
    result = verdict.result
    assert verdict.failures == ()
    assert result["isps_congested"] == {"before": 12, "after": 0}
    accounts = result["aggregators"]
    assert set(accounts) == {"agr-east", "agr-west"}
    assert all(account["orders"] >= 1 for account in accounts.values()), "neither can do it alone"
    assert sum(account["net_eur"] for account in accounts.values()) == pytest.approx(result["settlement_eur"])
    wanted = {"DsoPortfolioUpdate", "AgrPortfolioUpdate", "DsoPortfolioQuery", "AgrPortfolioQuery", "Reservation"}
    wanted |= {"Prognosis", "FlexRequest", "FlexOffer", "FlexOrder", "Metering", "Settlement"}
    assert wanted | {f"{kind}Response" for kind in wanted} <= set(result["uftp"])
