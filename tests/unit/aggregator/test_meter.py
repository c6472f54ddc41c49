"""Mean power per ISP from registers and from interval means."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from datamodels import Quality, Quantity, Telemetry
from interop.aggregator.meter import Meter

START = datetime(2016, 5, 20, 10, tzinfo=UTC)
ISP = timedelta(minutes=15)


def register(minutes: float, wh: float, quantity: Quantity = Quantity.EXPORT_ENERGY_WH) -> Telemetry:
    return Telemetry("pv-1", quantity, START + timedelta(minutes=minutes), wh)


def test_registers_are_interpolated_to_the_boundary():
    meter = Meter()
    # 12 kW from -1 to 14 min, 24 kW from 14 to 16 min: register readings straddle both boundaries
    meter.add([register(-1, 1000), register(1, 1400), register(14, 4000), register(16, 4800)])
    assert meter.mean_w("pv-1", START, START + ISP) == pytest.approx(-(4400 - 1200) / 0.25)


def test_import_and_export_registers_are_netted():
    meter = Meter()
    for quantity, final in ((Quantity.IMPORT_ENERGY_WH, 500), (Quantity.EXPORT_ENERGY_WH, 200)):
        meter.add([register(0, 0, quantity), register(15, final, quantity)])
    assert meter.mean_w("pv-1", START, START + ISP) == pytest.approx(1200)


def test_an_isp_that_was_not_read_to_its_end_has_no_mean():
    meter = Meter()
    meter.add([register(0, 0), register(14, 100)])
    assert meter.mean_w("pv-1", START, START + ISP) is None


def test_interval_means_are_taken_as_they_are():
    meter = Meter()
    meter.add([Telemetry("home", Quantity.MEAN_POWER_W, START, 1500, ISP.total_seconds())])
    assert meter.mean_w("home", START, START + ISP) == pytest.approx(1500)
    assert meter.mean_w("home", START + ISP, START + 2 * ISP) is None


def test_a_repeated_interval_counts_once():
    meter = Meter()
    sample = Telemetry("home", Quantity.MEAN_POWER_W, START, 1500, ISP.total_seconds())
    meter.add([sample, sample])
    assert meter.mean_w("home", START, START + ISP) == pytest.approx(1500)


def test_bad_quality_does_not_count():
    meter = Meter()
    meter.add([register(0, 0), register(15, 900)])
    meter.add([Telemetry("pv-1", Quantity.EXPORT_ENERGY_WH, START + ISP, 1, quality=Quality.BAD)])
    assert meter.mean_w("pv-1", START, START + ISP) == pytest.approx(-3600)
