"""What the API does with its objects: list, read, create, replace, remove; for both versions, by tables.

Every write is durable before it returns. What a client may not see does not exist for it.
"""

from __future__ import annotations

import logging
import uuid
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import islice
from typing import Any, Protocol

from adapters.errors import Rejection, TransportFault
from adapters.openadr3 import model
from adapters.openadr3.codec import Decoded, decode, request
from adapters.openadr3.members import Version
from adapters.openadr3.timeline import ends
from adapters.openadr3.vtn import wire
from adapters.openadr3.vtn.access import BL, Access, Viewer
from adapters.openadr3.vtn.auth import Caller
from adapters.openadr3.vtn.judge import Judge
from adapters.openadr3.vtn.render import Rendered, Renderer, joined
from adapters.openadr3.vtn.subscriptions import Held, Subscriptions
from adapters.openadr3.vtn.tables import MOST, Collection
from adapters.ports import Edit, Programmes
from datamodels import (
    Problem,
    Programme,
    ProgrammeEvent,
    ProgrammeReport,
    ProgrammeTarget,
    ResourceGroup,
    Ven,
    VenResource,
)

__all__ = ["Callbacks", "Desk", "Place"]

logger = logging.getLogger(__name__)

_ADAPTER = "openadr3"
_MOST_PAGED = 64 * 1024 * 1024
_STALE = "the object was changed meanwhile"


class Callbacks(Protocol):
    """Judges where a subscription wants to be called."""

    async def check(self, value: model.Subscription, before: model.Subscription | None) -> Sequence[Problem]:
        """What is wrong with its callbacks; those of `before` were checked already."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a call is made: a collection in a version, by whom; 3.0.1 has resources below the ven `under`."""

    caller: Caller
    version: Version
    collection: Collection
    under: str = ""

    @property
    def viewer(self) -> Viewer:
        return self.caller.viewer

    @property
    def author(self) -> str:
        return f"{_ADAPTER}/{self.viewer.client}"


