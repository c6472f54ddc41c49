"""Surroundings for tests of the VEN: a VEN on ports kept in memory, and a VTN that a test plays by hand."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Self

from aiohttp import web
from support.openadr2 import HandClock, Hub

from adapters.openadr2 import build, codec, model
from adapters.openadr2.lexical import Duration
from adapters.ports import Ports, Receipt, ReceiptStatus
from datamodels import MarketCalendar, MarketTerms, Resource, ResourceKind, ResourceRole, Telemetry

PEER = "utility.example"


@dataclass
class Store(Hub):
    """A hub that knows repeats by their id, and keeps telemetry to be read."""

    ids: set[str] = field(default_factory=set)
    measured: list[Telemetry] = field(default_factory=list)
    broken: bool = False
    slow_s: float = 0.0

    async def commit(self, *changes: Any) -> None:
        await asyncio.sleep(self.slow_s)
        await super().commit(*changes)

    async def receive(self, received: Any, changes: Any = ()) -> Receipt:
        if self.broken:
            raise OSError("the disk is full")
        if received.message_id in self.ids:
            return Receipt(ReceiptStatus.DUPLICATE)
        self.ids.add(received.message_id)
        return await super().receive(received, changes)

    async def history(self, resource: str, quantity: Any, first: datetime, last: datetime) -> list[Telemetry]:
        return [s for s in self.measured if (s.resource, s.quantity) == (resource, quantity) and first <= s.at < last]

    @property
    def kinds(self) -> list[str]:
        return [r.kind for r in self.received]

    @property
    def signals(self) -> list[Any]:
        return [s for r in self.received for s in r.content.signals]

    def told(self, name: str) -> list[str]:
        """The boundaries told, by name: what stands behind `event.` of all messages of that kind."""
        return [r.message_id for r in self.received if r.kind == f"event.{name}"]


def battery(id: str = "battery", p_min_w: int = -5000, p_max_w: int = 10000) -> Resource:
    return Resource(
        id=id,
        connection="ean.871685900012345678",
        kind=ResourceKind.BATTERY,
        role=ResourceRole.STORAGE,
        p_min_w=p_min_w,
        p_max_w=p_max_w,
    )


def ven_ports(
    hub: Store, clock: HandClock, *resources: Resource, follows: Callable[[Any], bool] | None = None
) -> Ports:
    return Ports(
        inbound=hub,
        state=hub,
        clock=clock,
        trace=hub.trace,
        terms=MarketTerms(calendar=MarketCalendar()),
        participants={},
        resources={r.id: r for r in resources},
        follows=follows or (lambda signal: True),
        history=hub.history,
    )


def ven(hub: Store, clock: HandClock, url: str, *resources: Resource, follows: Any = None, **settings: Any) -> Any:
    """A VEN adapter of one VTN, not started."""
    vtn = {"peer": PEER, "url": url, "ven_name": "one", "insecure": True, "poll_s": 0.05} | settings
    return build({"vtns": [vtn]}, ven_ports(hub, clock, *(resources or (battery(),)), follows=follows))


def signal(
    name: str = "LOAD_DISPATCH",
    type: str = "setpoint",
    values: tuple[float, ...] = (1000.0,),
    *,
    step_s: float = 900,
    id: str = "s1",
    unit: Any = None,
) -> model.EventSignal:
    intervals = tuple(
        model.Interval((model.SignalPayload(model.PayloadFloat(v)),), duration=Duration.seconds(step_s), uid=str(n))
        for n, v in enumerate(values)
    )
    return model.EventSignal(intervals, name, type, id, item_base=unit, current_value=model.PayloadFloat(0.0))


def event(
    id: str = "e1",
    start: datetime = datetime(2026, 3, 1, 13, tzinfo=UTC),
    *signals: model.EventSignal,
    mod: int = 0,
    status: str = "far",
    response: str = "always",
    target: model.EiTarget | None = None,
    test: str | None = None,
    priority: int | None = None,
    duration: Duration | None = None,
    **period: Duration,
) -> model.OadrEvent:
    given = signals or (signal(),)
    length = duration
    if length is None:
        length = Duration(sum((i.duration.span for i in given[0].intervals), timedelta(0)))
    properties = model.Properties(start, length, **period)
    descriptor = model.EventDescriptor(
        id, mod, "http://utility/programme", start - timedelta(days=1), status, priority=priority, test_event=test
    )
    return model.OadrEvent(
        model.EiEvent(descriptor, model.ActivePeriod(properties), given, target or model.EiTarget()), response
    )


def distribute(*events: model.OadrEvent, request: str = "r1", vtn: str = "VTN") -> model.OadrDistributeEvent:
    return model.OadrDistributeEvent(request, vtn, events, model.EiResponse(200, request))


class HandVtn:
    """A VTN on loopback that says what a test puts into `queue` at the next poll, and notes all that it hears."""

    def __init__(self, vtn_id: str = "VTN") -> None:
        self.vtn_id = vtn_id
        self.heard: list[Any] = []
        self.queue: list[Any] = []
        self.events: list[model.OadrEvent] = []
        self.requests: tuple[model.ReportRequest, ...] = ()
        self.replies: dict[type, Callable[[Any], Any]] = {}
        self.registrations = 0
        self.port = 0
        self._runner: web.ServerRunner | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/OpenADR2/Simple/2.0b"

    async def __aenter__(self) -> Self:
        await self.up()
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.down()

    async def up(self) -> None:
        self._runner = web.ServerRunner(web.Server(self._handle), shutdown_timeout=0.05)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", self.port)
        await site.start()
        self.port = self._runner.addresses[0][1]

    async def down(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    def said(self, cls: type) -> list[Any]:
        return [m for m in self.heard if isinstance(m, cls)]

    async def hears(self, cls: type, count: int = 1) -> Any:
        """The newest message of a class, once there are that many."""
        async with asyncio.timeout(5):
            while len(self.said(cls)) < count:
                await asyncio.sleep(0.01)
        return self.said(cls)[-1]

    async def _handle(self, request: web.BaseRequest) -> web.Response:
        root = codec.read_tree(await request.read())
        codec.check_schema(root)
        message = codec.decode(codec.payload_element(root))
        if request.path.rsplit("/", 1)[-1] != "OadrPoll":
            self.heard.append(message)
        reply = self._reply(message)
        if isinstance(reply, bytes):
            return web.Response(body=reply, content_type="application/xml")
        if isinstance(reply, int):
            return web.Response(status=reply)
        return web.Response(body=codec.encode(reply), content_type="application/xml")

    def _reply(self, message: Any) -> Any:
        if (own := self.replies.get(type(message))) is not None:
            return own(message)
        ok = model.EiResponse(200, getattr(message, "request_id", ""))
        match message:
            case model.OadrPoll():
                return self.queue.pop(0) if self.queue else model.OadrResponse(ok)
            case model.OadrQueryRegistration() | model.OadrCreatePartyRegistration():
                return self._registration(message, ok)
            case model.OadrRequestEvent():
                return replace(distribute(*self.events, request=message.request_id), vtn_id=self.vtn_id)
            case model.OadrRegisterReport():
                return model.OadrRegisteredReport(ok, self.requests)
            case model.OadrUpdateReport():
                return model.OadrUpdatedReport(ok)
            case model.OadrCreateOpt():
                return model.OadrCreatedOpt(ok, message.opt_id)
            case model.OadrCancelOpt():
                return model.OadrCanceledOpt(ok, message.opt_id)
            case model.OadrCancelPartyRegistration():
                return model.OadrCanceledPartyRegistration(ok, message.registration_id, message.ven_id)
        return model.OadrResponse(ok)

    def _registration(self, message: Any, ok: model.EiResponse) -> Any:
        profiles = (model.OadrProfile("2.0b", ("simpleHttp",)),)
        if isinstance(message, model.OadrQueryRegistration):
            return model.OadrCreatedPartyRegistration(ok, self.vtn_id, profiles)
        self.registrations += 1
        ven_id, id = message.ven_id or "ven-7", f"reg-{self.registrations}"
        return model.OadrCreatedPartyRegistration(ok, self.vtn_id, profiles, id, ven_id, Duration.seconds(1))
