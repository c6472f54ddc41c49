"""Objects of the programme model and documents of OpenADR 3, both ways, for both versions. Pure.

An object that was written over OpenADR 3 keeps its document (`Written`, without what the VTN stamps), and is shown from
that; one of another standard is put into words of this one. Targets are always those of the model, with the labels
that they came with.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, TypeAlias

from adapters.openadr3 import model
from adapters.openadr3.codec import Shape, decode, dumps, encode, loads
from adapters.openadr3.members import Text, Version, Wire, member
from adapters.openadr3.vtn.neutral import event_of, heard, report_of, said
from adapters.openadr3.vtn.versions import converted
from datamodels import (
    Entry,
    GroupMember,
    Loss,
    Programme,
    ProgrammeEvent,
    ProgrammeReport,
    ProgrammeTarget,
    ResourceGroup,
    Ven,
    VenResource,
    Written,
)

__all__ = [
    "KINDS",
    "Asked",
    "converted",
    "entry_of",
    "has_form",
    "shown_as",
    "stamped",
    "stamps",
    "targets_of",
    "text_of",
    "value_of",
    "verbatim",
]

KINDS: Mapping[type[Entry], type[Wire]] = {
    Programme: model.Program,
    ProgrammeEvent: model.Event,
    ProgrammeReport: model.Report,
    Ven: model.Ven,
    VenResource: model.Resource,
    ResourceGroup: model.ResourceGroup,
}
_TYPES: Mapping[type[Wire], str] = {
    model.Program: "PROGRAM",
    model.Event: "EVENT",
    model.Report: "REPORT",
    model.Ven: "VEN",
    model.Resource: "RESOURCE",
    model.ResourceGroup: "RESOURCE_GROUP",
    model.Subscription: "SUBSCRIPTION",
}
_STAMPS = ("id", "created_date_time", "modification_date_time", "object_type", "client_id")
_OWNED = (Ven, VenResource, ProgrammeReport)
_FORM = "openadr3/"
Label: TypeAlias = Callable[[ProgrammeTarget], str]


# --- documents to objects -----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Asked:
    """What stands around a document: who sends it, when, and the object that it replaces.

    `described` are the payloadDescriptors of an event's programme. `keeps_targets`: the sender may not write them.
    """

    version: Version
    now: datetime
    client: str = ""
    before: Any = None
    described: Sequence[Any] = field(default=())
    keeps_targets: bool = False


def entry_of(value: Wire, id: str, asked: Asked) -> tuple[Any, tuple[Loss, ...]]:
    """The object that a client's document makes of `asked.before` (or anew), and what of it only its own standard
    knows."""
    stamps: Any = {name: None for name in _STAMPS if hasattr(value, name)}
    given: Any = replace(value, **stamps)
    known = asked.before.targets if asked.before is not None and hasattr(asked.before, "targets") else ()
    if asked.keeps_targets:
        targets = tuple(known)
        given = replace(given, targets=shown_as(targets, asked.version, lambda t: "GROUP"))
    else:
        targets = targets_of(getattr(given, "targets", None), known)
    if isinstance(given, model.Ven):
        given = replace(given, resources=None)
    fields, losses = _FIELDS[type(given)](given, asked)
    if not isinstance(given, model.Report):
        fields["targets"] = targets
    fields["written"] = Written(_FORM + asked.version, text_of(given, asked.version).decode())
    if asked.before is not None:
        return replace(asked.before, **fields), losses
    kind = next(kind for kind, cls in KINDS.items() if cls is type(value))
    return kind(id=id, **fields), losses


def targets_of(
    given: Iterable[model.Target] | None, known: Iterable[ProgrammeTarget] = ()
) -> tuple[ProgrammeTarget, ...]:
    """Targets as the model keeps them; one without a label gets that of `known` with the same value."""
    labels = {t.value: t.kind for t in known}
    out: dict[ProgrammeTarget, None] = {}
    for target in given or ():
        if isinstance(target, str):
            out[ProgrammeTarget(target, labels.get(target, ""))] = None
        else:
            out |= {ProgrammeTarget(v if isinstance(v, str) else _text(v), target.type): None for v in target.values}
    return tuple(out)


def shown_as(targets: Iterable[ProgrammeTarget], version: Version, label: Label) -> tuple[model.Target, ...]:
    """Targets as a version writes them."""
    if version is Version.V310:
        return tuple(dict.fromkeys(t.value for t in targets))
    by_label: dict[str, list[str]] = {}
    for t in targets:
        by_label.setdefault(t.kind or label(t), []).append(t.value)
    return tuple(model.ValuesMap(type=kind, values=tuple(values)) for kind, values in by_label.items())


def _program(value: model.Program, asked: Asked) -> tuple[dict[str, Any], tuple[Loss, ...]]:
    return {"name": value.program_name}, ()


def _event(value: model.Event, asked: Asked) -> tuple[dict[str, Any], tuple[Loss, ...]]:
    told = said(value, asked.described, asked.now)
    fields = {
        "programme": value.program_id,
        "name": value.event_name or "",
        "signals": told.signals,
        "priority": told.priority,
        "tolerance": told.tolerance,
        "reports": told.reports,
    }
    return fields, told.losses


def _report(value: model.Report, asked: Asked) -> tuple[dict[str, Any], tuple[Loss, ...]]:
    series, losses = heard(value, asked.now)
    client = asked.before.client if asked.before is not None else asked.client
    fields = {
        "event": value.event_id,
        "client": client,
        "ven": value.client_name,
        "name": value.report_name or "",
        "series": series,
    }
    return fields, losses


def _ven(value: model.Ven, asked: Asked) -> tuple[dict[str, Any], tuple[Loss, ...]]:
    return {"name": value.ven_name, "client": asked.client, "profile": str(asked.version)}, ()


def _resource(value: model.Resource, asked: Asked) -> tuple[dict[str, Any], tuple[Loss, ...]]:
    return {"name": value.resource_name, "ven": value.ven_id}, ()


def _group(value: model.ResourceGroup, asked: Asked) -> tuple[dict[str, Any], tuple[Loss, ...]]:
    members = tuple(GroupMember(c.id, c.type == "resource_group") for c in value.children or ())
    return {"name": value.resource_group_name, "members": members}, ()


_FIELDS: Mapping[type[Wire], Callable[[Any, Asked], tuple[dict[str, Any], tuple[Loss, ...]]]] = {
    model.Program: _program,
    model.Event: _event,
    model.Report: _report,
    model.Ven: _ven,
    model.Resource: _resource,
    model.ResourceGroup: _group,
}


# --- objects to documents -----------------------------------------------------------------------------------------


def has_form(entry: Entry, version: Version) -> bool:
    """Whether a version has a form for an object at all: none has one for a cancelled event or a report on nothing."""
    if isinstance(entry, ProgrammeEvent):
        return not entry.cancelled
    if isinstance(entry, ProgrammeReport):
        return bool(entry.event)
    return type(entry) in KINDS and (not isinstance(entry, ResourceGroup) or version is Version.V310)


def value_of(entry: Any, version: Version, label: Label = lambda t: "GROUP") -> Any:
    """An object as a version shows it, without stamps; the object must have a form there."""
    written_in = _version_of(entry.written)
    value: Any
    if written_in is None:
        value = _WORDS[type(entry)](entry)
    else:
        decoded = decode(Shape(KINDS[type(entry)], written_in), loads(entry.written.text.encode()))
        assert decoded.value is not None, f"{type(entry).__name__} {entry.id} was checked when it was written"
        value = decoded.value
        if written_in is version:
            return value
        value = converted(value, version)
    if isinstance(entry, ProgrammeReport):
        return value
    nested: dict[str, Any] = {}
    if isinstance(value, model.Event) and value.report_descriptors:
        nested["report_descriptors"] = tuple(
            replace(d, targets=shown_as(targets_of(d.targets), version, label) if d.targets is not None else None)
            for d in value.report_descriptors
        )
    shown = shown_as(entry.targets, version, label)
    return replace(value, targets=shown if entry.targets or value.targets is not None else None, **nested)


def verbatim(entry: Any, version: Version) -> bytes | None:
    """The document as it was written in that version; None where it was not."""
    return entry.written.text.encode() if _version_of(entry.written) is version else None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Stamps(model.Identified):
    client_id: str | None = member({Version.V310: Text(1, 128)})


def stamps(entry: Any, owner: str) -> Wire:
    """What the VTN stamps upon an object, on its own."""
    return _Stamps(**_stamps(entry, _TYPES[KINDS[type(entry)]], owner if type(entry) in _OWNED else ""))


def stamped(value: Any, entry: Any, owner: str) -> Any:
    """A document with what the VTN stamps upon it."""
    given = _stamps(entry, _TYPES[type(value)], owner)
    return replace(value, **{name: item for name, item in given.items() if hasattr(value, name)})


def _stamps(entry: Any, type: str, owner: str) -> dict[str, Any]:
    # Always with fractions: clients compare the texts right after a change.
    times = {"created_date_time": entry.created, "modification_date_time": entry.modified}
    texts = {n: t.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z") for n, t in times.items()}
    return {"id": entry.id, **texts, "object_type": type, "client_id": owner or None}


def text_of(value: Wire, version: Version) -> bytes:
    return dumps(encode(value, version))


def _version_of(written: Written | None) -> Version | None:
    """The version of this standard that an object was written in."""
    if written is None or not written.form.startswith(_FORM):
        return None
    return Version(written.form.removeprefix(_FORM))


def _text(value: Any) -> str:
    plain = encode(value, Version.V310) if isinstance(value, Wire) else value
    return dumps(plain).decode()


_WORDS: Mapping[type[Entry], Callable[[Any], Wire]] = {
    Programme: lambda e: model.Program(program_name=e.name),
    ProgrammeEvent: lambda e: event_of(e)[0],
    ProgrammeReport: report_of,
    Ven: lambda e: model.Ven(ven_name=e.name, targets=()),
    VenResource: lambda e: model.Resource(resource_name=e.name, ven_id=e.ven, targets=()),
    ResourceGroup: lambda e: model.ResourceGroup(
        resource_group_name=e.name,
        targets=(),
        children=tuple(
            model.Child(type="resource_group" if m.is_group else "ven_resource", id=m.id) for m in e.members
        ),
    ),
}
