from datetime import UTC, date, datetime, timedelta, timezone

import pytest

from datamodels import MarketCalendar

QUARTER, HALF, HOUR = timedelta(minutes=15), timedelta(minutes=30), timedelta(hours=1)

# Zone, ISP, day, ISPs, begin of the day in UTC. Shift days are from the IANA database, spring and autumn of each zone.
DAYS = [
    ("Europe/Amsterdam", QUARTER, date(2026, 3, 28), 96, datetime(2026, 3, 27, 23, tzinfo=UTC)),
    ("Europe/Amsterdam", QUARTER, date(2026, 3, 29), 92, datetime(2026, 3, 28, 23, tzinfo=UTC)),
    ("Europe/Amsterdam", QUARTER, date(2026, 10, 25), 100, datetime(2026, 10, 24, 22, tzinfo=UTC)),
    ("Europe/Amsterdam", HOUR, date(2026, 10, 25), 25, datetime(2026, 10, 24, 22, tzinfo=UTC)),
    ("America/New_York", QUARTER, date(2026, 3, 8), 92, datetime(2026, 3, 8, 5, tzinfo=UTC)),
    ("America/New_York", QUARTER, date(2026, 11, 1), 100, datetime(2026, 11, 1, 4, tzinfo=UTC)),
    ("Australia/Lord_Howe", QUARTER, date(2026, 10, 4), 94, datetime(2026, 10, 3, 13, 30, tzinfo=UTC)),
    ("Australia/Lord_Howe", HALF, date(2026, 4, 5), 49, datetime(2026, 4, 4, 13, tzinfo=UTC)),
    ("Asia/Kathmandu", QUARTER, date(2026, 3, 29), 96, datetime(2026, 3, 28, 18, 15, tzinfo=UTC)),
    # Midnight itself is skipped or repeated:
    ("Asia/Beirut", QUARTER, date(2026, 3, 29), 92, datetime(2026, 3, 28, 22, tzinfo=UTC)),
    ("America/Havana", QUARTER, date(2026, 11, 1), 100, datetime(2026, 11, 1, 4, tzinfo=UTC)),
]


@pytest.mark.parametrize(("tz", "isp", "day", "count", "begin"), DAYS)
def test_days_have_as_many_isps_as_their_hours_allow(
    tz: str, isp: timedelta, day: date, count: int, begin: datetime
) -> None:
    """U-14."""
    calendar = MarketCalendar(tz, isp)
    assert calendar.isps(day) == count
    assert calendar.day_span(day) == (begin, begin + count * isp)
    starts = calendar.starts(day)
    assert len(starts) == count
    assert starts[0] == begin
    assert calendar.start(day, count) == starts[-1]
    assert calendar.end(day, count) == calendar.start(day + timedelta(days=1), 1)


@pytest.mark.parametrize("day", [date(2026, 4, 5), date(2026, 10, 4)])
def test_a_clock_change_that_the_isp_does_not_divide_is_refused(day: date) -> None:
    calendar = MarketCalendar("Australia/Lord_Howe", HOUR)
    assert calendar.isps(day - timedelta(days=1)) == 24
    noon = datetime(day.year, day.month, day.day, 2, tzinfo=UTC)
    for refused in (lambda: calendar.isps(day), lambda: calendar.start(day, 1), lambda: calendar.locate(noon)):
        with pytest.raises(ValueError, match=r"does not divide 2026-\d\d-0\d in Australia/Lord_Howe"):
            refused()


@pytest.mark.parametrize("isp", [0, -1, 97])
def test_an_isp_outside_the_day_is_refused(isp: int) -> None:
    with pytest.raises(ValueError, match=r"has ISPs 1\.\.96, not"):
        MarketCalendar().start(date(2026, 1, 1), isp)


def test_the_repeated_hour_is_told_apart() -> None:
    calendar = MarketCalendar()
    first = calendar.locate(datetime(2026, 10, 25, 0, 30, tzinfo=UTC))
    second = calendar.locate(datetime(2026, 10, 25, 1, 30, tzinfo=UTC))
    assert (first, second) == ((date(2026, 10, 25), 11), (date(2026, 10, 25), 15))


def test_locate_takes_any_aware_instant_and_no_naive_one() -> None:
    calendar = MarketCalendar()
    instant = datetime(2026, 6, 1, 12, 7, tzinfo=UTC)
    assert calendar.locate(instant) == calendar.locate(instant.astimezone(timezone(timedelta(hours=-9))))
    with pytest.raises(ValueError, match="aware"):
        calendar.locate(instant.replace(tzinfo=None))


@pytest.mark.parametrize("isp", [timedelta(0), timedelta(minutes=-15), timedelta(seconds=90)])
def test_only_whole_minutes_make_an_isp(isp: timedelta) -> None:
    with pytest.raises(ValueError, match="whole minutes"):
        MarketCalendar(isp=isp)


@pytest.mark.parametrize("tz", ["Mars/Olympus", "", "../../etc/passwd"])
def test_an_unknown_zone_is_refused(tz: str) -> None:
    with pytest.raises(ValueError, match="unknown time zone"):
        MarketCalendar(tz)
