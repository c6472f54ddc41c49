"""Distributed energy resources in an SCL file, as canonical resources (61850-7-420 Edition 2 nodes).

One DGEN, DSTO or DLOD is one resource. Its power is the smaller of rating and setting; a quantity whose unit the file
does not state is refused, not guessed. SCL describes the device from its own side; here consumption is positive.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from adapters.iec61850.scl.model import IED, TEMPLATE, AccessPoint, LDevice, LogicalNode, Scl
from adapters.iec61850.scl.values import NodeValues
from datamodels import (
    Binding,
    Consequence,
    Flexibility,
    Loss,
    PowerEnvelope,
    Problem,
    Resource,
    ResourceKind,
    ResourceRole,
    Severity,
    Storage,
)

__all__ = ["MMS_PORT", "find_resources"]

MMS_PORT = 102


@dataclass(frozen=True, slots=True)
class _Class:
    """A DER class: its role, and the data objects (rating, setting) that bound what it gives and takes."""

    role: ResourceRole
    kind: ResourceKind
    gives: tuple[str, ...] = ()
    takes: tuple[str, ...] = ()


_CLASSES = {
    "DGEN": _Class(ResourceRole.PRODUCER, ResourceKind.GENSET, gives=("WMaxRtg", "WMax")),
    "DSTO": _Class(
        ResourceRole.STORAGE,
        ResourceKind.BATTERY,
        gives=("DschWMaxRtg", "DschWMax"),
        takes=("ChaWMaxRtg", "ChaWMax"),
    ),
    "DLOD": _Class(ResourceRole.CONSUMER, ResourceKind.LOAD, takes=("WMaxRtg", "WMax")),
}
# DERUnitKind (7-420): 3 PV, 4 PV plus storage, 13 vehicle to grid.
_KINDS = {("DGEN", 3): ResourceKind.PV, ("DGEN", 4): ResourceKind.PV, ("DSTO", 13): ResourceKind.EVSE}
_PHOTOVOLTAIC = frozenset({"DPVA", "DPVC", "DPVM"})
# What a composed unit counts in, and what only shows a storage unit as a generator or a load.
_PARTS = ("InclGn", "InclSto", "InclLod")
_EQUIVALENTS = ("EqGn", "EqLod")
# 7-420 Edition 1 (2009) has no public name space file: recognised, not translated.
_EDITION_1 = frozenset({"DRAT", "DRCT", "DRCS", "DRCC", "DOPR", "DOPA", "DOPM", "DSCC", "DSCH", "ZBAT", "ZINV"})
_STATUS_ONLY = 0
_VALUES = ("setMag.f", "setMag.i", "setVal")


def find_resources(
    scl: Scl, *, connection: str = "", host: str = "", port: int = MMS_PORT
) -> tuple[list[Resource], list[Problem], list[Loss]]:
    """Every DER of a file that has what a resource needs, what the others lack, and what could not be carried.

    Args:
        connection: the grid connection they are behind; without it, ElcRefId of the device's DPCC or DECP names it.
        host, port: where the IED listens; without a host, the IP of its ConnectedAP.
    """
    resources: dict[str, Resource] = {}
    problems, losses = list(scl.problems), []
    included = set(_included(scl))
    for ied, access_point, device in scl.devices():
        if legacy := sorted({n.ln_class for n in device.nodes} & _EDITION_1):
            problems.append(_legacy(ied, device, legacy))
        for node in device.nodes:
            if node.ln_class not in _CLASSES:
                continue
            values = NodeValues(scl, ied, device, node)
            if {f"{device.domain(ied.name)}/{node.name}", f"{device.inst}/{node.name}"} & included:
                losses.append(Loss(values.reference, node.name, "another unit of the file counts it in"))
                continue
            address = host or _address(scl, ied, access_point)
            found = _resource(values, access_point, connection, f"{address}:{port}" if address else "")
            problems += values.problems
            if found is None:
                continue
            if found.id in resources:
                problems.append(Problem("der.twice", values.reference, "a node of this name stands in the file twice"))
                continue
            resources[found.id] = found
            losses += _losses(values)
    if not resources and not any(p.severity is Severity.ERROR for p in problems):
        problems.append(
            Problem("der.none", "file", "no DGEN, DSTO or DLOD describes a resource", severity=Severity.WARNING)
        )
    return list(resources.values()), problems, losses


def _resource(values: NodeValues, access_point: AccessPoint, connection: str, address: str) -> Resource | None:
    ied, device, node = values.ied, values.device, values.node
    des = _CLASSES[node.ln_class]
    gives = _power(values, des.gives) if des.gives else 0
    takes = _power(values, des.takes) if des.takes else 0
    kind = _kind(values, des)
    capacity = _capacity(values) if des.role is ResourceRole.STORAGE else 0
    if not connection:
        connection = _connection(values)
    if any(p.severity is Severity.ERROR for p in values.problems):
        return None
    assert gives is not None
    assert takes is not None
    assert capacity is not None
    if ied.name == TEMPLATE:
        hint = "give the name that the device has in the plant"
        values.problem("der.template", "", "the file describes a type, not one device", hint, Severity.WARNING)
    if not address:
        hint = "give the host, or add a ConnectedAP with an IP"
        values.problem("der.host", "", "the file states no address", hint, Severity.WARNING)
    flexibility: Flexibility = PowerEnvelope((), Consequence.VANISH)
    if des.role is ResourceRole.STORAGE:
        flexibility = Storage(capacity, 0, charge_max_w=takes, discharge_max_w=gives)
    options = {
        "node": node.name,
        "domain": device.domain(ied.name),
        "access_point": access_point.name,
        **_controls(values),
    }
    place = f"{address}/{ied.name}/{device.inst}"
    return Resource(
        f"{ied.name}.{device.inst}.{node.name}",
        connection,
        kind,
        des.role,
        -gives,
        takes,
        Binding("iec61850", place, options) if address else None,
        flexibility,
        capacity,
        f"{ied.manufacturer} {ied.type}".strip(),
    )


def _power(values: NodeValues, names: tuple[str, ...]) -> int | None:
    before = len(values.problems)
    rating, setting = (values.quantity(name, "W") for name in names)
    if rating is not None and setting is not None and setting > rating:
        text = f"set to {setting} W, above the rating of {rating} W, which holds"
        values.problem("der.setting", names[1], text, severity=Severity.WARNING)
    stated = [power for power in (rating, setting) if power is not None]
    if stated:
        return min(stated)
    if len(values.problems) == before:
        hint = f"give {' or '.join(names)} a value: the resource's power is bounded by it"
        values.problem("der.rating", names[0], "neither rating nor setting is stated", hint)
    return None


def _kind(values: NodeValues, des: _Class) -> ResourceKind:
    ordinal = values.ordinal("DERTyp.setVal")
    if ordinal is not None:
        return _KINDS.get((values.node.ln_class, ordinal), des.kind)
    if values.node.ln_class == "DGEN" and _PHOTOVOLTAIC & {n.ln_class for n in values.device.nodes}:
        return ResourceKind.PV
    text = f"the unit's type is not stated, taken as {des.kind}"
    values.problem("der.type", "DERTyp", text, "set DERTyp.setVal", Severity.WARNING)
    return des.kind


def _capacity(values: NodeValues) -> int | None:
    """Usable energy in Wh: WhMaxRtg, else WhRtg, else charge times nominal voltage of the device's one DBAT."""
    for name in ("WhMaxRtg", "WhRtg"):
        if (energy := values.quantity(name, "Wh")) is not None:
            return energy
    batteries = [n for n in values.device.nodes if n.ln_class == "DBAT"]
    if len(batteries) == 1:
        battery = NodeValues(values.scl, values.ied, values.device, batteries[0])
        charge, voltage = battery.quantity("AhrRtg", "Ah"), battery.quantity("BatVNom", "V")
        values.problems += battery.problems
        if charge is not None and voltage is not None:
            text = f"capacity taken from {battery.node.name}: {charge} Ah at {voltage} V"
            values.problem("der.capacity", "WhMaxRtg", text, severity=Severity.WARNING)
            return charge * voltage
    values.problem("der.capacity", "WhMaxRtg", "no capacity is stated", "give WhMaxRtg or WhRtg a value")
    return None


