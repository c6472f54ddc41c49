"""Dispatches to resources behind VENs of OpenADR 3: each is an event, and what becomes of it is news of the dispatch.

A VEN need not answer an event. What it reports on it counts as taken up; OPERATING_STATE with one of the *_OPTED_OUT
values, or OPT with `optOut`, as refused (there is no other word for it in 3.x). Such a word is kept as the VEN's opt,
also of events that carry no dispatch.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from adapters.dispatching import event_id, event_of_dispatch
from adapters.errors import Rejection
from adapters.openadr3.codec import loads
from adapters.ports import Change, Edit, Ports, Programmes
from datamodels import (
    Dispatch,
    DispatchStatus,
    DispatchUpdate,
    EventOpt,
    Loss,
    Opt,
    Problem,
    Programme,
    ProgrammeEvent,
    ProgrammeReport,
    Resource,
    Ven,
    VenResource,
)
from datamodels.eventclock import EventPhase, next_change, phase_of

__all__ = ["Dispatching", "opt_of", "standing"]

logger = logging.getLogger(__name__)
AUTHOR = "openadr3/dispatch"
PROGRAMME = "dispatch"
"""Name of the programme of dispatches where the resource's binding names none."""
_RECORD = "dispatch"
_LONGEST_NAP_S = 60.0
_TAKEN = {
    EventPhase.FAR: DispatchStatus.ACCEPTED,
    EventPhase.NEAR: DispatchStatus.ACCEPTED,
    EventPhase.ACTIVE: DispatchStatus.STARTED,
    EventPhase.COMPLETED: DispatchStatus.SUCCEEDED,
}


@dataclass(frozen=True, slots=True)
class _Record:
    """A dispatch that is an event; `told` is what was last said of it at that revision."""

    dispatch: str
    revision: int
    told: DispatchStatus = DispatchStatus.NEW

    def change(self) -> Change:
        return Change(_RECORD, self.dispatch, {"revision": self.revision, "told": str(self.told)})


def standing(
    event: ProgrammeEvent, opts: Iterable[EventOpt], reports: Iterable[ProgrammeReport], now: datetime
) -> tuple[DispatchStatus, str]:
    """Where the dispatch behind an event stands, and why; NEW while nothing was heard."""
    phase = phase_of(event, now)
    if phase is EventPhase.CANCELLED:
        return DispatchStatus.REVOKED, ""
    said = [opt for opt in opts if opt.answered >= event.revision]
    refused = next((opt for opt in said if opt.opt is Opt.OPT_OUT), None)
    if refused is not None:
        return DispatchStatus.REJECTED, f"{refused.opt} {refused.reason}".strip()
    if said or any(report.modified >= event.modified for report in reports):
        return _TAKEN[phase], ""
    if phase is EventPhase.COMPLETED:
        return DispatchStatus.ABORTED, "the VEN neither answered nor reported"
    return DispatchStatus.NEW, ""


def opt_of(report: ProgrammeReport) -> Opt | None:
    """The opt that a report of OpenADR 3 says; None for one that says none."""
    if not report.event or report.written is None or not report.written.form.startswith("openadr3/"):
        return None
    found = None
    for type, value in _values(loads(report.written.text.encode())):
        if type == "OPERATING_STATE" and isinstance(value, str):
            found = Opt.OPT_OUT if value.endswith("_OPTED_OUT") else found or Opt.OPT_IN
        elif type == "OPT" and value in set(Opt):
            found = Opt(value)
    return found


def _values(document: Mapping[str, Any]) -> Iterable[tuple[Any, Any]]:
    for resource in document.get("resources") or ():
        for interval in resource.get("intervals") or ():
            for payload in interval.get("payloads") or ():
                for value in payload.get("values") or ():
                    yield payload.get("type"), value


