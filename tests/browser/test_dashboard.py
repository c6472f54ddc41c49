"""What a person sees, in a real browser: charts, live updates, diagrams; nothing from elsewhere, no violations."""

from collections.abc import AsyncIterator
from types import ModuleType
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from support import cdp

from interop.web import mount

pytestmark = pytest.mark.browser


@pytest.fixture
def views(sample: ModuleType) -> Any:
    return sample.SampleViews().fill()


@pytest.fixture
async def server(views: Any) -> AsyncIterator[TestServer]:
    app = web.Application()
    mount(app, views, views.now)
    async with TestServer(app) as server:
        yield server


async def test_the_overview_draws_the_day_and_follows_it(
    page: Any, server: TestServer, views: Any, sample: ModuleType
) -> None:
    await page.goto(f"http://127.0.0.1:{server.port}/")
    await page.until("document.getElementById('connection').textContent === 'Live'")
    await page.until(f"{cdp.DRAWN}('chart-net') > 8")
    for name in ("pv", "battery", "homes"):
        assert await page.js(f"{cdp.DRAWN}('chart-{name}') > 3"), f"the {name} chart is blank"
    assert "ISP 51" in await page.js("document.getElementById('legend-when').textContent")
    assert await page.js("document.getElementById('value-net_kw').textContent") == "\u2212107.2"
    assert await page.js("document.querySelectorAll('#f-latest svg .message').length") == 5

    before = await page.js("document.querySelector('#chart-net canvas').toDataURL()")
    views.feed.publish("actuals", sample.actuals(70))
    views.feed.publish("progress", sample.progress(70))
    await page.until("document.getElementById('legend-when').textContent.includes('ISP 70')")
    await page.until("document.getElementById('f-now').textContent.includes('ISP 70 of 96')")
    assert await page.js("document.getElementById('clock').textContent") == "20 May 17:22"
    assert await page.js("document.querySelector('#chart-net canvas').toDataURL()") != before

    views.said.append(sample.message(20, "FlexSettlement", "in"))
    views.feed.publish("message", views.said[-1])
    await page.until("document.getElementById('f-latest').textContent.includes('FlexSettlement')")
    views.feed.publish("settlement", sample.settlement())
    await page.until("document.getElementById('f-settlement').textContent.includes('40.89')")

    await page.js("document.getElementById('chart-net').focus()")
    for key in ("Home", "ArrowRight"):
        await page.send("Input.dispatchKeyEvent", type="keyDown", key=key, code=key)
    assert "00:15\u201300:30 \u00b7 ISP 2" in await page.js("document.getElementById('readout').textContent")
    await page.js("document.querySelector('details > summary').click()")
    assert await page.until("document.querySelectorAll('#day-table tbody tr').length") == 96

    assert cdp.complaints(page) == []
    assert cdp.foreign(page, server.port) == set()


async def test_every_page_works_on_a_phone_in_the_dark(page: Any, server: TestServer, sample: ModuleType) -> None:
    await page.send("Emulation.setDeviceMetricsOverride", width=390, height=844, deviceScaleFactor=2, mobile=True)
    await page.send("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": "dark"}])
    for path in ("/", "/conversations", f"/conversations/{sample.CONVERSATION}", "/resources", "/peers", "/log"):
        await page.goto(f"http://127.0.0.1:{server.port}{path}")
        await page.until("document.getElementById('connection').textContent === 'Live'")
        assert await page.js("document.documentElement.scrollWidth <= innerWidth"), f"{path} is wider than the screen"
        assert await page.js("document.querySelectorAll('h1').length") == 1
        back = await page.js("getComputedStyle(document.body).backgroundColor")
        assert max(int(part) for part in back.removeprefix("rgb(").rstrip(")").split(",")) < 60
    assert cdp.complaints(page) == []
    assert cdp.foreign(page, server.port) == set()


async def test_a_page_comes_back_after_the_server_did(page: Any, sample: ModuleType) -> None:
    async def serve(port: int, isps: int) -> TestServer:
        app = web.Application()
        views = sample.SampleViews().fill(isps)
        mount(app, views, views.now)
        server = TestServer(app, port=port)
        await server.start_server()
        return server

    first = await serve(0, 20)
    port = first.port
    assert port
    await page.goto(f"http://127.0.0.1:{port}/")
    await page.until("document.getElementById('legend-when')?.textContent.includes('ISP 20')")
    await first.close()
    await page.until("document.getElementById('connection').textContent === 'Reconnecting…'")
    second = await serve(port, 30)
    await page.until("document.getElementById('legend-when').textContent.includes('ISP 30')", 12)
    await page.until("document.getElementById('f-now').textContent.includes('ISP 30 of 96')")
    await second.close()
