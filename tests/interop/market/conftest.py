"""Four server processes on loopback: two aggregators, a grid operator, a common reference operator."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import socket
import sqlite3
import time
from collections.abc import AsyncIterator
from contextlib import closing
from dataclasses import dataclass, field
from datetime import date, datetime
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import pytest_asyncio
from nacl.signing import SigningKey
from support.market import AGR, AGR2, CRO, DSO, P1, ROLES

from adapters.clock import Anchor
from adapters.uftp.codec import encode
from adapters.uftp.mapping import to_wire
from datamodels import BaselineMethod, CongestionPoint, Contract, MarketCalendar, MarketMessage, MarketTerms, Run
from interop.demo.processes import Fleet

PARTIES = (AGR, AGR2, DSO, CRO)
CALENDAR = MarketCalendar()
RESERVED = (Run(40, 8, -6000),)
TERMS = MarketTerms(
    CALENDAR,
    (CongestionPoint(P1, DSO, date(2030, 1, 1)),),
    (Contract("C1", DSO, AGR, ("S1",), BaselineMethod.D_PROGNOSIS, reserved=RESERVED),),
)
_PEOPLE = {"AGR": "quiet", "DSO": "quiet", "CRO": "commonreference"}
_WITHIN_S = 20.0


@dataclass
class Party:
    """A running `gridparley serve`: its operator's HTTP, and its store as it stands on disk."""

    domain: str
    database: Path
    http: str = ""
    session: aiohttp.ClientSession = field(default=None, repr=False)  # type: ignore[assignment]

    async def send(self, message: MarketMessage, version: str) -> str:
        """Have a message sent as composed here; returns its id."""
        element, losses = to_wire(message, version, TERMS)
        assert losses == ()
        return await self.send_payload(encode(element))

    async def send_payload(self, payload: bytes) -> str:
        async with self.session.post(f"{self.http}/api/v1/uftp/messages", data=payload) as response:
            answer = await response.json()
            assert response.status == 201, answer
        return str(answer["message_id"])

    def rows(self, query: str, *values: str) -> list[tuple[Any, ...]]:
        """Read the store as the process keeps it."""
        with closing(sqlite3.connect(f"file:{self.database}?mode=ro", uri=True, timeout=5)) as database:
            return database.execute(query, values).fetchall()

    async def until(self, query: str, *values: str) -> tuple[Any, ...]:
        """The one row of a query, as soon as there is one."""
        deadline = time.monotonic() + _WITHIN_S
        while time.monotonic() < deadline:
            if rows := self.rows(query, *values):
                assert len(rows) == 1, rows
                return rows[0]
            await asyncio.sleep(0.02)
        seen = self.rows("SELECT kind, state, accepted, reasons FROM inbox")
        raise AssertionError(f"{self.domain} has nothing for {query} {values}; its inbox: {seen}")


