"""Who may speak with us: a listening adapter whose peers are found in a directory (U-07, U-09, U-31)."""

from __future__ import annotations

import asyncio
import base64
import io
import logging
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from types import ModuleType
from typing import Any

import aiohttp
import pytest
from support.addressbook import CLIENT, SECRET, AddressBookServer
from support.dns import DnsServer

from adapters.errors import TransportFault
from adapters.ports import DeliveryStatus, Ports
from adapters.uftp import UftpAdapter, build, envelope
from adapters.uftp.discovery import (
    Admit,
    DirectoryError,
    DiscoveryConfig,
    Found,
    Provider,
    Resolver,
    Unlisted,
)
from adapters.uftp.keys import SigningKey, public_key_string
from datamodels import Participant, ParticipantKey, ParticipantStatus, Role
from interop.feed import Feed
from interop.peers import Peers
from interop.store import Store

DATA = Path(__file__).resolve().parents[2] / "data" / "uftp"
PAYLOAD = (DATA / "FlexRequest.xml").read_bytes()
NEW = SigningKey.from_seed(b"n" * 32)


@dataclass
class Stand:
    """An AGR that listens, its peers in a store, and a clock that stands still."""

    world: ModuleType
    adapter: UftpAdapter
    hub: Any
    peers: Peers
    clock: Any
    store: Store

    async def post(self, domain: str, key: SigningKey, payload: bytes = PAYLOAD, role: Role = Role.DSO) -> int:
        body = envelope.seal(payload, domain, role, key)
        headers = {"Content-Type": "text/xml"}
        async with (
            aiohttp.ClientSession() as session,
            session.post(self.adapter.status().listening[0], data=io.BytesIO(body), headers=headers) as response,
        ):
            return response.status

    async def events(self) -> list[tuple[str, str]]:
        return [(e.kind, e.data["peer"]) for e in await self.store.events() if e.kind.startswith("peer.")]


@dataclass
class Setup:
    world: ModuleType
    folder: Path
    open: list[Any] = field(default_factory=list)

    async def __call__(self, discovery: dict[str, Any], *listed: Participant) -> Stand:
        world = self.world
        key = self.folder / "agr.key"
        key.write_bytes(base64.b64encode(world.KEYS[world.AGR].secret))
        store, clock, hub = await Store.open(self.folder / "data"), world.Clock(), world.Hub()
        self.open.append(store.close)
        peers = Peers(listed, store, Feed(), clock.now)
        await peers.load()
        config = {"domain": world.AGR, "role": "AGR", "listen": "127.0.0.1:0", "signing_key_file": str(key)}
        ports = Ports(hub, hub, clock, hub.tap, world.TERMS, peers, {}, learn=peers.learn)
        adapter = build(config | {"discovery": discovery}, ports)
        await adapter.start()
        self.open.append(adapter.stop)
        return Stand(world, adapter, hub, peers, clock, store)

    async def close(self) -> None:
        while self.open:
            await self.open.pop()()


@pytest.fixture
async def setup(world: ModuleType, tmp_path: Path) -> AsyncIterator[Setup]:
    setup = Setup(world, tmp_path)
    yield setup
    await setup.close()


@pytest.fixture
async def dns(world: ModuleType) -> AsyncIterator[DnsServer]:
    async with DnsServer() as server:
        server.publish(world.DSO, "DSO", public_key_string(world.KEYS[world.DSO].public))
        yield server


def _by_dns(dns: DnsServer, **more: Any) -> dict[str, Any]:
    return {"provider": "dns", "resolvers": [dns.address], "timeout_s": 1.0} | more


async def test_a_listed_peers_key_and_address_are_found(world: ModuleType, setup: Setup, dns: DnsServer) -> None:
    """U-09: a DSO that is listed by name only."""
    stand = await setup(_by_dns(dns), Participant(world.DSO, Role.DSO))
    assert "looked up" in stand.adapter.status().peers[world.DSO]
    assert await stand.post(world.DSO, world.KEYS[world.DSO]) == 200
    assert await stand.post(world.DSO, world.KEYS[world.DSO], PAYLOAD.replace(b"S1", b"S2")) == 200
    assert len(dns.asked) == 4  # three records, and where the chain of aliases ends
    known = stand.peers[world.DSO]
    assert known.status is ParticipantStatus.ACTIVE
    assert known.endpoint == "https://uftp.example.net/shapeshifter/api/v3/message"
    assert await stand.events() == [("peer.discovered", world.DSO)]


