"""Notifications of the OpenADR 3 VTN: what many receivers cost whoever writes an event, and when all have it."""

from __future__ import annotations

import asyncio
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp import web

from interop.bench.process import serve
from interop.bench.registry import bench
from interop.bench.report import CannotMeasure, Report, Row, Scale, Target

__all__ = ["openadr3_push"]

_PATIENCE_S = 60.0
_MOST_POST_MS, _MOST_ENTITLED_MS, _MOST_DELIVERED_S, _LEAST_MQTT = 43.0, 72.0, 5.0, 1000.0
_HOW = (
    "`gridparley serve` with its store on disk, lab profile, over loopback without TLS. POST of an event: median of "
    "{rounds}, each after the one before was delivered to everybody. Webhooks: {count} subscriptions with a callback "
    "each, on one aiohttp server in the bench's own process, which shares the machine. VENs: {count} that are granted "
    "the event's target; one MQTT connection of business logic is subscribed to the topic of each at QoS 1."
)


@bench("openadr3-push")
async def openadr3_push(scale: Scale) -> Report:
    """POST of an event with many webhook subscriptions, with many entitled VENs, and MQTT fan-out."""
    count, rounds = scale.pick(1000, 50), scale.pick(15, 3)
    async with AsyncExitStack() as opened:
        folder = Path(opened.enter_context(tempfile.TemporaryDirectory(prefix="gridparley-bench-")))
        (folder / "secret").write_text("bench\n", encoding="utf-8")
        party = await opened.enter_async_context(serve(folder, _config(folder / "secret")))
        session = await opened.enter_async_context(aiohttp.ClientSession())
        utility = _Utility(session, f"{party.adapters['openadr3']}/3.1.0")
        await utility.sign_in()
        programme = await utility.post("/programs", {"programName": "bench"})
        alone = await _events(utility, rounds, {"programID": programme, "intervals": []}, _nobody)

        targeted = {"programID": programme, "intervals": [], "targets": ["bench"]}
        vens = [await utility.post("/vens", _ven(n)) for n in range(count)]
        uri = (await utility.get("/notifiers"))["MQTT"]["URIS"][0]
        listener = await _listen(opened, uri, utility.token, vens)
        entitled = await _events(utility, rounds, targeted, listener.all_of(count))

        receiver = await _receive(opened)
        for n in range(count):
            await utility.post("/subscriptions", _subscription(f"{receiver.url}/{n}"))
        subscribed = await _events(utility, rounds, targeted, receiver.all_of(count))
    rows = (
        Row("POST, nobody subscribed, p50", "ms", alone.post_ms),
        Row("POST, entitled VENs, p50", "ms", entitled.post_ms, target=Target("<=", _MOST_ENTITLED_MS)),
        Row("MQTT fan-out", "messages/s", count / entitled.all_s, target=Target(">=", _LEAST_MQTT)),
        Row("POST, webhook subscriptions, p50", "ms", subscribed.post_ms, target=Target("<=", _MOST_POST_MS)),
        Row("all webhooks delivered, slowest", "s", subscribed.slowest_s, target=Target("<=", _MOST_DELIVERED_S)),
    )
    return Report("openadr3-push", _HOW.format(count=count, rounds=rounds), rows)


def _config(secret: Path) -> tuple[str, ...]:
    return (
        *("[party]", 'domain = "dso.example.org"', 'role = "DSO"'),
        *("[adapters.openadr3.vtn]", 'listen = "127.0.0.1:0"', 'profile = "lab"', "insecure = true"),
        *("[adapters.openadr3.vtn.mqtt]", 'listen = "127.0.0.1:0"'),
        *("[[adapters.openadr3.vtn.clients]]", 'id = "utility"', 'role = "bl"', f'secret_file = "{secret}"'),
    )


def _ven(n: int) -> dict[str, Any]:
    return {"objectType": "BL_VEN_REQUEST", "clientID": f"c{n}", "venName": f"v{n}", "targets": ["bench"]}


