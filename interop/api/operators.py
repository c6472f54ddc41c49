"""What operators do to the programme model, whether they say it over the API or by a form of the pages."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, TypeVar

from aiohttp import web

from adapters.errors import Rejection
from adapters.ports import Edit
from datamodels import Entry, Programme, ProgrammeEvent, Ven, VenResource
from datamodels.eventclock import phase_of
from interop.api.body import refuse
from interop.programmes.bodies import EventBody, ProgrammeBody, VenBody, event_of, programme_of, ven_of
from interop.settings import nearest

if TYPE_CHECKING:
    from interop.server import Server

__all__ = ["Operators"]

AUTHOR = "operator/api"
E = TypeVar("E", bound=Entry)
N = TypeVar("N", Programme, Ven)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_NOT_UNDERSTOOD = frozenset({"programme.reference", "programme.cycle"})
"""Whatever else the registry refuses is a conflict."""


class Operators:
    """Everything raises HTTP errors that name what is wrong: 404 unknown, 409 not in this state, 422 not understood."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._objects = server.programmes

    def programme(self, id: str) -> Programme:
        return self._find(Programme, id, "programme")

    def ven(self, id: str) -> Ven:
        return self._find(Ven, id, "VEN")

    def event(self, programme: Programme, id: str) -> ProgrammeEvent:
        found = self._objects.get(ProgrammeEvent, id)
        if found is None or found.programme != programme.id:
            raise web.HTTPNotFound(text=f"programme {programme.name} has no event {id}")
        return found

    async def create_programme(self, body: ProgrammeBody) -> tuple[Programme, bool]:
        """Make it, or change the one that has its id. And whether anything was done."""
        made, problems = programme_of(body)
        refuse(problems)
        return await self._put(self._objects.get(Programme, made.id), made)

    async def say(
        self, programme: Programme, body: EventBody, known: ProgrammeEvent | None = None
    ) -> tuple[ProgrammeEvent, bool]:
        """Create an event, or say one anew: `known`, or the one that has the body's id. And whether it did."""
        now, currency = self._server.clock.now(), self._server.terms.calendar.currency
        made, problems = event_of(programme.id, body, now, currency, known.start if known else None)
        if known is not None:
            made = replace(made, id=known.id, baseline=known.baseline)
        refuse(problems)
        known = self._objects.get(ProgrammeEvent, made.id)
        if known is not None and known.programme != programme.id:
            raise web.HTTPConflict(text=f"event {made.id} belongs to another programme; choose another id")
        if known is not None and known.cancelled:
            raise web.HTTPConflict(
                text=f"event {made.id} is cancelled, and stays so; give the new one an id of its own"
            )
        return await self._put(known, made)

    async def cancel(self, event: ProgrammeEvent) -> ProgrammeEvent:
        """End an event before its time; it stays for those who have not heard of it."""
        phase = phase_of(event, self._server.clock.now())
        if phase.is_over:
            raise web.HTTPConflict(text=f"event {event.id} is {phase} already")
        cancelled, _ = await self._put(event, replace(event, cancelled=True))
        return cancelled

    async def forget(self, event: ProgrammeEvent) -> None:
        """Remove an event that is over."""
        phase = phase_of(event, self._server.clock.now())
        if not phase.is_over:
            raise web.HTTPConflict(text=f"event {event.id} is {phase}; cancel it first")
        await self._write([Edit(event, None, AUTHOR)])

    async def remove(self, it: Programme | Ven) -> None:
        await self._write([Edit(it, None, AUTHOR)])

    async def add_ven(self, body: VenBody) -> tuple[Ven, bool]:
        """Enrol a VEN, or say anew what is known of the one that has its id: resources that are not named go."""
        ven, behind, problems = ven_of(body, frozenset(self._server.resources))
        refuse(problems)
        edits = self._changes(Ven, [ven])
        before = {r.id: r for r in self._objects.all(VenResource).values() if r.ven == ven.id}
        by_name = {r.name: r for r in before.values()}
        behind = [replace(r, id=by_name[r.name].id) if r.name in by_name else r for r in behind]
        edits += [Edit(r, None, AUTHOR) for id, r in before.items() if id not in {b.id for b in behind}]
        edits += self._changes(VenResource, behind)
        if edits:
            await self._write(edits)
        return self.ven(ven.id), bool(edits)

    def _changes(self, kind: type[E], said: Sequence[E]) -> list[Edit]:
        pairs = [(self._objects.get(kind, it.id), it) for it in said]
        return [Edit(known, it, AUTHOR) for known, it in pairs if known is None or _said(known) != _said(it)]

    async def _put(self, known: E | None, made: E) -> tuple[E, bool]:
        if known is not None and _said(known) == _said(made):
            return known, False
        await self._write([Edit(known, made, AUTHOR)])
        return self._objects.all(type(made))[made.id], True

    async def _write(self, edits: Sequence[Edit]) -> tuple[Edit, ...]:
        try:
            return await self._objects.write(edits)
        except Rejection as error:
            text = "; ".join(map(str, error.problems))
            if any(problem.rule in _NOT_UNDERSTOOD for problem in error.problems):
                raise web.HTTPUnprocessableEntity(text=text) from error
            raise web.HTTPConflict(text=text) from error

    def _find(self, kind: type[N], id: str, called: str) -> N:
        found = self._objects.get(kind, id)
        everybody = {it.name: it for it in self._objects.all(kind).values()}
        found = found or everybody.get(id)
        if found is None:
            known = nearest(id, everybody) if everybody else "there is none yet"
            raise web.HTTPNotFound(text=f"no {called} is called {id!r} ({known})")
        return found


def _said(it: E) -> E:
    """An object without what the registry stamps, and without how it was written."""
    return replace(it, revision=0, created=_EPOCH, modified=_EPOCH, written=None)
