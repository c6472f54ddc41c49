"""A whole trade between two servers: FlexRequest, response, FlexOffer, response, FlexOrder, response."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import socket
import sqlite3
import time
from collections.abc import Iterator, Mapping
from contextlib import AsyncExitStack, closing
from datetime import datetime
from pathlib import Path
from typing import Any

from adapters.uftp import SigningKey, public_key_string
from interop.bench.process import Process, process, serve, write_key
from interop.bench.report import CannotMeasure
from interop.bench.trader import BASELINE

__all__ = ["AGR", "DSO", "POINT", "Parties", "durations_s", "free_ports", "ours", "peers"]

AGR, DSO, POINT = "agr.example.org", "dso.example.org", "ea1.2020-01.org.example:bench"
_PATIENCE_S, _LOOK_S = 20.0, 0.25


class Parties:
    """Two parties that know each other: their keys, ports and configurations, in folders of their own."""

    def __init__(self, folder: Path, trades: int, at_once: int) -> None:
        self.keys = {domain: SigningKey.from_seed(os.urandom(32)) for domain in (AGR, DSO)}
        self.ports = dict(zip((AGR, DSO), free_ports(2), strict=True))
        self.folders = {AGR: folder / "agr", DSO: folder / "dso"}
        self._asks = [f'recipient = "{AGR}"', f'point = "{POINT}"', f"trades = {trades}", f"at_once = {at_once}"]
        for place in self.folders.values():
            place.mkdir(parents=True, exist_ok=True)

    def config(self, domain: str, *more: str) -> list[str]:
        """Lines of configuration for `gridparley serve`, without its `[server]`."""
        role, other, others = ("AGR", DSO, "DSO") if domain == AGR else ("DSO", AGR, "AGR")
        write_key(self.folders[domain] / "signing.key", self.keys[domain])
        return [
            *("[party]", f'domain = "{domain}"', f'role = "{role}"'),
            *("[market]", 'baseline_method = "REFERENCE"', f'baseline_references = ["{BASELINE}"]'),
            *("[[market.congestion_points]]", f'address = "{POINT}"', f'dso = "{DSO}"'),
            *("[adapters.uftp]", f'domain = "{domain}"', f'role = "{role}"'),
            *(f'listen = "127.0.0.1:{self.ports[domain]}"', 'signing_key_file = "signing.key"', "rate_limit_per_s = 0"),
            *("[[peers]]", f'domain = "{other}"', f'role = "{others}"'),
            f'keys = ["{public_key_string(self.keys[other].public)}"]',
            f'endpoint = "http://127.0.0.1:{self.ports[other]}/shapeshifter/api/v3/message"',
            *("[desk]", 'kind = "trader"', "[desk.options]"),
            *(self._asks if domain == DSO else []),
            *more,
        ]


async def ours(folder: Path, trades: int) -> list[float]:
    """Seconds of each of our trades, one after the other."""
    parties = Parties(folder, trades, 1)
    async with serve(parties.folders[AGR], parties.config(AGR)), serve(parties.folders[DSO], parties.config(DSO)):
        database = parties.folders[DSO] / "data" / "gridparley.db"
        deadline = time.monotonic() + _PATIENCE_S
        while len(taken := durations_s(database)) < trades:
            if time.monotonic() > deadline:
                raise CannotMeasure(f"{len(taken)} of {trades} trades were done within {_PATIENCE_S:g} s")
            await asyncio.sleep(_LOOK_S)
    return taken


async def peers(python: str, script: Path, folder: Path, trades: int) -> list[float]:
    """The same between two processes of shapeshifter-uftp, from the call that sends until the last handler runs."""
    keys = {domain: SigningKey.from_seed(os.urandom(32)) for domain in (AGR, DSO)}
    ports = dict(zip((AGR, DSO), free_ports(2), strict=True))
    async with AsyncExitStack() as opened:
        running: dict[str, Process] = {}
        for domain, other in ((AGR, DSO), (DSO, AGR)):
            setup = {
                "domain": domain,
                "role": "AGR" if domain == AGR else "DSO",
                "secret": base64.b64encode(keys[domain].secret).decode(),
                "key": base64.b64encode(keys[other].public).decode(),
                "port": ports[domain],
                "other": other,
                "endpoint": f"http://127.0.0.1:{ports[other]}/shapeshifter/api/v3/message",
                "point": POINT,
            }
            log = folder / f"peer-{setup['role']}.log"
            running[domain] = await opened.enter_async_context(
                process(python, str(script), json.dumps(setup), errors=log)
            )
        await running[DSO].ask("trade")  # the first is not measured: libraries are still being loaded
        return [float((await running[DSO].ask("trade"))["took_s"]) for _ in range(trades)]


def free_ports(count: int) -> list[int]:
    """Ports of loopback that nobody listens on now."""
    held = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    try:
        return [int(one.getsockname()[1]) for one in held]
    finally:
        for one in held:
            one.close()


def durations_s(database: Path) -> list[float]:
    """Of the trades that a DSO's event log shows as done: seconds from the decision to ask until the answer to the
    order is taken up."""
    begun: dict[str, datetime] = {}
    taken: list[float] = []
    for kind, at, data in _events(database):
        conversation = data["conversation_id"]
        if kind == "message.out" and data["kind"] == "FlexRequest":
            begun[conversation] = at
        elif kind == "message.in" and data["kind"] == "FlexOrderResponse" and conversation in begun:
            taken.append((at - begun[conversation]).total_seconds())
    return taken


def _events(database: Path) -> Iterator[tuple[str, datetime, Mapping[str, Any]]]:
    with closing(sqlite3.connect(f"{database.absolute().as_uri()}?mode=ro", uri=True)) as connection:
        query = "SELECT kind, at, data FROM events WHERE kind IN ('message.in', 'message.out') ORDER BY seq"
        for kind, at, data in connection.execute(query):
            yield kind, datetime.fromisoformat(at), json.loads(data)
