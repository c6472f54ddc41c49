"""The OpenADR 2.0b VTN as adapter and actuator: carries outcomes of the pure parts into store, hub and wire.

Every outcome is made durable before its reply leaves, and only then taken into memory; messages and dispatches of one
VEN are handled one after the other.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter, defaultdict
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from types import MappingProxyType

from lxml import etree

from adapters import xml
from adapters.errors import TransportFault
from adapters.openadr2 import codec, events, lenient, opts, polling, reports, rules
from adapters.openadr2.bridge import Bridge
from adapters.openadr2.config import Config, Profile
from adapters.openadr2.dsig import Seal
from adapters.openadr2.limits import Limits
from adapters.openadr2.model import Payload
from adapters.openadr2.push import Courier, Letter, pinning_context, service_url
from adapters.openadr2.records import Delivery, Event, GreenButtonFeed, OfferedReport, Opt, RequestedReport, Ven
from adapters.openadr2.registration import Caller
from adapters.openadr2.server import Exchange, Listener
from adapters.openadr2.session import ADAPTER, Outcome, Session
from adapters.openadr2.signing import Signing
from adapters.openadr2.tables import qualified
from adapters.ports import AdapterStatus, Direction, Ports, Received
from adapters.tls import TlsProfile, server_context
from adapters.waiting import happens
from datamodels import Dispatch, DispatchStatus, DispatchUpdate, Problem, Resource, Severity

__all__ = ["OpenAdr2Adapter"]

logger = logging.getLogger(__name__)

_VERSION = qualified("ei:schemaVersion")
_POLL = qualified("oadr:oadrPoll")
_VEN_NAME = qualified("oadr:oadrVenName")
_CLOCK_MARK = datetime(2020, 1, 1, tzinfo=UTC)
_LONGEST_NAP_S = 0.25
_LAST_NEWS_S = 3.0
_LIMITS = xml.Limits(size=8 * 1024 * 1024)


class OpenAdr2Adapter:
    """A VTN for VENs that poll, and for VENs that are pushed to."""

    name = ADAPTER

    def __init__(self, config: Config, ports: Ports) -> None:
        self._config = config
        self._ports = ports
        self._session = Session(config, ports.clock, ports.resources, ports.programmes)
        self._locks: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._idle: dict[str, bytes] = {}
        self._marks: dict[str, tuple[float, datetime]] = {}
        self._seen: dict[str, datetime] = {}
        self._deviations: Counter[str] = Counter()
        self._profiles = {v.ven_name: v.profile for v in config.vens}
        self._news: asyncio.Queue[DispatchUpdate] = asyncio.Queue()
        self._next_tick: dict[str, datetime] = {}
        self._wake = asyncio.Event()
        self._listener: Listener | None = None
        self._bridge = Bridge(self._session, ports.programmes, self._wake_courier)
        self._courier = Courier(self, self._session.patience.total_seconds())
        self._tasks: list[asyncio.Task[None]] = []

    # --- adapter ---------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Load state, compile the schema, listen.

        Raises:
            OSError, ssl.SSLError: a file of a key or certificate is missing or wrong, or the address is taken.
            ValueError: the signing key is not one of the profile, or not that of its certificate.
        """
        self._load()
        context = None
        if self._config.insecure:
            logger.warning("openadr2: %s serves plain HTTP, the venID is the only identity", self._config.listen)
        else:
            context = server_context(*self._config.tls_files, TlsProfile.OPENADR2)
        # Without TLS everybody has the same address.
        rate = 0 if self._config.insecure else self._config.requests_per_s
        limits = Limits(self._config.connections, self._config.connections_per_address, rate)
        prefix = self._config.path_prefix
        self._listener = Listener(prefix, context, self._admit, self._answer, self._refused, limits)
        await self._listener.start(*self._config.address)
        self._courier.start(None if self._config.insecure else pinning_context(*self._config.tls_files))
        await self._settle(self._bridge.start())
        self._recall()
        self._tasks = [
            asyncio.create_task(self._follow_clock(), name="openadr2 event clock"),
            asyncio.create_task(self._tell(), name="openadr2 news"),
        ]

    def _load(self) -> None:
        codec.schema()
        self._session.load(self._ports.state)
        self._signing = Signing(self._config, self._ports.state)

    async def stop(self) -> None:
        if self._listener is not None:
            await self._listener.stop()
            self._listener = None
        await self._courier.stop()
        if self._tasks:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._news.join(), _LAST_NEWS_S)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks = []

    def status(self) -> AdapterStatus:
        listening = self._listener.addresses if self._listener is not None else ()
        broken = tuple(
            Problem("oadr.task", t.get_name(), repr(t.exception()), hint="see the log; restart the adapter")
            for t in (*self._tasks, *self._courier.tasks)
            if t.done() and not t.cancelled()
        )
        return AdapterStatus(
            ready=bool(listening) and not broken,
            listening=listening,
            problems=broken,
            peers={ven.name: self._describe(ven) for ven in self._session.vens.values()},
        )

    def _describe(self, ven: Ven) -> str:
        if not ven.registration_id:
            return "not registered"
        text = f"registered as {ven.ven_id}"
        if ven.name in self._seen:
            text += f", last seen {self._seen[ven.name]:%Y-%m-%d %H:%M:%S}Z"
        if count := self._deviations[ven.name]:
            text += f", {count} deviations"
        if failure := self._courier.failing.get(ven.name):
            text += f", push fails: {failure}"
        return text

    # --- actuator --------------------------------------------------------------------------------------------------

    async def apply(self, resource: Resource, dispatch: Dispatch) -> None:
        """Create or modify the event of a dispatch; durable when this returns, delivered at the VEN's next poll.

        Raises:
            Rejection: the resource is not bound to a VEN known here.
        """
        name = resource.binding.address.partition("/")[0] if resource.binding is not None else ""
        async with self._locks[name]:
            outcome = events.publish(self._session, resource, dispatch)
            for problem in outcome.problems:
                logger.warning("openadr2: dispatch %r: %s", dispatch.id, problem)
            await self._settle(outcome)

    async def withdraw(self, dispatch: str) -> None:
        """Cancel the event of a dispatch; unknown or finished ones are left alone."""
        event = self._session.events.get(dispatch)
        if event is None:
            return
        async with self._locks[event.ven]:
            await self._settle(events.withdraw(self._session, dispatch))

    async def request_reregistration(self, ven_name: str) -> None:
        """Have a VEN register anew at its next poll (KeyError: no such VEN)."""
        await self._set_pending(ven_name, "reregister")

    async def cancel_registration(self, ven_name: str) -> None:
        """Cancel a VEN's registration at its next poll; it ends when the VEN confirms (KeyError: no such VEN)."""
        await self._set_pending(ven_name, "cancel")

    async def _set_pending(self, ven_name: str, what: str) -> None:
        async with self._locks[ven_name]:
            ven = self._session.vens[ven_name]
            if ven.registration_id:
                await self._settle(Outcome(keep=(replace(ven, pending=what),)))

    async def request_metadata(self, ven_name: str) -> None:
        """Have a VEN tell anew what reports it offers (KeyError: no such VEN)."""
        async with self._locks[ven_name]:
            await self._settle(Outcome(keep=(reports.request_metadata(self._session, self._session.vens[ven_name]),)))

    async def request_report(
        self,
        ven_name: str,
        specifier: str,
        *,
        once: bool = False,
        since: datetime | None = None,
        until: datetime | None = None,
    ) -> str:
        """Ask a VEN for a report that it offers (`offers`); the reportRequestID. Market time; else `reports.request`.

        Raises:
            KeyError: no such VEN.
            Rejection: the VEN offers no such report.
        """
        to_wall = self._ports.clock.to_wall
        span = {"since": since and to_wall(since), "until": until and to_wall(until)}
        async with self._locks[ven_name]:
            ven = self._session.vens[ven_name]
            asked = reports.request(self._session, ven, specifier, once=once, **span)
            await self._settle(Outcome(keep=(asked,)))
        return asked.id

    async def cancel_report(self, request: str, *, one_more: bool = False) -> None:
        """End a report that was asked for; with `one_more` the VEN sends a last one (KeyError: no such request)."""
        ven = self._session.requests[request].ven
        async with self._locks[ven]:
            asked = self._session.requests[request]
            await self._settle(Outcome(keep=(reports.cancel(asked, one_more=one_more),)))

    @property
    def offers(self) -> Mapping[str, OfferedReport]:
        """What VENs offer to report, by `<ven_name>/<reportSpecifierID>`."""
        return MappingProxyType(self._session.offers)

    @property
    def requests(self) -> Mapping[str, RequestedReport]:
        """Reports that were asked for and have not ended, by reportRequestID."""
        return MappingProxyType(self._session.requests)

    @property
    def green_button(self) -> Mapping[str, GreenButtonFeed]:
        """The last Green Button feeds, as they came, by `<ven_name>/<reportRequestID>/<rID>`."""
        return MappingProxyType(self._session.green_button)

    @property
    def opts(self) -> Mapping[str, Opt]:
        """Opts in force, by `<ven_name>/<optID>`."""
        return MappingProxyType(self._session.opts)

    # --- messages --------------------------------------------------------------------------------------------------

    def _admit(self, shown: str) -> bool:
        return self._config.allow_registration or self._by_certificate(shown) is not None

    def _refused(self, peer: str, fault: TransportFault) -> None:
        self._ports.inbound.refused(ADAPTER, peer, fault.rule, fault.message)

    def _by_certificate(self, shown: str) -> Ven | None:
        return self._session.vens.get(self._session.by_fingerprint.get(shown, ""))

    async def _answer(self, exchange: Exchange) -> bytes:
        peer = exchange.fingerprint
        try:
            root = codec.read_tree(exchange.body, _LIMITS)
            caller = self._caller(exchange, root)
            peer = caller.ven.name if caller.ven is not None else peer
            seal = self._opened(caller, root)
            if isinstance(seal, Seal) and not exchange.fingerprint:
                caller = Caller(self._by_certificate(seal.fingerprint), seal.fingerprint)
            self._mend(caller, root)
            codec.check_schema(root)
        except TransportFault as fault:
            self._refused(peer, fault)
            raise
        payload = codec.payload_element(root)
        kind = codec.kind_of(payload)
        self._ports.trace(ADAPTER, peer, Direction.IN, kind, exchange.body)
        name = caller.ven.name if caller.ven is not None else ""
        outcome = None
        async with self._locks[name]:
            # Look again: a message before this one may have changed the record while we waited.
            caller = Caller(self._session.vens.get(name), caller.fingerprint)
            if name:
                await self._follow_setting(name)
            problem = await self._signing.admit(seal) if isinstance(seal, Seal) else seal
            if problem is not None:
                outcome = self._unsealed(peer, payload, problem)
                assert outcome.reply is not None
                body, kind = _encoded(outcome.reply)
            elif exchange.endpoint == "OadrPoll" and self._may_poll(caller.ven, payload):
                assert caller.ven is not None
                body, kind = self._poll(caller.ven)
            else:
                outcome = rules.handle(self._session, caller, exchange.endpoint, payload)
                await self._settle(outcome, peer, kind, exchange.body)
                assert outcome.reply is not None
                body, kind = _encoded(outcome.reply)
        if outcome is not None:
            await self._report(peer, outcome)
        if name:
            self._seen[name] = datetime.now(UTC)
            self._courier.heard(name)
        body = self._signing.signed(body, self._named(caller, payload))
        self._ports.trace(ADAPTER, peer, Direction.OUT, kind, body)
        return body

    def _opened(self, caller: Caller, root: etree._Element) -> Seal | Problem | None:
        """The seal of a message, None where it needs none, or what is wrong with it."""
        if not self._signing.concerns(root):
            return None
        trusted = {caller.fingerprint} if caller.fingerprint else self._session.by_fingerprint
        named = self._named(caller, root[-1][0]) if len(root) and len(root[-1]) else ""
        return self._signing.opened(root, named, trusted)

    def _unsealed(self, peer: str, payload: etree._Element, problem: Problem) -> Outcome:
        """The refusal of a signature, in the form the configuration chooses."""
        if self._config.signature_refusal_status == 200:
            return rules.refuse(self._session, payload, problem)
        fault = TransportFault(403, problem.rule, problem.message)
        self._refused(peer, fault)
        raise fault

    @staticmethod
    def _named(caller: Caller, payload: etree._Element) -> str:
        """The name of the VEN that sends, or that a stranger gives itself."""
        return caller.ven.name if caller.ven is not None else payload.findtext(_VEN_NAME) or ""

    async def _report(self, peer: str, outcome: Outcome) -> None:
        """Hand on what needs no lock, still before the reply leaves."""
        for problem in outcome.problems:
            if problem.severity is Severity.ERROR:
                self._ports.inbound.refused(ADAPTER, peer, problem.rule, f"{problem.where}: {problem.message}")
            else:
                logger.info("openadr2: from VEN %r: %s", peer, problem)
        if outcome.telemetry:
            await self._ports.inbound.telemetry(outcome.telemetry)

    def _caller(self, exchange: Exchange, root: etree._Element) -> Caller:
        """Who is asking: the holder of the certificate, or (plain HTTP only) whom the venID names."""
        if exchange.fingerprint:
            return Caller(self._by_certificate(exchange.fingerprint), exchange.fingerprint)
        ven_id = codec.ven_id_of(root[-1][0]) if len(root) and len(root[-1]) else None
        return Caller(self._session.vens.get(self._session.by_ven_id.get(ven_id or "", "")))

    def _mend(self, caller: Caller, root: etree._Element) -> None:
        """Apply the lenient profile where the VEN has it."""
        if not len(root) or not len(root[-1]):
            return
        payload = root[-1][0]
        name = self._named(caller, payload)
        if self._profiles.get(name) is not Profile.LENIENT:
            return
        for deviation in lenient.normalise(payload):
            logger.info("openadr2: VEN %r deviates in %s: %s", name, codec.kind_of(payload), deviation)
            self._deviations[name] += 1

    @staticmethod
    def _may_poll(ven: Ven | None, payload: etree._Element) -> bool:
        """Whether the short way of a poll may be taken; any doubt is left to the full checks."""
        return (
            payload.tag == _POLL
            and ven is not None
            and bool(ven.registration_id)
            and codec.ven_id_of(payload) == ven.ven_id
            and payload.get(_VERSION) in (None, "2.0b")
        )

    def _poll(self, ven: Ven) -> tuple[bytes, str]:
        """The short way: no wire object is built where nothing waits."""
        waiting = polling.waiting(self._session, ven)
        if waiting is not None:
            return _encoded(waiting)
        if ven.ven_id not in self._idle:
            self._idle[ven.ven_id], _ = _encoded(polling.nothing(ven))
        return self._idle[ven.ven_id], "oadrResponse"

    async def _follow_setting(self, ven: str) -> None:
        """Translate a VEN's events anew where the clock has been set since it last asked."""
        mark = (self._ports.clock.rate, self._ports.clock.to_wall(_CLOCK_MARK))
        if self._marks.get(ven) != mark:
            await self._settle(events.retranslate(self._session, ven))
            self._marks[ven] = mark

    async def _settle(self, outcome: Outcome, peer: str = "", kind: str = "", raw: bytes = b"") -> None:
        """Make an outcome durable, then take it over, then queue its news. Called under the VEN's lock."""
        changes = outcome.changes
        await self._bridge.write(outcome.edits)
        if outcome.audit:
            await self._ports.inbound.receive(Received(ADAPTER, peer, kind, raw), changes)
        elif changes:
            await self._ports.state.commit(*changes)
        self._session.absorb(outcome)
        for update in outcome.updates:
            self._news.put_nowait(update)
        for record in outcome.keep:
            name = self._session.ven_of(record)
            if isinstance(record, Ven):
                self._bridge.follow(name)
            self._wake_courier(name)
            if isinstance(record, Event | Delivery | Opt):
                self._tick_soon(name)
        for record in outcome.drop:
            if isinstance(record, Opt):
                self._tick_soon(record.ven)

    def _wake_courier(self, ven: str) -> None:
        if self._session.vens[ven].push_address:
            self._courier.wake(ven)

    def _tick_soon(self, ven: str) -> None:
        self._next_tick[ven] = self._ports.clock.now()
        self._wake.set()

    # --- push ------------------------------------------------------------------------------------------------------

    async def next_letter(self, ven: str) -> Letter | None:
        """What a VEN in push mode is to be told now (`push.Depot`)."""
        async with self._locks[ven]:
            record = self._session.vens[ven]
            if not record.push_address or not record.registration_id:
                return None
            await self._follow_setting(ven)
            payload = polling.waiting(self._session, record)
        if payload is None:
            return None
        body, kind = _encoded(payload)
        body = self._signing.signed(body, ven)
        self._ports.trace(ADAPTER, ven, Direction.OUT, kind, body)
        url = service_url(record.push_address, rules.PUSHED[type(payload)])
        return Letter(url, body, "" if self._config.insecure else record.fingerprint)

    async def replied(self, ven: str, body: bytes) -> None:
        """Take a VEN's reply to what was pushed, as if it had sent it on its own."""
        root = codec.read_tree(body, _LIMITS)
        caller = Caller(self._session.vens[ven], self._session.vens[ven].fingerprint)
        seal = self._opened(caller, root)
        self._mend(caller, root)
        codec.check_schema(root)
        payload = codec.payload_element(root)
        kind = codec.kind_of(payload)
        self._ports.trace(ADAPTER, ven, Direction.IN, kind, body)
        async with self._locks[ven]:
            problem = await self._signing.admit(seal) if isinstance(seal, Seal) else seal
            if problem is not None:
                raise TransportFault(403, problem.rule, problem.message)
            outcome = rules.hear(self._session, self._session.vens[ven], payload)
            await self._settle(outcome, ven, kind, body)
        await self._report(ven, outcome)

    def undelivered(self, ven: str) -> None:
        self._session.unsend(ven)

    # --- in the background -----------------------------------------------------------------------------------------

    def _recall(self) -> None:
        """Tell again what may not have been told before the process ended; the hub knows repeats by their status."""
        for delivery in self._session.deliveries.values():
            event = self._session.events.get(delivery.event)
            if event is None:
                continue
            self._next_tick[event.ven] = self._ports.clock.now()
            if delivery.told is not DispatchStatus.NEW:
                now = self._ports.clock.now()
                self._news.put_nowait(DispatchUpdate(event.id, delivery.revision, delivery.told, now, "told again"))
        for name in self._session.ven_opts:
            self._next_tick[name] = self._ports.clock.now()
        for name in self._session.vens:
            self._wake_courier(name)

    async def _tell(self) -> None:
        """Hand news of dispatches to the hub, in order. A task of its own: the hub may answer with `apply`."""
        while True:
            await self._ports.inbound.dispatch_update(await self._news.get())
            self._news.task_done()

    async def _follow_clock(self) -> None:
        while True:
            self._wake.clear()
            now = self._ports.clock.now()
            for ven in [v for v, due in self._next_tick.items() if due <= now]:
                async with self._locks[ven]:
                    del self._next_tick[ven]
                    await self._settle(events.tick(self._session, ven))
                    await self._tell_availability(ven)
                    changes = (events.next_change(self._session, ven), opts.next_change(self._session, ven))
                    if known := [change for change in changes if change is not None]:
                        self._next_tick.setdefault(ven, min(known))
            # Short naps: another process may set the clock, and nothing would wake us.
            nap = _LONGEST_NAP_S
            if self._next_tick:
                wait = (min(self._next_tick.values()) - self._ports.clock.now()).total_seconds()
                nap = min(nap, wait / self._ports.clock.rate)
            await happens(self._wake, max(nap, 0.005))

    async def _tell_availability(self, ven: str) -> None:
        samples = opts.availability(self._session, ven)
        if samples:
            await self._ports.inbound.telemetry(samples)
            told = self._session.overridden.setdefault(ven, {})
            told.update((s.resource, bool(s.value)) for s in samples)
        if ended := opts.over(self._session, ven):
            await self._settle(Outcome(drop=tuple(ended)))


def _encoded(payload: Payload) -> tuple[bytes, str]:
    name = type(payload).__name__
    return codec.encode(payload), f"o{name[1:]}"
