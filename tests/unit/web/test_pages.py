import asyncio
import re
from types import ModuleType
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from lxml import html
from support.web_market import POINT, Sample

from interop.web import mount

PAGES = ["/", "/market", "/settlement", "/conversations", "/resources", "/peers", "/register", "/log"]
FRAGMENTS = [
    "now",
    "latest",
    "alarms",
    "resources",
    "dispatches",
    "settlement",
    "places",
    "settlements",
    "register",
    "conversations",
    "peers",
    "log",
    "table",
]
HTML = {"Accept": "text/html"}


@pytest.mark.parametrize("path", [*PAGES, "/nothing/here", "/fragments/now"])
async def test_every_page_has_a_strict_policy(client: TestClient[Any, Any], path: str) -> None:
    response = await client.get(path, headers=HTML)
    policy = dict(part.strip().split(" ", 1) for part in response.headers["Content-Security-Policy"].split(";"))
    assert policy["default-src"] == "'none'"
    assert policy["script-src"] == policy["style-src"] == policy["connect-src"] == "'self'"
    assert policy["base-uri"] == policy["frame-ancestors"] == "'none'"
    assert "unsafe" not in response.headers["Content-Security-Policy"]
    assert response.headers["X-Content-Type-Options"] == "nosniff"
    assert response.headers["Referrer-Policy"] == "same-origin"
    assert response.headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize("path", PAGES)
async def test_pages_keep_to_their_policy_and_load_nothing_from_elsewhere(
    client: TestClient[Any, Any], path: str
) -> None:
    text = await (await client.get(path)).text()
    assert not re.search(r"<style|\sstyle=|\son\w+=|javascript:", text)
    assert all("src=" in tag for tag in re.findall(r"<script[^>]*>", text))
    targets = re.findall(r'(?:src|href|hx-get|action)="([^"]*)"', text)
    assert targets
    assert all(target.startswith(("/", "#")) and not target.startswith("//") for target in targets)


async def test_the_overview_tells_the_day(client: TestClient[Any, Any], sample: ModuleType) -> None:
    text = await (await client.get("/")).text()
    assert '<li class="current" aria-current="step">Operate' in text
    assert "ISP 51 of 96" in text
    assert "\u2212107.2" in text
    assert "2.8 kW below the export limit" in text
    assert "38.3 kW above the limit; 21 ISPs exceed it" in text
    assert "20 May 2016" in text
    assert "no telemetry for 3 ISPs" in text
    assert all(f"battery-{k}" in text for k in range(1, 7))
    assert "pv-1" in text
    assert "pv-5" not in text
    assert "All 12 resources" in text


@pytest.mark.parametrize(
    ("path", "advice"),
    [
        ("/", "No day has been planned yet"),
        ("/market", "Nothing was traded yet"),
        ("/settlement", "Nothing was settled yet"),
        ("/register", "No register was asked"),
        ("/conversations", "No conversations yet"),
        ("/resources", "Nothing has been dispatched"),
        ("/peers", "No peers are configured"),
        ("/log", "The log is empty"),
    ],
)
async def test_an_empty_server_says_what_to_do(sample: ModuleType, path: str, advice: str) -> None:
    app = web.Application()
    views = sample.SampleViews()
    mount(app, views, views.now)
    async with TestClient(TestServer(app)) as client:
        response = await client.get(path)
        assert response.status == 200
        assert advice in await response.text()


async def test_a_conversation_shows_messages_answers_and_reasons(
    client: TestClient[Any, Any], sample: ModuleType
) -> None:
    listed = await (await client.get("/conversations")).text()
    assert f'href="/conversations/{sample.CONVERSATION}"' in listed
    assert "1 rejected" in listed
    assert "1 open" in listed
    text = await (await client.get(f"/conversations/{sample.CONVERSATION}")).text()
    assert text.count('<g class="message') == 5
    assert text.count('<g class="answer') == 4
    assert "ExpirationDateTime is after the end of the first ISP" in text
    assert "not delivered yet: connection refused" in text
    assert "signature ok" in text
    assert "19 May 12:04:07" in text, "times are those of the market, two hours ahead of UTC in May"


async def test_a_protocol_without_conversations_has_one_with_each_peer(
    client: TestClient[Any, Any], views: Any, sample: ModuleType
) -> None:
    more: dict[str, Any] = {"adapter": "openadr2", "conversation_id": "", "message_id": None}
    for k, peer in enumerate(["home/1 ?", "home-2", "home/1 ?"]):
        views.said.append(sample.message(90 + k, f"oadrCreatedEvent{k}", "in", None, peer=peer, **more))
    listed = await (await client.get("/conversations")).text()
    assert "/conversations/openadr2%3Ahome%2F1%20%3F" in listed
    response = await client.get("/conversations/openadr2%3Ahome%2F1%20%3F")
    assert response.status == 200
    text = await response.text()
    assert "oadrCreatedEvent0" in text
    assert "oadrCreatedEvent2" in text
    assert "oadrCreatedEvent1" not in text
    assert "unanswered" not in text, "nobody owes an answer there"


