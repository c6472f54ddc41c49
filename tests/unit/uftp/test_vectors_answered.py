"""The 77 shared vectors, answered: posted, signed, to a listener with hub, store and desk behind it."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Sequence
from datetime import datetime
from pathlib import Path
from types import ModuleType
from typing import Any

import aiohttp
import pytest

from adapters.ports import Delivery, DeliveryStatus, Ports
from adapters.uftp import build, envelope
from adapters.uftp.codec import decode
from adapters.uftp.elements import Element
from adapters.uftp.schema import MESSAGES
from datamodels import Participant, Role
from interop.commonreference.desk import CommonReferenceDesk, CommonReferenceOptions, Mode
from interop.desk import DeskContext
from interop.feed import Feed
from interop.hub import Hub
from interop.market.desk import MarketDesk
from interop.offline import Setting, judge
from interop.store import Store


class Passive(MarketDesk):
    """Answers as the machine says, and does nothing of its own accord."""

    async def work(self, now: datetime) -> None:
        pass


class Party:
    """One party's UFTP end, whole. `sent` holds the payloads that left."""

    def __init__(self, world: ModuleType, domain: str) -> None:
        self.world, self.domain, self.role = world, domain, world.ROLES[domain]
        self.known: dict[str, Participant] = world.participants()
        self.sent: list[Element] = []

    async def start(self, folder: Path) -> None:
        folder.mkdir()
        key = folder / "key"
        key.write_bytes(base64.b64encode(self.world.KEYS[self.domain].secret))
        self.store = await Store.open(folder / "data")
        clock, feed, adapters = self.world.Clock(), Feed(), dict[str, Any]()
        self.hub = Hub(self.store, clock, None, adapters, {}, self.known, {}, feed)  # type: ignore[arg-type]
        state = await self.hub.state("uftp")
        ports = Ports(self.hub, state, clock, lambda *_: None, self.world.TERMS, self.known, {})
        options = {"domain": self.domain, "role": self.role.value, "listen": "127.0.0.1:0", "signing_key_file": key}
        self.adapter = build(options, ports)
        self.adapter.deliver = self._deliver  # type: ignore[method-assign]
        adapters["uftp"] = self.adapter
        context = DeskContext(
            self.domain,
            self.role,
            self.world.TERMS,
            self.known,
            {},
            clock,
            feed,
            self.store,
            adapters,
            self.hub.do,
        )
        cro = self.role is Role.CRO
        self.desk = CommonReferenceDesk(context, CommonReferenceOptions(Mode.OPEN)) if cro else Passive(context)
        self.hub.desk = self.desk
        await self.hub.load()
        await self.adapter.start()
        self.hub.start()

    async def stop(self) -> None:
        await self.adapter.stop()
        await self.hub.stop(1.0)
        await self.store.close()

    async def _deliver(self, recipient: Participant, body: bytes) -> Delivery:
        self.sent.append(decode(envelope.read(body).payload))
        return Delivery(DeliveryStatus.DELIVERED, 200)

    async def take(self, payload: bytes, domain: str, role: Role) -> int:
        """Post a payload as that sender; the status, once all that follows from it is done."""
        body = envelope.seal(payload, domain, role, self.world.KEYS[domain])
        headers = {"Content-Type": "text/xml"}
        async with (
            aiohttp.ClientSession() as session,
            session.post(self.adapter.status().listening[0], data=body, headers=headers) as response,
        ):
            status = response.status
        await self._quiet()
        return status

    async def say(self, payload: bytes) -> None:
        await self.desk.forward(payload)
        await self._quiet()

    async def _quiet(self) -> None:
        async with asyncio.timeout(10):
            while (counts := await self.store.counts())["inbox"]["NEW"] or counts["outbox"]["PENDING"]:
                await asyncio.sleep(0.002)

    def answer(self, asked: Element) -> Element | None:
        """The newest answer to a message."""
        answers = (e for e in reversed(self.sent) if e["ConversationID"] == asked["ConversationID"])
        return next((e for e in answers if e.name == f"{asked.name}Response"), None)


