"""Signals over HTTP: imposed, listed, revised, cancelled; bad ones named in full; there again after a restart."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from adapters.ports import Received
from datamodels import GridSignal, SignalInterval, SignalKind

LIMIT = {"kind": "IMPORT_LIMIT", "value": 4000, "start": "2026-05-20T12:00:00+02:00", "minutes": 30, "id": "l1"}


async def test_a_signal_is_imposed_listed_revised_and_cancelled(serve: Any, ask: Any, kit: Any) -> None:
    server = await serve()
    target = {"kind": "congestion_point", "id": kit.point}
    status, row = await ask(server, "POST", "signals", json=LIMIT | {"targets": [target]})
    assert (status, row["id"], row["status"], row["peer"]) == (201, "l1", "active", kit.agr)
    assert row["targets"] == [target]
    assert row["intervals"] == [{"start": "2026-05-20T10:00:00+00:00", "minutes": 30.0, "value": "4000"}]
    assert (await ask(server, "POST", "signals", json=LIMIT | {"targets": [target]}))[0] == 200
    status, row = await ask(server, "POST", "signals", json=LIMIT | {"value": 3000})
    assert (status, row["revision"]) == (201, 1)
    assert (await ask(server, "DELETE", "signals/l1"))[1]["status"] == "cancelled"
    (row,) = (await ask(server, "GET", "signals"))[1]
    assert (row["status"], row["revision"]) == ("cancelled", 2)
    assert (await ask(server, "DELETE", "signals/l1"))[0] == 409
    status, row = await ask(server, "POST", "signals", json=LIMIT)
    assert (status, row["status"], row["revision"]) == (201, "active", 3)


async def test_the_same_words_are_the_same_signal(serve: Any, ask: Any) -> None:
    server = await serve()
    words = {k: v for k, v in LIMIT.items() if k != "id"}
    (first, one), (second, other) = [await ask(server, "POST", "signals", json=words) for _ in range(2)]
    assert (first, second) == (201, 200)
    assert one["id"] == other["id"]
    assert len((await ask(server, "GET", "signals"))[1]) == 1


async def test_signals_are_there_again_after_a_restart(serve: Any, ask: Any) -> None:
    await ask(await serve(), "POST", "signals", json=LIMIT)
    server = await serve()
    assert [row["id"] for row in (await ask(server, "GET", "signals"))[1]] == ["l1"]
    assert (await ask(server, "POST", "signals", json=LIMIT))[0] == 200


async def test_a_utilitys_signal_is_seen_but_only_the_utility_may_end_it(serve: Any, ask: Any, kit: Any) -> None:
    server = await serve()
    interval = SignalInterval(kit.now + timedelta(hours=1), timedelta(0), Decimal(5000))
    signal = GridSignal("e1", "VTN", SignalKind.EXPORT_LIMIT, (interval,))
    await server.hub.receive(Received("wire", "utility", "oadrDistributeEvent", b"<x/>", "r1", content=signal))
    for _ in range(200):
        if rows := (await ask(server, "GET", "signals"))[1]:
            break
    (row,) = rows
    assert (row["peer"], row["source"], row["status"], row["end"]) == ("utility", "VTN", "pending", None)
    status, problem = await ask(server, "DELETE", "signals/e1")
    assert status == 409
    assert "comes from utility" in problem["detail"]


async def test_what_nothing_here_acts_on_is_recorded_with_an_alarm(serve: Any, ask: Any) -> None:
    server = await serve()
    assert (await ask(server, "POST", "signals", json=LIMIT | {"kind": "LEVEL", "value": 2}))[0] == 201
    assert [alarm["rule"] for alarm in (await ask(server, "GET", "alarms"))[1]] == ["signal.not_obeyed"]
    await ask(server, "DELETE", "signals/l1")
    assert len((await ask(server, "GET", "alarms"))[1]) == 1


BAD: list[tuple[dict[str, Any], list[str]]] = [
    ({"value": -1}, ["below zero"]),
    ({"value": "NaN"}, ["not a finite number"]),
    ({"kind": "IMPORTLIMIT"}, ["did you mean 'IMPORT_LIMIT'?"]),
    ({"start": "tomorrow"}, ["write it as 2026-01-31T10:15:00+01:00"]),
    ({"start": "2026-05-20T12:00:00"}, ["has no time zone"]),
    ({"minutes": -1, "id": "a b", "priority": -1}, ["signal.minutes", "use 1 to 80 letters", "counts from 1"]),
    ({"targets": [{"kind": "congestion_point", "id": "ean.9"}]}, ["unknown congestion_point 'ean.9'"]),
    ({"targets": [{"kind": "resource", "id": "battery-2"}]}, ["did you mean 'battery-1'?"]),
    ({"kind": "PRICE", "currency": "USD"}, ["settles in EUR"]),
    ({"kind": "LEVEL", "value": 4}, ["no level from 0 to 3"]),
    ({"unit": "W"}, ["unknown key"]),
]


@pytest.mark.parametrize(("wrong", "details"), BAD)
async def test_everything_wrong_is_named_and_nothing_changes(
    serve: Any, ask: Any, wrong: dict[str, Any], details: list[str]
) -> None:
    server = await serve()
    status, problem = await ask(server, "POST", "signals", json=LIMIT | wrong)
    assert status == 422
    for detail in details:
        assert detail in problem["detail"]
    assert await ask(server, "GET", "signals") == (200, [])


async def test_what_is_no_json_unknown_or_has_no_desk(serve: Any, ask: Any) -> None:
    server = await serve()
    assert (await ask(server, "POST", "signals", data="{"))[0] == 400
    assert (await ask(server, "DELETE", "signals/none"))[0] == 404
    server = await serve("none")
    status, problem = await ask(server, "POST", "signals", json=LIMIT)
    assert (status, problem["detail"]) == (409, "this server has no market desk ([desk] kind = 'none')")


async def test_a_page_elsewhere_cannot_impose_anything(serve: Any, ask: Any) -> None:
    server = await serve()
    for path in ("signals", "dispatches"):
        assert (await ask(server, "POST", path, json=LIMIT, headers={"Origin": "http://evil.example"}))[0] == 403
    assert (await ask(server, "DELETE", "signals/x", headers={"Origin": "http://evil.example"}))[0] == 403
