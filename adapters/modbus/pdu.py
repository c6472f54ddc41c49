"""Protocol data units: requests, and the answers that may be taken for theirs (MAP V1.1b3 section 6).

Each request class encodes itself (`encode`), is rebuilt from bytes (`decode_request`), builds the answer that a
device would give (`answer`), and reads one (`accept`): an answer of another function, quantity, byte count or echo is
refused, whatever the framing said. Nothing here touches a socket or a clock.

Constructing a request that no device may be asked (126 registers) raises ValueError, so it is never sent.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol, TypeVar

from adapters.modbus.errors import DeviceException, MalformedAnswer

__all__ = [
    "MAX_PDU",
    "Diagnostics",
    "MaskWriteRegister",
    "ReadBits",
    "ReadDeviceIdentification",
    "ReadFifoQueue",
    "ReadRegisters",
    "ReadWriteRegisters",
    "Request",
    "WriteCoil",
    "WriteCoils",
    "WriteRegister",
    "WriteRegisters",
    "decode_request",
    "exception",
]

MAX_PDU = 253
_MAX_READ_BITS = 2000
_MAX_WRITE_BITS = 1968
_MAX_READ = 125
_MAX_WRITE = 123
_MAX_READ_WRITE = 121
_MAX_FIFO = 31
_COIL = {True: 0xFF00, False: 0x0000}
_IDENTIFICATION = 0x0E

T_co = TypeVar("T_co", covariant=True)


class Request(Protocol[T_co]):
    """A request whose accepted answer means a `T_co`."""

    @property
    def function(self) -> int: ...

    def encode(self) -> bytes:
        """The request PDU."""

    def accept(self, pdu: bytes) -> T_co:
        """The meaning of an answer.

        Raises:
            DeviceException: the device refused.
            MalformedAnswer: this is not an answer to this request.
        """


def exception(function: int, code: int) -> bytes:
    """The PDU by which a device refuses a function."""
    return bytes((function | 0x80, code))


@dataclass(frozen=True, slots=True)
class ReadBits:
    """FC 01 coils or FC 02 discrete inputs (6.1, 6.2)."""

    address: int
    count: int
    function: int = 1

    def __post_init__(self) -> None:
        _functions(self.function, 1, 2)
        _range(self.address, self.count, _MAX_READ_BITS)

    def encode(self) -> bytes:
        return struct.pack(">BHH", self.function, self.address, self.count)

    @classmethod
    def decode(cls, pdu: bytes) -> ReadBits:
        function, address, count = _unpack(">BHH", pdu)
        return cls(address, count, function)

    def answer(self, bits: Sequence[bool]) -> bytes:
        data = _pack_bits(bits)
        return bytes((self.function, len(data))) + data

    def accept(self, pdu: bytes) -> tuple[bool, ...]:
        data = _counted(self.function, pdu, (self.count + 7) // 8)
        return _unpack_bits(data, self.count)  # padding bits are dropped, whatever they say


@dataclass(frozen=True, slots=True)
class ReadRegisters:
    """FC 03 holding or FC 04 input registers (6.3, 6.4); means the registers' bytes, big-endian, two each."""

    address: int
    count: int
    function: int = 3

    def __post_init__(self) -> None:
        _functions(self.function, 3, 4)
        _range(self.address, self.count, _MAX_READ)

    def encode(self) -> bytes:
        return struct.pack(">BHH", self.function, self.address, self.count)

    @classmethod
    def decode(cls, pdu: bytes) -> ReadRegisters:
        function, address, count = _unpack(">BHH", pdu)
        return cls(address, count, function)

    def answer(self, data: bytes) -> bytes:
        return bytes((self.function, len(data))) + data

    def accept(self, pdu: bytes) -> bytes:
        return _counted(self.function, pdu, 2 * self.count)


@dataclass(frozen=True, slots=True)
class WriteCoil:
    """FC 05 (6.5)."""

    function: ClassVar[int] = 5
    address: int
    value: bool

    def __post_init__(self) -> None:
        _range(self.address, 1, 1)

    def encode(self) -> bytes:
        return struct.pack(">BHH", self.function, self.address, _COIL[self.value])

    @classmethod
    def decode(cls, pdu: bytes) -> WriteCoil:
        _, address, value = _unpack(">BHH", pdu)
        if value not in _COIL.values():
            raise ValueError(f"a coil is FF00 or 0000, not {value:04X}")
        return cls(address, value == _COIL[True])

    def answer(self) -> bytes:
        return self.encode()

    def accept(self, pdu: bytes) -> None:
        _echo(self.function, pdu, self.encode())


