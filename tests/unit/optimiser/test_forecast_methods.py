"""Gaps, the clear sky, learners, margins and the table of scores."""

from datetime import date, timedelta

import numpy as np
import pytest

from datamodels import MarketCalendar
from optimiser.forecasting import History, Site, backtest, catalogue, forecast, from_clock_grid, margins, score
from optimiser.forecasting.sun import clear_sky

BERLIN = MarketCalendar("Europe/Berlin")
FIRST = date(2016, 5, 1)
KASSEL = Site(51.3, 9.5)


def history(days: int, series: int = 1, seed: int = 0, first: date = FIRST) -> History:
    """An evening peak, quieter weekends, and noise."""
    rng = np.random.default_rng(seed)
    rows = []
    for k in range(days):
        day = first + timedelta(days=k)
        local = [s.astimezone(BERLIN.zone) for s in BERLIN.starts(day)]
        hours = np.array([t.hour + t.minute / 60 for t in local])
        shape = 3 + 2 * np.exp(-(((hours - 19) / 2) ** 2))
        rows.append(shape * (0.6 if day.weekday() >= 5 else 1.0) + rng.normal(0, 0.3, len(hours)))
    return History(BERLIN, first, np.repeat(np.concatenate(rows)[:, None], series, axis=1))


def test_gaps_are_filled_from_around_them_or_from_the_day_before() -> None:
    values = history(4).values.copy()
    whole = values.copy()
    values[96 + 10 : 96 + 14] = np.nan  # an hour
    values[192:288] = np.nan  # a day
    days = History(BERLIN, FIRST, values).filled()
    np.testing.assert_allclose(days.grid[1, 10:14, 0], np.interp(range(10, 14), [9, 14], whole[[105, 110], 0]))
    np.testing.assert_array_equal(days.grid[2], days.grid[1])
    assert days.known.sum() == 4 * 96 - 4 - 96
    np.testing.assert_array_equal(days.grid[3, :, 0], whole[288:, 0])


def test_what_is_missing_at_the_beginning_comes_from_the_first_day_that_has_it() -> None:
    values = history(3).values.copy()
    values[:96] = np.nan
    values[[96 + 40, 192 + 40]] = np.nan
    values[40 + 96 - 8 : 40 + 96 + 9] = np.nan
    days = History(BERLIN, FIRST, values).filled()
    assert np.isfinite(days.grid).all()
    np.testing.assert_array_equal(days.grid[0], days.grid[1])


def test_gaps_are_no_errors_and_do_not_shift_the_choice() -> None:
    full = history(28)
    gappy = full.values.copy()
    gappy[-300:-260] = np.nan
    tested = backtest(History(BERLIN, FIRST, gappy), "mean_7")
    assert (tested.residuals == 0).sum() == 40
    assert tested.nmae[0, 0] == pytest.approx(backtest(full, "mean_7").nmae[0, 0], rel=0.05)


def test_a_congestion_point_is_the_sum_of_its_members() -> None:
    three = history(3, series=3)
    summed = three.summed(np.array([1, 0, 1]))
    np.testing.assert_allclose(summed.values[:, 1], three.values[:, 0] * 2)
    np.testing.assert_allclose(summed.values[:, 0], three.values[:, 1])


@pytest.mark.parametrize("method", ["ridge", "boosting"])
def test_learners_see_weekends_that_means_do_not(method: str) -> None:
    pytest.importorskip("sklearn")
    past = history(42)
    saturday = FIRST + timedelta(days=20)
    assert saturday.weekday() == 5
    tested = backtest(past, ("mean_7", method))
    assert tested.nmae[1, 0] < 0.7 * tested.nmae[0, 0]
    assert forecast(past, methods=("mean_7", method)).methods == (method,)


def test_learners_want_two_weeks_before_the_first_day_they_forecast() -> None:
    pytest.importorskip("sklearn")
    assert "ridge" not in catalogue(13)
    with pytest.raises(ValueError, match="no method 'ridge' here: it is one of blend"):
        forecast(history(20), methods="ridge")
    assert forecast(history(28), methods="ridge").mean.shape == (96, 1)


def sunny(site: Site, first: date, days: int, clearness: np.ndarray) -> History:
    """What a plant of that orientation would yield: kW per kW/m2 under a sky that is `clearness` of the clear one."""
    pytest.importorskip("pvlib")
    rows = sum(BERLIN.isps(first + timedelta(days=k)) for k in range(days - 1))
    blank = History(BERLIN, first, np.zeros((rows, 1))).filled()
    clear = clear_sky(site)(blank)[:, :, 0] / 1000
    out = [from_clock_grid(BERLIN, blank.date(k), clear[k][:, None] * clearness[k]) for k in range(days)]
    return History(BERLIN, first, np.concatenate(out))


