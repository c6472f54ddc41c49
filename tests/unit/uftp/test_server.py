"""The listener over a real socket: the status table, hostile input, duplicates, rates."""

from __future__ import annotations

import asyncio
import base64
import io
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType
from typing import Any

import aiohttp
import pytest

from adapters.uftp import UftpAdapter, build, envelope
from datamodels import ParticipantKey, Role

DATA = Path(__file__).resolve().parents[2] / "data" / "uftp"
XML = {"Content-Type": "text/xml; charset=utf-8"}


@dataclass
class Stand:
    """A listening AGR, its hub, its participants (which may be changed), and a client session."""

    world: ModuleType
    adapter: UftpAdapter
    hub: Any
    known: dict[str, Any]
    session: aiohttp.ClientSession

    @property
    def url(self) -> str:
        return self.adapter.status().listening[0]

    def seal(self, payload: bytes, domain: str | None = None, role: Role = Role.DSO) -> bytes:
        domain = domain or self.world.DSO
        key = self.world.KEYS.get(domain, self.world.KEYS[self.world.AGR2])
        return envelope.seal(payload, domain, role, key)

    async def post(self, body: bytes, headers: dict[str, str] = XML, url: str | None = None) -> int:
        async with self.session.post(url or self.url, data=io.BytesIO(body), headers=headers) as response:
            await response.read()
            return response.status


def _key_file(world: ModuleType, folder: Path, domain: str) -> Path:
    path = folder / f"{domain}.key"
    path.write_bytes(base64.b64encode(world.KEYS[domain].secret))
    return path


@pytest.fixture
async def stand(world: ModuleType, tmp_path: Path, request: pytest.FixtureRequest) -> AsyncIterator[Stand]:
    hub, known = world.Hub(), world.participants()
    config = {
        "domain": world.AGR,
        "role": "AGR",
        "listen": "127.0.0.1:0",
        "signing_key_file": str(_key_file(world, tmp_path, world.AGR)),
        **getattr(request, "param", {}),
    }
    adapter = build(config, world.ports(hub, known))
    await adapter.start()
    async with aiohttp.ClientSession() as session:
        yield Stand(world, adapter, hub, known, session)
    await adapter.stop()


def payload(name: str) -> bytes:
    return (DATA / f"{name}.xml").read_bytes()


async def test_a_good_message_is_durable_before_200(stand: Stand) -> None:
    body = stand.seal(payload("FlexRequest"))
    assert await stand.post(body) == 200
    (received,) = stand.hub.received
    assert (received.adapter, received.peer, received.kind) == ("uftp", stand.world.DSO, "FlexRequest")
    assert received.raw == body
    assert received.message_id == "00000000-0000-4000-8000-000000000001"
    assert received.conversation_id == "00000000-0000-4000-8000-000000000900"
    assert stand.hub.refusals == []
    assert stand.hub.trace == [("in", "FlexRequest", "200 new")]


async def test_application_xml_is_taken_too(stand: Stand) -> None:
    """U-06."""
    assert await stand.post(stand.seal(payload("FlexRequest")), {"Content-Type": "application/xml"}) == 200


async def test_without_content_length_411(stand: Stand) -> None:
    """U-06."""

    async def chunks() -> AsyncIterator[bytes]:
        yield stand.seal(payload("FlexRequest"))

    async with stand.session.post(stand.url, data=chunks(), headers=XML) as response:
        assert response.status == 411
    assert stand.hub.refusals == [("127.0.0.1", "uftp.length")]


@pytest.mark.parametrize(
    ("headers", "rule"),
    [
        ({"Content-Type": "application/json"}, "uftp.media"),
        ({"Content-Type": "text/plain"}, "uftp.media"),
        ({"Content-Type": "text/xml; charset=utf-16"}, "uftp.charset"),
        ({"Content-Type": "text/xml; charset=iso-8859-1"}, "uftp.charset"),
        ({"Content-Type": "text/xml", "Content-Encoding": "gzip"}, "uftp.compressed"),
    ],
)
async def test_headers_that_are_refused(stand: Stand, headers: dict[str, str], rule: str) -> None:
    """U-06: JSON, other charsets and compressed bodies."""
    assert await stand.post(stand.seal(payload("FlexRequest")), headers) == 400
    assert [r for _, r in stand.hub.refusals] == [rule]
    assert stand.hub.received == []


