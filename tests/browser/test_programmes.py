"""Programmes in a real browser before a real server: forms, drawings, answers of VENs, live, wide and narrow."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from support import cdp

from adapters.ports import Edit
from datamodels import (
    Availability,
    EventOpt,
    Opt,
    Programme,
    ProgrammeEvent,
    ProgrammeReport,
    ProgrammeTarget,
    ReportSeries,
    SignalInterval,
    SignalKind,
    Ven,
    VenResource,
    Window,
)
from datamodels.payloads import signal_of
from interop.config import parse_config
from interop.server import Server

pytestmark = pytest.mark.browser
CONFIG = {
    "party": {"domain": "agr.example.org", "role": "AGR"},
    "server": {"http_listen": "127.0.0.1:0"},
    "market": {"timezone": "Europe/Amsterdam"},
}
QUARTER = timedelta(minutes=15)
AUTHOR = "test"


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Server]:
    server = Server(parse_config(CONFIG, tmp_path, {}))
    await server.start()
    yield server
    await server.stop()


async def fill(server: Server) -> ProgrammeEvent:
    """An event that runs, two VENs of which one opted out, and what the other reports."""
    now = server.clock.now().replace(second=0, microsecond=0)
    steps = [SignalInterval(now + k * QUARTER, QUARTER, Decimal(v)) for k, v in enumerate((4000, 2500, 2500, 4000), -1)]
    prices = [SignalInterval(i.start, QUARTER, Decimal(v)) for i, v in zip(steps, ("0.31", "0.42"), strict=False)]
    event = ProgrammeEvent(
        id="evening",
        programme="p1",
        name="Evening peak",
        signals=(
            signal_of(SignalKind.IMPORT_LIMIT, tuple(steps)),
            signal_of(SignalKind.PRICE, tuple(prices), "EUR"),
        ),
        targets=(ProgrammeTarget("north", "GROUP"),),
        priority=1,
        ramp_up=timedelta(minutes=10),
        tolerance=timedelta(minutes=2),
        comment="Use less, please",
    )
    vens = [Ven(id=f"v{k}", name=f"house-{k}", profile=profile) for k, profile in ((1, "3.1.0"), (2, "2.0b"))]
    granted = (ProgrammeTarget("north", "GROUP"),)
    reports = [
        ReportSeries(resource, "DEMAND", tuple(SignalInterval(i.start, QUARTER, i.value / n) for i in steps), "KW")
        for n, resource in ((1000, "battery"), (1600, "evse"))
    ]
    entries = (
        Programme(id="p1", name="Peak", market_context="http://utility.example/peak"),
        event,
        *vens,
        *(VenResource(id=f"r{v.id}", ven=v.id, name="battery", targets=granted) for v in vens),
        EventOpt(id="evening/v1", event="evening", ven="v1", opt=Opt.OPT_IN),
        EventOpt(id="evening/v2", event="evening", ven="v2", opt=Opt.OPT_OUT, reason="mustNotRun"),
        Availability(id="a1", ven="v2", opt=Opt.OPT_OUT, windows=(Window(now, now + QUARTER),), resources=("battery",)),
        ProgrammeReport(id="rep1", event="evening", ven="house-1", name="demand", series=tuple(reports)),
    )
    await server.programmes.write([Edit(None, entry, AUTHOR) for entry in entries])
    return event


def url(server: Server, path: str) -> str:
    return f"http://{server.http_address}{path}"


async def set_fields(page: Any, form: str, **values: str) -> None:
    for name, value in values.items():
        field = f"document.querySelector({json.dumps(f'{form} [name={name}]')})"
        await page.js(f"{field}.value = {json.dumps(value)}")


async def send(page: Any, form: str) -> None:
    await page.js("document.body.dataset.old = '1'")
    await page.js(f"document.querySelector({json.dumps(form)}).requestSubmit()")
    await page.until("document.body && !document.body.dataset.old && document.readyState === 'complete'")


async def test_an_event_is_created_followed_and_cancelled_by_forms(page: Any, server: Server) -> None:
    await page.goto(url(server, "/programmes"))
    assert "No programmes yet" in await page.js("document.body.textContent")
    await set_fields(page, "form[action='/programmes']", name="Peak", market_context="http://u/peak")
    await send(page, "form[action='/programmes']")
    form = "form[action='/programmes/events']"
    await set_fields(page, form, value="4000; 2000", minutes="15", kind="LEVEL", name="By hand", comment="x")
    await send(page, form)
    refused = await page.js("document.querySelector('[role=alert]').textContent")
    assert "4000 is no level from 0 to 3" in refused
    assert await page.js(f'document.querySelector("{form} [name=value]").value') == "4000; 2000"
    assert server.programmes.all(ProgrammeEvent) == {}

    await set_fields(page, form, kind="IMPORT_LIMIT")
    await send(page, form)
    (event,) = server.programmes.all(ProgrammeEvent).values()
    assert [i.value for i in event.signals[0].intervals] == [4, 2]
    assert await page.js("location.pathname") == f"/programmes/{event.programme}/{event.id}"
    await page.until(f"{cdp.DRAWN}('plot-0') > 3")
    await page.until("document.getElementById('f-programme_event').textContent.includes('active')")

    await page.send("Page.navigate", url=url(server, "/programmes"))
    await page.until("document.getElementById('connection')?.textContent === 'Live'")
    await page.goto(url(server, f"/programmes/{event.programme}/{event.id}"))
    await send(page, "form[action$='/cancel']")
    after = server.programmes.get(ProgrammeEvent, event.id)
    assert after is not None
    assert (after.cancelled, after.revision) == (True, 1)
    assert await page.js("document.querySelector(\"form[action$='/cancel']\")") is None
    assert cdp.foreign(page, int(server.http_address.rpartition(":")[2])) == set()


async def test_answers_and_reports_are_drawn_and_follow(page: Any, server: Server) -> None:
    event = await fill(server)
    await page.goto(url(server, f"/programmes/p1/{event.id}"))
    await page.until(f"{cdp.DRAWN}('plot-0') > 3 && {cdp.DRAWN}('plot-2') > 3")
    assert await page.js("[...document.querySelectorAll('figcaption')].map((e) => e.textContent)") == [
        "Import limit, kW",
        "Price, EUR/kWh",
        "Demand, kW",
    ]
    await page.until("document.querySelector('#plots output').textContent === '2.5'")
    answers = await page.js("document.querySelector('[aria-label=\"Answers of VENs\"]').textContent")
    for words in ("house-1", "opted in", "house-2", "opted out", "mustNotRun"):
        assert words in answers
    await page.js("document.getElementById('plot-0').focus()")
    for key in ("Home", "End"):
        await page.send("Input.dispatchKeyEvent", type="keyDown", key=key, code=key)
    assert "IMPORT_CAPACITY_LIMIT 4" in await page.js("document.querySelector('#plots .sr').textContent")

    await page.until("document.getElementById('connection').textContent === 'Live'")
    before = server.programmes.get(EventOpt, "evening/v2")
    assert before is not None
    await server.programmes.write([Edit(before, None, AUTHOR)])
    await page.until("document.getElementById('f-programme_event').textContent.includes('no answer')")
    assert cdp.complaints(page) == []


async def test_a_ven_has_a_page_and_all_pages_fit(page: Any, server: Server) -> None:
    event = await fill(server)
    await page.goto(url(server, "/vens/v2"))
    told = await page.js("document.querySelector('main').textContent")
    for words in ("2.0b", "Evening peak, revision 0", "mustNotRun", "not available", "battery"):
        assert words in told
    await page.goto(url(server, "/vens/v1"))
    await page.until(f"{cdp.DRAWN}('plot-0') > 4")
    for path in ("/programmes", f"/programmes/p1/{event.id}", "/vens/v1"):
        await page.goto(url(server, path))
        await page.js("document.querySelectorAll('details').forEach((fold) => { fold.open = true; })")
        for width in (1280, 400):
            await page.send(
                "Emulation.setDeviceMetricsOverride", width=width, height=800, deviceScaleFactor=1, mobile=False
            )
            assert await page.js("document.documentElement.scrollWidth <= innerWidth"), f"{path} is wider than {width}"
        assert await page.js("document.querySelectorAll('h1').length") == 1
    assert cdp.complaints(page) == []
