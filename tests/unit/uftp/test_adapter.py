"""Configuration, and two adapters that trade over loopback."""

from __future__ import annotations

import asyncio
import base64
import time
import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from adapters.errors import Rejection
from adapters.ports import DeliveryStatus, Direction
from adapters.uftp import UftpAdapter, build, envelope
from adapters.uftp.codec import decode
from adapters.uftp.config import UftpConfig
from datamodels import (
    Acknowledgement,
    DsoPortfolioUpdate,
    FlexOffer,
    FlexOrder,
    Head,
    ParticipantKey,
    ParticipantStatus,
    Role,
)

DATA = Path(__file__).resolve().parents[2] / "data" / "uftp"


# --- configuration ------------------------------------------------------------------------------------------------

GOOD = {"domain": "agr.example.org", "role": "AGR", "signing_key_file": "agr.key"}


def test_defaults() -> None:
    config = UftpConfig.parse(GOOD)
    assert config.versions == ("3.1.0", "3.0.0")
    assert config.address == ("127.0.0.1", 8080)
    assert not config.legacy_path
    assert UftpConfig.parse({**GOOD, "listen": "[::1]:0"}).address == ("::1", 0)


@pytest.mark.parametrize(
    ("key", "value", "complaint"),
    [
        ("domian", "x", "did you mean domain"),
        ("colour", "x", "colour is not known"),
        ("domain", "AGR.example.org", "lower case"),
        ("domain", 5, "must be a text"),
        ("role", "BRP", "AGR, DSO or CRO"),
        ("listen", "8080", "host:port"),
        ("listen", "localhost:99999", "host:port"),
        ("versions", ["2.0.0"], "3.1.0, 3.0.0"),
        ("versions", "3.1.0", "3.1.0, 3.0.0"),
        ("versions", [], "3.1.0, 3.0.0"),
        ("legacy_path", "yes", "true or false"),
        ("rate_limit_per_s", -1, "messages a second"),
        ("rate_limit_per_s", True, "messages a second"),
        ("max_body_bytes", 10, "bytes"),
        ("max_body_bytes", "2MB", "bytes"),
        ("tls_key", "key.pem", "go together"),
        ("tls_client_ca", "ca.pem", "needs uftp.tls_certificate"),
    ],
)
def test_complaints_name_the_key_and_the_cure(key: str, value: object, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint) as refusal:
        UftpConfig.parse({**GOOD, key: value})
    assert f"uftp.{key}" in str(refusal.value)


def test_all_complaints_come_at_once() -> None:
    with pytest.raises(ValueError, match="missing") as refusal:
        UftpConfig.parse({"role": "X", "listen": "127.0.0.1:1"})
    assert len(str(refusal.value).splitlines()) == 3


# --- two adapters -------------------------------------------------------------------------------------------------


@dataclass
class End:
    """One side of the trade: its adapter, what its hub received, and what it remembers."""

    world: ModuleType
    domain: str
    adapter: UftpAdapter
    hub: Any
    clock: Any
    known: dict[str, Any]
    history: Any

    async def say(self, message: Any, to: str) -> None:
        """Encode, deliver, and remember."""
        recipient = self.known[to]
        encoded = self.adapter.encode(message, recipient, self.history)
        delivery = await self.adapter.deliver(recipient, encoded.body)
        assert delivery.status is DeliveryStatus.DELIVERED, delivery
        if not isinstance(message, Acknowledgement):
            self.history.add(Direction.OUT, message, None)

    async def hear(self, count: int) -> Any:
        """Interpret message number `count`, which must pass, and remember it."""
        received = await self.hub.next(count)
        interpretation = self.adapter.interpret(received, self.history)
        assert interpretation.problems == (), interpretation
        message = interpretation.message
        if isinstance(message, Acknowledgement):
            known = self.history.known[message.refers_to]
            self.history.known[message.refers_to] = replace(known, accepted=message.accepted)
            assert not interpretation.needs_answer
        else:
            self.history.add(Direction.IN, message)
            assert interpretation.needs_answer
            assert interpretation.refers_to == message.head.message_id
            await self.say(self.answer(message, interpretation.kind), received.peer)
        return message

    def answer(self, message: Any, kind: str) -> Acknowledgement:
        return Acknowledgement(self.head(message), message.head.message_id, kind, True)

    def head(self, message: Any) -> Head:
        """A head for a message to the sender of `message`, in its conversation."""
        head = message.head
        return Head(self.domain, head.sender, str(uuid.uuid4()), head.conversation_id, self.clock.now(), head.version)