@pytest.mark.parametrize(
    "body",
    [
        b"{}",
        b"<SignedMessage",
        b"<FlexRequest/>",
        b'<SignedMessage SenderDomain="dso.example.org" SenderRole="DSO" Body="AAAA"/>',
    ],
)
async def test_what_is_no_envelope_400(stand: Stand, body: bytes) -> None:
    """U-06."""
    assert await stand.post(body) == 400
    assert stand.hub.received == []
    assert len(stand.hub.refusals) == 1


@pytest.mark.parametrize("inner", [b"words", b"<FlexRequest/>", b"<Unknown/>", b"\xff\xfe<\x00a\x00"])
async def test_what_is_no_payload_400(stand: Stand, inner: bytes) -> None:
    """U-06."""
    assert await stand.post(stand.seal(inner)) == 400
    assert stand.hub.refusals[0][0] == stand.world.DSO


async def test_an_envelope_in_an_envelope_400(stand: Stand) -> None:
    assert await stand.post(stand.seal(stand.seal(payload("FlexRequest")))) == 400


async def test_unknown_sender_wrong_role_and_lacking_key_419(stand: Stand) -> None:
    """U-06."""
    good = payload("FlexRequest")
    assert await stand.post(stand.seal(good, "evil.example.org")) == 419
    assert await stand.post(stand.seal(good, role=Role.CRO)) == 419
    stand.known[stand.world.DSO] = replace(stand.known[stand.world.DSO], keys=())
    assert await stand.post(stand.seal(good)) == 419
    assert [rule for _, rule in stand.hub.refusals] == ["uftp.sender"] * 3


async def test_a_bad_signature_401(stand: Stand) -> None:
    """U-06, U-07."""
    forged = envelope.seal(payload("FlexRequest"), stand.world.DSO, Role.DSO, stand.world.KEYS[stand.world.AGR2])
    assert await stand.post(forged) == 401
    assert stand.hub.refusals == [(stand.world.DSO, "uftp.signature")]


async def test_keys_rotate_while_running(stand: Stand) -> None:
    """U-07."""
    dso = stand.world.DSO
    new = stand.world.KEYS[stand.world.AGR2]
    rotated = envelope.seal(payload("FlexRequest"), dso, Role.DSO, new)
    assert await stand.post(rotated) == 401
    keys = (*stand.known[dso].keys, ParticipantKey(new.public))
    stand.known[dso] = replace(stand.known[dso], keys=keys)
    assert await stand.post(rotated) == 200
    assert await stand.post(stand.seal(payload("FlexReservationUpdate"))) == 200


async def test_an_inner_sender_other_than_the_envelopes_goes_to_the_rules(stand: Stand) -> None:
    inner = payload("FlexRequest").replace(b'SenderDomain="dso.', b'SenderDomain="other.')
    assert await stand.post(stand.seal(inner)) == 200
    (received,) = stand.hub.received
    assert received.peer == stand.world.DSO
    interpretation = stand.adapter.interpret(received, stand.world.MemoryHistory())
    assert [p.reason for p in interpretation.problems] == ["Invalid Sender"]


async def test_duplicates_and_conflicts_are_200_and_the_hubs_affair(stand: Stand) -> None:
    body = stand.seal(payload("FlexRequest"))
    assert await stand.post(body) == 200
    assert await stand.post(body) == 200
    assert await stand.post(stand.seal(payload("FlexRequest").replace(b'Revision="1"', b'Revision="2"'))) == 200
    assert len(stand.hub.received) == 1
    assert [note for _, _, note in stand.hub.trace] == ["200 new", "200 duplicate", "200 conflict"]


async def test_fifty_copies_at_once_are_one_message(stand: Stand) -> None:
    body = stand.seal(payload("FlexRequest"))
    assert set(await asyncio.gather(*(stand.post(body) for _ in range(50)))) == {200}
    assert len(stand.hub.received) == 1


