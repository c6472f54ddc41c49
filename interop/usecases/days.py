"""Days of the SimBench extract to live through: what was measured before, what will really happen, what is expected."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date

import numpy as np

from datamodels import MarketCalendar
from interop.aggregator.forecast import Forecast, Records, forecast_day
from interop.aggregator.homes import Unit
from interop.aggregator.portfolio import portfolio_of
from interop.scenarios import rural1
from interop.scenarios.scenario import Series
from interop.usecases.assumptions import Assumption
from interop.usecases.play import Outlook
from optimiser import Portfolio
from optimiser.scoring import Persistence, intraday_update, nmae

__all__ = ["CALENDAR", "SEASONS", "Setting", "View", "columns", "last_days", "records", "yearly"]

CALENDAR = MarketCalendar("Europe/Berlin")
SEASONS = ("export", "winter")


@dataclass(frozen=True, slots=True)
class Setting:
    """A local day of a season, and the days measured before it."""

    season: str
    period: date
    history: Series
    day: Series


def yearly(per_day: Sequence[float], seasons: Sequence[str], given: Mapping[str, Assumption]) -> float:
    """A year's sum from values per day: the mean of each season's days stands for its half of the year."""
    values = np.asarray(per_day)
    halves = {"export": given["days_of_summer_half"].value, "winter": given["days_of_winter_half"].value}
    return float(sum(values[[s == season for s in seasons]].mean() * halves[season] for season in SEASONS))


def last_days(season: str, count: int) -> list[Setting]:
    """The last `count` days of a season, the earliest first; each with all days before it as history."""
    whole = rural1.measured(season)
    out = []
    for k in range(whole.days - count, whole.days):
        day = whole.part(k, k + 1)
        out.append(Setting(season, CALENDAR.locate(day.start)[0], whole.part(0, k), day))
    return out


@dataclass(frozen=True, eq=False)
class View:
    """A day as `units` live it: the truth, and what is expected of it at any time. Series are columns of both.

    `dress` adds to a portfolio what no series says (appliances); it sees no truth that is not in its argument.
    """

    units: Sequence[Unit]
    expected: Forecast
    real: Forecast
    dress: Callable[[Portfolio], Portfolio] = lambda portfolio: portfolio

    @classmethod
    def of(
        cls,
        units: Sequence[Unit],
        records: Records,
        real: Forecast,
        dress: Callable[[Portfolio], Portfolio] = lambda portfolio: portfolio,
    ) -> View:
        """The day after the records, forecast from them."""
        return cls(units, forecast_day(CALENDAR, records), real, dress)

    @property
    def truth(self) -> Portfolio:
        return self._portfolio(self.real)

    @property
    def outlook(self) -> Outlook:
        """What is expected, corrected by what was measured before `now` (PV: what it could have produced)."""

        def seen(now: int) -> Portfolio:
            load = intraday_update(self.expected.load_kw, self.real.load_kw[:now], now)
            sun = intraday_update(
                self.expected.pv_kw, self.real.pv_kw[:now], now, persistence=Persistence.RATIO, window=2
            )
            return self._portfolio(Forecast(load, sun))

        return seen

    @property
    def errors(self) -> tuple[float, float]:
        """nMAE of the day-ahead forecast: of all loads together, and of all PV together."""
        pairs = ((self.real.load_kw, self.expected.load_kw), (self.real.pv_kw, self.expected.pv_kw))
        load, sun = (nmae(real.sum(axis=1), expected.sum(axis=1)) for real, expected in pairs)
        return load, sun

    def _portfolio(self, forecast: Forecast) -> Portfolio:
        return self.dress(portfolio_of(list(self.units), forecast, CALENDAR.isp_hours))


def columns(series: Series, load: Sequence[int], pv: Sequence[int], pv_scale: float = 1.0) -> Forecast:
    """Some columns of a series; PV scaled."""
    return Forecast(series.load_kw[:, list(load)], np.asarray(series.pv_kw[:, list(pv)]) * pv_scale)


def records(series: Forecast, setting: Setting) -> Records:
    """Measured columns of the days before a setting, as forecasts want them."""
    return Records(CALENDAR.locate(setting.history.start)[0], series.load_kw, series.pv_kw)
