"""Tokens, pages, ETags and trouble, against a real HTTP server."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from support import openadr3 as kit

from adapters.openadr3 import build
from adapters.openadr3.client import Client, VtnError
from adapters.openadr3.config import VtnConfig, read_config
from adapters.openadr3.model import Event, Report
from adapters.ports import Direction

EVENT = {
    "objectType": "EVENT",
    "createdDateTime": "2026-11-22T12:00:00Z",
    "modificationDateTime": "2026-11-22T12:00:00Z",
    "programID": "p",
}


class Vtn:
    """Answers as scripted, and remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.tokens = 0
        self.refuse: set[str] = set()
        self.events: list[Any] = [EVENT | {"id": f"e{n}"} for n in range(120)]
        self.answer: Callable[[web.Request], Awaitable[web.StreamResponse]] = self.list
        self.url = ""

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.asked.append(f"{request.method} {request.path_qs}")
        if request.path == "/auth/server":
            return web.json_response({"tokenURL": f"{self.url}/get/token"})
        if request.path.endswith("/token"):
            form = await request.post()
            if form.get("client_secret") != "se&cret":
                return web.json_response({"error": "invalid_client"}, status=401)
            self.tokens += 1
            return web.json_response({"access_token": f"t{self.tokens}", "token_type": "Bearer", "expires_in": 3600})
        token = request.headers.get("Authorization", "").removeprefix("Bearer ")
        if token in self.refuse:
            return web.json_response({"title": "Unauthorized"}, status=401)
        return await self.answer(request)

    async def list(self, request: web.Request) -> web.StreamResponse:
        tag = '"one"'
        if request.headers.get("If-None-Match") == tag:
            return web.Response(status=304)
        skip, limit = int(request.query["skip"]), int(request.query["limit"])
        return web.json_response(self.events[skip : skip + limit], headers={"ETag": tag})


@pytest.fixture
async def vtn() -> AsyncIterator[Vtn]:
    vtn = Vtn()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", vtn.handle)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    vtn.url = "http://{}:{}".format(*runner.addresses[0])
    yield vtn
    await runner.cleanup()


@pytest.fixture
async def client(vtn: Vtn, tmp_path: Path) -> AsyncIterator[Client]:
    (tmp_path / "secret").write_text("se&cret\n")
    config = VtnConfig("dso", vtn.url, "v", client_id="me", client_secret_file=str(tmp_path / "secret"), insecure=True)
    client = Client(config, lambda *seen: traced.append(seen))
    traced: list[tuple[Direction, str, bytes, str]] = []
    client.traced = traced  # type: ignore[attr-defined]
    await client.start()
    yield client
    await client.stop()


async def test_pages_are_read_to_the_end_and_asked_for_anew_only_by_tag(client: Client, vtn: Vtn) -> None:
    first = await client.all(Event, "events", programID="p")
    assert [event.id for event, _ in first] == [f"e{n}" for n in range(120)]
    assert vtn.asked == [
        "GET /auth/server",
        "POST /get/token",
        "GET /events?programID=p&skip=0&limit=50",
        "GET /events?programID=p&skip=50&limit=50",
        "GET /events?programID=p&skip=100&limit=50",
    ]
    assert await client.all(Event, "events", programID="p") == first
    assert vtn.tokens == 1


async def test_a_token_that_is_no_longer_taken_is_renewed_once(client: Client, vtn: Vtn) -> None:
    await client.all(Event, "events")
    vtn.refuse = {"t1"}
    await client.all(Event, "events")
    assert vtn.tokens == 2
    vtn.refuse = {"t2", "t3", "t4"}
    with pytest.raises(VtnError, match="401 Unauthorized") as caught:
        await client.all(Event, "events")
    assert vtn.tokens == 3
    assert not caught.value.is_final


async def test_no_secret_and_no_token_is_traced(client: Client) -> None:
    await client.all(Event, "events")
    seen = b"".join(body for _, _, body, _ in client.traced)  # type: ignore[attr-defined]
    assert b"se%26cret" not in seen
    assert b"access_token" not in seen
    assert seen


