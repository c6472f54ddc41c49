"""The VTN on a free port over a programme model of its own, and clients that ask it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import aiohttp
from support.openadr2 import HandClock
from support.programmes import NOW, programmes

from adapters.openadr3.codec import dumps, loads
from adapters.openadr3.config import read_config
from adapters.openadr3.vtn.server import Vtn
from adapters.ports import Ports, Programmes
from datamodels import MarketTerms

OLD, NEW = "3.0.1", "3.1.0"
BL_SCOPES = ["read_all", "write_programs", "write_events", "write_reports", "write_subscriptions", "write_vens"]
CLIENTS = {"grid": ("bl", BL_SCOPES), "me": ("ven", []), "other": ("ven", [])}


class Refusals:
    """The hub, as far as the VTN speaks to it."""

    def __init__(self) -> None:
        self.rules: list[str] = []

    def refused(self, adapter: str, peer: str, rule: str, detail: str) -> None:
        self.rules.append(rule)


@dataclass(frozen=True, slots=True)
class Reply:
    status: int
    data: Any
    headers: Mapping[str, str]

    @property
    def id(self) -> str:
        return str(self.data["id"])


class Client:
    """Somebody with a token (or none) at a base of the API."""

    def __init__(self, session: aiohttp.ClientSession, base: str, token: str = "") -> None:
        self._session = session
        self.base = base
        self.token = token

    async def ask(self, method: str, path: str, data: Any = None, **more: Any) -> Reply:
        """`data` is sent as JSON; `more` goes to aiohttp (`body` as its data)."""
        headers = {"Authorization": f"Bearer {self.token}"} if self.token else {}
        headers |= more.pop("headers", {})
        if data is not None:
            more["data"] = dumps(data)
            headers.setdefault("Content-Type", "application/json")
        elif "body" in more:
            more["data"] = more.pop("body")
        async with self._session.request(method, self.base + path, headers=headers, **more) as response:
            body = await response.read()
            kind = response.content_type == "application/json"
            return Reply(response.status, loads(body) if body and kind else body, response.headers)

    async def get(self, path: str, **more: Any) -> Reply:
        return await self.ask("GET", path, **more)

    async def post(self, path: str, data: Any, **more: Any) -> Reply:
        return await self.ask("POST", path, data, **more)

    async def put(self, path: str, data: Any, **more: Any) -> Reply:
        return await self.ask("PUT", path, data, **more)

    async def delete(self, path: str, **more: Any) -> Reply:
        return await self.ask("DELETE", path, **more)


@dataclass(slots=True)
class Running:
    """A VTN with a client of each kind; `as_(who, version)` is one at another base."""

    vtn: Vtn
    programmes: Programmes
    session: aiohttp.ClientSession
    clock: HandClock
    refusals: Refusals
    tokens: dict[str, str]

    @property
    def url(self) -> str:
        return self.vtn.status().listening[0]

    def as_(self, who: str = "", version: str = NEW) -> Client:
        return Client(self.session, f"{self.url}/{version}", self.tokens.get(who, ""))

    async def program(self, name: str = "p", version: str = NEW, **more: Any) -> str:
        reply = await self.as_("grid", version).post("/programs", {"programName": name, **more})
        assert reply.status == 201, reply.data
        return reply.id

    async def event(self, program: str, version: str = NEW, **more: Any) -> str:
        data = {"programID": program, "intervals": [], **more}
        reply = await self.as_("grid", version).post("/events", data)
        assert reply.status == 201, reply.data
        return reply.id

    async def ven(self, who: str, *targets: str, name: str = "") -> str:
        data = {"objectType": "BL_VEN_REQUEST", "clientID": who, "venName": name or who, "targets": list(targets)}
        reply = await self.as_("grid").post("/vens", data)
        assert reply.status == 201, reply.data
        return reply.id


@asynccontextmanager
async def vtn(folder: Path, *, now: datetime = NOW, tokens: bool = True, **settings: Any) -> AsyncIterator[Running]:
    """A VTN in the lab profile with the clients `grid` (BL), `me` and `other`, unless `settings` say otherwise."""
    secrets = folder / "secrets"
    secrets.mkdir(exist_ok=True)
    clients = []
    for id, (role, scopes) in CLIENTS.items():
        (secrets / id).write_text(f"{id}-secret\n")
        given = {"scopes": scopes} if scopes else {}
        clients.append({"id": id, "role": role, "secret_file": str(secrets / id), **given})
    table = {"listen": "127.0.0.1:0", "profile": "lab", "insecure": True, "clients": clients} | settings
    config = read_config({"vtn": table})
    assert config.vtn is not None
    clock, refusals = HandClock(), Refusals()
    clock.set(now)
    async with programmes(folder / "store", now=clock.now) as (model, state):
        ports = Ports(
            inbound=refusals,  # type: ignore[arg-type]
            state=state,
            clock=clock,
            trace=lambda *_: None,
            terms=MarketTerms(),
            participants={},
            resources={},
            programmes=model,
        )
        server = Vtn(config.vtn, ports)
        await server.start()
        try:
            async with aiohttp.ClientSession() as session:
                running = Running(server, model, session, clock, refusals, {})
                if tokens:
                    for id in CLIENTS:
                        running.tokens[id] = await token(running, id)
                yield running
        finally:
            await server.stop()


async def token(running: Running, id: str, version: str = NEW) -> str:
    form = {"grant_type": "client_credentials", "client_id": id, "client_secret": f"{id}-secret"}
    reply = await running.as_("", version).ask("POST", "/auth/token", body=form)
    assert reply.status == 200, reply.data
    return str(reply.data["access_token"])


PERIOD = {"start": "2026-11-25T00:00:00Z", "duration": "PT1H"}
INTERVAL = {"id": 0, "payloads": [{"type": "PRICE", "values": [0.1]}]}


async def bodies(running: Running, version: str) -> dict[str, tuple[Client, str, dict[str, Any]]]:
    """For every collection of a version: who writes it, where, and what."""
    grid, me = running.as_("grid", version), running.as_("me", version)
    program, ven = await running.program(f"base-{version}"), await running.ven("me", name=f"base-{version}")
    event = await running.event(program)
    asked = [{"objects": ["EVENT"], "operations": ["CREATE"], "callbackUrl": "https://example.org/x"}]
    report = {"eventID": event, "clientName": "c", "resources": [{"resourceName": "r", "intervals": [INTERVAL]}]}
    out = {
        "programs": (grid, "/programs", {"programName": f"p-{version}"}),
        "events": (grid, "/events", {"programID": program, "intervalPeriod": PERIOD, "intervals": [INTERVAL]}),
        "reports": (me, "/reports", report | ({"programID": program} if version == OLD else {})),
        "subscriptions": (me, "/subscriptions", {"clientName": "c", "programID": program, "objectOperations": asked}),
        "vens": (me, "/vens", {"objectType": "VEN_VEN_REQUEST", "venName": f"v-{version}"}),
    }
    resource = {"objectType": "VEN_RESOURCE_REQUEST", "resourceName": "r", "venID": ven}
    if version == OLD:
        out["vens"] = (me, "/vens", {"venName": f"v-{version}"})
        out["resources"] = (me, f"/vens/{ven}/resources", {"resourceName": "r"})
    else:
        out["resources"] = (me, "/resources", resource)
        out["resource_groups"] = (grid, "/resource_groups", {"resourceGroupName": "g", "children": []})
    return out
