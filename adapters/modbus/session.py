"""One device: connect, survey, poll, steer, and come back after every loss.

The connection is this session's own. Everything it hands in is stamped with market time at the middle between request
and answer. A device that goes silent or refuses to be read is marked (`Quantity.ONLINE` 0) and tried again with
back-off; one that takes orders without doing them keeps its telemetry, marked uncertain.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from datetime import UTC, datetime

from adapters.modbus.config import Address, Settings
from adapters.modbus.errors import DeviceException, ModbusError, Silence
from adapters.modbus.journal import Journal
from adapters.modbus.mapping import SURVEYED, Device, describe, locked, samples
from adapters.modbus.mbap import MbapClient, Reply
from adapters.modbus.pdu import ReadRegisters, WriteRegister, WriteRegisters
from adapters.modbus.steering import Steering
from adapters.modbus.sunspec.layout import Value
from adapters.modbus.sunspec.scan import Block, DeviceMap, read_model, scan
from adapters.ports import Ports
from datamodels import Dispatch, Problem, Quality, Quantity, Resource, Severity, Telemetry

__all__ = ["Session"]

_log = logging.getLogger(__name__)
_PASSING = (0x05, 0x06)  # acknowledge, busy: worth one more try
_LONGEST_NAP_S = 1.0


class Session:
    """The life of one resource's device. `run` it as a task; `stop` reverts what it holds."""

    def __init__(self, resource: Resource, settings: Settings, ports: Ports) -> None:
        self.resource = resource
        self._address = Address.of(resource)
        self._settings = settings
        self._ports = ports
        self._steering = Steering(
            resource.id,
            settings,
            ports.clock,
            Journal(ports.state, resource.id),
            ports.inbound.dispatch_update,
            self._address.min_limit_pct,
        )
        self._client: MbapClient | None = None
        self._map: DeviceMap | None = None
        self._device: Device | None = None
        self._online: bool | None = None
        self._reason = "not reached yet"
        self._wake = asyncio.Event()

    @property
    def device(self) -> Device | None:
        """What the last survey told; None while the device is away."""
        return self._device if self._online else None

    @property
    def peer(self) -> str:
        return f"{self._address.host}:{self._address.port}/{self._address.unit}"

    @property
    def state(self) -> str:
        """For `AdapterStatus.peers`: "online", "online, but ..." or "offline: ..."."""
        if not self._online:
            return f"offline: {self._reason}"
        trouble = self._steering.trouble or self._steering.locked
        return f"online, but {trouble}" if trouble else "online"

    def problems(self) -> list[Problem]:
        found = self._map.problems() if self._map is not None else []
        if self._online is not None and self.state != "online":
            hint = "check that it runs and that the binding's address is right" if not self._online else ""
            found.append(
                Problem("modbus.device", self.resource.id, self.state, hint=hint, severity=Severity.WARNING),
            )
        return found

    async def load(self) -> None:
        await self._steering.load()

    async def apply(self, dispatch: Dispatch) -> None:
        if await self._steering.apply(dispatch):
            self._wake.set()

    async def withdraw(self, dispatch: str) -> bool:
        known = await self._steering.withdraw(dispatch)
        if known:
            self._wake.set()
        return known

    async def run(self) -> None:
        """Until cancelled."""
        delay = self._settings.reconnect_min_s
        while True:
            try:
                await self._meet()
                delay = self._settings.reconnect_min_s
                await self._attend()
            except ModbusError as error:
                await self._lost(str(error))
            await asyncio.sleep(delay)
            delay = min(2 * delay, self._settings.reconnect_max_s)

    async def stop(self) -> None:
        """Give the device back and hang up. Call after `run` was cancelled."""
        try:
            if self._client is not None and self._client.is_open and self._online:
                await self._steering.revert(self)
        except ModbusError as error:
            _log.warning("%s could not be given back, its timer will: %s", self.resource.id, error)
        finally:
            if self._client is not None:
                self._client.close()

    async def poll(self) -> list[Telemetry]:
        """Read what changes, now, hand it in and return it; [] for a device that is away."""
        device = self.device
        if device is None:
            return []
        found: dict[int, tuple[datetime, dict[str, Value]]] = {}
        replies = await asyncio.gather(*(self._exchange(b.address, b.plan.registers) for b in device.blocks))
        for block, reply in zip(device.blocks, replies, strict=True):
            middle = datetime.fromtimestamp((reply.sent + reply.received) / 2, UTC)
            found[block.model] = (self._ports.clock.from_wall(middle), block.plan.decode(reply.value))
        quality = Quality.UNCERTAIN if self._steering.distrusted else Quality.GOOD
        telemetry = samples(self.resource.id, device, found, quality)
        await self._ports.inbound.telemetry(telemetry)
        return telemetry

    # --- register access (control.Link) ---------------------------------------------------------------------------

    async def read(self, address: int, count: int) -> bytes:
        return (await self._exchange(address, count)).value

    async def write(self, address: int, words: Sequence[int]) -> None:
        request = WriteRegister(address, words[0]) if len(words) == 1 else WriteRegisters(address, tuple(words))
        await self._open_client().call(self._address.unit, request)

    async def _exchange(self, address: int, count: int) -> Reply[bytes]:
        """Read; a lost answer or a passing refusal is asked for once more, for reading does no harm."""
        request = ReadRegisters(address, count)
        try:
            return await self._open_client().exchange(self._address.unit, request)
        except Silence:
            pass
        except DeviceException as answer:
            if answer.code not in _PASSING:
                raise
            await asyncio.sleep(0.05)
        return await self._open_client().exchange(self._address.unit, request)

    def _open_client(self) -> MbapClient:
        assert self._client is not None, "connected before anything is read"
        return self._client

    # --- the rounds -----------------------------------------------------------------------------------------------

    async def _meet(self) -> None:
        """Connect, find out what the device is, and take up its orders."""
        self._client = await MbapClient.connect(
            self._address.host,
            self._address.port,
            timeout_s=self._settings.timeout_s,
            trace=self._ports.trace,
            max_in_flight=self._address.max_in_flight,
        )
        self._map = await scan(self.read)
        survey: dict[int, dict[str, Value]] = {}
        for model in self._map.models:
            if model.id in SURVEYED and model.id not in survey:
                survey[model.id] = await read_model(self.read, model)
        self._device = describe(self._map, survey)
        await self._mark(True, "")
        await self._look_for_locks(survey)
        await self._steering.attach(self._device)

    async def _attend(self) -> None:
        """Poll and steer until the device is lost."""
        loop = asyncio.get_running_loop()
        next_poll = loop.time()
        next_look = loop.time() + self._settings.lock_check_s
        while True:
            if loop.time() >= next_poll:
                await self.poll()
                next_poll += self._settings.poll_s
                next_poll = max(next_poll, loop.time())  # rounds missed are not caught up
            if loop.time() >= next_look:
                await self._look_for_locks(await self._read_all(self._device.locks if self._device else ()))
                next_look = loop.time() + self._settings.lock_check_s
            await self._steering.reconcile(self)
            nap = min(next_poll - loop.time(), self._steering.due_in(), _LONGEST_NAP_S)
            if nap > 0 and not self._wake.is_set():
                try:
                    async with asyncio.timeout(nap):
                        await self._wake.wait()
                except TimeoutError:
                    continue
            self._wake.clear()

    async def _look_for_locks(self, survey: dict[int, dict[str, Value]]) -> None:
        reason = locked(survey)
        if bool(reason) != bool(self._steering.locked):
            await self._report(Quantity.MANUAL_OVERRIDE, 1.0 if reason else 0.0)
        self._steering.locked = reason

    async def _read_all(self, blocks: Sequence[Block]) -> dict[int, dict[str, Value]]:
        return {b.model: b.plan.decode(await self.read(b.address, b.plan.registers)) for b in blocks}

    async def _lost(self, reason: str) -> None:
        if self._client is not None:
            self._client.close()
        await self._mark(False, reason)
        await self._steering.detach(f"{self.resource.id} at {self.peer} is away: {reason}")

    async def _mark(self, online: bool, reason: str) -> None:
        changed, self._online, self._reason = online != self._online, online, reason
        if changed:
            _log.log(logging.INFO if online else logging.WARNING, "%s: %s", self.resource.id, self.state)
            await self._report(Quantity.ONLINE, float(online))

    async def _report(self, quantity: Quantity, value: float) -> None:
        sample = Telemetry(self.resource.id, quantity, self._ports.clock.now(), value)
        await self._ports.inbound.telemetry([sample])
