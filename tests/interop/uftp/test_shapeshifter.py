"""Live trades with shapeshifter-uftp, a foreign UFTP implementation, in another process, in both roles."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from decimal import Decimal
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from adapters.ports import DeliveryStatus, Direction
from adapters.uftp import UftpAdapter, build
from datamodels import (
    Acknowledgement,
    Disposition,
    FlexOffer,
    FlexOrder,
    FlexRequest,
    Head,
    IspSeries,
    OfferOption,
    RequestIsp,
    Run,
)

pytestmark = pytest.mark.foreign

PYTHON = os.environ.get("GRIDPARLEY_SHAPESHIFTER_PYTHON", "")
SCRIPT = Path(__file__).with_name("shapeshifter_peer.py")
PERIOD = "2030-06-12"
EXPIRES = "2030-06-11T12:00:00Z"


@dataclass
class Pair:
    """Our adapter with its hub and memory, and the peer's process."""

    world: ModuleType
    adapter: UftpAdapter
    hub: Any
    known: dict[str, Any]
    history: Any
    peer: asyncio.subprocess.Process
    other: str
    taken: int = 0

    async def command(self, word: str) -> None:
        assert self.peer.stdin is not None
        self.peer.stdin.write(f"{word}\n".encode())
        await self.peer.stdin.drain()

    async def event(self) -> dict[str, Any]:
        """The next thing that the peer says."""
        assert self.peer.stdout is not None
        line = await asyncio.wait_for(self.peer.stdout.readline(), 20)
        assert line, "the peer ended"
        return json.loads(line)

    async def peer_received(self, kind: str) -> dict[str, Any]:
        event = await self.event()
        assert (event["event"], event.get("kind")) == ("received", kind), event
        return event

    async def hear(self) -> Any:
        """The next message from the peer: it must pass every rule; requests are answered."""
        self.taken += 1
        received = await self.hub.next(self.taken, 20)
        found = self.adapter.interpret(received, self.history)
        assert found.problems == (), found.problems
        message = found.message
        if isinstance(message, Acknowledgement):
            known = self.history.known[message.refers_to]
            self.history.known[message.refers_to] = replace(known, accepted=message.accepted)
        elif message is not None:
            self.history.add(Direction.IN, message)
            await self.say(Acknowledgement(self.head(message), found.refers_to, found.kind, True))
        return message

    async def say(self, message: Any) -> None:
        recipient = self.known[self.other]
        delivery = await self.adapter.deliver(recipient, self.adapter.encode(message, recipient, self.history).body)
        assert delivery.status is DeliveryStatus.DELIVERED, delivery
        if not isinstance(message, Acknowledgement):
            self.history.add(Direction.OUT, message, None)

    def head(self, message: Any = None) -> Head:
        conversation = message.head.conversation_id if message else str(uuid.uuid4())
        version = message.head.version if message else "3.1.0"
        own = self.adapter.config.domain
        return Head(own, self.other, str(uuid.uuid4()), conversation, self.world.NOW, version)