@pytest.mark.parametrize("stand", [{"rate_limit_per_s": 2}], indirect=True)
async def test_too_many_messages_429_with_a_time_to_wait(stand: Stand) -> None:
    """U-06."""
    body = stand.seal(payload("FlexRequest"))
    async with stand.session.post(stand.url, data=body, headers=XML) as first:
        assert first.status == 200
    statuses = [await stand.post(body) for _ in range(6)]
    assert statuses[:3] == [200] * 3
    assert 429 in statuses
    async with stand.session.post(stand.url, data=body, headers=XML) as last:
        assert (last.status, last.headers.get("Retry-After")) == (429, "1")
    # A forger with a wrong key uses up nobody's allowance, and another peer has its own.
    other = envelope.seal(payload("TestMessage"), stand.world.CRO, Role.CRO, stand.world.KEYS[stand.world.CRO])
    assert await stand.post(other) == 200


async def test_paths_and_methods(stand: Stand) -> None:
    body = stand.seal(payload("FlexRequest"))
    root = stand.url.removesuffix("/shapeshifter/api/v3/message")
    assert await stand.post(body, url=f"{root}/USEF/2019/SignedMessage") == 404
    assert await stand.post(body, url=f"{root}/shapeshifter/api/v2/message") == 404
    async with stand.session.get(stand.url) as response:
        assert response.status == 405


@pytest.mark.parametrize("stand", [{"legacy_path": True}], indirect=True)
async def test_the_legacy_path_is_served_on_demand(stand: Stand) -> None:
    root = stand.url.removesuffix("/shapeshifter/api/v3/message")
    assert await stand.post(stand.seal(payload("FlexRequest")), url=f"{root}/USEF/2019/SignedMessage") == 200


async def test_lenient_in_reads_a_result_on_a_test_answer(stand: Stand) -> None:
    odd = payload("TestMessageResponse").replace(b"/>", b' Result="Accepted"/>').replace(b"agr.ex", b"dso.ex", 1)
    assert await stand.post(stand.seal(odd)) == 400
    stand.known[stand.world.DSO] = replace(stand.known[stand.world.DSO], profile="lenient-in")
    assert await stand.post(stand.seal(odd)) == 200
    interpretation = stand.adapter.interpret(stand.hub.received[0], stand.world.MemoryHistory())
    assert [loss.field for loss in interpretation.losses] == ["schema"]
    assert not interpretation.needs_answer


# --- hostile ------------------------------------------------------------------------------------------------------


def _hostile(world: ModuleType) -> dict[str, tuple[bytes, int]]:
    good = payload("FlexRequest")
    isp = b'<ISP MinPower="0" MaxPower="1" Start="1"/>'
    doctype = b'<!DOCTYPE FlexRequest [<!ENTITY a "b">]>'
    laughs = b"".join(b'<!ENTITY l%d "%s">' % (n, b"&l%d;" % (n - 1) * 10) for n in range(1, 9))
    return {
        "doctype": (good.replace(b"<FlexRequest", doctype + b"<FlexRequest", 1), 400),
        "laughs": (b'<!DOCTYPE a [<!ENTITY l0 "ha">' + laughs + b"]><a>&l8;</a>", 400),
        "instruction": (good.replace(b"<ISP", b"<?php x?><ISP", 1), 400),
        "deep": (b"<FlexRequest>" * 5000 + b"</FlexRequest>" * 5000, 400),
        "isps": (good.replace(b"</FlexRequest>", isp * 100_000 + b"</FlexRequest>"), 413),
        "attributes": (b"<FlexRequest " + b" ".join(b'a%d="1"' % n for n in range(50_000)) + b"/>", 400),
        "utf16": (good.decode().replace("UTF-8", "UTF-16").encode("utf-16"), 400),
        "nul": (good.replace(b"S1", b"S\x00"), 400),
    }


@pytest.mark.parametrize("name", ["doctype", "laughs", "instruction", "deep", "isps", "attributes", "utf16", "nul"])
async def test_hostile_payloads_are_refused_fast(stand: Stand, name: str) -> None:
    """U-26."""
    inner, status = _hostile(stand.world)[name]
    signed = base64.b64encode(envelope.sign(inner, stand.world.KEYS[stand.world.DSO])).decode()
    body = f'<SignedMessage SenderDomain="{stand.world.DSO}" SenderRole="DSO" Body="{signed}"/>'.encode()
    begun = time.perf_counter()
    assert await stand.post(body) == status
    assert time.perf_counter() - begun < 1.0
    assert stand.hub.received == []
    assert await stand.post(stand.seal(payload("FlexRequest"))) == 200