async def test_an_object_that_cannot_be_read_is_left_out_and_told_of(client: Client, vtn: Vtn) -> None:
    vtn.events = [EVENT | {"id": "good"}, EVENT | {"id": "bad id"}, 7]
    assert [event.id for event, _ in await client.all(Event, "events")] == ["good"]
    assert [p.where for p in client.problems] == ["events[1].id", "events[2].body"]


@pytest.mark.parametrize(
    ("response", "message", "final"),
    [
        (web.Response(status=307, headers={"Location": "/elsewhere"}), "redirects", False),
        (web.json_response({"title": "Bad", "detail": "no\nsuch"}, status=400), "400 Bad no such", True),
        (web.Response(text="<html>", status=503), "503", False),
        (web.Response(text="["), "not JSON", False),
        (web.json_response({"a": 1}), "no list", False),
    ],
)
async def test_trouble_is_told(client: Client, vtn: Vtn, response: web.Response, message: str, final: bool) -> None:
    async def answer(request: web.Request) -> web.Response:
        return response

    vtn.answer = answer
    with pytest.raises(VtnError, match=message) as caught:
        await client.all(Event, "events")
    assert caught.value.is_final is final


async def test_a_wrong_secret_and_a_foreign_token_server_are_told(vtn: Vtn, client: Client, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("wrong")
    with pytest.raises(VtnError, match=r"no token .* 401 invalid_client"):
        await client.all(Event, "events")
    vtn.url = "http://elsewhere.example"
    with pytest.raises(VtnError, match="to which no secret goes"):
        await client.all(Event, "events")


async def test_nobody_listens(client: Client) -> None:
    client._base = client._base.with_port(1)
    with pytest.raises(VtnError, match="Connect"):
        await client.all(Event, "events")


async def test_a_report_is_posted_in_the_form_of_a_client(client: Client, vtn: Vtn) -> None:
    bodies: list[Any] = []

    async def answer(request: web.Request) -> web.Response:
        bodies.append(await request.json())
        return web.json_response({}, status=201)

    vtn.answer = answer
    sample = kit.data("der.json")["samples"]["ack"]
    report = kit.read(kit.sample_shape("ack"), sample)
    assert isinstance(report, Report)
    await client.create("reports", report)
    assert bodies == [{k: v for k, v in sample.items() if k != "id"}]


# --- settings -----------------------------------------------------------------------------------------------------

GOOD = {"peer": "dso", "url": "https://vtn.example/openadr3/3.1.0", "ven_name": "v"}


@pytest.mark.parametrize(
    ("vtn", "message"),
    [
        ({"url": "http://vtn.example"}, "https is needed"),
        ({"url": "http://vtn.example", "insecure": True}, "https is needed"),
        ({"url": "vtn"}, "base URL"),
        ({"ven_name": 7}, "ven_name: a text"),
        ({"pol_s": 7}, "did you mean poll_s"),
        ({"poll_s": 0}, "above 0"),
        ({"poll_s": True}, "a number"),
        ({"version": "3.2"}, "one of 3.0.1, 3.1.0"),
        ({"client_id": "me"}, "go together"),
        ({"tls_key": "/nowhere"}, "there is no file /nowhere"),
        ({"programs": "x"}, "a list of texts"),
        ({"congestion_points": {"a": 7}}, "a text"),
        ({"insecure": "yes"}, "true or false"),
    ],
)
def test_wrong_settings_are_named(vtn: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        read_config({"vtns": [GOOD | vtn]})


def test_wrong_tables_are_named() -> None:
    with pytest.raises(ValueError, match="at least one"):
        build({}, None)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="stands twice"):
        read_config({"vtns": [GOOD, GOOD]})
    with pytest.raises(ValueError, match=r"vtms is not known.*peer is missing"):
        read_config({"vtns": [{k: v for k, v in GOOD.items() if k != "peer"}], "vtms": 1})
    assert read_config({"vtns": [GOOD]}).vtns[0] == replace(VtnConfig("dso", GOOD["url"], "v"))