@pytest.fixture
async def pair(world: ModuleType, tmp_path: Path, request: pytest.FixtureRequest) -> AsyncIterator[Pair]:
    """`request.param` is (our role, wire version)."""
    if not PYTHON:
        pytest.skip(
            "GRIDPARLEY_SHAPESHIFTER_PYTHON is unset: name the python of a virtual environment that holds "
            "shapeshifter-uftp==2.4.0 and fastapi<0.140"
        )
    role, version = request.param
    own, other = (world.AGR, world.DSO) if role == "AGR" else (world.DSO, world.AGR)
    key_file = tmp_path / "own.key"
    key_file.write_bytes(base64.b64encode(world.KEYS[own].secret))
    hub, known, history = world.Hub(), world.participants(uftp_versions=(version,)), world.MemoryHistory()
    config = {"domain": own, "role": role, "listen": "127.0.0.1:0", "signing_key_file": key_file}
    adapter = build(config, world.ports(hub, known))
    await adapter.start()
    setup = {
        "role": "DSO" if role == "AGR" else "AGR",
        "domain": other,
        "secret": base64.b64encode(world.KEYS[other].secret).decode(),
        "period": PERIOD,
        "point": world.POINT,
        "expires": EXPIRES,
        "version": version,
        "peer": {
            "domain": own,
            "endpoint": adapter.status().listening[0],
            "key": base64.b64encode(adapter.public_key).decode(),
        },
    }
    process = await asyncio.create_subprocess_exec(
        PYTHON, str(SCRIPT), json.dumps(setup), stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    pair = Pair(world, adapter, hub, known, history, process, other)
    try:
        ready = await pair.event()
        url = f"http://127.0.0.1:{ready['port']}/shapeshifter/api/v3/message"
        known[other] = replace(known[other], endpoint=url)
        yield pair
        await pair.command("stop")
        await asyncio.wait_for(process.wait(), 10)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
        await adapter.stop()


@pytest.mark.parametrize("pair", [("AGR", "3.1.0"), ("AGR", "3.0.0")], indirect=True, ids=["3.1.0", "3.0.0"])
async def test_it_as_dso_buys_from_us(pair: Pair) -> None:
    await pair.command("trade")
    request = await pair.hear()
    assert isinstance(request, FlexRequest)
    assert len(request.isps) == 96
    assert request.requested == frozenset(range(70, 77))
    assert (await pair.peer_received("FlexRequestResponse"))["result"] == "Accepted"
    power = IspSeries.from_runs(request.calendar, request.period, [Run(70, 7, -50000)])
    options = (OfferOption("A", Decimal("12.50"), power), OfferOption("B", Decimal("9.99"), -power))
    offer = FlexOffer(
        pair.head(request), request.congestion_point, request.expires, "EUR", options, request.head.message_id
    )
    await pair.say(offer)
    await pair.peer_received("FlexOffer")
    # The peer posts its answer and its order from two threads; both refer to the offer.
    heard = [await pair.hear(), await pair.hear()]
    (answer,) = (m for m in heard if isinstance(m, Acknowledgement))
    (order,) = (m for m in heard if isinstance(m, FlexOrder))
    assert answer.accepted
    assert answer.refers_to == offer.head.message_id
    assert (order.price, order.option, order.power) == (Decimal("12.50"), "A", power)
    done = await pair.peer_received("FlexOrderResponse")
    assert (done["result"], done["reason"]) == ("Accepted", None)


@pytest.mark.parametrize("pair", [("DSO", "3.1.0"), ("DSO", "3.0.0")], indirect=True, ids=["3.1.0", "3.0.0"])
async def test_it_as_agr_sells_to_us(pair: Pair) -> None:
    calendar = pair.world.TERMS.calendar
    day = calendar.locate(pair.world.NOW)[0].replace(month=6, day=12)
    isps = (
        RequestIsp(1, 69, Disposition.AVAILABLE, 0, 50000),
        RequestIsp(70, 7, Disposition.REQUESTED, -100000, 0),
        RequestIsp(77, 20, Disposition.AVAILABLE, 0, 20000),
    )
    request = FlexRequest(pair.head(), pair.world.POINT, calendar, day, 1, calendar.start(day, 60), isps)
    await pair.say(request)
    await pair.peer_received("FlexRequest")
    heard = [await pair.hear(), await pair.hear()]
    (answer,) = (m for m in heard if isinstance(m, Acknowledgement))
    (offer,) = (m for m in heard if isinstance(m, FlexOffer))
    assert answer.accepted
    assert offer.request == request.head.message_id
    assert (await pair.peer_received("FlexOfferResponse"))["result"] == "Accepted"
    option = offer.options[0]
    factor = Decimal("0.50")
    order = FlexOrder(
        pair.head(offer),
        offer.congestion_point,
        "ORD-1",
        option.price * factor,
        "EUR",
        option.power.scaled(factor),
        offer.head.message_id,
        option.reference,
        factor,
    )
    await pair.say(order)
    await pair.peer_received("FlexOrder")
    accepted = await pair.hear()
    assert accepted.accepted
    assert accepted.refers_to == order.head.message_id


@pytest.mark.parametrize("pair", [("AGR", "3.1.0")], indirect=True, ids=["3.1.0"])
async def test_what_it_asks_wrongly_is_rejected_in_words_it_reads(pair: Pair) -> None:
    await pair.command("trade")
    received = await pair.hub.next(1, 20)
    barren = replace(pair.world.TERMS, congestion_points=())
    pair.adapter._ports = replace(pair.adapter._ports, terms=barren)
    found = pair.adapter.interpret(received, pair.history)
    assert [p.reason for p in found.problems] == ["Invalid congestion point"]
    reasons = tuple(p.reason for p in found.problems)
    await pair.say(Acknowledgement(pair.head(found.message), found.refers_to, found.kind, False, reasons))
    answer = await pair.peer_received("FlexRequestResponse")
    assert (answer["result"], answer["reason"]) == ("Rejected", "Invalid congestion point")


@pytest.mark.parametrize("pair", [("AGR", "3.1.0")], indirect=True, ids=["3.1.0"])
async def test_it_tests_us(pair: Pair) -> None:
    """Our answer bears no Result, as the release has it; the peer's reader takes that."""
    await pair.command("test")
    received = await pair.hub.next(1, 20)
    assert received.kind == "TestMessage"
    event = await pair.event()
    assert event["kind"] == "TestMessageResponse", event
