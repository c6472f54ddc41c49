"""The operators' HTTP: what it shows, who may change what, and errors as problem documents."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from datamodels import ParticipantStatus
from interop import plugins
from interop.effects import Alarm, Log
from interop.server import Server

Serve = Callable[..., Awaitable[Server]]
PEER = {"domain": "dso.example.org", "role": "DSO", "endpoint": "http://127.0.0.1:1/"}


async def ask(server: Server, method: str, path: str, **more: Any) -> tuple[int, Any]:
    """Status and body (JSON where it is JSON)."""
    async with (
        aiohttp.ClientSession() as session,
        session.request(method, f"http://{server.http_address}{path}", **more) as response,
    ):
        return response.status, await response.json() if "json" in response.content_type else await response.text()


async def test_health_readiness_and_metrics(serve: Serve) -> None:
    server = await serve(adapters={"wire": {"ready": False}})
    assert (await ask(server, "GET", "/healthz"))[0] == 200
    status, body = await ask(server, "GET", "/readyz")
    assert (status, body["ready"]) == (503, False)
    assert "plug it in" in body["problems"][0]
    wire: Any = server.adapters["wire"]
    wire.ready = True
    assert await ask(server, "GET", "/readyz") == (200, {"ready": True, "problems": []})
    status, text = await ask(server, "GET", "/metrics")
    assert 'gridparley_outbox{state="PENDING"} 0.0' in text
    assert 'gridparley_adapter_ready{adapter="wire"} 1.0' in text
    assert "gridparley_ready 1.0" in text


@pytest.mark.parametrize("path", ["status", "messages", "dispatches", "resources", "alarms", "events", "peers"])
async def test_every_view_answers_in_json_and_is_not_cached(serve: Serve, path: str) -> None:
    server = await serve(adapters={"wire": {}})
    status, body = await ask(server, "GET", f"/api/v1/{path}")
    assert status == 200
    assert isinstance(body, dict if path == "status" else list)


async def test_events_and_alarms_can_be_followed(serve: Serve) -> None:
    server = await serve()
    await server.hub.do([Log("a"), Log("b"), Alarm("rule", "dso", "look")])
    assert [e["kind"] for e in (await ask(server, "GET", "/api/v1/events?limit=2"))[1]] == ["alarm", "b"]
    assert [e["kind"] for e in (await ask(server, "GET", "/api/v1/events?after=1"))[1]] == ["b", "alarm"]
    assert [a["message"] for a in (await ask(server, "GET", "/api/v1/alarms"))[1]] == ["look"]
    status, body = await ask(server, "GET", "/api/v1/events?limit=many")
    assert (status, body["detail"]) == (400, "limit must be a whole number, 0 or more")


async def test_a_peer_is_added_seen_and_barred(serve: Serve) -> None:
    server = await serve(adapters={"wire": {}})
    assert await ask(server, "POST", "/api/v1/peers", json=PEER) == (201, {"id": PEER["domain"], "status": "active"})
    assert server.peers["dso.example.org"].endpoint == PEER["endpoint"]
    rows = {row["id"]: row for row in (await ask(server, "GET", "/api/v1/peers"))[1]}
    assert rows["dso.example.org"]["role"] == "DSO"
    assert rows["ven1"]["adapters"] == ["wire"]
    assert (await ask(server, "DELETE", "/api/v1/peers/dso.example.org"))[0] == 200
    assert server.peers["dso.example.org"].status is ParticipantStatus.BARRED
    assert (await ask(server, "DELETE", "/api/v1/peers/nobody"))[0] == 404


@pytest.mark.parametrize(
    ("body", "status", "detail"),
    [
        ("{", 400, "not JSON"),
        ('{"domain": "x", "role": "DSO", "keyz": []}', 422, "did you mean 'keys'?"),
        ('{"domain": "x"}', 422, "peer.role: missing"),
        ('{"domain": "x", "role": "DSO", "keys": ["!"]}', 422, "cs1."),
        ("[]", 422, "expected a table"),
    ],
)
async def test_a_bad_peer_is_a_problem_and_changes_nothing(serve: Serve, body: str, status: int, detail: str) -> None:
    server = await serve()
    got, problem = await ask(server, "POST", "/api/v1/peers", data=body)
    assert got == problem["status"] == status
    assert detail in problem["detail"]
    assert problem["reference"]
    assert len(server.peers) == 0


async def test_the_reference_of_a_problem_stands_in_the_log(
    serve: Serve, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = await serve()

    async def broken() -> Any:
        raise ZeroDivisionError("secret detail")

    monkeypatch.setattr(server.views, "status", broken)
    with caplog.at_level(logging.INFO):
        status, problem = await ask(server, "GET", "/api/v1/status")
        assert status == 500
        assert "secret" not in problem["detail"]
        assert (await ask(server, "GET", "/nowhere"))[0] == 404
        assert (await ask(server, "POST", "/healthz"))[0] == 405
    references = [getattr(record, "reference", None) for record in caplog.records]
    assert problem["reference"] in references


async def test_with_a_token_only_its_bearer_may_change_anything(serve: Serve) -> None:
    token = "0123456789abcdef0123"
    server = await serve(server={"api_token": token})
    wrong: list[dict[str, str]] = [{}, {"Authorization": "Bearer wrong"}, {"Authorization": f"Basic {token}"}]
    for headers in wrong:
        assert (await ask(server, "POST", "/api/v1/peers", json=PEER, headers=headers))[0] == 401
    headers = {"Authorization": f"Bearer {token}"}
    assert (await ask(server, "POST", "/api/v1/peers", json=PEER, headers=headers))[0] == 201
    assert (await ask(server, "GET", "/api/v1/peers"))[0] == 200


@pytest.mark.parametrize(
    "headers",
    [{"Origin": "http://evil.example"}, {"Host": "evil.example"}, {"Host": "rebind.example:8080"}, {"Origin": "null"}],
)
async def test_without_a_token_no_foreign_page_can_use_the_operators_browser(
    serve: Serve, headers: dict[str, str]
) -> None:
    server = await serve()
    assert (await ask(server, "POST", "/api/v1/peers", json=PEER, headers=headers))[0] == 403
    assert len(server.peers) == 0


async def test_no_foreign_name_that_leads_here_may_read_either(serve: Serve) -> None:
    server = await serve()
    assert (await ask(server, "GET", "/api/v1/events", headers={"Host": "rebind.example"}))[0] == 403
    assert (await ask(server, "GET", "/api/v1/events", headers={"Host": "localhost:8080"}))[0] == 200


async def test_pages_are_added_and_broken_ones_do_no_harm(
    serve: Serve, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    class Pages:
        @staticmethod
        def load() -> Any:
            async def hello(request: web.Request) -> web.Response:
                return web.Response(text="hello")

            def register(app: web.Application, server: Server) -> None:
                app.router.add_get("/hello", hello)

            return register

    class Broken:
        @staticmethod
        def load() -> Any:
            raise ImportError("no module named pages")

    monkeypatch.setattr(plugins, "find", lambda group: {"broken": Broken, "pages": Pages})
    server = await serve()
    assert await ask(server, "GET", "/hello") == (200, "hello")
    assert "the pages of broken are not shown" in caplog.text
