"""What an SCL file says, as far as it matters for the devices in it (IEC 61850-6). Every part keeps its line number.

Instance data (DOI, SDI, DAI) is flat: the path of a value, such as `WMaxRtg.setMag.f`, leads to what was written.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from datamodels import Problem

__all__ = [
    "IED",
    "TEMPLATE",
    "AccessPoint",
    "Attribute",
    "ConnectedAP",
    "DOType",
    "DataTypeTemplates",
    "Header",
    "LDevice",
    "LogicalNode",
    "Scl",
    "Value",
]


TEMPLATE = "TEMPLATE"
"""The name of the IED in a capability description (ICD)."""


@dataclass(frozen=True, slots=True)
class Value:
    """The text of one `Val`; `group` is its setting group, 0 where none is named."""

    text: str
    line: int
    group: int = 0


@dataclass(frozen=True, slots=True)
class Header:
    id: str
    version: str
    revision: str
    line: int


@dataclass(frozen=True, slots=True)
class LogicalNode:
    """An LN or LN0. `values` holds what the instance sets; defaults of its type are in the templates."""

    prefix: str
    ln_class: str
    inst: str
    ln_type: str
    values: Mapping[str, tuple[Value, ...]]
    line: int

    @property
    def name(self) -> str:
        return f"{self.prefix}{self.ln_class}{self.inst}"


@dataclass(frozen=True, slots=True)
class LDevice:
    """A logical device; `active_group` is the setting group in force."""

    inst: str
    ld_name: str
    nodes: tuple[LogicalNode, ...]
    active_group: int
    line: int

    def domain(self, ied: str) -> str:
        """Its name on the wire: ldName where the file sets one, else the IED's name and the instance."""
        return self.ld_name or f"{ied}{self.inst}"


@dataclass(frozen=True, slots=True)
class AccessPoint:
    name: str
    devices: tuple[LDevice, ...]
    line: int


@dataclass(frozen=True, slots=True)
class IED:
    name: str
    manufacturer: str
    type: str
    config_version: str
    access_points: tuple[AccessPoint, ...]
    line: int


@dataclass(frozen=True, slots=True)
class ConnectedAP:
    """The address of an access point: P types such as `IP`, `OSI-TSEL` to their text."""

    ied: str
    access_point: str
    sub_network: str
    address: Mapping[str, str]
    line: int


@dataclass(frozen=True, slots=True)
class Attribute:
    """A DA of a DOType or a BDA of a DAType."""

    name: str
    b_type: str
    type: str
    fc: str
    values: tuple[Value, ...]
    line: int


@dataclass(frozen=True, slots=True)
class DOType:
    """A data object type: its common data class, attributes, and sub data objects (name to DOType id)."""

    id: str
    cdc: str
    attributes: Mapping[str, Attribute]
    objects: Mapping[str, str]
    line: int


@dataclass(frozen=True, slots=True)
class DataTypeTemplates:
    """Types by id. `nodes` gives the DOType id of each data object of an LNodeType, `enums` literals by ordinal."""

    nodes: Mapping[str, Mapping[str, str]]
    objects: Mapping[str, DOType]
    structs: Mapping[str, Mapping[str, Attribute]]
    enums: Mapping[str, Mapping[int, str]]

    def attribute(self, ln_type: str, path: str) -> Attribute | None:
        """The attribute at a path such as `WMaxRtg.units.SIUnit` below an LNodeType."""
        name, *rest = path.split(".")
        kind = self.objects.get(self.nodes.get(ln_type, {}).get(name, ""))
        while kind is not None and rest and rest[0] in kind.objects:
            kind = self.objects.get(kind.objects[rest.pop(0)])
        if kind is None or not rest:
            return None
        found = kind.attributes.get(rest[0])
        for part in rest[1:]:
            if found is None:
                return None
            found = self.structs.get(found.type, {}).get(part)
        return found

    def has(self, ln_type: str, data_object: str) -> bool:
        return data_object in self.nodes.get(ln_type, {})


@dataclass(frozen=True, slots=True)
class Scl:
    """A file. `schema` names the edition it is written in: SCL2003, SCL2007B or SCL2007B4."""

    schema: str
    header: Header | None
    ieds: tuple[IED, ...]
    connected: tuple[ConnectedAP, ...]
    templates: DataTypeTemplates
    problems: tuple[Problem, ...]

    def named(self, ied: str) -> Scl:
        """The same file with the name that its TEMPLATE IED gets once it is installed (61850-6 9.3.1)."""
        if not any(known.name == TEMPLATE for known in self.ieds):
            return self
        ieds = tuple(replace(i, name=ied) if i.name == TEMPLATE else i for i in self.ieds)
        connected = tuple(replace(c, ied=ied) if c.ied == TEMPLATE else c for c in self.connected)
        return replace(self, ieds=ieds, connected=connected)

    def devices(self) -> Iterator[tuple[IED, AccessPoint, LDevice]]:
        """Every logical device with its IED and access point, in the order of the file."""
        for ied in self.ieds:
            for access_point in ied.access_points:
                for device in access_point.devices:
                    yield ied, access_point, device
