"""JSON and objects of OpenADR 3, both ways, driven by `model`. Pure.

`loads` is strict where JSON leaves room for tricks; numbers with a fraction become Decimal, so that what is read is
what is written. Which members a body must and may have depends on who says it: `SHAPES` names the forms as the schemas
of the standard do (`eventRequest` is what a client sends, `event` what a VTN answers).
"""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any, Generic, TypeVar, cast

from adapters.errors import TransportFault
from adapters.openadr3 import model
from adapters.openadr3.members import Member, OneOf, Reading, Version, Wire, describe, members, read_object
from datamodels import Problem

__all__ = ["SHAPES", "Decoded", "Shape", "answer", "decode", "dumps", "encode", "loads", "request"]

T = TypeVar("T", bound=Wire)
_METADATA = ("id", "createdDateTime", "modificationDateTime", "objectType")
_DEEPEST = 64
DEFAULT_SIZE = 10 * 1024 * 1024


# --- shapes -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Shape(Generic[T]):
    """One form of an object: its members in a version, some of them hidden, further ones required.

    `hidden` members are what the standard says is ignored there: they are read over.
    """

    cls: type[T]
    version: Version
    required: tuple[str, ...] = ()
    hidden: tuple[str, ...] = ()
    object_types: tuple[str, ...] = ()

    @property
    def members(self) -> list[Member]:
        shown = (m for name, m in members(self.cls, self.version).items() if name not in self.hidden)
        return [self._here(m) for m in shown]

    def schema(self) -> dict[str, Any]:
        return describe(self.members, self.version)

    def _here(self, item: Member) -> Member:
        if item.wire == "objectType" and self.object_types:
            item = replace(item, kind=OneOf(self.object_types))
        return replace(item, required=True) if item.wire in self.required else item


def _shapes() -> dict[Version, dict[str, Shape[Any]]]:
    old, new = Version.V301, Version.V310
    objects = {
        "program": model.Program,
        "report": model.Report,
        "event": model.Event,
        "subscription": model.Subscription,
        "ven": model.Ven,
        "resource": model.Resource,
    }
    shapes: dict[Version, dict[str, Shape[Any]]] = {old: {}, new: {}}
    for name, cls in objects.items():
        shapes[old][name] = Shape(cls, old, object_types=(name.upper(),))
        owned = ("clientID",) if "clientID" in members(cls, new) else ()
        also = ("venID",) if name == "resource" else ()
        shapes[new][name] = Shape(cls, new, _METADATA + owned + also, object_types=(name.upper(),))
        if name in ("ven", "resource"):
            kind, title = f"{name.upper()}_REQUEST", f"{name.capitalize()}Request"
            stamped = _METADATA[:3]
            for role, required, hidden in (
                ("Bl", ("objectType", "clientID", *also), stamped),
                ("Ven", ("objectType", *also), (*stamped, "clientID", "targets")),
            ):
                shapes[new][role + title] = Shape(cls, new, required, hidden, (f"{role.upper()}_{kind}",))
        else:
            shapes[new][f"{name}Request"] = Shape(cls, new, hidden=_METADATA + owned)
    # Of the 3.2 draft: only its text is known, no schema.
    group = model.ResourceGroup
    shapes[new]["resourceGroup"] = Shape(group, new, _METADATA, object_types=("RESOURCE_GROUP",))
    shapes[new]["resourceGroupRequest"] = Shape(group, new, hidden=_METADATA)
    for version in Version:
        shapes[version]["problem"] = Shape(model.Problem, version)
    return shapes


SHAPES: Mapping[Version, Mapping[str, Shape[Any]]] = _shapes()
"""Every form of every object, by version and by the name of its schema."""

_NAMES: Mapping[type[Wire], str] = {
    model.Program: "program",
    model.Report: "report",
    model.Event: "event",
    model.Subscription: "subscription",
    model.Ven: "ven",
    model.Resource: "resource",
    model.ResourceGroup: "resourceGroup",
    model.Problem: "problem",
}


def answer(cls: type[T], version: Version) -> Shape[T]:
    """The form in which a VTN shows an object."""
    return cast(Shape[T], SHAPES[version][_NAMES[cls]])


