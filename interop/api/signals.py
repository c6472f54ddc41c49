"""Signals over HTTP: what holds, and what our own operators impose."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from aiohttp import web

from datamodels import GridSignal, Problem, SignalInterval, SignalKind, SignalTarget, TargetKind, validate
from interop.api.body import answer, market_desk, minutes, read, refuse, wrong_id
from interop.market.ids import derived_id
from interop.settings import nearest
from interop.signals import key_of, until

if TYPE_CHECKING:
    from interop.server import Server

__all__ = ["routes"]

_PRICES = (SignalKind.PRICE, SignalKind.EXPORT_PRICE)


@dataclass(frozen=True, slots=True)
class SignalBody:
    """What an operator says. `start` is now without one; `minutes` 0 is open-ended; no targets means everybody.

    Without an `id`, one is derived from the rest: the same words twice are one signal.
    """

    kind: SignalKind
    value: Decimal
    minutes: int
    start: datetime | None = None
    targets: tuple[SignalTarget, ...] = ()
    priority: int = 1
    currency: str = ""
    id: str = ""


def routes(server: Server) -> list[web.RouteDef]:
    api = _Signals(server)
    return [
        web.get("/api/v1/signals", api.known),
        web.post("/api/v1/signals", api.impose),
        web.delete("/api/v1/signals/{id}", api.cancel),
    ]


class _Signals:
    def __init__(self, server: Server) -> None:
        self._server = server

    @property
    def _us(self) -> str:
        return self._server.config.party.domain

    async def known(self, request: web.Request) -> web.Response:
        """Every signal known, the ones that start first first."""
        now = self._server.clock.now()
        signals = market_desk(self._server).signals
        rows = [_row(signal, key.removesuffix(f"/{signal.id}"), now) for key, signal in signals.items()]
        return answer(sorted(rows, key=lambda row: row["start"] or ""))

    async def impose(self, request: web.Request) -> web.Response:
        desk = market_desk(self._server)
        body = await read(request, SignalBody, "signal")
        signal, problems = self._signal(body)
        refuse([*problems, *validate(signal)])
        known = desk.signals.get(key_of(self._us, signal.id))
        if known is not None:
            signal = replace(signal, revision=known.revision)
            if signal == known:
                return answer(_row(known, self._us, self._server.clock.now()))
            signal = replace(signal, revision=known.revision + 1)
        await desk.impose(signal)
        return answer(_row(signal, self._us, self._server.clock.now()), status=201)

    async def cancel(self, request: web.Request) -> web.Response:
        desk, id = market_desk(self._server), request.match_info["id"]
        known = desk.signals.get(key_of(self._us, id))
        if known is None:
            peers = [key.removesuffix(f"/{id}") for key, signal in desk.signals.items() if signal.id == id]
            if peers:
                raise web.HTTPConflict(
                    text=f"signal {id} comes from {', '.join(peers)}; only who imposed it may end it"
                )
            raise web.HTTPNotFound(text=f"no signal is called {id}")
        if known.cancelled:
            raise web.HTTPConflict(text=f"signal {id} is cancelled already")
        ended = replace(known, cancelled=True, revision=known.revision + 1)
        await desk.impose(ended)
        return answer(_row(ended, self._us, self._server.clock.now()))

    def _signal(self, body: SignalBody) -> tuple[GridSignal, list[Problem]]:
        start = body.start or self._server.clock.now()
        duration, problems = minutes(body.minutes, "signal.minutes", least=0)
        problems += [*wrong_id(body.id), *self._unknown(body.targets)]
        calendar = self._server.terms.calendar
        if body.currency not in ("", calendar.currency):
            problems.append(Problem("signal.currency", "signal.currency", f"the market settles in {calendar.currency}"))
        if body.kind is SignalKind.LEVEL and body.value not in range(4):
            problems.append(Problem("signal.level", "signal.value", f"{body.value} is no level from 0 to 3"))
        id = body.id or derived_id("signal", self._us, body.kind, body.value, start, body.minutes, body.targets)
        currency = calendar.currency if body.kind in _PRICES else ""
        interval = SignalInterval(start, duration, body.value)
        return GridSignal(
            id, self._us, body.kind, (interval,), body.targets, body.priority, currency=currency
        ), problems

    def _unknown(self, targets: tuple[SignalTarget, ...]) -> list[Problem]:
        """Targets that name nothing we know."""
        known: dict[TargetKind, list[str]] = {
            TargetKind.RESOURCE: list(self._server.resources),
            TargetKind.CONGESTION_POINT: [point.address for point in self._server.terms.congestion_points],
        }
        return [
            Problem("signal.target", f"signal.targets[{n}]", f"unknown {target.kind} {target.id!r}", hint=hint)
            for n, target in enumerate(targets, 1)
            if target.kind in known and target.id not in known[target.kind]
            for hint in [nearest(target.id, known[target.kind])]
        ]


def _row(signal: GridSignal, peer: str, now: datetime) -> dict[str, Any]:
    start = min((interval.start for interval in signal.intervals), default=None)
    end = until(signal)
    return {
        "id": signal.id,
        "peer": peer,
        "source": signal.source,
        "kind": str(signal.kind),
        "status": _status(signal, start, end, now),
        "start": start.isoformat() if start else None,
        "end": end.isoformat() if end else None,
        "priority": signal.priority,
        "revision": signal.revision,
        "currency": signal.currency,
        "targets": [{"kind": str(target.kind), "id": target.id} for target in signal.targets],
        "intervals": [
            {"start": i.start.isoformat(), "minutes": i.duration.total_seconds() / 60, "value": str(i.value)}
            for i in signal.intervals
        ],
    }


def _status(signal: GridSignal, start: datetime | None, end: datetime | None, now: datetime) -> str:
    if signal.cancelled:
        return "cancelled"
    if start is not None and now < start:
        return "pending"
    return "over" if end is not None and end <= now else "active"
