"""Forecast baselines: clock changes, choice by back-test, quantiles, intraday updates, and rural1 as a regression."""

import json
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pytest

from datamodels import MarketCalendar
from optimiser.forecasting import BASELINES, History, backtest, clock_grid, forecast, from_clock_grid
from optimiser.scoring import Persistence, coverage, intraday_update, nmae, pinball

BERLIN = MarketCalendar("Europe/Berlin")
SPRING, AUTUMN, PLAIN = date(2016, 3, 27), date(2016, 10, 30), date(2016, 5, 20)


def by_clock(calendar: MarketCalendar, first: date, days: int) -> History:
    """A series whose value is the clock's time in hours."""
    rows = []
    for k in range(days):
        for start in calendar.starts(first + timedelta(days=k)):
            local = start.astimezone(calendar.zone)
            rows.append([local.hour + local.minute / 60.0])
    return History(calendar, first, np.array(rows))


@pytest.mark.parametrize("first", [date(2016, 3, 24), date(2016, 10, 27)])
@pytest.mark.parametrize("tz", ["Europe/Berlin", "Europe/London", "America/New_York"])
def test_clock_changes_do_not_shift_the_days(tz: str, first: date) -> None:
    grid = by_clock(MarketCalendar(tz), first, 7).grid()
    assert grid.shape == (7, 96, 1)
    np.testing.assert_allclose(grid[..., 0], np.tile(np.arange(96) / 4, (7, 1)))


