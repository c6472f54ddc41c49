"""Surroundings for tests of the OpenADR adapter: ports kept in memory, and a market clock that can be turned."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Self

import trustme
from aiohttp import ClientSession

from adapters.openadr2 import build, codec, model
from adapters.openadr2.dsig import Signer
from adapters.ports import Change, Ports, Programmes, Receipt, ReceiptStatus
from datamodels import (
    Binding,
    Dispatch,
    DispatchInterval,
    DispatchKind,
    MarketTerms,
    Resource,
    ResourceKind,
    ResourceRole,
)


@dataclass(frozen=True)
class Identity:
    """A certificate of a test's authority, with its key, as PEM texts."""

    certificate: bytes
    key: bytes

    @classmethod
    def issue(cls, ca: trustme.CA, *names: str, rsa: bool = False) -> Self:
        leaf = ca.issue_cert(*names, key_type=trustme.KeyType.RSA if rsa else trustme.KeyType.ECDSA)
        return cls(leaf.cert_chain_pems[0].bytes(), leaf.private_key_pem.bytes())

    @property
    def signer(self) -> Signer:
        return Signer(self.certificate, self.key)

    @property
    def fingerprint(self) -> str:
        return self.signer.fingerprint

    def write(self, folder: Path) -> tuple[str, str]:
        """Files of the certificate and of the key."""
        folder.mkdir(exist_ok=True)
        (folder / "certificate.pem").write_bytes(self.certificate)
        (folder / "key.pem").write_bytes(self.key)
        return str(folder / "certificate.pem"), str(folder / "key.pem")


class HandClock:
    """Market = `market` + `rate` * (wall - `anchor`); the wall stands until a test moves it, or is real."""

    def __init__(self, *, rate: float = 1.0, real: bool = False) -> None:
        self.rate = rate
        self.real = real
        self.anchor = datetime.now(UTC) if real else datetime(2026, 3, 1, 12, tzinfo=UTC)
        self.market = datetime(2026, 5, 20, 0, tzinfo=UTC)
        self.wall = self.anchor

    def set(self, market: datetime, rate: float | None = None) -> None:
        self.anchor, self.market, self.rate = self._wall(), market, rate or self.rate

    def _wall(self) -> datetime:
        return datetime.now(UTC) if self.real else self.wall

    def now(self) -> datetime:
        return self.from_wall(self._wall())

    def from_wall(self, instant: datetime) -> datetime:
        return self.market + (instant - self.anchor) * self.rate

    def to_wall(self, instant: datetime) -> datetime:
        return self.anchor + (instant - self.market) / self.rate

    async def sleep_until(self, instant: datetime) -> None:
        raise AssertionError("not used by this adapter")


@dataclass
class Hub:
    """Inbound, State and Trace at once; `documents` survives a "restart" of the adapter."""

    documents: dict[tuple[str, str], Any] = field(default_factory=dict)
    samples: list[Any] = field(default_factory=list)
    updates: list[Any] = field(default_factory=list)
    refusals: list[tuple[str, str, str]] = field(default_factory=list)
    received: list[Any] = field(default_factory=list)
    traced: list[tuple[str, str, bytes]] = field(default_factory=list)
    commits: int = 0

    async def receive(self, received: Any, changes: Any = ()) -> Receipt:
        self.received.append(received)
        self._write(changes)
        return Receipt(ReceiptStatus.NEW)

    async def telemetry(self, samples: Any) -> None:
        self.samples += samples

    async def dispatch_update(self, update: Any) -> None:
        self.updates.append(update)

    def refused(self, adapter: str, peer: str, rule: str, detail: str) -> None:
        self.refusals.append((peer, rule, detail))

    def load(self, kind: str) -> dict[str, dict[str, Any]]:
        return {key: value for (k, key), value in self.documents.items() if k == kind}

    async def commit(self, *changes: Change) -> None:
        self._write(changes)

    def _write(self, changes: Any) -> None:
        self.commits += 1
        for change in changes:
            if change.value is None:
                self.documents.pop((change.kind, change.key), None)
            else:
                self.documents[change.kind, change.key] = change.value

    def trace(self, adapter: str, peer: str, direction: Any, kind: str, raw: bytes, note: str = "") -> None:
        self.traced.append((direction, kind, raw))

    @property
    def statuses(self) -> list[tuple[str, int, str]]:
        return [(u.dispatch, u.revision, str(u.status)) for u in self.updates]