@pytest.fixture
async def ends(world: ModuleType, tmp_path: Path) -> AsyncIterator[tuple[End, End]]:
    known = world.participants()
    made = []
    for domain, role in ((world.DSO, "DSO"), (world.AGR, "AGR")):
        path = tmp_path / domain
        path.write_bytes(base64.b64encode(world.KEYS[domain].secret))
        hub, clock = world.Hub(), world.Clock()
        config = {"domain": domain, "role": role, "listen": "127.0.0.1:0", "signing_key_file": path}
        adapter = build(config, world.ports(hub, known, clock))
        await adapter.start()
        known[domain] = replace(known[domain], endpoint=adapter.status().listening[0])
        made.append(End(world, domain, adapter, hub, clock, known, world.MemoryHistory()))
    yield made[0], made[1]
    for end in made:
        await end.adapter.stop()
        assert not end.adapter.status().ready


def _request(world: ModuleType) -> Any:
    history = world.MemoryHistory()
    history.replay("out", (DATA / "FlexRequest.xml").read_bytes())
    return next(iter(history.known.values())).message


async def test_a_whole_trade(world: ModuleType, ends: tuple[End, End]) -> None:
    dso, agr = ends
    begun = time.perf_counter()
    await dso.say(_request(world), world.AGR)
    request = await agr.hear(1)
    assert (await dso.hear(1)).accepted
    template = world.MemoryHistory()
    template.replay("out", (DATA / "FlexOffer.xml").read_bytes())
    offer = next(iter(template.known.values())).message
    offer = replace(offer, head=agr.head(request), request=request.head.message_id)
    await agr.say(offer, world.DSO)
    heard = await dso.hear(2)
    assert heard == offer
    assert isinstance(heard, FlexOffer)
    assert (await agr.hear(2)).accepted
    option = heard.options[0]
    order = FlexOrder(
        dso.head(heard),
        heard.congestion_point,
        "ORD-1",
        Decimal("8.75"),
        "EUR",
        option.power.scaled(Decimal("0.70")),
        heard.head.message_id,
        option.reference,
        Decimal("0.70"),
    )
    await dso.say(order, world.AGR)
    assert await agr.hear(3) == order
    assert (await dso.hear(3)).accepted
    assert time.perf_counter() - begun < 5
    kinds = [kind for way, kind, _ in dso.hub.trace if way == "out"]
    assert kinds == ["FlexRequest", "FlexOfferResponse", "FlexOrder"]


async def test_interpreting_again_says_the_same(world: ModuleType, ends: tuple[End, End]) -> None:
    dso, agr = ends
    await dso.say(_request(world), world.AGR)
    received = await agr.hub.next(1)
    first = agr.adapter.interpret(received, agr.history)
    assert agr.adapter.interpret(received, agr.history) == first
    # A message that was taken in stays readable when its key has been withdrawn since.
    agr.known[world.DSO] = replace(agr.known[world.DSO], keys=(ParticipantKey(bytes(32)),))
    assert agr.adapter.interpret(received, agr.history) == first


async def test_the_archived_bytes_can_be_verified_again(world: ModuleType, ends: tuple[End, End]) -> None:
    """U-29."""
    dso, agr = ends
    await dso.say(_request(world), world.AGR)
    archived = envelope.read((await agr.hub.next(1)).raw)
    payload = envelope.verify(archived.body, [ParticipantKey(dso.adapter.public_key)], world.NOW)
    assert decode(payload).name == "FlexRequest"


async def test_a_late_message_is_judged_by_market_time(world: ModuleType, ends: tuple[End, End]) -> None:
    dso, agr = ends
    await dso.say(_request(world), world.AGR)
    received = await agr.hub.next(1)
    agr.clock.at = world.NOW + timedelta(days=150)
    found = agr.adapter.interpret(received, agr.history)
    assert {p.reason for p in found.problems} == {"ExpirationDateTime out of bounds", "Period out of bounds"}
    assert found.message is not None
    rejection = Acknowledgement(agr.head(found.message), found.refers_to, found.kind, False, ("Period out of bounds",))
    await agr.say(rejection, world.DSO)
    heard = dso.adapter.interpret(await dso.hub.next(1), dso.history)
    assert heard.message == rejection
    assert heard.problems == ()


async def test_a_test_message_is_answered_alone(world: ModuleType, ends: tuple[End, End]) -> None:
    dso, agr = ends
    ask = envelope.seal((DATA / "TestMessage.xml").read_bytes(), world.DSO, Role.DSO, world.KEYS[world.DSO])
    for _ in range(2):
        assert (await dso.adapter.deliver(dso.known[world.AGR], ask)).code == 200
    answer = await dso.hub.next(1)
    assert answer.kind == "TestMessageResponse"
    assert answer.conversation_id == "00000000-0000-4000-8000-000000000905"
    asked = agr.adapter.interpret(await agr.hub.next(1), agr.history)
    assert (asked.message, asked.problems, asked.needs_answer) == (None, (), False)
    heard = dso.adapter.interpret(answer, dso.history)
    assert (heard.message, heard.problems, heard.needs_answer) == (None, (), False)