async def test_a_doctype_in_the_envelope_400(stand: Stand) -> None:
    """U-26."""
    body = stand.seal(payload("FlexRequest")).replace(b"<SignedMessage", b"<!DOCTYPE a><SignedMessage")
    assert await stand.post(body) == 400
    assert stand.hub.refusals[0][1] == "xml.doctype"


async def test_an_announced_giant_is_refused_before_it_is_sent(stand: Stand) -> None:
    """U-26."""
    host, port = stand.url.split("/")[2].split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(
        b"POST /shapeshifter/api/v3/message HTTP/1.1\r\nHost: x\r\nContent-Type: text/xml\r\n"
        b"Content-Length: 20000000000\r\n\r\n<"
    )
    head = await asyncio.wait_for(reader.readline(), 5)
    assert b" 413 " in head
    writer.close()
    await writer.wait_closed()


async def test_a_sender_that_leaves_early_does_no_harm(stand: Stand) -> None:
    host, port = stand.url.split("/")[2].split(":")
    _, writer = await asyncio.open_connection(host, int(port))
    writer.write(
        b"POST /shapeshifter/api/v3/message HTTP/1.1\r\nHost: x\r\nContent-Type: text/xml\r\n"
        b"Content-Length: 5000\r\n\r\n<Signed"
    )
    await writer.drain()
    writer.close()
    await writer.wait_closed()
    assert await stand.post(stand.seal(payload("FlexRequest"))) == 200
    assert len(stand.hub.received) == 1


@pytest.mark.filterwarnings("error")
async def test_the_address_in_use_is_told(stand: Stand, world: ModuleType, tmp_path: Path) -> None:
    config = {
        "domain": world.AGR,
        "role": "AGR",
        "listen": stand.url.split("/")[2],
        "signing_key_file": _key_file(world, tmp_path, world.AGR),
    }
    second = build(config, world.ports(world.Hub(), {}))
    with pytest.raises(OSError, match="address"):
        await second.start()
    assert not second.status().ready
    assert second.status().problems[0].rule == "uftp.listen"


async def test_a_body_that_dawdles_is_cut_off(stand: Stand, monkeypatch: pytest.MonkeyPatch) -> None:
    """U-26: slow body."""
    monkeypatch.setattr("adapters.uftp.server._BODY_S", 0.1)
    host, port = stand.url.split("/")[2].split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(
        b"POST /shapeshifter/api/v3/message HTTP/1.1\r\nHost: x\r\nContent-Type: text/xml\r\n"
        b"Content-Length: 500\r\n\r\n<Signed"
    )
    assert b" 408 " in await asyncio.wait_for(reader.readline(), 5)
    await asyncio.wait_for(reader.read(), 5)
    writer.close()
    await writer.wait_closed()
    assert [rule for _, rule in stand.hub.refusals] == ["uftp.slow"]


async def test_a_few_hundred_half_open_connections_do_not_keep_others_out(stand: Stand) -> None:
    """U-26: senders that begin a message and never end it; 300 of them here, which is what a test machine gives."""
    host, port = stand.url.split("/")[2].split(":")
    begun = (
        b"POST /shapeshifter/api/v3/message HTTP/1.1\r\nHost: x\r\nContent-Type: text/xml\r\nContent-Length: 5000\r\n"
    )
    writers = []
    for n in range(300):
        _, writer = await asyncio.open_connection(host, int(port))
        writer.write(begun[: 20 + n % 80] if n % 2 else begun + b"\r\n<Signed")
        writers.append(writer)
    started = time.perf_counter()
    assert await stand.post(stand.seal(payload("FlexRequest"))) == 200
    assert time.perf_counter() - started < 2
    assert len(stand.hub.received) == 1
    for writer in writers:
        writer.close()
    await asyncio.gather(*(writer.wait_closed() for writer in writers), return_exceptions=True)
    assert await stand.post(stand.seal(payload("FlexReservationUpdate"))) == 200
