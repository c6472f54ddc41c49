"""Layouts and discovery: against the oracle's image, the tables of offsets, and awkward devices."""

from __future__ import annotations

import asyncio
import csv
import json
import math
import os
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from adapters.modbus.errors import DeviceException, MapError, ModbusError
from adapters.modbus.sunspec.layout import definition_set, layout, layout_of
from adapters.modbus.sunspec.scan import Block, read_model, scan
from datamodels import Severity

IMAGE = json.loads((Path(__file__).parents[2] / "data" / "modbus" / "sunspec_image.json").read_text("utf-8"))
SHARED = Path(os.environ.get("GRIDPARLEY_SHARED", Path(__file__).parents[4] / "shared"))


class Memory:
    """Registers at a base; everything else is exception 02. Counts requests and checks their size."""

    def __init__(self, base: int, data: bytes) -> None:
        self.base, self.data, self.requests = base, data, 0

    async def __call__(self, address: int, count: int) -> bytes:
        self.requests += 1
        assert 1 <= count <= 125
        first = 2 * (address - self.base)
        if first < 0 or first + 2 * count > len(self.data):
            raise DeviceException(3, 2)
        return self.data[first : first + 2 * count]


def flatten(points: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, entry in points.items():
        if isinstance(entry, list):
            for k, group in enumerate(entry):
                yield from flatten(group, f"{prefix}{name}[{k}].")
        elif "value" in entry:
            yield prefix + name, entry["value"]
        else:
            yield from flatten(entry, f"{prefix}{name}.")


def chain(*models: bytes, end: bytes = b"\xff\xff\0\0") -> bytes:
    return b"SunS" + b"".join(models) + end


# --- the oracle ---------------------------------------------------------------------------------------------------


async def test_image_decodes_as_the_oracle_read_it() -> None:
    read = Memory(IMAGE["base"], bytes.fromhex(IMAGE["registers_hex"]))
    device = await scan(read)
    assert [(m.id, m.address, m.length) for m in device.models] == [
        (m["id"], m["addr"], m["L"]) for m in IMAGE["models"]
    ]
    compared = 0
    for model, reference in zip(device.models, IMAGE["models"], strict=True):
        values = await read_model(read, model)
        assert model.layout is not None
        for name, expected in flatten(reference["points"]):
            if name == "Pad":
                continue
            got = values[name]
            if expected is None and model.layout.points[name].type.startswith("acc"):
                assert got == 0, (model.id, name)  # the oracle takes a fresh counter for "not accumulated"
            elif isinstance(expected, int | float):
                tolerance = 1e-6 if model.layout.points[name].type == "float32" else 1e-9
                assert isinstance(got, int | float), (model.id, name)
                assert math.isclose(got, expected, rel_tol=tolerance), (model.id, name)
            else:
                assert got == expected, (model.id, name)
            compared += 1
    assert compared > 650


async def test_model_of_155_registers_takes_two_reads_split_between_points() -> None:
    read = Memory(IMAGE["base"], bytes.fromhex(IMAGE["registers_hex"]))
    model = (await scan(read)).find(701)
    assert model is not None
    read.requests = 0
    await read_model(read, model)
    assert read.requests == 2


def test_offsets_are_those_of_the_tables() -> None:
    table = SHARED / "specs" / "modbus" / "sunspec_points.csv"
    if not table.exists():
        pytest.skip(f"needs {table} (set GRIDPARLEY_SHARED)")
    checked = 0
    for row in csv.DictReader(table.read_text("utf-8").splitlines()):
        if row["type"] == "pad":
            continue
        model = int(row["model"])
        plan = layout(model, 500, (1, 1)) if row["group"] != "-" else layout(model)
        names = [n for n in plan.points if n.rpartition(".")[2] == row["point"]]
        offsets = {plan.points[n].offset: plan.points[n] for n in names}
        assert int(row["offset"]) in offsets, row
        point = offsets[int(row["offset"])]
        assert (point.registers, point.type, point.writable) == (int(row["size"]), row["type"], row["access"] == "RW")
        checked += 1
    assert checked > 900


def test_definitions_are_identified_for_reports() -> None:
    assert definition_set().startswith("pysunspec2 ")
    assert len(definition_set().rpartition(":")[2]) == 64


# --- values -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        pytest.param({"W": 1234, "W_SF": -1}, 123.4, id="scaled"),
        pytest.param({"W": -1234, "W_SF": 2}, -123400, id="scaled up"),
        pytest.param({"W": 1234}, None, id="no scale factor"),
        pytest.param({"W": 1234, "W_SF": 11}, None, id="scale factor out of range"),
        pytest.param({"W": -0x8000, "W_SF": 0}, None, id="not implemented"),
    ],
)
def test_scaling(raw: dict[str, int], expected: float | None) -> None:
    plan = layout(103)
    assert plan.decode(plan.encode(raw))["W"] == expected


