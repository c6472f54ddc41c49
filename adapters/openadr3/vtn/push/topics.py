"""MQTT topics: their names, who may have them, and which of them an edit goes to (3.1; notifications, 9). Pure.

Collections are for business logic. What is below a programme carries objects without targets only, and is for whoever
may see the programme; what is below a VEN is for its client. The last level is the operation.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from adapters.openadr3.vtn.access import BL, Access, Viewer
from adapters.openadr3.vtn.push.notices import Notice, Operation, notice
from adapters.ports import Edit, Programmes
from datamodels import Entry, Programme, ProgrammeEvent, ProgrammeReport, Ven, VenResource

__all__ = ["COLLECTIONS", "Topics", "may_subscribe", "published", "topics"]

COLLECTIONS: Mapping[type[Entry], str] = {
    Programme: "programs",
    ProgrammeEvent: "events",
    ProgrammeReport: "reports",
    Ven: "vens",
    VenResource: "resources",
}
_BELOW = {"programs": ("events",), "vens": ("events", "programs", "resources")}
_WORDS = ("create", "update", "delete")
_ANYBODY = Viewer()


@dataclass(frozen=True, slots=True)
class Topics:
    """A place in the tree of topics: `programs`, `programs/<id>` or `programs/<id>/events`, and the like."""

    collection: str
    id: str = ""
    below: str = ""

    @classmethod
    def read(cls, path: str) -> Topics | None:
        """None where there is no such place."""
        collection, *rest = path.split("/")
        if not rest:
            known = (*COLLECTIONS.values(), "subscriptions")
            return cls(collection) if collection in known else None
        if len(rest) > 2 or collection not in _BELOW or (len(rest) == 2 and rest[1] not in _BELOW[collection]):
            return None
        return cls(collection, *rest)

    def of(self, operation: str) -> str:
        return "/".join(part for part in (self.collection, self.id, self.below, operation) if part)

    def document(self) -> dict[str, dict[str, str]]:
        """Schema `notifierTopicsResponse`; of one object, nobody can wait for its creation."""
        one = bool(self.id) and not self.below
        words = {word.upper(): self.of(word) for word in _WORDS if not (one and word == "create")}
        return {"topics": {**words, "ALL": self.of("+")}}


def topics(place: Topics, viewer: Viewer, access: Access, programmes: Programmes) -> bool | None:
    """Whether the viewer may have the topics of a place; None where it must look as if there were none."""
    if not place.id:
        return viewer.is_bl
    kind: type[Entry] = Programme if place.collection == "programs" else Ven
    entry = programmes.get(kind, place.id)
    return True if entry is not None and access.sees(viewer, entry) else None


def may_subscribe(filter: str, viewer: Viewer, access: Access, programmes: Programmes) -> bool:
    """Whether a topic filter is one that the viewer was, or would be, told: the operation alone may be a wildcard."""
    path, _, operation = filter.rpartition("/")
    place = Topics.read(path) if operation in (*_WORDS, "+") else None
    return place is not None and topics(place, viewer, access, programmes) is True


def published(edit: Edit, access: Access, programmes: Programmes) -> Iterator[tuple[str, Viewer, Notice]]:
    """The topics that an edit goes to, each with what is said there, and as whom it is seen."""
    if edit.kind not in COLLECTIONS:
        return
    entry, collection = edit.entry, COLLECTIONS[edit.kind]
    if (said := notice(access, BL, edit)) is not None:
        yield Topics(collection).of(_word(said)), BL, said
        yield from ((place.of(_word(said)), BL, said) for place in _own(entry) if _is_told(place, said))
    if isinstance(entry, Programme | ProgrammeEvent):
        place = Topics("programs", *((entry.id,) if isinstance(entry, Programme) else (entry.programme, "events")))
        open_ = notice(access, _ANYBODY, edit)
        if open_ is not None and _is_told(place, open_):
            yield place.of(_word(open_)), _ANYBODY, open_
        for viewer in _viewers(edit, access):
            said = notice(access, viewer, edit)
            # Whoever sees it because everybody does hears of it there.
            if said is not None and said != open_:
                for ven in access.owned(viewer.client, Ven):
                    yield Topics("vens", ven.id, collection).of(_word(said)), viewer, said


def _own(entry: Entry) -> Iterator[Topics]:
    """Places of a VEN that the object itself is, or is part of."""
    if isinstance(entry, Ven):
        yield Topics("vens", entry.id)
    elif isinstance(entry, VenResource):
        yield Topics("vens", entry.ven, "resources")


def _viewers(edit: Edit, access: Access) -> Iterator[Viewer]:
    """VENs that see a targeted programme or event, before or after."""
    entries = [e for e in (edit.before, edit.after) if isinstance(e, Programme | ProgrammeEvent) and e.targets]
    found = {viewer: None for entry in entries for viewer in access.entitled(entry)}
    yield from found


def _is_told(place: Topics, said: Notice) -> bool:
    return bool(place.below) or said.operation is not Operation.CREATE


def _word(said: Notice) -> str:
    return str(said.operation).lower()