async def test_nobody_else_is_looked_up_unless_that_is_allowed(world: ModuleType, setup: Setup, dns: DnsServer) -> None:
    """U-09: admit = listed."""
    stand = await setup(_by_dns(dns))
    assert await stand.post(world.DSO, world.KEYS[world.DSO]) == 419
    assert dns.asked == []
    assert stand.hub.refusals == [(world.DSO, "uftp.sender")]


async def test_whom_the_directory_vouches_for_is_let_in_once_it_has_proved_itself(
    world: ModuleType, setup: Setup, dns: DnsServer
) -> None:
    """U-09: admit = discovered."""
    stand = await setup(_by_dns(dns, admit="discovered"))
    assert await stand.post(world.DSO, NEW) == 401
    assert list(stand.peers) == []
    assert await stand.post(world.DSO, world.KEYS[world.DSO], role=Role.CRO) == 419
    assert await stand.post(world.DSO, world.KEYS[world.DSO]) == 200
    assert stand.peers[world.DSO].status is ParticipantStatus.DISCOVERED
    assert await stand.events() == [("peer.discovered", world.DSO)]
    await stand.peers.bar(world.DSO)
    other = (DATA / "FlexReservationUpdate.xml").read_bytes()
    assert await stand.post(world.DSO, world.KEYS[world.DSO], other) == 200
    assert stand.adapter.interpret(stand.hub.received[1], world.MemoryHistory()).problems[0].reason == "Barred Sender"


async def test_the_discovered_are_strangers_again_when_only_the_listed_are_let_in(
    world: ModuleType, setup: Setup, dns: DnsServer
) -> None:
    stand = await setup(_by_dns(dns, admit="discovered"))
    assert await stand.post(world.DSO, world.KEYS[world.DSO]) == 200
    await setup.close()
    stand = await setup(_by_dns(dns))
    assert stand.peers[world.DSO].status is ParticipantStatus.DISCOVERED
    assert await stand.post(world.DSO, world.KEYS[world.DSO]) == 419
    delivery = await stand.adapter.deliver(stand.peers[world.DSO], envelope.seal(PAYLOAD, world.AGR, Role.AGR, NEW))
    assert delivery.status is DeliveryStatus.PERMANENT


@pytest.mark.parametrize("trouble", ["proved", "silent", "gone"])
async def test_a_directory_in_trouble_is_419(world: ModuleType, setup: Setup, dns: DnsServer, trouble: str) -> None:
    """U-09: no AD flag, no answer, NXDOMAIN; what failed is not asked again at once."""
    match trouble:
        case "proved":
            dns.proved = False
        case "silent":
            dns.silent = True
        case "gone":
            dns.records.clear()
    stand = await setup(_by_dns(dns, timeout_s=0.2), Participant(world.DSO, Role.DSO))
    assert await stand.post(world.DSO, world.KEYS[world.DSO]) == 419
    asked = len(dns.asked)
    assert await stand.post(world.DSO, world.KEYS[world.DSO]) == 419
    assert len(dns.asked) == asked
    delivery = await stand.adapter.deliver(stand.peers[world.DSO], envelope.seal(PAYLOAD, world.AGR, Role.AGR, NEW))
    assert delivery.status is DeliveryStatus.TEMPORARY
    dns.proved, dns.silent = True, False
    dns.publish(world.DSO, "DSO", public_key_string(world.KEYS[world.DSO].public))
    stand.clock.at += timedelta(seconds=61)
    assert await stand.post(world.DSO, world.KEYS[world.DSO]) == 200


async def test_what_was_found_counts_for_its_time_also_after_a_restart(
    world: ModuleType, setup: Setup, dns: DnsServer
) -> None:
    """U-31: cached while valid, else temporary."""
    stand = await setup(_by_dns(dns), Participant(world.DSO, Role.DSO))
    assert await stand.post(world.DSO, world.KEYS[world.DSO]) == 200
    await setup.close()
    dns.silent = True
    stand = await setup(_by_dns(dns, timeout_s=0.2), Participant(world.DSO, Role.DSO))
    stand.clock.at += timedelta(seconds=299)
    assert await stand.post(world.DSO, world.KEYS[world.DSO]) == 200
    stand.clock.at += timedelta(seconds=2)
    assert await stand.post(world.DSO, world.KEYS[world.DSO]) == 419