class Desk:
    """`lenient`: see `ServerConfig`."""

    def __init__(
        self,
        programmes: Programmes,
        access: Access,
        renderer: Renderer,
        subscriptions: Subscriptions,
        callbacks: Callbacks,
        judge: Judge,
        now: Callable[[], datetime],
        lenient: bool = False,
    ) -> None:
        self._programmes = programmes
        self._access = access
        self._subscriptions = subscriptions
        self._callbacks = callbacks
        self._judge = judge
        self._now = now
        self._lenient = lenient
        self._renderer = renderer
        self._ends: dict[str, tuple[int, datetime | None]] = {}
        self._pages: dict[Hashable, Rendered] = {}
        self._paged = 0
        programmes.watch(self._follow)

    # --- reading ---

    def list(self, place: Place, query: Mapping[str, Any]) -> Rendered:
        """A page: those that meet every filter of `query` (already checked), oldest first."""
        # Who polls asks the same again; only subscriptions and what is over now may differ without an edit.
        where = (place.viewer, place.version, place.collection.path, place.under)
        key = (where, *((name, tuple(v) if isinstance(v, list | tuple) else v) for name, v in query.items()))
        lasts = place.collection.kind is not None and not query.get("active")
        page = self._pages.get(key) if lasts else None
        if page is None:
            found = self._listed(place, query)
            page = joined(found)
            if lasts:
                self._keep(key, page)
        return page

    def _keep(self, key: Hashable, page: Rendered) -> None:
        if self._paged > _MOST_PAGED:
            self._forget()
        self._pages[key] = page
        self._paged += len(page.body)

    def _forget(self) -> None:
        self._pages.clear()
        self._paged = 0

    def _listed(self, place: Place, query: Mapping[str, Any]) -> Sequence[Rendered]:
        asked = _asked(query)
        skip, limit = query.get("skip", 0), query.get("limit", MOST)
        if place.collection.kind is None:
            held = (h for h in self._subscriptions.seen_by(place.viewer) if _meets_subscription(h, query, asked))
            shown = (self._renderer.subscription(h, place.version) for h in held)
        else:
            entries = (e for e in self._entries(place, asked) if self._meets(e, place, query, asked))
            shown = (self._renderer.show(place.viewer, e, place.version, asked) for e in entries)
        return list(islice((r for r in shown if r is not None), skip, skip + limit))

    def get(self, place: Place, id: str, query: Mapping[str, Any]) -> Rendered:
        """One object (TransportFault 404)."""
        kind = place.collection.kind
        entry = self._programmes.get(kind, id) if kind in (Programme, ProgrammeEvent) else None
        if entry is None:
            return self._must_show(place, self._find(place, id))
        shown = self._renderer.show(place.viewer, entry, place.version, _asked(query))
        if shown is None:
            raise _nothing()
        return shown

    # --- writing ---

    async def create(self, place: Place, data: Any) -> Rendered:
        """Rejection: the object cannot be; TransportFault: the caller may not make it."""
        value = self._decoded(place, data)
        if isinstance(value, model.Subscription):
            await self._check_subscription(place, value, None)
            return self._must_show(place, await self._subscriptions.create(place.viewer, place.version, value))
        return await self._write(place, value, None)

    async def replace(self, place: Place, id: str, data: Any, tag: str = "") -> Rendered:
        """`tag` is the ETag that the object must still have, if any."""
        before = self._find(place, id)
        value = self._decoded(place, data)
        self._must_match(place, before, tag)
        if isinstance(before, Held):
            await self._check_subscription(place, value, before.value)
            return self._must_show(place, await self._subscriptions.replace(before, place.version, value))
        if isinstance(before, ProgrammeEvent):
            self._judge.may_change(before)
        return await self._write(place, value, before)

    async def remove(self, place: Place, id: str, tag: str = "") -> Rendered:
        """The object as it was."""
        before = self._find(place, id)
        self._must_match(place, before, tag)
        shown = self._must_show(place, before)
        if isinstance(before, Held):
            await self._subscriptions.remove(before)
        else:
            await self._programmes.write([Edit(before, None, place.author)])
        return shown

    async def _write(self, place: Place, value: Any, before: Any) -> Rendered:
        described = self._described(value.program_id) if isinstance(value, model.Event) else ()
        value, client = self._complete(place, value, before)
        asked = wire.Asked(
            place.version,
            self._now(),
            client,
            before,
            described,
            keeps_targets=isinstance(value, model.Ven | model.Resource) and not place.viewer.is_bl,
        )
        entry, losses = wire.entry_of(value, str(uuid.uuid4()), asked)
        for loss in losses:
            logger.info("openadr3: %s %s: only OpenADR 3 knows %s", type(entry).__name__, entry.id, loss)
        self._judge.check(value, entry)
        edits = [Edit(before, entry, place.author)]
        if isinstance(value, model.Ven) and value.resources is not None:
            edits += self._inline(place, entry, value.resources, asked)
        made = await self._programmes.write(edits)
        # Whoever may write programmes and events sees what it wrote, whomever that is for.
        viewer = BL if isinstance(entry, Programme | ProgrammeEvent) else place.viewer
        shown = self._renderer.show(viewer, next(e.after for e in made if e.entry.id == entry.id), place.version)
        if shown is None:
            raise _nothing()
        return shown

    # --- what an object needs ---

    def _decoded(self, place: Place, data: Any) -> Any:
        shape = request(place.collection.cls, place.version, self._role(place, data))
        if place.collection.name == "resource":
            # Later drafts leave out what the ven says already (errata 27).
            shape = replace(shape, required=("objectType",) if place.version is Version.V310 else ())
        decoded: Decoded[Any] = decode(shape, data, lenient=self._lenient)
        if decoded.value is None:
            raise Rejection(decoded.problems)
        return decoded.value

    def _role(self, place: Place, data: Any) -> str:
        """Which of the two request forms of vens and resources is meant (errata 21)."""
        role = "Bl" if place.viewer.is_bl else "Ven"
        if place.version is Version.V310 and place.collection.name in ("ven", "resource"):
            wanted = f"{role.upper()}_{place.collection.name.upper()}_REQUEST"
            given = data.get("objectType") if isinstance(data, Mapping) else None
            other = f"{'VEN' if role == 'Bl' else 'BL'}_{place.collection.name.upper()}_REQUEST"
            if given == other:
                raise TransportFault(403, "openadr3.role", f"{other} is for the other role; send {wanted}")
        return role

    def _complete(self, place: Place, value: Any, before: Any) -> tuple[Any, str]:
        """The document with what the place knows, and the client that the object belongs to."""
        client = place.viewer.client
        match value:
            case model.Event():
                self._must_know(place, Programme, value.program_id, "programID")
            case model.Report():
                event = self._must_know(place, ProgrammeEvent, value.event_id, "eventID")
                if value.program_id is not None and value.program_id != event.programme:
                    raise _reference("programID", value.program_id)
            case model.Ven():
                kept = before.client if before is not None else client
                given = value.client_id or value.extra.get("clientID")
                client = given if place.viewer.is_bl and isinstance(given, str) else kept
            case model.Resource():
                ven = self._ven(place, value)
                if value.client_id not in (None, ven.client) and place.viewer.is_bl:
                    text = "the ven belongs to another client"
                    raise Rejection([Problem("openadr3.owner", "clientID", text, hint="leave it out")])
                value = replace(value, ven_id=ven.id)
            case model.ResourceGroup():
                for n, child in enumerate(value.children or ()):
                    kind = ResourceGroup if child.type == "resource_group" else VenResource
                    if self._programmes.get(kind, child.id) is None:
                        text = f"there is no such {child.type}"
                        raise Rejection([Problem("openadr3.child", f"children[{n}].id", text, hint="make it first")])
        return value, client

    def _ven(self, place: Place, value: model.Resource) -> Ven:
        """The ven of a resource: the one above it, the one it names, or the client's only one (errata 27)."""
        id = place.under or value.ven_id
        if id is None:
            own = list(islice(self._access.owned(place.viewer.client, Ven), 2))
            if len(own) != 1:
                text = "it is not clear which ven is meant"
                raise Rejection([Problem("openadr3.missing", "venID", text, hint="add venID")])
            id = own[0].id
        ven = self._programmes.get(Ven, id)
        if ven is None or not self._access.sees(place.viewer, ven):
            raise TransportFault(404, "openadr3.path", "there is no such ven")
        return ven

    def _inline(self, place: Place, ven: Ven, given: Sequence[model.Resource], asked: wire.Asked) -> Iterator[Edit]:
        """The resources that stand inside a ven of 3.0.1 replace those it has, by name."""
        known = {r.name: r for r in self._access.resources(ven)}
        for value in given:
            before = known.pop(value.resource_name, None)
            about = replace(asked, before=before)
            entry, _ = wire.entry_of(replace(value, ven_id=ven.id), str(uuid.uuid4()), about)
            yield Edit(before, entry, place.author)
        for gone in known.values():
            yield Edit(gone, None, place.author)

    async def _check_subscription(
        self, place: Place, value: model.Subscription, before: model.Subscription | None
    ) -> None:
        if value.program_id is not None:
            self._must_know(place, Programme, value.program_id, "programID")
        problems = await self._callbacks.check(value, before)
        if problems:
            raise Rejection(problems)

    def _must_know(self, place: Place, kind: Any, id: str, member: str) -> Any:
        entry = self._programmes.get(kind, id)
        if entry is None or not self._access.sees(place.viewer, entry):
            raise _reference(member, id)
        return entry

    def _described(self, programme: str) -> Sequence[Any]:
        entry = self._programmes.get(Programme, programme)
        if entry is None:
            return ()
        return self._judge.program(entry).payload_descriptors or ()

    # --- finding and showing ---

    def _find(self, place: Place, id: str) -> Any:
        kind = place.collection.kind
        if kind is None:
            held = self._subscriptions.get(id)
            if held is None or not (place.viewer.is_bl or held.viewer.client == place.viewer.client):
                raise _nothing()
            return held
        entry = self._programmes.get(kind, id)
        if entry is None or not self._access.sees(place.viewer, entry) or not wire.has_form(entry, place.version):
            raise _nothing()
        if place.under and getattr(entry, "ven", None) != place.under:
            raise _nothing()
        return entry

    def _shown(self, place: Place, found: Any) -> Rendered | None:
        if isinstance(found, Held):
            return self._renderer.subscription(found, place.version)
        return self._renderer.show(place.viewer, found, place.version)

    def _must_show(self, place: Place, found: Any) -> Rendered:
        shown = self._shown(place, found)
        if shown is None:
            raise _nothing()
        return shown

    def _must_match(self, place: Place, found: Any, tag: str) -> None:
        if tag and not _is_tag(tag, self._must_show(place, found).etag):
            raise TransportFault(412, "openadr3.changed", _STALE)

    # --- filters ---

    def _entries(self, place: Place, asked: frozenset[ProgrammeTarget]) -> Iterable[Any]:
        kind: Any = place.collection.kind
        if place.under:
            ven = self._programmes.get(Ven, place.under)
            if ven is None or not self._access.sees(place.viewer, ven):
                raise _nothing()
            return self._access.resources(ven)
        if kind in (Programme, ProgrammeEvent):
            return self._access.visible(place.viewer, kind, asked)
        if place.viewer.is_bl:
            return self._programmes.all(kind).values()
        return self._access.owned(place.viewer.client, kind)

    def _meets(self, entry: Any, place: Place, query: Mapping[str, Any], asked: frozenset[ProgrammeTarget]) -> bool:
        for name, parameter in place.collection.parameters.items():
            if parameter.field is not None and name in query and getattr(entry, parameter.field) != query[name]:
                return False
        if isinstance(entry, ProgrammeReport) and "programID" in query:
            event = self._programmes.get(ProgrammeEvent, entry.event)
            return event is not None and event.programme == query["programID"]
        if isinstance(entry, ProgrammeEvent) and query.get("active"):
            over = self._over(entry)
            return over is None or over > self._now()
        if asked and isinstance(entry, Ven | VenResource | ResourceGroup):
            return any(self._access.is_asked(t, asked) for t in entry.targets)
        return True

    def _over(self, event: ProgrammeEvent) -> datetime | None:
        known = self._ends.get(event.id)
        if known is None or known[0] != event.revision:
            value = wire.value_of(event, Version.V310)
            known = self._ends[event.id] = event.revision, ends(value, event.created)
        return known[1]

    def _follow(self, edits: Sequence[Edit]) -> None:
        self._forget()
        for edit in edits:
            if edit.after is None and edit.kind is ProgrammeEvent:
                self._ends.pop(edit.entry.id, None)


