"""The verdict on a run: what the devices really did, power flow with it, and whether every message arrived.

Nothing here believes the aggregator. Powers come from the logs that devices and homes kept themselves, loading from
power flow on the net, money and delivery from the grid operator's settlement.
"""

from __future__ import annotations

import json
import sqlite3
from collections import defaultdict
from collections.abc import Iterable
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

from datamodels import Settlement, decode
from interop.demo.world import World
from interop.gridoperator.powerflow import Flow, Grid

__all__ = ["Ledger", "Verdict", "ledger", "truth", "verdict"]

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Ledger:
    """Messages by party and direction, read from both stores: id -> state."""

    sent: dict[str, dict[str, str]]
    received: dict[str, dict[str, str]]

    def lost(self) -> list[str]:
        """Every message that one party queued and the other does not hold as handled, with the reason."""
        out = []
        for party, other in (("agr", "dso"), ("dso", "agr")):
            for message, state in self.sent[party].items():
                there = self.received[other].get(message)
                if state != "DELIVERED":
                    out.append(f"{party}: message {message} is {state}")
                elif there != "DONE":
                    out.append(f"{party} -> {other}: message {message} is {there or 'missing'} there")
        return out

    @property
    def count(self) -> int:
        return sum(len(messages) for messages in self.sent.values())


@dataclass(frozen=True, slots=True)
class Verdict:
    """The result in the form of the demo's JSON, the settlement behind it, and what went wrong (empty: nothing)."""

    result: dict[str, Any]
    settlement: Settlement | None
    failures: tuple[str, ...]


def ledger(world: World) -> Ledger:
    sent, received = {}, {}
    for party in ("agr", "dso"):
        with closing(
            sqlite3.connect(f"file:{world.folder / party / 'data' / 'gridparley.db'}?mode=ro", uri=True)
        ) as database:
            sent[party] = dict(database.execute("SELECT message_id, state FROM outbox"))
            received[party] = dict(
                database.execute(
                    "SELECT message_id, state FROM inbox WHERE adapter = 'uftp' AND message_id IS NOT NULL"
                )
            )
    return Ledger(sent, received)


def settlement(world: World) -> Settlement | None:
    """The settlement that the grid operator sent, from its own store."""
    with closing(
        sqlite3.connect(f"file:{world.folder / 'dso' / 'data' / 'gridparley.db'}?mode=ro", uri=True)
    ) as database:
        rows = database.execute("SELECT message FROM outbox WHERE kind = 'Settlement' ORDER BY seq DESC LIMIT 1")
        found = rows.fetchone()
    message = decode(json.loads(found[0])) if found and found[0] else None
    return message if isinstance(message, Settlement) else None


def truth(world: World) -> dict[str, Floats]:
    """Mean W per ISP of every device and home, from their own logs; 0 where a device was dead."""
    calendar, period = world.scenario.calendar, world.scenario.period
    isps = calendar.isps(period)
    power: dict[str, Floats] = defaultdict(lambda: np.zeros(isps))
    for path in sorted((world.folder / "logs").glob("*.truth.jsonl")):
        for line in path.read_text(encoding="utf-8").splitlines():
            entry = json.loads(line)
            if "mean_w" not in entry:
                continue
            day, isp = calendar.locate(datetime.fromisoformat(entry["start"]))
            if day == period:
                key = path.name.removesuffix(".truth.jsonl") if entry["resource"] == "home" else entry["resource"]
                power[key][isp - 1] = entry["mean_w"]
    return dict(power)


def steered(world: World) -> int:
    """How many SunSpec devices took a control write, by their own logs."""
    written = set()
    for path in (world.folder / "logs").glob("*.truth.jsonl"):
        for line in path.read_text(encoding="utf-8").splitlines():
            entry = json.loads(line)
            if "address" in entry:
                written.add(entry["resource"])
    return len(written)


