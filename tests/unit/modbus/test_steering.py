"""The write rules, one by one, on a device made of registers and a clock moved by hand."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from typing import Any

import pytest

from adapters.modbus.config import Settings
from adapters.modbus.errors import DeviceException, Disconnected, MalformedAnswer, Silence
from adapters.modbus.journal import Journal
from adapters.modbus.mapping import Device, describe
from adapters.modbus.simulated_device import BASE, Description, SimulatedDevice
from adapters.modbus.steering import Steering
from adapters.modbus.sunspec.layout import Value, layout
from adapters.modbus.sunspec.scan import read_model, scan
from datamodels import Dispatch, DispatchInterval, DispatchKind, DispatchStatus, DispatchUpdate

START = "2026-05-20T00:00:00+00:00"
PV = {"kind": "pv", "start": START, "w_max": 10000}
BATTERY = {
    "kind": "battery",
    "start": START,
    "w_max": 5000,
    "capacity_wh": 10000,
    "charge_max_w": 4000,
    "discharge_max_w": 5000,
}
ISP = timedelta(minutes=15)


class Rig:
    """A steering, its device, and what became of both."""

    def __init__(self, steering: Steering, device: Any, described: Device, clock: Any, updates: list[Any]) -> None:
        self.steering, self.device, self.described, self.clock = steering, device, described, clock
        self.updates: list[DispatchUpdate] = updates

    async def order(
        self, *values: int, name: str = "d", revision: int = 0, start: datetime | None = None, **kw: Any
    ) -> None:
        begin = start or self.clock.now()
        intervals = tuple(DispatchInterval(begin + k * ISP, ISP, v) for k, v in enumerate(values))
        kind = kw.pop("kind", DispatchKind.EXPORT_LIMIT)
        await self.steering.apply(Dispatch(name, "r", kind, intervals, "order", revision, **kw))

    async def settle(self) -> None:
        await self.steering.reconcile(self.device)

    def at(self, model: int, point: str) -> int:
        address = next(m for m in self.models if m.id == model).address
        p = layout(model).points[point]
        words = self.device.words[address + p.offset - BASE : address + p.offset - BASE + p.registers]
        raw: int = p.unpack(b"".join(w.to_bytes(2, "big") for w in words))
        return raw

    def set(self, model: int, point: str, raw: int) -> None:
        address = next(m for m in self.models if m.id == model).address
        p = layout(model).points[point]
        self.device.words[address + p.offset - BASE : address + p.offset - BASE + p.registers] = p.words(raw)

    @property
    def news(self) -> list[tuple[int, str]]:
        return [(u.revision, u.status.value) for u in self.updates]


Make = Callable[..., Awaitable[Rig]]


@pytest.fixture
def make(clock: Any, state: Any, updates: list[DispatchUpdate], tell: Any, register_device: Any) -> Make:
    async def build(description: dict[str, Any], **settings: Any) -> Rig:
        simulated = SimulatedDevice(Description.read(description))
        simulated.advance(clock.now())
        data = b"".join(w.to_bytes(2, "big") for w in simulated.registers)
        device = register_device(BASE, data)
        found = await scan(device.read)
        survey: dict[int, dict[str, Value]] = {m.id: await read_model(device.read, m) for m in found.models}
        described = describe(found, survey)
        quick = {"reversion_s": 600.0, "verify_s": 0.02, "reconnect_min_s": 0.01, **settings}
        steering = Steering("r", Settings(**quick), clock, Journal(state, "r"), tell, 0.0)
        await steering.load()
        await steering.attach(described)
        rig = Rig(steering, device, described, clock, updates)
        rig.models = found.models  # type: ignore[attr-defined]
        device.reads = 0
        return rig

    return build


async def test_limit_is_one_write_over_the_run(make: Make) -> None:
    rig = await make(PV)
    await rig.order(3000)
    await rig.settle()
    ((_, words),) = rig.device.writes
    # Ena, Pct (0.01 %), Rvrt as it was, EnaRvrt 0, RvrtTms as two registers
    assert words == (1, 3000, 10000, 0, 0, 600)
    assert rig.device.reads == 2  # once before, once to verify
    assert rig.news == [(0, "STARTED")]


async def test_limit_is_never_rounded_up(make: Make) -> None:
    rig = await make({**PV, "w_max": 30000})
    await rig.order(2999)
    await rig.settle()
    assert rig.at(704, "WMaxLimPct") == 999  # 2997 W
    assert "makes it 2 W less" in rig.updates[-1].reason


async def test_set_point_is_in_watts_with_the_sign_turned(make: Make) -> None:
    rig = await make(BATTERY)
    await rig.order(3500, kind=DispatchKind.SETPOINT)
    await rig.settle()
    assert [rig.at(704, p) for p in ("WSetEna", "WSetMod", "WSet", "WSetRvrtTms")] == [1, 1, -3500, 600]
    assert len(rig.device.writes[0][1]) == 11  # one FC 16 over 22..32


@pytest.mark.parametrize(
    ("value", "rates"),
    [
        pytest.param(2000, {"InWRte": 5000, "OutWRte": 0, "StorCtl_Mod": 1}, id="charge at half of WChaMax"),
        pytest.param(-1250, {"InWRte": 0, "OutWRte": 2500, "StorCtl_Mod": 2}, id="discharge at a quarter"),
        pytest.param(0, {"InWRte": 0, "OutWRte": 0, "StorCtl_Mod": 3}, id="hold"),
    ],
)
async def test_legacy_storage_is_told_in_percent(make: Make, value: int, rates: dict[str, int]) -> None:
    rig = await make({**BATTERY, "variant": "legacy"})
    await rig.order(value, kind=DispatchKind.SETPOINT)
    await rig.settle()
    assert {p: rig.at(124, p) for p in rates} == rates
    run, mode = rig.device.writes
    assert (len(run[1]), len(mode[1])) == (6, 1)  # 12..17, then StorCtl_Mod


async def test_legacy_limit_ends_with_the_enabling_register(make: Make) -> None:
    rig = await make({**PV, "variant": "legacy"})
    await rig.order(2500)
    await rig.settle()
    ((_, words),) = rig.device.writes
    assert words == (2500, 0xFFFF, 600, 0xFFFF, 1)  # not-implemented codes go back as they were


async def test_intervals_are_followed_and_equal_values_not_written_again(make: Make) -> None:
    rig = await make(PV, reversion_s=7200.0)
    await rig.order(3000, 3000, 5000)
    for _ in range(3):
        await rig.settle()
        await rig.settle()
        rig.clock.forward(900)
    assert [w[1][1] for w in rig.device.writes] == [3000, 5000]
    await rig.settle()
    assert rig.device.writes[-1][1] == (0,)
    assert rig.at(704, "WMaxLimPctEna") == 0
    assert rig.news == [(0, "STARTED"), (0, "SUCCEEDED")]


async def test_timer_is_refreshed_at_half_and_not_after_the_end(make: Make) -> None:
    rig = await make(PV)
    await rig.order(3000)
    await rig.settle()
    for seconds, writes in ((299, 1), (2, 2), (290, 2), (20, 3)):
        rig.clock.forward(seconds)
        await rig.settle()
        assert len(rig.device.writes) == writes
    rig.clock.forward(900)
    await rig.settle()
    rig.clock.forward(400)
    await rig.settle()
    assert [len(w[1]) for w in rig.device.writes] == [6, 6, 6, 1]
    assert rig.steering.due_in() > 1000


async def test_device_without_a_timer_is_not_given_one(make: Make) -> None:
    rig = await make({**PV, "variant": "legacy"})
    rig.set(123, "WMaxLimPct_RvrtTms", 0xFFFF)
    await rig.order(2500)
    await rig.settle()
    assert rig.at(123, "WMaxLimPct_RvrtTms") == 0xFFFF
    rig.clock.forward(899)
    await rig.settle()
    assert len(rig.device.writes) == 1


async def test_revision_takes_effect_at_once_and_the_same_one_has_none(make: Make) -> None:
    rig = await make(PV)
    await rig.order(3000)
    await rig.settle()
    await rig.order(4000, revision=1)
    await rig.order(5000, revision=1)
    await rig.order(6000, revision=0)
    await rig.settle()
    assert [w[1][1] for w in rig.device.writes] == [3000, 4000]
    assert rig.news == [(0, "STARTED"), (1, "STARTED")]


async def test_revision_without_a_new_value_is_started_without_a_write(make: Make) -> None:
    rig = await make(PV)
    await rig.order(3000, 4000)
    await rig.settle()
    await rig.order(3000, 9000, start=rig.clock.now(), revision=1)
    await rig.settle()
    assert len(rig.device.writes) == 1
    assert rig.news[-1] == (1, "STARTED")


async def test_future_order_is_accepted_and_waits(make: Make) -> None:
    rig = await make(PV)
    await rig.order(3000, start=rig.clock.now() + ISP)
    await rig.settle()
    assert rig.device.writes == []
    assert rig.news == [(0, "ACCEPTED")]
    assert rig.steering.due_in() == pytest.approx(900, abs=1)
    rig.clock.forward(900)
    await rig.settle()
    assert rig.news[-1] == (0, "STARTED")


async def test_strictest_limit_and_most_urgent_set_point_decide(make: Make) -> None:
    rig = await make(BATTERY)
    await rig.order(3000, name="a")
    await rig.order(2000, name="b")
    await rig.order(1000, name="c", kind=DispatchKind.SETPOINT)
    await rig.order(-1000, name="e", kind=DispatchKind.SETPOINT, priority=2)
    await rig.settle()
    assert rig.at(704, "WMaxLimPct") == 4000  # 2000 of 5000 W
    assert rig.at(704, "WSet") == 1000
    assert len(rig.news) == 4
    await rig.steering.withdraw("b")
    await rig.steering.withdraw("e")
    await rig.settle()
    assert rig.at(704, "WMaxLimPct") == 6000
    assert rig.at(704, "WSet") == -1000


async def test_withdrawn_order_gives_the_device_back(make: Make) -> None:
    rig = await make(PV)
    await rig.order(3000)
    await rig.settle()
    assert await rig.steering.withdraw("d")
    await rig.settle()
    assert rig.at(704, "WMaxLimPctEna") == 0
    assert rig.news == [(0, "STARTED"), (0, "REVOKED")]
    assert not await rig.steering.withdraw("d")


async def test_order_that_is_over_does_not_begin_anew(make: Make) -> None:
    rig = await make(PV)
    await rig.order(3000)
    await rig.settle()
    await rig.steering.withdraw("d")
    await rig.order(3000)
    await rig.settle()
    assert rig.at(704, "WMaxLimPctEna") == 0
    assert rig.news == [(0, "STARTED"), (0, "REVOKED")]
    await rig.order(4000, revision=1)
    await rig.settle()
    assert rig.news[-1] == (1, "STARTED")


# --- refusals before anything is sent -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "value", "reason"),
    [
        (DispatchKind.IMPORT_LIMIT, 1000, "no way to give this device a IMPORT_LIMIT"),
        (DispatchKind.LEVEL, 1, "its verbs: limit, setpoint"),
        (DispatchKind.SETPOINT, 4001, "outside of the device's -5000..4000 W"),
        (DispatchKind.SETPOINT, -5001, "outside"),
        (DispatchKind.EXPORT_LIMIT, -1, "below zero"),
    ],
)
async def test_what_cannot_be_done_is_rejected(make: Make, kind: DispatchKind, value: int, reason: str) -> None:
    rig = await make(BATTERY)
    await rig.order(value, kind=kind)
    await rig.settle()
    assert rig.device.writes == []
    assert rig.news == [(0, "REJECTED")]
    assert reason in rig.updates[0].reason


async def test_order_that_has_ended_is_rejected(make: Make) -> None:
    rig = await make(PV)
    await rig.order(3000, start=rig.clock.now() - 2 * ISP)
    assert rig.news == [(0, "REJECTED")]


async def test_set_point_becomes_a_limit_where_there_is_nothing_else(make: Make) -> None:
    rig = await make({**PV, "variant": "legacy"})
    await rig.order(-2000, kind=DispatchKind.SETPOINT)
    await rig.settle()
    assert rig.at(123, "WMaxLimPct") == 2000
    assert "limited instead" in rig.updates[0].reason


async def test_local_control_refuses_orders(make: Make) -> None:
    rig = await make(PV)
    rig.steering.locked = "the permit to serve is withdrawn (703.ES)"
    await rig.order(3000)
    await rig.settle()
    assert rig.device.writes == []
    assert rig.news == [(0, "REJECTED")]


async def test_writes_of_a_day_are_counted(make: Make) -> None:
    rig = await make(PV, max_writes_per_day=2)
    for revision, value in enumerate((1000, 2000, 3000)):
        await rig.order(value, revision=revision)
        await rig.settle()
    assert len(rig.device.writes) == 2
    assert rig.news[-1] == (2, "REJECTED")


# --- devices that misbehave -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("code", [1, 2, 3])
async def test_block_refused_is_written_point_by_point_enabling_last(make: Make, code: int) -> None:
    rig = await make(PV)
    rig.device.script = [DeviceException(16, code)]
    await rig.order(3000)
    await rig.settle()
    singles = rig.device.writes[1:]
    assert singles[-1][1] == (1,)
    assert {len(w[1]) for w in singles} == {1, 2}  # RvrtTms keeps its two registers together
    assert (rig.at(704, "WMaxLimPctEna"), rig.at(704, "WMaxLimPct")) == (1, 3000)
    assert rig.news == [(0, "STARTED")]


async def test_device_failure_stops_and_is_not_repeated_blindly(make: Make) -> None:
    rig = await make(PV, reconnect_min_s=60.0, reconnect_max_s=60.0)
    rig.device.script = [DeviceException(16, 4), DeviceException(16, 4)]
    await rig.order(3000)
    await rig.settle()
    await rig.settle()
    await rig.order(4000, revision=1)
    await rig.settle()
    assert len(rig.device.writes) == 1
    assert rig.news == [(0, "REJECTED"), (1, "REJECTED")]
    assert "SERVER DEVICE FAILURE" in rig.steering.trouble


async def test_busy_is_tried_again_and_acknowledge_is_watched(make: Make) -> None:
    rig = await make(PV)
    rig.device.script = [DeviceException(16, 6), (DeviceException(16, 5),)]
    await rig.order(3000)
    await rig.settle()
    assert len(rig.device.writes) == 2
    assert rig.news == [(0, "STARTED")]


@pytest.mark.parametrize("fault", [Silence("no answer"), MalformedAnswer("echo differs")])
async def test_unknown_write_that_happened_is_found_by_reading(make: Make, fault: Exception) -> None:
    rig = await make(PV)
    rig.device.script = [(fault,)]
    await rig.order(3000)
    await rig.settle()
    assert len(rig.device.writes) == 1
    assert rig.news == [(0, "STARTED")]


async def test_unknown_write_that_did_not_happen_is_sent_once_more(make: Make) -> None:
    rig = await make(PV)
    rig.device.script = [Silence("no answer")]
    await rig.order(3000)
    await rig.settle()
    assert len(rig.device.writes) == 2
    assert rig.news == [(0, "STARTED")]


async def test_unknown_write_is_left_open_when_nothing_can_be_read(make: Make) -> None:
    rig = await make(PV)
    rig.device.script = [(Disconnected("gone"),)]
    await rig.order(3000)
    original = rig.device.read

    async def read(address: int, count: int) -> bytes:
        if rig.device.writes:
            raise Disconnected("gone")
        data: bytes = await original(address, count)
        return data

    rig.device.read = read
    with pytest.raises(Disconnected):
        await rig.settle()
    await rig.steering.detach("gone")
    assert rig.news == [(0, "ABORTED")]
    rig.device.read = original
    await rig.steering.attach(rig.described)
    await rig.settle()  # the device holds what we attempted: it is ours, not another master's
    assert rig.steering.trouble == ""
    assert rig.at(704, "WMaxLimPct") == 3000


async def test_liar_is_caught_with_both_values(make: Make, caplog: pytest.LogCaptureFixture) -> None:
    rig = await make(PV)
    rig.device.script = ["ignore"]
    await rig.order(3000)
    with caplog.at_level(logging.WARNING):
        await rig.settle()
    assert rig.news == [(0, "ABORTED")]
    assert (
        "WMaxLimPct is 65535, not 3000" in rig.updates[0].reason or "WMaxLimPctEna is 0, not 1" in rig.updates[0].reason
    )
    assert rig.steering.distrusted


async def test_failure_heals_after_its_wait(make: Make) -> None:
    rig = await make(PV, reconnect_min_s=0.001, reconnect_max_s=0.001)
    rig.device.script = ["ignore"]
    await rig.order(3000)
    await rig.settle()
    await rig.order(4000, revision=1)
    while rig.steering.due_in() > 0:
        pass
    await rig.settle()
    assert rig.news == [(0, "ABORTED"), (1, "STARTED")]
    assert not rig.steering.distrusted


# --- other masters, loss and return, restart ------------------------------------------------------------------------


async def test_another_master_is_reported_and_not_fought(make: Make) -> None:
    rig = await make(PV)
    await rig.order(3000)
    await rig.settle()
    rig.set(704, "WMaxLimPct", 7000)
    rig.clock.forward(301)  # our refresh is due
    await rig.settle()
    assert len(rig.device.writes) == 1
    assert rig.news == [(0, "STARTED"), (0, "REJECTED")]
    assert "WMaxLimPct is 7000, not 3000" in rig.updates[-1].reason
    rig.clock.forward(900)
    await rig.settle()
    assert rig.at(704, "WMaxLimPctEna") == 1  # at the end of the order it is left to its master


async def test_control_somebody_else_holds_is_not_taken(make: Make) -> None:
    rig = await make(PV)
    rig.set(704, "WMaxLimPctEna", 1)
    rig.set(704, "WMaxLimPct", 7000)
    await rig.order(3000)
    await rig.settle()
    assert rig.device.writes == []
    assert rig.news == [(0, "REJECTED")]


async def test_expired_timer_is_no_other_master(make: Make) -> None:
    rig = await make(PV)
    await rig.order(3000)
    await rig.settle()
    rig.clock.forward(601)
    rig.set(704, "WMaxLimPctEna", 0)
    await rig.settle()
    assert rig.at(704, "WMaxLimPctEna") == 1
    assert rig.steering.trouble == ""


async def test_order_is_broken_off_with_the_device_and_carried_out_on_its_return(make: Make) -> None:
    rig = await make(PV)
    await rig.order(3000, 3500)
    await rig.settle()
    await rig.steering.detach("no answer")
    await rig.order(4000, 4500, name="e")
    assert rig.news == [(0, "STARTED"), (0, "ABORTED"), (0, "ABORTED")]
    rig.set(704, "WMaxLimPctEna", 0)  # it restarted
    await rig.steering.attach(rig.described)
    await rig.settle()
    assert (rig.at(704, "WMaxLimPctEna"), rig.at(704, "WMaxLimPct")) == (1, 3000)
    assert rig.steering.trouble == ""


async def test_shutdown_reverts_and_the_next_start_takes_the_order_up(make: Make, state: Any) -> None:
    rig = await make(PV)
    await rig.order(3000, 3500)
    await rig.settle()
    await rig.steering.revert(rig.device)
    assert rig.at(704, "WMaxLimPctEna") == 0
    again = await make(PV)
    await again.settle()
    assert again.at(704, "WMaxLimPct") == 3000
    assert again.news[-1] == (0, "STARTED")


async def test_after_a_crash_the_order_is_adopted(make: Make, state: Any) -> None:
    rig = await make(PV)
    await rig.order(3000, 3500)
    await rig.settle()
    words = rig.device.words
    again = await make(PV)  # no shutdown: the device still holds our limit, perhaps of a later revision
    again.device.words = words
    again.set(704, "WMaxLimPct", 3210)
    await again.settle()
    assert again.at(704, "WMaxLimPct") == 3000
    assert again.steering.trouble == ""


async def test_after_a_crash_an_order_that_ended_is_reverted(make: Make, state: Any) -> None:
    rig = await make(PV)
    await rig.order(3000)
    await rig.settle()
    words = rig.device.words
    rig.clock.forward(1000)
    again = await make(PV)
    again.device.words = words
    await again.settle()
    assert again.at(704, "WMaxLimPctEna") == 0
    assert again.news[-1] == (0, "ABORTED")
    assert state.load("modbus.order") == {}


async def test_order_is_on_disk_before_anything_is_written(make: Make, state: Any) -> None:
    rig = await make(PV)
    await rig.order(3000)
    assert rig.device.writes == []
    assert list(state.load("modbus.order")) == ["d"]
    rig.clock.forward(900)
    await rig.settle()
    assert state.load("modbus.order") == {}
    assert rig.updates[-1].status is DispatchStatus.ABORTED
    assert "without having been in force" in rig.updates[-1].reason
