"""Keeping one device at what its orders ask: the only code that decides to write.

`reconcile` compares what the orders ask now with what we hold in the device, and acts on the difference. It is the
same whether an interval begins, a plan is revised, a timer wants a refresh or the device came back. Rules:

- Equal values are written again only to restart the reversion timer, at half of its time.
- A point that holds what we did not write means another controller: report, do not fight.
- A device that refuses or does not do as told is left alone for a while (doubling), its orders are answered.
- While a device is away its orders stay; those still valid when it returns are carried out.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import date, datetime, timedelta

from adapters.clock import Clock
from adapters.modbus.config import Settings
from adapters.modbus.control import Link, put, read_raw
from adapters.modbus.errors import ControlError, DeviceException, OtherMaster
from adapters.modbus.journal import Journal
from adapters.modbus.mapping import Device, translate, verb_of
from adapters.modbus.schedule import Schedule, Target
from adapters.modbus.sunspec.recipes import Control, Raw, Verb
from datamodels import Dispatch, DispatchStatus, DispatchUpdate, validate

__all__ = ["Steering"]

_log = logging.getLogger(__name__)
_REMEMBERED = 512


@dataclass(slots=True)
class _Held:
    """What we have in a device. `until`: when its timer takes it back, `refresh` when we restart it; None: no timer.

    `attempt` was sent, but its fate is unknown. Not `certain`: the device was out of sight and may have reverted or
    restarted. `adopted`: an earlier run of ours wrote it, we do not know what exactly.
    """

    asked: Target | None
    wanted: Raw
    until: datetime | None
    refresh: datetime | None
    attempt: Raw | None = None
    certain: bool = True
    adopted: bool = False


@dataclass(slots=True)
class _Failure:
    """Why a verb does not work, and the monotonic time before which it is not tried again."""

    error: ControlError
    wait_s: float
    not_before: float


class Steering:
    """The orders of one device. `tell` hands news of a dispatch to the server."""

    def __init__(
        self,
        resource: str,
        settings: Settings,
        clock: Clock,
        journal: Journal,
        tell: Callable[[DispatchUpdate], Awaitable[None]],
        min_limit_pct: float = 0.0,
    ) -> None:
        self._resource = resource
        self._settings = settings
        self._clock = clock
        self._journal = journal
        self._tell_server = tell
        self._min_limit_pct = min_limit_pct
        self._schedule = Schedule()
        self._told: dict[str, tuple[int, DispatchStatus]] = {}
        self._held: dict[Verb, _Held] = {}
        self._failures: dict[Verb, _Failure] = {}
        self._verbs: dict[str, Verb] = {}
        self._left: list[Dispatch] = []
        self._device: Device | None = None
        self._away = ""
        self._lock = asyncio.Lock()
        self._writes: tuple[date, int] = (date.min, 0)
        self.locked = ""
        """Why the user or the owner refuses control at present."""

    # --- orders ---------------------------------------------------------------------------------------------------

    async def load(self) -> None:
        """Take up the orders an earlier run left open; the ones that ended meanwhile are only reverted."""
        now = self._clock.now()
        for dispatch in self._journal.load():
            self._left.append(dispatch)
            self._told[dispatch.id] = (dispatch.revision, DispatchStatus.ACCEPTED)
            if dispatch.end > now:
                self._schedule.put(dispatch)
            else:
                await self._tell(dispatch, DispatchStatus.ABORTED, "it ended while the adapter was not running")

    async def apply(self, dispatch: Dispatch) -> bool:
        """Take an order or a higher revision of one; False where it changes nothing."""
        known = self._schedule.get(dispatch.id)
        if known is not None and known.revision >= dispatch.revision:
            return False
        revision, told = self._told.get(dispatch.id, (-1, DispatchStatus.NEW))
        if known is None and revision >= dispatch.revision and told.is_final:
            return False  # it is over; saying so again would begin it anew
        if problems := validate(dispatch):
            await self._tell(dispatch, DispatchStatus.REJECTED, "; ".join(map(str, problems)))
            return False
        if dispatch.end <= (now := self._clock.now()):
            await self._tell(dispatch, DispatchStatus.REJECTED, f"it ended at {dispatch.end.isoformat()}")
            return False
        if self._device is not None:
            try:
                self._verbs[dispatch.id] = verb_of(dispatch.kind, self._device)
            except ControlError as error:
                await self._tell(dispatch, DispatchStatus.REJECTED, str(error))
                return False
        await self._journal.open(dispatch)
        self._schedule.put(dispatch)
        if self._away:
            await self._tell(dispatch, DispatchStatus.ABORTED, self._away)
        elif dispatch.start > now:
            await self._tell(dispatch, DispatchStatus.ACCEPTED)
        return True

    async def withdraw(self, dispatch: str) -> bool:
        """Drop an order; the device is given back by the next `reconcile`. False where it is unknown."""
        dropped = self._schedule.drop(dispatch)
        if dropped is None:
            return False
        await self._forget(dropped, DispatchStatus.REVOKED, "withdrawn")
        return True

    # --- the device -----------------------------------------------------------------------------------------------

    async def attach(self, device: Device) -> None:
        """The device is in sight (again)."""
        self._device, self._away = device, ""
        self._failures.clear()
        self._verbs.clear()
        for dispatch in self._schedule.all():
            try:
                self._verbs[dispatch.id] = verb_of(dispatch.kind, device)
            except ControlError as error:
                self._schedule.drop(dispatch.id)
                await self._forget(dispatch, DispatchStatus.REJECTED, str(error))
        for dispatch in self._left:
            with suppress(ControlError):  # answered above, or ended long ago
                verb = verb_of(dispatch.kind, device)
                self._held.setdefault(verb, _Held(None, {}, None, None, certain=False, adopted=True))
            if self._schedule.get(dispatch.id) is None:
                await self._journal.close(dispatch.id)
        self._left.clear()
        self._held = {verb: held for verb, held in self._held.items() if verb in device.controls}

    async def detach(self, reason: str) -> None:
        """The device is out of sight: its running orders are broken off, but kept for its return."""
        self._away = reason
        for held in self._held.values():
            held.certain = False
        for dispatch in self._schedule.active(self._clock.now()):
            await self._tell(dispatch, DispatchStatus.ABORTED, reason)

    @property
    def trouble(self) -> str:
        """Why orders do not take effect although the device answers; empty where they do."""
        return "; ".join(str(f.error) for f in self._failures.values())

    @property
    def distrusted(self) -> bool:
        """The device claimed to do what it did not do."""
        return any(not f.error.refused for f in self._failures.values())

    def due_in(self) -> float:
        """Wall seconds until `reconcile` has something to do, as far as is known now."""
        now = self._clock.now()
        times = [h.refresh for h in self._held.values() if h.refresh is not None and h.asked is not None]
        change = self._schedule.next_change(now)
        if change is not None:
            times.append(change)
        waits = [(t - now).total_seconds() / self._clock.rate for t in times]
        waits += [f.not_before - time.monotonic() for f in self._failures.values()]
        return max(min(waits, default=3600.0), 0.0)

    async def reconcile(self, link: Link) -> None:
        """Do what is due.

        Raises:
            ModbusError: the device is gone. Whatever else goes wrong is answered to the orders it concerns.
        """
        assert self._device is not None, "attach comes first"
        async with self._lock:
            now = self._clock.now()
            targets = self._schedule.targets(now, self._verbs)
            for verb, control in self._device.controls.items():
                target, held = targets.get(verb), self._held.get(verb)
                try:
                    if target is not None:
                        await self._hold(link, verb, control, target, now)
                    elif held is not None:
                        await self._release(link, verb, control, held)
                    else:
                        self._failures.pop(verb, None)
                except DeviceException as error:
                    await self._failed(verb, target, ControlError(f"the device refuses: {error}", refused=True))
                except ControlError as error:
                    await self._failed(verb, target, error)
            for dispatch in self._schedule.ended(now):
                self._schedule.drop(dispatch.id)
                if self._told.get(dispatch.id, (0, None))[1] is DispatchStatus.STARTED:
                    await self._forget(dispatch, DispatchStatus.SUCCEEDED, "")
                else:
                    await self._forget(dispatch, DispatchStatus.ABORTED, "it ended without having been in force")
            await self._journal.flush()

    async def revert(self, link: Link) -> None:
        """Give everything back (shutdown). Open orders stay in the journal for the next start."""
        async with self._lock:
            await self._journal.flush(now=True)
            for verb, held in list(self._held.items()):
                if self._device is not None and verb in self._device.controls:
                    await self._release(link, verb, self._device.controls[verb], held)

    # --- one verb -------------------------------------------------------------------------------------------------

    async def _hold(self, link: Link, verb: Verb, control: Control, target: Target, now: datetime) -> None:
        held, failure = self._held.get(verb), self._failures.get(verb)
        if failure is not None and time.monotonic() < failure.not_before:
            await self._answer(target, failure.error)
            return
        if self.locked:
            raise ControlError(self.locked, refused=True)
        if not self._needs_write(held, target, now):
            await self._started(target)
            return
        before = await read_raw(link, control)
        if not control.implemented(before):
            raise ControlError(f"model {control.recipe.model} has no {verb} that works", refused=True)
        assert self._device is not None
        order = translate(target.kind, target.value, verb, self._device, before, self._min_limit_pct)
        wanted = dict(order.wanted)
        seconds = None
        if control.has_timer(before):
            seconds = min(int(self._settings.reversion_s), control.timer_max())
            wanted[control.recipe.timer] = seconds
        self._check_master(control, before, held, wanted, now)
        self._spend(now)
        if held is None:
            held = self._held[verb] = _Held(None, {}, None, None, certain=False)
        held.attempt = wanted
        reason = f"{self._resource} {verb} {target.value} W for {target.decided_by}"
        sent = self._clock.now()
        await put(link, control, before, wanted, verify_s=self._settings.verify_s, reason=reason)
        self._failures.pop(verb, None)
        self._held[verb] = _Held(target, wanted, None, None)
        if seconds is not None:
            self._held[verb].until = sent + timedelta(seconds=seconds)
            self._held[verb].refresh = sent + timedelta(seconds=seconds / 2)
        await self._started(target, "; ".join(f"{loss.value}: {loss.why}" for loss in order.losses))

    def _needs_write(self, held: _Held | None, target: Target, now: datetime) -> bool:
        if held is None or held.asked is None or not held.certain:
            return True
        if (held.asked.kind, held.asked.value) != (target.kind, target.value):
            return True
        return held.refresh is not None and now >= held.refresh

    def _check_master(self, control: Control, before: Raw, held: _Held | None, wanted: Raw, now: datetime) -> None:
        """Raises OtherMaster where the control holds what is neither ours nor nothing."""
        on = control.enabled(before)
        timer = control.recipe.timer

        def is_ours(raw: Raw | None) -> bool:
            watched = {n: v for n, v in (raw or {}).items() if n != timer}
            return bool(watched) and not control.differences(before, watched)

        if held is None or held.adopted:
            if not on or held is not None or is_ours(wanted):
                return
        elif is_ours(held.wanted) or is_ours(held.attempt):
            return
        elif not on and (not held.certain or (held.until is not None and now >= held.until)):
            return  # its timer ran out or it restarted; both leave it off
        self._held.pop(control.recipe.verb, None)
        known = held.wanted if held is not None else self._shown(control, wanted)
        raise OtherMaster(f"another controller is at work: {control.differences(before, known) or 'switched off'}")

    @staticmethod
    def _shown(control: Control, wanted: Raw) -> Raw:
        return {name: value for name, value in wanted.items() if name != control.recipe.timer}

    async def _release(self, link: Link, verb: Verb, control: Control, held: _Held) -> None:
        failure = self._failures.get(verb)
        if failure is not None and time.monotonic() < failure.not_before:
            return
        before = await read_raw(link, control)
        if control.enabled(before):
            self._check_master(control, before, held, held.wanted, self._clock.now())
            reason = f"{self._resource} {verb} given back"
            await put(link, control, before, control.off(), verify_s=self._settings.verify_s, reason=reason, off=True)
        self._failures.pop(verb, None)
        del self._held[verb]

    def _spend(self, now: datetime) -> None:
        day, count = self._writes
        count = count + 1 if day == now.date() else 1
        if count > self._settings.max_writes_per_day:
            text = f"{self._settings.max_writes_per_day} writes a day are allowed, and done"
            raise ControlError(f"{text} (max_writes_per_day)", refused=True)
        self._writes = (now.date(), count)

    # --- news -----------------------------------------------------------------------------------------------------

    async def _failed(self, verb: Verb, target: Target | None, error: ControlError) -> None:
        known = self._failures.get(verb)
        wait = min(known.wait_s * 2 if known else self._settings.reconnect_min_s, self._settings.reconnect_max_s)
        self._failures[verb] = _Failure(error, wait, time.monotonic() + wait)
        if verb in self._held:
            self._held[verb].certain = False
            self._held[verb].asked = None
        elif target is None:
            self._failures.pop(verb)  # another controller has what we wanted to give back: nothing is left to do
        _log.warning("%s %s: %s", self._resource, verb, error)
        if target is not None:
            await self._answer(target, error)

    async def _answer(self, target: Target, error: ControlError) -> None:
        status = DispatchStatus.REJECTED if error.refused else DispatchStatus.ABORTED
        for dispatch in target.dispatches:
            await self._tell(dispatch, status, str(error))

    async def _started(self, target: Target, losses: str = "") -> None:
        for dispatch in target.dispatches:
            await self._tell(dispatch, DispatchStatus.STARTED, losses)

    async def _forget(self, dispatch: Dispatch, status: DispatchStatus, reason: str) -> None:
        self._verbs.pop(dispatch.id, None)
        await self._tell(dispatch, status, reason)
        while len(self._told) > _REMEMBERED:
            del self._told[next(iter(self._told))]
        await self._journal.close(dispatch.id)

    async def _tell(self, dispatch: Dispatch, status: DispatchStatus, reason: str = "") -> None:
        """Tell the server, unless the dispatch's revision is past that already."""
        revision, told = self._told.get(dispatch.id, (-1, DispatchStatus.NEW))
        if revision > dispatch.revision or (revision == dispatch.revision and not told.may_become(status)):
            return
        self._told[dispatch.id] = (dispatch.revision, status)
        update = DispatchUpdate(dispatch.id, dispatch.revision, status, self._clock.now(), reason)
        await self._tell_server(update)
