"""A grid operator calls a group's flexibility over OpenADR 3, and the real aggregator's desk records, plans, steers,
meters and reports.

`gridparley serve`, the VTN and a SunSpec battery are processes of their own. Time is accelerated.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable, Mapping
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import aiohttp
import numpy as np
import pytest
from click.testing import CliRunner
from support import openadr3 as kit
from support.openadr3_vtn import Vtn

from adapters.clock import Anchor, FileClock
from datamodels import MarketCalendar
from interop.aggregator.homes import Battery, Home, write_homes
from interop.cli import main
from interop.demo.processes import Fleet

DSO, POINT = "dso.example.org", "ean.871687120000000021"
CALENDAR, DAY = MarketCalendar(), date(2030, 6, 12)
SAMPLES = kit.data("der.json")["samples"]
EAN = SAMPLES["resource"]["attributes"][1]["values"][0]
BASELINE_KW = 10
BATTERY = Battery("battery-1", 12_000, 60_000, 20_000, 20_000, 0.95, 0.01)
CALLED = {
    # What is called in each interval (local begin, hours, kW): adjacent hours around two hours; four hours; six hours.
    "00000000-0000-4000-8000-000000000201": ((9, 1, 0.0), (10, 2, 7.25), (12, 1, 0.0)),
    "00000000-0000-4000-8000-000000000202": ((0, 6, 4.0), (18, 4, 6.0)),
}
Row = dict[str, Any]


def local(hour: float, day: date = DAY) -> datetime:
    return CALENDAR.day_span(day)[0] + timedelta(hours=hour)


def flex_event(id: str) -> Row:
    intervals = [
        {
            "id": n,
            "intervalPeriod": {"start": f"{local(begin):%Y-%m-%dT%H:%M:%SZ}", "duration": f"PT{hours}H"},
            "payloads": [{"type": "FLEX", "values": [kw]}],
        }
        for n, (begin, hours, kw) in enumerate(CALLED[id])
    ]
    window = {"start": f"{local(0):%Y-%m-%dT%H:%M:%SZ}", "duration": "P1D"}
    event: Row = kit.plain(SAMPLES["flex"])
    return event | {"id": id, "intervals": intervals, "intervalPeriod": window}


class World:
    """The aggregator's files, and its processes; `clock` is set by the test."""

    def __init__(self, folder: Path, fleet: Fleet, vtn: Vtn) -> None:
        self.folder, self.fleet, self.vtn = folder, fleet, vtn
        self.clock = folder / "clock.json"
        self.truth = folder / "truth.jsonl"
        self.base = ""

    def set_clock(self, market: datetime, rate: float = 1.0) -> None:
        Anchor(time.time(), market, rate).write(self.clock)

    async def run(self, begin: datetime, end: datetime, rate: float) -> None:
        self.set_clock(begin, rate)
        await FileClock(self.clock).sleep_until(end)

    async def start(self) -> None:
        device = {
            "resource": BATTERY.id,
            "kind": "battery",
            "start": local(-36).isoformat(),
            "w_max": BATTERY.p_max_w,
            "capacity_wh": BATTERY.capacity_wh,
            "content_wh": BATTERY.initial_wh,
            "charge_efficiency": BATTERY.efficiency,
            "discharge_efficiency": BATTERY.efficiency,
        }
        (self.folder / "device.json").write_text(json.dumps([device]))
        words = ("--devices", str(self.folder / "device.json"), "--clock", str(self.clock), "--log", str(self.truth))
        await self.fleet.start("battery", "adapters.modbus.simulator", *words)
        ((listening,), _) = await asyncio.gather(self.fleet.json_lines("battery", 1, 20), publish(self.vtn))
        self._configure(listening["listening"])
        await self.fleet.start("agr", "interop", "serve", str(self.folder / "agr.toml"), "--json")
        self.base = await self.until(self._address, "the aggregator serves")

    async def _address(self) -> str:
        told = self.fleet.children["agr"].log.read_text()
        return str(json.loads(told)["http"]) if told.endswith("}\n") else ""

    def _configure(self, battery: str) -> None:
        home = Home("home-1", 1, f"ean.{EAN}", 0, (), (), (), (BATTERY,))
        write_homes(self.folder / "homes.json", (home,))
        first, isps = DAY - timedelta(days=15), 15 * 96
        start = CALENDAR.start(first, 1).isoformat()
        np.savez(self.folder / "history.npz", start=start, load_kw=np.zeros((isps, 1)), pv_kw=np.zeros((isps, 1)))
        # Cheap from 10:00 on: without a call the battery would charge with all it has.
        buy = [0.10 if 40 <= k < 64 else 0.40 for k in range(96)]
        tariffs = {"buy_eur_per_kwh": buy, "sell_eur_per_kwh": [p - 0.02 for p in buy]}
        (self.folder / "tariffs.json").write_text(json.dumps(tariffs))
        (self.folder / "secret").write_text("provider-secret\n")
        (self.folder / "agr.toml").write_text(f"""
[party]
domain = "agr.example.org"
role = "AGR"
[server]
http_listen = "127.0.0.1:0"
data_dir = "data"
log_level = "warning"
[clock]
file = "clock.json"
[[market.congestion_points]]
address = "{POINT}"
dso = "{DSO}"
[[peers]]
domain = "{DSO}"
role = "DSO"
adapter = "openadr3"
[[adapters.openadr3.vtns]]
peer = "{DSO}"
url = "{self.vtn.url}"
ven_name = "{SAMPLES["ven"]["venName"]}"
client_id = "provider"
client_secret_file = "secret"
congestion_points = {{ cp-1 = "{POINT}" }}
poll_s = 0.2
insecure = true
[adapters.modbus]
poll_s = 0.1
reversion_s = 86400
[[resources]]
id = "home-1"
connection = "ean.{EAN}"
kind = "METER"
role = "CONSUMER"
p_min_w = 0
p_max_w = 1000
[[resources]]
id = "{BATTERY.id}"
connection = "ean.{EAN}"
kind = "BATTERY"
role = "STORAGE"
p_min_w = {-BATTERY.p_max_w}
p_max_w = {BATTERY.p_max_w}
capacity_wh = {BATTERY.capacity_wh}
[resources.binding]
adapter = "modbus"
address = "{battery}"
[desk]
kind = "aggregator"
[desk.options]
homes_file = "{self.folder}/homes.json"
history_file = "{self.folder}/history.npz"
tariffs_file = "{self.folder}/tariffs.json"
congestion_point = "{POINT}"
""")

    async def get(self, what: str) -> Any:
        async with aiohttp.ClientSession() as session, session.get(f"{self.base}/api/v1/{what}") as response:
            assert response.status == 200, await response.text()
            return await response.json()

    async def calls(self) -> dict[str, Row]:
        return {row["id"]: row for row in (await self.get("flex"))["requests"]}

    async def until(self, condition: Callable[[], Any], what: str) -> Any:
        for _ in range(200):
            if found := await condition():
                return found
            self.fleet.check()
            await asyncio.sleep(0.05)
        raise AssertionError(f"never: {what}")

    async def in_state(self, state: str) -> Mapping[str, Row]:
        async def all_there() -> Mapping[str, Row] | None:
            found = await self.calls()
            return found if found.keys() == CALLED.keys() and {r["state"] for r in found.values()} == {state} else None

        found: Mapping[str, Row] = await self.until(all_there, f"both calls are {state}")
        return found

    async def reports(self, name: str) -> dict[str, Row]:
        async def both() -> dict[str, Row] | None:
            found = {r["eventID"]: r for r in await self.vtn.all("reports") if r["reportName"] == name}
            return found if found.keys() == CALLED.keys() else None

        found: dict[str, Row] = await self.until(both, f"{name} reports for both events")
        return found

    def really(self, begin: datetime, quarters: int) -> list[float]:
        """kW of the battery in each quarter-hour, as the battery itself logged it."""
        lines = [json.loads(line) for line in self.truth.read_text().splitlines()]
        means = {datetime.fromisoformat(line["start"]): line["mean_w"] / 1000 for line in lines if "mean_w" in line}
        return [means[begin + n * timedelta(minutes=15)] for n in range(quarters)]