def request(cls: type[T], version: Version, role: str = "Ven") -> Shape[T]:
    """The form in which a client sends one; `role` Bl or Ven matters for vens and resources."""
    name = _NAMES[cls]
    if version is Version.V301:
        return cast(Shape[T], SHAPES[version][name])
    asked = f"{role}{name.capitalize()}Request" if name in ("ven", "resource") else f"{name}Request"
    return cast(Shape[T], SHAPES[version][asked])


# --- objects ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Decoded(Generic[T]):
    """An object, or everything that is wrong with its JSON."""

    value: T | None
    problems: tuple[Problem, ...] = ()


def decode(shape: Shape[T], data: Any, *, lenient: bool = False) -> Decoded[T]:
    """An object from parsed JSON."""
    reading = Reading(shape.version, lenient)
    known, hidden = shape.members, set(shape.hidden)
    if hidden and isinstance(data, Mapping):
        data = {name: value for name, value in data.items() if name not in hidden}
    return Decoded(read_object(shape.cls, known, data, "", reading), tuple(reading.problems))


def encode(value: Wire, version: Version) -> dict[str, Any]:
    """The JSON form of an object in a version; what that version has no member for is left out (see `mapping`)."""
    out: dict[str, Any] = {}
    for name, item in members(type(value), version).items():
        held = getattr(value, item.attribute)
        if held is not None:
            out[name] = _plain(held, version)
    return out | dict(value.extra)


def _plain(held: Any, version: Version) -> Any:
    if isinstance(held, Wire):
        return encode(held, version)
    if isinstance(held, tuple):
        return [_plain(item, version) for item in held]
    return held


# --- text ---------------------------------------------------------------------------------------------------------


def loads(body: bytes, largest: int = DEFAULT_SIZE) -> Any:
    """Parsed JSON (UTF-8).

    Raises:
        TransportFault: 413 where it is too long; 400 where it is no JSON, names a member twice, holds NaN or Infinity
            or half a surrogate pair, or is nested too deeply.
    """
    if len(body) > largest:
        raise TransportFault(413, "openadr3.size", f"the body has {len(body)} bytes, {largest} are allowed")
    try:
        _not_too_deep(body)
        value = json.loads(
            body.decode("utf-8"), parse_float=Decimal, parse_constant=_no_constant, object_pairs_hook=_once_each
        )
        if _SURROGATE.search(body):
            dumps(value)  # half a pair cannot be written again
    except (ValueError, RecursionError) as error:
        detail = type(error).__name__ if isinstance(error, UnicodeError | json.JSONDecodeError) else str(error)
        raise TransportFault(400, "openadr3.json", f"the body is not JSON that can be used: {detail}") from error
    return value


def dumps(value: Any) -> bytes:
    """JSON text of plain values; a Decimal keeps its digits."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"), default=_other)
    if _NUMBER in text:
        text = _MARKED.sub(r"\1", text)
    return text.encode("utf-8")


_NUMBER = secrets.token_hex(8)
"""Marks digits that the encoder must not touch on their way through it as a text; nobody outside can guess it."""
_MARKED = re.compile(f'"{_NUMBER}([^"]*)"')


def _other(value: Any) -> Any:
    match value:
        case Decimal():
            return f"{_NUMBER}{value}"
        case Mapping():
            return dict(value)
    raise TypeError(f"{type(value).__name__} has no JSON form")


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not a JSON number")


def _once_each(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    out = dict(pairs)
    if len(out) != len(pairs):
        raise ValueError("an object names a member twice")
    return out


def _not_too_deep(body: bytes) -> None:
    depth = 0
    # Only brackets outside of texts nest.
    for bracket in _STRING.sub(b"", body).translate(None, _NO_BRACKETS):
        depth += 1 if bracket in b"[{" else -1
        if depth > _DEEPEST:
            raise ValueError(f"it is nested more than {_DEEPEST} levels deep")


_STRING = re.compile(rb'"(?:[^"\\]|\\.)*"', re.DOTALL)
_NO_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))
_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")
