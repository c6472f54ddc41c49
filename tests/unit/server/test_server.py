"""The composition: started in order, honest about its health, stopped in the opposite order."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from adapters.clock import Anchor
from adapters.ports import Change, Received
from datamodels import Dispatch, DispatchInterval, DispatchKind, Quantity, Telemetry
from interop.config import Config
from interop.effects import Instruct, Log
from interop.server import Server
from interop.store import Reader, Store, StoreLocked, StoreUnavailable

Serve = Callable[..., Awaitable[Server]]
BATTERY = {
    "id": "bat1", "connection": "ean.1", "kind": "BATTERY", "role": "STORAGE", "p_min_w": -5000, "p_max_w": 5000,
    "binding": {"adapter": "wire", "address": "x"},
}  # fmt: skip
WIRED: dict[str, Any] = {"adapters": {"wire": {}}, "resources": [BATTERY]}
NOW = datetime.now(UTC)


def _limit() -> Dispatch:
    interval = DispatchInterval(NOW - timedelta(hours=1), timedelta(hours=2), 3000)
    return Dispatch("d1", "bat1", DispatchKind.IMPORT_LIMIT, (interval,), "test")


async def test_adapters_and_desk_share_one_live_world(serve: Serve) -> None:
    server = await serve(**WIRED, desk={"kind": "thinker", "options": {"a": 1}})
    wire: Any = server.adapters["wire"]
    desk: Any = server.desk
    assert desk.options == {"a": 1}
    assert desk.context.adapters is server.adapters
    assert wire.ports.participants is desk.context.participants is server.peers
    assert wire.ports.inbound is server.hub
    await desk.context.do([Log("hello"), Instruct(_limit())])
    await wire.ports.inbound.receive(Received("wire", "ven1", "poll", b"x"), [Change("reg", "ven1", {"n": 1})])
    await server.stop()
    assert wire.ports.state.load("reg") == {"ven1": {"n": 1}}
    assert wire.life == ["started", "apply d1", "stopped"]
    assert desk.life == ["started", "stopped"]
    reader = Reader(server.config.server.data_dir)
    assert [e.kind for e in reader.events()] == ["hello", "dispatch.instructed", "message.in"]
    reader.close()


async def test_a_server_that_cannot_start_leaves_nothing_behind(configure: Callable[..., Config]) -> None:
    config = configure(adapters={"wire": {"fail": True}})
    for _ in range(2):
        with pytest.raises(OSError, match="port is taken"):
            await Server(config).start()
    await (await Store.open(config.server.data_dir)).close()


@pytest.mark.parametrize(
    ("sections", "expected"),
    [
        ({"adapters": {"wier": {}}}, r"no adapter is called 'wier'"),
        ({"desk": {"kind": "nobody"}}, r"no desk is called 'nobody'; installed: .*aggregator"),
        ({"adapters": {"wire": {"unknown": 1}}}, r"\[adapters.wire\]: ValueError: unknown key"),
    ],
)
async def test_what_is_configured_wrongly_is_named(serve: Serve, sections: dict[str, Any], expected: str) -> None:
    with pytest.raises((LookupError, ValueError), match=expected):
        await serve(**sections)


async def test_two_servers_never_share_data(serve: Serve) -> None:
    await serve()
    with pytest.raises(StoreLocked, match="in use by another gridparley process"):
        await serve()


async def test_readiness_names_every_cause(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    server = await serve(adapters={"wire": {"ready": False}})
    (problem,) = await server.problems()
    assert (problem.where, problem.rule) == ("adapters.wire", "ready.adapter")
    assert "plug it in" in problem.message

    async def full() -> None:
        raise StoreUnavailable("disk full")

    monkeypatch.setattr(server.store, "prove", full)
    server._proof = (0.0, [])
    assert {p.rule for p in await server.problems()} == {"ready.store", "ready.adapter"}
    relay = server.hub.relay._task
    assert relay is not None
    relay.cancel()
    with pytest.raises(asyncio.CancelledError):
        await relay
    assert "ready.hub" in {p.rule for p in await server.problems()}


async def test_an_accelerated_clock_is_followed(serve: Serve, tmp_path: Path) -> None:
    Anchor(datetime.now(UTC).timestamp(), datetime(2016, 5, 20, tzinfo=UTC), 900.0).write(tmp_path / "clock.json")
    server = await serve(clock={"file": "clock.json"})
    assert server.clock.now().year == 2016
    assert (await server.views.status())["clock_rate"] == 900.0


async def test_views_show_devices_with_what_was_heard_last(serve: Serve) -> None:
    server = await serve(**WIRED)
    (before,) = await server.views.resources()
    assert (before["power_kw"], before["online"], before["limit_kw"]) == (None, None, None)
    await server.hub.telemetry(
        [Telemetry("bat1", Quantity.POWER_W, NOW, -1500.0), Telemetry("bat1", Quantity.ONLINE, NOW, 1.0)]
    )
    await server.hub.do([Instruct(_limit())])
    (after,) = await server.views.resources()
    assert (after["power_kw"], after["online"], after["limit_kw"]) == (-1.5, True, 3.0)
    (dispatch,) = await server.views.dispatches()
    assert (dispatch["id"], dispatch["value"], dispatch["status"]) == ("d1", 3000, "NEW")
    assert [row["kind"] for row in await server.views.events()] == ["dispatch.instructed"]
