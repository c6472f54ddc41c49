"""What an edit means to somebody: the operation as he sees it, and how it is told. Pure.

Who may see what may change with an edit: an event whose targets no longer name a VEN is deleted for it, and made for
those whom it names now. Nobody is told of what he never saw.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeAlias

from adapters.openadr3.members import Version
from adapters.openadr3.vtn.access import Access, Viewer
from adapters.openadr3.vtn.render import Renderer
from adapters.ports import Edit
from datamodels import (
    Entry,
    Programme,
    ProgrammeEvent,
    ProgrammeReport,
    ProgrammeTarget,
    Ven,
    VenResource,
)

__all__ = ["OBJECTS", "READ_AS", "WORDS", "Notice", "Operation", "framed", "notice", "programme_of", "written"]

Targets: TypeAlias = tuple[ProgrammeTarget, ...]


class Operation(StrEnum):
    CREATE = "CREATE"
    READ = "READ"
    UPDATE = "UPDATE"
    DELETE = "DELETE"


_METHODS = {
    Operation.CREATE: "POST",
    Operation.READ: "GET",
    Operation.UPDATE: "PUT",
    Operation.DELETE: "DELETE",
}
WORDS: Mapping[Version, Mapping[Operation, str]] = {
    Version.V301: _METHODS,
    Version.V310: {operation: operation.value for operation in Operation},
}
"""What each version calls an operation in a notification (errata 4)."""

READ_AS: Mapping[str, Operation] = {word: operation for words in WORDS.values() for operation, word in words.items()}
"""Operations as subscriptions name them, in either vocabulary."""

OBJECTS: Mapping[type[Entry], str] = {
    Programme: "PROGRAM",
    ProgrammeEvent: "EVENT",
    ProgrammeReport: "REPORT",
    Ven: "VEN",
    VenResource: "RESOURCE",
}
"""Objects that the standard notifies of, by kind; subscriptions are the adapter's own."""


@dataclass(frozen=True, slots=True)
class Notice:
    """An operation on an object as somebody sees it; `shown` are the targets that he may see."""

    operation: Operation
    entry: Entry
    shown: Targets


def notice(access: Access, viewer: Viewer, edit: Edit, asked: Collection[ProgrammeTarget] = ()) -> Notice | None:
    """What an edit means to the viewer, who asked for these targets; None where he must not hear of it."""
    before, after = _seen(access, viewer, edit.before, asked), _seen(access, viewer, edit.after, asked)
    if after is not None:
        entry, shown = after
        return Notice(Operation.UPDATE if before is not None else Operation.CREATE, entry, shown)
    return Notice(Operation.DELETE, *before) if before is not None else None


def programme_of(entry: Entry, event: Callable[[str], ProgrammeEvent | None]) -> str | None:
    """The programme that an object belongs to; None for one that belongs to none in particular."""
    match entry:
        case Programme():
            return entry.id
        case ProgrammeEvent():
            return entry.programme
        case ProgrammeReport():
            reported = event(entry.event)
            return reported.programme if reported is not None else ""
        case _:
            return None


def written(
    renderer: Renderer, viewer: Viewer, said: Notice, version: Version, asked: Collection[ProgrammeTarget] = ()
) -> bytes | None:
    """A notification (schema `notification`) as the viewer may read it; None where the version has no form for it."""
    shown = renderer.show(viewer, said.entry, version, asked)
    return None if shown is None else framed(OBJECTS[type(said.entry)], said.operation, version, shown.body)


def framed(object_type: str, operation: Operation, version: Version, body: bytes) -> bytes:
    """A notification around an object."""
    head = f'{{"objectType":"{object_type}","operation":"{WORDS[version][operation]}","object":'
    return head.encode() + body + b"}"


def _seen(
    access: Access, viewer: Viewer, entry: Entry | None, asked: Collection[ProgrammeTarget]
) -> tuple[Entry, Targets] | None:
    if entry is None or (isinstance(entry, ProgrammeEvent) and entry.cancelled):
        return None  # 3.x has no cancelled events: they are gone
    if isinstance(entry, Programme | ProgrammeEvent):
        shown = access.shown(viewer, entry, asked)
        return None if shown is None else (entry, shown)
    return (entry, ()) if access.sees(viewer, entry) else None
