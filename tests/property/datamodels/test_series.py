from datetime import date
from decimal import Decimal
from itertools import cycle, islice, pairwise

from hypothesis import given
from hypothesis import strategies as st

from datamodels import IspSeries, MarketCalendar

CALENDAR = MarketCalendar()
days = st.sampled_from([date(2026, 5, 20), date(2026, 3, 29), date(2026, 10, 25)])


@st.composite
def series(draw: st.DrawFn, day: date | None = None) -> IspSeries:
    period = day or draw(days)
    values = draw(st.lists(st.none() | st.integers(-(10**7), 10**7), min_size=1, max_size=12))
    return IspSeries(CALENDAR, period, tuple(islice(cycle(values), CALENDAR.isps(period))))


@given(series())
def test_runs_round_trip(value: IspSeries) -> None:
    runs = value.runs()
    assert IspSeries.from_runs(CALENDAR, value.period, runs) == value
    for before, after in pairwise(runs):
        assert before.start + before.duration < after.start or before.power_w != after.power_w


@given(days.flatmap(lambda day: st.tuples(series(day), series(day))))
def test_addition_and_subtraction_agree(pair: tuple[IspSeries, IspSeries]) -> None:
    a, b = pair
    assert a + b == b + a
    assert a - b == a + -b
    negated = -a
    assert -negated == a
    assert (a + b).isps == a.isps | b.isps
    assert (a + b).array().sum() == a.array().sum() + b.array().sum()


@given(series(), st.integers(1, 100).map(lambda n: Decimal(n) / 100))
def test_scaling_is_odd_and_within_half_a_watt(value: IspSeries, factor: Decimal) -> None:
    scaled = value.scaled(factor)
    assert scaled.isps == value.isps
    assert all(abs(s - p * factor) <= Decimal("0.5") for (_, s), (_, p) in zip(scaled, value, strict=True))
    assert (-value).scaled(factor) == -scaled
