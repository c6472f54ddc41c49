"""Delivery against a real server: what each status means, redirects, silence."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from aiohttp import web

from adapters.ports import DeliveryStatus
from adapters.uftp.client import Client, classify

D, T, P = DeliveryStatus.DELIVERED, DeliveryStatus.TEMPORARY, DeliveryStatus.PERMANENT

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@pytest.fixture
async def client() -> AsyncIterator[Client]:
    client = Client()
    await client.start()
    yield client
    await client.stop()


class Peer:
    """A server whose answers are set by path; it remembers what was posted."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, str, str, bytes]] = []
        self.answers: dict[str, Handler] = {}
        self.base = ""

    async def handle(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        self.seen.append((request.method, request.path, request.headers["Content-Type"], body))
        assert request.content_length == len(body)
        return await self.answers[request.path](request)

    def redirect(self, path: str, status: int, target: str) -> None:
        async def answer(request: web.Request) -> web.Response:
            return web.Response(status=status, headers={"Location": target})

        self.answers[path] = answer

    def status(self, path: str, status: int, **headers: str) -> None:
        async def answer(request: web.Request) -> web.Response:
            return web.Response(status=status, text="why", headers={k.replace("_", "-"): v for k, v in headers.items()})

        self.answers[path] = answer


@pytest.fixture
async def peer() -> AsyncIterator[Peer]:
    peer = Peer()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", peer.handle)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    peer.base = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield peer
    await runner.cleanup()


@pytest.mark.parametrize(
    ("code", "status"),
    [
        (200, D),
        (202, D),
        (400, P),
        (401, P),
        (403, P),
        (404, T),
        (408, T),
        (411, P),
        (413, P),
        (419, T),
        (429, T),
        (500, T),
        (503, T),
        (524, T),
        (599, T),
        (300, T),
        (304, T),
    ],
)
async def test_what_a_status_means(client: Client, peer: Peer, code: int, status: DeliveryStatus) -> None:
    """U-11: 404, 419, 429, 5xx and the unknown are temporary, other 4xx end it."""
    assert classify(code) is status
    peer.status("/x", code)
    delivery = await client.post(f"{peer.base}/x", b"<a/>")
    assert (delivery.status, delivery.code) == (status, code)
    assert peer.seen == [("POST", "/x", "text/xml; charset=utf-8", b"<a/>")]


async def test_retry_after_in_both_forms(client: Client, peer: Peer) -> None:
    """U-11."""
    peer.status("/s", 503, Retry_After="7")
    peer.status("/d", 429, Retry_After=format_datetime(datetime.now(UTC) + timedelta(seconds=60), usegmt=True))
    peer.status("/odd", 429, Retry_After="soon")
    assert (await client.post(f"{peer.base}/s", b"x")).retry_after_s == 7
    dated = (await client.post(f"{peer.base}/d", b"x")).retry_after_s
    assert dated is not None
    assert 50 < dated <= 60
    assert (await client.post(f"{peer.base}/odd", b"x")).retry_after_s is None


@pytest.mark.parametrize("code", [301, 302, 307, 308])
async def test_a_redirect_stays_a_post_with_its_body(client: Client, peer: Peer, code: int) -> None:
    """U-10."""
    peer.redirect("/a", code, "/b?x=1")
    peer.status("/b", 200)
    delivery = await client.post(f"{peer.base}/a", b"<a/>")
    assert delivery.status is D
    assert [(m, p, b) for m, p, _, b in peer.seen] == [("POST", "/a", b"<a/>"), ("POST", "/b", b"<a/>")]


async def test_a_circle_of_redirects_stops(client: Client, peer: Peer) -> None:
    """U-10."""
    peer.redirect("/a", 307, "/b")
    peer.redirect("/b", 307, "/a")
    delivery = await client.post(f"{peer.base}/a", b"x")
    assert delivery.status is T
    assert "circle" in delivery.detail
    assert len(peer.seen) == 2


async def test_a_long_chain_of_redirects_stops(client: Client, peer: Peer) -> None:
    """U-10."""
    for n in range(20):
        peer.redirect(f"/{n}", 302, f"/{n + 1}")
    delivery = await client.post(f"{peer.base}/0", b"x")
    assert delivery.status is T
    assert len(peer.seen) == 6


async def test_a_redirect_to_another_scheme_is_not_followed(client: Client, peer: Peer) -> None:
    """U-10."""
    peer.redirect("/a", 302, "file:///etc/passwd")
    assert (await client.post(f"{peer.base}/a", b"x")).status is T


@pytest.mark.parametrize("endpoint", ["", "nonsense", "ftp://x/y", "http://", "http://[::1"])
async def test_no_usable_endpoint(client: Client, endpoint: str) -> None:
    delivery = await client.post(endpoint, b"x")
    assert delivery.status is T
    assert "endpoint" in delivery.detail


async def test_nobody_listens(client: Client) -> None:
    """U-11."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
        delivery = await client.post(f"http://127.0.0.1:{port}/", b"x")
    assert (delivery.status, delivery.code) == (T, 0)


async def test_a_reset_and_a_silence_are_temporary(client: Client) -> None:
    """U-11."""

    async def reset(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readline()
        writer.transport.abort()

    server = await asyncio.start_server(reset, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
    assert (await client.post(url, b"x")).status is T
    server.close()

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    server = await asyncio.start_server(silent, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
    impatient = Client(read_s=0.1)
    await impatient.start()
    delivery = await impatient.post(url, b"x")
    assert (delivery.status, delivery.detail) == (T, "timed out")
    await impatient.stop()
    server.close()
