"""A utility's server as VTN and an aggregator's as VEN, `gridparley serve` both; both are killed and come back."""

from __future__ import annotations

import asyncio
import re
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from interop.demo.processes import Fleet

UTILITY, AGR = "utility.example.org", "agr.example.org"


def server(domain: str, role: str, peer: str, peer_role: str, desk: str) -> str:
    return f"""
[party]
domain = "{domain}"
role = "{role}"
[server]
http_listen = "127.0.0.1:0"
data_dir = "{domain}"
log_level = "warning"
[desk]
kind = "{desk}"
[[peers]]
domain = "{peer}"
role = "{peer_role}"
adapter = "openadr2"
[[resources]]
id = "battery"
connection = "ean.871685900012345678"
kind = "BATTERY"
role = "STORAGE"
p_min_w = -5000
p_max_w = 10000
"""


class World:
    def __init__(self, folder: Path) -> None:
        self.folder, self.fleet, self.bases = folder, Fleet(folder / "logs"), dict[str, str]()
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        vtn = f"""
[resources.binding]
adapter = "openadr2"
address = "one/battery"
[adapters.openadr2]
listen = "127.0.0.1:{port}"
insecure = true
poll_frequency_s = 1
[[adapters.openadr2.vens]]
ven_name = "one"
"""
        ven = f"""
[[adapters.openadr2.vtns]]
peer = "{UTILITY}"
url = "http://127.0.0.1:{port}"
ven_name = "one"
insecure = true
poll_s = 0.2
opt = "in"
"""
        (folder / "utility.toml").write_text(server(UTILITY, "DSO", AGR, "AGR", "none") + vtn)
        (folder / "agr.toml").write_text(server(AGR, "AGR", UTILITY, "DSO", "manual") + ven)

    async def serve(self, name: str) -> None:
        log = self.folder / "logs" / f"{name}.log"
        before = len(log.read_text()) if log.exists() else 0
        await self.fleet.start(name, "interop", "serve", str(self.folder / f"{name}.toml"), "--json")

        async def address() -> str:
            found = re.search(r'"http": "(.+)"', log.read_text()[before:]) if log.exists() else None
            return found[1] if found else ""

        self.bases[name] = await self.until(address)

    async def ask(self, name: str, method: str, what: str, **body: Any) -> Any:
        url = f"{self.bases[name]}/api/v1/{what}"
        async with aiohttp.ClientSession() as http, http.request(method, url, json=body or None) as reply:
            assert reply.status < 300, await reply.text()
            return await reply.json()

    async def until(self, condition: Callable[[], Awaitable[Any]]) -> Any:
        async with asyncio.timeout(20):
            while not (found := await condition()):
                self.fleet.check()
                await asyncio.sleep(0.05)
            return found

    async def signal(self, **wanted: Any) -> dict[str, Any]:
        async def there() -> Any:
            rows = await self.ask("agr", "GET", "signals")
            return next((row for row in rows if wanted.items() <= row.items()), None)

        found: dict[str, Any] = await self.until(there)
        return found

    async def dispatched(self, status: str) -> None:
        async def so() -> bool:
            return any(row["status"] == status for row in await self.ask("utility", "GET", "dispatches"))

        await self.until(so)

    async def told(self) -> list[str]:
        """Kinds of what the aggregator's log holds of the utility, oldest first."""
        rows = await self.ask("agr", "GET", "events?limit=1000")
        return sorted(r["data"]["kind"] for r in rows if r["kind"] == "message.in" and r["data"]["peer"] == UTILITY)


@pytest.fixture
async def world(tmp_path: Path) -> Any:
    made = World(tmp_path)
    yield made
    for name in made.fleet.children:
        await made.fleet.kill(name)


async def test_an_event_survives_the_death_of_both_sides(world: World) -> None:
    await asyncio.gather(world.serve("agr"), world.serve("utility"))  # whichever is first waits for the other
    limit = {"resource": "battery", "kind": "IMPORT_LIMIT", "minutes": 30, "id": "limit-1"}
    await world.ask("utility", "POST", "dispatches", value=3000, **limit)
    await world.signal(id="limit-1", kind="IMPORT_LIMIT", revision=1)
    await world.dispatched("STARTED")
    await world.until(lambda: _holds(world, "event.interval"))

    await asyncio.gather(world.fleet.kill("agr"), world.fleet.kill("utility"))
    await asyncio.gather(world.serve("agr"), world.serve("utility"))
    await world.signal(id="limit-1", revision=1)
    await world.ask("utility", "POST", "dispatches", value=2000, **limit)
    changed = await world.signal(id="limit-1", revision=2)
    assert float(changed["intervals"][-1]["value"]) == 2000

    await world.ask("utility", "DELETE", "dispatches/limit-1")
    await world.signal(id="limit-1", status="cancelled")
    kinds = await world.told()
    assert kinds.count("event.active") == 1
    assert kinds.count("event.modified") == 1


async def _holds(world: World, kind: str) -> bool:
    return kind in await world.told()
