"""The collections of the API in one table: where they are, who may read and write them, how they are filtered."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from adapters.openadr3 import model
from adapters.openadr3.members import Flag, Kind, ListOf, OneOf, Text, Version, Whole, Wire
from datamodels import Entry, Programme, ProgrammeEvent, ProgrammeReport, ResourceGroup, Ven, VenResource

__all__ = ["COLLECTIONS", "PAGING", "Collection", "Parameter"]

_ID = Text(1, 128, pattern="^[a-zA-Z0-9_-]*$")
_NAME = Text(1, 128)
_ANY = Text()
_OBJECTS = ListOf(OneOf(("PROGRAM", "EVENT", "REPORT", "SUBSCRIPTION", "VEN", "RESOURCE")))
MOST = 50
Kinds: TypeAlias = Mapping[Version, Kind]


@dataclass(frozen=True, slots=True)
class Parameter:
    """A query parameter: what it may be in each version, and the field of the object (or of the wire value of a
    subscription) that it must equal; `field` None where the desk knows what it means."""

    kinds: Kinds
    field: str | None = None


@dataclass(frozen=True, slots=True)
class Collection:
    """`read` is the scope by version; `also` where the item's URL has another parameter name than `<name>ID`."""

    path: str
    name: str
    cls: type[Wire]
    kind: type[Entry] | None
    read: Mapping[Version, str]
    write: str
    parameters: Mapping[str, Parameter] = field(default_factory=dict)


def _both(kind: Kind) -> Kinds:
    return dict.fromkeys(Version, kind)


def _new(kind: Kind) -> Kinds:
    return {Version.V310: kind}


def _read(new: str) -> Mapping[Version, str]:
    return {Version.V301: "read_all", Version.V310: new}


_OLD_TARGETS = {
    "targetType": Parameter({Version.V301: _ANY}),
    "targetValues": Parameter({Version.V301: ListOf(_ANY)}),
}
_TARGETS = {**_OLD_TARGETS, "targets": Parameter(_new(ListOf(_NAME)))}
PAGING: Mapping[str, Parameter] = {
    "skip": Parameter(_both(Whole(0, int32=True))),
    "limit": Parameter(_both(Whole(0, MOST, int32=True))),
}
_NAMED: Kinds = {Version.V301: _ANY, Version.V310: _NAME}

COLLECTIONS: Mapping[str, Collection] = {
    c.path: c
    for c in (
        Collection("programs", "program", model.Program, Programme, _read("read_targets"), "write_programs", _TARGETS),
        Collection(
            "events",
            "event",
            model.Event,
            ProgrammeEvent,
            _read("read_targets"),
            "write_events",
            {"programID": Parameter(_both(_ID), "programme"), **_TARGETS, "active": Parameter(_new(Flag()))},
        ),
        Collection(
            "reports",
            "report",
            model.Report,
            ProgrammeReport,
            _read("read_ven_objects"),
            "write_reports",
            {
                "programID": Parameter(_both(_ID)),
                "eventID": Parameter(_both(_ID), "event"),
                "clientName": Parameter(_NAMED, "ven"),
            },
        ),
        Collection(
            "subscriptions",
            "subscription",
            model.Subscription,
            None,
            _read("read_ven_objects"),
            "write_subscriptions",
            {
                "programID": Parameter(_both(_ID), "program_id"),
                "clientName": Parameter(_NAMED, "client_name"),
                **_OLD_TARGETS,
                "objects": Parameter(_both(_OBJECTS)),
            },
        ),
        Collection(
            "vens",
            "ven",
            model.Ven,
            Ven,
            _read("read_ven_objects"),
            "write_vens",
            {"venName": Parameter(_NAMED, "name"), **_TARGETS},
        ),
        Collection(
            "resources",
            "resource",
            model.Resource,
            VenResource,
            _read("read_ven_objects"),
            "write_vens",
            {"resourceName": Parameter(_NAMED, "name"), "venID": Parameter(_new(_ID), "ven"), **_TARGETS},
        ),
        Collection(
            "resource_groups",
            "resourceGroup",
            model.ResourceGroup,
            ResourceGroup,
            _read("read_ven_objects"),
            "write_vens",
            {"resourceGroupName": Parameter(_new(_NAME), "name"), "targets": Parameter(_new(ListOf(_NAME)))},
        ),
    )
}
"""By path. `resources` stands below its ven in 3.0.1; `resource_groups` is of the 3.2 draft, and only BL writes it."""
