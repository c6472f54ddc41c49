"""A crash campaign: real servers under load, killed with SIGKILL at random moments, again and again.

A grid operator and an aggregator trade without a pause; a witness, a second grid operator that is not ours, posts
requests to the aggregator over and over, insists until it gets a 200, repeats some, and keeps every byte it is sent.
In the end nothing acknowledged may be lost, nothing answered twice with different content, nothing ordered twice.

    python tests/crash/campaign.py --kills 500 [--folder DIR] [--seed N]

Prints one line of JSON with what was counted; exit code 1 where something is wrong.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import re
import shutil
import sqlite3
import statistics
import sys
import tempfile
import time
import uuid
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp import web

from adapters.uftp import SigningKey, public_key_string
from adapters.uftp.codec import encode
from adapters.uftp.envelope import read, seal
from adapters.uftp.mapping import to_wire
from datamodels import CongestionPoint, Disposition, FlexRequest, Head, MarketCalendar, MarketTerms, RequestIsp, Role
from interop.bench.trade import AGR, DSO, Parties, free_ports
from interop.demo.processes import Fleet
from interop.store import Reader

WITNESS, PLACE = "witness.example.org", "ea1.2020-01.org.example:witness"
_CALENDAR = MarketCalendar("Europe/Amsterdam")
_PATH = "/shapeshifter/api/v3/message"
_READY_S, _DRAIN_S, _PACE_S = 600.0, 600.0, 0.01  # patience for a machine that has other things to do
_MOST_OPEN = 200
_MANY = 20_000


@dataclass
class Witness:
    """Posts to the aggregator and takes its answers."""

    url: str
    port: int
    key: SigningKey
    rng: random.Random
    connections: int = 2
    acknowledged: dict[str, bytes] = field(default_factory=dict)
    repeated: int = 0
    answers: dict[tuple[str, str], set[bytes]] = field(default_factory=lambda: defaultdict(set))
    count: Counter[tuple[str, str]] = field(default_factory=Counter)
    answered: set[str] = field(default_factory=set)
    stopping: bool = False

    async def listen(self) -> web.AppRunner:
        app = web.Application()
        app.router.add_post(_PATH, self._take)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", self.port).start()
        return runner

    async def _take(self, request: web.Request) -> web.Response:
        payload = read(await request.read()).payload
        root = re.search(rb"<([A-Za-z-]+) ", payload)
        about = re.search(rb'FlexRequestMessageID="([^"]+)"', payload)
        if root and about:
            answered = root[1].decode(), about[1].decode()
            self.answers[answered].add(payload)
            self.count[answered] += 1
            self.answered.add(answered[1])
        return web.Response()

    async def post(self) -> None:
        """Until told to stop: one message after the other on each connection, each until it is acknowledged."""
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=5)) as session:
            await asyncio.gather(*(self._post_on(session) for _ in range(self.connections)))

    async def _post_on(self, session: aiohttp.ClientSession) -> None:
        while not self.stopping:
            full = len(self.acknowledged) - len(self.answered) > _MOST_OPEN
            if self.acknowledged and (full or self.rng.random() < 0.2):
                await self._insist(session, self.rng.choice(list(self.acknowledged.values())))
                self.repeated += 1
            else:
                message_id, body = self.message()
                if await self._insist(session, body):
                    self.acknowledged[message_id] = body
            await asyncio.sleep(_PACE_S)

    async def _insist(self, session: aiohttp.ClientSession, body: bytes) -> bool:
        while True:
            try:
                async with session.post(self.url, data=body, headers={"Content-Type": "text/xml"}) as response:
                    if response.status == 200:
                        return True
                    assert response.status >= 500, f"{response.status} {await response.text()}"
            except (aiohttp.ClientError, TimeoutError, OSError):
                if self.stopping:
                    return False
                await asyncio.sleep(0.05)

    def message(self) -> tuple[str, bytes]:
        now = datetime.now(UTC).replace(microsecond=0)
        head = Head(WITNESS, AGR, str(uuid.uuid4()), str(uuid.uuid4()), now)
        period = (now + timedelta(days=7)).date()
        isps = tuple(RequestIsp(k, 1, Disposition.REQUESTED, -self.rng.randrange(2, 10**6), 0) for k in range(70, 77))
        request = FlexRequest(head, PLACE, _CALENDAR, period, 1, now + timedelta(days=1), isps)
        point = CongestionPoint(PLACE, WITNESS, now.date() - timedelta(days=1))
        element, _ = to_wire(request, "3.1.0", MarketTerms(_CALENDAR, (point,)))
        return head.message_id, seal(encode(element), WITNESS, Role.DSO, self.key)

    def unanswered(self) -> list[str]:
        return [id for id in self.acknowledged if not self.answers.get(("FlexRequestResponse", id))]


class Campaign:
    """`kills` of either server; `report` is what came of it."""

    def __init__(self, folder: Path, kills: int, seed: int, at_once: int = 4) -> None:
        self.rng = random.Random(seed)
        self.kills = kills
        self.fleet = Fleet(folder / "logs")
        self.parties = Parties(folder, 10**9, at_once)
        self.ready_s: list[tuple[float, int]] = []
        own, key = free_ports(1)[0], SigningKey.from_seed(self.rng.randbytes(32))
        agr_url = f"http://127.0.0.1:{self.parties.ports[AGR]}{_PATH}"
        self.witness = Witness(agr_url, own, key, random.Random(seed + 1))
        extra = [
            *("[[peers]]", f'domain = "{WITNESS}"', 'role = "DSO"', f'keys = ["{public_key_string(key.public)}"]'),
            f'endpoint = "http://127.0.0.1:{own}{_PATH}"',
            *("[[market.congestion_points]]", f'address = "{PLACE}"', f'dso = "{WITNESS}"'),
        ]
        server = [
            *("[server]", 'data_dir = "data"', 'http_listen = "127.0.0.1:0"', 'log_level = "warning"'),
            *("outbox_first_s = 0.1", "outbox_longest_s = 1.0"),  # the other side is back after a second or two
        ]
        for domain, more in ((AGR, extra), (DSO, [])):
            lines = [*server, *self.parties.config(domain), *more]
            self.config(domain).write_text("\n".join(lines) + "\n", encoding="utf-8")

    def config(self, domain: str) -> Path:
        return self.parties.folders[domain] / "gridparley.toml"

    def database(self, domain: str) -> Path:
        return self.parties.folders[domain] / "data"

    async def run(self) -> dict[str, Any]:
        runner = await self.witness.listen()
        load: asyncio.Task[None] | None = None
        try:
            await self._serve(AGR)
            await self._serve(DSO)
            load = asyncio.create_task(self.witness.post())
            for number in range(self.kills):
                await asyncio.sleep(self.rng.uniform(0.0, 0.6))
                domain = self.rng.choice([AGR, DSO])
                self.fleet.check()
                await self.fleet.kill(domain)
                await self._serve(domain)
                if sys.stderr.isatty() or number % 25 == 24:
                    print(f"{number + 1} kills, ready after {self.ready_s[-1][0]:.2f} s", file=sys.stderr, flush=True)
            self.witness.stopping = True
            await load
            await self._drain()
        finally:
            if load is not None:
                load.cancel()
            await self.fleet.stop()
            await runner.cleanup()
        return self.report()

    async def _serve(self, domain: str) -> None:
        """Start a server and wait until it says that it is ready."""
        held = self._rows(domain)
        log = self.fleet.logs / f"{domain}.log"
        said = log.read_bytes().count(b'"ready"') if log.exists() else 0
        began = time.perf_counter()
        await self.fleet.start(domain, "interop", "serve", str(self.config(domain)), "--json")
        while log.read_bytes().count(b'"ready"') == said:
            assert time.perf_counter() - began < _READY_S, f"{domain} is not ready; see {log}"
            self.fleet.check(domain)
            await asyncio.sleep(0.01)
        self.ready_s.append((time.perf_counter() - began, held))

    async def _drain(self) -> None:
        """Let what is on the way arrive."""
        deadline = time.monotonic() + _DRAIN_S
        while self.witness.unanswered() and time.monotonic() < deadline:
            await asyncio.sleep(0.1)

    def _rows(self, domain: str) -> int:
        if not (self.database(domain) / "gridparley.db").exists():
            return 0
        ((inbox, outbox),) = self._ask(domain, "SELECT (SELECT COUNT(*) FROM inbox), (SELECT COUNT(*) FROM outbox)")
        return int(inbox + outbox)

    def _ask(self, domain: str, query: str) -> list[Any]:
        path = (self.database(domain) / "gridparley.db").absolute().as_uri()
        with closing(sqlite3.connect(f"{path}?mode=ro", uri=True, timeout=10)) as connection:
            return connection.execute(query).fetchall()

    def report(self) -> dict[str, Any]:
        """What was counted; `wrong` lists what must not be."""
        witness, wrong = self.witness, list(self._wrong())
        times = [took for took, _ in self.ready_s]
        full = [took for took, held in self.ready_s if held >= _MANY]
        ordered = self._ask(AGR, "SELECT COUNT(*) FROM inbox WHERE kind = 'FlexOrder' AND accepted = 1")[0][0]
        return {
            "kills": self.kills,
            "acknowledged": len(witness.acknowledged),
            "repeated": witness.repeated,
            "orders": ordered,
            "messages_held": {domain: self._rows(domain) for domain in (AGR, DSO)},
            "ready_s": {"median": round(statistics.median(times), 3), "longest": round(max(times), 3)},
            "ready_s_of_20000_messages": {"restarts": len(full), "longest": round(max(full), 3)} if full else None,
            "wrong": wrong,
        }

    def _wrong(self) -> Iterator[str]:
        witness = self.witness
        taken = {id for (id,) in self._ask(AGR, f"SELECT message_id FROM inbox WHERE peer = '{WITNESS}'")}
        if lost := witness.acknowledged.keys() - taken:
            yield f"{len(lost)} acknowledged messages are lost, {min(lost)} among them"
        if silent := witness.unanswered():
            yield f"{len(silent)} acknowledged messages were not answered, {silent[0]} among them"
        if changed := [about for about, said in witness.answers.items() if len(said) > 1]:
            yield f"{len(changed)} messages were answered with different contents, {changed[0]} among them"
        offers = Counter(offer for (offer,) in self._said(DSO, "FlexOrder", "$.offer"))
        if twice := [offer for offer, count in offers.items() if count > 1]:
            yield f"{len(twice)} offers were ordered twice by the sender, {twice[0]} among them"
        orders = Counter(name for (name,) in self._heard(AGR, "FlexOrder", "$.order_reference"))
        if twice := [name for name, count in orders.items() if count > 1]:
            yield f"{len(twice)} orders were taken twice, {twice[0]} among them"
        unheard = {id for (id,) in self._ask(DSO, "SELECT message_id FROM outbox WHERE state = 'DELIVERED'")}
        unheard -= {id for (id,) in self._ask(AGR, "SELECT message_id FROM inbox")}
        if unheard:
            yield f"{len(unheard)} messages that the aggregator acknowledged are not in its store"
        for domain in (AGR, DSO):
            for state in ("FAILED", "DEAD"):
                table = "inbox" if state == "FAILED" else "outbox"
                if count := self._ask(domain, f"SELECT COUNT(*) FROM {table} WHERE state = '{state}'")[0][0]:
                    yield f"{domain} has {count} {state} messages"
            if self._ask(domain, "PRAGMA integrity_check") != [("ok",)]:
                yield f"the database of {domain} is damaged"
            with closing(Reader(self.database(domain))) as reader:
                if not (chain := reader.verify_chain()).intact:
                    yield f"the event log of {domain} is broken at {chain.broken_at}"

    def _said(self, domain: str, kind: str, path: str) -> list[Any]:
        return self._ask(domain, f"SELECT json_extract(message, '{path}') FROM outbox WHERE kind = '{kind}'")

    def _heard(self, domain: str, kind: str, path: str) -> list[Any]:
        query = f"SELECT json_extract(message, '{path}') FROM inbox WHERE kind = '{kind}' AND accepted = 1"
        return self._ask(domain, query)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=500)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--folder", type=Path, help="where data and logs are kept; without it they are deleted")
    options = parser.parse_args()
    folder = options.folder or Path(tempfile.mkdtemp(prefix="gridparley-crash-"))
    os.environ.setdefault("PYTHONPATH", str(Path(__file__).parents[2]))
    try:
        report = asyncio.run(Campaign(folder, options.kills, options.seed).run())
    finally:
        if options.folder is None:
            shutil.rmtree(folder, ignore_errors=True)
    print(json.dumps(report))
    sys.exit(1 if report["wrong"] else 0)


if __name__ == "__main__":
    main()
