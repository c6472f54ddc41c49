"""Documents of a known shape, read without parsing them.

The shape of a document is all of it but the values of its attributes. Peers write their messages by programme, so a few
shapes recur all the time. Of a shape that the full reader accepted twice it is known which attribute each value belongs
to; from then on only the values of such documents are read, which takes a fraction of the time. What has any other
shape, or a value that is not plain, goes to the full reader, which decides alone.

That is sound because a value without `"`, `<`, `&` and control characters can stand for another such value without a
change to what the document is: the parser, given any of them, would find the same elements and attributes.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from lxml import etree

from adapters import xml
from adapters.uftp.elements import MANY, Element, Rows
from adapters.uftp.schema import ElementSpec, table

__all__ = ["Shapes"]

_DECLARATION = re.compile(r"""<\?xml[^?<>]*\?>""")
_NOT_PLAIN = bytes((*range(32), *b"<&"))
"""What must not stand in a value: the parser would refuse or change it."""
_MOST_SHAPES = 256
_LONGEST = 32 * 1024


@dataclass(frozen=True, slots=True)
class _Place:
    """`count` elements that state the attributes `names`; their values begin at `first`. Only one has children."""

    spec: ElementSpec
    names: tuple[str, ...]
    first: int
    count: int
    children: tuple[_Place, ...] = ()


@dataclass(frozen=True, slots=True)
class _Known:
    """What a shape means: `version` is the place of the root's Version among the values, -1 without one; `places` are
    by the identity of the root's specification, which differs with the version."""

    root: str
    version: int
    places: dict[int, _Place]


class Shapes:
    """The shapes met so far, a limited number of them."""

    def __init__(self) -> None:
        self._known: dict[tuple[xml.Limits, str], _Known] = {}
        self._once: dict[int, None] = {}

    def read(self, data: bytes, limits: xml.Limits) -> Element | None:
        """The element that the full reader would return; None where that is for it to say."""
        if len(data) > limits.size:
            return None
        split = _split(data)
        if split is None:
            return None
        shape, values = split
        known = self._known.get((limits, shape))
        if known is None:
            return None
        place = known.places.get(id(_spec(known.root, values[known.version] if known.version >= 0 else "")))
        if place is None:
            return None
        try:
            return _element(place, values)
        except ValueError:
            return None

    def learn(self, data: bytes, limits: xml.Limits, root: etree._Element) -> None:
        """Take note of a document that the full reader accepted by the schema; `root` is its tree."""
        split = _split(data)
        if split is None or len(split[0]) > _LONGEST:
            return
        shape, values = split
        seen = hash(shape)
        if seen not in self._once:
            _make_room(self._once)
            self._once[seen] = None
            return
        if any(sign in shape.removeprefix("<?xml") for sign in ("'", "<!", "<?")):
            return  # no instructions, no comments, and no values but those between double quotes
        if [str(text) for node in root.iter(etree.Element) for text in node.values()] != values:
            return
        spec = _spec(str(root.tag), str(root.get("Version", "")))
        known = self._known.get((limits, shape))
        if known is None:
            names = [str(name) for name in root.keys()]  # noqa: SIM118 - a node's, not a dict's
            known = _Known(spec.name, names.index("Version") if "Version" in names else -1, {})
            _make_room(self._known)
            self._known[limits, shape] = known
        known.places[id(spec)] = _place(root, spec, iter(_first_values(root)))


def _spec(root: str, version: str) -> ElementSpec:
    spec = table(root, version.strip())
    assert spec is not None  # documents of another root are not accepted
    return spec


def _make_room(memory: dict[Any, Any]) -> None:
    while len(memory) >= _MOST_SHAPES:
        memory.pop(next(iter(memory)))


def _split(data: bytes) -> tuple[str, list[str]] | None:
    """Shape and values; None where the values are not plain."""
    if not data.isascii():
        return None
    text = data.decode("ascii")
    declared = _DECLARATION.match(text)
    begin = declared.end() if declared else 0
    pieces = text[begin:].split('"')
    values = pieces[1::2]
    together = "".join(values).encode("ascii")
    if len(together.translate(None, _NOT_PLAIN)) != len(together):
        return None
    return text[:begin] + '"'.join(pieces[0::2]), values


def _first_values(root: etree._Element) -> Iterator[int]:
    """Of each element, in order, the place of its first value among all."""
    at = 0
    for node in root.iter(etree.Element):
        yield at
        at += len(node.attrib)


def _place(node: etree._Element, spec: ElementSpec, first: Iterator[int]) -> _Place:
    begin = next(first)
    children: list[_Place] = []
    specs = {child.name: child for child in spec.children}
    for child in node:
        place = _place(child, specs[str(child.tag)], first)
        before = children[-1] if children else None
        if (
            before is not None
            and before.spec is place.spec
            and before.names == place.names != ()
            and not place.spec.children
        ):
            children[-1] = _Place(before.spec, before.names, before.first, before.count + 1)
        else:
            children.append(place)
    return _Place(spec, tuple(str(name) for name in node.keys()), begin, 1, tuple(children))  # noqa: SIM118


def _element(place: _Place, values: Sequence[str]) -> Element:
    spec, readers = place.spec, place.spec.readers
    texts = values[place.first : place.first + len(place.names)]
    attributes = {name: readers[name](text) for name, text in zip(place.names, texts, strict=True)}
    for name, value in spec.defaults:
        attributes.setdefault(name, value)
    if not place.children:
        return Element(spec.name, attributes)
    children = place.children
    if len(children) == 1 and children[0].count >= MANY:
        return Element(spec.name, attributes, _rows(children[0], values))
    found: list[Element] = []
    for child in children:
        found.extend(_rows(child, values) if child.count > 1 else (_element(child, values),))
    return Element(spec.name, attributes, tuple(found))


def _rows(place: _Place, values: Sequence[str]) -> Rows:
    width, end = len(place.names), place.first + place.count * len(place.names)
    columns = (values[place.first + k : end : width] for k in range(width))
    return Rows.read(place.spec, place.names, columns)
