"""Forecasts of load, PV and heat demand with quantiles, each series by the method that did best of late.

    forecast    the local day after a history
    backtest    how the methods would have done on the last days
    score       the same as a table: nMAE, pinball, coverage, against yesterday's values
    margins     how much room a limit needs so that it is kept with a given probability

Means of earlier days need numpy only. Learners (`ridge`, `boosting`) and the clear sky (`clear_sky`) want the extra
`forecast` (scikit-learn, pvlib).
"""

from optimiser.forecasting.days import Days, History, clock_grid, from_clock_grid
from optimiser.forecasting.methods import BASELINES, Method, catalogue
from optimiser.forecasting.selection import LEVELS, Backtest, Forecast, Score, backtest, forecast, margins, score
from optimiser.forecasting.sun import Site

__all__ = [
    "BASELINES",
    "LEVELS",
    "Backtest",
    "Days",
    "Forecast",
    "History",
    "Method",
    "Score",
    "Site",
    "backtest",
    "catalogue",
    "clock_grid",
    "forecast",
    "from_clock_grid",
    "margins",
    "score",
]
