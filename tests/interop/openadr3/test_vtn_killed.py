"""A VTN that is killed: what it acknowledged is there when it is back (ROB01), and its tokens are still good."""

from __future__ import annotations

import asyncio
import os
import signal
from contextlib import suppress
from pathlib import Path
from typing import Any

import aiohttp

from adapters.openadr3.vtn.auth import hashed
from interop.bench.process import serve

EVENTS = 200


def config() -> list[str]:
    return [
        *("[party]", 'domain = "dso.example.org"', 'role = "AGR"'),
        *("[adapters.openadr3.vtn]", 'listen = "127.0.0.1:0"', 'profile = "lab"', "insecure = true"),
        *("[[adapters.openadr3.vtn.clients]]", 'id = "grid"', 'role = "bl"', f'secret_hash = "{hashed("s")}"'),
    ]


async def ask(session: aiohttp.ClientSession, url: str, token: str, data: Any = None) -> Any:
    headers = {"Authorization": f"Bearer {token}"}
    async with session.request("POST" if data else "GET", url, json=data, headers=headers) as reply:
        assert reply.status in (200, 201), await reply.text()
        return await reply.json()


async def test_what_was_acknowledged_survives_a_kill(tmp_path: Path) -> None:
    settings, acknowledged = config(), list[str]()
    async with aiohttp.ClientSession() as session:
        async with serve(tmp_path, settings) as party:
            base = f"{party.adapters['openadr3']}/3.1.0"
            form = {"grant_type": "client_credentials", "client_id": "grid", "client_secret": "s"}
            async with session.post(f"{base}/auth/token", data=form) as reply:
                token = (await reply.json())["access_token"]
            program = (await ask(session, f"{base}/programs", token, {"programName": "p"}))["id"]
            killed = asyncio.Event()

            async def write() -> None:
                with suppress(aiohttp.ClientError, ConnectionError):
                    while len(acknowledged) < EVENTS:
                        made = await ask(session, f"{base}/events", token, {"programID": program})
                        acknowledged.append(made["id"])
                        if len(acknowledged) == 20 and not killed.is_set():
                            killed.set()
                            os.kill(party.pid, signal.SIGKILL)

            await asyncio.gather(*(write() for _ in range(8)))
        assert 20 <= len(acknowledged) < EVENTS
        async with serve(tmp_path, settings) as again:
            base = f"{again.adapters['openadr3']}/3.1.0"
            found = await ask(session, f"{base}/events", token)
            assert set(acknowledged) <= {event["id"] for event in found}
            assert {event["programID"] for event in found} == {program}
