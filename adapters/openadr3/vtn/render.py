"""Objects as bytes, as a viewer sees them in a version; they are kept until something that they show changes."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Hashable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from adapters.openadr3 import model
from adapters.openadr3.members import Version
from adapters.openadr3.vtn import wire
from adapters.openadr3.vtn.access import Access, Viewer
from adapters.openadr3.vtn.subscriptions import Held
from adapters.ports import Edit, Programmes
from datamodels import (
    Programme,
    ProgrammeEvent,
    ProgrammeReport,
    ProgrammeTarget,
    ResourceGroup,
    Ven,
    VenResource,
)

__all__ = ["Rendered", "Renderer", "joined", "rendered"]

_MOST_BYTES = 64 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Rendered:
    body: bytes
    etag: str


def rendered(body: bytes) -> Rendered:
    return Rendered(body, _tag(body))


def joined(items: Sequence[Rendered]) -> Rendered:
    """Objects as a list."""
    return Rendered(b"[" + b",".join(i.body for i in items) + b"]", _tag("".join(i.etag for i in items).encode()))


def _tag(body: bytes) -> str:
    return f'"{hashlib.blake2b(body, digest_size=12).hexdigest()}"'


class Renderer:
    """Follows the programme model."""

    def __init__(self, programmes: Programmes, access: Access) -> None:
        self._programmes = programmes
        self._access = access
        self._kept: dict[tuple[type, str], dict[Hashable, Rendered]] = {}
        self._bytes = 0
        programmes.watch(self._follow)

    def show(
        self, viewer: Viewer, entry: Any, version: Version, asked: Collection[ProgrammeTarget] = ()
    ) -> Rendered | None:
        """None where the object does not exist for the viewer, or has no form in that version."""
        if not wire.has_form(entry, version):
            return None
        seen = entry
        if isinstance(entry, Programme | ProgrammeEvent):
            shown = self._access.shown(viewer, entry, asked)
            if shown is None:
                return None
            seen = entry if shown == entry.targets else replace(entry, targets=shown)
        elif not self._access.sees(viewer, entry):
            return None
        elif isinstance(entry, ResourceGroup):
            seen = self._access.as_seen(viewer, entry)
        key: Hashable = (entry.revision, version, getattr(seen, "targets", ()), getattr(seen, "members", ()))
        is_narrow = not viewer.is_bl and isinstance(entry, ProgrammeEvent) and bool(entry.reports)
        if is_narrow:
            key = (*key, self._access.granted(viewer.client))  # type: ignore[misc]
        kept = self._kept.setdefault((type(entry), entry.id), {})
        found = kept.get(key)
        if found is None:
            body = self._body(viewer, entry, seen, version, is_narrow)
            if body is None:
                return None
            if self._bytes > _MOST_BYTES:
                self._kept.clear()
                self._bytes, kept = 0, self._kept.setdefault((type(entry), entry.id), {})
            found = kept[key] = rendered(body)
            self._bytes += len(body)
        return found

    def subscription(self, held: Held, version: Version) -> Rendered | None:
        """None where the version has no form for it: 3.0.1 wants a programme."""
        value: Any = held.value
        if held.version is not version:
            value = wire.converted(value, version)
            if value.targets is not None:
                value = replace(
                    value, targets=wire.shown_as(wire.targets_of(value.targets), version, self._access.label)
                )
        if version is Version.V301 and value.program_id is None:
            return None
        if held.broken:
            value = replace(value, extra={**value.extra, "broken": held.broken})
        return rendered(wire.text_of(wire.stamped(value, held, held.viewer.client), version))

    def _body(self, viewer: Viewer, entry: Any, seen: Any, version: Version, is_narrow: bool) -> bytes | None:
        text = wire.verbatim(entry, version)
        owner = self._access.owner(entry)
        if text is not None and seen == entry and not is_narrow and not isinstance(entry, Ven):
            head = wire.text_of(wire.stamps(entry, owner), version)
            return head[:-1] + b"," + text[1:]
        value = wire.value_of(entry, version, self._access.label)
        if seen != entry:
            value = self._cut(value, seen, version)
        if is_narrow and value.report_descriptors:
            descriptors = (self._narrowed(viewer, d, version) for d in value.report_descriptors)
            value = replace(value, report_descriptors=tuple(descriptors))
        if version is Version.V301 and isinstance(entry, Ven):
            value = replace(value, resources=self._resources(entry))
        if version is Version.V301 and isinstance(entry, ProgrammeReport):
            event = self._programmes.get(ProgrammeEvent, entry.event)
            if event is None and value.program_id is None:
                return None
            value = replace(value, program_id=event.programme if event is not None else value.program_id)
        return wire.text_of(wire.stamped(value, entry, owner), version)

    def _cut(self, value: Any, seen: Any, version: Version) -> Any:
        if isinstance(seen, ResourceGroup):
            ids = {m.id for m in seen.members}
            return replace(value, children=tuple(c for c in value.children or () if c.id in ids))
        return replace(value, targets=wire.shown_as(seen.targets, version, self._access.label))

    def _narrowed(self, viewer: Viewer, asked: model.ReportDescriptor, version: Version) -> model.ReportDescriptor:
        """Without targets that the viewer is not granted."""
        if asked.targets is None:
            return asked
        grants = self._access.granted(viewer.client)
        met = [t for t in wire.targets_of(asked.targets) if grants.meet(t)]
        return replace(asked, targets=wire.shown_as(met, version, self._access.label))

    def _resources(self, ven: Ven) -> tuple[Any, ...]:
        return tuple(
            wire.stamped(wire.value_of(each, Version.V301, self._access.label), each, ven.client)
            for each in self._access.resources(ven)
        )

    def _follow(self, edits: Sequence[Edit]) -> None:
        for edit in edits:
            moved = edit.before is not None and edit.kind is ProgrammeEvent
            if moved or edit.kind in (Ven, VenResource):
                # Names of these, and the programme of an event, stand in other objects too.
                self._forget_all(reports_only=moved)
            for body in self._kept.pop((edit.kind, edit.entry.id), {}).values():
                self._bytes -= len(body.body)

    def _forget_all(self, reports_only: bool) -> None:
        if not reports_only:
            self._kept.clear()
            self._bytes = 0
            return
        for key in [key for key in self._kept if key[0] is ProgrammeReport]:
            self._bytes -= sum(len(r.body) for r in self._kept.pop(key).values())
