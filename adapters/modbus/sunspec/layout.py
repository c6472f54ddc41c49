"""SunSpec models compiled to plans: one `struct` per model, a not-implemented table and a scale table.

The definitions are the JSON files that the `pysunspec2` package carries (Apache-2.0, SunSpec Alliance); they are read
as data, none of its code runs. Offsets count registers from the model's ID (ID 0, L 1), as in the definitions.

A layout names each point by its path: `"W"`, `"PFWInj.PF"`, `"Prt[0].DCW"`, `"Crv[1].Pt[3].V"`.
Rules of decoding: SunSpec Device Information Model Specification 1.1, and the choices listed at `Layout.decode`.
"""

from __future__ import annotations

import hashlib
import json
import math
import struct
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.metadata import version
from importlib.resources import files
from typing import Any, TypeAlias

from adapters.modbus.errors import MapError

__all__ = ["Layout", "Point", "Value", "definition_set", "layout", "layout_of"]

Value: TypeAlias = int | float | str | bytes | None

# Dividing by an exact power of ten rounds once; multiplying by 10**-n would round twice.
_TEN = tuple(10**n for n in range(11))


@dataclass(frozen=True, slots=True)
class _Type:
    """Registers (0: the definition decides), struct code, raw not-implemented value."""

    registers: int
    code: str
    absent: int | float | bytes | None


# Not implemented of acc is "0, not accumulated"; a fresh counter is also 0, so 0 is reported as 0.
_TYPES: dict[str, _Type] = {
    "int16": _Type(1, "h", -0x8000),
    "uint16": _Type(1, "H", 0xFFFF),
    "count": _Type(1, "H", 0xFFFF),
    "acc16": _Type(1, "H", None),
    "enum16": _Type(1, "H", 0xFFFF),
    "bitfield16": _Type(1, "H", 0xFFFF),
    "sunssf": _Type(1, "h", -0x8000),
    "int32": _Type(2, "i", -0x8000_0000),
    "uint32": _Type(2, "I", 0xFFFF_FFFF),
    "acc32": _Type(2, "I", None),
    "enum32": _Type(2, "I", 0xFFFF_FFFF),
    "bitfield32": _Type(2, "I", 0xFFFF_FFFF),
    "float32": _Type(2, "f", math.nan),
    "ipaddr": _Type(2, "I", 0),
    "int64": _Type(4, "q", -0x8000_0000_0000_0000),
    "uint64": _Type(4, "Q", 0xFFFF_FFFF_FFFF_FFFF),
    "acc64": _Type(4, "Q", None),
    "bitfield64": _Type(4, "Q", 0xFFFF_FFFF_FFFF_FFFF),
    "float64": _Type(4, "d", math.nan),
    "eui48": _Type(0, "s", b"\xff" * 6),
    "ipv6addr": _Type(0, "s", b""),
    "string": _Type(0, "s", b""),
    "pad": _Type(0, "x", None),
}


@dataclass(frozen=True, slots=True)
class Point:
    """One point: path, register offset and size, type name, struct code, raw not-implemented value, scale.

    `scale` is the path of the point that holds the exponent, a fixed exponent, or None.
    """

    name: str
    offset: int
    registers: int
    type: str
    code: str
    absent: int | float | bytes | None
    scale: str | int | None
    writable: bool
    mandatory: bool

    def pack(self, raw: int | float | str) -> bytes:
        """The registers of a raw value.

        Raises:
            ValueError: the value does not fit the type.
        """
        value = raw.encode() if isinstance(raw, str) else raw
        try:
            return struct.pack(f">{self.code}", value)
        except struct.error as error:
            raise ValueError(f"{self.name}: {raw!r} is no {self.type} ({error})") from None

    def words(self, raw: int | float | str) -> tuple[int, ...]:
        return struct.unpack(f">{self.registers}H", self.pack(raw))

    def unpack(self, data: bytes | bytearray, at: int = 0) -> Any:
        """The raw value at byte `at`."""
        return struct.unpack_from(f">{self.code}", data, at)[0]