def test_the_sun_stands_where_the_almanac_has_it() -> None:
    """Kassel, 20 May: sunrise 5:24, sunset 21:09 of summer time, so noon lies about 13:17; about 0.8 kW/m2 then."""
    level = sunny(Site(51.3, 9.5, 0.0, 180.0), date(2016, 5, 19), 2, np.ones(2)).values[96:, 0]
    lit = np.flatnonzero(level > 0) / 4
    assert (lit[0], lit[-1]) == (pytest.approx(5.4, abs=0.3), pytest.approx(21.0, abs=0.3))
    assert level.argmax() / 4 + 0.125 == pytest.approx(13.3, abs=0.2)
    assert 0.75 < level.max() < 0.9


@pytest.mark.parametrize("given", [True, False])
def test_the_clear_sky_knows_the_day_when_the_clocks_change(given: bool) -> None:
    """The sun does not change its clocks: yesterday's values come an hour late, the sky's do not."""
    east = Site(51.3, 9.5, 35.0, 120.0)
    first = date(2016, 3, 13)
    clearness = np.full(15, 0.8)
    data = sunny(east, first, 15, clearness)
    spring = sum(BERLIN.isps(first + timedelta(days=k)) for k in range(14))
    assert BERLIN.isps(date(2016, 3, 27)) == 92
    past, actual = History(BERLIN, first, data.values[:spring]), data.values[spring:]
    sky = forecast(past, methods="clear_sky", site=east if given else KASSEL).mean
    late = forecast(past, methods="yesterday").mean
    assert np.abs(sky - actual).sum() < 0.02 * actual.sum()
    assert np.abs(late - actual).sum() > 0.1 * actual.sum()


def test_recent_days_say_most_about_how_clear_it_will_be() -> None:
    site = Site(51.3, 9.5, 35.0, 180.0)
    data = sunny(site, FIRST, 12, np.repeat([0.2, 0.9], 6))
    yields = forecast(data, methods="clear_sky", site=site).mean.sum() / data.values[-96:].sum()
    assert 0.75 < yields < 0.95


@pytest.mark.parametrize(
    "wrong", [{"latitude": 91.0, "longitude": 0.0}, {"latitude": 0.0, "longitude": 0.0, "tilt": 30.0}]
)
def test_places_that_are_none_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=r"latitude|together"):
        Site(**wrong)


def test_margins_are_exceeded_as_rarely_as_they_say() -> None:
    """Errors of a walk that fades: four ISPs ahead less is known than one ISP ahead."""
    rng = np.random.default_rng(3)
    noise = np.zeros(60 * 96)
    for k in range(1, len(noise)):
        noise[k] = 0.9 * noise[k - 1] + rng.normal(0, 1)
    values = 50 + noise[:, None]
    past = History(BERLIN, FIRST, values)
    near, far = (margins(past, ahead=k, risk=0.05, methods="mean_28") for k in (1, 8))
    assert near[0].shape == near[1].shape == (96,)
    assert near[0].mean() < 0.9 * far[0].mean()
    wide = margins(past, ahead=8, risk=0.01, methods="mean_28")
    assert (wide[1] >= far[1]).all()
    beyond = []
    for day in range(30, 60):
        before = History(BERLIN, FIRST, values[: day * 96])
        below, above = margins(before, ahead=96, risk=0.1, methods="mean_28")
        error = values[day * 96 : day * 96 + 96, 0] - forecast(before, methods="mean_28").mean[:, 0]
        beyond.append(((error < -below).mean(), (error > above).mean()))
    assert np.mean(beyond, axis=0) == pytest.approx([0.1, 0.1], abs=0.05)
    with pytest.raises(ValueError, match="margins want"):
        margins(past, ahead=0, risk=0.05)


def test_margins_of_a_sum_are_below_the_sum_of_margins() -> None:
    rng = np.random.default_rng(4)
    past = History(BERLIN, FIRST, 5 + rng.normal(0, 1, (28 * 96, 16)))
    alone = History(BERLIN, FIRST, past.values[:, :1])
    together, single = (margins(h, ahead=1, risk=0.05)[0].mean() for h in (past, alone))
    assert 3.0 < together / single < 5.5, "independent errors add up as their root"


def test_scores_are_a_table_against_yesterday() -> None:
    rows = score(history(28), ("yesterday", "weekday_4"))
    assert [(row.method, row.series, row.days) for row in rows] == [("yesterday", 0, 11), ("weekday_4", 0, 11)]
    assert rows[0].skill == 0.0
    assert rows[1].skill == pytest.approx(1 - rows[1].nmae / rows[0].nmae)
    assert rows[1].skill > 0.2
    assert 0.65 < rows[1].coverage < 0.95
    assert rows[1].pinball[1] == pytest.approx(rows[1].nmae / 2, rel=0.2), "the median's loss is half the error"
    assert score(history(9), "mean_7")[0].days == 2
    with pytest.raises(ValueError, match="six days"):
        score(history(5), "mean_7")


def test_every_installed_method_is_scored() -> None:
    pytest.importorskip("sklearn")
    pytest.importorskip("pvlib")
    names = {row.method for row in score(history(28), site=KASSEL)}
    assert names == set(catalogue(14, KASSEL))
    assert {"clear_sky", "ridge", "boosting", "blend"} <= names
