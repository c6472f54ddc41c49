"""What peers want of their callers: tokens, client certificates, authorities of their own (U-10, U-11)."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import time
from collections.abc import AsyncIterator
from pathlib import Path
from types import ModuleType

import pytest
import trustme
from aiohttp import web
from support.addressbook import CLIENT, SECRET, AddressBookServer

from adapters.ports import DeliveryStatus
from adapters.uftp import build
from adapters.uftp.access import Access, Credentials
from adapters.uftp.client import Client

D, T, P = DeliveryStatus.DELIVERED, DeliveryStatus.TEMPORARY, DeliveryStatus.PERMANENT
PEER = "dso.example.org"


class Peer:
    """Takes messages with a token that `book` gave out; `/moved` redirects to `target`."""

    def __init__(self, book: AddressBookServer) -> None:
        self.book = book
        self.target = ""
        self.tokens: list[str | None] = []

    async def take(self, request: web.Request) -> web.Response:
        await request.read()
        token = request.headers.get("Authorization")
        self.tokens.append(token)
        return web.Response(status=200 if (token or "").removeprefix("Bearer ") in self.book.valid else 401)

    async def move(self, request: web.Request) -> web.Response:
        await request.read()
        return web.Response(status=307, headers={"Location": self.target})


async def _listen(peer: Peer, tls: ssl.SSLContext | None = None) -> tuple[web.AppRunner, str]:
    app = web.Application()
    app.router.add_post("/message", peer.take)
    app.router.add_post("/moved", peer.move)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls).start()
    scheme, port = "https" if tls else "http", runner.addresses[0][1]
    return runner, f"{scheme}://{'localhost' if tls else '127.0.0.1'}:{port}"


@pytest.fixture
async def book() -> AsyncIterator[AddressBookServer]:
    async with AddressBookServer() as book:
        yield book


@pytest.fixture
async def peer(book: AddressBookServer) -> AsyncIterator[tuple[Peer, str]]:
    peer = Peer(book)
    runner, url = await _listen(peer)
    yield peer, url
    await runner.cleanup()


@pytest.fixture
async def client(book: AddressBookServer, tmp_path: Path) -> AsyncIterator[Client]:
    (tmp_path / "secret").write_text(SECRET)
    access = Access(PEER, f"{book.url}/oauth/token", CLIENT, tmp_path / "secret", "messages")
    client = Client({PEER: Credentials.load(access, None, None, None)})
    await client.start()
    yield client
    await client.stop()


async def test_a_token_goes_along_and_is_kept(client: Client, peer: tuple[Peer, str], book: AddressBookServer) -> None:
    for _ in range(3):
        assert (await client.post(f"{peer[1]}/message", b"x", PEER)).status is D
    assert peer[0].tokens == ["Bearer token-1"] * 3
    assert (await client.post(f"{peer[1]}/message", b"x", "other.example.org")).status is P
    assert peer[0].tokens[-1] is None
    assert book.tokens == 1


async def test_a_refused_token_is_renewed_once(client: Client, peer: tuple[Peer, str], book: AddressBookServer) -> None:
    assert (await client.post(f"{peer[1]}/message", b"x", PEER)).status is D
    book.valid.clear()
    assert (await client.post(f"{peer[1]}/message", b"x", PEER)).status is D
    assert book.tokens == 2
    peer[0].book = AddressBookServer()  # takes no token at all: the 401 is about the message
    delivery = await client.post(f"{peer[1]}/message", b"x", PEER)
    assert (delivery.status, delivery.code) == (P, 401)
    assert book.tokens == 3


async def test_a_token_server_in_trouble_is_temporary(
    client: Client, peer: tuple[Peer, str], tmp_path: Path, book: AddressBookServer
) -> None:
    (tmp_path / "secret").write_text("wrong")
    access = Access(PEER, f"{book.url}/oauth/token", CLIENT, tmp_path / "secret")
    refused = Client({PEER: Credentials.load(access, None, None, None)})
    await refused.start()
    delivery = await refused.post(f"{peer[1]}/message", b"x", PEER)
    await refused.stop()
    assert (delivery.status, peer[0].tokens) == (T, [])
    assert "token server" in delivery.detail


async def test_a_token_is_not_carried_to_another_host(
    client: Client, peer: tuple[Peer, str], book: AddressBookServer
) -> None:
    """U-10: the body follows a redirect, the token does not leave the peer."""
    other = Peer(book)
    runner, url = await _listen(other)
    peer[0].target = f"{url}/message"
    assert (await client.post(f"{peer[1]}/moved", b"x", PEER)).code == 401
    assert set(other.tokens) == {None}
    peer[0].target = "/message"
    assert (await client.post(f"{peer[1]}/moved", b"x", PEER)).status is D
    await runner.cleanup()


# --- TLS ----------------------------------------------------------------------------------------------------------


@pytest.fixture
async def strict(book: AddressBookServer, tmp_path: Path) -> AsyncIterator[tuple[Peer, str, Path]]:
    """A peer whose server wants a client certificate of its own authority."""
    ca = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ca.issue_cert("localhost").configure_cert(context)
    ca.configure_trust(context)
    context.verify_mode = ssl.CERT_REQUIRED
    peer = Peer(book)
    book.valid.add("")
    runner, url = await _listen(peer, context)
    ca.cert_pem.write_to_path(tmp_path / "ca.pem")
    ours = ca.issue_cert("agr.example.org")
    ours.cert_chain_pems[0].write_to_path(tmp_path / "agr.pem")
    ours.private_key_pem.write_to_path(tmp_path / "agr.key")
    yield peer, url, tmp_path
    await runner.cleanup()


async def _post(url: str, access: Access | None, *shared: Path | None) -> DeliveryStatus:
    shared = shared or (None, None, None)
    known = {access.domain: Credentials.load(access, *shared)} if access else {}
    client = Client(known, Credentials.load(Access(""), *shared), connect_s=2, read_s=2)
    await client.start()
    delivery = await client.post(f"{url}/message", b"x", PEER)
    await client.stop()
    return delivery.status


async def test_a_client_certificate_and_an_authority_for_one_peer(strict: tuple[Peer, str, Path]) -> None:
    _, url, folder = strict
    certificate, key, ca = folder / "agr.pem", folder / "agr.key", folder / "ca.pem"
    one = Access(PEER, tls_certificate=certificate, tls_key=key, tls_ca=ca)
    assert await _post(url, one) is D
    assert await _post(url, Access(PEER, tls_ca=ca)) is T
    assert await _post(url, Access(PEER, tls_certificate=certificate, tls_key=key)) is T
    assert await _post(url, None) is T
    other = trustme.CA()
    other.cert_pem.write_to_path(folder / "other.pem")
    assert await _post(url, Access(PEER, tls_certificate=certificate, tls_key=key, tls_ca=folder / "other.pem")) is T


async def test_a_client_certificate_and_an_authority_for_all(strict: tuple[Peer, str, Path]) -> None:
    _, url, folder = strict
    shared = (folder / "ca.pem", folder / "agr.pem", folder / "agr.key")
    assert await _post(url, None, *shared) is D
    assert await _post(url, Access(PEER), *shared) is D


async def test_the_adapter_uses_what_is_configured(
    world: ModuleType, strict: tuple[Peer, str, Path], book: AddressBookServer
) -> None:
    """Certificate, token and time-outs from the configuration to the wire."""
    peer, url, folder = strict
    book.valid.clear()
    (folder / "secret").write_text(SECRET)
    (folder / "sign").write_bytes(b"A" * 43 + b"=")
    account = {"token_url": f"{book.url}/oauth/token", "client_id": CLIENT, "client_secret_file": folder / "secret"}
    config = {
        "domain": world.AGR,
        "role": "AGR",
        "listen": "127.0.0.1:0",
        "signing_key_file": folder / "sign",
        "client_tls_certificate": folder / "agr.pem",
        "client_tls_key": folder / "agr.key",
        "connect_timeout_s": 2,
        "read_timeout_s": 2,
        # The token server of this test speaks plain HTTP; the authority is the peer's alone.
        "access": [{"domain": PEER, "tls_ca": folder / "ca.pem", **account}],
    }
    known = world.participants(endpoint=f"{url}/message")
    adapter = build(config, world.ports(world.Hub(), known))
    await adapter.start()
    body = world.envelope_of(PEER)
    assert (await adapter.deliver(known[PEER], body)).status is D
    assert peer.tokens == ["Bearer token-1"]
    assert (await adapter.deliver(known[world.CRO], body)).status is T
    await adapter.stop()


@pytest.mark.parametrize(
    ("more", "complaint"),
    [
        ({"access": [{"domain": PEER, "client_id": "x"}]}, "go together"),
        ({"access": [{"domain": PEER, "tls_key": "x"}]}, "tls_certificate and tls_key go together"),
        ({"access": [{"domain": PEER}, {"domain": PEER}]}, "more than once"),
        ({"access": [{"token_url": "https://x.example.org"}]}, "access.domain is missing"),
        ({"access": [{"domain": PEER, "token_url": "http://x.example.org"}]}, "https"),
        ({"access": {"domain": PEER}}, "list of tables"),
        ({"client_tls_key": "x"}, "client_tls_certificate and uftp.client_tls_key go together"),
        ({"connect_timeout_s": 0}, "connect_timeout_s must be a number of seconds"),
    ],
)
def test_a_configuration_that_is_wrong(world: ModuleType, more: dict[str, object], complaint: str) -> None:
    table = {"domain": world.AGR, "role": "AGR", "signing_key_file": "k", **more}
    with pytest.raises(ValueError, match=complaint):
        build(table, world.ports(world.Hub(), {}))


async def test_a_peer_that_trickles_is_left(book: AddressBookServer) -> None:
    """U-11: each byte comes in time, the whole answer never does."""

    async def trickle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"x")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n")
        with contextlib.suppress(ConnectionError):
            while True:
                writer.write(b"X: y\r\n")
                await writer.drain()
                await asyncio.sleep(0.05)
        writer.close()
        left.set()

    left = asyncio.Event()
    server = await asyncio.start_server(trickle, "127.0.0.1", 0)
    client = Client(connect_s=0.1, read_s=0.15)
    await client.start()
    begun = time.monotonic()
    delivery = await client.post(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/", b"x")
    assert (delivery.status, delivery.detail) == (T, "timed out")
    assert time.monotonic() - begun < 2
    await client.stop()
    await asyncio.wait_for(left.wait(), 5)
    server.close()
