"""The pages. Each is made of fragments; the same fragments refresh parts of an open page."""

from __future__ import annotations

import json
import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any, TypeAlias

from aiohttp import web
from jinja2 import Environment

from interop.web.conversations import conversation_of, exchanges, summaries
from interop.web.day import figures
from interop.web.decode import decoded
from interop.web.live import Live
from interop.web.programmes import ProgrammePages
from interop.web.render import compact, show_time
from interop.web.sequence import draw
from interop.web.views import Row, Views

__all__ = ["Pages"]

_Context: TypeAlias = dict[str, Any]
_MESSAGES, _RECENT, _EVENTS, _ALARMS, _DISPATCHES = 500, 100, 1000, 200, 300
_EVENTS_SHOWN = 200
_PLACES, _SETTLEMENTS = 60, 60
_ON_OVERVIEW = {"exchanges": 6, "alarms": 4, "resources": 10}
_PHASES = {"trade": "Trade", "day": "Operate", "settlement": "Settle", "done": "Done"}


@dataclass(frozen=True, slots=True)
class _Page:
    path: str
    template: str
    title: str
    fragments: tuple[str, ...]


_NAV = (
    _Page("/", "overview.html", "Overview", ("now", "latest", "alarms", "resources", "settlement", "result")),
    _Page("/market", "market.html", "Market", ("places",)),
    _Page("/settlement", "settlement.html", "Settlement", ("settlements",)),
    _Page("/programmes", "programmes.html", "Programmes", ("programmes", "vens")),
    _Page("/conversations", "conversations.html", "Conversations", ("conversations",)),
    _Page("/resources", "resources.html", "Resources", ("resources", "dispatches")),
    _Page("/peers", "peers.html", "Peers", ("peers", "alarms")),
    _Page("/register", "register.html", "Register", ("register",)),
    _Page("/log", "log.html", "Log", ("log",)),
)
_CONVERSATION = _Page("/conversations/{id:.+}", "conversation.html", "Conversation", ("conversation",))
_PLACE = _Page("/market/{day}/{point:.+}", "place.html", "Market", ("place",))
_EVENT = _Page("/programmes/{programme}/{event}", "programme_event.html", "Event", ("programme_event",))
_VEN = _Page("/vens/{ven}", "ven.html", "VEN", ("ven",))
_PROGRAMMES = next(page for page in _NAV if page.path == "/programmes")
_WITH_FORMS = (_PROGRAMMES, _EVENT)