@dataclass
class Market:
    parties: dict[str, Party]
    folder: Path
    fleet: Fleet
    session: aiohttp.ClientSession

    @property
    def clock(self) -> Path:
        return self.folder / "clock.json"

    async def serve(self, *domains: str) -> None:
        """Start servers, and wait until they are ready."""
        here = [str(self.folder / "plugin"), str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")]
        for domain in domains:
            (self.folder / "logs" / f"{domain}.log").unlink(missing_ok=True)
            configuration = str(self.folder / f"{domain}.toml")
            path = {"PYTHONPATH": os.pathsep.join(here)}
            await self.fleet.start(domain, "interop", "serve", "--json", configuration, env=path)
        for domain in domains:
            party = self.parties[domain]
            party.http, party.session = await _ready(self.fleet, domain), self.session

    async def kill(self, domain: str) -> None:
        """End a server as a power cut would."""
        await self.fleet.kill(domain)

    def set_clock(self, at: datetime) -> None:
        Anchor(time.time(), at, 1.0).write(self.clock)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def market(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Market]:
    folder = tmp_path_factory.mktemp("market")
    async with aiohttp.ClientSession() as session:
        parties = {d: Party(d, folder / d / "gridparley.db") for d in PARTIES}
        market = Market(parties, folder, Fleet(folder / "logs"), session)
        market.set_clock(datetime(2030, 6, 11, 8, 0, tzinfo=CALENDAR.zone))
        _plugin(folder)
        _configure(folder, market.clock)
        try:
            await market.serve(*PARTIES)
            yield market
            market.fleet.check()
        finally:
            await market.fleet.stop()


async def _ready(fleet: Fleet, name: str) -> str:
    """Where a server serves its operators, once it says that it is ready."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        said = fleet.children[name].log.read_text(encoding="utf-8")
        if '"ready": true' in said and "}" in said:
            return str(json.loads(said)["http"])
        fleet.check(name)
        await asyncio.sleep(0.05)
    raise AssertionError(f"{name} did not become ready")


def _plugin(folder: Path) -> None:
    """A distribution that offers the quiet desk, as an installed one would."""
    info = folder / "plugin" / "quiet_desk-1.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: quiet-desk\nVersion: 1\n", encoding="ascii")
    (info / "entry_points.txt").write_text("[gridparley.desks]\nquiet = quiet:build\n", encoding="ascii")


def _configure(folder: Path, clock: Path) -> None:
    keys = {domain: SigningKey.generate() for domain in PARTIES}
    ports = dict(zip(PARTIES, _free_ports(len(PARTIES)), strict=True))
    for domain in PARTIES:
        key_file = folder / f"{domain}.key"
        key_file.write_text(base64.b64encode(bytes(keys[domain])).decode(), encoding="ascii")
        key_file.chmod(0o600)
        lines = [
            "[server]",
            f"data_dir = {json.dumps(str(folder / domain))}",
            'http_listen = "127.0.0.1:0"',
            f"log_file = {json.dumps(str(folder / f'{domain}.jsonl'))}",
            "[clock]",
            f"file = {json.dumps(str(clock))}",
            "[party]",
            f'domain = "{domain}"',
            f'role = "{ROLES[domain]}"',
            "[[market.congestion_points]]",
            f'address = "{P1}"',
            f'dso = "{DSO}"',
            "[[market.contracts]]",
            'id = "C1"',
            f'dso = "{DSO}"',
            f'agr = "{AGR}"',
            'service_types = ["S1"]',
            *(
                line
                for run in RESERVED
                for line in (
                    "[[market.contracts.reserved]]",
                    f"start = {run.start}",
                    f"duration = {run.duration}",
                    f"power_w = {run.power_w}",
                )
            ),
            *(line for peer in PARTIES if peer != domain for line in _peer(peer, ports[peer], keys[peer])),
            "[adapters.uftp]",
            f'domain = "{domain}"',
            f'role = "{ROLES[domain]}"',
            f'listen = "127.0.0.1:{ports[domain]}"',
            f"signing_key_file = {json.dumps(str(key_file))}",
            "[desk]",
            f'kind = "{_PEOPLE[ROLES[domain]]}"',
        ]
        if domain == CRO:
            lines.append('options = {mode = "closed", members = [')
            lines += [f'  {{domain = "{d}", role = "{ROLES[d]}"}},' for d in (AGR, AGR2, DSO)]
            lines.append("]}")
        (folder / f"{domain}.toml").write_text("\n".join(lines) + "\n", encoding="utf-8")


def _peer(domain: str, port: int, key: SigningKey) -> list[str]:
    return [
        "[[peers]]",
        f'domain = "{domain}"',
        f'role = "{ROLES[domain]}"',
        f'endpoint = "http://127.0.0.1:{port}/shapeshifter/api/v3/message"',
        f'keys = ["{base64.b64encode(bytes(key.verify_key)).decode()}"]',
    ]


def _free_ports(count: int) -> list[int]:
    """Ports that were free a moment ago, all different."""
    sockets = [socket.socket() for _ in range(count)]
    for one in sockets:
        one.bind(("127.0.0.1", 0))
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports
