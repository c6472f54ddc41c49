"""One run of the demo: lay out, start everybody, trade, live through the day, settle, judge.

Every counterpart is a process of its own and is spoken to over a socket. This module only starts and stops them, sets
the shared clock, and watches; all decisions are taken by the two servers and the homes.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any, Protocol

import aiohttp

from adapters.clock import Anchor, FileClock
from interop.demo.judge import Verdict, verdict
from interop.demo.parties import Party
from interop.demo.processes import Fleet
from interop.demo.world import World

__all__ = ["Demo", "DemoFailed", "Options", "Watcher"]

_START_S, _TRADE_S, _SETTLE_S = 60.0, 60.0, 45.0
_TRADE_RATE = 20.0
"""How fast market time runs while the day ahead is traded."""
_LEAD_S = 3.0
"""Wall seconds between the end of trade and midnight, in which homes learn what they are asked."""


class DemoFailed(RuntimeError):
    """The run could not be brought to its end; the text says at which step and where to look."""


class Watcher(Protocol):
    """Who is told how far the run is."""

    def phase(self, name: str, text: str) -> None: ...

    def progress(self, isp: int, of: int, text: str) -> None: ...


@dataclass(frozen=True, slots=True)
class Options:
    """`isp_seconds` is how long a quarter-hour lasts; `drop_out` names the battery that dies half way ("" none).

    The day is lived from `first_isp` on; what lies before it passes at once, unsteered.
    """

    isp_seconds: float = 1.0
    first_isp: int = 1
    drop_out: str = "battery-1"
    drop_out_isp: int = 49


@dataclass(slots=True)
class Demo:
    world: World
    options: Options
    watcher: Watcher
    fleet: Fleet = field(init=False)
    _http: aiohttp.ClientSession | None = None

    def __post_init__(self) -> None:
        self.fleet = Fleet(self.world.folder / "logs")

    async def run(self) -> Verdict:
        """Play the whole scenario.

        Raises:
            DemoFailed, ProcessFailed: a step did not come to its end.
        """
        began = time.monotonic()
        self._http = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=5))
        await self._start()
        await self._trade()
        await self._day()
        await self._settle()
        states = await self._states(self.world.aggregators)
        messages = sum((Counter(state["messages"]) for state in states), Counter())
        homes = sum(state["devices"]["openadr2"] for state in states)
        result = verdict(self.world, dict(messages), homes, time.monotonic() - began)
        await self._show("result", {"result": result.result, "failures": list(result.failures)})
        await self._phase("done", "the run is judged", world_isps(self.world))
        return result

    async def close(self) -> None:
        """End every process."""
        if self._http is not None:
            await self._http.close()
        await self.fleet.stop()

    # --- steps ----------------------------------------------------------------------------

    async def _start(self) -> None:
        world, fleet = self.world, self.fleet
        devices, homes = world.devices(), world.scenario.homes
        named = ", ".join(party.name for party in world.parties)
        text = f"{len(devices)} SunSpec devices, {len(homes)} homes with openleadr's VEN, servers: {named}"
        self.watcher.phase("start", text)
        world.lay_out()
        # Ten minutes before trade opens: everybody gets ready in peace.
        Anchor(time.time(), world.trade_start - timedelta(minutes=10), 1.0).write(world.clock)
        addresses = await self._start_devices(devices)
        world.configure(addresses)
        for party in reversed(world.parties):
            await fleet.start(party.name, "interop", "serve", str(world.folder / f"{party.name}.toml"))
        await self._until("all servers answer", self._all_ready, _START_S)
        for party in world.aggregators:
            await self._start_homes(party)
        await self._until("all devices and homes are connected", self._all_connected, _START_S)

    async def _start_homes(self, party: Party) -> None:
        """One process a home, registered with its aggregator's VTN."""
        folder = self.world.folder
        assert party.aggregator is not None
        for id in party.aggregator.homes:
            profile, log = folder / "homes" / f"{id}.json", folder / "logs" / f"{id}.truth.jsonl"
            await self.fleet.start(
                id,
                *("interop.demo.home", "--profile", str(profile)),
                *("--vtn", f"http://127.0.0.1:{party.vtn}/OpenADR2/Simple/2.0b"),
                *("--clock", str(self.world.clock), "--log", str(log)),
            )

    async def _start_devices(self, devices: list[dict[str, Any]]) -> dict[str, str]:
        """Batteries are processes of their own, so that one can die; PV plants share two. Returns their addresses."""
        plants = [d for d in devices if d["kind"] == "pv"]
        groups = {d["resource"]: [d] for d in devices if d["kind"] == "battery"}
        groups |= {"pv-east": plants[: len(plants) // 2], "pv-west": plants[len(plants) // 2 :]}
        folder = self.world.folder
        for name, members in groups.items():
            listing, log = folder / "devices" / f"{name}.json", folder / "logs" / f"{name}.truth.jsonl"
            listing.write_text(json.dumps(members), encoding="utf-8")
            await self.fleet.start(
                name,
                *("adapters.modbus.simulator", "--devices", str(listing)),
                *("--clock", str(self.world.clock), "--log", str(log)),
            )
        ready = [await self.fleet.json_lines(name, len(members), _START_S) for name, members in groups.items()]
        return {line["resource"]: line["listening"] for lines in ready for line in lines}

    async def _trade(self) -> None:
        await self._phase("trade", "forecast, D-Prognosis, power flow, FlexRequest, FlexOffer, FlexOrder")
        Anchor(time.time(), self.world.trade_start, _TRADE_RATE).write(self.world.clock)
        await self._until("orders are placed, accepted and dispatched", self._dispatched, _TRADE_S)

    async def _day(self) -> None:
        """Let the day run: one ISP per `isp_seconds`, ISPs begin on whole seconds of the wall clock."""
        world, seconds = self.world, self.options.isp_seconds
        rate = world.scenario.calendar.isp.total_seconds() / seconds
        midnight = float(int(time.time() + _LEAD_S) + 1)
        first = self.options.first_isp
        Anchor(midnight, world.scenario.calendar.start(world.scenario.period, first), rate).write(world.clock)
        clock = FileClock(world.clock)
        isps = world.scenario.calendar.isps(world.scenario.period)
        await self._phase("day", f"20 May 2016, {isps} quarter-hours, one every {seconds:g} s", first)
        for isp in range(first, isps + 1):
            await clock.sleep_until(world.scenario.calendar.start(world.scenario.period, isp))
            if isp == self.options.drop_out_isp and self.options.drop_out:
                await self.fleet.kill(self.options.drop_out)
                await self._phase("day", f"{self.options.drop_out} has died; the plan is repaired without it", isp)
            self.fleet.check()
            net = await self._net()
            self.watcher.progress(isp - 1, isps, net)
            await self._show("progress", {"phase": "day", "isp": isp, "of": isps, "text": net})
        await clock.sleep_until(world.day_end)
        self.watcher.progress(isps, isps, "the day is over")

    async def _settle(self) -> None:
        text = "metering per connection, settlement, the aggregator's answer"
        await self._phase("settlement", text, world_isps(self.world))
        await self._until("the settlement is answered", self._settled, _SETTLE_S)

    # --- what is waited for ----------------------------------------------------------------------------

    async def _all_ready(self) -> bool:
        return all([await self._ready(party) for party in self.world.parties])

    async def _ready(self, party: Party) -> bool:
        assert self._http is not None
        async with self._http.get(f"{party.url}/readyz") as response:
            return response.status == 200

    async def _all_connected(self) -> bool:
        states = await self._states(self.world.aggregators)
        wanted = {"modbus": len(self.world.devices()), "openadr2": len(self.world.scenario.homes)}
        return all(sum(s["devices"].get(name, 0) for s in states) >= count for name, count in wanted.items())

    async def _dispatched(self) -> bool:
        """Every order that the grid operator placed stands in an aggregator's book, and its devices know it."""
        placed = (await self._state(self.world.dso))["orders"]
        states = await self._states(self.world.aggregators)
        known = sum(state["orders"] for state in states)
        return bool(placed) and known == placed and all(s["dispatched"] for s in states if s["orders"])

    async def _settled(self) -> bool:
        """Every aggregator that delivered something has answered the grid operator's settlement."""
        delivered = sum(bool(state["orders"]) for state in await self._states(self.world.aggregators))
        return bool((await self._state(self.world.dso))["settled"] >= delivered)

    async def _net(self) -> str:
        with contextlib.suppress(aiohttp.ClientError, TimeoutError):
            nets = [state["net_kw"] for state in await self._states(self.world.aggregators)]
            return "" if None in nets else f"net {sum(nets):+.0f} kW"
        return ""

    # --- plumbing ----------------------------------------------------------------------------

    async def _until(self, what: str, condition: Callable[[], Awaitable[bool]], within_s: float) -> None:
        deadline = time.monotonic() + within_s
        while True:
            self.fleet.check()
            with contextlib.suppress(aiohttp.ClientError, TimeoutError):
                if await condition():
                    return
            if time.monotonic() > deadline:
                raise DemoFailed(f"after {within_s:.0f} s it is not so that {what}; logs: {self.world.folder / 'logs'}")
            await asyncio.sleep(0.1)

    async def _states(self, parties: list[Party]) -> list[dict[str, Any]]:
        return [await self._state(party) for party in parties]

    async def _state(self, party: Party) -> dict[str, Any]:
        assert self._http is not None
        async with self._http.get(f"{party.url}/api/v1/demo") as response:
            response.raise_for_status()
            state: dict[str, Any] = await response.json()
            return state

    async def _show(self, what: str, body: dict[str, Any]) -> None:
        """Show progress or the result on the aggregators' dashboards; nobody may be looking."""
        assert self._http is not None
        for party in self.world.aggregators:
            with contextlib.suppress(aiohttp.ClientError, TimeoutError):
                await self._http.post(f"{party.url}/api/v1/demo/{what}", json=body)

    async def _phase(self, name: str, text: str, isp: int = 0) -> None:
        self.watcher.phase(name, text)
        await self._show("progress", {"phase": name, "isp": isp, "of": world_isps(self.world), "text": text})


def world_isps(world: World) -> int:
    return world.scenario.calendar.isps(world.scenario.period)


def default_folder() -> Path:
    """Where a run is kept: `run/demo-<time>` below the working directory."""
    return Path("run") / time.strftime("demo-%Y%m%d-%H%M%S")
