"""The pages of a real server: what `interop.views` tells is what the templates expect."""

from pathlib import Path

import aiohttp
from lxml import html

from interop.config import parse_config
from interop.effects import Alarm, Log
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
