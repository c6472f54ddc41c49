"""SunSpec devices on Modbus/TCP, living in market time: `python -m adapters.modbus.simulator --help`.

One process serves any number of devices, one port each. Prints, per device, one line when it listens::

    {"listening": "127.0.0.1:40123", "resource": "pv-1"}

The log (JSON lines) gets, per elapsed profile step, {"resource", "start", "mean_w" (consumption positive),
"stored_wh"}, and per accepted control write {"resource", "at", "address", "values"}. A simulator started again on its
log replays the writes: the device went on while it could not be reached.

The only module that knows pymodbus, which serves the registers; it is not our client's own code talking to itself.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import signal
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pymodbus.constants import ExcCodes
from pymodbus.server import ModbusTcpServer
from pymodbus.simulator import DataType, SimData, SimDevice

from adapters.clock import Clock, FileClock, SystemClock
from adapters.modbus.device_physics import Step
from adapters.modbus.simulated_device import BASE, Description, SimulatedDevice

__all__ = ["Simulator", "main"]


class Simulator:
    """One device behind a pymodbus server; `log` receives its lines (None: no log)."""

    def __init__(self, description: Description, clock: Clock, log: Path | None = None) -> None:
        self._device = SimulatedDevice(description)
        self._clock = clock
        self._log = log
        self._logged = -1
        self._server: Any = None
        self._window = (_instant(description.fault_from), _instant(description.fault_until))

    @property
    def address(self) -> str:
        """host:port it listens on."""
        host, port = self._server.transport.sockets[0].getsockname()[:2]
        return f"{host}:{port}"

    @property
    def resource(self) -> str:
        return self._device.description.resource

    async def start(self) -> None:
        """Replay the log, then listen.

        Raises:
            OSError: the address is taken.
        """
        self._replay()
        host, _, port = self._device.description.listen.rpartition(":")
        image = SimData(BASE, values=list(self._device.registers), datatype=DataType.REGISTERS)
        served = SimDevice(self._device.description.unit, simdata=[image], action=self._access)
        self._server = ModbusTcpServer(served, address=(host, int(port)), trace_packet=self._packet)
        try:
            await self._server.serve_forever(background=True)
        except RuntimeError as error:
            raise OSError(f"cannot listen on {host}:{port}: {error}") from error

    async def stop(self) -> None:
        if self._server is not None:
            await self._server.shutdown()

    def advance(self, now: datetime) -> datetime:
        """Let time pass and log what it brought; returns when the step under way ends."""
        steps = self._device.advance(now)
        self._record(steps)
        elapsed = (now - self._device.start).total_seconds() // self._device.plant.step_s
        return self._device.step_start(max(int(elapsed), -1) + 1)

    # --- pymodbus' hooks ------------------------------------------------------------------------------------------

    async def _access(
        self,
        function_code: int,
        start_address: int,
        address: int,
        count: int,
        registers: list[int],
        values: Any,
    ) -> ExcCodes | None:
        """Before each access: refresh the registers that are read, or take the values that are written."""
        now = self._clock.now()
        self.advance(now)
        if values is None:
            image = self._device.registers
            registers[: len(image)] = image
            return None
        words = [int(v) for v in values]
        match self._fault(now):
            case "refuse":
                return ExcCodes.DEVICE_FAILURE
            case "lie":
                values[:] = registers[address - start_address : address - start_address + count]
                return None
        if code := self._device.write(address, words, now):
            return ExcCodes(code)
        self._write_log({"resource": self.resource, "at": now.isoformat(), "address": address, "values": words})
        return None

    def _packet(self, sending: bool, data: bytes) -> bytes:
        return b"" if sending and self._fault(self._clock.now()) == "silent" else data

    def _fault(self, now: datetime) -> str:
        begin, end = self._window
        return self._device.description.fault if (not begin or begin <= now) and (not end or now < end) else ""

    # --- the log --------------------------------------------------------------------------------------------------

    def _record(self, steps: Sequence[Step]) -> None:
        for step in steps:
            if step.number > self._logged:
                start = self._device.step_start(step.number).isoformat()
                line = {"resource": self.resource, "start": start, "mean_w": step.mean_w, "stored_wh": step.stored_wh}
                self._write_log(line)
                self._logged = step.number

    def _write_log(self, line: dict[str, Any]) -> None:
        if self._log is not None:
            with self._log.open("a", encoding="utf-8") as file:
                file.write(json.dumps(line) + "\n")

    def _replay(self) -> None:
        if self._log is None or not self._log.exists():
            return
        lines = [json.loads(text) for text in self._log.read_text("utf-8").splitlines() if text.endswith("}")]
        own = [line for line in lines if line["resource"] == self.resource]
        self._logged = sum("mean_w" in line for line in own) - 1
        for line in own:
            if "address" in line:
                at = datetime.fromisoformat(line["at"])
                self.advance(at)
                self._device.write(line["address"], line["values"], at)


async def serve(simulators: Sequence[Simulator], clock: Clock) -> None:
    """Serve until cancelled; logs each step soon after its end."""
    try:
        for simulator in simulators:
            await simulator.start()
            print(json.dumps({"listening": simulator.address, "resource": simulator.resource}), flush=True)
        while True:
            now = clock.now()
            await clock.sleep_until(min(simulator.advance(now) for simulator in simulators))
    finally:
        for simulator in simulators:
            await simulator.stop()


def _instant(text: str) -> datetime | None:
    return datetime.fromisoformat(text).astimezone(UTC) if text else None


def _arguments(argv: Sequence[str] | None) -> tuple[list[Description], Path | None, Path | None]:
    parser = argparse.ArgumentParser(prog="python -m adapters.modbus.simulator", description="SunSpec devices.")
    parser.add_argument("--devices", type=Path, help="JSON file with a list of device objects")
    parser.add_argument("--profile", type=Path, help="JSON file with one device object; the options below override it")
    for name in ("kind", "variant", "listen", "resource", "fault"):
        parser.add_argument(f"--{name}")
    parser.add_argument("--clock", type=Path, help="anchor file of market time; without it, the wall clock")
    parser.add_argument("--log", type=Path, help="JSON lines; continued if it exists")
    given = parser.parse_args(argv)
    if (given.devices is None) == (given.profile is None):
        parser.error("give either --devices or --profile")
    try:
        if given.devices is not None:
            devices = [Description.read(d) for d in json.loads(given.devices.read_text("utf-8"))]
        else:
            over = {n: v for n in ("kind", "variant", "listen", "resource", "fault") if (v := getattr(given, n))}
            devices = [Description.read({**json.loads(given.profile.read_text("utf-8")), **over})]
    except (OSError, TypeError, ValueError) as error:
        parser.error(str(error))
    if not devices:
        parser.error("the list of devices is empty")
    return devices, given.clock, given.log


def main(argv: Sequence[str] | None = None) -> None:
    """The command; ends on SIGTERM or SIGINT."""
    devices, clock_file, log = _arguments(argv)

    async def run() -> None:
        clock: Clock = FileClock(clock_file) if clock_file is not None else SystemClock()
        task = asyncio.ensure_future(serve([Simulator(d, clock, log) for d in devices], clock))
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, task.cancel)
        await asyncio.wait([task])
        if not task.cancelled():
            task.result()

    asyncio.run(run())


if __name__ == "__main__":
    main()
