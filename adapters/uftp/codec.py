"""Bytes to wire elements and back, driven by the table in `schema`; structural validation on the way in and out.

The codec is lossless but for white space around attribute values and the order of attributes. Defaults of the schema
are filled in when reading.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from xml.sax.saxutils import escape

from lxml import etree

from adapters import xml
from adapters.errors import TransportFault
from adapters.uftp.elements import MANY, Element, Rows
from adapters.uftp.schema import LENIENT, MESSAGES, VERSIONS, ElementSpec, table
from adapters.uftp.shapes import Shapes
from datamodels import Problem

__all__ = ["InvalidMessage", "decode", "encode", "validate"]

_XSI = "{http://www.w3.org/2001/XMLSchema-instance}"
_IGNORED = frozenset((f"{_XSI}schemaLocation", f"{_XSI}noNamespaceSchemaLocation"))
_MOST_PROBLEMS = 20
_QUOTES = {'"': "&quot;", "\n": "&#10;", "\r": "&#13;", "\t": "&#9;"}


class InvalidMessage(TransportFault):
    """The XML is well-formed but no UFTP message; `problems` lists what is wrong (the first 20 findings)."""

    def __init__(self, problems: list[Problem]) -> None:
        super().__init__(400, "uftp.schema", "; ".join(f"{p.where}: {p.message}" for p in problems))
        self.problems = tuple(problems)


def decode(data: bytes, limits: xml.Limits = xml.DEFAULT_LIMITS, *, lenient: bool = False) -> Element:
    """Parse and validate a document whose root is one of the 27 (the envelope included).

    Raises:
        InvalidMessage: it breaks the schema.
        TransportFault: 400 or 413, it is no XML that we read.
    """
    if not lenient and (known := _SHAPES.read(data, limits)) is not None:
        return known
    root = xml.parse(data, limits)
    element, problems = validate(root, lenient=lenient)
    if element is None:
        raise InvalidMessage(problems)
    if not lenient:
        _SHAPES.learn(data, limits, root)
    return element


_SHAPES = Shapes()


def validate(root: etree._Element, *, lenient: bool = False) -> tuple[Element | None, list[Problem]]:
    """A parsed tree as an `Element`, or None with all structural problems. `lenient` reads as profile lenient-in."""
    name = str(root.tag)
    spec = table(name, root.get("Version", "").strip())
    if lenient:
        spec = LENIENT.get(name, spec)
    problems: list[Problem] = []
    if spec is None:
        return None, [Problem("uftp.root", "/", f"the root element is no UFTP message of {', '.join(VERSIONS)}")]
    has_text = bool(etree.tostring(root, method="text", encoding="unicode"))
    element = _Reader(problems, has_text).element(root, spec)
    return (None if problems else element), problems


class _Reader:
    """Reads a tree and reports what is wrong in it. `has_text`: there is text in it somewhere, if only white space."""

    def __init__(self, problems: list[Problem], has_text: bool) -> None:
        self._problems = problems
        self._has_text = has_text

    def element(self, node: etree._Element, spec: ElementSpec) -> Element:
        readers = spec.readers
        items: Any = node.items()  # of texts; the stubs allow bytes too
        try:
            attributes = {name: readers[name](text) for name, text in items}
        except (KeyError, ValueError):
            attributes = self._attributes_singly(node, spec)
        if len(attributes) < len(readers):
            if not spec.required <= attributes.keys():
                for name in sorted(spec.required - set(node.keys())):
                    self._report(node, f"attribute {name} is missing")
            for name, value in spec.defaults:
                if name not in attributes:
                    attributes[name] = value
        if len(node) or spec.children or self._has_text:
            return Element(spec.name, attributes, self._children(node, spec))
        return Element(spec.name, attributes)

    def _attributes_singly(self, node: etree._Element, spec: ElementSpec) -> dict[str, Any]:
        """Attributes one by one, to report each that is wrong."""
        attributes: dict[str, Any] = {}
        for key, text in node.items():
            name = str(key)
            if name not in spec.readers:
                if name not in _IGNORED:
                    self._report(node, f"attribute {name[:60]} is not allowed here")
                continue
            try:
                attributes[name] = spec.readers[name](str(text))
            except ValueError as error:
                self._report(node, f"{name} {error}")
        return attributes

    def _children(self, node: etree._Element, spec: ElementSpec) -> Sequence[Element]:
        has_text = self._has_text
        text = node.text if has_text else None
        if text and (not spec.children or text.strip()):  # an empty element holds not even white space
            self._report(node, "text is not allowed here")
        children = list(node)
        if has_text:
            for child in children:
                if (tail := child.tail) and tail.strip():
                    self._report(node, "text is not allowed here")
        tags = [child.tag for child in children]
        found: list[Element] = []
        at = 0
        for particle in spec.children:
            end = at
            while end < len(tags) and tags[end] == particle.name:
                end += 1
            if end - at < particle.minimum:
                self._report(node, f"element {particle.name} is missing")
            if particle.maximum is not None:
                for child in children[at + particle.maximum : end]:
                    self._report(child, f"more than {particle.maximum} are not allowed")
            alike = self._alike(children[at:end], particle)
            if at == 0 and end == len(children) and isinstance(alike, Rows):
                return alike
            found += alike
            at = end
        if at < len(children):
            self._report(children[at], "element is not allowed here")
        return tuple(found)

    def _alike(self, nodes: list[etree._Element], spec: ElementSpec) -> Sequence[Element]:
        """Elements of one kind. Many that state the same attributes are read attribute by attribute over all of them,
        which takes half the time; at the least irregularity they are read singly, which reports it."""
        if len(nodes) >= MANY and not spec.children and not self._has_text and not any(map(len, nodes)):
            try:
                return _in_columns(nodes, spec)
            except (KeyError, ValueError):
                pass
        return [self.element(node, spec) for node in nodes]

    def _report(self, node: etree._Element, message: str) -> None:
        if len(self._problems) < _MOST_PROBLEMS:
            where = node.getroottree().getpath(node)
            self._problems.append(Problem("uftp.schema", where, message, clause="UFTP 3.1.0 4"))


def _in_columns(nodes: list[etree._Element], spec: ElementSpec) -> Rows:
    """Elements without children; KeyError or ValueError where they are not valid, or not all of one form."""
    names: list[Any] = list(nodes[0].keys())
    if [node.keys() for node in nodes].count(names) != len(nodes):
        raise ValueError("they do not have the same attributes in the same order")
    if not names or not spec.required.issubset(names):
        raise ValueError("an attribute is missing")
    texts: Any = zip(*[node.values() for node in nodes], strict=True)
    return Rows.read(spec, names, texts)


def encode(element: Element) -> bytes:
    """Serialise a message in the version that it states, and validate what came out.

    Raises:
        ValueError: the result would not be valid; the text says where.
    """
    version = element.get("Version") or VERSIONS[0]
    if element.name not in MESSAGES or version not in VERSIONS:
        raise ValueError(f"no message {element.name} in UFTP {version}")
    parts = ['<?xml version="1.0" encoding="UTF-8"?>\n']
    _write(element, MESSAGES[element.name].spec[version], parts)
    data = "".join(parts).encode("utf-8")
    try:
        decode(data, _OWN)
    except TransportFault as fault:
        raise ValueError(f"{element.name} cannot be sent as UFTP {version}: {fault.message}") from None
    return data


_OWN = xml.Limits(size=64 * 1024 * 1024, elements=1_000_000)


def _write(element: Element, spec: ElementSpec, parts: list[str]) -> None:
    parts.append(f"<{element.name}")
    for name, value in element.attributes.items():
        attribute = spec.attributes.get(name)
        if attribute is None:
            raise ValueError(f"{element.name} has no attribute {name} in this version")
        parts.append(f' {name}="{escape(attribute.type.write(value), _QUOTES)}"')
    if not element.children:
        parts.append("/>")
        return
    parts.append(">")
    children = {c.name: c for c in spec.children}
    for child in element.children:
        if child.name not in children:
            raise ValueError(f"{element.name} has no child {child.name}")
        _write(child, children[child.name], parts)
    parts.append(f"</{element.name}>")
