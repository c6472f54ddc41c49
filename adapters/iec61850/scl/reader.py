"""SCL bytes to the model. Tolerant where files in the field differ, but it says so; never a crash on bad input."""

from __future__ import annotations

import re
from collections.abc import Iterator
from types import MappingProxyType
from typing import Any

from lxml import etree

from adapters.errors import TransportFault
from adapters.iec61850.scl.model import (
    IED,
    AccessPoint,
    Attribute,
    ConnectedAP,
    DataTypeTemplates,
    DOType,
    Header,
    LDevice,
    LogicalNode,
    Scl,
    Value,
)
from adapters.xml import Limits, parse
from datamodels import Problem, Severity

__all__ = ["LIMITS", "NAMESPACE", "read"]

NAMESPACE = "http://www.iec.ch/61850/2003/SCL"
LIMITS = Limits(size=64 * 1024 * 1024, elements=1_500_000, attributes=64, depth=200)
"""A station of 120 IEDs has 21 MB, 320,000 elements, and a depth below 20."""

_NS = f"{{{NAMESPACE}}}"
_B4_RELEASES = frozenset({"2", "3", "4"})


def read(data: bytes) -> Scl:
    """Read an SCL file of any kind (ICD, IID, CID, SSD, SCD, SED).

    Raises:
        TransportFault: not well-formed, hostile, or not SCL; `rule` names the check.
    """
    root = parse(data, LIMITS, allow_utf16=True)
    if root.tag != f"{_NS}SCL":
        raise TransportFault(400, "scl.root", f"the root element is not SCL of the name space {NAMESPACE}")
    problems: list[Problem] = []
    schema = _sniff(root, problems)
    header = root.find(f"{_NS}Header")
    return Scl(
        schema,
        None if header is None else Header(_a(header, "id"), _a(header, "version"), _a(header, "revision"), _l(header)),
        tuple(_ied(e, problems) for e in root.iterfind(f"{_NS}IED")),
        tuple(_connected(root)),
        _templates(root),
        tuple(problems),
    )


def _sniff(root: etree._Element, problems: list[Problem]) -> str:
    version, revision, release = (_a(root, name) for name in ("version", "revision", "release"))
    if not version:
        return "SCL2003"
    if version == "2007" and revision in ("", "A", "B") and release in ("", "1"):
        return "SCL2007B"
    if not (version == "2007" and revision == "B" and release in _B4_RELEASES):
        problems.append(
            Problem(
                "SCL-LOAD-006",
                f"line {_l(root)}",
                f"unknown SCL version {version}{revision}{release}, read as 2007B4",
                hint="version=2007 revision=B release=4 is Edition 2.1",
                clause="61850-6 9.1",
                severity=Severity.WARNING,
            )
        )
    return "SCL2007B4"


def _ied(element: etree._Element, problems: list[Problem]) -> IED:
    return IED(
        _a(element, "name"),
        _a(element, "manufacturer"),
        _a(element, "type"),
        _a(element, "configVersion"),
        tuple(
            AccessPoint(
                _a(ap, "name"),
                tuple(_device(d, problems) for d in ap.iterfind(f"{_NS}Server/{_NS}LDevice")),
                _l(ap),
            )
            for ap in element.iterfind(f"{_NS}AccessPoint")
        ),
        _l(element),
    )


def _device(element: etree._Element, problems: list[Problem]) -> LDevice:
    group = element.find(f"{_NS}LN0/{_NS}SettingControl")
    nodes = (*element.iterfind(f"{_NS}LN0"), *element.iterfind(f"{_NS}LN"))
    return LDevice(
        _a(element, "inst"),
        _a(element, "ldName"),
        tuple(_node(n, problems) for n in nodes),
        _number("" if group is None else _a(group, "actSG"), 1),
        _l(element),
    )


def _node(element: etree._Element, problems: list[Problem]) -> LogicalNode:
    values: dict[str, tuple[Value, ...]] = {}
    for doi in element.iterfind(f"{_NS}DOI"):
        for path, found, line in _instances(doi, _a(doi, "name")):
            if path in values:
                problems.append(
                    Problem("scl.twice", f"line {line}", f"{path} is set twice in one node; the first value holds")
                )
            values.setdefault(path, found)
    return LogicalNode(
        _a(element, "prefix"),
        _a(element, "lnClass"),
        _a(element, "inst"),
        _a(element, "lnType"),
        MappingProxyType(values),
        _l(element),
    )


def _instances(element: etree._Element, path: str) -> Iterator[tuple[str, tuple[Value, ...], int]]:
    for child in element:
        index = _a(child, "ix")
        below = f"{path}.{_a(child, 'name')}" + (f"({index})" if index else "")
        if child.tag == f"{_NS}SDI":
            yield from _instances(child, below)
        elif child.tag == f"{_NS}DAI" and (values := _values(child)):
            yield below, values, _l(child)


def _connected(root: etree._Element) -> Iterator[ConnectedAP]:
    for network in root.iterfind(f"{_NS}Communication/{_NS}SubNetwork"):
        for element in network.iterfind(f"{_NS}ConnectedAP"):
            address = {_a(p, "type"): (p.text or "").strip() for p in element.iterfind(f"{_NS}Address/{_NS}P")}
            yield ConnectedAP(
                _a(element, "iedName"),
                _a(element, "apName"),
                _a(network, "name"),
                MappingProxyType(address),
                _l(element),
            )


def _templates(root: etree._Element) -> DataTypeTemplates:
    templates = root.find(f"{_NS}DataTypeTemplates")
    nodes: dict[str, dict[str, str]] = {}
    objects: dict[str, DOType] = {}
    structs: dict[str, dict[str, Attribute]] = {}
    enums: dict[str, dict[int, str]] = {}
    for element in () if templates is None else templates:
        kind, id = etree.QName(element).localname, _a(element, "id")
        if kind == "LNodeType":
            nodes[id] = {_a(o, "name"): _a(o, "type") for o in element.iterfind(f"{_NS}DO")}
        elif kind == "DOType":
            sub = {_a(o, "name"): _a(o, "type") for o in element.iterfind(f"{_NS}SDO")}
            objects[id] = DOType(id, _a(element, "cdc"), _attributes(element, "DA"), sub, _l(element))
        elif kind == "DAType":
            structs[id] = _attributes(element, "BDA")
        elif kind == "EnumType":
            enums[id] = {_number(_a(v, "ord"), -1): (v.text or "").strip() for v in element.iterfind(f"{_NS}EnumVal")}
    return DataTypeTemplates(nodes, objects, structs, enums)


def _attributes(element: etree._Element, tag: str) -> dict[str, Attribute]:
    return {
        _a(e, "name"): Attribute(_a(e, "name"), _a(e, "bType"), _a(e, "type"), _a(e, "fc"), _values(e), _l(e))
        for e in element.iterfind(f"{_NS}{tag}")
    }


def _values(element: etree._Element) -> tuple[Value, ...]:
    return tuple(
        Value((v.text or "").strip(), _l(v), _number(_a(v, "sGroup"), 0)) for v in element.iterfind(f"{_NS}Val")
    )


def _number(text: str, default: int) -> int:
    return int(text) if re.fullmatch(r"-?[0-9]{1,9}", text) else default


def _a(element: etree._Element, name: str) -> str:
    return (element.get(name) or "").strip()


def _l(element: etree._Element) -> int:
    line: Any = element.sourceline
    return int(line or 0)
