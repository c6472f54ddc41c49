"""The pages of a real server: what `interop.views` tells is what the templates expect."""

from datetime import date, timedelta
from pathlib import Path

import aiohttp
import pytest
from lxml import html
from support.market import CRO, DSO, P1, context, ean, head, point, stay

from datamodels import DsoPortfolioUpdate
from interop.commonreference.desk import build
from interop.config import parse_config
from interop.effects import Alarm, Log
from interop.market.commands import supply
from interop.market.commands.checks import StretchBody
from interop.market.commands.supply import PrognosisBody
from interop.market.desk import MarketDesk
from interop.market.machine import say
from interop.server import Server

BEGIN = date(2020, 1, 1)
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
    place = {"address": "ea1.2030-01.org.example:cp-1", "dso": "dso.example.org"}
    config = CONFIG | {"desk": {"kind": "manual"}, "market": {"congestion_points": [place]}}
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
                ("/market", place["address"]),
                (f"/market/{day}/{place['address']}", "Nothing was requested"),
                ("/settlement", "Nothing was settled yet"),
                ("/register", "No register was asked"),
            ):
                async with session.get(path, headers={"Accept": "text/html"}) as response:
                    assert (response.status, told in await response.text()) == (200, True), path
            async with session.get(f"/market/{day + timedelta(days=1)}/{place['address']}") as response:
                assert response.status == 404
    finally:
        await server.stop()


@pytest.mark.parametrize(("listen", "named"), [("127.0.0.1:8080", True), ("192.0.2.1:8080", False)])
async def test_connections_are_named_on_this_machine_only(tmp_path: Path, listen: str, named: bool) -> None:
    config = {"party": {"domain": CRO, "role": "CRO"}, "server": {"http_listen": listen}}
    config |= {
        "desk": {"kind": "commonreference", "options": {"mode": "open"}},
        "peers": [{"domain": DSO, "role": "DSO"}],
    }
    server = Server(parse_config(config, tmp_path, {}))  # never started: nothing listens
    desk = build({"mode": "open"}, context(CRO, [DSO]))
    points = (point(P1, stay(1, BEGIN), start=BEGIN),)
    desk.register.apply(DSO, DsoPortfolioUpdate(head(DSO, CRO, "u"), "Europe/Amsterdam", points), BEGIN)
    server.desk = desk
    found = await server.views.reference()
    assert (ean(1) in repr(found)) is named
    assert found["points"][0]["connections"] == 1