@dataclass(frozen=True, slots=True)
class WriteRegister:
    """FC 06 (6.6)."""

    function: ClassVar[int] = 6
    address: int
    value: int

    def __post_init__(self) -> None:
        _range(self.address, 1, 1)
        _words((self.value,))

    def encode(self) -> bytes:
        return struct.pack(">BHH", self.function, self.address, self.value)

    @classmethod
    def decode(cls, pdu: bytes) -> WriteRegister:
        return cls(*_unpack(">BHH", pdu)[1:])

    def answer(self) -> bytes:
        return self.encode()

    def accept(self, pdu: bytes) -> None:
        _echo(self.function, pdu, self.encode())


@dataclass(frozen=True, slots=True)
class Diagnostics:
    """FC 08, sub-function 0000 returns the query data (6.8)."""

    function: ClassVar[int] = 8
    subfunction: int
    data: int

    def __post_init__(self) -> None:
        _words((self.subfunction, self.data))

    def encode(self) -> bytes:
        return struct.pack(">BHH", self.function, self.subfunction, self.data)

    @classmethod
    def decode(cls, pdu: bytes) -> Diagnostics:
        return cls(*_unpack(">BHH", pdu)[1:])

    def answer(self) -> bytes:
        return self.encode()

    def accept(self, pdu: bytes) -> None:
        _echo(self.function, pdu, self.encode())


@dataclass(frozen=True, slots=True)
class WriteCoils:
    """FC 15 (6.11)."""

    function: ClassVar[int] = 15
    address: int
    values: tuple[bool, ...]

    def __post_init__(self) -> None:
        _range(self.address, len(self.values), _MAX_WRITE_BITS)

    def encode(self) -> bytes:
        data = _pack_bits(self.values)
        return struct.pack(">BHHB", self.function, self.address, len(self.values), len(data)) + data

    @classmethod
    def decode(cls, pdu: bytes) -> WriteCoils:
        address, count, data = _block(pdu)
        if len(data) != (count + 7) // 8:
            raise ValueError(f"{count} coils do not take {len(data)} bytes")
        return cls(address, _unpack_bits(data, count))

    def answer(self) -> bytes:
        return struct.pack(">BHH", self.function, self.address, len(self.values))

    def accept(self, pdu: bytes) -> None:
        _echo(self.function, pdu, self.answer())


@dataclass(frozen=True, slots=True)
class WriteRegisters:
    """FC 16 (6.12)."""

    function: ClassVar[int] = 16
    address: int
    values: tuple[int, ...]

    def __post_init__(self) -> None:
        _range(self.address, len(self.values), _MAX_WRITE)
        _words(self.values)

    def encode(self) -> bytes:
        count = len(self.values)
        return struct.pack(f">BHHB{count}H", self.function, self.address, count, 2 * count, *self.values)

    @classmethod
    def decode(cls, pdu: bytes) -> WriteRegisters:
        address, count, data = _block(pdu)
        if len(data) != 2 * count:
            raise ValueError(f"{count} registers do not take {len(data)} bytes")
        return cls(address, struct.unpack(f">{count}H", data))

    def answer(self) -> bytes:
        return struct.pack(">BHH", self.function, self.address, len(self.values))

    def accept(self, pdu: bytes) -> None:
        _echo(self.function, pdu, self.answer())


@dataclass(frozen=True, slots=True)
class MaskWriteRegister:
    """FC 22: register = (current AND and_mask) OR (or_mask AND NOT and_mask) (6.16)."""

    function: ClassVar[int] = 22
    address: int
    and_mask: int
    or_mask: int

    def __post_init__(self) -> None:
        _range(self.address, 1, 1)
        _words((self.and_mask, self.or_mask))

    def encode(self) -> bytes:
        return struct.pack(">BHHH", self.function, self.address, self.and_mask, self.or_mask)

    @classmethod
    def decode(cls, pdu: bytes) -> MaskWriteRegister:
        return cls(*_unpack(">BHHH", pdu)[1:])

    def answer(self) -> bytes:
        return self.encode()

    def accept(self, pdu: bytes) -> None:
        _echo(self.function, pdu, self.encode())


