"""Programmes, events and VENs over HTTP: made, listed, changed, cancelled, removed; bad ones named in full; durable."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from adapters.ports import Edit
from datamodels import (
    Availability,
    EventOpt,
    GroupMember,
    Opt,
    Programme,
    ProgrammeEvent,
    ProgrammeReport,
    ReportSeries,
    ResourceGroup,
    SignalInterval,
    Ven,
    Window,
    Written,
)

START = "2026-05-20T12:30:00+02:00"
LIMIT = {"signals": [{"kind": "IMPORT_LIMIT", "value": 4000, "minutes": 30}], "start": START, "id": "e1"}
EVENTS = "programmes/Peak/events"


@pytest.fixture
async def server(serve: Any, ask: Any) -> Any:
    server = await serve()
    assert (await ask(server, "POST", "programmes", json={"name": "Peak", "market_context": "http://u/peak"}))[0] == 201
    return server


async def test_a_programme_is_made_listed_and_removed(server: Any, ask: Any) -> None:
    status, row = await ask(server, "POST", "programmes", json={"name": "Peak", "market_context": "http://u/peak"})
    assert (status, row["revision"]) == (200, 0)
    (listed,) = (await ask(server, "GET", "programmes"))[1]
    assert (listed["name"], listed["market_context"], listed["events"]) == ("Peak", "http://u/peak", 0)
    status, changed = await ask(server, "POST", "programmes", json={"name": "Peak"})
    assert (status, changed["id"], changed["revision"], changed["market_context"]) == (201, row["id"], 1, "")
    await ask(server, "POST", EVENTS, json=LIMIT)
    status, problem = await ask(server, "DELETE", "programmes/Peak")
    assert (status, "has 1 events" in problem["detail"]) == (409, True)
    await ask(server, "DELETE", f"{EVENTS}/e1")
    assert (await ask(server, "DELETE", f"{EVENTS}/e1?forget=1"))[0] == 200
    assert (await ask(server, "DELETE", f"programmes/{row['id']}"))[0] == 200
    assert (await ask(server, "GET", "programmes"))[1] == []
    assert (await ask(server, "GET", "programmes/Peak"))[0] == 404


async def test_an_event_is_created_changed_and_cancelled(server: Any, ask: Any) -> None:
    status, row = await ask(server, "POST", EVENTS, json=LIMIT)
    assert (status, row["phase"], row["revision"], row["programme_name"]) == (201, "far", 0, "Peak")
    assert row["signals"][0]["payload"] == "IMPORT_CAPACITY_LIMIT"
    assert row["signals"][0]["intervals"] == [{"start": "2026-05-20T10:30:00+00:00", "minutes": 30.0, "value": "4"}]
    assert (await ask(server, "POST", EVENTS, json=LIMIT))[0] == 200
    more = LIMIT | {"priority": 1, "ramp_up_minutes": 60}
    status, row = await ask(server, "PUT", f"{EVENTS}/e1", json=more)
    assert (status, row["revision"], row["phase"], row["priority"]) == (200, 1, "near", 1)
    assert (await ask(server, "PUT", f"{EVENTS}/e1", json=more))[1]["revision"] == 1
    status, row = await ask(server, "DELETE", f"{EVENTS}/e1")
    assert (status, row["phase"], row["revision"]) == (200, "cancelled", 2)
    for method, path in (("DELETE", f"{EVENTS}/e1"), ("PUT", f"{EVENTS}/e1"), ("POST", EVENTS)):
        status, problem = await ask(server, method, path, json=LIMIT)
        assert (status, "cancelled" in problem["detail"]) == (409, True)
    assert [row["id"] for row in (await ask(server, "GET", EVENTS))[1]] == ["e1"]


async def test_the_same_words_are_the_same_event(server: Any, ask: Any) -> None:
    words = {k: v for k, v in LIMIT.items() if k != "id"}
    (_, one), (status, other) = [await ask(server, "POST", EVENTS, json=words) for _ in range(2)]
    assert (status, one["id"], one["revision"]) == (200, other["id"], other["revision"])
    assert (await ask(server, "POST", EVENTS, json=words | {"comment": "x"}))[1]["id"] != one["id"]


async def test_everything_an_event_may_say_is_kept_over_a_restart(serve: Any, server: Any, ask: Any) -> None:
    whole = {
        "name": "evening",
        "start": START,
        "signals": [
            {"kind": "PRICE", "intervals": [{"minutes": 15, "value": "0.31"}, {"minutes": 15, "value": "-0.02"}]},
            {"kind": "LEVEL", "value": 2, "minutes": 0, "device_classes": ["Battery"]},
            {"payload": "x-curve", "unit": "KVA", "value": 3, "minutes": 30},
        ],
        "targets": [{"kind": "GROUP", "value": "north"}, {"value": "plain"}],
        "tolerance_minutes": 5,
        "notification_minutes": 60,
        "ramp_up_minutes": 10,
        "recovery_minutes": 2.5,
        "response_required": False,
        "test": True,
        "comment": "Please",
        "reports": [{"payload": "USAGE", "unit": "KWH", "reading": "MEAN", "every_minutes": 15}, {"payload": "DEMAND"}],
    }
    status, row = await ask(server, "POST", EVENTS, json=whole)
    assert status == 201
    prices, level, private = row["signals"]
    assert (prices["currency"], prices["unit"], [i["value"] for i in prices["intervals"]]) == (
        "EUR",
        "KWH",
        ["0.31", "-0.02"],
    )
    assert prices["intervals"][1]["start"] == "2026-05-20T10:45:00+00:00"
    assert (level["payload"], level["device_classes"], row["end"]) == ("SIMPLE", ["Battery"], None)
    assert (private["payload"], private["unit"], private["kind"]) == ("x-curve", "KVA", None)
    assert row["targets"] == [{"kind": "GROUP", "value": "north"}, {"kind": "", "value": "plain"}]
    assert [row[k] for k in ("tolerance_minutes", "notification_minutes", "recovery_minutes")] == [5, 60, 2.5]
    assert (row["test"], row["response_required"], row["comment"]) == (True, False, "Please")
    assert [r["every_minutes"] for r in row["reports_asked"]] == [15, None]
    server = await serve()
    assert (await ask(server, "GET", f"{EVENTS}/{row['id']}"))[1] == row


SIGNAL = {"kind": "IMPORT_LIMIT", "value": 1, "minutes": 1}
STEP = {"minutes": 30, "value": 1, "start": START}
BAD: list[tuple[dict[str, Any], list[str]]] = [
    ({"signals": []}, ["says nothing and asks for nothing"]),
    ({"signals": [SIGNAL | {"kind": "IMPORTLIMIT"}]}, ["event.signals[1].kind", "did you mean 'IMPORT_LIMIT'?"]),
    ({"signals": [SIGNAL | {"payload": "SIMPLE"}]}, ["needs a kind or a payload, and not both"]),
    ({"signals": [SIGNAL | {"unit": "KW"}]}, ["IMPORT_LIMIT has its own unit"]),
    ({"signals": [SIGNAL | {"currency": "EUR"}]}, ["is no price"]),
    ({"signals": [SIGNAL | {"value": -1}]}, ["below zero"]),
    ({"signals": [SIGNAL | {"value": "NaN"}]}, ["not a finite number"]),
    ({"signals": [SIGNAL | {"kind": "LEVEL", "value": 4}]}, ["no level from 0 to 3"]),
    ({"signals": [SIGNAL | {"intervals": [STEP]}]}, ["use one or the other"]),
    ({"signals": [{"kind": "LEVEL"}]}, ["add value and minutes, or intervals"]),
    ({"signals": [{"kind": "LEVEL", "intervals": [STEP, STEP]}]}, ["while the one before it still holds"]),
    ({"signals": [{"kind": "LEVEL", "intervals": [STEP | {"minutes": 0}, STEP]}]}, ["only the last interval may be"]),
    ({"start": "2026-05-19T12:00:00Z"}, ["is over already: market time is 2026-05-20T10:00:00Z"]),
    ({"start": "2026-05-19T12:00:00"}, ["has no time zone"]),
    ({"id": "a b", "name": "x" * 129, "priority": -1}, ["event.id", "event.name", "counts from 1"]),
    ({"ramp_up_minutes": -1, "targets": [{"value": ""}]}, ["event.ramp_up_minutes", "event.targets[1].value"]),
    ({"reports": [{"payload": "USAGE", "every_minutes": 0}]}, ["needs minutes above 0"]),
    ({"prio": 1}, ["did you mean 'priority'?"]),
]


@pytest.mark.parametrize(("change", "told"), BAD)
async def test_a_bad_event_is_refused_with_everything_wrong(
    server: Any, ask: Any, change: dict[str, Any], told: list[str]
) -> None:
    status, problem = await ask(server, "POST", EVENTS, json=LIMIT | change)
    assert status == 422, problem
    for words in told:
        assert words in problem["detail"]
    assert (await ask(server, "GET", EVENTS))[1] == []


async def test_what_is_unknown_is_404_and_what_belongs_elsewhere_409(server: Any, ask: Any) -> None:
    await ask(server, "POST", "programmes", json={"name": "Other"})
    await ask(server, "POST", EVENTS, json=LIMIT)
    status, problem = await ask(server, "POST", "programmes/Paek/events", json=LIMIT)
    assert (status, "did you mean 'Peak'?" in problem["detail"]) == (404, True)
    assert (await ask(server, "GET", "programmes/Other/events/e1"))[0] == 404
    assert (await ask(server, "POST", "programmes/Other/events", json=LIMIT))[0] == 409
    assert (await ask(server, "DELETE", f"{EVENTS}/e1?forget=1"))[0] == 409
    assert (await ask(server, "POST", "programmes", json={"name": "Peak", "id": "p2"}))[0] == 409
    assert (await ask(server, "POST", "programmes", data=b"{"))[0] == 400
    assert (await ask(server, "POST", "programmes", json={"name": ""}))[0] == 422


async def test_a_ven_is_enrolled_changed_and_removed(server: Any, ask: Any) -> None:
    body = {"name": "house-1", "client": "c1", "profile": "3.1.0", "targets": [{"value": "north"}]}
    behind = [{"name": "battery", "resource": "battery-1"}, {"name": "meter"}]
    status, row = await ask(server, "POST", "vens", json=body | {"resources": behind})
    assert (status, row["profile"], [r["name"] for r in row["resources"]]) == (201, "3.1.0", ["battery", "meter"])
    assert (await ask(server, "POST", "vens", json=body | {"resources": behind}))[0] == 200
    kept = row["resources"][0]["id"]
    status, row = await ask(server, "POST", "vens", json=body | {"resources": behind[:1], "profile": "3.0.1"})
    assert (status, row["revision"], [r["id"] for r in row["resources"]]) == (201, 1, [kept])
    assert [v["name"] for v in (await ask(server, "GET", "vens"))[1]] == ["house-1"]
    assert (await ask(server, "DELETE", "vens/house-1"))[0] == 200
    assert (await ask(server, "GET", "vens/house-1"))[0] == 404


async def test_a_bad_ven_is_refused(server: Any, ask: Any) -> None:
    bad = {"name": "v", "profile": "2.0a", "resources": [{"name": "b", "resource": "batery-1"}, {"name": "b"}]}
    status, problem = await ask(server, "POST", "vens", json=bad)
    assert status == 422
    for words in ("one of 2.0b, 3.0.1, 3.1.0", "did you mean 'battery-1'?", "'b' stands twice"):
        assert words in problem["detail"]


async def test_what_vens_say_stands_with_the_event_and_with_the_ven(server: Any, ask: Any, kit: Any) -> None:
    for name in ("house-1", "house-2"):
        await ask(server, "POST", "vens", json={"name": name, "resources": [{"name": "battery"}]})
    await ask(server, "POST", EVENTS, json=LIMIT | {"targets": [{"kind": "VEN_NAME", "value": "house-1"}]})
    one, two = server.programmes.all(Ven).values()
    series = ReportSeries("battery", "USAGE", (SignalInterval(kit.now, timedelta(minutes=15), Decimal("0.4")),), "KWH")
    said = (
        EventOpt(id=f"e1/{one.id}", event="e1", ven=one.id, opt=Opt.OPT_OUT, reason="mustNotRun"),
        Availability(id="a1", ven=two.id, opt=Opt.OPT_OUT, windows=(Window(kit.now),), resources=("battery",)),
        ProgrammeReport(id="r1", event="e1", ven="house-1", name="usage", series=(series,)),
    )
    await server.programmes.write([Edit(None, entry, "test") for entry in said])
    row = (await ask(server, "GET", f"{EVENTS}/e1"))[1]
    assert [(v["name"], v["opt"]["opt"], v["opt"]["current"]) for v in row["vens"]] == [("house-1", "optOut", True)]
    assert (row["opted_in"], row["opted_out"]) == (0, 1)
    assert row["reports"][0]["series"][0]["intervals"][0]["value"] == "0.4"
    await ask(server, "PUT", f"{EVENTS}/e1", json=LIMIT)
    row = (await ask(server, "GET", f"{EVENTS}/e1"))[1]
    current = {v["name"]: v["opt"] and v["opt"]["current"] for v in row["vens"]}
    assert current == {"house-1": False, "house-2": None}
    opts = (await ask(server, "GET", "opts"))[1]
    assert ([o["reason"] for o in opts["events"]], len(opts["schedules"])) == (["mustNotRun"], 1)
    assert (await ask(server, "GET", "opts?ven=house-2"))[1]["events"] == []
    assert [r["id"] for r in (await ask(server, "GET", "reports?ven=house-1&event=e1"))[1]] == ["r1"]
    assert (await ask(server, "GET", "reports?ven=house-2"))[1] == []
    shown = (await ask(server, "GET", "vens/house-2"))[1]
    assert (shown["availability"][0]["resources"], shown["reports"]) == (["battery"], [])


async def test_events_reach_the_members_of_groups(server: Any, ask: Any) -> None:
    await ask(server, "POST", "vens", json={"name": "house-1", "resources": [{"name": "battery"}]})
    await ask(server, "POST", "vens", json={"name": "house-2"})
    inner = (await ask(server, "GET", "vens/house-1"))[1]["resources"][0]["id"]
    groups = (
        ResourceGroup(id="g1", name="street", members=(GroupMember(inner),)),
        ResourceGroup(id="g2", name="north", members=(GroupMember("g1", is_group=True),)),
    )
    await server.programmes.write([Edit(None, group, "test") for group in groups])
    row = (await ask(server, "POST", EVENTS, json=LIMIT | {"targets": [{"kind": "GROUP", "value": "north"}]}))[1]
    assert [v["name"] for v in row["vens"]] == ["house-1"]


async def test_an_event_that_came_over_a_standard_is_changed_like_our_own(server: Any, ask: Any) -> None:
    await ask(server, "POST", EVENTS, json=LIMIT)
    known = server.programmes.get(ProgrammeEvent, "e1")
    foreign = replace(known, written=Written("openadr3/3.1.0", "{}"))
    await server.programmes.write([Edit(known, foreign, "openadr3/bl")])
    row = (await ask(server, "GET", f"{EVENTS}/e1"))[1]
    assert (row["form"], row["revision"]) == ("openadr3/3.1.0", 1)
    row = (await ask(server, "PUT", f"{EVENTS}/e1", json=LIMIT | {"comment": "ours"}))[1]
    assert (row["form"], row["comment"], row["revision"]) == ("", "ours", 2)
    assert server.programmes.get(Programme, row["programme"]).name == "Peak"
