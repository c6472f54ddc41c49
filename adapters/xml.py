"""The only place that parses XML from outside (DESIGN section 7; rules measured against lxml 6.1 and libxml2 2.14).

Order: size, encoding, DOCTYPE, parse with a hardened parser, shape limits. A schema is validated afterwards, on the
finished tree: a parser bound to a schema can be made to end the process, so `XMLParser(schema=…)` is forbidden.
"""

from __future__ import annotations

import re
import threading
from dataclasses import dataclass
from operator import methodcaller
from typing import Any

from lxml import etree

from adapters.errors import TransportFault

__all__ = ["DEFAULT_LIMITS", "Limits", "parse"]


@dataclass(frozen=True, slots=True)
class Limits:
    """Caps on a document: bytes, elements, attributes and namespace declarations per element, and depth."""

    size: int = 2 * 1024 * 1024
    elements: int = 200_000
    attributes: int = 64
    depth: int = 64


DEFAULT_LIMITS = Limits()

_DECLARED = re.compile(rb"""^<\?xml[^>]*?encoding\s*=\s*["']([A-Za-z0-9._-]+)["']""")
_UTF8 = frozenset({"UTF-8", "UTF8", "US-ASCII", "ASCII"})
_UTF16 = frozenset({"UTF-16", "UTF-16LE", "UTF-16BE"})


def parse(data: bytes, limits: Limits = DEFAULT_LIMITS, *, allow_utf16: bool = False) -> etree._Element:
    """Parse a foreign document into an element, comments dropped.

    Raises:
        TransportFault: 413 where it is too large, 400 for anything else; `rule` names the check.
    """
    if len(data) > limits.size:
        raise TransportFault(413, "xml.size", f"document has {len(data)} bytes, at most {limits.size} are read")
    if not data.strip():
        raise TransportFault(400, "xml.empty", "there is no document")
    _check_encoding(data, allow_utf16)
    # A quick look; the check on the parsed tree below is the one that decides.
    if b"<!DOCTYPE" in data or b"<!doctype" in data:
        raise TransportFault(400, "xml.doctype", "a document type declaration is not allowed")
    try:
        parser = _PARSERS.parser
    except AttributeError:
        parser = _PARSERS.parser = _hardened()
    try:
        root = etree.fromstring(data, parser)
    except etree.XMLSyntaxError as error:
        raise TransportFault(400, "xml.syntax", f"not well-formed, line {error.lineno}") from None
    info: Any = root.getroottree().docinfo  # the stubs do not know all of it
    if info.xml_version != "1.0":
        raise TransportFault(400, "xml.version", "only XML 1.0 is read")
    if (info.encoding or "UTF-8").upper() not in (_UTF8 | _UTF16 if allow_utf16 else _UTF8):
        raise TransportFault(400, "xml.encoding", "only UTF-8 is read")
    if info.doctype or info.internalDTD is not None:
        raise TransportFault(400, "xml.doctype", "a document type declaration is not allowed")
    if not _surely_within(data, limits):
        _check_shape(root, limits)
    return root


_EQUAL_SIGNS = methodcaller("count", b"=")


class _Parsers(threading.local):
    """One parser a thread: making one costs more than parsing a small message with it."""

    parser: etree.XMLParser


_PARSERS = _Parsers()


def _hardened() -> etree.XMLParser:
    return etree.XMLParser(
        resolve_entities=False,
        no_network=True,
        load_dtd=False,
        dtd_validation=False,
        huge_tree=False,
        remove_comments=True,
        remove_pis=False,
    )


def _check_encoding(data: bytes, allow_utf16: bool) -> None:
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        if allow_utf16:
            return
        raise TransportFault(400, "xml.encoding", "only UTF-8 is read")
    body = data.removeprefix(b"\xef\xbb\xbf").lstrip()
    if b"\x00" in body[:64]:
        raise TransportFault(400, "xml.encoding", "only UTF-8 is read")
    declared = _DECLARED.match(body)
    if declared and declared[1].lower() not in (b"utf-8", b"utf8", b"us-ascii"):
        raise TransportFault(400, "xml.encoding", "only UTF-8 is read")


def _surely_within(data: bytes, limits: Limits) -> bool:
    """Whether the bytes alone show that the shape is allowed: each figure here is at least that of the parsed tree.

    True spares the walk over the tree. There are no entities, so every tag and every `=` of it stands in the bytes.
    """
    tags = data.split(b"<")
    return (
        b"\x00" not in data
        and data.count(b"<?") == data.startswith((b"<?xml ", b"\xef\xbb\xbf<?xml "))
        and len(tags) - 1 <= limits.elements
        and data.count(b"</") < limits.depth  # an element that has a child has an end tag
        and max(map(_EQUAL_SIGNS, tags)) <= limits.attributes
    )


def _check_shape(root: etree._Element, limits: Limits) -> None:
    count = depth = namespaces = 0
    siblings_of_root = root.getprevious() is not None or root.getnext() is not None
    if siblings_of_root:
        raise TransportFault(400, "xml.instruction", "processing instructions are not allowed")
    for event, node in etree.iterwalk(root, events=("start", "end", "start-ns", "pi")):
        if event == "start-ns":
            namespaces += 1
        elif event == "start":
            count += 1
            depth += 1
            if depth > limits.depth:
                raise TransportFault(400, "xml.depth", f"nested deeper than {limits.depth}")
            if count > limits.elements:
                raise TransportFault(400, "xml.elements", f"more than {limits.elements} elements")
            if max(len(node.attrib), namespaces) > limits.attributes:
                raise TransportFault(400, "xml.attributes", f"more than {limits.attributes} attributes on an element")
            namespaces = 0
        elif event == "end":
            depth -= 1
        else:
            raise TransportFault(400, "xml.instruction", "processing instructions are not allowed")
