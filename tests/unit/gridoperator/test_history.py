"""The usual day, on days of 92, 96 and 100 quarter-hours."""

from __future__ import annotations

from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pytest

from datamodels import MarketCalendar
from interop.gridoperator.history import History

CALENDAR = MarketCalendar()
SPRING, AUTUMN = date(2030, 3, 31), date(2030, 10, 27)


def hour_of(day: date) -> list[float]:
    return [start.astimezone(CALENDAR.zone).hour for start in CALENDAR.starts(day)]


def measured(first: date, days: int) -> History:
    """A load that shows the hour on the clock."""
    values = [hour for n in range(days) for hour in hour_of(first + timedelta(days=n))]
    load = np.array(values, dtype=float)[:, None]
    return History(CALENDAR, CALENDAR.day_span(first)[0], load, load / 10, np.zeros((len(load), 0)))


@pytest.mark.parametrize(
    "first", [SPRING, AUTUMN, SPRING - timedelta(days=3), AUTUMN - timedelta(days=8), date(2030, 6, 1)]
)
@pytest.mark.parametrize("day", [SPRING, AUTUMN, date(2030, 6, 9)])
def test_the_usual_day_follows_the_clock_on_the_wall(first: date, day: date) -> None:
    history = measured(first, 9)
    assert len(history.days) == 9
    usual = history.usual(history.load_kw, day)
    assert usual[:, 0] == pytest.approx(hour_of(day))


def test_only_the_last_week_counts_and_each_day_of_it_once() -> None:
    history = measured(date(2030, 6, 1), 9)
    history.load_kw[: 2 * 96] = 1e6
    history.load_kw[8 * 96 :] += 7.0
    assert history.usual(history.load_kw, date(2030, 6, 10))[:, 0] == pytest.approx(
        [hour + 1 for hour in hour_of(date(2030, 6, 10))]
    )


@pytest.mark.parametrize(
    ("shift", "cut", "words"),
    [(timedelta(0), 1, "do not end with a day"), (timedelta(minutes=15), 0, "is not the begin of a day")],
)
def test_rows_that_are_no_whole_days_are_refused(shift: timedelta, cut: int, words: str) -> None:
    whole = measured(SPRING, 2)
    load = whole.load_kw[: len(whole.load_kw) - cut]
    with pytest.raises(ValueError, match=words):
        History(CALENDAR, CALENDAR.day_span(SPRING)[0] + shift, load, load, load)


def test_a_file_without_its_columns_is_named(tmp_path: Path) -> None:
    np.savez(tmp_path / "history.npz", load_kw=np.zeros((96, 1)))
    with pytest.raises(ValueError, match=r"history\.npz: load_kvar, start missing"):
        History.read(tmp_path / "history.npz", CALENDAR)
