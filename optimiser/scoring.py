"""How good a forecast was, and how to bring it up to date during its day."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum

import numpy as np

from optimiser.portfolio import FloatArray

__all__ = ["Persistence", "coverage", "intraday_update", "nmae", "pinball"]


def nmae(actual: FloatArray, expected: FloatArray) -> float:
    """Mean absolute error over mean absolute value; 0 for a series of zeros forecast as such, else inf."""
    error, scale = float(np.abs(actual - expected).mean()), float(np.abs(actual).mean())
    if scale == 0.0:
        return 0.0 if error == 0.0 else np.inf
    return error / scale


def pinball(actual: FloatArray, quantile: FloatArray, level: float) -> float:
    """Pinball loss of one quantile, in the unit of the series."""
    error = actual - quantile
    return float(np.maximum(level * error, (level - 1.0) * error).mean())


def coverage(actual: FloatArray, low: FloatArray, high: FloatArray) -> float:
    """Share of values that lie within two quantiles."""
    return float(((low <= actual) & (actual <= high)).mean())


class Persistence(StrEnum):
    """What is taken to last: RATIO, how clear the sky is (PV); DIFFERENCE, how much more or less is used (load)."""

    RATIO = "ratio"
    DIFFERENCE = "difference"


def intraday_update(
    forecast: FloatArray,
    measured: FloatArray,
    now: int,
    *,
    persistence: Persistence | Sequence[Persistence] = Persistence.DIFFERENCE,
    window: int = 4,
    half_life: float = 8.0,
    cap: float = 2.0,
) -> FloatArray:
    """The forecast (T,S) with ISPs before `now` as measured, and the rest shifted by how it has done of late.

    Args:
        measured: (>= now, S) what was measured since ISP 0.
        persistence: one for all series, or one each.
        window: number of ISPs before `now` that are compared.
        half_life: ISPs after which half of the correction has faded.
        cap: a RATIO lies within 0..cap; a DIFFERENCE within +-(cap - 1) times the series' mean forecast.

    A RATIO says nothing in the dark: below 2 % of the day's peak forecast nothing is corrected. No series is pushed
    across zero.

    Raises:
        ValueError: `now` lies outside 0..T, less was measured, or a measured value is not finite.
    """
    isps, count = forecast.shape
    if not 0 <= now <= isps or len(measured) < now or (now and measured.shape[1:] != (count,)):
        raise ValueError(f"ISP {now} of {isps} needs ({now},{count}) measured values, not {measured.shape}")
    out = forecast.astype(float)
    if now == 0:
        return out
    if not np.isfinite(measured[:now]).all():
        raise ValueError("a measured value is not a finite number")
    kinds = [Persistence(persistence)] * count if isinstance(persistence, str) else list(persistence)
    recent = slice(max(now - window, 0), now)
    expected, real, rest = forecast[recent].mean(axis=0), measured[recent].mean(axis=0), forecast[now:]
    fading = 0.5 ** ((np.arange(isps - now) + 1.0) / half_life)[:, None]
    bright = np.abs(expected) > 0.02 * np.abs(forecast).max(axis=0)
    ratio = np.where(bright, np.clip(real / np.where(bright, expected, 1.0), 0.0, cap), 1.0)
    room = (cap - 1.0) * np.abs(forecast).mean(axis=0)
    difference = np.clip(real - expected, -room, room)
    scaled, shifted = rest * (1.0 + (ratio - 1.0) * fading), rest + difference * fading
    shifted = np.where(rest >= 0, np.maximum(shifted, 0.0), np.minimum(shifted, 0.0))
    out[:now] = measured[:now]
    out[now:] = np.where(np.array([k is Persistence.RATIO for k in kinds]), scaled, shifted)
    return out