async def test_a_barred_or_forged_test_message_is_not_answered(world: ModuleType, ends: tuple[End, End]) -> None:
    dso, agr = ends
    raw = (DATA / "TestMessage.xml").read_bytes()
    forged = raw.replace(b'SenderDomain="dso.', b'SenderDomain="cro.')
    agr.known[world.DSO] = replace(agr.known[world.DSO], status=ParticipantStatus.BARRED)
    for payload in (raw, forged.replace(b"0050", b"0099")):
        body = envelope.seal(payload, world.DSO, Role.DSO, world.KEYS[world.DSO])
        assert (await dso.adapter.deliver(dso.known[world.AGR], body)).code == 200
    assert [rule for _, rule in agr.hub.refusals] == ["R1", "R27"]
    await asyncio.sleep(0)
    assert [t for t in agr.hub.trace if t[0] == "out"] == []


async def test_a_message_for_a_role_not_held_is_rejected_in_its_own_words(
    world: ModuleType, ends: tuple[End, End]
) -> None:
    dso, agr = ends
    stray = (DATA / "DSOPortfolioUpdate.xml").read_bytes().replace(b"cro.example", b"agr.example")
    body = envelope.seal(stray, world.DSO, Role.DSO, world.KEYS[world.DSO])
    await dso.adapter.deliver(dso.known[world.AGR], body)
    found = agr.adapter.interpret(await agr.hub.next(1), agr.history)
    assert isinstance(found.message, DsoPortfolioUpdate)
    assert [p.reason for p in found.problems] == ["Unknown Recipient"]
    assert (found.needs_answer, found.kind) == (True, "DsoPortfolioUpdate")
    head = replace(_request(world).head, sender=world.AGR, recipient=world.DSO)
    rejection = Acknowledgement(head, found.refers_to, found.kind, False, ("Unknown Recipient",))
    await agr.say(rejection, world.DSO)
    heard = dso.adapter.interpret(await dso.hub.next(1), dso.history)
    assert heard.message == rejection


async def test_versions_are_negotiated(world: ModuleType, ends: tuple[End, End]) -> None:
    dso, _ = ends
    old = replace(dso.known[world.AGR], uftp_versions=("3.0.0",))

    def version(message: Any, peer: Any) -> str:
        return str(decode(envelope.read(dso.adapter.encode(message, peer, dso.history).body).payload)["Version"])

    request = _request(world)
    assert version(request, dso.known[world.AGR]) == "3.1.0"
    assert version(request, old) == "3.0.0"
    answer = Acknowledgement(replace(request.head, version="3.0.0"), request.head.message_id, "FlexRequest", True)
    assert version(answer, dso.known[world.AGR]) == "3.0.0"
    future = replace(answer, head=replace(answer.head, version="9.9.9"))
    assert version(future, dso.known[world.AGR]) == "3.1.0"
    with pytest.raises(Rejection, match="speaks UFTP 2"):
        dso.adapter.encode(request, replace(old, uftp_versions=("2.0.0",)), dso.history)
    with pytest.raises(Rejection, match="cannot be sent"):
        dso.adapter.encode(replace(request, congestion_point="x"), old, dso.history)


async def test_status_tells_what_is_lacking(world: ModuleType, ends: tuple[End, End]) -> None:
    dso, _ = ends
    dso.known[world.AGR] = replace(dso.known[world.AGR], keys=(), endpoint="")
    status = dso.adapter.status()
    assert status.ready
    assert status.problems == ()
    assert status.peers[world.AGR] == "lacks endpoint and key"
    assert status.peers[world.DSO] == "active"


async def test_delivery_over_tls(world: ModuleType, tmp_path: Path) -> None:
    import trustme

    authority = trustme.CA()
    issued = authority.issue_cert("localhost", "127.0.0.1")
    files = {name: tmp_path / f"{name}.pem" for name in ("ca", "certificate", "key")}
    authority.cert_pem.write_to_path(files["ca"])
    issued.cert_chain_pems[0].write_to_path(files["certificate"])
    issued.private_key_pem.write_to_path(files["key"])
    key = tmp_path / "agr.key"
    key.write_bytes(base64.b64encode(world.KEYS[world.AGR].secret))
    hub, known = world.Hub(), world.participants()
    config = {
        "domain": world.AGR,
        "role": "AGR",
        "listen": "127.0.0.1:0",
        "signing_key_file": key,
        "tls_certificate": files["certificate"],
        "tls_key": files["key"],
        "tls_ca": files["ca"],
    }
    adapter = build(config, world.ports(hub, known))
    await adapter.start()
    (url,) = adapter.status().listening
    assert url.startswith("https://")
    known[world.DSO] = replace(known[world.DSO], endpoint=url)
    body = envelope.seal((DATA / "FlexRequest.xml").read_bytes(), world.DSO, Role.DSO, world.KEYS[world.DSO])
    assert (await adapter.deliver(known[world.DSO], body)).status is DeliveryStatus.DELIVERED
    plain = replace(known[world.DSO], domain="other.example.org", endpoint=url.replace("https", "http"))
    assert (await adapter.deliver(plain, body)).status is not DeliveryStatus.DELIVERED
    await adapter.stop()
