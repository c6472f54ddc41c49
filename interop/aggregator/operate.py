"""The day itself: measure, compare, repair, steer, dispatch.

Once an ISP the plan for the rest of the day is repaired with what was measured; a few times an ISP batteries and PV are
corrected so that the mean power keeps its bounds. What each resource shall do is held in its `Schedule`; every change
that matters becomes a new revision of its one dispatch, durable before it is sent.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Protocol, runtime_checkable

from datamodels import Dispatch, DispatchKind, IspSeries, Quantity, Resource, ResourceKind, Telemetry
from interop.aggregator import show
from interop.aggregator.absence import Absence
from interop.aggregator.forecast import Seen
from interop.aggregator.meter import Meter
from interop.aggregator.planner import DayPlan, Measured, Planner
from interop.aggregator.schedule import KIND_OF, Schedule
from interop.aggregator.steer import Moment, PvNow, StoreNow, mean_so_far, steer
from interop.desk import DeskContext
from interop.effects import Alarm, Effect, Instruct

__all__ = ["Operation", "Reader"]

_STEER_PER_ISP = 5
_SLOWEST_STEER_S = 10.0
_FASTEST_STEER_S = 0.15
_REPAIR_AT = 0.3
_READER = "modbus"
_HOMES_EVERY = 4
_HOMES_DEADBAND_W = 500


@runtime_checkable
class Reader(Protocol):
    """An adapter that can be asked for measurements at once (Modbus)."""

    async def read_now(self, resource_ids: Sequence[str]) -> list[Telemetry]: ...


@dataclass(slots=True)
class Day:
    """What holds for the day: the source of its dispatches, bounds on the net power (W), and the plan they gave.

    A plan is `stale` when it was made for a day under way without a look at how that goes.
    """

    source: str
    low_w: list[float]
    high_w: list[float]
    plan: DayPlan
    schedules: dict[str, Schedule] = field(default_factory=dict)
    stale: bool = False


class Operation:
    """Runs one local day at one congestion point."""

    def __init__(self, context: DeskContext, planner: Planner, meter: Meter) -> None:
        self.context = context
        self.planner = planner
        self.meter = meter
        self.calendar = context.terms.calendar
        self.day: Day | None = None
        self.unavailable: set[str] = set()
        self.absence = Absence(context.programmes, context.resources)
        self._silent: set[str] = set()
        self._repair: asyncio.Task[None] | None = None
        self._repaired = 0
        self._log = logging.getLogger("gridparley.operation")

    # --- schedules ----------------------------------------------------------------------------

    @property
    def controlled(self) -> dict[str, Resource]:
        choosing = self.planner.choosing
        return {
            id: r
            for id, r in self.context.resources.items()
            if (r.kind in KIND_OF or id in choosing) and r.binding is not None
        }

    def adopt(
        self, source: str, plan: DayPlan, low_w: list[float], high_w: list[float], first: int = 1
    ) -> list[Effect]:
        """Take up a plan for the day; the effects dispatch it from ISP `first` on, one dispatch per resource."""
        starts = self.calendar.starts(self.planner.period)
        self.day = Day(source, low_w, high_w, plan)
        for id, resource in self.controlled.items():
            self.day.schedules[id] = Schedule.of(
                id, self._told_by(resource), source, self.calendar, starts, list(plan.targets_w[id])
            )
        return self._instruct(self.day.schedules, first)

    def resume(
        self, source: str, plan: DayPlan, low_w: list[float], high_w: list[float], sent: Iterable[Dispatch]
    ) -> None:
        """Take up a day that was under way before a restart: what resources were told is what counts."""
        self.adopt(source, plan, low_w, high_w)
        assert self.day is not None
        self.day.stale = self.running > 0
        for dispatch in sent:
            schedule = self.day.schedules.get(dispatch.resource)
            if schedule is None or dispatch.source != source:
                continue
            schedule.sent = dispatch
            for k, start in enumerate(schedule.starts):
                told = dispatch.at(start)
                if told is not None:
                    schedule.targets_w[k] = told.value
        told_w = {id: list(schedule.targets_w) for id, schedule in self.day.schedules.items()}
        self.day.plan = self.planner.as_told(plan, told_w)

    def _told_by(self, resource: Resource) -> DispatchKind:
        return DispatchKind.SETPOINT if resource.id in self.planner.choosing else KIND_OF[resource.kind]

    def _instruct(self, ids: Iterable[str], first: int) -> list[Effect]:
        assert self.day is not None
        effects: list[Effect] = []
        for id in ids:
            schedule = self.day.schedules[id]
            schedule.sent = schedule.dispatch(first)
            effects.append(Instruct(schedule.sent))
        return effects

    # --- the day ----------------------------------------------------------------------------

    async def run(self) -> None:
        """Operate until the day is over. Does nothing in ISPs for which no day was adopted."""
        begin, end = self.calendar.day_span(self.planner.period)
        await self.context.clock.sleep_until(begin)
        last = 0
        while (now := self.context.clock.now()) < end:
            _, isp = self.calendar.locate(now)
            try:
                await self._read()
                if self.day is not None:
                    await self._steer(isp)
                    self._consider_repair(isp)
                if isp != last:
                    last = isp
                    self.publish(isp)
            except Exception:
                # One failed look must not leave the rest of the day without steering.
                self._log.exception("steering failed in ISP %d; it is tried again", isp)
            await self._pause(isp, end)
        await self._read()
        if self._repair is not None:
            await self._repair

    async def _pause(self, isp: int, end: datetime) -> None:
        clock = self.context.clock
        step = self.calendar.isp.total_seconds() / clock.rate / _STEER_PER_ISP
        step = min(max(step, _FASTEST_STEER_S), _SLOWEST_STEER_S)
        following = self.calendar.end(self.planner.period, isp)
        wake = clock.now() + timedelta(seconds=step * clock.rate)
        await clock.sleep_until(min(wake, following, end))

    async def _read(self) -> None:
        """Ask every device that can be asked for its registers, now: steering needs to know, not to remember."""
        ids = [id for id, r in self.context.resources.items() if r.binding and r.binding.adapter == _READER]
        reader = self.context.adapters.get(_READER)
        if ids and reader is not None and isinstance(reader, Reader):
            await reader.read_now(ids)

    # --- repair ----------------------------------------------------------------------------

    def _consider_repair(self, isp: int) -> None:
        starts = self.calendar.starts(self.planner.period)
        elapsed = (self.context.clock.now() - starts[isp - 1]) / self.calendar.isp
        idle = self._repair is None or self._repair.done()
        if idle and elapsed >= _REPAIR_AT and isp < len(starts) and self._repaired < isp:
            self._repaired = isp
            self._repair = asyncio.create_task(self._repair_from(isp + 1), name="operation.repair")

    async def _repair_from(self, isp: int) -> None:
        """Plan ISPs `isp`.. anew from what was measured, and tell the resources what changes."""
        day = self.day
        assert day is not None
        # Homes poll: what they are told arrives an ISP late, so they are told seldom, and meanwhile count as told.
        ask_homes = isp % _HOMES_EVERY == 0
        fixed = {} if ask_homes else {id: self._fixed(day.schedules[id]) for id in self._of_homes()}
        try:
            measured = self.measured(isp - 1)
            plan = await asyncio.to_thread(self.planner.repair, measured, day.plan, day.low_w, day.high_w, fixed)
        except Exception as error:
            # The last plan and the steering still hold the bounds; a person should know why it is not renewed.
            self._log.exception("the plan could not be repaired; the last one stands")
            await self.context.do([Alarm("plan.stale", "", f"{type(error).__name__}: {error}")])
            return
        day.plan, day.stale = plan, False
        changed: list[str] = []
        for id, schedule in day.schedules.items():
            schedule.targets_w[isp - 1 :] = plan.targets_w[id][isp - 1 :]
            slow = id in self._of_homes()
            if slow and not (ask_homes and schedule.differs(isp + 1, _HOMES_DEADBAND_W)):
                continue
            horizon = None if id in self.planner.choosing else 1
            if not slow and not schedule.differs(isp, self._deadband(id), horizon):
                continue
            changed.append(id)
        if changed:
            await self.context.do(self._instruct(changed, isp - 1))
        self.context.feed.publish(
            "plan", {"plan_kw": show.kilowatts(plan.net_w), "isp": isp, "cost_eur": plan.cost_eur}
        )

    def _fixed(self, schedule: Schedule) -> list[int]:
        """W per ISP that a resource was told, which is what it will do."""
        return [self._told(schedule, k) for k in range(1, len(schedule.starts) + 1)]

    @property
    def running(self) -> int:
        """The ISP (1-based) that is running: 0 before the day, its last one afterwards."""
        now, (begin, end) = self.context.clock.now(), self.calendar.day_span(self.planner.period)
        if now < begin:
            return 0
        return self.planner.isps if now >= end else self.calendar.locate(now)[1]

    @property
    def stand(self) -> tuple[int, frozenset[object]]:
        """What a plan depends on: the ISP up to which it was repaired, and who cannot be steered, now or later."""
        return self._repaired, frozenset({*self.offline(), *self._away().items()})

    def known(self) -> Measured:
        """What is known now."""
        isp = self.running
        return self.measured(isp) if isp else Measured.before(frozenset(self._gone()), self._away())

    def _away(self) -> dict[str, frozenset[int]]:
        """Batteries that are announced not to be there, with the ISPs of the day; what else opts out is told when it is
        so: a car or a heat pump then does as it likes, which is not known before."""
        batteries = set(self._of_kind(ResourceKind.BATTERY))
        announced = self.absence.isps(self.calendar, self.planner.period)
        return {id: isps for id, isps in announced.items() if id in batteries}

    def measured(self, isp: int) -> Measured:
        """What is known during ISP `isp` (1-based): powers and stored energy so far, and who does not answer."""
        starts = self.calendar.starts(self.planner.period)
        spans = [(start, start + self.calendar.isp) for start in starts[: isp - 1]]
        pvs, batteries = self._of_kind(ResourceKind.PV), self._of_kind(ResourceKind.BATTERY)
        stored = {id: self.meter.latest(id, Quantity.STORED_ENERGY_WH) for id in batteries}
        away = self._away()
        seen = Seen(
            isps=isp,
            power_w={id: [self.meter.isp_w(id, a, b) for a, b in spans] for id in self.context.resources},
            running_w={id: self.meter.value(id, Quantity.POWER_W) for id in (*pvs, *batteries)},
            limited={id: [self._was_limited(id, k) for k in range(isp)] for id in pvs},
        )
        return Measured(
            isp=isp,
            elapsed=min((self.context.clock.now() - starts[isp - 1]) / self.calendar.isp, 1.0),
            seen=seen,
            stored_wh={id: sample.value for id, sample in stored.items() if sample is not None},
            offline=frozenset(self.offline() - (away.keys() - self._gone())),
            away=away,
        )

    def _was_limited(self, id: str, k: int) -> bool:
        """Whether a PV plant was told to produce less than its rating in ISP k (0-based)."""
        schedule = self.day.schedules.get(id) if self.day else None
        return schedule is not None and schedule.targets_w[k] < -self.context.resources[id].p_min_w

    def offline(self) -> set[str]:
        """Resources that cannot be steered now: they do not answer, or their owner opted out or overrides us."""
        return self._gone() | self.absence.at(self.context.clock.now())

    def _gone(self) -> set[str]:
        """Those of which nobody knows when they will be back."""
        beyond = {
            id
            for id in self.context.resources
            for quantity, value in ((Quantity.ONLINE, 0.0), (Quantity.MANUAL_OVERRIDE, 1.0))
            if (sample := self.meter.latest(id, quantity)) is not None and sample.value == value
        }
        return beyond | self.unavailable

    # --- steering ----------------------------------------------------------------------------

    async def _steer(self, isp: int) -> None:
        day = self.day
        assert day is not None
        now = self.context.clock.now()
        start = self.calendar.start(self.planner.period, isp)
        elapsed = min(max((now - start) / self.calendar.isp, 0.0), 1.0)
        offline = self.offline()
        await self._tell_offline(offline)
        homes_w = self._homes_w(isp)
        batteries = [self._store(id, isp, elapsed) for id in self._of_kind(ResourceKind.BATTERY) if id not in offline]
        pvs = [self._pv(id, isp) for id in self._of_kind(ResourceKind.PV) if id not in offline]
        lost = -sum(self._potential(id, isp) for id in self._of_kind(ResourceKind.PV) if id in offline)
        moment = Moment(
            elapsed=elapsed,
            done_w=homes_w + sum(self._done_w(id, isp, now) for id in self._of_devices()),
            uncontrolled_w=homes_w + lost,
            low_w=day.low_w[isp - 1],
            high_w=day.high_w[isp - 1],
        )
        corrections = steer(moment, batteries, pvs)
        self._log.debug("ISP %d: %s %s %s -> %s", isp, moment, batteries, pvs, corrections)
        changed = []
        for id, value in (*corrections.battery_w.items(), *corrections.pv_limit_w.items()):
            schedule = day.schedules[id]
            if abs(value - self._told(schedule, isp)) > self._deadband(id):
                schedule.targets_w[isp - 1] = round(value)
                changed.append(id)
        if changed:
            await self.context.do(self._instruct(changed, isp))
        self._publish_live(isp, moment, homes_w)

    async def _tell_offline(self, offline: set[str]) -> None:
        """An alarm for each resource that just went silent, or whose owner just opted out."""
        fresh, self._silent = offline - self._silent, offline
        if fresh:
            text = "does not answer or has opted out; the plan is repaired without it"
            await self.context.do([Alarm("resource.offline", id, text) for id in sorted(fresh)])

    def _told(self, schedule: Schedule, isp: int) -> int:
        told = schedule.sent.at(schedule.starts[isp - 1]) if schedule.sent else None
        return told.value if told else schedule.targets_w[isp - 1]

    def _deadband(self, id: str) -> float:
        if id in self.planner.choosing:
            return 0.0
        resource = self.context.resources[id]
        return max(200.0, 0.01 * max(abs(resource.p_min_w), abs(resource.p_max_w)))

    def _of_homes(self) -> list[str]:
        """Cars and heat pumps: told through their homes, which poll."""
        ids = [*self._of_kind(ResourceKind.EVSE), *self._of_kind(ResourceKind.HEAT_PUMP)]
        return [id for id in ids if id not in self.planner.choosing]

    def _of_devices(self) -> list[str]:
        """PV and batteries: steered inside the ISP."""
        return [*self._of_kind(ResourceKind.PV), *self._of_kind(ResourceKind.BATTERY)]

    def _of_kind(self, kind: ResourceKind) -> list[str]:
        return [id for id, r in self.context.resources.items() if r.kind is kind]

    def _store(self, id: str, isp: int, elapsed: float) -> StoreNow:
        """A battery's room for the rest of the ISP, from its rating and its stored energy."""
        assert self.day is not None
        resource = self.context.resources[id]
        rest_h = max(1.0 - elapsed, 0.2) * self.calendar.isp_hours
        efficiency = self.planner.efficiency[id]
        stored = self.meter.value(id, Quantity.STORED_ENERGY_WH, resource.capacity_wh / 2)
        charge = min(resource.p_max_w, (resource.capacity_wh - stored) / (efficiency * rest_h))
        discharge = min(-resource.p_min_w, stored * efficiency / rest_h)
        plan = self.day.plan.targets_w[id][isp - 1]
        return StoreNow(id, min(max(plan, -discharge), charge), -discharge, charge)

    def _pv(self, id: str, isp: int) -> PvNow:
        assert self.day is not None
        return PvNow(id, self._potential(id, isp), float(self.day.plan.targets_w[id][isp - 1]))

    def _potential(self, id: str, isp: int) -> float:
        """What a plant could produce now, W >= 0: what it does produce, unless it was told to produce less."""
        assert self.day is not None
        sample = self.meter.latest(id, Quantity.POWER_W)
        start = self.calendar.start(self.planner.period, isp)
        expected = self.planner.pv_now(id, isp)
        if sample is None or sample.at < start - self.calendar.isp:
            return expected
        produced = max(-sample.value, 0.0)
        told = self._told(self.day.schedules[id], isp)
        return max(produced, expected) if produced > 0.97 * told else produced

    def _homes_w(self, isp: int) -> float:
        """All homes now: their loads by the latest forecast; cars, heat pumps and all that is switched as told."""
        assert self.day is not None
        ids = [*self._of_homes(), *(self.day.schedules.keys() & self.planner.choosing)]
        told = sum(self._told(self.day.schedules[id], isp) for id in ids)
        return self.planner.loads_w(isp) + told

    def _done_w(self, id: str, isp: int, now: datetime) -> float:
        """Mean power of a device since the ISP began: metered as far as it was read, and as it runs since then."""
        start = self.calendar.start(self.planner.period, isp)
        sample = self.meter.latest(id, Quantity.POWER_W)
        known = self.meter.mean_w(id, start, sample.at) if sample and sample.at > start else None
        metered_s = (sample.at - start).total_seconds() if sample and known is not None else 0.0
        return mean_so_far((now - start).total_seconds(), metered_s, known or 0.0, self._power_w(id, isp))

    def _power_w(self, id: str, isp: int) -> float:
        """What a device is taken to do now: what it was last seen to do.

        Once it is silent, a battery is taken to idle and a PV plant to produce what it can, as when planning.
        """
        if id not in self.offline():
            return self.meter.value(id, Quantity.POWER_W)
        return -self._potential(id, isp) if self.context.resources[id].kind is ResourceKind.PV else 0.0

    # --- metering and what people see ----------------------------------------------------------------------------

    def power(self, id: str) -> IspSeries:
        """Measured mean power of a resource per ISP; unaddressed where nothing was measured."""
        period = self.planner.period
        values = [self.meter.isp_w(id, s, s + self.calendar.isp) for s in self.calendar.starts(period)]
        return IspSeries(self.calendar, period, tuple(None if v is None else round(v) for v in values))

    def completed(self, id: str, measured: IspSeries) -> IspSeries:
        """Measurements with their gaps filled: 0 W for a resource that is silent now, else what it was told to do."""
        schedule = self.day.schedules.get(id) if self.day else None
        steered = schedule is not None and schedule.kind is DispatchKind.SETPOINT and id not in self.offline()
        planned = schedule.targets_w if schedule is not None and steered else [0] * len(measured)
        filled = (told if power is None else power for power, told in zip(measured.power_w, planned, strict=True))
        return IspSeries(self.calendar, self.planner.period, tuple(filled))

    def publish(self, isp: int) -> None:
        """Publish final values of every finished ISP."""
        silent = self.offline()
        groups = {
            "pv_kw": self._of_kind(ResourceKind.PV),
            "battery_kw": self._of_kind(ResourceKind.BATTERY),
            "homes_kw": list(self.planner.meters),
        }
        series = {
            name: [self.completed(id, s) if id in silent else s for id in ids for s in [self.power(id)]]
            for name, ids in groups.items()
        }
        self.context.feed.publish("actuals", show.actuals(series, isp - 1, self.planner.isps))

    def _publish_live(self, isp: int, moment: Moment, homes_w: float) -> None:
        pv = sum(self._power_w(id, isp) for id in self._of_kind(ResourceKind.PV))
        battery = sum(self._power_w(id, isp) for id in self._of_kind(ResourceKind.BATTERY))
        self.context.feed.publish(
            "actual",
            {
                "isp": isp,
                "net_kw": round((pv + battery + homes_w) / 1000, 3),
                "mean_kw": round(moment.done_w / 1000, 3),
                "pv_kw": round(pv / 1000, 3),
                "battery_kw": round(battery / 1000, 3),
                "homes_kw": round(homes_w / 1000, 3),
                "live": True,
            },
        )