def _entries(world: ModuleType) -> list[dict[str, Any]]:
    manifest = world.SHARED / "vectors" / "uftp" / "manifest.json"
    entries: list[dict[str, Any]] = json.loads(manifest.read_text()) if manifest.is_file() else []
    return entries


async def _on_line(party: Party, entry: dict[str, Any], folder: Path) -> tuple[int, str | None, str]:
    for way, file in entry.get("setup", ()):
        payload = (folder / file).read_bytes()
        if way == "out":
            await party.say(payload)
            continue
        element = decode(payload)
        sender = element["SenderDomain"]
        assert await party.take(payload, sender, party.known[sender].role) == 200
        if not element.name.endswith("Response"):
            answer = party.answer(element)
            assert answer is not None
            assert answer["Result"] == "Accepted", answer
    payload, sender = (folder / entry["file"]).read_bytes(), entry["envelope"]
    before = len(party.sent)
    status = await party.take(payload, sender["SenderDomain"], Role(sender["SenderRole"]))
    if status != 200:
        return status, None, ""
    new = party.sent[before:]
    asked = decode(payload)
    if asked.name == "TestMessage":
        return status, new[0].name if new else None, ""
    if not new:
        return status, None, ""
    (answer,) = new
    assert answer[MESSAGES[answer.name].refers] == asked["MessageID"]
    return status, answer["Result"], answer.get("RejectionReason") or ""


def _off_line(world: ModuleType, entry: dict[str, Any], folder: Path) -> tuple[int, str | None, str]:
    role = Role(entry["recipient_role"])
    own = next(domain for domain, held in world.ROLES.items() if held is role)
    setting = Setting(own, role, world.TERMS, world.participants(), world.NOW)
    earlier: Sequence[bytes] = [(folder / file).read_bytes() for _, file in entry.get("setup", ())]
    sender = entry["envelope"]
    judged = judge(
        (folder / entry["file"]).read_bytes(), earlier, setting, sender["SenderDomain"], Role(sender["SenderRole"])
    )
    return judged.http, judged.result, ";".join(judged.reasons)


@pytest.fixture
async def party(world: ModuleType, tmp_path: Path) -> AsyncIterator[Any]:
    running: list[Party] = []

    async def start(domain: str) -> Party:
        party = Party(world, domain)
        running.append(party)
        await party.start(tmp_path / str(len(running)))
        return party

    yield start
    for each in running:
        await each.stop()


@pytest.mark.parametrize("role", ["AGR", "DSO", "CRO"])
async def test_all_vectors_on_line_and_off_line(world: ModuleType, party: Any, role: str) -> None:
    """U-03: each vector gets the stated status, result and reason, from a running party and from `check` alike."""
    folder = world.SHARED / "vectors" / "uftp"
    entries = [entry for entry in _entries(world) if entry["recipient_role"] == role]
    if not entries:
        pytest.skip("the shared UFTP vectors are not here; set GRIDPARLEY_SHARED to a folder with vectors/uftp")
    domain = {"AGR": world.AGR, "DSO": world.DSO, "CRO": world.CRO}[role]
    wrong = []
    refusing = await party(domain)
    for entry in entries:
        # What is refused leaves no trace, so one party can refuse it all.
        alone_here = entry["kind"] == "valid" or "setup" in entry
        end = await party(domain) if alone_here else refusing
        live, alone = await _on_line(end, entry, folder), _off_line(world, entry, folder)
        expect = entry["expect"]
        wanted = expect.get("reasons_any") or [""]
        for status, result, reason in (live, alone):
            good = (status, result) == (expect["http"], expect.get("result"))
            if not good or not any(text.lower() in reason.lower() for text in wanted):
                wrong.append((entry["file"], live, alone))
    assert wrong == []
    assert len(entries) == {"AGR": 49, "DSO": 25, "CRO": 3}[role]
