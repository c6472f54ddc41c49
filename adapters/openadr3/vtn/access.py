"""Object privacy (3.1 Definition, "Object Privacy"): one judgement for REST, webhooks and MQTT.

A programme or event without targets is open to every VEN; one with targets only to VENs that are granted one of them,
and they are shown no other. A VEN is granted the targets of its ven objects, of their resources, and of the groups
these are in. Where a target has a label (3.0.1, 2.0b), the name of a VEN, resource or group that it speaks of grants it
too, and whoever it names as VEN also sees where (POWER_SERVICE_LOCATION, SERVICE_AREA). VENs, resources and reports are
seen by their owner, groups by the owners of what is in them. Business logic (BL) sees everything.
"""

from __future__ import annotations

import itertools
from collections.abc import Collection, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any, TypeVar

from adapters.ports import Edit, Programmes
from datamodels import (
    Entry,
    Programme,
    ProgrammeEvent,
    ProgrammeReport,
    ProgrammeTarget,
    ResourceGroup,
    Ven,
    VenResource,
)

__all__ = ["BL", "Access", "Grants", "Viewer"]

E = TypeVar("E", Programme, ProgrammeEvent)
_PLACES = ("POWER_SERVICE_LOCATION", "SERVICE_AREA")
_KINDS = (Programme, ProgrammeEvent, Ven, VenResource, ResourceGroup, ProgrammeReport)
_MOST_LISTED = 1_000_000


@dataclass(frozen=True, slots=True)
class Viewer:
    """Who asks: the client that a token (or a subscription) stands for. An anonymous one has no name."""

    client: str = ""
    is_bl: bool = False


BL = Viewer(is_bl=True)


@dataclass(frozen=True, slots=True)
class Grants:
    """Values that a client is granted under any label, and names that count under theirs only."""

    values: frozenset[str] = frozenset()
    names: frozenset[ProgrammeTarget] = frozenset()

    def meet(self, target: ProgrammeTarget) -> bool:
        return target.value in self.values or target in self.names


