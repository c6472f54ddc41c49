"""The lenient peer profile: known deviations of deployed VENs, mended on the tree before the schema looks at it.

Each repair is named, so that it can be logged and counted. Nothing about identity or security is ever relaxed.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from lxml import etree

from adapters.openadr2.lexical import format_datetime, format_duration, parse_datetime, parse_duration
from adapters.openadr2.tables import PAYLOADS, SHAPES, UNITS, qualified

__all__ = ["normalise"]

_DATETIMES = frozenset(
    qualified(n) for n in ("xcal:date-time", "ei:createdDateTime", "ei:modificationDateTime", "ei:statusDateTime")
)
_DURATIONS = frozenset(
    qualified(n) for n in ("xcal:duration", "oadr:oadrMinPeriod", "oadr:oadrMaxPeriod", "xcal:startafter")
)
_UNIT_ELEMENTS = {qualified(f"{u.prefix}:{name}"): u for name, u in UNITS.items() if u.units}
_VERSION = qualified("ei:schemaVersion")


def normalise(payload: etree._Element) -> list[str]:
    """Mend a payload element in place; the names of the deviations found."""
    found: list[str] = []
    if "schemaVersion" in payload.attrib:
        payload.set(_VERSION, str(payload.attrib.pop("schemaVersion")))
        found.append("schemaVersion without namespace")
    for element in payload.iter():
        for name, repair in _REPAIRS.items():
            if repair(element):
                found.append(name)
    cls = PAYLOADS.get(payload.tag)
    if cls is not None and _reorder(payload, cls):
        found.append("child order")
    return found


def _utc(element: etree._Element) -> bool:
    text = element.text or ""
    if element.tag not in _DATETIMES or text.strip().endswith("Z"):
        return False
    try:
        element.text = format_datetime(parse_datetime(text, strict=False))
    except ValueError:
        return False
    return True


def _weeks(element: etree._Element) -> bool:
    if element.tag not in _DURATIONS or not re.fullmatch(r"[+-]?P\d+W", element.text or ""):
        return False
    element.text = format_duration(parse_duration(element.text or ""))
    return True


def _scale(element: etree._Element) -> bool:
    """`kW` where the schema wants the unit W with scale k."""
    shape = _UNIT_ELEMENTS.get(element.tag)
    if shape is None:
        return False
    units = element.find(qualified(f"{shape.prefix}:itemUnits"))
    scale = element.find(qualified("scale:siScaleCode"))
    prefix = (units.text or "").strip().removesuffix(shape.units) if units is not None else ""
    if units is None or scale is None or prefix not in ("m", "k", "M", "G", "T") or scale.text != "none":
        return False
    units.text, scale.text = shape.units, prefix
    return True


_REPAIRS: Mapping[str, Callable[[etree._Element], bool]] = {
    "date-time not in UTC": _utc,
    "duration in weeks": _weeks,
    "scaled unit": _scale,
}


def _reorder(element: etree._Element, cls: type) -> bool:
    """Put children into schema order, here and below, as far as the tables know the element."""
    order: dict[str, int] = {}
    below: dict[str, type] = {}
    for rank, part in enumerate(SHAPES[cls].parts):
        if isinstance(part.content, Mapping):
            order.update(dict.fromkeys(part.content, rank))
            continue
        path = (*part.wrap, *part.inner)
        order.setdefault(path[0], rank)
        if isinstance(part.content, type) and len(path) == 1:
            below[path[0]] = part.content
    children = list(element)
    wanted = sorted(children, key=lambda child: order.get(child.tag, len(order)))
    changed = wanted != children
    if changed:
        element[:] = wanted
    for child in wanted:
        inner = below.get(child.tag)
        if inner is not None and inner in SHAPES and _reorder(child, inner):
            changed = True
    return changed
