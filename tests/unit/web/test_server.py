"""The pages of a real server: what `interop.views` tells is what the templates expect."""

from datetime import timedelta
from pathlib import Path

import aiohttp
from lxml import html

from interop.config import parse_config
from interop.effects import Alarm, Log
from interop.market.commands import supply
from interop.market.commands.checks import StretchBody
from interop.market.commands.supply import PrognosisBody
from interop.market.desk import MarketDesk
from interop.market.machine import say
from interop.server import Server

CONFIG = {
    "party": {"domain": "agr.example.org", "role": "AGR"},
    "server": {"http_listen": "127.0.0.1:0"},
    "peers": [{"domain": "dso.example.org", "role": "DSO", "endpoint": "http://127.0.0.1:9/"}],
    "resources": [
        {
            "id": "battery-1",
            "connection": "ean.871685900012636543",
            "kind": "BATTERY",
            "role": "STORAGE",
            "p_min_w": -5000,
            "p_max_w": 5000,
            "capacity_wh": 10_000,
        }
    ],
}


async def test_a_real_server_shows_its_pages(tmp_path: Path) -> None:
    server = Server(parse_config(CONFIG, tmp_path, {}))
    await server.start()
    try:
        await server.hub.do([Alarm("test.rule", "dso.example.org", "something a person should see"), Log("test.log")])
        async with aiohttp.ClientSession(f"http://{server.http_address}") as session:

            async def text(path: str) -> str:
                async with session.get(path, headers={"Accept": "text/html"}) as response:
                    assert response.status == 200, path
                    assert "default-src 'none'" in response.headers["Content-Security-Policy"]
                    return str(html.fromstring(await response.text()).find(".//main").text_content())

            assert "battery-1" in await text("/resources")
            assert "something a person should see" in await text("/")
            assert "dso.example.org" in await text("/peers")
            assert "test.log" in await text("/log")
            assert "No conversations yet" in await text("/conversations")
            assert "Nothing was traded yet" in await text("/market"), "a server without a market desk"
            assert "Nothing was settled yet" in await text("/settlement")
            assert "No register was asked" in await text("/register")
            async with session.get("/conversations/none", headers={"Accept": "text/html"}) as response:
                assert response.status == 404
                assert response.content_type == "text/html"
            async with session.get("/api/v1/messages/none", headers={"Accept": "text/html"}) as response:
                assert response.status == 404
                assert response.content_type == "application/problem+json", "the API answers as an API"
            async with session.get("/live") as response:
                assert response.content_type == "text/event-stream"
    finally:
        await server.stop()


async def test_a_market_desk_shows_its_trade(tmp_path: Path) -> None:
    point = {"address": "ea1.2030-01.org.example:cp-1", "dso": "dso.example.org"}
    config = CONFIG | {"desk": {"kind": "manual"}, "market": {"congestion_points": [point]}}
    server = Server(parse_config(config, tmp_path, {}))
    await server.start()
    try:
        assert isinstance(server.desk, MarketDesk)
        day = (server.clock.now() + timedelta(days=3)).date()
        words = PrognosisBody(day, (StretchBody(1, 5000, server.terms.calendar.isps(day)),))
        prognosis = supply.prognosis(server.desk.book, server.desk.context, words, server.clock.now())
        server.desk.book.apply(say(prognosis))
        async with aiohttp.ClientSession(f"http://{server.http_address}") as session:
            for path, told in (
                ("/market", point["address"]),
                (f"/market/{day}/{point['address']}", "Nothing was requested"),
                ("/settlement", "Nothing was settled yet"),
                ("/register", "No register was asked"),
            ):
                async with session.get(path, headers={"Accept": "text/html"}) as response:
                    assert (response.status, told in await response.text()) == (200, True), path
            async with session.get(f"/market/{day + timedelta(days=1)}/{point['address']}") as response:
                assert response.status == 404
    finally:
        await server.stop()