async def publish(vtn: Vtn) -> None:
    """Programme, VEN, resource, group, anchor, baseline; then what is called."""
    await vtn.add("programs", kit.plain(SAMPLES["program"]))
    for name, kind in (("ven", "BL_VEN_REQUEST"), ("resource", "BL_RESOURCE_REQUEST")):
        await vtn.add(f"{name}s", kit.plain(SAMPLES[name]) | {"objectType": kind, "clientID": "provider"})
    longest = kit.changed(SAMPLES["group"], {"attributes.3.values.0": "PT6H"})
    await vtn.add("resource_groups", kit.plain(longest))
    await vtn.add("events", kit.plain(SAMPLES["anchor"]))
    baseline = kit.changed(SAMPLES["baseline"], {"intervals.0.payloads.0.values.0": BASELINE_KW})
    await vtn.add("events", kit.plain(baseline))
    for id in CALLED:
        await vtn.add("events", flex_event(id))


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    fleet = Fleet(tmp_path / "logs")
    async with Vtn(None) as vtn:
        yield World(tmp_path, fleet, vtn)
        await fleet.stop()


async def test_a_called_day(world: World) -> None:
    deadline = local(-24)
    world.set_clock(deadline - timedelta(hours=2))
    await world.start()
    await world.in_state("ACCEPTED")
    await world.reports("ACK")

    world.set_clock(local(-13))  # after the deadline, and the prognosis is due
    calls = await world.in_state("BINDING")
    about = {(r["contract"], r["congestion_point"], r["direction"]) for r in calls.values()}
    assert about == {("group-1", POINT, "in")}
    first, second = (calls[id] for id in CALLED)
    assert first["requested"] == list(range(41, 49))
    assert second["requested"] == [*range(1, 25), *range(73, 89)]
    assert [i["asked_kw"] for i in first["call"]["intervals"]] == [0, 7.25, 0]
    assert (first["call"]["asked_kwh"], first["call"]["delivered_kwh"]) == (14.5, None)

    async def told() -> Any:
        return [d for d in await world.get("dispatches") if d["resource"] == BATTERY.id]

    await world.until(told, "the battery is told its day")

    await world.run(local(9.9), local(13.1), 4800)
    await world.run(local(17.9), local(22.1), 10_000)
    world.set_clock(local(24.9))
    delivered = await world.reports("DELIVERED_FLEX")
    calls = await world.in_state("METERED")
    for id, intervals in CALLED.items():
        rows = calls[id]["call"]["intervals"]
        reported = delivered[id]["resources"][0]["intervals"]
        assert [r["intervalPeriod"] for r in reported] == [i["intervalPeriod"] for i in flex_event(id)["intervals"]]
        for (begin, hours, kw), row, report in zip(intervals, rows, reported, strict=True):
            values = report["payloads"][0]["values"]
            assert len(values) == 4 * hours
            assert values == pytest.approx(row["delivered_kw"], abs=0.0051)
            expected = [max(BASELINE_KW - power, 0) for power in world.really(local(begin), 4 * hours)]
            # At this pace registers are read about once a quarter-hour, so single quarters are not told apart well.
            assert np.mean(values) == pytest.approx(np.mean(expected), rel=0.05, abs=0.25)
            assert row["asked_kw"] == kw
            missed = sum(max(kw - v, 0) for v in values) / 4
            assert row["missed_kwh"] == pytest.approx(missed, abs=0.02)
    in_the_ceiling(world)
    flex = await world.get("flex")
    assert (flex["offers"], flex["orders"]) == ([], [])
    assert await world.get("alarms") == []
    await seen_by_people(world, next(iter(CALLED)))