@dataclass(frozen=True, slots=True)
class ReadWriteRegisters:
    """FC 23: writes, then reads (6.17); means the bytes read."""

    function: ClassVar[int] = 23
    read_address: int
    read_count: int
    write_address: int
    values: tuple[int, ...]

    def __post_init__(self) -> None:
        _range(self.read_address, self.read_count, _MAX_READ)
        _range(self.write_address, len(self.values), _MAX_READ_WRITE)
        _words(self.values)

    def encode(self) -> bytes:
        n = len(self.values)
        head = (self.function, self.read_address, self.read_count, self.write_address, n, 2 * n)
        return struct.pack(f">BHHHHB{n}H", *head, *self.values)

    @classmethod
    def decode(cls, pdu: bytes) -> ReadWriteRegisters:
        _, read_address, read_count, write_address, n, size = _unpack(">BHHHHB", pdu[:10])
        if size != 2 * n or len(pdu) != 10 + size:
            raise ValueError(f"{n} registers do not take {len(pdu) - 10} bytes")
        return cls(read_address, read_count, write_address, struct.unpack(f">{n}H", pdu[10:]))

    def answer(self, data: bytes) -> bytes:
        return bytes((self.function, len(data))) + data

    def accept(self, pdu: bytes) -> bytes:
        return _counted(self.function, pdu, 2 * self.read_count)


@dataclass(frozen=True, slots=True)
class ReadFifoQueue:
    """FC 24 (6.18); means the queued registers, at most 31."""

    function: ClassVar[int] = 24
    address: int

    def __post_init__(self) -> None:
        _range(self.address, 1, 1)

    def encode(self) -> bytes:
        return struct.pack(">BH", self.function, self.address)

    @classmethod
    def decode(cls, pdu: bytes) -> ReadFifoQueue:
        return cls(*_unpack(">BH", pdu)[1:])

    def answer(self, values: Sequence[int]) -> bytes:
        n = len(values)
        return struct.pack(f">BHH{n}H", self.function, 2 * n + 2, n, *values)

    def accept(self, pdu: bytes) -> tuple[int, ...]:
        _check_function(self.function, pdu)
        if len(pdu) < 5:
            raise MalformedAnswer(f"a FIFO answer of {len(pdu)} bytes")
        size, count = struct.unpack(">HH", pdu[1:5])
        if count > _MAX_FIFO or size != 2 * count + 2 or len(pdu) != 3 + size:
            raise MalformedAnswer(f"FIFO counts {size} and {count} do not fit an answer of {len(pdu)} bytes")
        return struct.unpack(f">{count}H", pdu[5:])


@dataclass(frozen=True, slots=True)
class ReadDeviceIdentification:
    """FC 43 / MEI 14 (6.21); means (conformity level, more follows, next object id, {object id: bytes})."""

    function: ClassVar[int] = 43
    code: int = 1
    object_id: int = 0

    def __post_init__(self) -> None:
        if not 1 <= self.code <= 4 or not 0 <= self.object_id <= 0xFF:
            raise ValueError(f"identification code {self.code}, object {self.object_id}: codes are 1..4")

    def encode(self) -> bytes:
        return bytes((self.function, _IDENTIFICATION, self.code, self.object_id))

    @classmethod
    def decode(cls, pdu: bytes) -> ReadDeviceIdentification:
        _, mei, code, object_id = _unpack(">BBBB", pdu)
        if mei != _IDENTIFICATION:
            raise ValueError(f"MEI type {mei:02X} is not 0E")
        return cls(code, object_id)

    def answer(self, conformity: int, more: bool, next_object: int, objects: dict[int, bytes]) -> bytes:
        head = bytes((self.function, _IDENTIFICATION, self.code, conformity, 0xFF * more, next_object, len(objects)))
        return head + b"".join(bytes((key, len(value))) + value for key, value in objects.items())

    def accept(self, pdu: bytes) -> tuple[int, bool, int, dict[int, bytes]]:
        _check_function(self.function, pdu)
        if len(pdu) < 7 or pdu[1] != _IDENTIFICATION or pdu[2] != self.code or pdu[4] not in (0x00, 0xFF):
            raise MalformedAnswer("an identification answer that does not repeat the request")
        objects: dict[int, bytes] = {}
        at = 7
        while at + 2 <= len(pdu) and at + 2 + pdu[at + 1] <= len(pdu):
            objects[pdu[at]] = pdu[at + 2 : at + 2 + pdu[at + 1]]
            at += 2 + pdu[at + 1]
        if at != len(pdu) or len(objects) != pdu[6]:
            raise MalformedAnswer(f"{pdu[6]} objects announced, {len(objects)} whole ones found")
        return pdu[3], pdu[4] == 0xFF, pdu[5], objects