@pytest.mark.parametrize(("day", "isps"), [(SPRING, 92), (PLAIN, 96), (AUTUMN, 100)])
def test_profiles_fit_the_day_and_come_back(day: date, isps: int) -> None:
    profile = np.arange(96.0)[:, None]
    values = from_clock_grid(BERLIN, day, profile)
    assert len(values) == isps
    np.testing.assert_allclose(clock_grid(BERLIN, day, values), profile)
    hours = [start.astimezone(BERLIN.zone).hour for start in BERLIN.starts(day)]
    assert (values[:, 0] // 4).astype(int).tolist() == hours


def test_the_hour_that_comes_twice_is_averaged() -> None:
    values = np.zeros((100, 1))
    values[8:12], values[12:16] = 1.0, 3.0
    grid = clock_grid(BERLIN, AUTUMN, values)
    np.testing.assert_allclose(grid[8:12], 2.0)


@pytest.mark.parametrize("day", [SPRING, AUTUMN])
def test_a_forecast_has_the_isps_of_its_day(day: date) -> None:
    history = by_clock(BERLIN, day - timedelta(days=10), 10)
    result = forecast(history)
    assert result.mean.shape == (BERLIN.isps(day), 1)
    assert result.quantiles.shape == (3, BERLIN.isps(day), 1)
    local = [s.astimezone(BERLIN.zone) for s in BERLIN.starts(day)]
    np.testing.assert_allclose(result.mean[:, 0], [t.hour + t.minute / 60 for t in local])


def test_half_hours_are_days_of_48() -> None:
    calendar = MarketCalendar("Europe/Berlin", timedelta(minutes=30))
    assert forecast(by_clock(calendar, PLAIN, 8)).mean.shape == (48, 1)


def test_each_series_gets_the_baseline_that_fits_it() -> None:
    """One repeats weekly, one drifts from day to day, one is noise around a level."""
    rng = np.random.default_rng(1)
    days = np.arange(35)
    weekly = np.repeat(1.0 + (days % 7 == 5) * 4.0, 96)
    walk = np.repeat(20 + np.cumsum(rng.normal(0, 2, 35)), 96)
    noise = rng.normal(10, 2, 35 * 96)
    history = History(BERLIN, date(2016, 5, 1), np.stack([weekly, walk, noise], axis=1))
    result = forecast(history)
    assert result.methods[0] in ("last_week", "weekday_4")
    assert result.methods[1] == "yesterday"
    assert result.methods[2] in ("mean_28", "blend")
    tested = backtest(history)
    assert tested.nmae.shape == (len(BASELINES), 3)
    assert tested.nmae[tested.methods.index("last_week"), 0] == 0.0


def test_quantiles_cover_about_what_they_say() -> None:
    rng = np.random.default_rng(2)
    values = 5 + rng.normal(0, 1, (29 * 96, 4))
    history = History(BERLIN, date(2016, 5, 1), values[: 28 * 96])
    result = forecast(history, levels=(0.1, 0.5, 0.9))
    low, middle, high = result.quantiles
    assert (low <= middle).all()
    assert (middle <= high).all()
    assert 0.7 < coverage(values[28 * 96 :], low, high) < 0.9


def test_history_that_is_not_whole_days_is_refused() -> None:
    with pytest.raises(ValueError, match="do not end with a local day"):
        History(BERLIN, SPRING, np.zeros((96, 1)))
    with pytest.raises(ValueError, match="row 3 of series 0"):
        History(BERLIN, PLAIN, np.where(np.arange(96) == 3, np.inf, 1.0)[:, None])
    with pytest.raises(ValueError, match="series 1 holds no value"):
        History(BERLIN, PLAIN, np.where(np.arange(2) == 1, np.nan, np.ones((96, 2))))
    with pytest.raises(ValueError, match="at least one day"):
        History(BERLIN, PLAIN, np.zeros((0, 1)))
    with pytest.raises(ValueError, match="needs two days"):
        forecast(History(BERLIN, PLAIN, np.ones((96, 1))))
    with pytest.raises(ValueError, match="no method 'oracle'"):
        forecast(History(BERLIN, PLAIN, np.ones((192, 1))), methods="oracle")


def test_scores() -> None:
    actual, guess = np.array([1.0, 3.0]), np.array([2.0, 2.0])
    assert nmae(actual, guess) == 0.5
    assert nmae(np.zeros(2), np.zeros(2)) == 0.0
    assert nmae(np.zeros(2), guess) == np.inf
    assert pinball(actual, guess, 0.9) == pytest.approx((0.1 * 1 + 0.9 * 1) / 2)
    assert coverage(actual, np.array([0.0, 0.0]), np.array([1.0, 1.0])) == 0.5


def test_a_cloudy_morning_dims_the_rest_of_the_day_less_and_less() -> None:
    hours = np.arange(96) / 4
    clear = np.maximum(np.sin((hours - 6) / 12 * np.pi), 0)[:, None] * 5
    updated = intraday_update(clear, 0.4 * clear, 40, persistence=Persistence.RATIO)
    np.testing.assert_array_equal(updated[:40], 0.4 * clear[:40])
    ratio = updated[40:70] / clear[40:70]
    assert ratio[0] == pytest.approx(1 - 0.6 * 0.5 ** (1 / 8))
    assert (np.diff(ratio[:, 0]) > 0).all()
    night = intraday_update(clear, clear + 1.0, 20, persistence=Persistence.RATIO)
    np.testing.assert_array_equal(night[20:], clear[20:])


def test_corrections_are_capped_and_do_not_change_the_sign() -> None:
    load = np.full((96, 2), 1.0)
    measured = np.stack([np.full(96, 30.0), np.full(96, -30.0)], axis=1)
    updated = intraday_update(load, measured, 10)
    assert updated[10:, 0].max() <= 2.0
    assert updated[10:, 1].min() >= 0.0
    mixed = intraday_update(load, measured, 10, persistence=[Persistence.RATIO, Persistence.DIFFERENCE], cap=1.5)
    assert mixed[10, 0] == pytest.approx(1 + 0.5 * 0.5 ** (1 / 8))
    np.testing.assert_array_equal(intraday_update(load, measured, 0), load)
    with pytest.raises(ValueError, match="needs"):
        intraday_update(load, measured[:5], 10)
    with pytest.raises(ValueError, match="not a finite number"):
        intraday_update(load, measured * np.nan, 10)


@pytest.mark.parametrize(
    ("file", "first", "wanted"),
    [
        (
            "rural1_export",
            date(2016, 4, 22),
            {"yesterday": 0.158, "last_week": 0.153, "weekday_4": 0.141, "mean_7": 0.143},
        ),
        (
            "rural1_winter",
            date(2016, 11, 9),
            {"yesterday": 0.142, "last_week": 0.161, "weekday_4": 0.112, "mean_7": 0.091},
        ),
    ],
)
def test_rural1_base_loads_are_forecast_as_before(
    vectors: Path, file: str, first: date, wanted: dict[str, float]
) -> None:
    folder = vectors.parent / "simbench"
    network = json.loads((folder / "rural1_network.json").read_text())
    base = [load["id"] for load in network["load"] if load["kind"] == "base"]
    with np.load(folder / f"{file}.npz") as data:
        total = data["p_load_kw"][:, base].astype(float).sum(axis=1, keepdims=True)
        pv = data["p_pv_kw"].astype(float).sum(axis=1, keepdims=True)
    history, actual = History(BERLIN, first, total[:2688]), total[2688:2784]
    for method, value in wanted.items():
        assert nmae(actual, forecast(history, methods=method).mean) == pytest.approx(value, abs=6e-4)
    sun = forecast(History(BERLIN, first, pv[:2688])).mean
    updated = intraday_update(sun, pv[2688:], 56, persistence=Persistence.RATIO)
    assert nmae(pv[2744:2784], updated[56:]) < nmae(pv[2744:2784], sun[56:])