def _subscription(url: str) -> dict[str, Any]:
    asked = {"objects": ["EVENT"], "operations": ["CREATE"], "callbackUrl": url}
    return {"clientName": "bench", "objectOperations": [asked]}


@dataclass(frozen=True, slots=True)
class _Times:
    post_ms: float
    all_s: float
    slowest_s: float


async def _events(utility: _Utility, rounds: int, event: Any, delivered: Callable[[], Awaitable[None]]) -> _Times:
    posts, alls = list[float](), list[float]()
    for _ in range(rounds):
        began = time.perf_counter()
        await utility.post("/events", event)
        posts.append(time.perf_counter() - began)
        await delivered()
        alls.append(time.perf_counter() - began)
    return _Times(statistics.median(posts) * 1e3, statistics.median(alls), max(alls))


async def _nobody() -> None:
    return


@dataclass(slots=True)
class _Counter:
    """Waits until so many more have come."""

    url: str = ""
    got: int = 0
    waited: int = 0
    came: asyncio.Event = field(default_factory=asyncio.Event)

    def count(self) -> None:
        self.got += 1
        self.came.set()

    def all_of(self, count: int) -> Callable[[], Awaitable[None]]:
        async def wait() -> None:
            self.waited += count
            try:
                async with asyncio.timeout(_PATIENCE_S):
                    while self.got < self.waited:
                        self.came.clear()
                        await self.came.wait()
            except TimeoutError as error:
                raise CannotMeasure(f"{self.got} of {self.waited} notifications came") from error

        return wait


async def _receive(opened: AsyncExitStack) -> _Counter:
    """A server for callbacks."""
    counter = _Counter()

    async def called(request: web.Request) -> web.Response:
        await request.read()
        counter.count()
        return web.Response()

    app = web.Application()
    app.router.add_post("/{n}", called)
    runner = web.AppRunner(app)
    await runner.setup()
    opened.push_async_callback(runner.cleanup)
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    counter.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    return counter


async def _listen(opened: AsyncExitStack, uri: str, token: str, vens: list[str]) -> _Counter:
    """Business logic at the broker, subscribed to the events of all VENs."""
    try:
        import aiomqtt
    except ImportError as error:
        raise CannotMeasure("MQTT needs gridparley[mqtt] installed") from error
    counter = _Counter()
    port = int(uri.rpartition(":")[2])
    client = await opened.enter_async_context(
        aiomqtt.Client("127.0.0.1", port, username="utility", password=token, max_queued_incoming_messages=None)
    )
    for ven in vens:
        await client.subscribe(f"vens/{ven}/events/+", qos=1)

    async def take() -> None:
        async for _ in client.messages:
            counter.count()

    taking = asyncio.create_task(take())

    async def end() -> None:
        taking.cancel()
        await asyncio.gather(taking, return_exceptions=True)

    opened.push_async_callback(end)
    return counter


class _Utility:
    """Business logic at the API."""

    def __init__(self, session: aiohttp.ClientSession, base: str) -> None:
        self._session = session
        self._base = base
        self.token = ""

    async def sign_in(self) -> None:
        form = {"grant_type": "client_credentials", "client_id": "utility", "client_secret": "bench"}
        async with self._session.post(f"{self._base}/auth/token", data=form) as response:
            self.token = (await response.json())["access_token"]

    async def get(self, path: str) -> Any:
        headers = {"Authorization": f"Bearer {self.token}"}
        async with self._session.get(self._base + path, headers=headers) as response:
            return await response.json()

    async def post(self, path: str, data: Any) -> str:
        """The id of what is made (CannotMeasure: it is not)."""
        headers = {"Authorization": f"Bearer {self.token}"}
        async with self._session.post(self._base + path, json=data, headers=headers) as response:
            if response.status != 201:
                raise CannotMeasure(f"POST {path} answers {response.status}: {(await response.text())[:300]}")
            return str((await response.json())["id"])
