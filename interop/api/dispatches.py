"""Direct dispatch over HTTP: an operator tells one resource what to do, beside whatever the desk plans."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any

from aiohttp import web

from datamodels import Dispatch, DispatchInterval, DispatchKind, Problem, Resource, validate
from interop.api.body import answer, minutes, read, refuse, wrong_id
from interop.dispatcher import Record
from interop.effects import Instruct, Withdraw
from interop.market.ids import derived_id
from interop.settings import nearest

if TYPE_CHECKING:
    from interop.server import Server

__all__ = ["SOURCE", "routes"]

SOURCE = "operator"
"""`Dispatch.source` of what operators say themselves."""


@dataclass(frozen=True, slots=True)
class IntervalBody:
    start: datetime
    minutes: int
    value: int


@dataclass(frozen=True, slots=True)
class DispatchBody:
    """One instruction: either `value` and `minutes` (from `start`, which is now without one), or `intervals`.

    Without an `id`, one is derived from the rest: the same words twice are one dispatch. Said again under an id that is
    known, it revises. `priority` 1 goes before whatever the desk plans.
    """

    resource: str
    kind: DispatchKind
    value: int | None = None
    start: datetime | None = None
    minutes: int | None = None
    intervals: tuple[IntervalBody, ...] = ()
    priority: int = 1
    id: str = ""


def routes(server: Server) -> list[web.RouteDef]:
    api = _Dispatches(server)
    return [
        web.post("/api/v1/dispatches", api.instruct),
        web.delete("/api/v1/dispatches/{id}", api.withdraw),
    ]


class _Dispatches:
    def __init__(self, server: Server) -> None:
        self._server = server

    @property
    def _records(self) -> dict[str, Record]:
        return self._server.hub.dispatcher.records

    async def instruct(self, request: web.Request) -> web.Response:
        body = await read(request, DispatchBody, "dispatch")
        intervals, problems = self._intervals(body)
        resource = self._server.resources.get(body.resource)
        problems += [*wrong_id(body.id), *self._unreachable(body.resource, resource)]
        if resource is not None:
            problems += [p for i in intervals if (p := _beyond(resource, body.kind, i.value))]
        if body.priority < 0:
            problems.append(Problem("dispatch.priority", "dispatch.priority", "counts from 1; 0 is none"))
        refuse(problems)
        id = body.id or derived_id("dispatch", self._server.config.party.domain, body.resource, body.kind, *intervals)
        known = self._records.get(id)
        if known is not None and known.dispatch.source != SOURCE:
            raise web.HTTPConflict(text=f"dispatch {id} belongs to {known.dispatch.source}; choose another id")
        dispatch = Dispatch(
            id,
            body.resource,
            body.kind,
            tuple(intervals),
            SOURCE,
            known.dispatch.revision if known else 0,
            priority=body.priority,
        )
        refuse([*validate(dispatch), *self._overlapping(dispatch)])
        if known is not None:
            if known.dispatch.resource != body.resource:
                raise web.HTTPConflict(text=f"dispatch {id} is for {known.dispatch.resource}; choose another id")
            if known.dispatch == dispatch and not known.status.is_final and not known.withdrawn:
                return answer(self._row(known))
            dispatch = replace(dispatch, revision=known.dispatch.revision + 1)
        await self._server.hub.do([Instruct(dispatch)])
        return answer(self._row(self._records[id]), status=201)

    async def withdraw(self, request: web.Request) -> web.Response:
        id = request.match_info["id"]
        known = self._records.get(id)
        if known is None:
            raise web.HTTPNotFound(text=f"no dispatch is called {id}")
        if known.dispatch.source != SOURCE:
            raise web.HTTPConflict(text=f"dispatch {id} belongs to {known.dispatch.source}, which the desk steers by")
        if known.status.is_final or known.withdrawn:
            raise web.HTTPConflict(text=f"dispatch {id} is {'over' if known.status.is_final else 'withdrawn'} already")
        await self._server.hub.do([Withdraw(id)])
        return answer(self._row(self._records[id]))

    # --- what may be wrong ----------------------------------------------------------------------------

    def _intervals(self, body: DispatchBody) -> tuple[list[DispatchInterval], list[Problem]]:
        given: list[IntervalBody] = list(body.intervals)
        problems: list[Problem] = []
        now = self._server.clock.now()
        if given and (body.value is not None or body.minutes is not None or body.start is not None):
            text = "stands beside value, start or minutes"
            problems.append(Problem("dispatch.intervals", "dispatch.intervals", text, hint="use one or the other"))
        elif not given and body.value is not None and body.minutes is not None:
            given = [IntervalBody(body.start or now, body.minutes, body.value)]
        elif not given:
            hint = "add value and minutes, or intervals"
            problems.append(Problem("dispatch.empty", "dispatch", "does not say what to do, or how long", hint=hint))
        intervals = []
        for n, interval in enumerate(given, 1):
            duration, wrong = minutes(interval.minutes, f"dispatch.intervals[{n}].minutes")
            problems += wrong
            intervals.append(DispatchInterval(interval.start, duration, interval.value))
        if intervals and not problems and max(i.start + i.duration for i in intervals) <= now:
            text = f"is over already: market time is {now:%Y-%m-%dT%H:%M:%SZ}"
            problems.append(Problem("dispatch.past", "dispatch", text))
        return intervals, problems

    def _unreachable(self, id: str, resource: Resource | None) -> list[Problem]:
        where = "dispatch.resource"
        if resource is None:
            hint = nearest(id, self._server.resources)
            return [Problem("dispatch.resource", where, f"no resource is called {id!r}", hint=hint)]
        if resource.binding is None:
            hint = "add [resources.binding] to it"
            return [Problem("dispatch.binding", where, f"{id} has no binding: no adapter reaches it", hint=hint)]
        if not hasattr(self._server.adapters.get(resource.binding.adapter), "apply"):
            text = f"{id} is bound to {resource.binding.adapter}, which steers nothing"
            return [Problem("dispatch.binding", where, text)]
        return []

    def _overlapping(self, dispatch: Dispatch) -> list[Problem]:
        """Other dispatches of operators that tell the resource something of that kind at the same time."""
        return [
            Problem("dispatch.overlap", "dispatch", f"overlaps with {id}", hint=f"cancel {id}, or give it as the id")
            for id, record in self._records.items()
            if (other := record.dispatch).source == SOURCE
            and (other.resource, other.kind) == (dispatch.resource, dispatch.kind)
            and id != dispatch.id
            and not (record.status.is_final or record.withdrawn)
            and any(
                a.start < b.start + b.duration and b.start < a.start + a.duration
                for a in dispatch.intervals
                for b in other.intervals
            )
        ]

    def _row(self, record: Record) -> dict[str, Any]:
        return self._server.views.dispatch(record)


def _beyond(resource: Resource, kind: DispatchKind, value: int) -> Problem | None:
    """A value outside what a resource is rated for."""
    low, high, unit = {
        DispatchKind.SETPOINT: (resource.p_min_w, resource.p_max_w, "W"),
        DispatchKind.DELTA: (resource.p_min_w - resource.p_max_w, resource.p_max_w - resource.p_min_w, "W"),
        DispatchKind.SOC_TARGET: (0, resource.capacity_wh, "Wh"),
        DispatchKind.LEVEL: (0, 3, ""),
    }.get(kind, (0, None, "W"))
    if value >= low and (high is None or value <= high):
        return None
    room = f"{low} to {high}" if high is not None else f"{low} or more"
    text = f"{value} is no {kind} that {resource.id} can follow: {room} {unit}".rstrip()
    return Problem("dispatch.value", "dispatch.value", text)
