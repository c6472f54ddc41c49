"""Which method forecasts which series, with what spread, and how well that has gone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from optimiser.forecasting.days import Days, History, from_clock_grid
from optimiser.forecasting.learners import LEAST_DAYS
from optimiser.forecasting.methods import BASELINES, Method, catalogue
from optimiser.forecasting.sun import Site
from optimiser.portfolio import FloatArray, IntArray

__all__ = ["LEVELS", "Backtest", "Forecast", "Score", "backtest", "forecast", "margins", "score"]

LEVELS = (0.1, 0.5, 0.9)
_FOLDS = 14
_HOUR = 4
_LEAST_ERRORS = 3
"""Days of errors before quantiles are scored."""


@dataclass(frozen=True, eq=False)
class Backtest:
    """How each method would have done on the last days, each day forecast from what came before it.

    `nmae` (methods,S): mean absolute error over mean absolute value (0 where a series is 0 throughout), over what was
    measured. `residuals` (methods,folds,n,S): actual - forecast; 0 where nothing was measured.
    """

    methods: tuple[str, ...]
    nmae: FloatArray
    residuals: FloatArray

    @property
    def chosen(self) -> IntArray:
        """The best method of each series (S,)."""
        return np.asarray(self.nmae.argmin(axis=0))

    @property
    def best_residuals(self) -> FloatArray:
        """Errors (folds,n,S) of each series' best method."""
        return np.moveaxis(self.residuals[self.chosen, :, :, np.arange(len(self.chosen))], 0, 2)


@dataclass(frozen=True, eq=False)
class Forecast:
    """`mean` (T,S) and `quantiles` (Q,T,S) at `levels`; `methods` names the method of each series."""

    mean: FloatArray
    quantiles: FloatArray
    levels: tuple[float, ...]
    methods: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Score:
    """How a method did on one series over the last days; `skill` is the share of yesterday's nMAE that it saves."""

    method: str
    series: int
    days: int
    nmae: float
    skill: float
    pinball: tuple[float, ...]
    """Per level, over the mean of the series."""
    coverage: float
    """Share of values between the lowest and the highest level."""


def backtest(
    history: History,
    methods: str | Sequence[str] = tuple(BASELINES),
    folds: int = _FOLDS,
    *,
    site: Site | None = None,
) -> Backtest:
    """Forecast each of the last `folds` days from the days before it; fewer where history is short.

    Raises:
        ValueError: fewer than two days, or a method that is unknown, not installed, or wants more days.
    """
    days = history.filled()
    tested = _tested(days, folds)
    chosen = _pick(methods, tested.start, site)
    return _backtest(days, tested, {name: method(days, tested) for name, method in chosen.items()})


def forecast(
    history: History,
    *,
    methods: str | Sequence[str] = tuple(BASELINES),
    levels: Sequence[float] = LEVELS,
    floor: float | None = 0.0,
    site: Site | None = None,
) -> Forecast:
    """The local day after the history, each series by that of the `methods` which did best of late.

    Quantiles are those of the errors the method made at about that time of day, around its forecast. Nothing falls
    below `floor` (None: no floor, for series that change sign).

    Raises:
        ValueError: as `backtest`.
    """
    days = history.filled()
    tested = _tested(days, _FOLDS)
    chosen = _pick(methods, tested.start, site)
    guesses = [method(days, range(tested.start, tested.stop + 1)) for method in chosen.values()]
    past = _backtest(days, tested, {name: guess[:-1] for name, guess in zip(chosen, guesses, strict=True)})
    series = range(days.grid.shape[2])
    mean = np.stack([guesses[past.chosen[s]][-1, :, s] for s in series], axis=1)
    quantiles = mean + _error_quantiles(past.best_residuals, levels)
    if floor is not None:
        mean, quantiles = np.maximum(mean, floor), np.maximum(quantiles, floor)
    calendar, day = history.calendar, history.following
    return Forecast(
        from_clock_grid(calendar, day, mean),
        np.stack([from_clock_grid(calendar, day, q) for q in quantiles]),
        tuple(levels),
        tuple(past.methods[c] for c in past.chosen),
    )


def margins(
    history: History,
    *,
    ahead: int,
    risk: float,
    methods: str | Sequence[str] = tuple(BASELINES),
    window: int = 4,
    half_life: float = 8.0,
) -> tuple[FloatArray, FloatArray]:
    """How far the sum of all series may come out below and above what is expected of it `ahead` ISPs before, per ISP
    of the following day: (T,), (T,), each >= 0 and exceeded with probability `risk`.

    A limit kept by that much in the plan is kept by the real sum with probability 1 - risk, as far as errors are those
    of the last days at about that time. Until `ahead` ISPs before, the forecast is corrected as `intraday_update` does
    (mean error of `window` ISPs, fading with `half_life`).

    Raises:
        ValueError: `ahead` is below 1, `risk` not within (0, 0.5], or as `backtest`.
    """
    if ahead < 1 or not 0 < risk <= 0.5:
        raise ValueError(f"margins want ahead >= 1 and 0 < risk <= 0.5, not {ahead} and {risk}")
    total = history.summed(np.zeros(history.values.shape[1], np.int64))
    errors = backtest(total, methods).best_residuals
    running = errors.reshape(-1, errors.shape[2])
    seen = np.stack([_shifted(running, ahead + k) for k in range(window)]).mean(axis=0)
    left = (running - seen * 0.5 ** (ahead / half_life)).reshape(errors.shape)
    low, high = _error_quantiles(left, (risk, 1 - risk))[:, :, 0]
    calendar, day = history.calendar, history.following
    sides = np.maximum(np.stack([-low, high], axis=1), 0.0)
    below, above = from_clock_grid(calendar, day, sides).T
    return below, above


