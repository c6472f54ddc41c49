"""What people and programs may see of a running server: JSON-ready rows, the same for the HTTP API and the pages."""

from __future__ import annotations

import base64
import importlib.metadata
from collections.abc import Mapping
from datetime import date
from typing import TYPE_CHECKING, Any

from datamodels import Programme, ProgrammeEvent, Quantity, Ven
from datamodels.eventclock import phase_of
from interop.dispatcher import Record
from interop.feed import Feed
from interop.market import board
from interop.market.desk import MarketDesk
from interop.programmes import rows
from interop.step import SIGNATURES

if TYPE_CHECKING:
    from interop.server import Server

__all__ = ["ServerViews"]

_SEEN_WARNINGS = 5


class ServerViews:
    """Rows about a server. Times are ISO 8601 with an offset; None means not known."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._seen: dict[str, str] = {}

    @property
    def own(self) -> str:
        return self._server.config.party.domain

    @property
    def feed(self) -> Feed:
        return self._server.feed

    async def status(self) -> dict[str, Any]:
        server = self._server
        problems = await server.problems()
        return {
            "domain": self.own,
            "role": str(server.config.party.role),
            "version": importlib.metadata.version("gridparley"),
            "market_time": server.clock.now().isoformat(),
            "clock_rate": server.clock.rate,
            "ready": not problems,
            "problems": [str(problem) for problem in problems],
            "desk": server.config.desk.kind,
            "adapters": {
                name: {"ready": status.ready, "listening": list(status.listening), "peers": dict(status.peers)}
                for name, status in ((name, adapter.status()) for name, adapter in server.adapters.items())
            },
            **await server.store.counts(),
        }

    async def messages(
        self, conversation: str | None = None, limit: int = 200, peer: str | None = None
    ) -> list[dict[str, Any]]:
        """The latest messages, oldest first: of a conversation, of a peer, or of all."""
        return [
            {
                "direction": str(row.direction),
                "adapter": row.adapter,
                "peer": row.peer,
                "kind": row.kind,
                "message_id": row.message_id,
                "conversation_id": row.conversation_id,
                "at": row.at.isoformat(),
                "state": row.state,
                "reason": row.reason,
                "accepted": row.accepted,
                "reasons": list(row.reasons),
                "signature": SIGNATURES.get(row.adapter, ""),
                "message": row.message,
            }
            for row in await self._server.store.messages(conversation, peer, limit)
        ]

    async def message(self, message_id: str) -> list[dict[str, Any]]:
        """Every message of an id, with its bytes in base64."""
        return [
            {"direction": str(row.direction), "peer": row.peer, "kind": row.kind, "state": row.state}
            | {"message": row.message, "raw": base64.b64encode(row.raw).decode("ascii")}
            for row in await self._server.store.message(message_id)
        ]

    # --- programmes -------------------------------------------------------------------------

    @property
    def needs_token(self) -> bool:
        return bool(self._server.config.server.api_token)

    async def programmes(self) -> list[dict[str, Any]]:
        objects, now = self._server.programmes, self._server.clock.now()
        return [rows.programme(each, objects, now) for each in objects.all(Programme).values()]

    async def programme_events(self) -> list[dict[str, Any]]:
        """Those that are not over, by start; then the ones that are, the latest first."""
        objects, now = self._server.programmes, self._server.clock.now()
        events = sorted(objects.all(ProgrammeEvent).values(), key=lambda e: e.start or e.created)
        over = [e for e in reversed(events) if phase_of(e, now).is_over]
        return [rows.event(e, objects, now) for e in (*(e for e in events if e not in over), *over)]

    async def programme_event(self, id: str) -> dict[str, Any] | None:
        objects = self._server.programmes
        found = objects.get(ProgrammeEvent, id)
        return rows.event_whole(found, objects, self._server.clock.now()) if found else None

    async def vens(self) -> list[dict[str, Any]]:
        objects = self._server.programmes
        return [rows.ven(each, objects, self.seen_vens()) for each in objects.all(Ven).values()]

    async def ven(self, id: str) -> dict[str, Any] | None:
        objects = self._server.programmes
        found = objects.get(Ven, id)
        return rows.ven_whole(found, objects, self.seen_vens()) if found else None

    def seen_vens(self) -> dict[str, str]:
        """What the adapters say of their VENs, by the names they have there."""
        adapters = self._server.adapters.values()
        return {peer: state for adapter in adapters for peer, state in adapter.status().peers.items()}

    # --- the market --------------------------------------------------------------------------

    async def places(self) -> list[dict[str, Any]]:
        """Congestion points and days that were traded (see `board.places`); none where there is no market desk."""
        desk = self._desk
        return board.places(desk.book, self._server.clock.now()) if desk else []

    async def place(self, point: str, day: date) -> dict[str, Any] | None:
        """One of them (see `board.place`); None where nothing was said about it."""
        desk, now = self._desk, self._server.clock.now()
        if desk is None:
            return None
        found = board.place(desk.book, self._server.terms, point, day, now)
        return found if any(found[kind] for kind in ("prognoses", "requests", "offers", "orders")) else None

    async def settlements(self) -> list[dict[str, Any]]:
        """Newest first, with their arithmetic (see `board.settlements`)."""
        desk = self._desk
        return board.settlements(desk.book, self._server.terms, self._server.clock.now()) if desk else []

    async def reference(self) -> dict[str, Any]:
        """Who is connected where, as this party may see it; connections are named to readers on this machine only."""
        desk, zone = self._desk, self._server.terms.calendar.zone
        if desk is None:
            return {"day": None, "points": [], "aggregators": [], "updates": []}
        found = desk.reference(self._server.clock.now().astimezone(zone).date())
        if not self._server.config.server.is_local:
            for point in found["points"]:
                point.pop("named", None)
        return found

    @property
    def timezone(self) -> str:
        return self._server.terms.calendar.tz

    @property
    def role(self) -> str:
        return str(self._server.config.party.role)

    @property
    def _desk(self) -> MarketDesk | None:
        return desk if isinstance(desk := self._server.desk, MarketDesk) else None

    async def dispatches(self) -> list[dict[str, Any]]:
        """What resources were told, newest first; `value` is the one that holds now."""
        records = sorted(self._server.hub.dispatcher.records.values(), key=lambda r: r.at, reverse=True)
        return [self.dispatch(record) for record in records]

    def dispatch(self, record: Record) -> dict[str, Any]:
        """One dispatch, with its standing."""
        interval = record.dispatch.at(self._server.clock.now())
        return {
            "id": record.dispatch.id,
            "resource": record.dispatch.resource,
            "kind": str(record.dispatch.kind),
            "source": record.dispatch.source,
            "priority": record.dispatch.priority,
            "revision": record.dispatch.revision,
            "status": str(record.status),
            "value": interval.value if interval else None,
            "start": record.dispatch.start.isoformat(),
            "end": record.dispatch.end.isoformat(),
            "at": record.at.isoformat(),
            "reason": record.reason,
            "carried": record.carried,
            "withdrawn": record.withdrawn,
        }

    async def resources(self) -> list[dict[str, Any]]:
        """Devices, with what was heard of them last."""
        limits = {row["resource"]: row["value"] for row in await self.dispatches() if row["kind"].endswith("_LIMIT")}
        found = []
        for resource in self._server.resources.values():
            power = self._latest(resource.id, Quantity.POWER_W)
            if power is None:
                power = self._latest(resource.id, Quantity.MEAN_POWER_W)
            stored = self._latest(resource.id, Quantity.STORED_ENERGY_WH)
            online = self._latest(resource.id, Quantity.ONLINE)
            limit = limits.get(resource.id)
            found.append(
                {
                    "id": resource.id,
                    "name": resource.name,
                    "kind": str(resource.kind),
                    "adapter": resource.binding.adapter if resource.binding else None,
                    "power_kw": None if power is None else power / 1000,
                    "stored_kwh": None if stored is None else stored / 1000,
                    "soc": self._latest(resource.id, Quantity.STATE_OF_CHARGE),
                    "online": power is not None or None if online is None else bool(online),
                    "limit_kw": None if limit is None else limit / 1000,
                }
            )
        return found

    async def peers(self) -> list[dict[str, Any]]:
        counted = self._server.hub.warning.totals()
        seen = self._server.hub.last_heard
        carried: dict[str, list[str]] = {}
        for name, adapter in self._server.adapters.items():
            for peer in adapter.status().peers:
                carried.setdefault(peer, []).append(name)
        table: Mapping[str, Any] = self._server.peers
        found = []
        for domain in [*table, *(peer for peer in carried if peer not in table)]:
            known = table.get(domain)
            counts = counted.get(domain, {})
            unusual = {what: n for what, n in counts.items() if what != "messages"}
            found.append(
                {
                    "id": domain,
                    "role": str(known.role) if known else None,
                    "adapters": carried.get(domain, []),
                    "endpoint": known.endpoint if known else None,
                    "status": str(known.status) if known else None,
                    "keys": [base64.b64encode(k.public_key).decode("ascii") for k in known.keys] if known else [],
                    "last_seen": seen[domain].isoformat() if domain in seen else None,
                    "messages": counts.get("messages", 0),
                    "warnings": [f"{what}: {n}" for what, n in sorted(unusual.items())][:_SEEN_WARNINGS],
                }
            )
        return found

    async def alarms(self, limit: int = 100) -> list[dict[str, Any]]:
        """Newest first."""
        events = await self._server.store.latest_events(limit, ("alarm",))
        return [dict(event.data) | {"at": event.at.isoformat()} for event in reversed(events)]

    async def events(self, limit: int = 100) -> list[dict[str, Any]]:
        """Newest first."""
        events = await self._server.store.latest_events(limit)
        return [
            {"seq": e.seq, "at": e.at.isoformat(), "kind": e.kind, "data": e.data, "hash": e.hash}
            for e in reversed(events)
        ]

    def _latest(self, resource: str, quantity: Quantity) -> float | None:
        heard = self._server.feed.latest(f"telemetry/{resource}/{quantity}")
        return None if heard is None else float(heard["value"])
