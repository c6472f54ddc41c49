"""The words in which `model` declares the objects of the standard: kinds of value, members, versions.

A kind reads a JSON value (adding a `Problem` for everything that is wrong), and describes itself as a schema. A member
is one field of an object with what each version says of it. Decoder, encoder and published schema follow from this
one table.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import MISSING, dataclass, field, fields
from decimal import Decimal
from enum import StrEnum
from typing import Any, Protocol

from adapters.openadr3.lexical import DateTime, Duration
from datamodels import Problem

__all__ = [
    "BOTH",
    "INT32",
    "Described",
    "Flag",
    "Instant",
    "Kind",
    "ListOf",
    "Member",
    "OneOf",
    "Part",
    "Reading",
    "Real",
    "Scalar",
    "Span",
    "Text",
    "Version",
    "Whole",
    "Wire",
    "describe",
    "member",
    "members",
    "read_object",
]

INT32 = 2**31 - 1


class Version(StrEnum):
    """The released versions that differ on the wire; 3.1.1 has the files of 3.1.0."""

    V301 = "3.0.1"
    V310 = "3.1.0"


BOTH = frozenset(Version)


@dataclass(frozen=True, slots=True, kw_only=True)
class Wire:
    """An object of the standard. `extra` keeps members that its version does not know, as they came."""

    extra: Mapping[str, Any] = field(default_factory=dict)


@dataclass(slots=True)
class Reading:
    """One decoding under way: the version spoken, and what was found wrong.

    `lenient` supplies the objectType of a payload descriptor that a client left out (errata 14).
    """

    version: Version
    lenient: bool = False
    problems: list[Problem] = field(default_factory=list)

    def fail(self, rule: str, where: str, message: str, hint: str = "") -> None:
        self.problems.append(Problem(f"openadr3.{rule}", where, message, hint=hint, clause=f"OpenADR {self.version}"))

    def wrong_type(self, where: str, value: Any, wanted: str) -> None:
        self.fail("type", where, f"{_named(value)} stands where {wanted} is needed", f"give {wanted}")


class Kind(Protocol):
    """What a member's value may be."""

    def read(self, value: Any, where: str, reading: Reading) -> Any:
        """The value as `model` holds it; what is wrong goes to `reading`, and the result is then worthless."""

    def schema(self, version: Version) -> dict[str, Any]:
        """As OpenAPI 3.0 describes it."""


# --- scalars ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Text:
    """A string of `least` to `most` characters."""

    least: int = 0
    most: int = 0
    pattern: str = ""
    format: str = ""

    def read(self, value: Any, where: str, reading: Reading) -> Any:
        if not isinstance(value, str):
            return reading.wrong_type(where, value, "a text")
        if len(value) < self.least or (self.most and len(value) > self.most):
            bounds = f"{self.least} to {self.most}" if self.most else f"at least {self.least}"
            reading.fail("length", where, f"the text has {len(value)} characters", f"{bounds} are allowed")
        elif self.pattern and not re.fullmatch(self.pattern.strip("^$"), value, re.ASCII):
            reading.fail("pattern", where, f"the text does not match {self.pattern}", "use letters, digits, _ and -")
        return value

    def schema(self, version: Version) -> dict[str, Any]:
        bounds = {"minLength": self.least, "maxLength": self.most} if self.most else {}
        texts = {"pattern": self.pattern, "format": self.format}
        return {"type": "string", **bounds, **{k: v for k, v in texts.items() if v}}


@dataclass(frozen=True, slots=True)
class Whole:
    """An integer; `int32` bounds it to 32 bits."""

    least: int | None = None
    most: int | None = None
    int32: bool = False

    def read(self, value: Any, where: str, reading: Reading) -> Any:
        if isinstance(value, Decimal) and value == value.to_integral_value():
            value = int(value)
        if isinstance(value, bool) or not isinstance(value, int):
            return reading.wrong_type(where, value, "a whole number")
        low = self.least if self.least is not None else -INT32 - 1 if self.int32 else None
        high = self.most if self.most is not None else INT32 if self.int32 else None
        if (low is not None and value < low) or (high is not None and value > high):
            reading.fail("range", where, f"{value} is out of range", f"{low} to {'any' if high is None else high}")
        return value

    def schema(self, version: Version) -> dict[str, Any]:
        more = {"format": "int32" if self.int32 else None, "minimum": self.least, "maximum": self.most}
        return {"type": "integer", **{k: v for k, v in more.items() if v is not None}}