def _asked(query: Mapping[str, Any]) -> frozenset[ProgrammeTarget]:
    kind = query.get("targetType", "")
    values = query.get("targets") or query.get("targetValues") or ()
    return frozenset(ProgrammeTarget(value, kind) for value in values)


def _meets_subscription(held: Held, query: Mapping[str, Any], asked: frozenset[ProgrammeTarget]) -> bool:
    value = held.value
    if any(name in query and getattr(value, field) != query[name] for name, field in _SUBSCRIBED):
        return False
    objects = set(query.get("objects") or ())
    if objects and not objects & {o for asked_for in value.object_operations for o in asked_for.objects}:
        return False
    targets = wire.targets_of(value.targets)
    return not asked or any(a.value == t.value and a.kind in ("", t.kind) for a in asked for t in targets)


_SUBSCRIBED = (("programID", "program_id"), ("clientName", "client_name"))


def _is_tag(given: str, tag: str) -> bool:
    tags = [each.strip().removeprefix("W/") for each in given.split(",")]
    return "*" in tags or tag in tags


def _reference(member: str, id: str) -> Rejection:
    return Rejection([Problem("programme.reference", member, "there is no such object", hint="make it first")])


def _nothing() -> TransportFault:
    return TransportFault(404, "openadr3.path", "there is no such object")