def home(ven: str, resource_id: str = "battery", **options: str) -> Resource:
    return Resource(
        id=f"{ven}.{resource_id}",
        connection=f"ean.{ven}",
        kind=ResourceKind.BATTERY,
        role=ResourceRole.STORAGE,
        p_min_w=-5000,
        p_max_w=10000,
        binding=Binding("openadr2", f"{ven}/{resource_id}", dict(options)),
    )


def ports(hub: Hub, clock: HandClock, *resources: Resource, programmes: Programmes | None = None) -> Ports:
    return Ports(
        inbound=hub,
        state=hub,
        clock=clock,
        trace=hub.trace,
        terms=MarketTerms(),
        participants={},
        resources={r.id: r for r in resources},
        programmes=programmes,
    )


def plan(
    id: str,
    resource: Resource,
    start: datetime,
    values: tuple[int, ...],
    *,
    step: timedelta = timedelta(minutes=15),
    kind: DispatchKind = DispatchKind.SETPOINT,
    revision: int = 0,
    priority: int = 0,
) -> Dispatch:
    intervals = tuple(DispatchInterval(start + k * step, step, v) for k, v in enumerate(values))
    return Dispatch(id, resource.id, kind, intervals, "test", revision, priority)


class Vtn:
    """A running adapter, and a VEN's hand at its socket."""

    def __init__(
        self,
        hub: Hub,
        clock: HandClock,
        *resources: Resource,
        programmes: Programmes | None = None,
        **config: Any,
    ) -> None:
        self.hub, self.clock = hub, clock
        settings = {
            "listen": "127.0.0.1:0",
            "insecure": True,
            "poll_frequency_s": 10,
            "vens": [{"ven_name": "one", "ven_id": "ven-1"}, {"ven_name": "two", "ven_id": "ven-2"}],
        }
        self.adapter = build(settings | config, ports(hub, clock, *resources, programmes=programmes))

    async def __aenter__(self) -> Self:
        await self.adapter.start()
        self.url = f"{self.adapter.status().listening[0]}/OpenADR2/Simple/2.0b"
        self.http = ClientSession()
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.http.close()
        await self.adapter.stop()

    async def post(self, endpoint: str, body: Any, content_type: str = "application/xml") -> tuple[int, bytes]:
        headers = {"Content-Type": content_type}
        async with self.http.post(f"{self.url}/{endpoint}", data=body, headers=headers) as reply:
            return reply.status, await reply.read()

    async def say(self, endpoint: str, message: Any) -> Any:
        """Send a wire object; the wire object that comes back, checked against the schema."""
        status, body = await self.post(endpoint, codec.encode(message))
        assert status == 200, body
        root = codec.read_tree(body)
        codec.check_schema(root)
        return codec.decode(codec.payload_element(root))

    async def poll(self, ven_id: str = "ven-1") -> Any:
        return await self.say("OadrPoll", model.OadrPoll(ven_id))

    async def register(self, name: str = "one", **fields: Any) -> Any:
        message = model.OadrCreatePartyRegistration(
            request_id="r1",
            profile_name="2.0b",
            transport_name="simpleHttp",
            report_only=False,
            xml_signature=False,
            ven_name=name,
            http_pull_model=True,
        )
        return await self.say("EiRegisterParty", replace(message, **fields))

    async def opt(
        self, event_id: str, mod: int, opt_type: str = "optIn", *, ven_id: str = "ven-1", code: int = 200
    ) -> Any:
        response = model.EventResponse(code, "q", model.QualifiedEventId(event_id, mod), opt_type)
        message = model.OadrCreatedEvent(model.EiResponse(200, "q"), ven_id, (response,))
        return await self.say("EiEvent", message)

    async def news(self) -> list[tuple[str, int, str]]:
        """The dispatch statuses told so far, once the adapter has caught up with its clock."""
        for _ in range(4):
            await asyncio.sleep(0.006)
        return self.hub.statuses


async def until(condition: Any, seconds: float = 5.0) -> None:
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.01)