class Layout:
    """One model as it lies in a device: which points, where, and how to read them all at once."""

    def __init__(self, model: int, registers: int, points: list[Point]) -> None:
        self.model = model
        self.points: dict[str, Point] = {p.name: p for p in points if p.type != "pad"}
        covered = sum(p.registers for p in points)
        self.registers = min(covered, registers)
        """Registers decoded, ID and L included."""
        self.uncovered = registers - covered
        """Registers of the device beyond the definition (newer firmware); skipped."""
        self._struct = struct.Struct(">" + "".join(p.code for p in points))
        known = list(self.points.values())
        self._names = [p.name for p in known]
        self._absent = [p.absent for p in known]
        self._exponents = [p.name for p in known if p.type == "sunssf"]
        self._texts = [p.name for p in known if p.type == "string"]
        self._floats = [p.name for p in known if p.type.startswith("float")]
        self._bits = [(p.name, 1 << 16 * p.registers - 1) for p in known if p.type.startswith("bitfield")]
        self._addresses = [p.name for p in known if p.type == "ipv6addr"]
        self._scaled = [(p.name, p.scale) for p in known if isinstance(p.scale, str)]
        self._fixed = [(p.name, p.scale) for p in known if isinstance(p.scale, int)]

    def only(self, names: Iterable[str]) -> Layout:
        """The same model, decoding no more than `names` and the scale factors they need, and ending after them.

        Raises:
            KeyError: the model has no such point.
        """
        wanted = {self.points[name].name for name in names}
        wanted |= {scale for name in wanted if isinstance(scale := self.points[name].scale, str)}
        end = max(self.points[name].offset + self.points[name].registers for name in wanted)
        points, at = [], 0
        for point in self.points.values():
            if point.name in wanted:
                if point.offset > at:
                    points.append(_gap(at, point.offset - at))
                points.append(point)
                at = point.offset + point.registers
        return Layout(self.model, end, points)

    def decode(self, data: bytes) -> dict[str, Value]:
        """All points of a model, scaled, from its registers (ID first); None stands for "not implemented".

        Also None: a bitfield with its top bit set, any NaN, and an implemented value whose scale factor is missing
        or outside -10..10 (never the unscaled number). Text loses NULs and blanks at its end.

        Raises:
            struct.error: fewer bytes than `registers` ask for.
        """
        raw = self._struct.unpack_from(data)
        values: dict[str, Any] = {
            name: None if value == absent else value
            for name, value, absent in zip(self._names, raw, self._absent, strict=True)
        }
        for name in self._texts:
            text = values[name].split(b"\0", 1)[0].rstrip()
            values[name] = text.decode("utf-8", "replace") or None
        for name in self._floats:
            if values[name] is not None and math.isnan(values[name]):
                values[name] = None
        for name, top in self._bits:
            if values[name] is not None and values[name] & top:
                values[name] = None
        for name in self._addresses:
            values[name] = values[name] if any(values[name]) else None
        for name in self._exponents:
            if values[name] is not None and not -10 <= values[name] <= 10:
                values[name] = None
        for name, scale in self._scaled:
            value = values[name]
            if value is None:
                continue
            exponent = values.get(scale)
            if exponent is None:
                values[name] = None
            elif exponent:
                values[name] = value * _TEN[exponent] if exponent > 0 else value / _TEN[-exponent]
        for name, exponent in self._fixed:
            if values[name] is not None:
                values[name] = values[name] * _TEN[exponent] if exponent > 0 else values[name] / _TEN[-exponent]
        return values

    def encode(self, raw: Mapping[str, int | float | str]) -> bytes:
        """The registers of the model from raw (unscaled) values; every other point is "not implemented".

        Raises:
            KeyError: no such point. ValueError: a value does not fit.
        """
        data = bytearray(2 * self.registers)
        for point in self.points.values():
            if point.absent is not None and not isinstance(point.absent, bytes):
                data[2 * point.offset : 2 * (point.offset + point.registers)] = point.pack(point.absent)
        for name, value in {"ID": self.model, "L": self.registers - 2, **raw}.items():
            point = self.points[name]
            data[2 * point.offset : 2 * (point.offset + point.registers)] = point.pack(value)
        return bytes(data)


def layout_of(header: bytes) -> Layout:
    """The layout of a model from its leading registers (ID, L and, where groups repeat, their counts).

    A shorter L than the definition cuts the layout at the last whole point; a longer one is skipped over.

    Raises:
        KeyError: no definition of that model.
        MapError: `header` ends before a count that the layout depends on.
    """
    model, length = struct.unpack_from(">HH", header)
    counts = []
    for offset in _count_offsets(model):
        if offset >= 2 + length:
            counts.append(0)
        elif 2 * offset + 2 > len(header):
            raise MapError(f"model {model}: the count at offset {offset} was not read")
        else:
            counts.append(struct.unpack_from(">H", header, 2 * offset)[0])
    return layout(model, 2 + length, tuple(counts))


