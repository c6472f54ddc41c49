"""The market's pages, for every role: order book, offers against the request, settlement arithmetic, register."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import quote

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from lxml import html
from support.market import ean
from support.web_market import POINT, Sample
from support.web_sample import SampleViews

from interop.web import mount

PLACE = f"/market/2030-06-02/{quote(POINT, safe='')}"
Client = TestClient[Any, Any]


@pytest.fixture(params=["AGR", "DSO", "CRO"])
async def party(request: pytest.FixtureRequest) -> AsyncIterator[tuple[str, Client]]:
    """A party of each role, and a client of its pages."""
    views = SampleViews()
    views.role = request.param
    views.fill()
    app = web.Application()
    mount(app, views, views.now)
    async with TestClient(TestServer(app)) as client:
        yield request.param, client


async def shown(client: Client, path: str) -> Any:
    response = await client.get(path, headers={"Accept": "text/html"})
    assert response.status == 200, path
    return html.fromstring(await response.text())


def rows(tree: Any, label: str) -> list[list[str]]:
    """Cells of the body of a table, by the label of its region."""
    (region,) = tree.xpath(f"//*[@aria-label='{label}']")
    return [[" ".join(cell.text_content().split()) for cell in row] for row in region.xpath(".//tbody/tr")]


async def test_every_role_has_its_market_pages(party: tuple[str, Client]) -> None:
    role, client = party
    market, settlement = [str((await shown(client, path)).text_content()) for path in ("/market", "/settlement")]
    if role == "CRO":
        assert "does not trade" in market
        assert "settles nothing" in settlement
        assert (await client.get(PLACE)).status == 404
    else:
        assert POINT in market
        assert "How 20300602-" in settlement
        assert rows(await shown(client, PLACE), "Requests")


async def test_connections_are_named_on_the_operators_own_page_only(party: tuple[str, Client]) -> None:
    role, client = party
    text = str((await shown(client, "/register")).text_content())
    assert "agr2.example.org (3)" in text
    assert (ean(1) in text) is (role == "CRO")


@pytest.mark.parametrize("party", ["DSO"], indirect=True)
async def test_the_order_book_of_a_grid_operator(party: tuple[str, Client]) -> None:
    tree = await shown(party[1], PLACE)
    assert [row[:2] for row in rows(tree, "Requests")] == [
        ["agr.example.org", "ordered"],
        ["agr2.example.org", "ordered"],
    ]
    offers = rows(tree, "Offers")
    assert [(row[0], row[1], row[3], row[6]) for row in offers] == [
        ("agr2.example.org", "partly ordered", "1", "0.1574"),
        ("", "", "2", "0.1509"),
        ("agr.example.org", "ordered", "1", "0.2000"),
        ("", "", "2", "0.2236"),
        ("agr.example.org", "revoked", "1", "0.8000"),
    ]
    assert [(row[1], row[5], row[7]) for row in rows(tree, "Orders")] == [
        ("settled", "1.00", "9.40 EUR"),
        ("disputed", "0.75", "5.55 EUR"),
    ]
    (drawn,) = tree.xpath("//*[@id='drawn']/@data-place")
    first, second = json.loads(drawn)["sides"]
    assert first["request"]["requested"] == list(range(41, 51))
    assert (first["request"]["min_kw"][40], first["request"]["max_kw"][40]) == (-26.0, -12.0)
    assert (second["lines"][0]["factor"], second["lines"][0]["ordered_kw"][40]) == ("0.75", -13.5)
    assert first["request"]["min_kw"][0] is None


async def test_places_that_are_not_there(party: tuple[str, Client]) -> None:
    for path in ("/market/2030-06-02/x", f"/market/soon/{POINT}", "/market/2031-01-01/" + POINT):
        assert (await party[1].get(path)).status == 404
    assert (await party[1].get("/fragments/place")).status == 404


@pytest.mark.parametrize("party", ["DSO"], indirect=True)
async def test_settlement_shows_its_arithmetic_and_what_is_disputed(party: tuple[str, Client]) -> None:
    tree = await shown(party[1], "/settlement")
    text = " ".join(str(tree.text_content()).split())
    assert "Price: 9.4000 agreed \u00d7 143 000 W delivered \u00f7 188 000 W ordered = 7.1500" in text
    assert "Penalty: 170 000 W missing \u00d7 0.25 h = 42.50 kWh, at 0.10 per kWh = 4.2500" in text
    assert "Net: 7.1500 \u2212 4.2500 = 2.9000 EUR" in text
    assert "ISP 44: baseline 63000 W" in text
    region = tree.xpath("//*[starts-with(@aria-label, 'ISP by ISP: 20300602')]")[1]
    first = [cell.text_content() for cell in region.xpath(".//tbody/tr")[0]]
    assert first[:7] == [
        "41",
        "10:00",
        "90\u202f000",
        "\u221218\u202f000",
        "73\u202f750",
        "\u221216\u202f250",
        "1\u202f750",
    ]
    assert first[7:] == ["0.8125", "0.0438", "0.7687"]


def test_the_shares_of_the_isps_make_the_whole() -> None:
    for settlement in Sample("DSO").settlements():
        for row in settlement["rows"]:
            for name in ("price", "penalty", "net"):
                shares = sum(float(isp[name]) for isp in row["isps"])
                assert shares == pytest.approx(float(row[name]), abs=0.0001 * len(row["isps"]))


@pytest.mark.parametrize("party", ["DSO", "AGR"], indirect=True)
async def test_conversations_decode_their_messages(party: tuple[str, Client]) -> None:
    role, _ = party
    views = SampleViews().fill()
    views.said = Sample(role).messages()
    app = web.Application()
    mount(app, views, views.now)
    asked = next(m for m in views.said if m["kind"] == "FlexRequest")
    async with TestClient(TestServer(app)) as client:
        tree = await shown(client, f"/conversations/{asked['conversation_id']}")
    for message in (m for m in views.said if m["conversation_id"] == asked["conversation_id"]):
        assert tree.xpath(f"//li[@id='m-{message['message_id']}']")
        assert tree.xpath(f"//*[local-name()='a'][@href='#m-{message['message_id']}']"), "the arrow leads to it"
    folded = [" ".join(e.text_content().split()) for e in tree.xpath("//details/summary")]
    assert folded[0] == "Allowed deviation per ISP"
    assert "Option 1: \u221229.00 kWh for 9.4000 EUR, at least 0.50 of it" in folded
    assert not tree.xpath("//details[@open]")
    assert rows(tree, "Allowed deviation per ISP")[1] == ["41 to 46", "Requested", "\u221226.000", "\u221212.000"]
