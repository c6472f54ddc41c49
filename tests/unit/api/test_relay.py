"""The bridge: a utility's signals as events for our own VENs; revisions, cancels, targets, losses, restarts."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from adapters.ports import Edit, Received
from datamodels import (
    Binding,
    EventOpt,
    GridSignal,
    Opt,
    ProgrammeEvent,
    ProgrammeTarget,
    Resource,
    ResourceKind,
    ResourceRole,
    SignalInterval,
    SignalKind,
    SignalTarget,
    TargetKind,
    Ven,
)
from interop.programmes.relay import relayed
from interop.server import Server

NOW = datetime(2026, 5, 20, 10, tzinfo=UTC)
HOUR = timedelta(hours=1)
SIGNAL = GridSignal("e1", "VTN", SignalKind.IMPORT_LIMIT, (SignalInterval(NOW, HOUR, Decimal(5000)),), priority=3)
BATTERY = Resource(
    "b1", "ean.1", ResourceKind.BATTERY, ResourceRole.STORAGE, -1, 1, Binding("openadr3", "house-1/battery")
)


def test_a_signal_without_targets_is_for_everybody_in_the_programme() -> None:
    event, losses = relayed(SIGNAL, "utility", "p", (), {})
    assert event is not None
    assert (event.programme, event.name, event.priority, event.targets, losses) == ("p", "utility/e1", 3, (), ())
    assert [(s.payload, s.unit, s.intervals[0].value) for s in event.signals] == [("IMPORT_CAPACITY_LIMIT", "KW", 5)]
    other, _ = relayed(SIGNAL, "another", "p", (), {})
    assert other is not None
    assert other.id != event.id, "two utilities may use one id"


def test_targets_are_translated_as_far_as_vens_are_known_by_them() -> None:
    point = SignalTarget(TargetKind.CONGESTION_POINT, "ean.2")
    signal = replace(SIGNAL, targets=(SignalTarget(TargetKind.RESOURCE, "b1"), SignalTarget(TargetKind.GROUP, "north")))
    event, losses = relayed(replace(signal, targets=(*signal.targets, point)), "u", "p", (), {"b1": BATTERY})
    assert event is not None
    assert event.targets == (
        ProgrammeTarget("house-1", "VEN_NAME"),
        ProgrammeTarget("battery", "RESOURCE_NAME"),
        ProgrammeTarget("north", "GROUP"),
    )
    assert [loss.value for loss in losses] == ["congestion_point ean.2"]
    twin = replace(BATTERY, id="b2", binding=Binding("openadr3", "house-2/battery"))
    event, _ = relayed(signal, "u", "p", (), {"b1": BATTERY, "b2": twin})
    assert event is not None
    assert ProgrammeTarget("battery", "RESOURCE_NAME") not in event.targets, "house-2 would see it"
    event, losses = relayed(replace(SIGNAL, targets=(point,)), "u", "p", (), {})
    assert (event, len(losses)) == (None, 1)
    named = (ProgrammeTarget("south", "GROUP"),)
    event, losses = relayed(replace(SIGNAL, targets=(point,)), "u", "p", named, {})
    assert event is not None
    assert (event.targets, losses) == (named, ())
    market = SignalTarget(TargetKind.MARKET, "m")
    event, losses = relayed(replace(SIGNAL, targets=(market, point)), "u", "p", (), {})
    assert event is not None
    assert (event.targets, losses) == ((), ())


RELAY = '[[relays]]\npeer = "utility"\nprogramme = "Passed on"\n'


async def say(server: Server, signal: GridSignal) -> None:
    id = f"{signal.id}-{signal.revision}-{signal.cancelled}"
    await server.hub.receive(Received("wire", "utility", "oadrDistributeEvent", id.encode(), id, content=signal))


async def until(server: Server, true: Callable[[list[ProgrammeEvent]], Any]) -> list[ProgrammeEvent]:
    async with asyncio.timeout(8):
        while not true(found := list(server.programmes.all(ProgrammeEvent).values())):
            await asyncio.sleep(0.01)
    return found


async def test_a_signal_is_said_on_revised_and_cancelled(serve: Any, ask: Any) -> None:
    server = await serve(more=RELAY)
    signal = replace(SIGNAL, intervals=(SignalInterval(NOW + HOUR, HOUR, Decimal(5000)),))
    await say(server, signal)
    (event,) = await until(server, len)
    row = (await ask(server, "GET", f"programmes/Passed on/events/{event.id}"))[1]
    assert (row["phase"], row["signals"][0]["intervals"][0]["value"], row["priority"]) == ("far", "5", 3)
    stricter = replace(signal, intervals=(SignalInterval(NOW + HOUR, HOUR, Decimal(2000)),), revision=1)
    await say(server, stricter)
    (event,) = await until(server, lambda found: found[0].revision == 1)
    assert event.signals[0].intervals[0].value == 2
    server = await serve(more=RELAY)
    await say(server, replace(stricter, revision=2, cancelled=True, intervals=()))
    (event,) = await until(server, lambda found: found[0].cancelled)
    assert event.signals[0].intervals[0].value == 2, "VENs are told what is cancelled"
    assert event.revision == 2
    kinds = [row["kind"] for row in (await ask(server, "GET", "events?after=0"))[1]]
    assert kinds.count("relay.said") == 3


async def test_others_signals_and_what_is_over_stay_here(serve: Any, ask: Any) -> None:
    server = await serve(more=RELAY)
    await say(server, replace(SIGNAL, id="old", intervals=(SignalInterval(NOW - 2 * HOUR, HOUR, Decimal(1)),)))
    point = (SignalTarget(TargetKind.CONGESTION_POINT, "ean.2"),)
    await say(server, replace(SIGNAL, id="elsewhere", targets=point))
    limit = {"kind": "IMPORT_LIMIT", "value": 4000, "minutes": 30}
    await ask(server, "POST", "signals", json=limit)
    await say(server, SIGNAL)
    (event,) = await until(server, len)
    assert event.name == "utility/e1"
    logged = [row for row in (await ask(server, "GET", "events?after=0"))[1] if row["kind"].startswith("relay.")]
    assert [(row["kind"], row["data"]["signal"]) for row in logged if row["kind"] != "relay.said"] == [
        ("relay.kept", "old"),
        ("relay.kept", "elsewhere"),
        ("relay.loss", "elsewhere"),
    ]


async def test_what_an_operator_cancelled_stays_so_until_the_utility_speaks_again(serve: Any, ask: Any) -> None:
    server = await serve(more=RELAY)
    await say(server, SIGNAL)
    (event,) = await until(server, len)
    assert (await ask(server, "DELETE", f"programmes/Passed on/events/{event.id}"))[0] == 200
    server = await serve(more=RELAY)
    await say(server, replace(SIGNAL, id="e2"))
    found = await until(server, lambda found: len(found) == 2)
    assert [e.cancelled for e in found] == [True, False]


async def test_relays_need_a_desk_that_keeps_signals(serve: Any) -> None:
    with pytest.raises(ValueError, match="only a desk of the market keeps signals"):
        await serve(kind="none", more=RELAY)


async def test_we_opt_out_once_all_vens_have(serve: Any, ask: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[tuple[str, str, str]] = []

    async def opt_signal(peer: str, signal: str, opt: Opt, reason: str) -> bool:
        told.append((peer, signal, opt))
        return True

    server = await serve(more=f"{RELAY}opt_out = true\n")
    monkeypatch.setattr(server.adapters["wire"], "opt_signal", opt_signal, raising=False)
    for name in ("house-1", "house-2"):
        await ask(server, "POST", "vens", json={"name": name})
    await say(server, SIGNAL)
    (event,) = await until(server, len)
    for n, ven in enumerate(list(server.programmes.all(Ven)), 1):
        assert told == [], "one VEN is left"
        opt = EventOpt(id=f"{event.id}/{ven}", event=event.id, ven=ven, opt=Opt.OPT_OUT)
        await server.programmes.write([Edit(None, opt, "test")])
        await asyncio.sleep(0.05 * (n == 1))
    async with asyncio.timeout(8):
        while not told:
            await asyncio.sleep(0.01)
    assert told == [("utility", "e1", "optOut")]
    await say(server, replace(SIGNAL, id="e2"))
    await until(server, lambda found: len(found) == 2)
    assert len(told) == 1