@cache
def layout(model: int, registers: int | None = None, counts: tuple[int, ...] = ()) -> Layout:
    """The layout of a model over its first `registers` (None: as far as the fixed part and `counts` reach).

    `counts` are the values of the points that count groups, in the order of the definition.

    Raises:
        KeyError: no definition of that model.
    """
    group = _definition(model)
    names = _count_names(group)
    numbers = {name: 0 if n == 0xFFFF else n for name, n in zip(names, counts, strict=False)}
    limit = math.inf if registers is None else registers
    points: list[Point] = []
    at = 0
    for point in _expand(group, "", {}, numbers, limit):
        if at + point.registers > limit:
            break
        points.append(Point(point.name, at, *_rest(point)))
        at += point.registers
    return Layout(model, at if registers is None else registers, points)


@cache
def definition_set() -> str:
    """Package version and SHA-256 of the model definitions in use, so that a result can be reproduced."""
    digest = hashlib.sha256()
    for entry in sorted(_folder().iterdir(), key=lambda e: e.name):
        if entry.name.startswith("model_"):
            digest.update(entry.name.encode() + b"\0" + entry.read_bytes())
    return f"pysunspec2 {version('pysunspec2')} sha256:{digest.hexdigest()}"


# --- definitions ------------------------------------------------------------------------------------------------


def _folder() -> Any:
    return files("sunspec2").joinpath("models", "json")


@cache
def _definition(model: int) -> dict[str, Any]:
    entry = _folder().joinpath(f"model_{model}.json")
    if not entry.is_file():
        raise KeyError(f"no definition of SunSpec model {model}")
    group: dict[str, Any] = json.loads(entry.read_text("utf-8"))["group"]
    return group


def _count_names(group: dict[str, Any]) -> list[str]:
    """The points that count groups anywhere below; the definitions keep all of them at the top."""
    wanted = set(_counted(group))
    return [p["name"] for p in group["points"] if p["name"] in wanted]


def _counted(group: dict[str, Any]) -> Iterator[str]:
    for inner in group.get("groups", ()):
        if isinstance(inner.get("count"), str):
            yield inner["count"]
        yield from _counted(inner)


@cache
def _count_offsets(model: int) -> tuple[int, ...]:
    group = _definition(model)
    names = set(_count_names(group))
    offsets, at = [], 0
    for point in group["points"]:
        if point["name"] in names:
            offsets.append(at)
        at += point["size"]
    return tuple(offsets)


def _expand(
    group: dict[str, Any], prefix: str, scales: dict[str, str], counts: Mapping[str, int], limit: float
) -> Iterator[Point]:
    """Points in register order; offsets are still 0. Groups with count 0 repeat for ever: the caller stops."""
    scales = scales | {p["name"]: prefix + p["name"] for p in group["points"] if p["type"] == "sunssf"}
    for point in group["points"]:
        kind = _TYPES[point["type"]]
        size = kind.registers or point["size"]
        code, absent = kind.code, kind.absent
        if kind.code in "sx":
            code = f"{2 * size}{kind.code}"
        if isinstance(absent, bytes) and absent:
            absent = absent.ljust(2 * size, b"\0")
        scale = point.get("sf")
        yield Point(
            prefix + point["name"],
            0,
            size,
            point["type"],
            code,
            absent,
            scales[scale] if isinstance(scale, str) else scale,
            point.get("access") == "RW",
            point.get("mandatory") == "M",
        )
    for inner in group.get("groups", ()):
        count = inner.get("count", 1)
        if isinstance(count, str):
            count = counts.get(count, 0)
        elif count == 0:
            count = 0 if limit is math.inf else int(limit)  # fills the rest of L, so never more than that
        for k in range(count):
            name = f"{prefix}{inner['name']}." if inner.get("count", 1) == 1 else f"{prefix}{inner['name']}[{k}]."
            yield from _expand(inner, name, scales, counts, limit)


def _gap(offset: int, registers: int) -> Point:
    return Point("", offset, registers, "pad", f"{2 * registers}x", None, None, False, False)


def _rest(point: Point) -> tuple[Any, ...]:
    return (
        point.registers,
        point.type,
        point.code,
        point.absent,
        point.scale,
        point.writable,
        point.mandatory,
    )
