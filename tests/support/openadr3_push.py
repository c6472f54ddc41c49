"""What tests of notifications share: the pieces of a VTN without its HTTP server, and receivers on real sockets."""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

from aiohttp import web
from support import openadr3 as kit
from support.programmes import programmes

from adapters.clock import SystemClock
from adapters.errors import TransportFault
from adapters.openadr3.codec import Shape
from adapters.openadr3.members import Version
from adapters.openadr3.model import Subscription
from adapters.openadr3.vtn.access import Access, Viewer
from adapters.openadr3.vtn.auth import Caller
from adapters.openadr3.vtn.push.config import MqttConfig, WebhookConfig
from adapters.openadr3.vtn.push.service import Push
from adapters.openadr3.vtn.render import Renderer
from adapters.openadr3.vtn.subscriptions import Held, Subscriptions
from adapters.ports import Edit, Ports, Programmes, State
from datamodels import Entry, MarketTerms, Programme, ProgrammeTarget

EVERYTHING = ["PROGRAM", "EVENT", "REPORT", "SUBSCRIPTION", "VEN", "RESOURCE"]
WORDS = ["CREATE", "UPDATE", "DELETE"]
QUICK = WebhookConfig(timeout_s=2.0, first_pause_s=0.01)


def targets(*values: str) -> tuple[ProgrammeTarget, ...]:
    return tuple(ProgrammeTarget(value) for value in values)


async def until(holds: Callable[[], Any], within_s: float = 10.0) -> None:
    """Wait until something holds (AssertionError where it does not in time)."""
    end = asyncio.get_running_loop().time() + within_s
    while not holds():
        assert asyncio.get_running_loop().time() < end, "it did not come about in time"
        await asyncio.sleep(0.01)


@dataclass
class Call:
    path: str
    body: bytes
    headers: dict[str, str]

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def id(self) -> str:
        return self.headers["X-Notification-Id"]


@dataclass
class Receiver:
    """A callback server: `answer` gives the status of each call by its path, `pause_s` how long that takes."""

    answer: Callable[[str], int] = lambda path: 200
    pause_s: Callable[[str], float] = lambda path: 0.0
    echo: Callable[[str], web.StreamResponse] = lambda text: web.Response(text=text)
    tls: ssl.SSLContext | None = None
    calls: list[Call] = field(default_factory=list)
    asked: list[web.Request] = field(default_factory=list)
    port: int = 0
    _runner: web.AppRunner | None = None

    async def __aenter__(self) -> Self:
        app = web.Application()
        app.router.add_get("/{path:.*}", self._echo)
        app.router.add_post("/{path:.*}", self._call)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", self.port, ssl_context=self.tls)
        await site.start()
        self.port = self._runner.addresses[0][1]
        return self

    async def __aexit__(self, *exc: object) -> None:
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    def url(self, path: str = "cb", host: str = "127.0.0.1") -> str:
        return f"http{'s' if self.tls else ''}://{host}:{self.port}/{path}"

    def at(self, path: str) -> list[Call]:
        return [call for call in self.calls if call.path == path]

    async def _echo(self, request: web.Request) -> web.StreamResponse:
        self.asked.append(request)
        return self.echo(request.query["echo"])

    async def _call(self, request: web.Request) -> web.Response:
        path, body = request.match_info["path"], await request.read()
        await asyncio.sleep(self.pause_s(path))
        status = self.answer(path)
        if status < 300:
            self.calls.append(Call(path, body, dict(request.headers)))
        return web.Response(status=status)


class _Inbound:
    def __init__(self) -> None:
        self.alarms: list[tuple[str, str, str]] = []

    def refused(self, adapter: str, peer: str, rule: str, detail: str) -> None:
        self.alarms.append((peer, rule, detail))


@dataclass
class World:
    """A VTN's inside. `tokens` are those that MQTT takes."""

    programmes: Programmes
    state: State
    access: Access
    subscriptions: Subscriptions
    push: Push
    inbound: _Inbound
    tokens: dict[str, tuple[Viewer, float]]

    async def put(self, *entries: Entry) -> None:
        await self.programmes.write([Edit(self.programmes.get(type(e), e.id), e, "test") for e in entries])

    async def drop(self, entry: Entry) -> None:
        known = self.programmes.get(type(entry), entry.id)
        await self.programmes.write([Edit(known, None, "test")])

    async def subscribe(
        self,
        viewer: Viewer,
        url: str,
        objects: list[str] | None = None,
        operations: list[str] | None = None,
        version: Version = Version.V310,
        **more: Any,
    ) -> Held:
        callback = {"objects": objects or EVERYTHING, "operations": operations or WORDS, "callbackUrl": url}
        if "bearerToken" in more:
            callback["bearerToken"] = more.pop("bearerToken")
        given = {"clientName": "c", "objectOperations": [callback], **more}
        return await self.subscriptions.create(viewer, version, kit.read(Shape(Subscription, version), given))

    @property
    def is_quiet(self) -> bool:
        return self.push.webhooks.behind == 0


@asynccontextmanager
async def world(
    folder: Path,
    webhooks: WebhookConfig = QUICK,
    mqtt: MqttConfig | None = None,
    lab: bool = True,
    strict: bool = False,
) -> AsyncIterator[World]:
    """Running; what it kept in `folder` is there again for the next one."""
    inbound, tokens = _Inbound(), dict[str, tuple[Viewer, float]]()

    async def verify(token: str) -> tuple[Caller, float]:
        if token not in tokens:
            raise TransportFault(401, "token", "unknown")
        viewer, until = tokens[token]
        return Caller(viewer, frozenset()), until

    async with programmes(folder, now=lambda: datetime.now(UTC)) as (model, state):
        ports = Ports(inbound, state, SystemClock(), lambda *a, **k: None, MarketTerms(), {}, {}, programmes=model)  # type: ignore[arg-type]
        access = Access(model, strict)
        subscriptions = Subscriptions(state, lambda: datetime.now(UTC))
        subscriptions.load()
        renderer = Renderer(model, access)
        push = Push(webhooks, mqtt, lab, ports, access, renderer, subscriptions, verify)
        await push.start()
        try:
            yield World(model, state, access, subscriptions, push, inbound, tokens)
        finally:
            await push.stop()


def programme(id: str = "p", **more: Any) -> Programme:
    return replace(Programme(id=id, name=id), **more)