class Pages:
    """Handlers over `Views` and the live day."""

    def __init__(self, views: Views, live: Live, env: Environment, programmes: ProgrammePages) -> None:
        self._views, self._live, self._env, self._programmes = views, live, env, programmes
        self._fragments: dict[str, Callable[[web.Request], Awaitable[_Context]]] = {
            "now": self._now,
            "latest": self._latest,
            "alarms": self._alarms,
            "resources": self._resources,
            "dispatches": self._dispatches,
            "settlement": self._settlement,
            "result": self._result,
            "places": self._places,
            "place": self._place,
            "settlements": self._settlements,
            "register": self._register,
            "programmes": programmes.programmes,
            "programme_event": programmes.event,
            "vens": programmes.vens,
            "ven": programmes.ven,
            "conversations": self._conversations,
            "conversation": self._conversation,
            "peers": self._peers,
            "log": self._log,
            "table": self._table,
        }

    def routes(self) -> list[web.AbstractRouteDef]:
        return [
            *(web.get(page.path, self._handler(page)) for page in (*_NAV, _CONVERSATION, _PLACE, _EVENT, _VEN)),
            *self._programmes.routes(self._programmes_again),
            web.get("/fragments/{name}", self.fragment),
            web.get("/live", self._live.stream),
        ]

    def base(self) -> _Context:
        """What every template may use."""
        day = self._live.day
        period = day.of("day").get("period")
        return {
            "own": self._views.own,
            "role": self._views.role,
            "zone": self._zone,
            "day": day.of("day"),
            "period": _long_date(period),
            "market_time": self._live.now(),
            "nav": [(page.path, page.title) for page in _NAV],
            "here": None,
        }

    def _handler(self, page: _Page) -> Callable[[web.Request], Awaitable[web.Response]]:
        async def handler(request: web.Request) -> web.Response:
            return await self._page(page, request, {})

        return handler

    async def _page(self, page: _Page, request: web.Request, more: _Context) -> web.Response:
        context = self.base() | {"title": page.title, "here": page.path, "full": page.path != "/"}
        forms = self._programmes.forms
        cookie = forms.cookie(request) if page in _WITH_FORMS else ""
        if cookie:
            context |= self._programmes.form() | {"csrf": forms.token(cookie)}
        for name in page.fragments:
            context |= await self._fragments[name](request)
        response = self._html(page.template, context | more)
        if cookie:
            forms.keep(response, cookie)
        return response

    async def _programmes_again(self, request: web.Request, more: _Context) -> web.Response:
        """The page with the forms, for one that was refused."""
        return await self._page(_PROGRAMMES, request, more)

    async def fragment(self, request: web.Request) -> web.Response:
        """`GET /fragments/{name}`: one part of a page, as it is now."""
        name = request.match_info["name"]
        make = self._fragments.get(name)
        if make is None:
            raise web.HTTPNotFound
        context = self.base() | {"full": request.query.get("full") == "1"}
        return self._html(f"_{name}.html", context | await make(request))

    def _html(self, template: str, context: _Context) -> web.Response:
        return web.Response(text=self._env.get_template(template).render(context), content_type="text/html")

    # --- fragments ------------------------------------------------------------------------------------------------

    async def _now(self, request: web.Request) -> _Context:
        day = self._live.day
        progress = day.progress()
        phase = str(progress.get("phase") or "")
        names = list(_PHASES)
        reached = names.index(phase) if phase in _PHASES else -1
        states = ["done" if k < reached or phase == "done" else "current" if k == reached else "" for k in range(4)]
        return {
            "figures": figures(day),
            "progress": progress,
            "phases": list(zip(_PHASES.values(), states, strict=True)),
        }

    async def _latest(self, request: web.Request) -> _Context:
        recent = await self._views.messages(None, _RECENT)
        traded = [m for m in recent if m.get("conversation_id")]
        said = exchanges(traded or recent)[-_ON_OVERVIEW["exchanges"] :]
        rows = [row for exchange in said for row in (exchange.message, exchange.answer) if row is not None]
        return {"latest": draw(rows, self._views.own, self._time)}

    async def _alarms(self, request: web.Request) -> _Context:
        alarms = await self._views.alarms(_ALARMS)
        return {"alarms": alarms, "alarms_shown": _ON_OVERVIEW["alarms"]}

    async def _resources(self, request: web.Request) -> _Context:
        rows = await self._views.resources()
        rows = sorted(rows, key=_resource_order)
        return {"resources": rows, "resources_shown": _ON_OVERVIEW["resources"]}

    async def _dispatches(self, request: web.Request) -> _Context:
        return {"dispatches": (await self._views.dispatches())[:_DISPATCHES]}

    async def _settlement(self, request: web.Request) -> _Context:
        return {"settlement": self._live.day.of("settlement")}

    async def _result(self, request: web.Request) -> _Context:
        outcome = self._live.day.of("result")
        result = outcome.get("result")
        return {
            "result": result if isinstance(result, Mapping) else outcome,
            "failures": outcome.get("failures") or (),
            "passed": "failures" in outcome and not outcome["failures"],
        }

    async def _places(self, request: web.Request) -> _Context:
        places = await self._views.places()
        return {"places": places[:_PLACES], "places_of": len(places)}

    async def _place(self, request: web.Request) -> _Context:
        given = {name: request.match_info.get(name) or request.query.get(name, "") for name in ("day", "point")}
        try:
            place = await self._views.place(given["point"], date.fromisoformat(given["day"]))
        except ValueError:
            place = None
        if place is None:
            raise web.HTTPNotFound(text="nothing was said about that congestion point and day")
        drawn = {name: place[name] for name in ("starts", "isp_minutes", "timezone", "sides")}
        return {
            "title": f"{given['day']} at {given['point']}",
            "place": place,
            "heading": _long_date(place["period"]),
            "drawn": json.dumps(drawn, separators=(",", ":")),
        }

    async def _settlements(self, request: web.Request) -> _Context:
        return {"settlements": (await self._views.settlements())[:_SETTLEMENTS]}

    async def _register(self, request: web.Request) -> _Context:
        register = await self._views.reference()
        return {"register": register, "register_day": _long_date(register["day"])}

    async def _conversations(self, request: web.Request) -> _Context:
        return {"conversations": summaries(await self._views.messages(None, _MESSAGES))}

    async def _conversation(self, request: web.Request) -> _Context:
        conversation = request.match_info.get("id") or request.query.get("id", "")
        messages = await self._views.messages(conversation, _MESSAGES)
        if not messages:  # what a protocol without conversations said with a peer
            recent = await self._views.messages(None, _MESSAGES)
            messages = [m for m in recent if conversation_of(m) == conversation]
        if not messages:
            raise web.HTTPNotFound(text="no conversation has that id")
        return {
            "title": f"Conversation {conversation}",
            "conversation": conversation,
            "exchanges": [
                (e, decoded(e.message), decoded(e.answer) if e.answer else None) for e in exchanges(messages)
            ],
            "diagram": draw(messages, self._views.own, self._time),
        }

    async def _peers(self, request: web.Request) -> _Context:
        return {"peers": await self._views.peers()}

    async def _log(self, request: web.Request) -> _Context:
        wanted = request.query.get("q", "").strip()
        events = await self._views.events(_EVENTS)
        found = [e for e in events if wanted.lower() in f"{e.get('kind')} {compact(e.get('data'), 10_000)}".lower()]
        return {"wanted": wanted, "events": found[:_EVENTS_SHOWN], "found": len(found), "events_of": len(events)}

    async def _table(self, request: web.Request) -> _Context:
        day = self._live.day
        starts = list(day.of("day").get("starts") or ())
        requested = set(day.of("day").get("requested") or ())
        names = ("forecast_kw", "prognosis_kw", "plan_kw", "limit_import_kw", "limit_export_kw")
        columns = [day.series(name) for name in names] + [day.actuals["net_kw"]]
        return {
            "rows": [
                (isp, start, isp in requested, [c[isp - 1] if isp <= len(c) else None for c in columns])
                for isp, start in enumerate(starts, 1)
            ]
        }

    @property
    def _zone(self) -> str:
        """The zone of the day that is shown, else of the market."""
        return str(self._live.day.of("day").get("timezone") or self._views.timezone)

    def _time(self, value: Any) -> str:
        return show_time(value, self._zone)


def _resource_order(row: Row) -> tuple[Any, ...]:
    """Stores first, then what is heard of, each kind by name; home-2 comes before home-10."""
    parts = re.split(r"(\d+)", str(row.get("id")))
    name = [int(part) if k % 2 else part for k, part in enumerate(parts)]
    return row.get("soc") is None, row.get("power_kw") is None, str(row.get("kind")), name


def _long_date(period: Any) -> str:
    try:
        day = date.fromisoformat(str(period))
    except ValueError:
        return ""
    return f"{day.day} {day:%B %Y}"
