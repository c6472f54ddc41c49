"""Utilities over HTTP: what their events are, and our own word on them."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from support.openadr2 import until
from support.openadr2_ven import PEER, HandVtn, event

from adapters.openadr2 import model
from interop.config import parse_config
from interop.server import Server


class World:
    def __init__(self, server: Server, vtn: HandVtn, http: aiohttp.ClientSession) -> None:
        self.server, self.vtn, self.http = server, vtn, http

    async def ask(self, method: str, path: str, **body: Any) -> tuple[int, Any]:
        url = f"http://{self.server.http_address}/api/v1/utilities{path}"
        async with self.http.request(method, url, json=body or None) as reply:
            return reply.status, await reply.json(content_type=None)


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with HandVtn() as vtn, aiohttp.ClientSession() as http:
        vtn.events = [event("e1", datetime.now(UTC).replace(microsecond=0) + timedelta(hours=1))]
        data = {
            "party": {"domain": "agr.example.org", "role": "AGR"},
            "server": {"http_listen": "127.0.0.1:0", "data_dir": "data"},
            "desk": {"kind": "manual"},
            "peers": [{"domain": PEER, "role": "DSO", "adapter": "openadr2"}],
            "adapters": {
                "openadr2": {
                    "vtns": [
                        {"peer": PEER, "url": vtn.url, "ven_name": "one", "insecure": True, "poll_s": 0.1, "opt": "in"}
                    ]
                }
            },
        }
        server = Server(parse_config(data, tmp_path, {}))
        await server.start()
        await vtn.hears(model.OadrCreatedEvent)
        yield World(server, vtn, http)
        await server.stop()


async def test_events_are_shown_and_opted_out_of_and_resources_declared_away(world: World) -> None:
    status, (row,) = await world.ask("GET", "")
    assert (status, row["peer"], row["ven_id"]) == (200, PEER, "ven-7")
    (shown,) = row["events"]
    assert (shown["id"], shown["status"], shown["opt"], shown["signals"]) == ("e1", "far", "optIn", ["SETPOINT"])

    status, made = await world.ask("POST", f"/{PEER}/opts", opt="optOut", event="e1", reason="economic")
    assert status == 201
    told = await world.vtn.hears(model.OadrCreateOpt)
    assert (told.opt_id, told.opt_reason) == (made["id"], "economic")
    start = datetime.now(UTC).replace(microsecond=0) + timedelta(days=1)
    status, made = await world.ask("POST", f"/{PEER}/opts", opt="optOut", start=start.isoformat(), minutes=90)
    assert status == 201
    told = await world.vtn.hears(model.OadrCreateOpt, 2)
    (window,) = told.availability
    assert (window.properties.dtstart, window.properties.duration.span) == (start, timedelta(minutes=90))
    _, (row,) = await world.ask("GET", "")
    assert row["events"][0]["opt"] == "optOut"
    assert {opt["reason"] for opt in row["opts"]} == {"economic", "x-schedule"}
    assert (await world.ask("DELETE", f"/{PEER}/opts/{made['id']}"))[0] == 200
    assert (await world.vtn.hears(model.OadrCancelOpt)).opt_id == made["id"]

    status, gone = await world.ask("DELETE", f"/{PEER}/registration")
    assert (status, gone["state"].split(",")[0]) == (200, "registration cancelled")
    assert (await world.ask("POST", f"/{PEER}/registration"))[0] == 202
    await until(lambda: world.vtn.registrations == 2)


@pytest.mark.parametrize(
    ("path", "body", "status", "text"),
    [
        ("/stranger/opts", {"opt": "optOut", "minutes": 5}, 404, PEER),
        (f"/{PEER}/opts", {"opt": "out", "minutes": 5}, 422, "neither optIn nor optOut"),
        (f"/{PEER}/opts", {"opt": "optOut"}, 422, "a schedule needs minutes"),
        (f"/{PEER}/opts", {"opt": "optOut", "minutes": -5}, 422, "is not between 0"),
        (f"/{PEER}/opts", {"opt": "optOut", "minutes": 5, "reason": "why"}, 422, "one that begins with x-"),
        (f"/{PEER}/opts", {"opt": "optOut", "minutes": 5, "event": "e1"}, 422, "an event, or a schedule"),
        (f"/{PEER}/opts", {"opt": "optOut", "event": "unknown"}, 404, "no live event"),
        (f"/{PEER}/opts", {"opt": "optOut", "minuts": 5}, 422, "minutes"),
    ],
)
async def test_what_is_wrong_is_said(world: World, path: str, body: dict, status: int, text: str) -> None:
    got, told = await world.ask("POST", path, **body)
    assert (got, text in told["detail"]) == (status, True), told
    assert world.vtn.said(model.OadrCreateOpt) == []


async def test_an_unknown_opt_and_a_utility_that_is_down(world: World) -> None:
    assert (await world.ask("DELETE", f"/{PEER}/opts/unknown"))[0] == 404
    await world.vtn.down()
    status, told = await world.ask("DELETE", f"/{PEER}/registration")
    assert (status, "did not take it" in told["detail"]) == (502, True)
