import asyncio
import json
from types import ModuleType
from typing import Any

import pytest
from aiohttp import ClientResponse, web
from aiohttp.test_utils import TestClient, TestServer

from interop.web import live, mount


async def event(response: ClientResponse, *, clock: bool = False) -> tuple[str, Any]:
    """The next server-sent event: its name and data; the clock only where it is asked for."""
    name = ""
    async with asyncio.timeout(5):
        while True:
            line = (await response.content.readline()).decode().rstrip("\n")
            assert line or not response.content.at_eof(), "the stream ended"
            if line.startswith("event: "):
                name = line.removeprefix("event: ")
            elif line.startswith("data: ") and (clock or name != "clock"):
                return name, json.loads(line.removeprefix("data: "))


async def test_a_browser_first_gets_everything_then_the_news(
    client: TestClient[Any, Any], views: Any, sample: ModuleType
) -> None:
    async with client.get("/live") as response:
        assert response.content_type == "text/event-stream"
        assert (await response.content.readline()).startswith(b"retry: ")
        name, state = await event(response)
        assert name == "snapshot"
        assert len(state["day"]["starts"]) == 96
        assert len(state["actuals"]["net_kw"]) == 51
        assert state["progress"]["isp"] == 51
        views.feed.publish("actual", {"isp": 52, "net_kw": -90.0, "mean_kw": -104.5, "pv_kw": -160.0, "live": True})
        name, news = await event(response)
        assert name == "actual"
        assert news["net_kw"] == -104.5, "limits hold for means, so the mean so far is what is shown"
    async with client.get("/live", headers={"Last-Event-ID": "2"}) as again:
        _, state = await event(again)
        assert state["actuals"]["net_kw"][51] == -104.5
        assert state["actuals"]["pv_kw"][51] == -160.0


async def test_what_waits_for_a_slow_browser_does_not_grow(client: TestClient[Any, Any], views: Any) -> None:
    async with client.get("/live") as response:
        await event(response)
        for k in range(3000):
            views.feed.publish("actual", {"isp": 60, "net_kw": float(k)})
            views.feed.publish("message", {"peer": "a", "message_id": str(k)})
            views.feed.publish(f"telemetry/battery-{k}/power_w", {"value": k})
        got = [await event(response) for _ in range(3)]
        assert got == [("actual", {"isp": 60, "net_kw": 2999.0}), ("message", {}), ("resource", {})]


async def test_infinity_never_reaches_a_browser(client: TestClient[Any, Any], views: Any, sample: ModuleType) -> None:
    async with client.get("/live") as response:
        await event(response)
        views.feed.publish("day", sample.day() | {"limit_import_kw": [float("inf"), float("nan"), 3.0]})
        _, day = await event(response)
        assert day["limit_import_kw"] == [None, None, 3.0]


async def test_too_many_browsers_are_told_to_come_back(sample: ModuleType) -> None:
    views = sample.SampleViews()
    app, limited = web.Application(), live.Live(views, views.now, most=1)
    app.add_routes([web.get("/live", limited.stream)])
    app.cleanup_ctx.append(limited.follow)
    app.on_shutdown.append(limited.close)
    async with TestClient(TestServer(app)) as client, client.get("/live") as first:
        await event(first)
        refused = await client.get("/live")
        assert refused.status == 503
        assert refused.headers["Retry-After"]


async def test_a_server_that_stops_ends_its_streams(sample: ModuleType) -> None:
    app = web.Application()
    views = sample.SampleViews()
    mount(app, views, views.now)
    client = TestClient(TestServer(app))
    await client.start_server()
    response = await client.get("/live")
    await event(response)
    async with asyncio.timeout(3):
        await client.server.close()
        await response.content.read()
    await client.close()


async def test_silence_is_broken(client: TestClient[Any, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "_HEARTBEAT_S", 0.02)
    async with client.get("/live") as response:
        await event(response)
        name, data = await event(response, clock=True)
        assert name == "clock"
        assert data["market_time"].startswith("2016-05-20T10:37")
