"""What can go wrong between a Modbus client and a device.

::

    EdgeError
    └── ModbusError
        ├── DeviceException     the device answered with an exception code (MAP V1.1b3 section 7)
        ├── MalformedAnswer     an answer that does not belong to the request, or bytes that are not Modbus/TCP
        ├── Silence             no answer within the time-out
        ├── Disconnected        the connection is not there, or ended before the answer
        ├── MapError            the registers do not hold a SunSpec map
        └── ControlError        a write was not done, or not as told; `refused` tells who is to blame
            └── OtherMaster     a second controller writes the same points

Silence, MalformedAnswer and Disconnected leave the fate of a write open: read back before deciding (`UNKNOWN_FATE`).
"""

from __future__ import annotations

from adapters.errors import EdgeError

__all__ = [
    "EXCEPTION_NAMES",
    "UNKNOWN_FATE",
    "ControlError",
    "DeviceException",
    "Disconnected",
    "MalformedAnswer",
    "MapError",
    "ModbusError",
    "OtherMaster",
    "Silence",
]

EXCEPTION_NAMES = {
    0x01: "ILLEGAL FUNCTION",
    0x02: "ILLEGAL DATA ADDRESS",
    0x03: "ILLEGAL DATA VALUE",
    0x04: "SERVER DEVICE FAILURE",
    0x05: "ACKNOWLEDGE",
    0x06: "SERVER DEVICE BUSY",
    0x08: "MEMORY PARITY ERROR",
    0x0A: "GATEWAY PATH UNAVAILABLE",
    0x0B: "GATEWAY TARGET DEVICE FAILED TO RESPOND",
}


class ModbusError(EdgeError):
    """Any failure to get what was asked of a device."""


class DeviceException(ModbusError):
    """The device refused `function` with exception `code`, known to the standard or not."""

    def __init__(self, function: int, code: int) -> None:
        super().__init__(f"exception {code:02X} {EXCEPTION_NAMES.get(code, 'unknown')} to function {function:02X}")
        self.function = function
        self.code = code


class MalformedAnswer(ModbusError):
    """An answer that breaks the protocol, or is not the answer to this request."""


class Silence(ModbusError):
    """No answer in time."""


class Disconnected(ModbusError):
    """There is no connection, or it ended before the answer came."""


class MapError(ModbusError):
    """There is no SunSpec map, or its chain of models does not end."""


class ControlError(ModbusError):
    """A control write that did not take effect. `refused`: the device (or the user) said no, rather than failing."""

    def __init__(self, message: str, *, refused: bool = False) -> None:
        super().__init__(message)
        self.refused = refused


class OtherMaster(ControlError):
    """The points hold what we did not write: somebody else controls the device. We report and do not fight."""

    def __init__(self, message: str) -> None:
        super().__init__(message, refused=True)


UNKNOWN_FATE = (Silence, MalformedAnswer, Disconnected)
