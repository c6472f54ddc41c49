"""One event for VENs of all three kinds: a utility's server tells ours over 2.0b, ours tells VENs of 3.1 and 3.0.1.

Both are servers of ours: what is tested is the way through both, with a revision, an opt-out and a cancellation.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from support.openadr3_server import NEW, OLD, Client

from interop.config import parse_config
from interop.server import Server

UTILITY, AGR = "utility.example.org", "agr.example.org"


def utility() -> dict[str, Any]:
    return {
        "party": {"domain": UTILITY, "role": "DSO"},
        "server": {"http_listen": "127.0.0.1:0", "data_dir": "utility"},
        "peers": [{"domain": AGR, "role": "AGR", "adapter": "openadr2"}],
        "adapters": {"openadr2": {"listen": "127.0.0.1:0", "insecure": True, "vens": [{"ven_name": "one"}]}},
    }


def aggregator(vtn: str, secrets: Path) -> dict[str, Any]:
    clients = []
    for id in ("new", "old"):
        (secrets / id).write_text(f"{id}-secret\n")
        clients.append({"id": id, "secret_file": str(secrets / id)})
    vtns = [{"peer": UTILITY, "url": vtn, "ven_name": "one", "insecure": True, "poll_s": 0.1, "opt": "in"}]
    return {
        "party": {"domain": AGR, "role": "AGR"},
        "server": {"http_listen": "127.0.0.1:0", "data_dir": "agr"},
        "peers": [{"domain": UTILITY, "role": "DSO", "adapter": "openadr2"}],
        "desk": {"kind": "manual"},
        "adapters": {
            "openadr2": {"vtns": vtns},
            "openadr3": {
                "vtn": {"listen": "127.0.0.1:0", "profile": "lab", "insecure": True, "clients": clients},
            },
        },
        "relays": [{"peer": UTILITY, "programme": "Passed on", "opt_out": True}],
    }


async def until(found: Callable[[], Awaitable[Any]]) -> Any:
    async with asyncio.timeout(15):
        while not (value := await found()):
            await asyncio.sleep(0.03)
        return value


class World:
    def __init__(self, session: aiohttp.ClientSession, utility: Server, agr: Server) -> None:
        self.utility = Client(session, f"http://{utility.http_address}/api/v1")
        self.agr = Client(session, f"http://{agr.http_address}/api/v1")
        self._session, self._base = session, agr.adapters["openadr3"].status().listening[0]

    async def ven(self, who: str, version: str) -> Client:
        reply = await self.agr.post("/vens", {"name": who, "client": who, "profile": version})
        assert reply.status == 201, reply.data
        client = Client(self._session, f"{self._base}/{version}")
        form = {"grant_type": "client_credentials", "client_id": who, "client_secret": f"{who}-secret"}
        client.token = (await client.ask("POST", "/auth/token", body=form)).data["access_token"]
        return client

    async def shown(self, client: Client, value: int) -> dict[str, Any]:
        """The one event that a VEN sees, once its first value is that."""

        async def found() -> Any:
            events = (await client.get("/events")).data
            return [e for e in events if e["intervals"][0]["payloads"][0]["values"] == [value]]

        (event,) = await until(found)
        return event

    async def answered(self, opt: str) -> None:
        async def found() -> Any:
            row = (await self.utility.get("/programmes/Peak/events/evening")).data
            return [v for v in row["vens"] if v["opt"] and v["opt"]["opt"] == opt]

        await until(found)


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    asks = Server(parse_config(utility(), tmp_path, {}))
    await asks.start()
    try:
        (address,) = asks.adapters["openadr2"].status().listening
        acts = Server(parse_config(aggregator(address, tmp_path), tmp_path, {}))
        await acts.start()
        try:
            async with aiohttp.ClientSession() as session:
                yield World(session, asks, acts)
        finally:
            await acts.stop()
    finally:
        await asks.stop()


async def test_an_event_reaches_vens_of_all_three_kinds(world: World) -> None:
    new, old = await world.ven("new", NEW), await world.ven("old", OLD)
    assert (await world.utility.post("/programmes", {"name": "Peak", "market_context": "http://u/peak"})).status == 201
    signal = {"kind": "LEVEL", "value": 2, "minutes": 60}
    event = {"id": "evening", "signals": [signal], "priority": 2}
    assert (await world.utility.post("/programmes/Peak/events", event)).status == 201
    await world.answered("optIn")
    for client in (new, old):
        shown = await world.shown(client, 2)
        assert shown["intervals"][0]["payloads"][0]["type"] == "SIMPLE"
        assert shown["priority"] == 1, "1 is the most urgent in 2.0b, 0 in 3.x"

    changed = event | {"signals": [signal | {"value": 3}]}
    assert (await world.utility.put("/programmes/Peak/events/evening", changed)).status == 200
    for client in (new, old):
        shown = await world.shown(client, 3)
        state = {"type": "OPERATING_STATE", "values": ["RUNNING_OPTED_OUT"]}
        resources = [{"resourceName": "house", "intervals": [{"id": 0, "payloads": [state]}]}]
        body = {"eventID": shown["id"], "programID": shown["programID"], "clientName": "x", "resources": resources}
        assert (await client.post("/reports", body)).status == 201
    await world.answered("optOut")


async def test_a_cancelled_event_is_gone_everywhere(world: World) -> None:
    new = await world.ven("new", NEW)
    await world.utility.post("/programmes", {"name": "Peak", "market_context": "http://u/peak"})
    signal = {"kind": "LEVEL", "value": 1, "minutes": 0}
    await world.utility.post("/programmes/Peak/events", {"id": "evening", "signals": [signal]})
    await world.shown(new, 1)
    assert (await world.utility.delete("/programmes/Peak/events/evening")).status == 200

    async def gone() -> bool:
        return (await new.get("/events")).data == []

    await until(gone)