async def test_resources_are_ordered_as_people_count(client: TestClient[Any, Any], views: Any) -> None:
    views.things[:] = [{"id": f"home-{k}", "kind": "METER"} for k in (10, 9, 1)] + [{"id": "home-3", "power_kw": 1.0}]
    text = await (await client.get("/resources")).text()
    places = [text.index(f">home-{k}<") for k in (3, 1, 9, 10)]
    assert places == sorted(places)


def spoil(data: Any, evil: str) -> Any:
    """The same data with evil in place of every text."""
    if isinstance(data, dict):
        return {key: spoil(value, evil) for key, value in data.items()}
    if isinstance(data, list):
        return [spoil(value, evil) for value in data]
    return evil if isinstance(data, str) else data


class Spoilt:
    """A market whose every text is evil."""

    def __init__(self, market: Sample, evil: str) -> None:
        self.places = lambda: spoil(market.places(), evil)
        self.settlements = lambda: spoil(market.settlements(), evil)
        self.place = lambda point, day: spoil(market.place(POINT, day), evil)


async def test_hostile_text_is_text(client: TestClient[Any, Any], views: Any, sample: ModuleType) -> None:
    evil = "<script>alert(1)</script>\"'><img src=x onerror=alert(2)>"
    views.said.append(
        sample.message(91, evil, "in", False, peer=evil, adapter=evil, reasons=[evil], signature=evil, state="DEAD")
        | {"conversation_id": evil, "message_id": evil, "at": evil, "reason": evil}
    )
    views.things.append({"id": evil, "name": evil, "kind": evil, "adapter": evil, "power_kw": evil, "soc": evil})
    views.told.append({"id": evil, "resource": evil, "kind": evil, "status": evil, "value": evil, "reason": evil})
    views.known.append({"id": evil, "role": evil, "adapters": [evil], "endpoint": evil, "warnings": [evil]})
    views.alarmed.append({"rule": evil, "peer": evil, "message": evil, "at": evil})
    views.logged.append({"seq": evil, "at": evil, "kind": evil, "data": {evil: evil}})
    views.feed.publish("day", sample.day() | {"congestion_point": evil})
    views.feed.publish("progress", {"phase": evil, "isp": 3, "of": 96, "text": evil, "market_time": evil})
    views.feed.publish("settlement", {"rows": [{"order_reference": evil, "price": evil, "net": 1, "currency": evil}]})
    views.market, views.register = Spoilt(views.market, evil), spoil(views.register, evil)
    await asyncio.sleep(0)
    page = "/conversations/%3Cscript%3Ealert%281%29%3C%2Fscript%3E%22%27%3E%3Cimg%20src%3Dx%20onerror%3Dalert%282%29%3E"
    paths = [
        *PAGES,
        page,
        "/market/2030-06-02/x",
        "/fragments/place?day=2030-06-02&point=x",
        *(f"/fragments/{name}?q={page[15:]}&full=1" for name in FRAGMENTS),
        f"/{page[15:]}",
    ]
    for path in paths:
        response = await client.get(path, headers=HTML)
        assert response.status in (200, 404), path
        tree = html.fromstring(await response.text())
        assert not [e for e in tree.iter("script") if not e.get("src")], path
        assert all(e.get("src", "").startswith("/static/") for e in tree.iter("img")), path
        assert not [n for e in tree.iter() for n in e.attrib if n.startswith("on")], path
        if response.status == 200 and "now" not in path and "table" not in path:
            assert "alert(1)" in tree.text_content(), path


async def test_what_is_not_there(client: TestClient[Any, Any]) -> None:
    page = await client.get("/conversations/unknown", headers=HTML)
    assert page.status == 404
    assert "There is nothing at <code>/conversations/unknown</code>" in await page.text()
    for path in ("/fragments/unknown", "/fragments/conversation?id=unknown", "/static/0/app.css", "/nothing"):
        assert (await client.get(path, headers={"Accept": "application/json"})).status == 404


async def test_the_log_can_be_searched(client: TestClient[Any, Any]) -> None:
    def rows(text: str) -> int:
        return text.split("<tbody>")[1].count("<tr>") if "<tbody>" in text else 0

    everything = rows(await (await client.get("/log")).text())
    orders = await (await client.get("/log?q=flexorder")).text()
    assert 0 < rows(orders) < everything
    assert 'value="flexorder"' in orders
    assert "Nothing matches" in await (await client.get("/log?q=no+such+thing")).text()


@pytest.mark.parametrize("name", FRAGMENTS)
async def test_fragments_are_parts_of_pages(client: TestClient[Any, Any], name: str) -> None:
    text = await (await client.get(f"/fragments/{name}")).text()
    assert text.strip()
    assert "<html" not in text


async def test_the_table_has_a_row_for_every_isp(client: TestClient[Any, Any], sample: ModuleType) -> None:
    text = await (await client.get("/fragments/table")).text()
    assert text.count("<tr>") == 97
    assert text.count("<td>yes</td>") == len(sample.REQUESTED)
    assert "<td>00:00</td>" in text
