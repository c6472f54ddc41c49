from datetime import date, timedelta
from decimal import Decimal

import numpy as np
import pytest

from datamodels import IspSeries, MarketCalendar, Run

CALENDAR = MarketCalendar()
DAY = date(2026, 5, 20)


def series(*runs: Run) -> IspSeries:
    return IspSeries.from_runs(CALENDAR, DAY, runs)


def test_a_series_is_as_long_as_its_day() -> None:
    with pytest.raises(ValueError, match="has 92 ISPs, the series has 96"):
        IspSeries(CALENDAR, date(2026, 3, 29), (0,) * 96)


def test_runs_that_leave_the_day_or_overlap_are_refused() -> None:
    for run in (Run(0, 1, 5), Run(96, 2, 5), Run(5, 0, 5)):
        with pytest.raises(ValueError, match=r"outside 1\.\.96"):
            series(run)
    with pytest.raises(ValueError, match="ISP 6 of 2026-05-20 is addressed twice"):
        series(Run(5, 2, 1), Run(6, 1, 1))


def test_runs_join_what_is_equal_and_leave_gaps_out() -> None:
    assert series(Run(3, 2, 7), Run(5, 1, 7), Run(9, 1, 0)).runs() == [Run(3, 3, 7), Run(9, 1, 0)]


def test_addressed_isps() -> None:
    value = series(Run(2, 2, -5))
    assert (value.isps, list(value), value.is_complete, len(value)) == ({2, 3}, [(2, -5), (3, -5)], False, 96)
    assert (value.at(1), value.at(2), value.at(96)) == (None, -5, None)
    assert IspSeries.of(CALENDAR, DAY, [1.0] * 96).is_complete


@pytest.mark.parametrize("isp", [0, -1, 97])
def test_an_isp_outside_the_day_has_no_value(isp: int) -> None:
    with pytest.raises(ValueError, match=r"has ISPs 1\.\.96, not"):
        series(Run(96, 1, 5)).at(isp)


def test_partial_activation_rounds_half_to_even() -> None:
    value = series(Run(1, 1, 5), Run(2, 1, 15), Run(3, 1, -5), Run(4, 1, -25))
    assert [p for _, p in value.scaled(Decimal("0.5"))] == [2, 8, -2, -12]
    assert value.scaled(Decimal("1.00")) == value


def test_fractions_of_a_watt_round_half_to_even() -> None:
    assert [p for _, p in IspSeries.of(CALENDAR, DAY, [0.5, 1.5, -0.5, -1.5] * 24)][:4] == [0, 2, 0, -2]


def test_arithmetic_over_different_coverage() -> None:
    a, b = series(Run(1, 2, 10)), series(Run(2, 2, 4))
    assert (a + b).runs() == [Run(1, 1, 10), Run(2, 1, 14), Run(3, 1, 4)]
    assert (a - b).runs() == [Run(1, 1, 10), Run(2, 1, 6), Run(3, 1, -4)]
    assert (-a).runs() == [Run(1, 2, -10)]
    assert a.restricted([2, 50]).runs() == [Run(2, 1, 10)]
    assert a.array(fill=-1)[:4].tolist() == [10, 10, -1, -1]
    assert a.array().dtype == np.int64


def test_energy_counts_the_isp_length() -> None:
    assert series(Run(1, 4, 1000)).energy_wh() == 1000.0
    hourly = MarketCalendar(isp=timedelta(hours=1))
    assert IspSeries.from_runs(hourly, DAY, [Run(1, 4, 1000)]).energy_wh() == 4000.0


def test_days_do_not_mix() -> None:
    with pytest.raises(ValueError, match="do not share their ISPs"):
        series(Run(1, 1, 1)) + IspSeries.empty(CALENDAR, DAY + timedelta(days=1))