class Dispatching:
    """Carries dispatches as the `Actuator` does. The address of a resource's binding is <VEN name>/<resource name>,
    its option `programme` names the programme, which is made where there is none of that name."""

    def __init__(self, programmes: Programmes, ports: Ports) -> None:
        self._programmes = programmes
        self._ports = ports
        self._records: dict[str, _Record] = {}
        self._heard: list[ProgrammeReport] = []
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Take up what is durable, and follow it."""
        for key, value in self._ports.state.load(_RECORD).items():
            self._records[key] = _Record(key, value["revision"], DispatchStatus(value["told"]))
        self._heard = list(self._programmes.all(ProgrammeReport).values())
        self._programmes.watch(self._follow)
        self._task = asyncio.create_task(self._run(), name="openadr3 dispatches")

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    # --- Actuator ---

    async def apply(self, resource: Resource, dispatch: Dispatch) -> None:
        """Create the event of a dispatch, or say it anew (Rejection where the VEN or its resource is not known)."""
        known = self._records.get(dispatch.id)
        if known is not None and dispatch.revision <= known.revision:
            return
        ven, name, losses = self._addressed(resource)
        programme, edits = self._programme(resource)
        before = self._programmes.get(ProgrammeEvent, event_id(dispatch.id))
        event, more = event_of_dispatch(dispatch, programme, ven, name, before, self._ports.clock.now())
        if losses:
            event = replace(event, targets=event.targets[:1])
        for loss in (*losses, *more):
            logger.info("dispatch %s: %s %s: %s", dispatch.id, loss.field, loss.value, loss.why)
        record = _Record(dispatch.id, dispatch.revision)
        await self._programmes.write([*edits, Edit(before, event, AUTHOR)], [record.change()])
        self._records[dispatch.id] = record
        self._wake.set()

    async def withdraw(self, dispatch: str) -> None:
        """Cancel the event of a dispatch; one that is over, or unknown, is left alone."""
        event = self._programmes.get(ProgrammeEvent, event_id(dispatch))
        if dispatch in self._records and event is not None and not phase_of(event, self._ports.clock.now()).is_over:
            await self._programmes.write([Edit(event, replace(event, cancelled=True), AUTHOR)])

    def _addressed(self, resource: Resource) -> tuple[Ven, str, tuple[Loss, ...]]:
        address = resource.binding.address if resource.binding is not None else ""
        name, _, behind = address.partition("/")
        ven = next((v for v in self._programmes.all(Ven).values() if v.name == name), None)
        alike = [r for r in self._programmes.all(VenResource).values() if r.name == behind]
        if ven is None or not any(r.ven == ven.id for r in alike):
            hint = "the address is <VEN name>/<resource name>, both enrolled (gridparley ven add)"
            raise Rejection([Problem("openadr3.address", resource.id, f"nobody is at {address!r}", hint=hint)])
        if any(r.ven != ven.id for r in alike):
            why = "another VEN has a resource of that name and would see the event; it names the VEN only"
            return ven, behind, (Loss("target", behind, why),)
        return ven, behind, ()

    def _programme(self, resource: Resource) -> tuple[Programme, list[Edit]]:
        options = resource.binding.options if resource.binding is not None else {}
        name = options.get("programme", PROGRAMME)
        found = next((p for p in self._programmes.all(Programme).values() if p.name == name), None)
        if found is not None:
            return found, []
        made = Programme(id=event_id(f"programme {name}"), name=name)
        return made, [Edit(None, made, AUTHOR)]

    # --- what becomes of it ---

    def _follow(self, edits: Sequence[Edit]) -> None:
        self._heard += [e.after for e in edits if isinstance(e.after, ProgrammeReport)]
        if any(e.kind in (ProgrammeEvent, ProgrammeReport, EventOpt) for e in edits):
            self._wake.set()

    async def _run(self) -> None:
        while True:
            self._wake.clear()
            try:
                await self._note_opts()
                await self._tell()
            except Exception:  # one failed look must not be the last; the same is due at the next
                logger.exception("dispatches over OpenADR 3 could not be followed; tried again")
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._nap()):
                    await self._wake.wait()

    async def _note_opts(self) -> None:
        """Keep what reports say of opting as opts of their VENs."""
        heard, self._heard = self._heard, []
        for report in heard:
            opt, event = opt_of(report), self._programmes.get(ProgrammeEvent, report.event)
            ven = next((v for v in self._programmes.all(Ven).values() if v.client and v.client == report.client), None)
            if opt is None or event is None or ven is None:
                continue
            id = f"{event.id}/{ven.id}"
            before = self._programmes.get(EventOpt, id)
            if before is not None and before.modified >= report.modified:
                continue
            said = EventOpt(id=id, event=event.id, ven=ven.id, opt=opt, answered=event.revision, reason="reported")
            with contextlib.suppress(Rejection):  # the event, the VEN or a newer word overtook it
                await self._programmes.write([Edit(before, said, AUTHOR)])

    async def _tell(self) -> None:
        now = self._ports.clock.now()
        for id, record in list(self._records.items()):
            event = self._programmes.get(ProgrammeEvent, event_id(id))
            if record.told.is_final:
                continue
            status, reason = (DispatchStatus.REVOKED, "its event was removed")
            if event is not None:
                status, reason = standing(event, self._of(EventOpt, event), self._of(ProgrammeReport, event), now)
            if status in (record.told, DispatchStatus.NEW):
                continue
            await self._ports.inbound.dispatch_update(DispatchUpdate(id, record.revision, status, now, reason))
            if self._records.get(id) == record:  # else a new revision came meanwhile
                self._records[id] = replace(record, told=status)
                await self._ports.state.commit(self._records[id].change())

    def _of(self, kind: Any, event: ProgrammeEvent) -> list[Any]:
        return [each for each in self._programmes.all(kind).values() if each.event == event.id]

    def _nap(self) -> float:
        clock = self._ports.clock
        now = clock.now()
        events = (self._programmes.get(ProgrammeEvent, event_id(r.dispatch)) for r in self._open())
        changes = [change for e in events if e is not None and (change := next_change(e, now)) is not None]
        if not changes:
            return _LONGEST_NAP_S
        wall = (clock.to_wall(min(changes)) - clock.to_wall(now)).total_seconds()
        return min(max(wall, 0.01), _LONGEST_NAP_S)

    def _open(self) -> list[_Record]:
        return [record for record in self._records.values() if not record.told.is_final]
