"""One control write, done safely: read, compose, write, read back (Modbus application rules for writes).

- Related points go in one FC 16; a device that refuses the block (exception 01, 02, 03) gets them one by one, the
  enabling point last.
- A write whose answer did not come, or was not one, is *unknown*: it is read back first. Only if the device shows that
  nothing happened is it sent once more.
- Exception 05: the device is at it, so look until it shows. 06: try again shortly. Any other: stop and raise.
- What was written must show within the time the standard gives (SunSpec: 1000 ms).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import Protocol

from adapters.modbus.errors import UNKNOWN_FATE, ControlError, DeviceException
from adapters.modbus.sunspec.recipes import Control, Raw, Write

__all__ = ["Link", "put", "read_raw"]

_log = logging.getLogger(__name__)
_LOOK_AGAIN_S = 0.05
_BUSY_TRIES = 3
_NOT_AS_A_BLOCK = (0x01, 0x02, 0x03)
_ACKNOWLEDGE, _BUSY = 0x05, 0x06


class Link(Protocol):
    """Register access to one device; raises ModbusError."""

    async def read(self, address: int, count: int) -> bytes: ...

    async def write(self, address: int, words: Sequence[int]) -> None: ...


async def read_raw(link: Link, control: Control) -> Raw:
    return control.read(await link.read(control.address, control.count))


async def put(
    link: Link, control: Control, before: Raw, wanted: Raw, *, verify_s: float, reason: str, off: bool = False
) -> None:
    """Make a control hold `wanted`, given what it held just now; `off` only touches the enabling point.

    Raises:
        ControlError: the device refuses, or does not show what was written.
        ModbusError: the connection or the device is gone; the write's fate is unknown.
    """
    block = control.off_writes() if off else control.block(before, wanted)
    try:
        await _send(link, block, lambda: control.singles(before, wanted))
    except UNKNOWN_FATE as fault:
        seen = await read_raw(link, control)
        if control.differences(seen, wanted):
            if control.differences(seen, {name: before[name] for name in wanted}):
                raise ControlError(f"the device did half of a write: {control.differences(seen, wanted)}") from fault
            await _send(link, block, lambda: control.singles(before, wanted))
    await _verify(link, control, before, wanted, verify_s, reason)


async def _send(link: Link, writes: Sequence[Write], one_by_one: Callable[[], list[Write]]) -> None:
    try:
        for write in writes:
            await _write(link, write)
    except DeviceException as refusal:
        if refusal.code not in _NOT_AS_A_BLOCK:
            raise ControlError(f"the device refuses the write: {refusal}", refused=True) from refusal
    else:
        return
    try:
        for write in one_by_one():
            await _write(link, write)
    except DeviceException as refusal:
        raise ControlError(f"the device refuses register {write.address}: {refusal}", refused=True) from refusal


async def _write(link: Link, write: Write) -> None:
    for tries in range(1, _BUSY_TRIES + 1):
        try:
            return await link.write(write.address, write.words)
        except DeviceException as answer:
            if answer.code == _ACKNOWLEDGE:
                return None
            if answer.code != _BUSY or tries == _BUSY_TRIES:
                raise
        await asyncio.sleep(_LOOK_AGAIN_S * tries)
    return None


async def _verify(link: Link, control: Control, before: Raw, wanted: Raw, verify_s: float, reason: str) -> None:
    loop = asyncio.get_running_loop()
    deadline = loop.time() + verify_s
    while difference := control.differences(seen := await read_raw(link, control), wanted):
        if loop.time() >= deadline:
            _log.warning("%s: not as written after %s s: %s", reason, verify_s, difference)
            raise ControlError(f"the device took the write but does not show it: {difference}")
        await asyncio.sleep(_LOOK_AGAIN_S)
    _log.info("%s: %s", reason, {name: (before[name], seen[name]) for name in wanted})
