"""Pages of programmes: what is said to VENs, what each answers and reports, and forms to say and to cancel it."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Iterable, Mapping
from datetime import datetime, timedelta
from decimal import Decimal, InvalidOperation
from typing import Any, Protocol, TypeAlias
from urllib.parse import quote
from zoneinfo import ZoneInfo

from aiohttp import web

from datamodels import DispatchKind, Programme, ProgrammeEvent, SignalKind
from interop.programmes.bodies import EventBody, IntervalBody, ProgrammeBody, SignalBody, TargetBody
from interop.web.forms import Forms
from interop.web.views import Row, Views

__all__ = ["Acts", "ProgrammePages", "plots_of_reports", "plots_of_signals"]

_Context: TypeAlias = dict[str, Any]
KINDS = tuple(dict.fromkeys(str(kind) for kind in (*SignalKind, *DispatchKind)))
_UNITS = {"KW": "kW", "KWH": "kWh"}
_OPEN_SHOWN = timedelta(hours=1)
_EVENTS_SHOWN = 200


class Acts(Protocol):
    """What the forms do; raises HTTP errors that name what is wrong (see `interop.api.operators`)."""

    def programme(self, id: str) -> Programme: ...

    def event(self, programme: Programme, id: str) -> ProgrammeEvent: ...

    async def create_programme(self, body: ProgrammeBody) -> tuple[Programme, bool]: ...

    async def say(self, programme: Programme, body: EventBody) -> tuple[ProgrammeEvent, bool]: ...

    async def cancel(self, event: ProgrammeEvent) -> ProgrammeEvent: ...


class ProgrammePages:
    """Fragments and forms; `show` renders a page of the site (template, request, more context)."""

    def __init__(self, views: Views, now: Callable[[], datetime], acts: Acts | None) -> None:
        self._views, self._now, self._acts = views, now, acts
        self.forms = Forms()

    def routes(self, show: Callable[..., Awaitable[web.Response]]) -> list[web.AbstractRouteDef]:
        """The forms' addresses; without `acts` there are none."""
        if self._acts is None:
            return []
        self._show = show
        return [
            web.post("/programmes", self._create_programme),
            web.post("/programmes/events", self._create_event),
            web.post("/programmes/{programme}/{event}/cancel", self._cancel),
        ]

    # --- fragments ------------------------------------------------------------------------------------------------

    async def programmes(self, request: web.Request) -> _Context:
        events = await self._views.programme_events()
        return {
            "programmes": await self._views.programmes(),
            "programme_events": events[:_EVENTS_SHOWN],
            "events_of": len(events),
        }

    async def vens(self, request: web.Request) -> _Context:
        return {"vens": await self._views.vens()}

    async def event(self, request: web.Request) -> _Context:
        id = request.match_info.get("event") or request.query.get("event", "")
        row = await self._views.programme_event(id)
        if row is None:
            raise web.HTTPNotFound(text=f"no programme event is called {id}")
        now = self._now()
        return {
            "title": f"Event {row['name'] or row['id']}",
            "event": row,
            "can_act": self._acts is not None,
            "plots": json.dumps(
                {
                    "timezone": self._views.timezone,
                    "now": now.timestamp(),
                    "signals": plots_of_signals(row, now),
                    "reports": plots_of_reports(row["reports"], now),
                },
                separators=(",", ":"),
            ),
        }

    async def ven(self, request: web.Request) -> _Context:
        id = request.match_info.get("ven") or request.query.get("ven", "")
        row = await self._views.ven(id)
        if row is None:
            raise web.HTTPNotFound(text=f"no VEN is called {id}")
        now = self._now()
        plots = plots_of_reports(row["reports"], now)
        drawn = {"timezone": self._views.timezone, "now": now.timestamp(), "signals": [], "reports": plots}
        return {"title": f"VEN {row['name']}", "ven": row, "plots": json.dumps(drawn, separators=(",", ":"))}

    def form(self, said: Mapping[str, str] | None = None, wrong: str = "") -> _Context:
        """What the forms need beside their token: what was said before, and what is wrong with it."""
        start = self._now().astimezone(ZoneInfo(self._views.timezone)).replace(second=0, microsecond=0)
        return {
            "can_act": self._acts is not None,
            "needs_token": self._views.needs_token,
            "kinds": KINDS,
            "said": said or {"start": start.replace(tzinfo=None).isoformat(timespec="minutes")},
            "wrong": wrong,
        }

    # --- forms ----------------------------------------------------------------------------------------------------

    async def _create_programme(self, request: web.Request) -> web.Response:
        said = await self.forms.read(request)
        assert self._acts is not None
        body = ProgrammeBody(said.get("name", "").strip(), said.get("market_context", "").strip())
        try:
            await self._acts.create_programme(body)
        except web.HTTPClientError as error:
            return await self._again(request, said, error)
        raise web.HTTPSeeOther("/programmes")

    async def _create_event(self, request: web.Request) -> web.Response:
        said = await self.forms.read(request)
        assert self._acts is not None
        try:
            programme = self._acts.programme(said.get("programme", ""))
            event, _ = await self._acts.say(programme, event_body(said, ZoneInfo(self._views.timezone)))
        except ValueError as error:
            return await self._again(request, said, web.HTTPUnprocessableEntity(text=str(error)))
        except web.HTTPClientError as error:
            return await self._again(request, said, error)
        raise web.HTTPSeeOther(f"/programmes/{quote(programme.id, safe='')}/{quote(event.id, safe='')}")

    async def _cancel(self, request: web.Request) -> web.Response:
        await self.forms.read(request)
        assert self._acts is not None
        event = self._acts.event(self._acts.programme(request.match_info["programme"]), request.match_info["event"])
        await self._acts.cancel(event)
        raise web.HTTPSeeOther(request.path.removesuffix("/cancel"))

    async def _again(self, request: web.Request, said: Mapping[str, str], error: web.HTTPException) -> web.Response:
        """The page once more, with what was said and what is wrong with it."""
        response: web.Response = await self._show(request, self.form(said, error.text or error.reason))
        response.set_status(error.status)
        return response