def in_the_ceiling(world: World) -> None:
    """Where 7.25 of 10 kW were called the battery kept below the rest; after it, it charged with what was left."""
    low, after = world.really(local(10), 8), world.really(local(12), 4)
    assert np.mean(low) < BASELINE_KW - 7.25 + 0.3
    assert 2 * np.mean(low) < np.mean(after) < BASELINE_KW + 0.3


async def seen_by_people(world: World, id: str) -> None:
    """In the conversation, on its page, and in `gridparley flex status`."""
    (row,) = await world.get(f"messages?conversation={id}")
    assert (row["kind"], row["adapter"], row["accepted"]) == ("FlexRequest", "openadr3", True)
    async with aiohttp.ClientSession() as session, session.get(f"{world.base}/conversations/{id}") as page:
        text = await page.text()
    assert page.status == 200
    assert "FlexRequest" in text
    assert DSO in text
    host = world.base.removeprefix("http://")
    config = world.folder / "agr.toml"
    config.write_text(config.read_text().replace("127.0.0.1:0", host))
    runner = CliRunner(env={"COLUMNS": "200"})
    printed = await asyncio.to_thread(runner.invoke, main, ["flex", "status", str(config)])
    line = next(line for line in printed.output.splitlines() if line.startswith(id))
    assert all(word in line for word in ("METERED", "41-48", "group-1", "14.5"))
