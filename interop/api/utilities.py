"""Utilities whose VEN we are (OpenADR 2.0b): what they ask, what we said, and our own word. Times are market time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from aiohttp import web

from adapters.openadr2 import BothRoles, VenAdapter
from adapters.openadr2.ven import engine
from adapters.openadr2.ven.client import VtnError
from adapters.openadr2.ven.link import Link
from adapters.openadr2.ven.opts import Wanted
from adapters.openadr2.ven.records import Known
from datamodels import Problem
from interop.api.body import answer, minutes, read, refuse

if TYPE_CHECKING:
    from interop.server import Server

__all__ = ["routes"]

_TYPES = ("optIn", "optOut")
_REASONS = frozenset(
    {"economic", "emergency", "mustRun", "notParticipating", "outageRunStatus", "overrideStatus", "participating"}
)


@dataclass(frozen=True, slots=True)
class OptBody:
    """Our word: `opt` is optIn or optOut, on one `event`, or without it for `minutes` from `start` (now without one; 0
    is open-ended) as a schedule of `resources` by the names the utility knows, all of them without any.
    """

    opt: str
    reason: str = ""
    event: str = ""
    start: datetime | None = None
    minutes: int | None = None
    resources: tuple[str, ...] = ()
    market_context: str = ""


def routes(server: Server) -> list[web.RouteDef]:
    api = _Utilities(server)
    one = "/api/v1/utilities/{peer}"
    return [
        web.get("/api/v1/utilities", api.known),
        web.post(f"{one}/opts", api.opt),
        web.delete(f"{one}/opts/{{opt}}", api.cancel_opt),
        web.post(f"{one}/registration", api.register),
        web.delete(f"{one}/registration", api.leave),
    ]


class _Utilities:
    def __init__(self, server: Server) -> None:
        self._server = server

    @property
    def _links(self) -> dict[str, Link]:
        adapter = self._server.adapters.get("openadr2")
        ven = adapter.ven if isinstance(adapter, BothRoles) else adapter
        return dict(ven.links) if isinstance(ven, VenAdapter) else {}

    def _link(self, request: web.Request) -> Link:
        peer = request.match_info["peer"]
        link = self._links.get(peer)
        if link is None:
            known = ", ".join(self._links) or "none"
            raise web.HTTPNotFound(text=f"no utility {peer!r:.60} among [[adapters.openadr2.vtns]]: {known}")
        return link

    async def known(self, request: web.Request) -> web.Response:
        """Every utility with its events, the ones that start first first, opts and reports."""
        return answer([self._row(peer, link) for peer, link in self._links.items()])

    def _row(self, peer: str, link: Link) -> dict[str, Any]:
        book = link.book
        usable = [known for known in book.events.values() if known.code == 200]
        events = sorted((self._event(link, known) for known in usable), key=lambda row: str(row["start"]))
        return {
            "peer": peer,
            "state": link.state,
            "ven_id": book.registration.ven_id,
            "events": events,
            "opts": [
                {"id": opt.id, "opt": opt.message.opt_type, "reason": opt.message.opt_reason, "sent": opt.sent}
                for opt in book.opts.values()
                if not opt.ended
            ],
            "reports": [{"id": job.id, "name": job.name, "points": list(job.points)} for job in book.jobs.values()],
        }

    def _event(self, link: Link, known: Known) -> dict[str, Any]:
        clock = self._server.clock
        whole = engine.timing(known.event, known.drawn_s)
        return {
            "id": known.id,
            "modification": known.modification,
            "status": engine.status(whole, known.ends, link.book.now),
            "opt": known.opt,
            "start": clock.from_wall(whole.start).isoformat(),
            "end": clock.from_wall(whole.end).isoformat() if whole.end else None,
            "signals": [signal.kind.value for signal in known.signals],
            "test": known.is_test,
        }

    async def opt(self, request: web.Request) -> web.Response:
        link = self._link(request)
        body = await read(request, OptBody, "opt")
        problems = self._wrong(body)
        length = timedelta(0)
        if not body.event:
            length, more = minutes(body.minutes or 0, "opt.minutes", least=0)
            problems += more
        refuse(problems)
        if body.event:
            reason = body.reason or ("participating" if body.opt == "optIn" else "notParticipating")
            try:
                return answer({"id": await link.opt(body.event, body.opt, reason)}, status=201)
            except KeyError:
                raise web.HTTPNotFound(text=f"{link.config.peer} has no live event {body.event!r:.60}") from None
        return answer({"id": await link.schedule(self._wanted(body, length))}, status=201)

    def _wanted(self, body: OptBody, length: timedelta) -> Wanted:
        clock = self._server.clock
        start = clock.to_wall(body.start or clock.now()).replace(microsecond=0)
        windows: Sequence[tuple[datetime, timedelta]] = ((start, length / clock.rate),)
        wanted = Wanted(body.opt, windows, market_context=body.market_context, resources=body.resources)
        return replace(wanted, reason=body.reason) if body.reason else wanted

    def _wrong(self, body: OptBody) -> list[Problem]:
        problems = []
        if body.opt not in _TYPES:
            problems.append(Problem("opt.type", "opt.opt", f"{body.opt!r:.40} is neither optIn nor optOut"))
        if body.reason and body.reason not in _REASONS and not body.reason.startswith("x-"):
            hint = f"one of {', '.join(sorted(_REASONS))}, or one that begins with x-"
            problems.append(Problem("opt.reason", "opt.reason", f"{body.reason!r:.40} is no reason", hint=hint))
        if body.event and (body.minutes is not None or body.start or body.resources):
            text = "an opt is about an event, or a schedule with start, minutes and resources"
            problems.append(Problem("opt.about", "opt.event", text))
        if not body.event and body.minutes is None:
            problems.append(Problem("opt.minutes", "opt.minutes", "a schedule needs minutes; 0 is open-ended"))
        return problems

    async def cancel_opt(self, request: web.Request) -> web.Response:
        link, opt = self._link(request), request.match_info["opt"]
        try:
            await link.cancel_opt(opt)
        except KeyError:
            raise web.HTTPNotFound(text=f"no opt is called {opt!r:.60}") from None
        return answer({"id": opt})

    async def register(self, request: web.Request) -> web.Response:
        """Register anew, also where the registration was cancelled."""
        link = self._link(request)
        await link.register()
        return answer({"state": link.state}, status=202)

    async def leave(self, request: web.Request) -> web.Response:
        """Cancel our registration."""
        link = self._link(request)
        try:
            await link.cancel_registration()
        except VtnError as error:
            raise web.HTTPBadGateway(text=f"{link.config.peer} did not take it: {error}") from None
        return answer({"state": link.state})