class Access:
    """Follows the programme model. `strict` shows a targeted object only to those who ask for its target (the
    Definition read to the letter); otherwise asking for none is asking for all that one is granted (User Guide 8.13).
    """

    def __init__(self, programmes: Programmes, strict: bool = False) -> None:
        self._programmes = programmes
        self._strict = strict
        self._related = _Index()  # clients -> vens, vens -> resources, members -> groups
        self._targeted = _Index()  # values of targets -> programmes and events; no value -> those without targets
        self._order: dict[tuple[type, str], int] = {}
        self._count = itertools.count()
        self._grants: dict[str, Grants] = {}
        self._lists: dict[Hashable, Sequence[Any]] = {}
        self._listed = 0
        for kind in _KINDS:
            for entry in programmes.all(kind).values():
                self._enter(entry)
        programmes.watch(self._follow)

    # --- one object ---

    def shown(
        self, viewer: Viewer, entry: Programme | ProgrammeEvent, asked: Collection[ProgrammeTarget] = ()
    ) -> tuple[ProgrammeTarget, ...] | None:
        """The targets of a programme or event that the viewer may see; None hides the object as a whole.

        `asked` are the targets that a query or subscription names (without a label: under any); one must match.
        """
        targets = entry.targets
        wanted = tuple(t for t in targets if self.is_asked(t, asked)) if asked else targets
        if viewer.is_bl:
            return targets if wanted or not asked else None
        if isinstance(entry, ProgrammeEvent) and entry.test:
            return None  # 3.x has no word for a test: a VEN would act upon it
        if not targets:
            return None if asked else ()
        if self._strict and not asked:
            return None
        grants = self.granted(viewer.client)
        met = [t for t in wanted if grants.meet(t)]
        if not met:
            return None
        named = any(t.kind == "VEN_NAME" for t in met)
        return tuple(t for t in wanted if t in met or (named and t.kind in _PLACES))

    def sees(self, viewer: Viewer, entry: Entry) -> bool:
        """Whether an object exists for the viewer (programmes and events: without naming targets)."""
        if viewer.is_bl:
            return True
        if isinstance(entry, Programme | ProgrammeEvent):
            return self.shown(viewer, entry) is not None
        if isinstance(entry, ResourceGroup):
            return bool(viewer.client) and entry.id in self._groups_of(viewer.client)
        return bool(viewer.client) and self.owner(entry) == viewer.client

    def owner(self, entry: Entry) -> str:
        """The client whose object it is; empty for what only BL owns."""
        if isinstance(entry, Ven | ProgrammeReport):
            return entry.client
        if isinstance(entry, VenResource):
            ven = self._programmes.get(Ven, entry.ven)
            return ven.client if ven is not None else ""
        return ""

    def as_seen(self, viewer: Viewer, group: ResourceGroup) -> ResourceGroup:
        """A group with those members only that exist for the viewer."""
        if viewer.is_bl:
            return group
        own = {*self._resources_of(viewer.client), *self._groups_of(viewer.client)}
        return replace(group, members=tuple(m for m in group.members if m.id in own))

    # --- many objects ---

    def visible(self, viewer: Viewer, kind: type[E], asked: frozenset[ProgrammeTarget] = frozenset()) -> Sequence[E]:
        """All programmes or events that the viewer may see, oldest first."""
        key = (viewer, kind, asked)
        known = self._lists.get(key)
        if known is None:
            found = (e for e in self._candidates(viewer, kind, asked) if self.shown(viewer, e, asked) is not None)
            known = tuple(found)
            if self._listed > _MOST_LISTED:
                self._lists.clear()
                self._listed = 0
            self._lists[key] = known
            self._listed += 1 + len(known)
        return known

    def owned(self, client: str, kind: type[Any]) -> Iterator[Any]:
        """The vens, resources or reports of a client, and the groups its resources are in, oldest first."""
        ids: Iterable[str]
        if kind in (Ven, ProgrammeReport):
            ids = self._related.get(("client" if kind is Ven else "reporter", client))
        else:
            ids = self._resources_of(client) if kind is VenResource else self._groups_of(client)
        entries = (self._programmes.get(kind, id) for id in sorted(ids, key=lambda id: self._order[kind, id]))
        return (entry for entry in entries if entry is not None)

    def resources(self, ven: Ven) -> Iterator[VenResource]:
        """The resources of a ven, oldest first."""
        found = (self._programmes.get(VenResource, id) for id in self._related.get(("ven", ven.id)))
        return (resource for resource in found if resource is not None)

    def entitled(self, entry: Entry) -> Iterator[Viewer]:
        """The VENs' clients for whom an object exists, as far as they have a ven object."""
        for client in [key[1] for key in self._related.rows if key[0] == "client"]:
            if client and self.sees(Viewer(client), entry):
                yield Viewer(client)

    def granted(self, client: str) -> Grants:
        """What a client is granted now."""
        known = self._grants.get(client)
        if known is None:
            known = self._grants[client] = self._granted(client)
        return known

    def label(self, target: ProgrammeTarget) -> str:
        """The label under which 3.0.1 reads a target: its own, or else that of the VEN or resource of this name."""
        if target.kind:
            return target.kind
        for kind in ("VEN_NAME", "RESOURCE_NAME"):
            if self._related.get((kind, target.value)):
                return kind
        return "GROUP"

    # --- inside ---

    def is_asked(self, target: ProgrammeTarget, asked: Collection[ProgrammeTarget]) -> bool:
        return any(a.value == target.value and a.kind in ("", self.label(target)) for a in asked)

    def _granted(self, client: str) -> Grants:
        vens = list(self.owned(client, Ven))
        resources, groups = list(self.owned(client, VenResource)), list(self.owned(client, ResourceGroup))
        names = [("VEN_NAME", v) for v in vens] + [("RESOURCE_NAME", r) for r in resources]
        names += [("GROUP", g) for g in groups]
        return Grants(
            frozenset(t.value for entry in (*vens, *resources, *groups) for t in entry.targets),
            frozenset(ProgrammeTarget(entry.name, kind) for kind, entry in names),
        )

    def _candidates(self, viewer: Viewer, kind: type[E], asked: Collection[ProgrammeTarget]) -> Iterator[E]:
        if viewer.is_bl and not asked:
            yield from self._programmes.all(kind).values()
            return
        grants: Grants = self.granted(viewer.client)
        values = {a.value for a in asked} or {*grants.values, *(t.value for t in grants.names)}
        ids: dict[str, None] = {} if asked else dict(self._targeted.get((kind, None)))
        for value in values:
            ids |= self._targeted.get((kind, value))
        for id in sorted(ids, key=lambda id: self._order[kind, id]):
            entry = self._programmes.get(kind, id)
            if entry is not None:
                yield entry

    def _resources_of(self, client: str) -> dict[str, None]:
        return {id: None for ven in self._related.get(("client", client)) for id in self._related.get(("ven", ven))}

    def _groups_of(self, client: str) -> dict[str, None]:
        """The groups that a resource of the client is in, directly or by way of other groups."""
        found: dict[str, None] = {}
        open_ = list(self._resources_of(client))
        while open_:
            for group in self._related.get(("member", open_.pop())):
                if group not in found:
                    found[group] = None
                    open_.append(group)
        return found

    # --- following the model ---

    def _follow(self, edits: Sequence[Edit]) -> None:
        for edit in edits:
            if edit.kind not in _KINDS:
                continue
            for entry in (edit.before, edit.after):
                if isinstance(entry, Ven | VenResource):
                    self._grants.pop(self.owner(entry), None)
            if edit.kind is ResourceGroup:
                self._grants.clear()
            if edit.before is not None:
                for index, key in self._keys(edit.before):
                    index.drop(key, edit.before.id)
            if edit.after is not None:
                self._enter(edit.after)
            else:
                self._order.pop((edit.kind, edit.entry.id), None)
            if edit.kind is not ProgrammeReport:
                self._lists.clear()
                self._listed = 0

    def _enter(self, entry: Entry) -> None:
        place = type(entry), entry.id
        if place not in self._order:
            self._order[place] = next(self._count)
        for index, key in self._keys(entry):
            index.add(key, entry.id)

    def _keys(self, entry: Entry) -> Iterator[tuple[_Index, Hashable]]:
        match entry:
            case Programme() | ProgrammeEvent():
                values: list[str | None] = [t.value for t in entry.targets]
                for value in values or [None]:
                    yield self._targeted, (type(entry), value)
            case Ven():
                yield self._related, ("client", entry.client)
                yield self._related, ("VEN_NAME", entry.name)
            case VenResource():
                yield self._related, ("ven", entry.ven)
                yield self._related, ("RESOURCE_NAME", entry.name)
            case ResourceGroup():
                for member in entry.members:
                    yield self._related, ("member", member.id)
            case ProgrammeReport():
                yield self._related, ("reporter", entry.client)


class _Index:
    """Which ids belong to a key, in the order of their coming."""

    def __init__(self) -> None:
        self.rows: dict[Any, dict[str, None]] = {}

    def get(self, key: Hashable) -> Mapping[str, None]:
        return self.rows.get(key, _NONE)

    def add(self, key: Hashable, id: str) -> None:
        self.rows.setdefault(key, {})[id] = None

    def drop(self, key: Hashable, id: str) -> None:
        row = self.rows.get(key, {})
        row.pop(id, None)
        if not row:
            self.rows.pop(key, None)


_NONE: Mapping[str, None] = MappingProxyType({})