def unmanaged(world: World) -> Floats:
    """kW per ISP and bus on the same day with nobody steering: SimBench's profiles, batteries idle."""
    tables, day = world.scenario.network, world.scenario.day
    buses = [bus["id"] for bus in tables["bus"]]
    net = np.zeros((len(day.load_kw), len(buses)))
    for load in tables["load"]:
        net[:, buses.index(load["bus"])] += day.load_kw[:, load["id"]]
    for pv in tables["pv"]:
        net[:, buses.index(pv["bus"])] -= day.pv_kw[:, pv["id"]]
    return net


def managed(world: World, power_w: dict[str, Floats]) -> Floats:
    """kW per ISP and bus as the devices really ran."""
    buses = [bus["id"] for bus in world.scenario.network["bus"]]
    net = np.zeros((world.scenario.calendar.isps(world.scenario.period), len(buses)))
    for home in world.scenario.homes:
        ids = [home.id, *(pv.id for pv in home.pvs), *(battery.id for battery in home.batteries)]
        for id in ids:
            net[:, buses.index(home.bus)] += power_w.get(id, 0.0) / 1000
    return net


def verdict(world: World, messages: dict[str, int], homes: int, seconds: float) -> Verdict:
    """Judge a finished run: `messages` by adapter as the aggregator counted them, `homes` that were registered."""
    grid = Grid(world.scenario.network)
    reactive = _reactive(world)
    before_kw, after_kw = unmanaged(world), managed(world, truth(world))
    before, after = grid.run(before_kw, reactive), grid.run(after_kw, reactive)
    books, settled = ledger(world), settlement(world)
    rows = settled.rows if settled else ()
    ordered = sum(abs(i.ordered_w) for row in rows for i in row.isps)
    delivered = sum(abs(i.delivered_w) for row in rows for i in row.isps)
    share = delivered / ordered if ordered else 0.0
    result = {
        "scenario": world.scenario.name,
        "isps_congested": {"before": _count(before), "after": _count(after)},
        "peak_kw": {"before": _peak(before_kw), "after": _peak(after_kw)},
        "max_loading_pct": {"before": _loading(before), "after": _loading(after)},
        "orders": len(rows),
        "ordered_kwh": round(ordered * world.scenario.calendar.isp_hours / 1000, 3),
        "delivered_share": round(share, 5),
        "settlement_eur": float(sum(row.net for row in rows)),
        "messages": {"uftp": books.count, **messages},
        "devices": {"modbus": steered(world), "openadr2": homes},
        "seconds": round(seconds, 1),
    }
    return Verdict(result, settled, tuple(_failures(result, books, settled)))


def _failures(result: dict[str, Any], books: Ledger, settled: Settlement | None) -> Iterable[str]:
    if not result["isps_congested"]["before"]:
        yield "the day shows no congestion before, so nothing was proved"
    if result["isps_congested"]["after"]:
        yield f"{result['isps_congested']['after']} congested ISPs remain"
    if settled is None or not result["orders"]:
        yield "no order was settled"
    elif result["delivered_share"] < 0.99:
        yield f"only {result['delivered_share']:.1%} of the order was delivered"
    lost = books.lost()
    if lost:
        yield f"{len(lost)} messages were lost: {'; '.join(lost[:3])}"


def _reactive(world: World) -> Floats:
    tables = world.scenario.network
    buses = [bus["id"] for bus in tables["bus"]]
    reactive = np.zeros((len(world.scenario.day.load_kvar), len(buses)))
    for load in tables["load"]:
        reactive[:, buses.index(load["bus"])] += world.scenario.day.load_kvar[:, load["id"]]
    return reactive


def _count(flow: Flow) -> int:
    return int(flow.congested.sum())


def _peak(net_kw: Floats) -> float:
    return round(float(np.abs(net_kw.sum(axis=1)).max()), 1)


def _loading(flow: Flow) -> float:
    return round(float(flow.trafo_loading.max()) * 100, 1)