def _connection(values: NodeValues) -> str:
    """ElcRefId of the point of common coupling, else of the connection point, in the same logical device."""
    for ln_class in ("DPCC", "DECP"):
        for node in values.device.nodes:
            if node.ln_class == ln_class:
                point = NodeValues(values.scl, values.ied, values.device, node)
                if name := point.text("ElcRefId.setVal"):
                    return name
    hint = "give the connection, or set ElcRefId.setVal of the DPCC"
    values.problem("der.connection", "", "the grid connection is not stated", hint, Severity.WARNING)
    return ""


def _controls(values: NodeValues) -> dict[str, str]:
    """References of the controls: `setpoint` of the unit (or its DWGC), `limit` of its production (DWMX)."""
    found = {}
    for option, data_object, ln_class in (("setpoint", "WSpt", "DWGC"), ("limit", "WMaxSpt", "DWMX")):
        functions = [n for n in values.device.nodes if n.ln_class == ln_class]
        for node in (values.node, *functions):
            if _is_controllable(values, node, data_object):
                found[option] = f"{node.name}.{data_object}"
                break
    if not found:
        text = "neither WSpt nor WMaxSpt can be operated: the resource can be watched only"
        values.problem("der.control", "", text, severity=Severity.WARNING)
    return found


def _is_controllable(values: NodeValues, node: LogicalNode, data_object: str) -> bool:
    if not values.scl.templates.has(node.ln_type, data_object):
        return False
    model = NodeValues(values.scl, values.ied, values.device, node).ordinal(f"{data_object}.ctlModel")
    return model is not None and model != _STATUS_ONLY


