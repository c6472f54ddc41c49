"""Simulated devices: exact energy, controls in both generations, timers, refusals."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from adapters.modbus.device_physics import Battery, Control, PhotovoltaicArray
from adapters.modbus.simulated_device import BASE, Description, SimulatedDevice
from adapters.modbus.sunspec.layout import Value, layout

START = datetime(2026, 5, 20, tzinfo=UTC)
PV = {"kind": "pv", "start": START.isoformat(), "w_max": 10000, "available_w": [4000.0, 8000.0, 2000.0]}
BATTERY = {
    "kind": "battery",
    "start": START.isoformat(),
    "capacity_wh": 10000,
    "content_wh": 5000,
    "charge_max_w": 4000,
    "discharge_max_w": 5000,
    "charge_efficiency": 0.9,
    "discharge_efficiency": 0.8,
}


class Bench:
    """A device with its models decoded and written by point name."""

    def __init__(self, description: dict[str, Any]) -> None:
        self.device = SimulatedDevice(Description.read(description))
        self.now = START

    def go(self, seconds: float) -> list[Any]:
        self.now += timedelta(seconds=seconds)
        return self.device.advance(self.now)

    def _find(self, model: int) -> int:
        words, at = self.device.registers, 2
        while words[at] != model:
            assert words[at] != 0xFFFF, f"no model {model}"
            at += 2 + words[at + 1]
        return at

    def read(self, model: int) -> dict[str, Value]:
        self.device.advance(self.now)
        at = self._find(model)
        return layout(model).decode(b"".join(w.to_bytes(2, "big") for w in self.device.registers[at:]))

    def write(self, model: int, **points: int) -> int:
        """Each point alone, in order; the first refusal ends it."""
        self.device.advance(self.now)
        for name, raw in points.items():
            point = layout(model).points[name]
            if code := self.device.write(BASE + self._find(model) + point.offset, point.words(raw), self.now):
                return code
        return 0


# --- physics --------------------------------------------------------------------------------------------------------


def test_photovoltaic_energy_is_exact_over_steps_and_controls() -> None:
    plant = PhotovoltaicArray(900, [4000, 8000, 2000])
    plant.advance(450)
    plant.limit = Control(3000.0, until=1350.0)
    steps = plant.advance(2700)
    # 450 s at 4 kW, 450 s at 3 kW, 450 s at 3 kW, 450 s at 8 kW, 900 s at 2 kW
    assert [s.mean_w for s in steps] == pytest.approx([-3500, -5500, -2000])
    assert plant.exported_wh == pytest.approx((3500 + 5500 + 2000) / 4)
    assert plant.imported_wh == 0


def test_night_falls_after_the_profile() -> None:
    plant = PhotovoltaicArray(900, [4000])
    plant.advance(10_000)
    assert (plant.power_w, plant.exported_wh) == (0, 1000)


def test_lower_of_limit_and_set_point_counts() -> None:
    plant = PhotovoltaicArray(900, [4000])
    plant.limit, plant.setpoint = Control(3000.0), Control(1000.0)
    assert plant.power_w == -1000
    plant.limit = Control(500.0)
    assert plant.power_w == -500


def battery(**kw: float) -> Battery:
    return Battery(
        900, **{"capacity_wh": 1000.0, "content_wh": 500.0, "charge_max_w": 1000, "discharge_max_w": 1000, **kw}
    )


def test_battery_stops_exactly_when_it_is_full() -> None:
    plant = battery(charge_efficiency=0.9)
    plant.setpoint = Control(-1000.0)
    steps = plant.advance(3600)
    # 500 Wh at 900 W into the store: 2000 s; nothing afterwards
    assert plant.stored_wh == 1000
    assert plant.imported_wh == pytest.approx(1000 * 2000 / 3600)
    assert [s.mean_w for s in steps] == pytest.approx([1000, 1000, 1000 * 200 / 900, 0])


def test_battery_stops_exactly_when_it_is_empty() -> None:
    plant = battery(discharge_efficiency=0.8)
    plant.setpoint = Control(5000.0)  # clipped to what it can give
    plant.advance(3600)
    assert plant.stored_wh == 0
    assert plant.exported_wh == pytest.approx(400)
    plant.setpoint = Control(-900.0)
    assert plant.power_w == 900  # an empty battery can be charged


def test_limit_caps_discharge_but_not_charge() -> None:
    plant = battery()
    plant.limit, plant.setpoint = Control(300.0), Control(800.0)
    assert plant.power_w == -300
    plant.setpoint = Control(-800.0)
    assert plant.power_w == 800


# --- registers ------------------------------------------------------------------------------------------------------


def test_inverter_shows_power_and_energy_of_the_instant() -> None:
    bench = Bench(PV)
    bench.go(1350)
    values = bench.read(701)
    assert values["W"] == 8000
    assert values["TotWhInj"] == pytest.approx(2000.0)
    bench.go(0.45)
    assert bench.read(701)["TotWhInj"] == pytest.approx(2001.0)


def test_limit_acts_when_enabled_and_reverts_in_time() -> None:
    bench = Bench(PV)
    assert bench.write(704, WMaxLimPct=1500, WMaxLimPctRvrtTms=300) == 0
    assert bench.read(701)["W"] == 4000
    bench.write(704, WMaxLimPctEna=1)
    assert bench.read(701)["W"] == 1500
    bench.go(100)
    assert bench.read(704)["WMaxLimPctRvrtRem"] == 200
    bench.write(704, WMaxLimPctRvrtTms=300)  # restarts the timer
    bench.go(299)
    assert bench.read(704)["WMaxLimPctEna"] == 1
    bench.go(1)
    assert (bench.read(704)["WMaxLimPctEna"], bench.read(701)["W"]) == (0, 4000)
    assert bench.read(704)["WMaxLimPctRvrtRem"] == 0


def test_timer_can_revert_to_another_limit() -> None:
    bench = Bench(PV)
    bench.write(704, WMaxLimPct=1500, WMaxLimPctRvrt=2500, WMaxLimPctEnaRvrt=1, WMaxLimPctRvrtTms=60, WMaxLimPctEna=1)
    bench.go(61)
    assert (bench.read(704)["WMaxLimPct"], bench.read(701)["W"]) == (25.0, 2500)


def test_disabling_cancels_the_timer() -> None:
    bench = Bench(PV)
    bench.write(704, WMaxLimPct=1500, WMaxLimPctRvrtTms=300, WMaxLimPctEna=1)
    bench.write(704, WMaxLimPctEna=0)
    assert (bench.read(704)["WMaxLimPctRvrtRem"], bench.read(701)["W"]) == (0, 4000)


def test_set_point_in_watts_and_in_percent() -> None:
    bench = Bench(BATTERY)
    bench.write(704, WSet=-3000, WSetEna=1)
    assert bench.read(701)["W"] == -3000
    bench.go(3600)
    assert bench.read(713)["WHAvail"] == pytest.approx(7700)
    assert bench.read(713)["SoC"] == 77
    assert bench.read(701)["TotWhAbs"] == pytest.approx(3000)
    bench.write(704, WSetPct=2000, WSetMod=0)
    assert bench.read(701)["W"] == 1000


def test_legacy_controls() -> None:
    pv = Bench({**PV, "variant": "legacy"})
    pv.write(123, WMaxLimPct=1000, WMaxLimPct_RvrtTms=60, WMaxLim_Ena=1)
    assert pv.read(103)["W"] == 1000
    pv.go(60)
    assert (pv.read(123)["WMaxLim_Ena"], pv.read(103)["W"]) == (0, 4000)
    store = Bench({**BATTERY, "variant": "legacy"})
    for points, power in (
        ({"InWRte": 5000, "StorCtl_Mod": 1}, -2000),
        ({"OutWRte": 5000, "StorCtl_Mod": 2}, 2500),
        ({"InWRte": 0, "OutWRte": 0, "StorCtl_Mod": 3}, 0),
    ):
        assert store.write(124, **points) == 0
        assert store.read(103)["W"] == power
    assert store.read(124)["ChaState"] == 50


@pytest.mark.parametrize(
    ("model", "points", "code"),
    [
        (704, {"WMaxLimPctEna": 2}, 3),
        (704, {"WMaxLimPct": 10001}, 3),
        (704, {"WSetMod": 5}, 3),
        (702, {"WMax": 1}, 2),
        (701, {"W": 1}, 2),
        (704, {"WMaxLimPctRvrtRem": 1}, 2),
    ],
)
def test_bad_writes_are_refused_and_change_nothing(model: int, points: dict[str, int], code: int) -> None:
    bench = Bench(PV)
    bench.go(0)
    before = bench.device.registers
    assert bench.write(model, **points) == code
    assert bench.device.registers == before


def test_half_of_a_long_point_cannot_be_written() -> None:
    bench = Bench(PV)
    at = BASE + bench._find(704) + layout(704).points["WSet"].offset
    assert bench.device.write(at, (0,), bench.now) == 3
    assert bench.device.write(at + 1, (0,), bench.now) == 3
    assert bench.device.write(at, (0, 5), bench.now) == 0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"kind": "wind"}, "kind 'wind'"),
        ({"capacity": 5}, "no capacity"),
        ({"start": "2026-05-20T00:00:00"}, "offset"),
        ({"content_wh": 20000}, "do not fit"),
        ({"step_s": 0}, "above 0"),
    ],
)
def test_bad_descriptions_say_what_is_wrong(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Description.read({**BATTERY, **change})


def test_description_names_what_it_needs() -> None:
    with pytest.raises(ValueError, match="needs kind, start"):
        Description.read({})
