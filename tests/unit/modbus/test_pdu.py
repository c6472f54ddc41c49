"""PDUs against the worked examples of the standard, and every answer that must be refused."""

from __future__ import annotations

import csv
import struct
from pathlib import Path

import pytest

from adapters.modbus import pdu
from adapters.modbus.errors import DeviceException, MalformedAnswer
from adapters.modbus.mbap import frame

FRAMES = Path(__file__).parents[2] / "data" / "modbus" / "frames.csv"
ROWS = list(csv.DictReader(FRAMES.read_text("utf-8").splitlines()))
GOOD = [row for row in ROWS if row["name"].startswith("FC")]


def request_of(row: dict[str, str]) -> pdu.Request:
    return pdu.decode_request(bytes.fromhex(row["request_pdu"]))


@pytest.mark.parametrize("row", GOOD, ids=lambda row: row["name"])
def test_request_reencodes_to_the_same_bytes(row: dict[str, str]) -> None:
    request = request_of(row)
    assert request.encode().hex() == row["request_pdu"]
    framed = bytes.fromhex(row["mbap_request"])
    assert frame(struct.unpack(">H", framed[:2])[0], 1, request.encode()) == framed


@pytest.mark.parametrize("row", GOOD, ids=lambda row: row["name"])
def test_answer_is_accepted_and_reencodes(row: dict[str, str]) -> None:
    request, answer = request_of(row), bytes.fromhex(row["response_pdu"])
    value = request.accept(answer)
    if value is None:
        again = request.answer()
    elif isinstance(request, pdu.ReadDeviceIdentification):
        again = request.answer(*value)
    else:
        again = request.answer(value)
    assert again == answer


@pytest.mark.parametrize("row", GOOD, ids=lambda row: row["name"])
def test_answer_belongs_to_no_other_request(row: dict[str, str]) -> None:
    answer = bytes.fromhex(row["response_pdu"])
    for other in GOOD:
        if other is not row:
            with pytest.raises(MalformedAnswer):
                request_of(other).accept(answer)


@pytest.mark.parametrize("row", [r for r in ROWS if r["name"].startswith("EX")], ids=lambda row: row["name"])
def test_exceptions_carry_their_code(row: dict[str, str]) -> None:
    answer = bytes.fromhex(row["response_pdu"])
    function = answer[0] & 0x7F
    assert pdu.exception(function, answer[1]) == answer
    if function == 3:
        with pytest.raises(DeviceException) as caught:
            pdu.ReadRegisters(0, 1).accept(answer)
        assert (caught.value.function, caught.value.code) == (3, answer[1])
    with pytest.raises(ValueError, match=r"quantity|no request|addresses"):
        pdu.decode_request(bytes.fromhex(row["request_pdu"]))


TEN = pdu.ReadRegisters(100, 10)
DATA = bytes(range(20))


@pytest.mark.parametrize(
    ("request_", "answer"),
    [
        pytest.param(TEN, b"\x03\x02\x00\x01", id="one register of ten"),
        pytest.param(TEN, b"\x03\x16" + DATA + b"\0\0", id="one register too many"),
        pytest.param(TEN, b"\x04\x14" + DATA, id="another function"),
        pytest.param(TEN, b"\x03\x16" + DATA, id="byte count above the data"),
        pytest.param(TEN, b"\x03\x12" + DATA, id="byte count below the data"),
        pytest.param(TEN, b"\x03", id="no byte count"),
        pytest.param(TEN, b"", id="nothing"),
        pytest.param(TEN, b"\x83", id="exception without code"),
        pytest.param(TEN, b"\x83\x02\x00", id="exception of three bytes"),
        pytest.param(TEN, b"\x84\x02", id="exception to another function"),
        pytest.param(pdu.WriteRegister(1, 3), b"\x06\x00\x01\x00\x04", id="FC06 echoes another value"),
        pytest.param(pdu.WriteRegister(1, 3), b"\x06\x00\x02\x00\x03", id="FC06 echoes another address"),
        pytest.param(pdu.WriteRegister(1, 3), b"\x06\x00\x01\x00\x03\x00", id="FC06 echo too long"),
        pytest.param(pdu.WriteCoil(1, True), b"\x05\x00\x01\x00\x00", id="FC05 echoes another value"),
        pytest.param(pdu.WriteRegisters(1, (2, 3)), b"\x10\x00\x02\x00\x02", id="FC16 echoes another address"),
        pytest.param(pdu.WriteRegisters(1, (2, 3)), b"\x10\x00\x01\x00\x01", id="FC16 echoes another quantity"),
        pytest.param(pdu.WriteCoils(1, (True,)), b"\x0f\x00\x01\x00\x02", id="FC15 echoes another quantity"),
        pytest.param(pdu.ReadBits(0, 9), b"\x01\x01\xff", id="FC01 a byte short"),
        pytest.param(pdu.ReadFifoQueue(1), b"\x18\x00\x42\x00\x20" + bytes(64), id="FIFO of 32"),
        pytest.param(pdu.ReadDeviceIdentification(), b"\x2b\x0e\x01\x01\x00\x00\x02\x00\x01A", id="object missing"),
        pytest.param(pdu.ReadDeviceIdentification(), b"\x2b\x0e\x01\x01\x00\x00\x01\x00\x09A", id="object cut"),
        pytest.param(pdu.ReadDeviceIdentification(), b"\x2b\x0d\x01\x01\x00\x00\x00", id="another MEI"),
    ],
)
def test_faulty_answers_are_refused(request_: pdu.Request, answer: bytes) -> None:
    with pytest.raises(MalformedAnswer):
        request_.accept(answer)


@pytest.mark.parametrize("code", [1, 2, 3, 4, 5, 6, 8, 0x0A, 0x0B, 0x7F])
def test_every_exception_code_is_an_error(code: int) -> None:
    with pytest.raises(DeviceException) as caught:
        TEN.accept(bytes((0x83, code)))
    assert caught.value.code == code


def test_padding_bits_never_become_coils() -> None:
    assert pdu.ReadBits(0, 3).accept(b"\x01\x01\xff") == (True, True, True)


@pytest.mark.parametrize(
    "make",
    [
        lambda: pdu.ReadRegisters(0, 126),
        lambda: pdu.ReadRegisters(0, 0),
        lambda: pdu.ReadRegisters(65535, 2),
        lambda: pdu.ReadRegisters(0, 1, 6),
        lambda: pdu.ReadBits(0, 2001),
        lambda: pdu.WriteRegisters(0, (0,) * 124),
        lambda: pdu.WriteRegisters(0, (65536,)),
        lambda: pdu.WriteCoils(0, (True,) * 1969),
        lambda: pdu.ReadWriteRegisters(0, 1, 0, (0,) * 122),
        lambda: pdu.ReadDeviceIdentification(5),
        lambda: pdu.WriteRegister(0, -1),
        lambda: pdu.decode_request(b""),
        lambda: pdu.decode_request(b"\x03\x00\x01\x00"),
        lambda: pdu.decode_request(b"\x05\x00\x01\x12\x34"),
        lambda: pdu.decode_request(b"\x10\x00\x01\x00\x01\x04\x00\x00\x00\x00"),
        lambda: pdu.decode_request(b"\x2b\x0d\x01\x00"),
    ],
)
def test_what_no_device_may_be_asked_is_never_sent(make: object) -> None:
    with pytest.raises(ValueError, match=r"."):
        make()  # type: ignore[operator]
