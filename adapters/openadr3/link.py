"""One VTN followed: looked at again and again, its events made durable, its reports sent.

Everything that must survive is in documents: records of events, and what was metered. What is due follows from them
at each look, so a kill at any point costs at most a report sent twice, which is looked for first.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from adapters.openadr3 import session
from adapters.openadr3.client import Client, VtnError
from adapters.openadr3.config import VtnConfig
from adapters.openadr3.model import Event, Program, Report, Resource, ResourceGroup, Ven
from adapters.openadr3.owed import Measured, due
from adapters.openadr3.records import Record, Take, View, created, message_id, over
from adapters.openadr3.session import Judged
from adapters.ports import Change, Direction, Meaning, Ports, ReceiptStatus, Received
from adapters.waiting import happens
from datamodels import Problem

__all__ = ["ADAPTER", "EVENT", "METERING", "Link"]

ADAPTER = "openadr3"
EVENT, METERING = "event", "metering"
_LONGEST_PAUSE_S = 600.0
_LOST_FACTOR = 2.0
_KEPT = timedelta(days=31)

log = logging.getLogger(__name__)


class Link:
    """A VEN's end. `problems` says what the VTN shows that it should not; `state` is for people."""

    def __init__(self, config: VtnConfig, ports: Ports) -> None:
        self.config = config
        self.problems: tuple[Problem, ...] = ()
        self.records: dict[str, Record] = {}
        self._metered: dict[str, Mapping[str, Any]] = {}
        self._ports = ports
        self._client = Client(config, self._seen)
        self._refused: set[tuple[str, str, str]] = set()
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._points: dict[str, str | None] = {}
        self._reached: datetime | None = None
        self._trouble = "not asked yet"

    async def start(self) -> None:
        prefix = f"{self.config.peer}/"
        events, metered = self._ports.state.load(EVENT), self._ports.state.load(METERING)
        self.records = {k.removeprefix(prefix): Record.of(v) for k, v in events.items() if k.startswith(prefix)}
        self._metered = {k.removeprefix(prefix): v for k, v in metered.items() if k.startswith(prefix)}
        await self._client.start()
        self._task = asyncio.create_task(self._follow(), name=f"openadr3 {self.config.peer}")

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None
        await self._client.stop()

    @property
    def running(self) -> bool:
        return self._task is not None and not self._task.done()

    @property
    def state(self) -> str:
        seen = f"{self._reached:%Y-%m-%d %H:%M:%S}Z" if self._reached else "never"
        owed = sum(r.kind == "flex" and not r.gone and not (r.acked and r.reported) for r in self.records.values())
        text = f"last seen {seen}, {len(self.records)} events" + (f", {owed} owed reports" if owed else "")
        return f"{self._trouble}; {text}" if self._trouble else text

    def wake(self) -> None:
        """Something is due before the next look."""
        self._wake.set()

    def group_at(self, congestion_point: str) -> str | None:
        """The one group of ours at a congestion point, as last seen."""
        names = [name for name, address in self._points.items() if address == congestion_point]
        return names[0] if len(names) == 1 else None

    # --- metering ---

    async def meter(self, ean: str, day: str, steps: Mapping[str, Any]) -> None:
        """Keep a connection's day (`start`, `isp_s`, `power_w`); durable when this returns."""
        key = f"{ean}/{day}"
        await self._ports.state.commit(Change(METERING, f"{self.config.peer}/{key}", steps))
        self._metered[key] = steps
        self.wake()

    def _measured(self) -> Measured:
        out: dict[str, list[tuple[datetime, timedelta, float]]] = {}
        for key, steps in self._metered.items():
            start, length = datetime.fromisoformat(steps["start"]), timedelta(seconds=steps["isp_s"])
            series = out.setdefault(key.partition("/")[0], [])
            series += [(start + n * length, length, float(watts)) for n, watts in enumerate(steps["power_w"])]
        return out

    # --- reports ---

    async def send(self, report: Report) -> None:
        """Post a report unless the VTN has it (VtnError where it is not taken)."""
        there = await self._client.all(Report, "reports", eventID=report.event_id)
        ours = (report.client_name, report.report_name)
        if all((known.client_name, known.report_name) != ours for known, _ in there):
            await self._client.create("reports", report)

    # --- looking ---

    async def _follow(self) -> None:
        pause = self.config.poll_s
        while True:
            self._wake.clear()
            try:
                await self.look()
                pause, self._trouble = self.config.poll_s, ""
            except VtnError as error:
                pause = min(max(pause, self.config.poll_s) * _LOST_FACTOR, max(_LONGEST_PAUSE_S, self.config.poll_s))
                if str(error) != self._trouble:
                    log.warning("openadr3: %s: %s", self.config.peer, error)
                self._trouble = str(error)
            except Exception:  # a bug must not end the following: it is shown, and the same look is due again
                log.exception("openadr3: looking at %s failed", self.config.peer)
                self._trouble = "failed, see the log"
            jitter = 1 + random.random() / 10  # noqa: S311 - spreads load only
            await happens(self._wake, pause * jitter)

    async def look(self) -> None:
        """Look once, take what is new, end what is gone, send what is due (VtnError where the VTN cannot be had)."""
        view = await self._view()
        now = self._ports.clock.now()
        judged = session.judge(self.config, view, self.records, self._ports.terms, self._ports.resources, now)
        self._reached = datetime.now(UTC)
        self.problems = (*self._client.problems, *judged.problems)
        self._points = session.points(self.config, self._ports.terms, view)
        self._tell_refused(judged)
        for take in judged.take:
            await self._take(take)
        for id in judged.gone:
            await self._withdraw(id)
        await self._send_due()
        await self._forget(now)

    async def _view(self) -> View:
        self._client.problems, self._client.unread = [], set()
        programs = [program for program, _ in await self._client.all(Program, "programs")]
        vens = await self._client.all(Ven, "vens", venName=self.config.ven_name)
        ven = next((ven for ven, _ in vens if ven.ven_name == self.config.ven_name), None)
        resources: list[Resource] = []
        groups: list[ResourceGroup] = []
        if ven is not None and ven.resources is not None:
            resources = list(ven.resources)
        elif ven is not None and ven.id is not None and self.config.is_new:
            resources = [resource for resource, _ in await self._client.all(Resource, "resources", venID=ven.id)]
        if self.config.is_new:
            groups = await self._groups()
        events = await self._client.all(Event, "events")
        return View(ven, programs, resources, groups, events, frozenset(self._client.unread))

    async def _groups(self) -> list[ResourceGroup]:
        """Groups of the 3.2 draft; a VTN without them has none."""
        try:
            return [group for group, _ in await self._client.all(ResourceGroup, "resource_groups")]
        except VtnError as error:
            if error.code in (404, 405, 501):
                return []
            raise

    def _tell_refused(self, judged: Judged) -> None:
        """Say once what is wrong with an event, and again where that changes."""
        now: set[tuple[str, str, str]] = set()
        for event, problems in judged.refused:
            key = (event.id or "", event.modification_date_time or "", "; ".join(map(str, problems)))
            now.add(key)
            if key not in self._refused:
                self._ports.inbound.refused(ADAPTER, self.config.peer, problems[0].rule, f"event {key[0]}: {key[2]}")
        self._refused = now

    async def _take(self, take: Take) -> None:
        assert take.event.id is not None, "judged events have one"
        raw = take.record.body.encode()
        kind = f"event.{take.record.kind}"
        await self._receive(kind, raw, take.event.id, take.record, Meaning(take.calls, take.signal, take.losses))

    async def _withdraw(self, id: str) -> None:
        record, signal = session.withdrawn(id, self.records[id], self.config.peer)
        await self._receive("event.gone", f"event {id} is shown no more".encode(), id, record, Meaning(signal=signal))

    async def _receive(self, kind: str, raw: bytes, id: str, record: Record, meaning: Meaning) -> None:
        change = self._change(id, record)
        about, content = message_id(id, record.revision), None if meaning == Meaning() else meaning
        received = Received(ADAPTER, self.config.peer, kind, raw, about, id, content)
        receipt = await self._ports.inbound.receive(received, (change,))
        if receipt.status is not ReceiptStatus.NEW:
            await self._ports.state.commit(change)
        self.records[id] = record

    async def _send_due(self) -> None:
        for owed in due(self.config, self.records, self._measured()):
            try:
                await self.send(owed.report)
            except VtnError as error:
                if not error.is_final:
                    raise
                # The VTN has refused it for good; a person must see that, and it is not tried for ever.
                self._ports.inbound.refused(ADAPTER, self.config.peer, "openadr3.report", f"event {owed.id}: {error}")
            await self._ports.state.commit(self._change(owed.id, owed.record))
            self.records[owed.id] = owed.record
            self.wake()  # an acknowledged event may be owed its delivery already

    async def _forget(self, now: datetime) -> None:
        """Drop events that are gone and long over, and metering older than that."""
        changes: list[Change] = []
        for id, record in [(id, record) for id, record in self.records.items() if record.gone]:
            if (over(record) or created(record.event)) + _KEPT < now:
                changes.append(Change(EVENT, f"{self.config.peer}/{id}", None))
                del self.records[id]
        for key in [k for k, v in self._metered.items() if datetime.fromisoformat(v["start"]) + _KEPT < now]:
            changes.append(Change(METERING, f"{self.config.peer}/{key}", None))
            del self._metered[key]
        if changes:
            await self._ports.state.commit(*changes)

    def _change(self, id: str, record: Record) -> Change:
        return Change(EVENT, f"{self.config.peer}/{id}", record.document())

    def _seen(self, direction: Direction, kind: str, body: bytes, note: str) -> None:
        self._ports.trace(ADAPTER, self.config.peer, direction, kind, body, note)
