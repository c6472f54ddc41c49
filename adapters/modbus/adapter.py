"""The Modbus/SunSpec adapter as the server sees it: telemetry in, dispatches out."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Mapping
from typing import Any

from adapters.errors import Rejection
from adapters.modbus.config import Settings
from adapters.modbus.errors import ModbusError
from adapters.modbus.session import Session
from adapters.ports import AdapterStatus, Ports
from datamodels import Dispatch, Problem, Resource, Telemetry

__all__ = ["ModbusAdapter", "build"]

_log = logging.getLogger(__name__)
_GRACE_S = 8.0


class ModbusAdapter:
    """Polls and steers every resource whose binding names the adapter "modbus" (`ports.Adapter`, `ports.Actuator`)."""

    name = "modbus"

    def __init__(self, settings: Settings, ports: Ports) -> None:
        self._sessions: dict[str, Session] = {}
        problems: list[Problem] = []
        for resource in ports.resources.values():
            if resource.binding is not None and resource.binding.adapter == self.name:
                try:
                    self._sessions[resource.id] = Session(resource, settings, ports)
                except Rejection as rejection:
                    problems.extend(rejection.problems)
        if problems:
            raise Rejection(problems)
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._running = False

    async def start(self) -> None:
        """Take up open orders and begin to look for the devices; does not wait for them."""
        for session in self._sessions.values():
            await session.load()
        for name, session in self._sessions.items():
            self._tasks[name] = asyncio.create_task(session.run(), name=f"modbus {name}")
            self._tasks[name].add_done_callback(_complain)
        self._running = True

    async def stop(self) -> None:
        """Give every device back and hang up; after eight seconds only hang up."""
        self._running = False
        for task in self._tasks.values():
            task.cancel()
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)
        self._tasks.clear()
        try:
            async with asyncio.timeout(_GRACE_S):
                await asyncio.gather(*(session.stop() for session in self._sessions.values()))
        except TimeoutError:
            _log.warning("not all devices could be given back within %s s; their timers will", _GRACE_S)

    def status(self) -> AdapterStatus:
        problems = [p for session in self._sessions.values() for p in session.problems()]
        problems += [
            Problem("modbus.stopped", name, "its task ended, see the log", hint="restart the server")
            for name, task in self._tasks.items()
            if task.done()
        ]
        peers = {name: session.state for name, session in self._sessions.items()}
        return AdapterStatus(self._running, (), tuple(problems), peers)

    async def apply(self, resource: Resource, dispatch: Dispatch) -> None:
        """Carry out a dispatch or a new revision of one (`ports.Actuator`).

        Raises:
            Rejection: the resource is not one of this adapter's, or the dispatch is for another.
        """
        if dispatch.resource != resource.id:
            text = f"dispatch {dispatch.id} is for {dispatch.resource}, not for {resource.id}"
            raise Rejection([Problem("modbus.resource", resource.id, text)])
        await self._session(resource.id).apply(dispatch)

    async def withdraw(self, dispatch: str) -> None:
        """End a dispatch before its time; one that is unknown or over is no error."""
        for session in self._sessions.values():
            if await session.withdraw(dispatch):
                return

    async def read_now(self, resource_ids: Iterable[str]) -> list[Telemetry]:
        """Poll the given devices at once, hand the samples in and return them; devices that are away give none.

        Raises:
            Rejection: a resource is not one of this adapter's.
        """
        sessions = [self._session(name) for name in resource_ids]
        rounds = await asyncio.gather(*(session.poll() for session in sessions), return_exceptions=True)
        found: list[Telemetry] = []
        for session, result in zip(sessions, rounds, strict=True):
            if isinstance(result, ModbusError):
                _log.warning("%s could not be read: %s", session.resource.id, result)
            elif isinstance(result, BaseException):
                raise result
            else:
                found.extend(result)
        return found

    def _session(self, resource: str) -> Session:
        try:
            return self._sessions[resource]
        except KeyError:
            known = ", ".join(sorted(self._sessions)) or "none"
            text = "no resource of that name is bound to the Modbus adapter"
            raise Rejection([Problem("modbus.resource", resource, text, hint=f"bound are: {known}")]) from None


def build(config: Mapping[str, Any], ports: Ports) -> ModbusAdapter:
    """The adapter from its table of the configuration (`config.Settings`).

    Raises:
        Rejection: every problem with the configuration and the bindings.
    """
    return ModbusAdapter(Settings.read(config), ports)


def _complain(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        _log.critical("%s ended: %r", task.get_name(), error, exc_info=error)