async def test_a_rotated_key_leads_to_one_look_up(world: ModuleType, setup: Setup, dns: DnsServer) -> None:
    """U-07: second (rotated) key; garbage causes no storm."""
    stand = await setup(_by_dns(dns), Participant(world.DSO, Role.DSO))
    assert await stand.post(world.DSO, world.KEYS[world.DSO]) == 200
    asked = len(dns.asked)
    old, new = (public_key_string(k.public) for k in (world.KEYS[world.DSO], NEW))
    dns.publish(world.DSO, "DSO", f"{old} {new}")
    assert await stand.post(world.DSO, NEW, PAYLOAD.replace(b"S1", b"S2")) == 200
    assert await stand.post(world.DSO, world.KEYS[world.DSO], PAYLOAD.replace(b"S1", b"S3")) == 200
    assert len(dns.asked) == asked + 4
    garbage = SigningKey.from_seed(b"g" * 32)
    assert {await stand.post(world.DSO, garbage) for _ in range(20)} == {401}
    assert len(dns.asked) == asked + 4
    stand.clock.at += timedelta(seconds=61)
    assert {await stand.post(world.DSO, garbage) for _ in range(20)} == {401}
    assert len(dns.asked) == asked + 8


async def test_an_operators_word_counts(world: ModuleType, setup: Setup, dns: DnsServer) -> None:
    """A listed key is never replaced by the directory's, and a listed address stays; nobody is asked."""
    listed = Participant(world.DSO, Role.DSO, "http://127.0.0.1:9/x", (ParticipantKey(NEW.public),))
    stand = await setup(_by_dns(dns), listed)
    assert await stand.post(world.DSO, NEW) == 200
    assert await stand.post(world.DSO, world.KEYS[world.DSO]) == 401
    delivery = await stand.adapter.deliver(listed, envelope.seal(PAYLOAD, world.AGR, Role.AGR, NEW))
    assert delivery.status is DeliveryStatus.TEMPORARY
    assert dns.asked == []


async def test_an_address_book(world: ModuleType, setup: Setup, tmp_path: Path) -> None:
    """U-31: key found, unknown domain, server down."""
    (tmp_path / "secret").write_text(SECRET)
    key = base64.b64encode(world.KEYS[world.DSO].public).decode()
    async with AddressBookServer({world.DSO: {"domain": world.DSO, "publicKey": key}}) as book:
        config = {
            "provider": "address-book",
            "admit": "discovered",
            "url": book.url,
            "token_url": f"{book.url}/oauth/token",
            "client_id": CLIENT,
            "client_secret_file": str(tmp_path / "secret"),
            "cache_s": 100.0,
            "timeout_s": 0.5,
        }
        stand = await setup(config, Participant("other.example.org", Role.DSO))
        assert await stand.post(world.DSO, world.KEYS[world.DSO]) == 200
        assert await stand.post("other.example.org", NEW) == 419
        assert await stand.post("stranger.example.org", NEW) == 419
        assert book.asked == ["/dso.example.org", "/other.example.org", "/stranger.example.org"]
        # The address book names no address; the operator lists it.
        assert stand.peers[world.DSO].endpoint == ""
        other = stand.peers["other.example.org"]
        delivery = await stand.adapter.deliver(other, envelope.seal(PAYLOAD, world.AGR, Role.AGR, NEW))
        assert delivery.status is DeliveryStatus.PERMANENT
    assert await stand.post(world.DSO, world.KEYS[world.DSO], PAYLOAD.replace(b"S1", b"S2")) == 200
    stand.clock.at += timedelta(seconds=101)
    assert await stand.post(world.DSO, world.KEYS[world.DSO], PAYLOAD.replace(b"S1", b"S3")) == 419


# --- storms, with a directory that counts -----------------------------------------------------------------------


class Counting:
    """Knows nobody, or everybody by one key; counts, and answers when it is told to."""

    def __init__(self, now: Any, key: bytes | None = None) -> None:
        self.now, self.key = now, key
        self.asked: list[str] = []
        self.gate = asyncio.Event()
        self.gate.set()

    async def find(self, domain: str, role: Role) -> Found:
        self.asked.append(domain)
        await self.gate.wait()
        if self.key is None:
            raise Unlisted("nobody")
        return Found((self.key,), "", (), self.now() + timedelta(hours=1))

    async def close(self) -> None:
        self.gate.set()


def _resolver(world: ModuleType, directory: Counting, known: dict[str, Participant], **more: Any) -> Resolver:
    async def learn(found: Participant) -> Participant:
        known[found.domain] = found
        return found

    config = DiscoveryConfig(**({"provider": Provider.DNS, "admit": Admit.DISCOVERED} | more))
    return Resolver(config, directory, known, learn, directory.now.__self__)


def _sealed(domain: str, key: SigningKey = NEW) -> envelope.Envelope:
    return envelope.read(envelope.seal(b"<TestMessage/>", domain, Role.DSO, key))


