from datetime import UTC, date, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from datamodels import MarketCalendar

ZONES = ["Europe/Amsterdam", "America/New_York", "Australia/Lord_Howe", "Asia/Beirut", "America/Havana", "UTC"]
calendars = st.builds(
    MarketCalendar, tz=st.sampled_from(ZONES), isp=st.sampled_from([timedelta(minutes=m) for m in (5, 15, 30)])
)
days = st.dates(date(2015, 1, 1), date(2035, 12, 31))


@given(calendars, days, st.data())
def test_locate_inverts_start(calendar: MarketCalendar, day: date, data: st.DataObject) -> None:
    """U-14: for each ISP."""
    isp = data.draw(st.integers(1, calendar.isps(day)))
    start = calendar.start(day, isp)
    assert calendar.locate(start) == (day, isp)
    assert calendar.locate(calendar.end(day, isp) - timedelta(microseconds=1)) == (day, isp)


@given(calendars, st.datetimes(datetime(2015, 1, 1), datetime(2035, 1, 1), timezones=st.just(UTC)))  # noqa: DTZ001
def test_each_instant_lies_in_the_isp_that_contains_it(calendar: MarketCalendar, instant: datetime) -> None:
    day, isp = calendar.locate(instant)
    assert calendar.start(day, isp) <= instant < calendar.end(day, isp)


@given(calendars, days)
def test_days_join_without_gap(calendar: MarketCalendar, day: date) -> None:
    assert calendar.day_span(day)[1] == calendar.day_span(day + timedelta(days=1))[0]
