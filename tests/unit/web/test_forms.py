"""The forms of the programmes' pages: whose they are, what they say, and what is refused."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from zoneinfo import ZoneInfo

import aiohttp
import pytest
from lxml import html

from datamodels import Programme, ProgrammeEvent
from interop.config import parse_config
from interop.server import Server
from interop.web.programmes import event_body, plots_of_reports

CONFIG = {"party": {"domain": "agr.example.org", "role": "AGR"}, "server": {"http_listen": "127.0.0.1:0"}}
EVENT = {"kind": "LEVEL", "value": "1 2;0", "minutes": "15", "start": "2026-05-20T12:00"}


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Server]:
    server = Server(parse_config(CONFIG, tmp_path, {}))
    await server.start()
    yield server
    await server.stop()


def browser(server: Server) -> aiohttp.ClientSession:
    return aiohttp.ClientSession(f"http://{server.http_address}", cookie_jar=aiohttp.CookieJar(unsafe=True))


async def token(session: aiohttp.ClientSession, path: str = "/programmes") -> str:
    async with session.get(path) as response:
        return str(html.fromstring(await response.text()).find(".//input[@name='csrf']").get("value"))


async def test_a_form_must_be_ours_and_the_browsers(server: Server) -> None:
    async with browser(server) as session, browser(server) as other:
        said = {"name": "Peak", "csrf": await token(session)}
        await token(other)
        for sender, data in ((other, said), (session, {"name": "Peak"}), (session, said | {"csrf": "x"})):
            async with sender.post("/programmes", data=data) as response:
                assert response.status == 403
                assert "open the page again" in await response.text()
        headers = {"Origin": "http://elsewhere.example"}
        async with session.post("/programmes", data=said, headers=headers) as response:
            assert response.status == 403
        assert server.programmes.all(Programme) == {}
        async with session.post("/programmes", data=said) as response:
            assert (response.status, response.url.path) == (200, "/programmes")
        async with session.post("/programmes", data=said | {"name": ""}) as response:
            assert response.status == 422
            assert "1 to 128 printable characters" in await response.text()
    assert [p.name for p in server.programmes.all(Programme).values()] == ["Peak"]


async def test_with_a_token_configured_the_form_must_show_it(tmp_path: Path) -> None:
    config = CONFIG | {"server": {"http_listen": "127.0.0.1:0", "api_token": "s" * 32}}
    server = Server(parse_config(config, tmp_path, {}))
    await server.start()
    try:
        async with browser(server) as session:
            said = {"name": "Peak", "csrf": await token(session)}
            async with session.post("/programmes", data=said) as response:
                assert response.status == 401
            async with session.post("/programmes", data=said | {"api_token": "s" * 32}) as response:
                assert response.status == 200
        assert len(server.programmes.all(Programme)) == 1
    finally:
        await server.stop()


async def test_what_the_form_cannot_say_is_told_on_the_page(server: Server) -> None:
    async with browser(server) as session:
        said = {"csrf": await token(session), "name": "Peak"}
        await (await session.post("/programmes", data=said)).release()
        said = EVENT | {"csrf": said["csrf"], "programme": "Peak"}
        for change, words in (
            ({"value": "1 x"}, "value: &#39;x&#39; is not a number"),
            ({"minutes": "NaN"}, "minutes: &#39;NaN&#39; is not a number"),
            ({"start": "noon"}, "noon"),
            ({"programme": "Paek"}, "did you mean"),
            ({"start": "2020-01-01T12:00"}, "is over already"),
        ):
            async with session.post("/programmes/events", data=said | change) as response:
                assert response.status in (404, 422), change
                assert words in await response.text()
    assert server.programmes.all(ProgrammeEvent) == {}


def test_an_event_is_read_in_local_time_with_a_value_for_each_interval() -> None:
    body = event_body(EVENT | {"targets": "VEN_NAME=a b", "test": "on"}, ZoneInfo("Europe/Amsterdam"))
    assert body.start == datetime(2026, 5, 20, 10, tzinfo=UTC)
    assert [(i.minutes, i.value) for i in body.signals[0].intervals] == [(15, 1), (15, 2), (15, Decimal(0))]
    assert [(t.kind, t.value) for t in body.targets] == [("VEN_NAME", "a"), ("", "b")]
    assert body.test


def test_reports_are_drawn_by_quantity_with_a_line_for_each_reporter() -> None:
    now = datetime(2026, 5, 20, 10, tzinfo=UTC)
    interval = {"start": now.isoformat(), "minutes": 0, "value": "1.5"}
    series = {"resource": "b", "payload": "USAGE", "unit": "KWH", "reading": "", "intervals": [interval]}
    reports = [{"id": str(k), "ven_name": f"v{k}", "client": "", "series": [series]} for k in (1, 2)]
    (plot,) = plots_of_reports(reports, now + timedelta(minutes=5))
    assert (plot["unit"], [line["label"] for line in plot["lines"]]) == ("kWh", ["v1 b", "v2 b"])
    begin, end, value = plot["lines"][0]["steps"][0]
    assert (end - begin, value) == (3900, 1.5)
