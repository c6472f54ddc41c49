"""One VTN followed: registered with, polled or listened to, answered, reported to.

`look` brings the VTN and the book to agreement: whatever the book owes is sent, then the VTN is asked for news. It is
run again and again, after a failure later and later; so a VTN that is down, now or at the start, costs only time.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime

from adapters.openadr2 import model
from adapters.openadr2.config import Profile
from adapters.openadr2.lexical import Duration
from adapters.openadr2.model import Payload
from adapters.openadr2.ven import engine, events, opts, reports
from adapters.openadr2.ven.book import ADAPTER, Book, new_id
from adapters.openadr2.ven.client import Client, VtnError
from adapters.openadr2.ven.config import OptPolicy, VtnConfig
from adapters.openadr2.ven.push import PushServer
from adapters.openadr2.ven.records import Registration
from adapters.openadr2.ven.reporter import Reporter
from adapters.openadr2.ven.sealing import Sealing
from adapters.openadr2.ven.services import Services
from adapters.ports import Direction, Ports
from adapters.waiting import happens

__all__ = ["Link"]

_FIRST_PAUSE_S = 1.0
_LONGEST_PAUSE_S = 300.0
_PUSH_PERIOD_S = 300.0
_MOST_AT_ONCE = 100
_LONGEST_NAP_S = 0.25
_STRANGER = frozenset({452, 463})

log = logging.getLogger(__name__)


class Link:
    """A VEN's end. `state` is for people."""

    def __init__(self, config: VtnConfig, ports: Ports) -> None:
        self.config = config
        self.book = Book(config, ports)
        self.lock = asyncio.Lock()
        self._services = Services(self.book, self._deviates)
        self._sealing = Sealing(config, ports.state, self._deviates)
        self._client = Client(config, self._sealing, self._seen)
        self._reporter = Reporter(self.book, self._services, self.lock, self._say)
        self._server: PushServer | None = None
        if config.listen:
            self._server = PushServer(config, self._services, self.lock, self._sealing, self._seen)
        self._wake = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._greeted = False
        self._again = False
        self._next_poll = 0.0
        self._deviations: Counter[str] = Counter()
        self._reached: datetime | None = None
        self._trouble = ""
        self._mark: tuple[float, datetime] | None = None

    # --- life -------------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Take up what is durable, listen, begin (OSError, ssl.SSLError, ValueError: a file or address is unusable)."""
        self.book.load()
        self._sealing.start()
        await self._client.start()
        if self._server is not None:
            await self._server.start(self.wake)
        self._tasks = [
            asyncio.create_task(self._follow(), name=f"openadr2 VTN {self.config.peer}"),
            asyncio.create_task(self._keep_time(), name=f"openadr2 events of {self.config.peer}"),
        ]

    async def stop(self) -> None:
        if self._server is not None:
            await self._server.stop()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._client.stop()

    @property
    def running(self) -> bool:
        return bool(self._tasks) and not any(task.done() for task in self._tasks)

    @property
    def listening(self) -> tuple[str, ...]:
        return self._server.addresses if self._server is not None else ()

    @property
    def state(self) -> str:
        known = self.book.registration
        said = f"registered as {known.ven_id}" if known.registration_id else "not registered"
        if known.ended:
            said = "registration cancelled"
        seen = f"last seen {self._reached:%Y-%m-%d %H:%M:%S}Z" if self._reached else "never seen"
        parts = [said, seen, f"{len(self.book.live())} events", f"{len(self.book.jobs)} reports"]
        if count := self._deviations.total():
            parts.append(f"{count} deviations")
        return ", ".join([*filter(None, [self._trouble]), *parts])

    def wake(self) -> None:
        """Something is owed before the next look."""
        self._wake.set()

    # --- looking ----------------------------------------------------------------------------------------------------

    async def _follow(self) -> None:
        failures = 0
        while True:
            self._wake.clear()
            try:
                await self.look()
                failures, pause, self._trouble = 0, self._until_due(), ""
            except VtnError as error:
                pause = 0.0 if await self._strange(error) else _pause(failures)
                failures += 1
                self._tell_trouble(str(error))
            except Exception:  # a bug must not end the following: it is shown, and the same look is due again
                log.exception("openadr2: following VTN %s failed", self.config.peer)
                pause = _pause(failures)
                failures += 1
                self._trouble = "failed, see the log"
            await happens(self._wake, pause)

    def _tell_trouble(self, text: str) -> None:
        if text != self._trouble:
            log.warning("openadr2: VTN %s: %s", self.config.peer, text)
        self._trouble = text

    async def _strange(self, error: VtnError) -> bool:
        """The VTN does not know us (463): register again, once at once, then no sooner than anything else is tried."""
        if error.code != 463:
            return False
        async with self.lock:
            if self.book.registration.ended:
                return False
            await self.book.put(replace(self.book.registration, renew=True))
        first, self._again = not self._again, True
        return first

    def _until_due(self) -> float:
        """Seconds until the next poll or the next report."""
        return max(min(self._next_poll - time.monotonic(), self._reporter.next_due()), 0.01)

    async def look(self) -> None:
        """Send what is owed, then ask for news (VtnError where the VTN cannot be had)."""
        if self.book.registration.ended:
            self._next_poll = time.monotonic() + _LONGEST_PAUSE_S
            return
        if not self.book.registration.registration_id:
            await self._register()
        await self._settle()
        if not self._greeted:
            await self._greet()
        if time.monotonic() >= self._next_poll:
            if self.config.listen:
                await self._request_events()
            else:
                await self._poll()
            self._next_poll = time.monotonic() + self._period() * (1 + random.random() / 20)  # noqa: S311 - spreads load
        self._again = False
        await self.book.forget()

    def _period(self) -> float:
        if self.config.listen:
            return _PUSH_PERIOD_S
        return self.config.poll_s or self.book.registration.poll_s or 10.0

    async def _poll(self) -> None:
        """Ask until nothing more waits."""
        for _ in range(_MOST_AT_ONCE):
            found = await self._say(model.OadrPoll(self.book.registration.ven_id))
            if isinstance(found, model.OadrResponse) or found is None:
                return
            async with self.lock:
                reply = await self._services.take(found)
            if not isinstance(found, model.OadrDistributeEvent):
                await self._say(reply)
            await self._settle()
            if not self.book.registration.registration_id:
                return

    async def _say(self, payload: Payload) -> Payload | None:
        """Send a payload; its answer. Raises VtnError also where the VTN does not know us (any more)."""
        answered = await self._client.say(payload)
        self._reached = datetime.now(UTC)
        asked = isinstance(payload, model.OadrPoll)
        if isinstance(answered, model.OadrRequestReregistration) and not asked:
            raise VtnError(463, "the VTN asks us to register again")
        response = getattr(answered, "response", None)
        if isinstance(response, model.EiResponse) and response.response_code == 463:
            raise VtnError(463, f"the VTN does not know us: {response.response_description or ''}"[:200])
        return answered

    # --- registration -----------------------------------------------------------------------------------------------

    async def _register(self) -> None:
        """Query (the first time) and create; ids that the VTN does not know any more are given up (rule 404)."""
        known = self.book.registration
        if not known.registration_id:
            await self._query()
        config = self.config
        created = await self._client.say(
            model.OadrCreatePartyRegistration(
                request_id=new_id(),
                profile_name="2.0b",
                transport_name="simpleHttp",
                report_only=False,
                xml_signature=config.signed,
                registration_id=known.registration_id or None,
                ven_id=known.ven_id or None,
                transport_address=config.push_url or None,
                ven_name=config.ven_name,
                http_pull_model=not config.listen,
            )
        )
        if not isinstance(created, model.OadrCreatedPartyRegistration):
            raise VtnError(0, "oadrCreatePartyRegistration was not answered by oadrCreatedPartyRegistration")
        code = created.response.response_code
        if code != 200 or not created.ven_id or not created.registration_id:
            if code in _STRANGER and known.registration_id:
                await self.book.put(Registration(config.peer))
            text = created.response.response_description or "it gives no venID and registrationID"
            raise VtnError(0, f"registration refused: {code} {text}"[:300])
        if config.vtn_id and created.vtn_id != config.vtn_id and not self._same_letters(created.vtn_id):
            raise VtnError(0, f"the VTN calls itself {created.vtn_id!r}, not {config.vtn_id!r} (rule 21)")
        asked = created.requested_poll_freq or Duration()
        poll_s = asked.after(self.book.now).total_seconds()
        made = Registration(config.peer, created.ven_id, created.registration_id, created.vtn_id, poll_s)
        async with self.lock:
            await self.book.put(made)
        self._greeted = False

    def _same_letters(self, vtn_id: str) -> bool:
        lenient = self.config.profile is Profile.LENIENT and vtn_id.casefold() == self.config.vtn_id.casefold()
        if lenient:
            self._deviates("oadrCreatedPartyRegistration", "vtnID in other letters")
        return lenient

    async def _query(self) -> None:
        told = await self._client.say(model.OadrQueryRegistration(new_id()))
        profiles = told.profiles if isinstance(told, model.OadrCreatedPartyRegistration) else ()
        if profiles and not any(p.name == "2.0b" and "simpleHttp" in p.transports for p in profiles):
            offered = ", ".join(f"{p.name} over {'/'.join(p.transports)}" for p in profiles)
            raise VtnError(0, f"the VTN offers {offered}, not 2.0b over simpleHttp")

    async def _greet(self) -> None:
        """After registering or a restart: our reports (rule 301), then all events."""
        if self.book.registration.offered != reports.offered(self.config, self.book.site.resources):
            await self._reporter.register()
        await self._request_events()
        self._greeted, self._next_poll = True, 0.0

    async def _request_events(self) -> None:
        limit = self.config.reply_limit
        asked = model.OadrRequestEvent(new_id(), self.book.registration.ven_id, limit or None)
        found = await self._say(asked)
        if isinstance(found, model.OadrDistributeEvent):
            async with self.lock:
                await self._services.take(found, limit=limit)
        elif self.config.profile is Profile.LENIENT:
            self._deviates("oadrResponse", "in place of an empty oadrDistributeEvent")
        else:
            raise VtnError(0, "oadrRequestEvent was not answered by oadrDistributeEvent")
        await self._settle()

    async def register(self) -> None:
        """Register (again), also after a cancellation."""
        async with self.lock:
            await self.book.put(replace(self.book.registration, ended=False, renew=bool(self.book.registration.ven_id)))
        self._next_poll = 0.0
        self.wake()

    async def cancel_registration(self) -> None:
        """Leave the VTN (VtnError: it could not be told, and nothing changed)."""
        known = self.book.registration
        if not known.registration_id:
            return
        told = await self._client.say(model.OadrCancelPartyRegistration(new_id(), known.registration_id, known.ven_id))
        code = told.response.response_code if isinstance(told, _CANCELED) else 0
        if code not in (200, *_STRANGER):
            raise VtnError(code, "the VTN did not confirm that our registration is cancelled")
        async with self.lock:
            await self.book.end()

    # --- what is owed -----------------------------------------------------------------------------------------------

    async def _settle(self) -> None:
        """Send what the book owes."""
        if self.book.registration.renew:
            await self._register()
        await self._reconsider()
        await self._answer()
        await self._send_opts()
        await self._reporter.send_due()

    async def _answer(self) -> None:
        """oadrCreatedEvent for every event that wants one. An answer that the VTN cannot take is not repeated: it must
        not keep the VTN from being heard, and the VTN asks again where it cares."""
        while self._services.unsaid:
            await self._said(self._services.unsaid[0])
            self._services.unsaid.pop(0)
        owed = {k.id: k.owed for k in self.book.events.values() if k.owed}
        for message in events.answers(self.book.events.values(), self.book.registration.ven_id):
            await self._said(message)
        async with self.lock:
            answered = [k for k in self.book.events.values() if k.id in owed and k.owed == owed[k.id]]
            if answered:
                await self.book.put(*(replace(k, owed="") for k in answered))

    async def _said(self, message: model.OadrCreatedEvent) -> None:
        try:
            reply = await self._say(message)
        except VtnError as error:
            if not error.is_fault:
                raise
            self.book.refused("oadr.event.answer", str(error))
            return
        if isinstance(reply, model.OadrResponse) and reply.response.response_code != 200:
            said = reply.response
            self.book.refused("oadr.event.answer", f"{said.response_code} {said.response_description or ''}")

    async def _reconsider(self) -> None:
        """Opt out of events that our side does not follow any more, and anew for a clock that was set."""
        clock = self.book.ports.clock
        mark = (clock.rate, clock.to_wall(datetime(2020, 1, 1, tzinfo=UTC)))
        moved, self._mark = self._mark not in (None, mark), mark
        async with self.lock:
            for known in self.book.live():
                if moved and (step := events.retranslated(known, self.book.site)) is not None:
                    await self.book.take(step)
                    continue
                asks = self.config.opt is OptPolicy.AUTO and not known.said and not known.owed and known.signals
                if asks and not any(self.book.follows(signal) for signal in known.signals):
                    await self._opt(known.id, "optOut", "notParticipating")

    async def _send_opts(self) -> None:
        """oadrCreateOpt for each new opt, oadrCancelOpt for each that ended."""
        ven_id = self.book.registration.ven_id
        for opt in list(self.book.opts.values()):
            if not opt.sent and not opt.ended:
                reply = await self._say(replace(opt.message, ven_id=ven_id))
                code = reply.response.response_code if isinstance(reply, model.OadrCreatedOpt) else 0
                if code == 200:
                    async with self.lock:  # it may have been taken back meanwhile
                        await self.book.put(replace(self.book.opts.get(opt.id, opt), sent=True))
                    continue
                self.book.refused("oadr.opt", f"opt {opt.id}: the VTN refused it with {code}")
                await self.book.drop(opt)
            elif opt.ended:
                if opt.sent:
                    await self._say(model.OadrCancelOpt(new_id(), opt.id, ven_id))
                await self.book.drop(opt)

    # --- our own word -----------------------------------------------------------------------------------------------

    async def opt(self, event_id: str, opt_type: str, reason: str) -> str:
        """Opt in to or out of a live event (KeyError: there is none); the optID, durable when this returns."""
        async with self.lock:
            if all(known.id != event_id for known in self.book.live()):
                raise KeyError(event_id)
            opt_id = await self._opt(event_id, opt_type, reason)
        self.wake()
        return opt_id

    async def opt_signal(self, signal: str, opt: str, reason: str) -> bool:
        """Opt in to or out of the live event that imposes a signal; False where none does."""
        known = next((known for known in self.book.live() if any(s.id == signal for s in known.signals)), None)
        if known is None:
            return False
        await self.opt(known.id, opt, reason)
        return True

    async def _opt(self, event_id: str, opt_type: str, reason: str) -> str:
        known = self.book.events[event_id]
        step = events.changed_opt(known, opt_type, self.book.site, self.book.now)
        made = opts.about_event(self.book.registration, step.known, reason, new_id(), self.book.now)
        await self.book.take(step, made)
        return made.id

    async def schedule(self, wanted: opts.Wanted) -> str:
        """Say when resources are (not) available; the optID, durable when this returns."""
        made = opts.schedule(self.book.registration, wanted, new_id(), self.book.now)
        async with self.lock:
            await self.book.put(made)
        self.wake()
        return made.id

    async def cancel_opt(self, opt_id: str) -> None:
        """Take an opt back (KeyError: there is none)."""
        async with self.lock:
            await self.book.put(replace(self.book.opts[opt_id], ended=True))
        self.wake()

    # --- the event clock --------------------------------------------------------------------------------------------

    async def _keep_time(self) -> None:
        """Tell the boundaries of events as they pass."""
        while True:
            wait = _LONGEST_NAP_S
            try:
                nexts = await self._tell_due()
                wait = min(((mark - self.book.now).total_seconds() for mark in nexts), default=wait)
            except Exception:  # what could not be stored is due again
                log.exception("openadr2: boundaries of events of %s could not be told", self.config.peer)
            # Short naps: the clock may be set, and events come meanwhile.
            await asyncio.sleep(min(max(wait, 0.005), _LONGEST_NAP_S))

    async def _tell_due(self) -> list[datetime]:
        """Tell what is due; when more will be."""
        nexts = []
        for known in list(self.book.events.values()):
            if (mark := engine.next_mark(known)) is None:
                continue
            if mark <= self.book.now:
                async with self.lock:
                    current = self.book.events.get(known.id, known)
                    await self.book.tell(current, engine.due(current, self.book.now))
            else:
                nexts.append(mark)
        return nexts

    # --- what is seen -----------------------------------------------------------------------------------------------

    def _seen(self, direction: Direction, kind: str, body: bytes) -> None:
        self.book.ports.trace(ADAPTER, self.config.peer, direction, kind, body)

    def _deviates(self, kind: str, what: str) -> None:
        log.info("openadr2: VTN %r deviates in %s: %s", self.config.peer, kind, what)
        self._deviations[what] += 1


_CANCELED = (model.OadrCanceledPartyRegistration, model.OadrResponse)


def _pause(failures: int) -> float:
    """Back-off: doubled with each failure, with jitter."""
    return min(_FIRST_PAUSE_S * 2.0**failures, _LONGEST_PAUSE_S) * (0.5 + random.random())  # noqa: S311 - spreads load