async def test_strangers_share_one_allowance(world: ModuleType) -> None:
    directory = Counting(world.Clock().now)
    resolver = _resolver(world, directory, {}, lookups_per_s=5)
    for n in range(200):
        with pytest.raises(Exception, match="419"):
            await resolver.open(_sealed(f"s{n}.example.org"))
    assert 5 <= len(directory.asked) <= 15
    await resolver.close()


async def test_questions_at_once_are_one(world: ModuleType) -> None:
    known = {world.DSO: Participant(world.DSO, Role.DSO)}
    directory = Counting(world.Clock().now, NEW.public)
    directory.gate.clear()
    resolver = _resolver(world, directory, known)
    tasks = [asyncio.create_task(resolver.open(_sealed(world.DSO))) for _ in range(50)]
    await asyncio.sleep(0.01)
    directory.gate.set()
    assert {payload for _, payload in await asyncio.gather(*tasks)} == {b"<TestMessage/>"}
    assert directory.asked == [world.DSO]
    await resolver.close()


async def test_one_who_leaves_does_not_spoil_the_answer_for_others(world: ModuleType) -> None:
    known = {world.DSO: Participant(world.DSO, Role.DSO)}
    directory = Counting(world.Clock().now, NEW.public)
    directory.gate.clear()
    resolver = _resolver(world, directory, known)
    first, second = (asyncio.create_task(resolver.open(_sealed(world.DSO))) for _ in range(2))
    await asyncio.sleep(0.01)
    first.cancel()
    directory.gate.set()
    assert (await second)[1] == b"<TestMessage/>"
    await resolver.close()


async def test_a_directory_without_end_is_given_up(world: ModuleType, caplog: pytest.LogCaptureFixture) -> None:
    """The stranger learns that no key is known, the operator why."""
    caplog.set_level(logging.INFO)
    directory = Counting(world.Clock().now)
    directory.gate.clear()
    resolver = _resolver(world, directory, {}, timeout_s=0.02)
    with pytest.raises(TransportFault, match="no key is known") as refused:
        await resolver.open(_sealed("s.example.org"))
    assert "s.example.org" not in refused.value.message
    assert "in time" in caplog.text
    with pytest.raises(DirectoryError):
        await resolver.recipient(Participant("s.example.org", Role.DSO))
    await resolver.close()


async def test_a_look_up_that_fails_leaves_what_was_found(world: ModuleType) -> None:
    """A refresh during trouble must not take away keys that still hold."""
    clock = world.Clock()
    known = {world.DSO: Participant(world.DSO, Role.DSO)}
    directory = Counting(clock.now, NEW.public)
    resolver = _resolver(world, directory, known)
    await resolver.open(_sealed(world.DSO))
    directory.key = None
    with pytest.raises(Exception, match="401"):
        await resolver.open(_sealed(world.DSO, SigningKey.from_seed(b"x" * 32)))
    assert (await resolver.open(_sealed(world.DSO)))[1] == b"<TestMessage/>"
    await resolver.close()


@pytest.mark.parametrize(
    ("config", "complaint"),
    [
        ({"provider": "dns", "admit": "anybody"}, "must be one of listed, discovered"),
        ({"provider": "phone"}, "must be one of static, dns, address-book"),
        ({"provider": "address-book"}, "url is missing"),
        ({"admit": "discovered"}, "needs a provider"),
        ({"provider": "dns", "resolvers": ["ns.example.org"]}, "must be an IP address"),
        ({"provider": "dns", "resolvers": ["192.0.2.1:x"]}, "no usable port"),
        ({"provider": "address-book", "url": "http://book.example.org"}, "must begin with https://"),
        ({"provider": "address-book", "url": "https://b.example.org", "client_id": "x"}, "go together"),
        ({"provder": "dns"}, "did you mean provider"),
        ({"timeout_s": 0}, "must be a number of seconds"),
        ("dns", "must be a table"),
    ],
)
def test_a_configuration_that_is_wrong(world: ModuleType, config: Any, complaint: str) -> None:
    table = {"domain": world.AGR, "role": "AGR", "signing_key_file": "k", "discovery": config}
    with pytest.raises(ValueError, match=complaint) as error:
        build(table, world.ports(world.Hub(), {}))
    assert all(line.startswith("uftp.discovery") for line in str(error.value).split("\n"))


def test_discovery_needs_somebody_who_keeps_what_is_found(world: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "k").write_bytes(base64.b64encode(bytes(32)))
    table = {"domain": world.AGR, "role": "AGR", "signing_key_file": str(tmp_path / "k")}
    with pytest.raises(ValueError, match="learn"):
        build(table | {"discovery": {"provider": "dns"}}, world.ports(world.Hub(), {}))
