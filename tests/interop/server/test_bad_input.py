"""Bad input on every listener of a real server: the prescribed answer, a line in the log, and no change of state.

The bytes are made here, with lxml and PyNaCl, not with the adapters' own codecs.
"""

from __future__ import annotations

import asyncio
import base64
import io
import json
import logging
import time
import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from lxml import etree
from nacl.signing import SigningKey

from adapters.clock import Anchor
from interop.config import load_config
from interop.demo.world import World
from interop.scenarios import SCENARIOS
from interop.server import Server

OADR = "http://openadr.org/oadr-2.0b/2012/07"
EI = "http://docs.oasis-open.org/ns/energyinterop/201110"

AGR, DSO = "agr.example.org", "dso.example.org"


@dataclass
class Party:
    """An aggregator's server, and everything a stranger or the grid operator may send it."""

    world: World
    server: Server
    session: aiohttp.ClientSession
    dso_key: SigningKey
    caplog: pytest.LogCaptureFixture

    @property
    def uftp(self) -> str:
        return self.world.party("agr").endpoint

    @property
    def vtn(self) -> str:
        return f"http://127.0.0.1:{self.world.party('agr').vtn}/OpenADR2/Simple/2.0b"

    async def post(self, url: str, body: bytes, content_type: str = "text/xml; charset=utf-8") -> tuple[int, bytes]:
        async with self.session.post(url, data=io.BytesIO(body), headers={"Content-Type": content_type}) as response:
            return response.status, await response.read()

    async def state(self) -> dict[str, Any]:
        """What must not change: the market's documents, the adapters' documents, dispatches, and what was sent."""
        store = self.server.store
        return {
            space: [(d.kind, d.key, json.dumps(d.value, sort_keys=True)) for d in await store.documents(space)]
            for space in ("market", "hub", "adapter:openadr2", "adapter:modbus")
        } | {"sent": [m.message_id for m in await store.messages() if m.direction == "out" and m.kind == "Prognosis"]}

    def refusals(self) -> int:
        """Refusals counted so far, by adapter and rule, in all."""
        text = self.server.metrics.text().decode()
        lines = [line for line in text.splitlines() if line.startswith("gridparley_refused_total{")]
        return round(sum(float(line.rsplit(" ", 1)[1]) for line in lines))

    def log(self) -> str:
        return self.caplog.text

    async def answers(self, message_id: str) -> list[dict[str, Any]]:
        """Answers to a message that the server queued, once it was handled."""
        for _ in range(100):
            found = [
                m.message
                for m in await self.server.store.messages()
                if m.direction == "out" and m.message and m.message.get("refers_to") == message_id
            ]
            if found:
                return found
            await asyncio.sleep(0.02)
        return []