@dataclass(frozen=True, slots=True)
class Real:
    """A number, kept as it came (int or Decimal)."""

    def read(self, value: Any, where: str, reading: Reading) -> Any:
        return value if _is_number(value) else reading.wrong_type(where, value, "a number")

    def schema(self, version: Version) -> dict[str, Any]:
        return {"type": "number", "format": "float"}


@dataclass(frozen=True, slots=True)
class Flag:
    def read(self, value: Any, where: str, reading: Reading) -> Any:
        return value if isinstance(value, bool) else reading.wrong_type(where, value, "true or false")

    def schema(self, version: Version) -> dict[str, Any]:
        return {"type": "boolean"}


@dataclass(frozen=True, slots=True)
class OneOf:
    """One of a closed set of texts. `also` is read but not part of the standard's own list (an erratum)."""

    values: tuple[str, ...]
    also: tuple[str, ...] = ()

    def read(self, value: Any, where: str, reading: Reading) -> Any:
        if not isinstance(value, str):
            return reading.wrong_type(where, value, "a text")
        if value not in self.values + self.also:
            reading.fail("enum", where, "the text is none of those defined", f"one of {', '.join(self.values)}")
        return value

    def schema(self, version: Version) -> dict[str, Any]:
        return {"type": "string", "enum": list(self.values)}


@dataclass(frozen=True, slots=True)
class Instant:
    """A date-time; `sentinel` where `0001-01-01` may stand for "now" (errata 10)."""

    sentinel: bool = False

    def read(self, value: Any, where: str, reading: Reading) -> Any:
        return _lexical(value, where, reading, lambda text: DateTime.read(text, sentinel=self.sentinel))

    def schema(self, version: Version) -> dict[str, Any]:
        return {"type": "string", "format": "date-time"}


@dataclass(frozen=True, slots=True)
class Span:
    """A duration; `signed` where it may be negative (errata 12)."""

    signed: bool = False

    def read(self, value: Any, where: str, reading: Reading) -> Any:
        return _lexical(value, where, reading, lambda text: Duration.read(text, signed=self.signed))

    def schema(self, version: Version) -> dict[str, Any]:
        return {"type": "string", "pattern": _DURATION_PATTERN}


_DURATION_PATTERN = (
    r"^(-?)P(?=\d|T\d)(?:(\d+)Y)?(?:(\d+)M)?(?:(\d+)([DW]))?(?:T(?:(\d+)H)?(?:(\d+)M)?(?:(\d+(?:\.\d+)?)S)?)?$"
)


# --- parts --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Part:
    """An object of its own."""

    cls: type[Wire]

    def read(self, value: Any, where: str, reading: Reading) -> Any:
        known = members(self.cls, reading.version)
        return read_object(self.cls, known.values(), value, where, reading)

    def schema(self, version: Version) -> dict[str, Any]:
        return describe(members(self.cls, version).values(), version)


@dataclass(frozen=True, slots=True)
class Described:
    """One of several objects, told apart by `objectType`; `default` is taken where it may be left out."""

    parts: Mapping[str, type[Wire]]
    default: str

    def read(self, value: Any, where: str, reading: Reading) -> Any:
        kind = value.get("objectType") if isinstance(value, Mapping) else None
        cls = self.parts.get(kind if isinstance(kind, str) else self.default, self.parts[self.default])
        return Part(cls).read(value, where, reading)

    def schema(self, version: Version) -> dict[str, Any]:
        return {"anyOf": [Part(cls).schema(version) for cls in self.parts.values()]}


@dataclass(frozen=True, slots=True)
class ListOf:
    """An array, held as a tuple."""

    kind: Kind

    def read(self, value: Any, where: str, reading: Reading) -> Any:
        if not isinstance(value, list | tuple):
            return reading.wrong_type(where, value, "a list")
        return tuple(self.kind.read(item, f"{where}[{n}]", reading) for n, item in enumerate(value))

    def schema(self, version: Version) -> dict[str, Any]:
        return {"type": "array", "items": self.kind.schema(version)}


@dataclass(frozen=True, slots=True)
class Scalar:
    """A value of a valuesMap: number, text, boolean or `point`; never null."""

    point: type[Wire]

    def read(self, value: Any, where: str, reading: Reading) -> Any:
        if isinstance(value, Mapping):
            return Part(self.point).read(value, where, reading)
        if isinstance(value, str | bool) or _is_number(value):
            return value
        return reading.wrong_type(where, value, "a number, text, true or false, or point")

    def schema(self, version: Version) -> dict[str, Any]:
        plain = [{"type": name} for name in ("number", "integer", "string", "boolean")]
        return {"anyOf": [*plain, Part(self.point).schema(version)]}


