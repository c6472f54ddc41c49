"""Real servers with a desk that trades, a wire that carries everything, and a clock that stands in May 2026."""

from __future__ import annotations

import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from adapters.clock import Anchor
from adapters.ports import (
    AdapterStatus,
    Delivery,
    DeliveryStatus,
    Direction,
    Encoded,
    History,
    Interpretation,
    Ports,
    Received,
)
from datamodels import (
    Dispatch,
    FlexOffer,
    GridSignal,
    IspSeries,
    MarketCalendar,
    OfferOption,
    Participant,
    Resource,
    SignalKind,
    dumps,
    loads,
)
from interop import plugins
from interop.config import load_config
from interop.desk import DeskContext
from interop.market.book import MESSAGE, Record
from interop.market.desk import MarketDesk
from interop.market.ids import head
from interop.server import Server

NOW = datetime(2026, 5, 20, 10, tzinfo=UTC)
AGR, DSO, POINT = "agr.example.org", "dso.example.org", "ean.871685900012636543"
CONFIG = f"""
[server]
http_listen = "127.0.0.1:PORT"
[clock]
file = "clock.json"
[party]
domain = "{AGR}"
role = "ROLE"
[market]
timezone = "Europe/Amsterdam"
[[market.congestion_points]]
address = "{POINT}"
dso = "{DSO}"
[[peers]]
domain = "{DSO}"
role = "DSO"
endpoint = "http://127.0.0.1:9/"
[desk]
kind = "KIND"
[adapters.wire]
[adapters.meter]
[[resources]]
id = "battery-1"
connection = "ean.1"
kind = "BATTERY"
role = "STORAGE"
p_min_w = -5000
p_max_w = 5000
capacity_wh = 10000
binding = {{ adapter = "wire", address = "x" }}
[[resources]]
id = "meter-1"
connection = "ean.1"
kind = "METER"
role = "CONSUMER"
p_min_w = 0
p_max_w = 9000
binding = {{ adapter = "meter", address = "x" }}
[[resources]]
id = "loose-1"
connection = "ean.1"
kind = "LOAD"
role = "CONSUMER"
p_min_w = 0
p_max_w = 9000
"""


class Meter:
    """An adapter that only listens."""

    def __init__(self, options: dict[str, Any], ports: Ports) -> None:
        self.name = "meter"

    async def start(self) -> None:
        pass

    async def stop(self) -> None:
        pass

    def status(self) -> AdapterStatus:
        return AdapterStatus(True)


class Wire(Meter):
    """Carries messages as canonical JSON, and steers."""

    def __init__(self, options: dict[str, Any], ports: Ports) -> None:
        super().__init__(options, ports)
        self.done: list[str] = []
        self.sent: list[Any] = []

    def interpret(self, received: Received, history: History) -> Interpretation:
        return Interpretation(loads(received.raw))

    def encode(self, message: Any, recipient: Participant, history: History) -> Encoded:
        return Encoded(dumps(message).encode())

    async def deliver(self, recipient: Participant, body: bytes) -> Delivery:
        self.sent.append(loads(body))
        return Delivery(DeliveryStatus.DELIVERED, 200)

    async def apply(self, resource: Resource, dispatch: Dispatch) -> None:
        self.done.append(f"apply {dispatch.id} {dispatch.revision}")

    async def withdraw(self, dispatch: str) -> None:
        self.done.append(f"withdraw {dispatch}")


class Trader(MarketDesk):
    """Does nothing of its own accord; obeys limits."""

    def __init__(self, options: dict[str, Any], context: DeskContext) -> None:
        super().__init__(context)

    def obeys(self, signal: GridSignal) -> bool:
        return signal.kind in (SignalKind.IMPORT_LIMIT, SignalKind.EXPORT_LIMIT)

    async def work(self, now: datetime) -> None:
        pass


def offer(name: str = "offer", expires: datetime = NOW + timedelta(hours=1)) -> FlexOffer:
    power = IspSeries(MarketCalendar(), date(2026, 5, 21), (None,) * 39 + (-4000,) + (None,) * 56)
    option = OfferOption("1", Decimal("2.50"), power)
    return FlexOffer(head(AGR, DSO, NOW, name), POINT, expires, "EUR", (option,), request="r1")


def said(message: Any, *, accepted: bool | None = True, direction: Direction = Direction.OUT) -> Any:
    """The document that records a message."""
    return MESSAGE, message.head.message_id, Record(direction, DSO, message, accepted)


@pytest.fixture
def kit() -> Any:
    """What tests share: `offer`, `said`, and names."""

    class Kit:
        now, agr, dso, point = NOW, AGR, DSO, POINT

    Kit.offer, Kit.said = staticmethod(offer), staticmethod(said)  # type: ignore[attr-defined]
    return Kit


@pytest.fixture(autouse=True)
def installed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The adapters and the desk are installed, and no pages."""
    ours = {
        (plugins.ADAPTERS, "wire"): Wire,
        (plugins.ADAPTERS, "meter"): Meter,
        (plugins.DESKS, "trader"): Trader,
    }
    load, find = plugins.load, plugins.find
    monkeypatch.setattr(plugins, "load", lambda group, name: ours.get((group, name)) or load(group, name))
    monkeypatch.setattr(plugins, "find", lambda group: {} if group == plugins.PAGES else find(group))


@pytest.fixture
async def serve(tmp_path: Path) -> AsyncIterator[Callable[..., Awaitable[Server]]]:
    """Start a server on this test's folder, again and again if wanted; its configuration is `gridparley.toml`."""
    servers: list[Server] = []

    async def start(kind: str = "trader", role: str = "AGR", more: str = "") -> Server:
        for server in servers:
            await server.stop()
        Anchor(time.time(), NOW, 1e-9).write(tmp_path / "clock.json")
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        path = tmp_path / "gridparley.toml"
        path.write_text(CONFIG.replace("PORT", str(port)).replace("KIND", kind).replace("ROLE", role) + more)
        server = Server(load_config(path, {}))
        servers.append(server)
        await server.start()
        return server

    yield start
    for server in servers:
        await server.stop()


@pytest.fixture
def ask() -> Callable[..., Awaitable[tuple[int, Any]]]:
    """Status and JSON of a request to a server's API."""

    async def call(server: Server, method: str, path: str, **more: Any) -> tuple[int, Any]:
        url = f"http://{server.http_address}/api/v1/{path}"
        async with aiohttp.ClientSession() as session, session.request(method, url, **more) as response:
            return response.status, await response.json()

    return call
