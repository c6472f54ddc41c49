"""The status table of the transport, and identity: HTTP says only what happened to the bytes."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from io import BytesIO

import pytest
import trustme
from aiohttp import ClientError, ClientSession, TCPConnector
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import load_pem_x509_certificate

from adapters.openadr2 import build, codec, model, server
from adapters.openadr2.limits import Buckets, Limits
from adapters.openadr2.server import Exchange, Listener
from adapters.tls import fingerprint

POLL = codec.encode(model.OadrPoll("ven-1"))


@pytest.fixture
async def vtn(around) -> AsyncIterator:
    async with around.Vtn(around.Hub(), around.HandClock()) as vtn:
        yield vtn


@pytest.mark.parametrize(
    ("body", "rule"),
    [
        (b"", "xml.empty"),
        (b"<a", "xml.syntax"),
        (POLL[:-20], "xml.syntax"),
        (b"<a/>", "oadr.envelope"),
        (b"<!DOCTYPE oadrPayload>" + POLL.split(b"?>", 1)[1], "xml.doctype"),
        (
            POLL.decode()
            .replace("UTF-8", "UTF-16")
            .replace("<oadr:oadrP", "<!DOCTYPE a><oadr:oadrP", 1)
            .encode("utf-16"),
            "xml.doctype",
        ),
        (POLL.replace(b"ei:venID", b"ei:vtnID"), "oadr.schema"),
        (b"<a>" * 20_000 + b"</a>" * 20_000, "xml."),
    ],
    ids=["empty", "open", "cut", "foreign", "doctype", "doctype16", "schema", "deep"],
)
async def test_unreadable_is_400_and_reported(vtn, body: bytes, rule: str) -> None:
    status, text = await vtn.post("OadrPoll", body)
    assert status == 400
    assert text.decode().startswith(rule)
    assert vtn.hub.refusals[0][1].startswith(rule)


async def test_utf16_is_read(vtn) -> None:
    await vtn.register()
    status, _ = await vtn.post("OadrPoll", POLL.decode().replace("UTF-8", "UTF-16").encode("utf-16"))
    assert status == 200


@pytest.mark.parametrize(
    ("content_type", "status"),
    [("application/xml; charset=utf-8", 200), ("text/xml", 200), ("application/json", 415), ("", 415)],
)
async def test_content_type(vtn, content_type: str, status: int) -> None:
    assert (await vtn.post("OadrPoll", POLL, content_type or "nonsense"))[0] == status


async def test_compressed_bodies_are_refused(vtn) -> None:
    headers = {"Content-Type": "application/xml", "Content-Encoding": "gzip"}
    async with vtn.http.post(f"{vtn.url}/OadrPoll", data=POLL, headers=headers) as reply:
        assert reply.status == 415


async def test_path_and_method(vtn) -> None:
    assert (await vtn.post("EiNothing", POLL))[0] == 404
    async with vtn.http.get(f"{vtn.url}/OadrPoll") as reply:
        assert (reply.status, reply.headers["Allow"]) == (405, "POST")


async def test_size(vtn) -> None:
    for endpoint, code in (("OadrPoll", 413), ("EiReport", 400)):
        assert (await vtn.post(endpoint, BytesIO(b" " * (1024 * 1024 + 1))))[0] == code

    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(20):
            yield b" " * 65536

    async with vtn.http.post(f"{vtn.url}/OadrPoll", data=chunks(), headers={"Content-Type": "text/xml"}) as reply:
        assert reply.status == 413


async def test_an_aborted_body_leaves_the_server_well(vtn) -> None:
    host, port = vtn.adapter.status().listening[0].removeprefix("http://").split(":")
    _, writer = await asyncio.open_connection(host, int(port))
    path = "/OpenADR2/Simple/2.0b/OadrPoll"
    writer.write(f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Type: text/xml\r\nContent-Length: 99\r\n\r\n<a".encode())
    await writer.drain()
    writer.transport.abort()
    await asyncio.sleep(0.02)
    assert (await vtn.post("OadrPoll", POLL))[0] == 200


def test_a_bucket_holds_ten_seconds_worth() -> None:
    now = 0.0
    buckets = Buckets(2, lambda: now)
    assert [buckets.take("a") for _ in range(21)] == [0.0] * 20 + [0.5]
    assert buckets.take("b") == 0.0
    now = 0.5
    assert [buckets.take("a") for _ in range(2)] == [0.0, 0.5]
    now = 100.0
    assert buckets.take("a") == 0.0
    for n in range(20_000):
        buckets.take(str(n))
    assert len(buckets._spent) == 10_000
    assert Buckets(0).take("a") == 0.0


async def test_too_often_is_429() -> None:
    async def answer(exchange: Exchange) -> bytes:
        return b"<a/>"

    refusals: list[str] = []
    limits = Limits(requests_per_s=1)
    listener = Listener("", None, lambda _: True, answer, lambda _, fault: refusals.append(fault.rule), limits)
    await listener.start("127.0.0.1", 0)
    async with ClientSession() as http:
        url = f"{listener.addresses[0]}/OpenADR2/Simple/2.0b/OadrPoll"
        seen = []
        for _ in range(11):
            async with http.post(url, data=POLL, headers={"Content-Type": "text/xml"}) as reply:
                seen.append((reply.status, reply.headers.get("Retry-After")))
    await listener.stop()
    assert seen == [(200, None)] * 10 + [(429, "1")]
    assert refusals == ["http.rate"]


async def test_connections_are_counted(around) -> None:
    config = {"connections": 3, "connections_per_address": 2}
    async with around.Vtn(around.Hub(), around.HandClock(), **config) as vtn:
        host, port = vtn.adapter.status().listening[0].removeprefix("http://").split(":")
        first = [await asyncio.open_connection(host, int(port)) for _ in range(2)]
        reader, writer = await asyncio.open_connection(host, int(port))
        with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
            await reader.readexactly(1)
        writer.close()
        for _, opened in first:
            opened.close()
            await opened.wait_closed()
        await asyncio.sleep(0.02)
        assert (await vtn.post("OadrPoll", POLL))[0] == 200


async def test_who_does_not_read_is_cut_off(monkeypatch) -> None:
    monkeypatch.setattr(server, "_BODY_S", 0.05)
    monkeypatch.setattr(server, "_BODY_BYTES_PER_S", 1e12)

    async def answer(exchange: Exchange) -> bytes:
        return b"x" * 64_000_000

    listener = Listener("", None, lambda _: True, answer, lambda _, fault: None)
    await listener.start("127.0.0.1", 0)
    host, port = listener.addresses[0].removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port), limit=1024)
    writer.write(b"POST /OpenADR2/Simple/2.0b/OadrPoll HTTP/1.1\r\nHost: x\r\nContent-Type: text/xml\r\n")
    writer.write(b"Content-Length: 0\r\n\r\n")
    await asyncio.sleep(0.2)
    with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
        await reader.readexactly(64_000_000)
    writer.close()
    await listener.stop()


async def test_a_prefix_can_be_set(around) -> None:
    async with around.Vtn(around.Hub(), around.HandClock(), path_prefix="/site/") as vtn:
        base = vtn.adapter.status().listening[0]
        for path, status in (("/site/OpenADR2/Simple/2.0b/OadrPoll", 200), ("/OpenADR2/Simple/2.0b/OadrPoll", 404)):
            async with vtn.http.post(base + path, data=POLL, headers={"Content-Type": "text/xml"}) as reply:
                assert reply.status == status


async def test_answers_of_the_protocol(vtn) -> None:
    """Wrong end point, role or version: HTTP 200, the code in eiResponse, nothing changed."""
    await vtn.register()
    before = dict(vtn.hub.documents)
    assert (await vtn.say("EiEvent", model.OadrPoll("ven-1"))).response.response_code == 459
    assert (await vtn.say("OadrPoll", model.OadrRequestEvent("q", "ven-1"))).response.response_code == 459
    assert (await vtn.say("OadrPoll", model.OadrPoll("ven-1", schema_version="2.0a"))).response.response_code == 459
    role = await vtn.say("EiEvent", model.OadrDistributeEvent("q7", "GRIDPARLEY"))
    assert (role.response.response_code, role.response.request_id) == (451, "q7")
    assert vtn.hub.documents == before


def _issue(ca: trustme.CA, name: str) -> tuple[trustme.LeafCert, str]:
    leaf = ca.issue_cert(name)
    pem = load_pem_x509_certificate(leaf.cert_chain_pems[0].bytes())
    return leaf, fingerprint(pem.public_bytes(Encoding.DER))


async def test_tls_identity_is_the_certificate(around, tmp_path) -> None:
    ca = trustme.CA()
    one, print_one = _issue(ca, "one.example")
    two, print_two = _issue(ca, "two.example")
    stranger, _ = _issue(ca, "three.example")
    foreign, _ = _issue(trustme.CA(), "one.example")
    server = ca.issue_cert("localhost", "127.0.0.1")
    server.private_key_pem.write_to_path(str(tmp_path / "key"))
    server.cert_chain_pems[0].write_to_path(str(tmp_path / "cert"))
    ca.cert_pem.write_to_path(str(tmp_path / "ca"))
    hub = around.Hub()
    config = {
        "listen": "127.0.0.1:0",
        "tls_certificate": str(tmp_path / "cert"),
        "tls_key": str(tmp_path / "key"),
        "tls_client_ca": str(tmp_path / "ca"),
        "vens": [
            {"ven_name": "one", "ven_id": "ven-1", "fingerprint": print_one},
            {"ven_name": "two", "ven_id": "ven-2", "fingerprint": print_two},
        ],
    }
    adapter = build(config, around.ports(hub, around.HandClock()))
    await adapter.start()
    async with AsyncExitStack() as stack:
        stack.push_async_callback(adapter.stop)
        await _tls_dialogue(adapter, hub, ca, one, two, stranger, foreign)


async def _tls_dialogue(adapter, hub, ca, one, two, stranger, foreign) -> None:
    url = f"{adapter.status().listening[0]}/OpenADR2/Simple/2.0b"
    assert url.startswith("https://127.0.0.1:")

    async def say(leaf: trustme.LeafCert | None, endpoint: str, message: model.Payload) -> tuple[int, int]:
        context = ssl.create_default_context(cadata=ca.cert_pem.bytes().decode())
        if leaf is not None:
            leaf.configure_cert(context)
        async with (
            ClientSession(connector=TCPConnector(ssl=context)) as http,
            http.post(
                f"{url}/{endpoint}", data=codec.encode(message), headers={"Content-Type": "application/xml"}
            ) as reply,
        ):
            body = await reply.read()
            if reply.status != 200:
                return reply.status, 0
            answered = codec.decode(codec.payload_element(codec.read_tree(body)))
            return 200, answered.response.response_code

    create = model.OadrCreatePartyRegistration("q", "2.0b", "simpleHttp", False, False, ven_name="one")
    assert await say(one, "EiRegisterParty", create) == (200, 200)
    assert await say(one, "OadrPoll", model.OadrPoll("ven-1")) == (200, 200)
    # A registered certificate may not speak for another VEN, whatever its message says.
    assert await say(two, "OadrPoll", model.OadrPoll("ven-1")) == (200, 463)
    assert await say(one, "OadrPoll", model.OadrPoll("ven-2")) == (200, 463)
    assert await say(one, "EiReport", model.OadrUpdateReport("q")) == (200, 452)
    # A certificate of the right authority that belongs to no VEN does not reach the protocol.
    assert await say(stranger, "OadrPoll", model.OadrPoll("ven-1")) == (403, 0)
    for nobody in (foreign, None):
        with pytest.raises((OSError, ClientError), match=r"ssl|SSL|closed|reset|disconnected"):
            await say(nobody, "OadrPoll", model.OadrPoll("ven-1"))
    assert [r[1] for r in hub.refusals] == [
        "oadr.unregistered",
        "oadr.ven.foreign",
        "oadr.ven.missing",
        "tls.certificate",
    ]


async def test_a_missing_tls_file_refuses_to_start(around, tmp_path) -> None:
    files = {f"tls_{n}": str(tmp_path / n) for n in ("certificate", "key", "client_ca")}
    adapter = build(files | {"listen": "127.0.0.1:0"}, around.ports(around.Hub(), around.HandClock()))
    with pytest.raises(OSError, match="No such file"):
        await adapter.start()
    assert not adapter.status().ready
    await adapter.stop()
