"""The market in a real browser: drawings of offers against requests, by mouse and keyboard, live, wide and narrow."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import quote

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from support import cdp, web_market
from support.web_sample import SampleViews

from interop.web import mount

pytestmark = pytest.mark.browser
PLACE = f"/market/2030-06-02/{quote(web_market.POINT, safe='')}"


class Watched(SampleViews):
    """A grid operator's pages."""

    role = "DSO"


@pytest.fixture
def views() -> Watched:
    views = Watched()
    views.fill()
    assert views.market is not None
    views.said = views.market.messages()
    return views


@pytest.fixture
async def server(views: Watched) -> AsyncIterator[TestServer]:
    app = web.Application()
    mount(app, views, views.now)
    async with TestServer(app) as server:
        yield server


def url(server: TestServer, path: str) -> str:
    return f"http://127.0.0.1:{server.port}{path}"


async def press(page: Any, key: str) -> None:
    await page.send("Input.dispatchKeyEvent", type="keyDown", key=key, code=key)


async def test_offers_are_drawn_against_the_request(page: Any, server: TestServer, views: Watched) -> None:
    await page.goto(url(server, PLACE))
    await page.until(f"{cdp.DRAWN}('side-0') > 8 && {cdp.DRAWN}('side-1') > 8")
    assert await page.js("document.querySelectorAll('#sides figure').length") == 2
    told = "document.querySelector('#sides figure:nth-child(2) .legend').textContent"
    await page.until(f"{told}.includes('ISP 41')")
    legend = await page.js(told)
    assert "10:00\u201310:15 \u00b7 ISP 41 \u00b7 requested" in legend
    for words in ("Allowed \u221226.0 to \u221212.0", "option 1 \u00d7 0.75 \u221213.5", "for 7.4000 EUR \u221218.0"):
        assert words in legend

    await page.js("document.getElementById('side-1').focus()")
    for _ in range(2):
        await press(page, "ArrowRight")
    readout = await page.js("document.querySelector('#sides figure:nth-child(2) .sr').textContent")
    assert readout.startswith("10:30\u201310:45 \u00b7 ISP 43 \u00b7 requested: Allowed")
    await press(page, "Home")
    assert "ISP 34" in await page.js(told)

    before = await page.js("document.querySelector('#side-0 canvas').toDataURL()")
    assert views.market is not None
    views.market.place = changed(views.market)  # type: ignore[method-assign]
    views.feed.publish("message", {})
    await page.until(f"document.querySelector('#side-0 canvas')?.toDataURL() !== {before!r}")
    assert await page.js("document.querySelectorAll('#sides figure').length") == 1
    assert cdp.complaints(page) == []
    assert cdp.foreign(page, server.port) == set()


def changed(market: web_market.Sample) -> Any:
    """Later: only the first counterpart is left, and its band is narrower."""
    whole = market.place

    def place(point: str, day: Any) -> Any:
        found = whole(point, day)
        assert found is not None
        side = found["sides"][0]
        side["request"]["min_kw"] = [None if v is None else v / 2 for v in side["request"]["min_kw"]]
        return found | {"sides": [side]}

    return place


async def test_what_a_reader_unfolded_stays_so_when_news_comes(page: Any, server: TestServer, views: Watched) -> None:
    asked = next(m for m in views.said if m["kind"] == "FlexRequest")
    await page.goto(url(server, f"/conversations/{asked['conversation_id']}"))
    await page.until("document.getElementById('connection').textContent === 'Live'")
    await page.js("document.querySelector('details > summary').click()")
    views.said.append(views.said[-1] | {"conversation_id": asked["conversation_id"], "message_id": "new"})
    views.feed.publish("message", {})
    await page.until("document.getElementById('m-new') !== null")
    assert await page.js("document.querySelectorAll('details[open]').length") == 1
    assert await page.js("getComputedStyle(document.querySelector('details td')).display") == "table-cell"
    assert cdp.complaints(page) == []


async def test_every_market_page_fits_every_screen_and_role(page: Any, server: TestServer, views: Watched) -> None:
    unreachable = (
        "[...document.querySelectorAll('.scroll')].filter((e) => e.scrollWidth > e.clientWidth && e.tabIndex < 0)"
    )
    for role in ("AGR", "DSO", "CRO"):
        views.role = role
        views.fill()
        for path in ("/market", *([PLACE] if role != "CRO" else []), "/settlement", "/register"):
            await page.goto(url(server, path))
            await page.js("document.querySelectorAll('details').forEach((fold) => { fold.open = true; })")
            for width in (1280, 400):
                await page.send(
                    "Emulation.setDeviceMetricsOverride", width=width, height=800, deviceScaleFactor=1, mobile=False
                )
                fits = await page.js("document.documentElement.scrollWidth <= innerWidth")
                assert fits, f"{path} of a {role} is wider than {width}"
                assert await page.js(f"{unreachable}.length") == 0, "what must be scrolled can be reached by keyboard"
            assert await page.js("document.querySelectorAll('h1').length") == 1
    assert cdp.complaints(page) == []
    assert cdp.foreign(page, server.port) == set()