@pytest.fixture
async def party(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> AsyncIterator[Party]:
    caplog.set_level(logging.INFO)
    world = World(SCENARIOS["rural1"](), tmp_path)
    world.lay_out()
    # An hour before the prognosis is due: nothing happens by itself.
    Anchor(time.time(), world.trade_start - timedelta(hours=1), 1.0).write(world.clock)
    world.configure({device["resource"]: "127.0.0.1:1" for device in world.devices()})
    config = load_config(tmp_path / "agr.toml")
    key = SigningKey(base64.b64decode((tmp_path / "dso" / "signing.key").read_text())[:32])
    server = Server(config)
    await server.start()
    async with aiohttp.ClientSession() as session:
        yield Party(world, server, session, key, caplog)
    await server.stop()


def request(**changes: str) -> tuple[str, bytes]:
    """A FlexRequest from the grid operator, and its id."""
    message_id = changes.pop("MessageID", str(uuid.uuid4()))
    attributes = {
        "Version": "3.1.0",
        "SenderDomain": DSO,
        "RecipientDomain": AGR,
        "TimeStamp": "2016-05-19T07:00:00Z",
        "MessageID": message_id,
        "ConversationID": str(uuid.uuid4()),
        "ISP-Duration": "PT15M",
        "TimeZone": "Europe/Berlin",
        "Period": "2016-05-20",
        "CongestionPoint": "ea1.2016-05.de.simbench:1-lv-rural1-2-sw.trafo-1",
        "Revision": "1",
        "ExpirationDateTime": "2016-05-19T10:00:00Z",
    } | changes
    element = etree.Element("FlexRequest", attributes)
    etree.SubElement(
        element, "ISP", Disposition="Requested", MinPower="1000", MaxPower="50000", Start="50", Duration="1"
    )
    return message_id, etree.tostring(element)


def envelope(payload: bytes, key: SigningKey, domain: str = DSO, role: str = "DSO") -> bytes:
    body = base64.b64encode(bytes(key.sign(payload))).decode()
    return etree.tostring(etree.Element("SignedMessage", SenderDomain=domain, SenderRole=role, Body=body))


def poll(ven_id: str) -> bytes:
    return (
        f'<oadrPayload xmlns="{OADR}" xmlns:ei="{EI}"><oadrSignedObject><oadrPoll ei:schemaVersion="2.0b">'
        f"<ei:venID>{ven_id}</ei:venID></oadrPoll></oadrSignedObject></oadrPayload>"
    ).encode()


STRANGER = SigningKey(bytes(32))
UNREADABLE: list[tuple[str, int]] = [
    ("not xml at all", 400),
    ("unsigned payload", 400),
    ("document type", 400),
    ("signed by somebody else", 401),
    ("unknown sender", 419),
    ("truncated", 400),
    ("oversized", 413),
    ("payload breaks the schema", 400),
    ("wrong content type", 400),
]


@pytest.mark.parametrize(("fault", "status"), UNREADABLE)
async def test_uftp_refuses_what_never_became_a_message(party: Party, fault: str, status: int) -> None:
    _, payload = request()
    good = envelope(payload, party.dso_key)
    body = {
        "not xml at all": b"hello",
        "unsigned payload": payload,
        "document type": b"<!DOCTYPE SignedMessage>" + good,
        "signed by somebody else": envelope(payload, STRANGER),
        "unknown sender": envelope(payload, STRANGER, domain="evil.example.org"),
        "truncated": good[: len(good) // 2],
        "oversized": good + b" " * (3 << 20),
        "payload breaks the schema": envelope(request(Revision="one")[1], party.dso_key),
        "wrong content type": good,
    }[fault]
    before, refused, logged = await party.state(), party.refusals(), len(party.log())
    content_type = "application/json" if fault == "wrong content type" else "text/xml; charset=utf-8"
    answered, text = await party.post(party.uftp, body, content_type)
    assert answered == status
    assert b"evil" not in text, "a refusal does not echo what was sent"
    assert await party.state() == before
    assert party.refusals() == refused + 1
    assert "refused by uftp" in party.log()[logged:]


REJECTED = [
    ({"ExpirationDateTime": "2016-05-18T10:00:00Z"}, "ExpirationDateTime out of bounds"),
    ({"Period": "2016-05-01"}, "Period out of bounds"),
    ({"CongestionPoint": "ea1.2016-05.de.simbench:elsewhere"}, "Invalid congestion point"),
    ({"RecipientDomain": "other.example.org"}, "Unknown Recipient"),
    ({"TimeZone": "America/New_York"}, "Time zone rejected"),
    ({"ISP-Duration": "PT30M"}, "ISP duration rejected"),
    ({"Version": "3.9.0"}, "version 3.9.0"),
]


@pytest.mark.parametrize(("change", "reason"), REJECTED)
async def test_uftp_rejects_what_breaks_a_rule(party: Party, change: dict[str, str], reason: str) -> None:
    message_id, payload = request(**change)
    before = await party.state()
    assert (await party.post(party.uftp, envelope(payload, party.dso_key)))[0] == 200
    (answer,) = await party.answers(message_id)
    assert answer["accepted"] is False
    assert any(reason in given for given in answer["reasons"])
    assert answer["head"]["recipient"] == DSO
    assert await party.state() == before


async def test_a_duplicate_has_no_second_effect_and_another_content_is_refused(party: Party) -> None:
    message_id, payload = request()
    signed = envelope(payload, party.dso_key)
    for _ in range(3):
        assert (await party.post(party.uftp, signed))[0] == 200
    (first,) = await party.answers(message_id)
    assert first["accepted"] is True
    taken = await party.state()
    _, other = request(MessageID=message_id, Revision="2")
    assert (await party.post(party.uftp, envelope(other, party.dso_key)))[0] == 200
    for _ in range(100):
        answers = await party.answers(message_id)
        if len(answers) == 2:
            break
        await asyncio.sleep(0.02)
    assert [answer["accepted"] for answer in answers] == [True, False]
    assert answers[1]["reasons"] == ["Duplicate Identifier"]
    assert await party.state() == taken
    alarms = await party.server.views.alarms(10)
    assert any(alarm["rule"] == "message.conflict" for alarm in alarms)


async def test_a_message_out_of_order_is_subordinate(party: Party) -> None:
    """A lower revision in the same conversation comes after a higher one (rule R43)."""
    conversation = str(uuid.uuid4())
    later, payload = request(Revision="5", ConversationID=conversation)
    await party.post(party.uftp, envelope(payload, party.dso_key))
    assert (await party.answers(later))[0]["accepted"] is True
    earlier, payload = request(Revision="4", ConversationID=conversation)
    await party.post(party.uftp, envelope(payload, party.dso_key))
    (answer,) = await party.answers(earlier)
    assert answer["accepted"] is False
    assert any("Subordinate sequence number" in reason for reason in answer["reasons"])


async def test_a_sender_in_the_payload_that_is_not_the_signer_is_answered_at_the_signer(party: Party) -> None:
    message_id, payload = request(SenderDomain="victim.example.org")
    before = await party.state()
    assert (await party.post(party.uftp, envelope(payload, party.dso_key)))[0] == 200
    (answer,) = await party.answers(message_id)
    assert answer["head"]["recipient"] == DSO
    assert any("Invalid Sender" in reason for reason in answer["reasons"])
    assert await party.state() == before


OPENADR: list[tuple[str, bytes, str, int, bytes]] = [
    ("not xml", b"hello", "application/xml", 400, b""),
    ("document type", b"<!DOCTYPE oadrPayload>" + poll("x"), "application/xml", 400, b""),
    ("wrong content type", poll("x"), "application/json", 415, b""),
    ("breaks the schema", poll("x").replace(b"oadrPoll", b"oadrPull"), "application/xml", 400, b""),
    ("unknown VEN", poll("nobody"), "application/xml", 200, b"<ei:responseCode>463"),
    ("oversized", poll("x") + b" " * (9 << 20), "application/xml", 413, b""),
]


@pytest.mark.parametrize(("fault", "body", "content_type", "status", "holds"), OPENADR, ids=[c[0] for c in OPENADR])
async def test_openadr_refuses_bad_input(
    party: Party, fault: str, body: bytes, content_type: str, status: int, holds: bytes
) -> None:
    before, refused, logged = await party.state(), party.refusals(), len(party.log())
    answered, text = await party.post(f"{party.vtn}/OadrPoll", body, content_type)
    assert answered == status
    assert holds in text
    assert await party.state() == before
    assert party.refusals() == refused + 1
    assert "refused by openadr2" in party.log()[logged:]
