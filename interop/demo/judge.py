"""The verdict on a run: what the devices really did, power flow with it, and whether every message arrived.

Nothing here believes the aggregator. Powers come from the logs that devices and homes kept themselves, loading from
power flow on the net, money and delivery from the grid operator's settlement.
"""

from __future__ import annotations

import json
import sqlite3
from collections import Counter, defaultdict
from collections.abc import Iterable
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from datamodels import Settlement, decode
from interop.demo.parties import Party
from interop.demo.world import World
from interop.gridoperator.powerflow import Flow, Grid

__all__ = ["Ledger", "Verdict", "ledger", "truth", "verdict"]

Floats = NDArray[np.float64]


class Sent(NamedTuple):
    """A message that a party queued: to which party, of what kind, and what became of it."""

    to: str
    kind: str
    state: str


@dataclass(frozen=True, slots=True)
class Ledger:
    """Messages by party, read from every party's store."""

    sent: dict[str, dict[str, Sent]]
    received: dict[str, dict[str, str]]
    """Message id -> state."""

    def lost(self) -> list[str]:
        """Every message that one party queued and its recipient does not hold as handled, with the reason."""
        out = []
        for party, messages in self.sent.items():
            for id, message in messages.items():
                there = self.received[message.to].get(id)
                if message.state != "DELIVERED":
                    out.append(f"{party}: {message.kind} {id} is {message.state}")
                elif there != "DONE":
                    out.append(f"{party} -> {message.to}: {message.kind} {id} is {there or 'missing'} there")
        return out

    @property
    def kinds(self) -> dict[str, int]:
        """How many of each kind were sent."""
        return dict(sorted(Counter(m.kind for messages in self.sent.values() for m in messages.values()).items()))

    @property
    def count(self) -> int:
        return sum(len(messages) for messages in self.sent.values())


@dataclass(frozen=True, slots=True)
class Verdict:
    """The result in the form of the demo's JSON, the settlements behind it, and what went wrong (empty: nothing)."""

    result: dict[str, Any]
    settlements: tuple[Settlement, ...]
    failures: tuple[str, ...]


def ledger(world: World) -> Ledger:
    sent, received = {}, {}
    names = {party.domain: party.name for party in world.parties}
    for party in world.parties:
        with closing(_store(world, party)) as database:
            rows = database.execute("SELECT message_id, peer, kind, state FROM outbox")
            sent[party.name] = {id: Sent(names[peer], kind, state) for id, peer, kind, state in rows}
            received[party.name] = dict(
                database.execute(
                    "SELECT message_id, state FROM inbox WHERE adapter = 'uftp' AND message_id IS NOT NULL"
                )
            )
    return Ledger(sent, received)


def settlements(world: World) -> tuple[Settlement, ...]:
    """The last settlement that the grid operator sent to each aggregator, from its own store."""
    with closing(_store(world, world.dso)) as database:
        rows = database.execute("SELECT message FROM outbox WHERE kind = 'Settlement' ORDER BY seq").fetchall()
    last = {message.head.recipient: message for (text,) in rows for message in [decode(json.loads(text))]}
    return tuple(last.values())


def _store(world: World, party: Party) -> sqlite3.Connection:
    return sqlite3.connect(f"file:{world.folder / party.name / 'data' / 'gridparley.db'}?mode=ro", uri=True)


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
    """Judge a finished run: `messages` by adapter as the aggregators counted them, `homes` that were registered."""
    grid = Grid(world.scenario.network)
    reactive = _reactive(world)
    before_kw, after_kw = unmanaged(world), managed(world, truth(world))
    before, after = grid.run(before_kw, reactive), grid.run(after_kw, reactive)
    books, settled = ledger(world), settlements(world)
    rows = [row for settlement in settled for row in settlement.rows]
    ordered = sum(abs(i.ordered_w) for row in rows for i in row.isps)
    delivered = sum(abs(i.delivered_w) for row in rows for i in row.isps)
    share, hours = delivered / ordered if ordered else 0.0, world.scenario.calendar.isp_hours
    result = {
        "scenario": world.scenario.name,
        "isps_congested": {"before": _count(before), "after": _count(after)},
        "peak_kw": {"before": _peak(before_kw), "after": _peak(after_kw)},
        "max_loading_pct": {"before": _loading(before), "after": _loading(after)},
        "orders": len(rows),
        "ordered_kwh": round(ordered * hours / 1000, 3),
        "delivered_share": round(share, 5),
        "settlement_eur": float(sum(row.net for row in rows)),
        "aggregators": {
            party.name: _account(party, settled, world.scenario.calendar.isp_hours) for party in world.aggregators
        },
        "messages": {"uftp": books.count, **messages},
        "uftp": books.kinds,
        "devices": {"modbus": steered(world), "openadr2": homes},
        "seconds": round(seconds, 1),
    }
    return Verdict(result, settled, tuple(_failures(result, books, settled)))


def _account(party: Party, settled: tuple[Settlement, ...], isp_hours: float) -> dict[str, Any]:
    """What one aggregator was ordered, delivered and is owed."""
    mine = [settlement for settlement in settled if settlement.head.recipient == party.domain]
    rows = [row for settlement in mine for row in settlement.rows]
    isps = [isp for row in rows for isp in row.isps]
    ordered, delivered = sum(abs(i.ordered_w) for i in isps), sum(abs(i.delivered_w) for i in isps)
    return {
        "orders": len(rows),
        "ordered_kwh": round(ordered * isp_hours / 1000, 3),
        "delivered_kwh": round(delivered * isp_hours / 1000, 3),
        "net_eur": float(sum(row.net for row in rows)),
    }


def _failures(result: dict[str, Any], books: Ledger, settled: tuple[Settlement, ...]) -> Iterable[str]:
    if not result["isps_congested"]["before"]:
        yield "the day shows no congestion before, so nothing was proved"
    if result["isps_congested"]["after"]:
        yield f"{result['isps_congested']['after']} congested ISPs remain"
    if not settled or not result["orders"]:
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