def score(
    history: History,
    methods: str | Sequence[str] | None = None,
    folds: int = _FOLDS,
    *,
    levels: Sequence[float] = LEVELS,
    site: Site | None = None,
) -> list[Score]:
    """A row per method and series over the last `folds` days; None scores every method there is.

    The quantiles of a day come from the errors of the days before it.

    Raises:
        ValueError: as `backtest`; or the history is too short to score quantiles (six days).
    """
    days = history.filled()
    start = max(len(days) - folds - _FOLDS, min(LEAST_DAYS, len(days) // 2))
    tested = range(start, len(days))
    scored = min(folds, len(tested) - _LEAST_ERRORS)
    if scored < 1:
        raise ValueError(f"scoring quantiles needs six days of history, not {len(days)}")
    names = tuple(catalogue(tested.start, site)) if methods is None else methods
    chosen = _pick(names, tested.start, site)
    actual, known = days.grid[-scored:], days.known[-scored:]
    scale = np.maximum(_mean(np.abs(actual), known), 1e-12)
    yesterday = _mean(np.abs(actual - BASELINES["yesterday"](days, tested)[-scored:]), known) / scale
    rows = []
    for name, method in chosen.items():
        guess = method(days, tested)
        errors = np.where(days.known[-len(tested) :], days.grid[-len(tested) :] - guess, 0.0)
        spread = _rolling_quantiles(guess, errors, scored, levels)
        miss = actual - spread
        level = np.reshape(levels, (-1, 1, 1, 1))
        pinball = np.array([_mean(loss, known) for loss in np.maximum(level * miss, (level - 1) * miss)]) / scale
        inside = _mean(((spread.min(axis=0) <= actual) & (actual <= spread.max(axis=0))).astype(float), known)
        nmae = _mean(np.abs(errors[-scored:]), known) / scale
        for s in range(actual.shape[2]):
            skill = 1 - nmae[s] / yesterday[s] if yesterday[s] > 0 else 0.0
            losses = tuple(float(v) for v in pinball[:, s])
            rows.append(Score(name, s, scored, float(nmae[s]), float(skill), losses, float(inside[s])))
    return rows


def _pick(methods: str | Sequence[str], days: int, site: Site | None) -> Mapping[str, Method]:
    names = [methods] if isinstance(methods, str) else list(methods)
    there = catalogue(days, site)
    unknown = [name for name in names if name not in there]
    if unknown or not names:
        raise ValueError(f"no method {unknown[0] if unknown else ''!r} here: it is one of {', '.join(there)}")
    return {name: there[name] for name in names}


def _tested(days: Days, folds: int) -> range:
    folds = min(folds, len(days) - 1)
    if folds < 1:
        raise ValueError(f"a back-test needs two days of history, not {len(days)}")
    return range(len(days) - folds, len(days))


def _backtest(days: Days, tested: range, guesses: Mapping[str, FloatArray]) -> Backtest:
    actual, known = days.grid[tested.start :], days.known[tested.start :]
    residuals = np.stack([np.where(known, actual - guess, 0.0) for guess in guesses.values()])
    scale = _mean(np.abs(actual), known)
    error = np.stack([_mean(np.abs(r), known) for r in residuals])
    return Backtest(tuple(guesses), np.where(scale > 0, error / np.where(scale > 0, scale, 1.0), 0.0), residuals)


def _mean(values: FloatArray, known: NDArray[np.bool_]) -> FloatArray:
    """Mean over days and ISPs of what was measured, (S,)."""
    return np.asarray(np.where(known, values, 0.0).sum(axis=(0, 1)) / np.maximum(known.sum(axis=(0, 1)), 1))


def _rolling_quantiles(guess: FloatArray, errors: FloatArray, scored: int, levels: Sequence[float]) -> FloatArray:
    """Quantiles (Q,scored,n,S) of the last days, from the errors of the days before each."""
    first = len(errors) - scored
    spread = [_error_quantiles(errors[max(k - _FOLDS, 0) : k], levels) for k in range(first, len(errors))]
    return np.asarray(guess[None, -scored:] + np.stack(spread, axis=1))


def _error_quantiles(errors: FloatArray, levels: Sequence[float]) -> FloatArray:
    """Quantiles (Q,n,S) of errors (folds,n,S), taken over each ISP with its neighbours an hour to either side."""
    reach = min(_HOUR, errors.shape[1] // 2)
    around = np.concatenate([np.roll(errors, shift, axis=1) for shift in range(-reach, reach + 1)])
    return np.asarray(np.quantile(around, levels, axis=0))


def _shifted(values: FloatArray, by: int) -> FloatArray:
    """Rows moved later by `by`, 0 before the first."""
    out = np.zeros_like(values)
    out[by:] = values[:-by]
    return out