def event_body(said: Mapping[str, str], zone: ZoneInfo) -> EventBody:
    """An event as the form says it (ValueError, in words, where it cannot be read). Times are the market's local ones;
    of a list of values each holds for `minutes`."""
    start = datetime.fromisoformat(said["start"]).replace(tzinfo=zone) if said.get("start") else None
    minutes = _number(said.get("minutes", ""), "minutes")
    words = said.get("value", "").replace(";", " ").replace(",", " ").split()
    steps = tuple(IntervalBody(minutes, _number(word, "value")) for word in words)
    targets = [word.rpartition("=") for word in said.get("targets", "").split()]
    return EventBody(
        signals=(SignalBody(kind=said.get("kind", ""), intervals=steps),),
        start=start,
        name=said.get("name", "").strip(),
        targets=tuple(TargetBody(value, kind) for kind, _, value in targets),
        priority=int(_number(said.get("priority") or "0", "priority")),
        ramp_up_minutes=_number(said.get("ramp_up") or "0", "ramp-up"),
        tolerance_minutes=_number(said.get("tolerance") or "0", "tolerance"),
        comment=said.get("comment", "").strip(),
        test="test" in said,
    )


def _number(text: str, what: str) -> Decimal:
    try:
        value = Decimal(text.strip())
    except InvalidOperation:
        value = Decimal("NaN")
    if not value.is_finite():
        raise ValueError(f"{what}: {text!r} is not a number")
    return value


# --- drawings -----------------------------------------------------------------------------------------------------


def plots_of_signals(event: Row, now: datetime) -> list[Row]:
    """One drawing per signal: steps of (begin, end, value) in seconds since 1970, with the event's ramps."""
    begin, end = _seconds(event["start"]), _seconds(event["end"])
    ramps = [] if begin is None else [(begin - event["ramp_up_minutes"] * 60, begin)]
    ramps += [] if end is None else [(end, end + event["recovery_minutes"] * 60)]
    shades = [ramp for ramp in ramps if ramp[0] < ramp[1]]
    return [
        {
            "title": (signal["kind"] or signal["payload"]).replace("_", " ").capitalize(),
            "unit": _unit(signal),
            "lines": [{"label": signal["payload"], "steps": _steps(signal["intervals"], now)}],
            "shades": shades,
        }
        for signal in event["signals"]
    ]


def plots_of_reports(reports: Iterable[Row], now: datetime) -> list[Row]:
    """One drawing per payload type and unit, a line per VEN and resource."""
    drawn: dict[tuple[str, str], dict[str, list[tuple[float, float, float]]]] = {}
    for report in reports:
        for series in report["series"]:
            lines = drawn.setdefault((series["payload"], series["unit"]), {})
            label = " ".join(filter(None, (report["ven_name"] or report["client"], series["resource"])))
            lines.setdefault(label or report["id"], []).extend(_steps(series["intervals"], now))
    return [
        {
            "title": payload.replace("_", " ").capitalize(),
            "unit": _UNITS.get(unit, unit),
            "lines": [{"label": label, "steps": sorted(steps)} for label, steps in sorted(lines.items())],
            "shades": [],
        }
        for (payload, unit), lines in sorted(drawn.items())
        if any(lines.values())
    ]


def _steps(intervals: Iterable[Row], now: datetime) -> list[tuple[float, float, float]]:
    """An open-ended interval is drawn until an hour from now, or from its start."""
    steps = []
    for interval in intervals:
        begin = datetime.fromisoformat(interval["start"])
        length = timedelta(minutes=interval["minutes"])
        end = begin + length if length else max(begin, now) + _OPEN_SHOWN
        steps.append((begin.timestamp(), end.timestamp(), float(interval["value"])))
    return steps


def _unit(signal: Row) -> str:
    unit = _UNITS.get(signal["unit"], str(signal["unit"]))
    return f"{signal['currency']}/{unit}" if signal["currency"] else unit


def _seconds(iso: str | None) -> float | None:
    return None if iso is None else datetime.fromisoformat(iso).timestamp()
