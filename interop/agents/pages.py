"""Operators' HTTP for agents: who may connect, and planning a day with those who do."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING

import numpy as np
from aiohttp import web

from datamodels import MarketCalendar, Problem
from interop.agents.floor import Busy, Request
from interop.agents.service import AgentsService
from interop.api.body import answer, read, refuse
from optimiser import Limits

if TYPE_CHECKING:
    from interop.server import Server

__all__ = ["AgentBody", "PlanBody", "PointBody", "register"]

_ID = re.compile(r"[A-Za-z0-9._:-]{1,60}")


@dataclass(frozen=True, slots=True)
class AgentBody:
    """A new agent (or a new token for a known one), and the congestion point behind which its home is."""

    id: str
    point: str

    def __post_init__(self) -> None:
        for name in ("id", "point"):
            if not _ID.fullmatch(getattr(self, name)):
                raise ValueError(f"{name} must be 1 to 60 letters, digits and . _ : -")


@dataclass(frozen=True, slots=True)
class PointBody:
    """Bounds (W per ISP) on the sum of the agents' homes at a congestion point; an empty list is no limit."""

    lo_w: tuple[int, ...] = ()
    hi_w: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class PlanBody:
    """What to plan for a local day. Homes at congestion points that `points` does not name are not asked."""

    period: date
    points: dict[str, PointBody]
    gap: float = 1e-3
    rounds: int = 120
    penalty_eur_per_kwh: float = 5.0

    def __post_init__(self) -> None:
        if not self.points:
            raise ValueError("points names no congestion point")
        if not 0 < self.gap < 1 or not 1 <= self.rounds <= 1000 or not 0 <= self.penalty_eur_per_kwh <= 1e4:
            raise ValueError("0 < gap < 1, 1 <= rounds <= 1000 and 0 <= penalty_eur_per_kwh <= 10000 must hold")


def register(app: web.Application, server: Server) -> None:
    """Entry point of group `gridparley.pages`; nothing where `[adapters.agents]` is not configured."""
    service = server.adapters.get("agents")
    if not isinstance(service, AgentsService):
        return
    app.add_routes(routes(service))


def routes(service: AgentsService) -> list[web.RouteDef]:
    book, floor = service.book, service.floor

    async def agents(request: web.Request) -> web.Response:
        rows = [(a.id, a.point, a.id in floor.sessions) for a in book.agents.values()]
        return answer([{"id": id, "point": point, "connected": connected} for id, point, connected in rows])

    async def add(request: web.Request) -> web.Response:
        body = await read(request, AgentBody, "agent")
        token = await book.register(body.id, body.point)
        return answer({"id": body.id, "point": body.point, "token": token, "listen": service.address}, status=201)

    async def bar(request: web.Request) -> web.Response:
        id = request.match_info["id"]
        try:
            await book.bar(id)
        except KeyError:
            raise web.HTTPNotFound(text="no agent has that id") from None
        return answer({"id": id, "status": "barred"})

    async def plan(request: web.Request) -> web.Response:
        body = await read(request, PlanBody, "plan")
        wanted = _request(body, service)
        try:
            return answer(await floor.negotiate(wanted))
        except Busy as error:
            raise web.HTTPConflict(text=str(error)) from error

    async def plans(request: web.Request) -> web.Response:
        return answer(list(book.results.values()))

    async def awards(request: web.Request) -> web.Response:
        fields = ("id", "agent", "negotiation", "period", "state", "reason", "measured_w")
        return answer([{name: getattr(a, name) for name in fields} for a in book.awards.values()])

    return [
        web.get("/api/v1/agents", agents),
        web.post("/api/v1/agents", add),
        web.delete("/api/v1/agents/{id}", bar),
        web.post("/api/v1/agents/plans", plan),
        web.get("/api/v1/agents/plans", plans),
        web.get("/api/v1/agents/awards", awards),
    ]


def _request(body: PlanBody, service: AgentsService) -> Request:
    """What to negotiate (HTTP 422 where the bounds do not fit the day)."""
    calendar: MarketCalendar = service.ports.terms.calendar
    isps = calendar.isps(body.period)
    problems = [
        Problem("agents.point", "points", f"{n!r:.40} is not usable") for n in body.points if not _ID.fullmatch(n)
    ]
    for name, point in body.points.items():
        for side in (point.lo_w, point.hi_w):
            if side and len(side) != isps:
                text = f"{len(side)} values, and {body.period} has {isps} ISPs"
                problems.append(Problem("agents.isps", f"points.{name}", text))
    refuse(problems)
    low, high = (
        np.array([np.array(values, float) / 1000 if values else np.full(isps, far) for values in side])
        for side, far in (
            ([point.lo_w for point in body.points.values()], -np.inf),
            ([point.hi_w for point in body.points.values()], np.inf),
        )
    )
    if (low > high).any():
        refuse([Problem("agents.limits", "points", "a lower limit is above the upper one")])
    return Request(
        body.period.isoformat(),
        round(60 * calendar.isp_hours),
        list(body.points),
        Limits(low, high, body.penalty_eur_per_kwh),
        body.gap,
        body.rounds,
        service.options.patience_s,
        service.options.least,
    )