def test_scale_factor_of_the_same_read_counts() -> None:
    plan = layout(103).only(["W"])
    data = layout(103).encode({"W": 7, "W_SF": 1})
    assert (plan.decode(data)["W"], plan.registers) == (70, 16)
    assert plan.decode(layout(103).encode({"W": 7, "W_SF": 3}))["W"] == 7000


def test_null_codes() -> None:
    values = layout(113).decode(layout(113).encode({}))
    assert values["W"] is None  # NaN
    values = layout(701).decode(layout(701).encode({"Alrm": 0x8000_0001, "MnAlrmInfo": "text  \0rest"}))
    assert values["Alrm"] is None  # the top bit of a bitfield
    assert values["MnAlrmInfo"] == "text"
    assert values["TotWhInj"] is None
    assert layout(103).decode(layout(103).encode({"WH_SF": 0}))["WH"] == 0


def test_encode_refuses_what_does_not_fit() -> None:
    with pytest.raises(ValueError, match="W: 40000"):
        layout(103).encode({"W": 40000})
    with pytest.raises(KeyError):
        layout(103).encode({"Watt": 1})


def test_nested_groups_repeat_by_their_counts() -> None:
    header = struct.pack(">HH", 705, 13 + 2 * (10 + 3 * 2))
    fixed = layout(705).encode({"NCrv": 2, "NPt": 3})
    plan = layout_of(header + fixed[4:])
    assert {"Crv[0].Pt[2].V", "Crv[1].Pt[0].Var"} <= plan.points.keys()
    assert "Crv[2].ActPt" not in plan.points
    assert plan.uncovered == 0


# --- awkward devices ------------------------------------------------------------------------------------------------

COMMON = layout(1).encode({"Mn": "M", "Md": "D", "SN": "1"})
INVERTER = layout(103).encode({"W": 5, "W_SF": 0})


@pytest.mark.parametrize("base", [40000, 50000, 0])
async def test_each_base_is_tried(base: int) -> None:
    assert (await scan(Memory(base, chain(COMMON)))).base == base


async def test_end_model_without_a_length() -> None:
    device = await scan(Memory(40000, chain(COMMON, INVERTER, end=b"\xff\xff")))
    assert [m.id for m in device.models] == [1, 103]


async def test_common_model_without_its_pad() -> None:
    short = struct.pack(">HH", 1, 65) + COMMON[4:-2]
    device = await scan(Memory(40000, chain(short, INVERTER)))
    read = Memory(40000, chain(short, INVERTER))
    assert (await read_model(read, device.models[0]))["SN"] == "1"
    assert device.problems() == []


async def test_unknown_model_is_skipped_and_reported() -> None:
    odd = struct.pack(">HH", 65000, 3) + bytes(6)
    read = Memory(40000, chain(COMMON, odd, INVERTER))
    device = await scan(read)
    assert await read_model(read, device.models[1]) == {}
    assert [(p.rule, p.severity) for p in device.problems()] == [("sunspec.unknown", Severity.INFO)]
    assert device.find(103) is not None


@pytest.mark.parametrize(("length", "rule"), [(16, "sunspec.short"), (54, "sunspec.long")])
async def test_other_length_than_defined_shifts_nothing(length: int, rule: str) -> None:
    body = (INVERTER[4:] + bytes(200))[: 2 * length]
    read = Memory(40000, chain(struct.pack(">HH", 103, length) + body, COMMON))
    device = await scan(read)
    assert [m.id for m in device.models] == [103, 1]
    assert (await read_model(read, device.models[0]))["W"] == 5
    assert (await read_model(read, device.models[1]))["Mn"] == "M"
    assert [p.rule for p in device.problems()] == [rule]


@pytest.mark.parametrize("step", [b"\xfd\xe8\0\0", b"\xfd\xe8\x7f\xff" + bytes(2 * 0x7FFF)])
async def test_chain_without_end_is_stopped(step: bytes) -> None:
    with pytest.raises(MapError, match="does not end"):
        await scan(Memory(0, b"SunS" + step * (400 if len(step) == 4 else 2)))


async def test_no_marker_names_the_places_looked_at() -> None:
    with pytest.raises(MapError, match="40000, 50000, 0"):
        await scan(Memory(0, b"Moon" + bytes(100)))


async def test_silence_is_not_mistaken_for_an_empty_map() -> None:
    async def read(address: int, count: int) -> bytes:
        await asyncio.sleep(0)
        raise ModbusError("gone")

    with pytest.raises(ModbusError, match="gone"):
        await scan(read)


async def test_block_that_one_request_cannot_carry_is_refused() -> None:
    read = Memory(IMAGE["base"], bytes.fromhex(IMAGE["registers_hex"]))
    model = (await scan(read)).find(701)
    assert model is not None
    assert Block.of(model, ["W", "TotWhInj"]).plan.registers == 121
    with pytest.raises(ValueError, match="do not fit"):
        Block.of(model, ["MnAlrmInfo"])