_REQUESTS: dict[int, Any] = {
    1: ReadBits,
    2: ReadBits,
    3: ReadRegisters,
    4: ReadRegisters,
    5: WriteCoil,
    6: WriteRegister,
    8: Diagnostics,
    15: WriteCoils,
    16: WriteRegisters,
    22: MaskWriteRegister,
    23: ReadWriteRegisters,
    24: ReadFifoQueue,
    43: ReadDeviceIdentification,
}


def decode_request(pdu: bytes) -> Any:
    """The request in `pdu`.

    Raises:
        ValueError: an unknown function, a wrong length, or a quantity that may not be asked.
    """
    if not pdu or pdu[0] not in _REQUESTS:
        raise ValueError(f"no request begins with {pdu[:1].hex() or 'nothing'}")
    return _REQUESTS[pdu[0]].decode(pdu)


# --- checks ---------------------------------------------------------------------------------------------------------


def _functions(function: int, *allowed: int) -> None:
    if function not in allowed:
        raise ValueError(f"function {function} is not one of {allowed}")


def _range(address: int, count: int, most: int) -> None:
    if not 1 <= count <= most:
        raise ValueError(f"quantity {count} is not in 1..{most}")
    if not 0 <= address <= 0x10000 - count:
        raise ValueError(f"addresses {address}..{address + count - 1} are not in 0..65535")


def _words(values: Sequence[int]) -> None:
    if any(not 0 <= v <= 0xFFFF for v in values):
        raise ValueError("a register holds 0..65535")


def _unpack(layout: str, pdu: bytes) -> tuple[Any, ...]:
    try:
        return struct.unpack(layout, pdu)
    except struct.error:
        raise ValueError(f"a request of {len(pdu)} bytes where {struct.calcsize(layout)} are due") from None


def _block(pdu: bytes) -> tuple[int, int, bytes]:
    _, address, count, size = _unpack(">BHHB", pdu[:6])
    if len(pdu) != 6 + size:
        raise ValueError(f"byte count {size}, but {len(pdu) - 6} bytes follow")
    return address, count, pdu[6:]


def _check_function(function: int, pdu: bytes) -> None:
    if pdu[:1] == bytes((function | 0x80,)):
        if len(pdu) != 2:
            raise MalformedAnswer(f"an exception of {len(pdu)} bytes instead of 2")
        raise DeviceException(function, pdu[1])
    if pdu[:1] != bytes((function,)):
        raise MalformedAnswer(f"function {pdu[:1].hex() or 'none'} answers function {function:02x}")


def _counted(function: int, pdu: bytes, size: int) -> bytes:
    _check_function(function, pdu)
    if len(pdu) != 2 + size or pdu[1] != size:
        raise MalformedAnswer(f"{size} bytes were asked, {len(pdu) - 2} came")
    return pdu[2:]


def _echo(function: int, pdu: bytes, expected: bytes) -> None:
    _check_function(function, pdu)
    if pdu != expected:
        raise MalformedAnswer(f"echo {pdu.hex()} differs from {expected.hex()}")


def _pack_bits(bits: Sequence[bool]) -> bytes:
    return sum(1 << k for k, bit in enumerate(bits) if bit).to_bytes((len(bits) + 7) // 8, "little")


def _unpack_bits(data: bytes, count: int) -> tuple[bool, ...]:
    number = int.from_bytes(data, "little")
    return tuple(bool(number >> k & 1) for k in range(count))
