"""Programmes, their events, VENs, opts and reports over HTTP.

Objects that came over a standard are shown, and may be changed or ended here like our own. A programme is addressed by
id or name, and so is a VEN.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from aiohttp import web

from datamodels import Availability, EventOpt, Programme, ProgrammeEvent, ProgrammeReport, Ven
from interop.api.body import answer, read
from interop.api.operators import Operators
from interop.programmes import rows
from interop.programmes.bodies import EventBody, ProgrammeBody, VenBody

if TYPE_CHECKING:
    from interop.server import Server

__all__ = ["routes"]


def routes(server: Server) -> list[web.RouteDef]:
    api = _Api(Operators(server), server)
    root, one = "/api/v1/programmes", "/api/v1/programmes/{id}"
    return [
        web.get(root, api.programmes),
        web.post(root, api.create_programme),
        web.get(one, api.programme),
        web.delete(one, api.remove_programme),
        web.get(f"{one}/events", api.events),
        web.post(f"{one}/events", api.create_event),
        web.get(f"{one}/events/{{event}}", api.event),
        web.put(f"{one}/events/{{event}}", api.change_event),
        web.delete(f"{one}/events/{{event}}", api.end_event),
        web.get("/api/v1/vens", api.vens),
        web.post("/api/v1/vens", api.add_ven),
        web.get("/api/v1/vens/{id}", api.ven),
        web.delete("/api/v1/vens/{id}", api.remove_ven),
        web.get("/api/v1/opts", api.opts),
        web.get("/api/v1/reports", api.reports),
    ]


class _Api:
    def __init__(self, operators: Operators, server: Server) -> None:
        self._do, self._server, self._objects = operators, server, server.programmes

    async def programmes(self, request: web.Request) -> web.Response:
        now = self._server.clock.now()
        return answer([rows.programme(p, self._objects, now) for p in self._objects.all(Programme).values()])

    async def programme(self, request: web.Request) -> web.Response:
        found = self._do.programme(request.match_info["id"])
        return answer(rows.programme(found, self._objects, self._server.clock.now()))

    async def create_programme(self, request: web.Request) -> web.Response:
        made, new = await self._do.create_programme(await read(request, ProgrammeBody, "programme"))
        return answer(rows.programme(made, self._objects, self._server.clock.now()), 201 if new else 200)

    async def remove_programme(self, request: web.Request) -> web.Response:
        found = self._do.programme(request.match_info["id"])
        row = rows.programme(found, self._objects, self._server.clock.now())
        await self._do.remove(found)
        return answer(row)

    async def events(self, request: web.Request) -> web.Response:
        """Events of a programme, the ones that start first first."""
        of, now = self._do.programme(request.match_info["id"]), self._server.clock.now()
        found = [e for e in self._objects.all(ProgrammeEvent).values() if e.programme == of.id]
        made = [rows.event(e, self._objects, now) for e in found]
        return answer(sorted(made, key=lambda row: row["start"] or ""))

    async def create_event(self, request: web.Request) -> web.Response:
        of = self._do.programme(request.match_info["id"])
        made, new = await self._do.say(of, await read(request, EventBody, "event"))
        return self._event(made, 201 if new else 200)

    async def event(self, request: web.Request) -> web.Response:
        return self._event(self._asked(request))

    async def change_event(self, request: web.Request) -> web.Response:
        known = self._asked(request)
        of = self._do.programme(known.programme)
        changed, _ = await self._do.say(of, await read(request, EventBody, "event"), known)
        return self._event(changed)

    async def end_event(self, request: web.Request) -> web.Response:
        """Cancel it; with `?forget=1`, remove one that is over."""
        event = self._asked(request)
        if request.query.get("forget") == "1":
            response = self._event(event)
            await self._do.forget(event)
            return response
        return self._event(await self._do.cancel(event))

    async def vens(self, request: web.Request) -> web.Response:
        seen = self._server.views.seen_vens()
        return answer([rows.ven(v, self._objects, seen) for v in self._objects.all(Ven).values()])

    async def ven(self, request: web.Request) -> web.Response:
        found = self._do.ven(request.match_info["id"])
        return answer(rows.ven_whole(found, self._objects, self._server.views.seen_vens()))

    async def add_ven(self, request: web.Request) -> web.Response:
        made, new = await self._do.add_ven(await read(request, VenBody, "ven"))
        return answer(rows.ven_whole(made, self._objects, self._server.views.seen_vens()), 201 if new else 200)

    async def remove_ven(self, request: web.Request) -> web.Response:
        found = self._do.ven(request.match_info["id"])
        row = rows.ven(found, self._objects, self._server.views.seen_vens())
        await self._do.remove(found)
        return answer(row)

    async def opts(self, request: web.Request) -> web.Response:
        """What VENs said to events, and when they are there or not."""
        event, ven = request.query.get("event"), request.query.get("ven")
        opts = [o for o in self._objects.all(EventOpt).values() if event in (None, o.event)]
        schedules = self._objects.all(Availability).values() if event is None else ()
        return answer(
            {
                "events": [row for o in opts if _of(row := rows.opt(o, self._objects), ven)],
                "schedules": [row for a in schedules if _of(row := rows.availability(a, self._objects), ven)],
            }
        )

    async def reports(self, request: web.Request) -> web.Response:
        event, ven = request.query.get("event"), request.query.get("ven")
        found = [r for r in self._objects.all(ProgrammeReport).values() if event in (None, r.event)]
        if ven is not None:
            found = [r for r in found if rows.reported_by(r, self._do.ven(ven))]
        return answer([rows.report(r, self._objects) for r in found])

    def _asked(self, request: web.Request) -> ProgrammeEvent:
        return self._do.event(self._do.programme(request.match_info["id"]), request.match_info["event"])

    def _event(self, event: ProgrammeEvent, status: int = 200) -> web.Response:
        return answer(rows.event_whole(event, self._objects, self._server.clock.now()), status)


def _of(row: dict[str, Any], ven: str | None) -> bool:
    return ven in (None, row["ven"], row["ven_name"])
