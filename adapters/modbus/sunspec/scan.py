"""Finding the SunSpec map of a device and reading its models.

The chain is followed by what each model says of its length, never by our definition of it, and stops after 200 models
or at the end of the address space, whatever the device answers.
"""

from __future__ import annotations

import struct
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import TypeAlias

from adapters.modbus.errors import DeviceException, MapError
from adapters.modbus.sunspec.layout import Layout, Value, layout, layout_of
from datamodels import Problem, Severity

__all__ = ["BASES", "Block", "DeviceMap", "ModelAt", "Read", "read_model", "scan"]

BASES = (40000, 50000, 0)
_MARKER = b"SunS"
_END = 0xFFFF
_MAX_MODELS = 200
_MAX_READ = 125

Read: TypeAlias = Callable[[int, int], Awaitable[bytes]]
"""Reads `count` holding registers at `address` and returns their bytes."""


@dataclass(frozen=True, slots=True)
class ModelAt:
    """A model in a device: id, address of its ID register, and L. `layout` is None for an unknown model."""

    id: int
    address: int
    length: int
    layout: Layout | None


@dataclass(frozen=True, slots=True)
class DeviceMap:
    """All models of a device in the order of their addresses."""

    base: int
    models: tuple[ModelAt, ...]

    def find(self, model: int) -> ModelAt | None:
        """The first instance of a model."""
        return next((m for m in self.models if m.id == model), None)

    def problems(self) -> list[Problem]:
        """What is odd about the map: models we cannot decode, or whose length is not that of their definition."""
        found = []
        for model in self.models:
            where = f"model {model.id} at {model.address}"
            if model.layout is None:
                found.append(Problem("sunspec.unknown", where, "no definition; skipped", severity=Severity.INFO))
                continue
            fixed = max(p.offset + p.registers for p in layout(model.id).points.values())  # a pad may be left out
            if 2 + model.length < fixed:
                text = f"{2 + model.length} registers where the definition has {fixed}; the rest is missing"
                found.append(Problem("sunspec.short", where, text, severity=Severity.WARNING))
            elif model.layout.uncovered > 0:
                text = f"{model.layout.uncovered} registers more than the definition; they are skipped"
                found.append(Problem("sunspec.long", where, text, severity=Severity.WARNING))
        return found


@dataclass(frozen=True, slots=True)
class Block:
    """Some points of a model, read by one request that begins at its ID."""

    model: int
    address: int
    plan: Layout

    @classmethod
    def of(cls, model: ModelAt, names: Iterable[str]) -> Block:
        """Raises ValueError where the points do not fit into one request, KeyError where one does not exist."""
        assert model.layout is not None
        plan = model.layout.only(names)
        if plan.registers > _MAX_READ:
            raise ValueError(f"model {model.id}: {plan.registers} registers do not fit into one read")
        return cls(model.id, model.address, plan)


async def scan(read: Read) -> DeviceMap:
    """Find the map and walk its chain of models.

    Raises:
        MapError: no marker at any base, or a chain that does not end.
        ModbusError: the device does not answer.
    """
    base = await _find(read)
    models: list[ModelAt] = []
    at = base + 2
    while True:
        header = await _header(read, at)
        model, length = struct.unpack(">HH", header)
        if model == _END:
            return DeviceMap(base, tuple(models))
        if len(models) == _MAX_MODELS or at + 2 + length > 0xFFFF:
            raise MapError(f"the chain of models does not end: {len(models)} models up to register {at}")
        models.append(ModelAt(model, at, length, await _layout(read, at, model, length)))
        at += 2 + length


async def read_model(read: Read, model: ModelAt) -> dict[str, Value]:
    """All points of a model; {} for an unknown one. Reads are split between points, never inside one."""
    if model.layout is None:
        return {}
    data = b""
    for first, count in _chunks(model.layout):
        data += await read(model.address + first, count)
    return model.layout.decode(data)


async def _find(read: Read) -> int:
    for base in BASES:
        try:
            if (await read(base, 2)) == _MARKER:
                return base
        except DeviceException:
            continue
    raise MapError(f"no SunSpec marker at {', '.join(map(str, BASES))}")


async def _header(read: Read, at: int) -> bytes:
    """ID and L. An end model may serve its ID alone, so a refusal is followed by a look at the ID."""
    try:
        return await read(at, 2)
    except DeviceException:
        if (await read(at, 1)) == b"\xff\xff":
            return b"\xff\xff\0\0"
        raise


async def _layout(read: Read, at: int, model: int, length: int) -> Layout | None:
    header = struct.pack(">HH", model, length)
    try:
        fixed = layout(model, None)
    except KeyError:
        return None
    try:
        return layout_of(header)
    except MapError:
        count = min(fixed.registers, 2 + length, _MAX_READ)
        return layout_of(await read(at, count))


def _chunks(plan: Layout) -> list[tuple[int, int]]:
    chunks: list[tuple[int, int]] = []
    first = end = 0
    for point in plan.points.values():
        if point.offset + point.registers - first > _MAX_READ:
            chunks.append((first, end - first))
            first = end
        end = point.offset + point.registers
    chunks.append((first, plan.registers - first))
    return chunks
