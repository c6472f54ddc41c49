"""The VEN's memory of one VTN: records in tables, durable before they are believed.

Every step of an event is one message in the hub's inbox, with what it imposes, and one transaction with its record; so
is every boundary that an event passes. Their ids say which step it was, so that none happens twice.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any

from adapters.openadr2.ven import engine, events
from adapters.openadr2.ven.config import VtnConfig
from adapters.openadr2.ven.engine import Mark
from adapters.openadr2.ven.events import Step
from adapters.openadr2.ven.records import Job, Known, Opt, Record, Registration, change, drop, load
from adapters.openadr2.ven.signals import Site
from adapters.ports import Change, Meaning, Ports, ReceiptStatus, Received
from datamodels import GridSignal, TargetKind

__all__ = ["ADAPTER", "Book", "new_id"]

ADAPTER = "openadr2"
_KEPT = timedelta(days=31)


def new_id() -> str:
    return secrets.token_hex(12)


class Book:
    """Tables of one peer: `registration`, `events`, `jobs` and `opts` by their ids."""

    def __init__(self, config: VtnConfig, ports: Ports) -> None:
        self.config = config
        self.ports = ports
        self.registration = Registration(config.peer)
        self.events: dict[str, Known] = {}
        self.jobs: dict[str, Job] = {}
        self.opts: dict[str, Opt] = {}

    def load(self) -> None:
        peer, state = self.config.peer, self.ports.state
        self.registration = load(state, Registration, peer).get(peer, self.registration)
        self.events = load(state, Known, peer)
        self.jobs = load(state, Job, peer)
        self.opts = load(state, Opt, peer)

    @property
    def now(self) -> datetime:
        """Wall time, in which VTNs live."""
        return self.ports.clock.to_wall(self.ports.clock.now())

    @property
    def site(self) -> Site:
        ports = self.ports
        currency = ports.terms.calendar.currency
        return Site.of(self.config, self.registration.ven_id, ports.resources, currency, ports.clock)

    def live(self) -> list[Known]:
        """Events that have or will have an effect."""
        now = self.now
        return [k for k in self.events.values() if k.code == 200 and k.ends is None and not engine.over(k, now)]

    # --- what we can follow ---

    def follows(self, signal: GridSignal) -> bool:
        """Whether our side acts on a signal, and none of our opt-out schedules speaks against it."""
        return self.ports.follows(signal) and not any(self._against(opt, signal) for opt in self.opts.values())

    def _against(self, opt: Opt, signal: GridSignal) -> bool:
        said = opt.message
        if opt.ended or said.opt_type != "optOut" or said.qualified_event_id is not None:
            return False
        named = {t.id for t in signal.targets if t.kind is TargetKind.RESOURCE}
        resources = self.site.resources
        about = {resources[r].id for r in said.target.resource_id if r in resources}
        if about and not about & named:
            return False
        clock = self.ports.clock
        for available in said.availability or ():
            begin = available.properties.dtstart
            span = available.properties.duration.after(begin)
            first, last = clock.from_wall(begin), clock.from_wall(begin + span) if span else None
            for held in signal.intervals:
                over = held.start + held.duration if held.duration else None
                if (last is None or held.start < last) and (over is None or over > first):
                    return True
        return False

    # --- writing ---

    async def put(self, *records: Record) -> None:
        await self.ports.state.commit(*map(change, records))
        self._absorb(records)

    async def drop(self, *records: Record) -> None:
        if records:
            await self.ports.state.commit(*map(drop, records))
        for record in records:
            table = self._table(record)
            table.pop(_own_key(record), None)

    async def take(self, step: Step, *also: Record) -> None:
        """Make a step of an event durable, with what it imposes."""
        known = step.known
        before = self.events.get(known.id)
        if before is not None and before.revision == known.revision:
            await self.put(known, *also)
            return
        for problem in step.problems:
            self.refused(problem.rule, f"event {known.id!r}: {problem.where}: {problem.message}")
        meant = Meaning(signals=step.signals, losses=step.losses)
        await self._receive(step.kind, known.raw, f"{known.id}/{known.revision}", known.id, meant, (known, *also))

    async def tell(self, known: Known, marks: Sequence[Mark]) -> None:
        """Tell the boundaries that an event has passed, each with the record that says it was told."""
        for mark in marks:
            name = "/".join(filter(None, (mark.name, mark.signal, mark.uid)))
            value = "" if mark.value is None else f" {mark.value!r}"
            text = f"{known.id} modification {known.modification}: {name}{value} at {mark.at:%Y-%m-%dT%H:%M:%SZ}"
            after = engine.told(known, mark, marks)
            about = f"{known.id}/{known.revision}/{name}"
            await self._receive(f"event.{mark.name}", text.encode(), about, known.id, Meaning(), (after,))

    async def forget(self) -> None:
        """Drop events that have been over for a month."""
        limit = self.now - _KEPT
        await self.drop(*(k for k in self.events.values() if k.code != 200 or engine.over(k, limit) if k.since < limit))

    async def end(self) -> None:
        """The registration is over: its events end at once, its reports and opts are dropped."""
        gone = self.registration
        await self.put(Registration(gone.peer, vtn_id=gone.vtn_id, ended=True))
        for known in self.live():
            await self.take(events.canceled(known, self.site, self.now))
        await self.drop(*self.jobs.values(), *self.opts.values())

    async def _receive(
        self, kind: str, raw: bytes, about: str, event: str, meant: Meaning, records: Sequence[Record]
    ) -> None:
        changes: list[Change] = [change(record) for record in records]
        received = Received(ADAPTER, self.config.peer, kind, raw, about, event, meant)
        receipt = await self.ports.inbound.receive(received, changes)
        if receipt.status is not ReceiptStatus.NEW:
            await self.ports.state.commit(*changes)
        self._absorb(records)

    def refused(self, rule: str, detail: str) -> None:
        self.ports.inbound.refused(ADAPTER, self.config.peer, rule, detail)

    def _absorb(self, records: Iterable[Record]) -> None:
        for record in records:
            if isinstance(record, Registration):
                self.registration = record
            else:
                self._table(record)[_own_key(record)] = record

    def _table(self, record: Record) -> dict[str, Any]:
        tables: dict[str, dict[str, Any]] = {Known.kind: self.events, Job.kind: self.jobs, Opt.kind: self.opts}
        return tables[record.kind]


def _own_key(record: Record) -> str:
    return record.key.removeprefix(f"{record.peer}/")
