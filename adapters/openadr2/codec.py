"""Bytes to wire objects and back, driven by `tables`. No asyncio, no clock, no store.

Order of an incoming message: `read_tree` (hardened parse), `check_schema` (finished tree), `decode`. A server that
needs the sender before it decodes looks into the tree with `payload_element` and `ven_id_of`.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any
from xml.sax.saxutils import quoteattr

from lxml import etree

from adapters import xml
from adapters.errors import Rejection, TransportFault
from adapters.openadr2 import model
from adapters.openadr2.lexical import ZoneMissing
from adapters.openadr2.model import Payload
from adapters.openadr2.tables import (
    NAMESPACES,
    OPAQUE,
    PAYLOADS,
    SHAPES,
    UNITS,
    Leaf,
    Part,
    qualified,
)
from datamodels import Problem

__all__ = [
    "check_schema",
    "class_of",
    "decode",
    "encode",
    "kind_of",
    "payload_element",
    "read_tree",
    "schema",
    "schema_path",
    "ven_id_of",
]

_PAYLOAD = qualified("oadr:oadrPayload")
_SIGNED = qualified("oadr:oadrSignedObject")
_VERSION = qualified("ei:schemaVersion")
_VEN_ID = qualified("ei:venID")
_EVENT_ENVELOPES = (qualified("pyld:eiCreatedEvent"), qualified("pyld:eiRequestEvent"))
_TAGS = {cls: tag for tag, cls in PAYLOADS.items()}
_BEGIN = (
    '<?xml version="1.0" encoding="UTF-8"?>\n<oadr:oadrPayload'
    + "".join(f' xmlns:{p}="{u}"' for p, u in NAMESPACES.items() if p not in ("gml", "atom"))
    + "><oadr:oadrSignedObject>"
)
_END = "</oadr:oadrSignedObject></oadr:oadrPayload>"


def schema_path() -> Path:
    """The root of the schemas that the package openleadr ships.

    The package is located, not imported: its own parser must never meet foreign data.

    Raises:
        RuntimeError: the package is not installed.
    """
    spec = importlib.util.find_spec("openleadr")
    if spec is None or not spec.submodule_search_locations:
        raise RuntimeError("the schemas of OpenADR 2.0b are missing: install openleadr >= 0.5.36")
    return Path(spec.submodule_search_locations[0]) / "schema" / "oadr_20b.xsd"


@cache
def schema() -> etree.XMLSchema:
    """The compiled schema of OpenADR 2.0b."""
    return etree.XMLSchema(etree.parse(str(schema_path())))


def read_tree(data: bytes, limits: xml.Limits = xml.DEFAULT_LIMITS) -> etree._Element:
    """Parse foreign bytes (UTF-8, or UTF-16 with a byte order mark).

    Raises:
        TransportFault: 413 too large, 400 for anything else that cannot be read.
    """
    return xml.parse(data, limits, allow_utf16=True)


def check_schema(root: etree._Element) -> None:
    """Validate a finished tree.

    Raises:
        TransportFault: 400, naming line and element but not what the peer wrote.
    """
    if root.tag != _PAYLOAD:
        raise TransportFault(400, "oadr.envelope", "the root element is not oadrPayload")
    valid = schema()
    try:
        if valid.validate(root):
            return
    except etree.XMLSchemaValidateError as error:
        raise TransportFault(400, "oadr.schema", "the message could not be validated") from error
    first = _first(valid)
    raise TransportFault(400, "oadr.schema", f"line {first.line}: schema violation {first.type_name}")


def _first(valid: etree.XMLSchema) -> Any:
    log: Any = valid.error_log  # the stubs do not know that it is a sequence
    return log[0]


def payload_element(root: etree._Element) -> etree._Element:
    """The payload inside oadrPayload/oadrSignedObject of a valid tree."""
    signed = next(root.iterchildren(_SIGNED), None)  # not `find`: see `ven_id_of`
    if signed is None or len(signed) != 1:
        raise TransportFault(400, "oadr.envelope", "there is not exactly one payload")
    return signed[0]


def kind_of(payload: etree._Element) -> str:
    """The local name of a payload element, such as `oadrPoll`."""
    return etree.QName(payload).localname


def class_of(payload: etree._Element) -> type:
    """The wire class of a payload element of a valid tree."""
    return PAYLOADS[payload.tag]


def ven_id_of(payload: etree._Element) -> str | None:
    """The venID a payload element names as its sender, if it does."""
    holder = payload[0] if len(payload) and payload[0].tag in _EVENT_ENVELOPES else payload
    # Not `findtext`: this runs twice for every poll, and a path costs ten times as much as a filter.
    named = next(holder.iterchildren(_VEN_ID), None)
    return None if named is None else named.text or ""


def decode(payload: etree._Element) -> Payload:
    """The wire object of a schema-valid payload element.

    Raises:
        Rejection: a value that the schema lets through but nobody can use; `reason` is the eiResponse code.
    """
    value: Payload = _read(class_of(payload), payload)
    return value


def encode(payload: Payload) -> bytes:
    """A complete message, valid by the schema.

    Raises:
        ValueError: a text holds a character XML cannot carry, or a value is outside the schema.
    """
    out = [_BEGIN]
    _write(out, _prefixed(_TAGS[type(payload)]), payload)
    out.append(_END)
    body = "".join(out).encode()
    try:
        root = etree.fromstring(body, etree.XMLParser(resolve_entities=False, no_network=True, huge_tree=False))
    except etree.XMLSyntaxError as error:
        raise ValueError(f"{type(payload).__name__} holds what XML cannot carry: {error.msg}") from None
    valid = schema()
    if not valid.validate(root):
        raise ValueError(f"{type(payload).__name__} would be invalid: {_first(valid).message}")
    return body


# --- reading ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Node:
    """What an element means inside its parent: a value of `part`, or a mere holder of further elements."""

    part: Part | None
    cls: type | None
    below: Mapping[str, _Node]
    fills: tuple[str, ...] = ()


@cache
def _tree(cls: type) -> Mapping[str, _Node]:
    top: dict[str, Any] = {}
    for part in SHAPES[cls].parts:
        if not part.attr:
            continue
        for tag, content in part.members:
            path = (*part.wrap, *part.inner, *([tag] if tag else ()))
            below = top
            for depth, step in enumerate(path[:-1], 1):
                holder = below.setdefault(step, _Node(None, None, {}))
                if depth == len(part.wrap) and part.many and part.empty:
                    holder = below[step] = _Node(None, None, holder.below, (part.attr,))
                below = holder.below
            below[path[-1]] = _Node(part, content if isinstance(content, type) else None, {})
    return top


def _read(cls: type, element: etree._Element) -> Any:
    if cls is model.ItemBase:
        return _read_unit(element)
    values: dict[str, Any] = {}
    _collect(_tree(cls), element, values)
    for name, value in values.items():
        if isinstance(value, list):
            values[name] = tuple(value)
    if SHAPES[cls].versioned:
        values["schema_version"] = element.get(_VERSION)
    return cls(**values)


def _collect(tree: Mapping[str, _Node], element: etree._Element, values: dict[str, Any]) -> None:
    for child in element:
        node = tree.get(child.tag)
        if node is None:
            continue
        part = node.part
        if part is None:
            for name in node.fills:
                values.setdefault(name, [])
            _collect(node.below, child, values)
            continue
        if node.cls is not None:
            value = _read(node.cls, child)
        elif part.content is OPAQUE:
            value = _opaque(child)
        else:
            assert isinstance(part.content, Leaf)
            value = _leaf(part.content.read, child)
        if part.many:
            values.setdefault(part.attr, []).append(value)
        else:
            values[part.attr] = value


def _opaque(element: etree._Element) -> str:
    try:
        return etree.tostring(element, method="c14n", exclusive=True, with_tail=False).decode()
    except etree.C14NError:
        text = "it has no canonical form (a relative namespace)"
        raise Rejection([Problem("oadr.value", etree.QName(element).localname, text, reason="454")]) from None


def _leaf(read: Any, element: etree._Element | None) -> Any:
    assert element is not None
    try:
        return read(element.text or "")
    except (ValueError, ArithmeticError, KeyError) as error:
        code = "459" if isinstance(error, ZoneMissing) else "454"
        where = etree.QName(element).localname
        raise Rejection([Problem("oadr.value", where, str(error), reason=code)]) from None


def _read_unit(element: etree._Element) -> model.ItemBase:
    name = etree.QName(element)
    texts = {etree.QName(child).localname: child for child in element}
    attributes = texts.get("powerAttributes")
    return model.ItemBase(
        name.localname,
        texts["itemDescription"].text or "",
        (texts["itemUnits"].text or "").strip(),
        (texts["siScaleCode"].text or "").strip(),
        None if attributes is None else _read(model.PowerAttributes, attributes),
    )


# --- writing ------------------------------------------------------------------------------------------------------

# Text is built, not a tree: an element of a tree costs ten times as much, and an event may have thousands. Every text
# is escaped in `_escaped`, and `encode` reads back and validates what was written.


@dataclass(frozen=True, slots=True)
class _Step:
    """How one `Part` is written: the holders around all its values, the holders and the element of each value."""

    part: Part
    wrap: tuple[str, ...]
    before: str
    tag: str
    after: str


@cache
def _steps(cls: type) -> tuple[_Step, ...]:
    def step(part: Part) -> _Step:
        names = [_prefixed(tag) for tag in part.inner]
        lone = not isinstance(part.content, dict)
        holders = names[:-1] if lone else names
        return _Step(
            part,
            tuple(_prefixed(tag) for tag in part.wrap),
            "".join(f"<{name}>" for name in holders),
            names[-1] if lone else "",
            "".join(f"</{name}>" for name in reversed(holders)),
        )

    return tuple(map(step, SHAPES[cls].parts))


@cache
def _prefixed(tag: str) -> str:
    name = etree.QName(tag)
    prefix = next(p for p, uri in NAMESPACES.items() if uri == name.namespace)
    return f"{prefix}:{name.localname}"


def _escaped(text: str) -> str:
    if "&" in text or "<" in text or ">" in text or "\r" in text:
        return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace("\r", "&#13;")
    return text


def _write(out: list[str], tag: str, value: Any) -> None:
    cls: type = type(value)
    version = getattr(value, "schema_version", None) if SHAPES[cls].versioned else None
    out.append(f"<{tag}>" if version is None else f"<{tag} ei:schemaVersion={quoteattr(version)}>")
    opened: tuple[str, ...] = ()
    for step in _steps(cls):
        part = step.part
        content = getattr(value, part.attr) if part.attr else ""
        if content is None or (part.many and not content and not part.empty):
            continue
        if opened != step.wrap:
            _move(out, opened, step.wrap)
            opened = step.wrap
        for item in content if part.many else (content,):
            out.append(step.before)
            _write_value(out, step, item)
            out.append(step.after)
    if opened:
        _move(out, opened, ())
    out.append(f"</{tag}>")


def _move(out: list[str], old: tuple[str, ...], new: tuple[str, ...]) -> None:
    """Close the holders that end here and open the ones that begin; a common beginning stays open."""
    common = 0
    while common < min(len(old), len(new)) and old[common] == new[common]:
        common += 1
    out.extend(f"</{name}>" for name in reversed(old[common:]))
    out.extend(f"<{name}>" for name in new[common:])


def _write_value(out: list[str], step: _Step, item: Any) -> None:
    content = step.part.content
    if isinstance(content, Leaf):
        if content is OPAQUE:
            item_root = xml.parse(item.encode())
            out.append(etree.tostring(item_root, method="c14n", exclusive=True).decode())
        else:
            out.append(f"<{step.tag}>{_escaped(content.write(item))}</{step.tag}>")
    elif isinstance(content, dict):
        cls: type = type(item)
        if cls is model.ItemBase:
            _write_unit(out, item)
        else:
            _write(out, _member(step.part, cls), item)
    else:
        _write(out, step.tag, item)


@cache
def _member(part: Part, cls: type) -> str:
    return next(_prefixed(tag) for tag, member in part.members if member is cls and tag is not None)


def _write_unit(out: list[str], item: model.ItemBase) -> None:
    shape = UNITS.get(item.name)
    if shape is None:
        raise ValueError(f"no unit is called {item.name!r}")
    out.append(f"<{shape.prefix}:{item.name}>")
    for name, text in (
        (f"{shape.prefix}:itemDescription", item.description),
        (f"{shape.prefix}:itemUnits", item.units),
        ("scale:siScaleCode", item.scale),
    ):
        out.append(f"<{name}>{_escaped(text)}</{name}>")
    if item.power is not None:
        _write(out, "power:powerAttributes", item.power)
    out.append(f"</{shape.prefix}:{item.name}>")