def _address(scl: Scl, ied: IED, access_point: AccessPoint) -> str:
    """The IP of the access point; 0.0.0.0 means that none is set yet."""
    for connected in scl.connected:
        if (connected.ied, connected.access_point) == (ied.name, access_point.name):
            address = connected.address.get("IP", "")
            return "" if address == "0.0.0.0" else address  # noqa: S104
    return ""


def _included(scl: Scl) -> Iterator[str]:
    """References (LD/LN) of the units that another unit names as its parts or equivalents."""
    for ied, _, device in scl.devices():
        for node in device.nodes:
            if node.ln_class in _CLASSES:
                values = NodeValues(scl, ied, device, node)
                wanted = (*_PARTS, *_EQUIVALENTS) if node.ln_class == "DSTO" else _PARTS
                for name in values.objects:
                    if name.startswith(wanted) and (text := values.text(f"{name}.setSrcRef")):
                        place, _, part = text.rpartition("/")
                        yield f"{device.domain(ied.name) if place in ('', '@') else place}/{part.partition('.')[0]}"


def _losses(values: NodeValues) -> Iterator[Loss]:
    for name in values.objects:
        if name in values.read:
            continue
        text = next((t for suffix in _VALUES if (t := values.text(f"{name}.{suffix}")) is not None), None)
        if text is not None:
            unit = f"{values.literal(f'{name}.units.multiplier') or ''}{values.literal(f'{name}.units.SIUnit') or ''}"
            yield Loss(f"{values.reference}.{name}", f"{text} {unit}".strip(), "a resource has no such field")


def _legacy(ied: IED, device: LDevice, classes: list[str]) -> Problem:
    return Problem(
        "der.edition1",
        f"{ied.name}/{device.inst} (line {device.line})",
        f"{', '.join(classes)} of 7-420 Edition 1 are not translated",
        hint="describe the unit with DGEN, DSTO or DLOD of Edition 2",
        clause="61850-7-420",
        severity=Severity.WARNING,
    )
