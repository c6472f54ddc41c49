"""What must hold for any request, any layout, any stream cut anywhere, any way of looking at a plant."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.modbus import pdu
from adapters.modbus.device_physics import Battery, Control, PhotovoltaicArray
from adapters.modbus.errors import DeviceException, MalformedAnswer
from adapters.modbus.sunspec.layout import layout

WORD = st.integers(0, 0xFFFF)


def span(most: int) -> st.SearchStrategy[tuple[int, int]]:
    return st.integers(1, most).flatmap(lambda n: st.tuples(st.integers(0, 0x10000 - n), st.just(n)))


def words(most: int) -> st.SearchStrategy[tuple[int, ...]]:
    return st.lists(WORD, min_size=1, max_size=most).map(tuple)


def placed(cls: type, values: st.SearchStrategy[tuple[object, ...]]) -> st.SearchStrategy[object]:
    return values.flatmap(lambda v: st.integers(0, 0x10000 - len(v)).map(lambda at: cls(at, v)))


REQUESTS = st.one_of(
    st.builds(lambda s, f: pdu.ReadBits(*s, f), span(2000), st.sampled_from([1, 2])),
    st.builds(lambda s, f: pdu.ReadRegisters(*s, f), span(125), st.sampled_from([3, 4])),
    st.builds(pdu.WriteCoil, WORD, st.booleans()),
    st.builds(pdu.WriteRegister, WORD, WORD),
    st.builds(pdu.Diagnostics, WORD, WORD),
    placed(pdu.WriteCoils, st.lists(st.booleans(), min_size=1, max_size=1968).map(tuple)),
    placed(pdu.WriteRegisters, words(123)),
    st.builds(pdu.MaskWriteRegister, WORD, WORD, WORD),
    st.builds(lambda s, v: pdu.ReadWriteRegisters(*s, 0, v), span(125), words(121)),
    st.builds(pdu.ReadFifoQueue, WORD),
    st.builds(pdu.ReadDeviceIdentification, st.integers(1, 4), st.integers(0, 255)),
)


@given(REQUESTS)
def test_requests_survive_encoding_and_fit_a_frame(request: object) -> None:
    data = request.encode()  # type: ignore[attr-defined]
    assert len(data) <= pdu.MAX_PDU
    assert pdu.decode_request(data) == request


@given(REQUESTS, st.binary(max_size=pdu.MAX_PDU))
def test_no_bytes_make_the_validators_stumble(request: pdu.Request[object], answer: bytes) -> None:
    try:
        request.accept(answer)
    except (MalformedAnswer, DeviceException):
        return
    assert answer[0] == request.function


@given(st.binary(max_size=pdu.MAX_PDU))
def test_requests_are_read_or_refused(data: bytes) -> None:
    try:
        request = pdu.decode_request(data)
    except ValueError:
        return
    assert pdu.decode_request(request.encode()) == request


@given(span(125), st.data())
def test_only_the_exact_number_of_registers_is_taken(where: tuple[int, int], data: st.DataObject) -> None:
    request = pdu.ReadRegisters(*where)
    payload = data.draw(st.binary(min_size=2 * where[1], max_size=2 * where[1]))
    good = request.answer(payload)
    assert request.accept(good) == payload
    spoiled = data.draw(st.sampled_from([good[:-1], good[:-2], good + b"\0", good + b"\0\0", b"\x04" + good[1:]]))
    with pytest.raises(MalformedAnswer):
        request.accept(spoiled)


@given(st.integers(-0x7FFF, 0x7FFF), st.integers(-10, 10))
def test_scaled_values_come_back(raw: int, exponent: int) -> None:
    plan = layout(103)
    values = plan.decode(plan.encode({"W": raw, "W_SF": exponent}))
    assert round(float(values["W"] or 0) / 10.0**exponent) == raw  # type: ignore[arg-type]


@given(st.binary(min_size=2 * 155, max_size=2 * 155))
def test_any_registers_decode(data: bytes) -> None:
    values = layout(701).decode(data)
    assert set(values) == set(layout(701).points)
    subset = layout(701).only(["W", "TotWhInj"])
    assert subset.decode(data) == {name: values[name] for name in subset.points}


SETPOINTS = st.lists(st.tuples(st.floats(0.1, 4000), st.floats(-6000, 6000)), min_size=1, max_size=12)


@given(SETPOINTS, st.lists(st.floats(0, 20_000), max_size=30))
def test_energy_does_not_depend_on_how_often_one_looks(orders: list[tuple[float, float]], looks: list[float]) -> None:
    def run(extra: list[float]) -> tuple[float, float, float, list[float]]:
        plant = Battery(
            900,
            capacity_wh=3000,
            content_wh=1500,
            charge_max_w=4000,
            discharge_max_w=5000,
            charge_efficiency=0.93,
            discharge_efficiency=0.91,
        )
        means, at = [], 0.0
        for duration, watts in orders:
            means += [s.mean_w for s in plant.advance(at)]
            plant.setpoint = Control(watts, until=at + 1000, after_w=None)
            for look in sorted(x for x in extra if at <= x < at + duration):
                means += [s.mean_w for s in plant.advance(look)]
            at += duration
        means += [s.mean_w for s in plant.advance(at)]
        return plant.imported_wh, plant.exported_wh, plant.stored_wh, means

    once, often = run([]), run(looks)
    assert once[:3] == pytest.approx(often[:3], abs=1e-4)
    assert once[3] == pytest.approx(often[3], abs=1e-3)
    imported, exported, stored, _ = once
    assert stored == pytest.approx(1500 + imported * 0.93 - exported / 0.91, abs=1e-3)
    assert 0 <= stored <= 3000


@given(st.lists(st.integers(0, 10_000), min_size=1, max_size=8), st.integers(0, 10_000))
def test_step_means_add_up_to_the_register(available: list[int], limit: int) -> None:
    plant = PhotovoltaicArray(900, available)
    plant.limit = Control(float(limit))
    steps = plant.advance(900 * len(available))
    assert [s.mean_w for s in steps] == pytest.approx([-min(a, limit) for a in available])
    assert plant.exported_wh == pytest.approx(-sum(s.mean_w for s in steps) / 4)