# --- members ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Member:
    """One field of an object in one version."""

    attribute: str
    wire: str
    kind: Kind
    required: bool
    nullable: bool
    default: Any


def member(
    kind: Kind | Mapping[Version, Kind],
    *,
    wire: str = "",
    required: Collection[Version] | bool = False,
    nullable: Collection[Version] | bool = False,
    default: Any = MISSING,
) -> Any:
    """A dataclass field that is a member: `kind` per version (absent where the version lacks it).

    `nullable` and `default` say what the schema prints. An absent optional member is None; the decoder drops null
    wherever the member is optional (errata 13), and applies no default.
    """
    entry = {
        "kinds": dict(kind) if isinstance(kind, Mapping) else dict.fromkeys(Version, kind),
        "wire": wire,
        "required": _versions(required),
        "nullable": _versions(nullable),
        "default": default,
    }
    return field(metadata=entry) if required is True else field(default=None, metadata=entry)


def members(cls: type[Wire], version: Version) -> Mapping[str, Member]:
    """The members of an object in a version, by wire name, in order of declaration."""
    known = _MEMBERS.get((cls, version))
    if known is None:
        known = _MEMBERS[cls, version] = _members(cls, version)
    return known


_MEMBERS: dict[tuple[type[Wire], Version], Mapping[str, Member]] = {}


def _members(cls: type[Wire], version: Version) -> dict[str, Member]:
    out: dict[str, Member] = {}
    for declared in fields(cls):
        entry = declared.metadata
        if entry and version in entry["kinds"]:
            wire = entry["wire"] or _camel(declared.name)
            out[wire] = Member(
                declared.name,
                wire,
                entry["kinds"][version],
                version in entry["required"],
                version in entry["nullable"],
                entry["default"],
            )
    return out


def read_object(cls: type[Wire], known: Iterable[Member], data: Any, where: str, reading: Reading) -> Any:
    """An object from its JSON form; None where something is wrong with it."""
    if not isinstance(data, Mapping):
        return reading.wrong_type(where or "body", data, "an object")
    before = len(reading.problems)
    values: dict[str, Any] = {}
    names: set[str] = set()
    for item in known:
        names.add(item.wire)
        value = data.get(item.wire)
        if value is None:
            value = _supplied(item, reading)
        if value is None and not item.required:
            continue
        place = f"{where}.{item.wire}" if where else item.wire
        if value is None:
            reading.fail("missing", place, "a required member is missing", f"add {item.wire}")
        else:
            values[item.attribute] = item.kind.read(value, place, reading)
    if len(reading.problems) > before:
        return None
    return cls(**values, extra={k: v for k, v in data.items() if k not in names})


def describe(known: Iterable[Member], version: Version) -> dict[str, Any]:
    """The OpenAPI 3.0 schema of an object with these members."""
    properties: dict[str, Any] = {}
    required = []
    for item in known:
        shown = item.kind.schema(version)
        if item.nullable:
            shown |= {"nullable": True, "default": None}
        if item.default is not MISSING:
            shown |= {"default": item.default}
        properties[item.wire] = shown
        if item.required:
            required.append(item.wire)
    return {"type": "object", "required": sorted(required), "properties": properties}


# --- inside -------------------------------------------------------------------------------------------------------


def _supplied(item: Member, reading: Reading) -> Any:
    """The objectType that a lenient reader puts in: the only one that can stand there."""
    if reading.lenient and item.wire == "objectType" and isinstance(item.kind, OneOf) and len(item.kind.values) == 1:
        return item.kind.values[0]
    return None


def _versions(given: Collection[Version] | bool) -> Collection[Version]:
    return (BOTH if given else frozenset()) if isinstance(given, bool) else frozenset(given)


def _camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join("ID" if part == "id" else part.capitalize() for part in rest)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float | Decimal) and not isinstance(value, bool)


def _named(value: Any) -> str:
    if value is None:
        return "null"
    names: list[tuple[Any, str]] = [
        (bool, "true or false"),
        (str, "a text"),
        (int | float | Decimal, "a number"),
        (Mapping, "an object"),
        (list | tuple, "a list"),
    ]
    return next((name for types, name in names if isinstance(value, types)), type(value).__name__)


def _lexical(value: Any, where: str, reading: Reading, read: Callable[[str], Any]) -> Any:
    if not isinstance(value, str):
        return reading.wrong_type(where, value, "a text")
    try:
        return read(value)
    except ValueError as error:
        reading.fail("lexical", where, f"the text {error}")
        return None
