"""What must hold among the objects of the programme model, and what follows from removing one. Pure, by tables."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any, Protocol

from datamodels import (
    Availability,
    Entry,
    EventOpt,
    GroupMember,
    Problem,
    Programme,
    ProgrammeEvent,
    ResourceGroup,
    Ven,
    VenResource,
)

__all__ = ["Look", "Named", "broken", "consequences", "in_use", "names", "references"]

Named = tuple[type[Entry], str]
"""An object by kind and id."""


class Look(Protocol):
    """What is there, with the edits before the one that is looked at."""

    def get(self, kind: type[Any], id: str) -> Any: ...

    def named(self, kind: type[Entry], name: Hashable) -> str | None:
        """The id of the object that has a unique name."""

    def users(self, kind: type[Entry], id: str) -> Iterable[Entry]:
        """The objects that refer to one."""


_UNIQUE: Mapping[type[Entry], Callable[[Any], Hashable]] = {
    Programme: lambda e: e.name,
    Ven: lambda e: e.name,
    VenResource: lambda e: (e.ven, e.name),
    ResourceGroup: lambda e: e.name,
}
_REFERENCES: Mapping[type[Entry], Callable[[Any], Iterable[Named]]] = {
    ProgrammeEvent: lambda e: ((Programme, e.programme),),
    VenResource: lambda e: ((Ven, e.ven),),
    EventOpt: lambda e: ((ProgrammeEvent, e.event), (Ven, e.ven)),
    Availability: lambda e: ((Ven, e.ven),),
    ResourceGroup: lambda e: ((ResourceGroup if m.is_group else VenResource, m.id) for m in e.members),
}
"""Reports stay when their event is removed: what was metered is not undone by it."""


def names(entry: Entry) -> Hashable | None:
    """The name that no other object of its kind may have."""
    name = _UNIQUE.get(type(entry))
    return name(entry) if name else None


def references(entry: Entry) -> tuple[Named, ...]:
    """The objects that must exist for this one."""
    found = _REFERENCES.get(type(entry))
    return tuple(found(entry)) if found else ()


def broken(entry: Entry, look: Look) -> Iterator[Problem]:
    """The rules that an object, made or changed, would break."""
    kind = type(entry)
    name = names(entry)
    if name is not None and look.named(kind, name) not in (None, entry.id):
        shown = name if isinstance(name, str) else getattr(entry, "name", "")
        yield Problem("programme.name", "name", f"another {kind.__name__} is called {shown!r}", hint="choose another")
    for of, id in references(entry):
        if look.get(of, id) is None:
            yield Problem("programme.reference", of.__name__, f"there is no {of.__name__} {id!r}", hint="make it first")
    if isinstance(entry, ResourceGroup) and _contains_itself(entry, look):
        yield Problem("programme.cycle", "members", f"group {entry.name!r} would contain itself")


def consequences(removed: Entry, look: Look) -> Iterator[tuple[Entry, Entry | None]]:
    """What changes (before, after) when an object is removed; raises nothing: `in_use` says what forbids it."""
    for user in look.users(type(removed), removed.id):
        if isinstance(user, ResourceGroup):
            gone = GroupMember(removed.id, is_group=isinstance(removed, ResourceGroup))
            yield user, replace(user, members=tuple(m for m in user.members if m != gone))
        elif not isinstance(user, ProgrammeEvent):
            yield user, None


def in_use(removed: Entry, look: Look) -> Iterator[Problem]:
    """Why an object cannot be removed."""
    if not isinstance(removed, Programme):
        return
    events = [user for user in look.users(Programme, removed.id) if isinstance(user, ProgrammeEvent)]
    if events:
        text = f"programme {removed.name!r} has {len(events)} events"
        yield Problem("programme.in_use", "id", text, hint="remove them first")


def _contains_itself(group: ResourceGroup, look: Look) -> bool:
    seen: set[str] = set()
    open_ = [m.id for m in group.members if m.is_group]
    while open_:
        id = open_.pop()
        if id == group.id:
            return True
        if id in seen:
            continue
        seen.add(id)
        inner = look.get(ResourceGroup, id)
        open_ += [m.id for m in inner.members if m.is_group] if inner is not None else []
    return False
