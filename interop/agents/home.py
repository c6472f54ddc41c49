"""The file that an agent plans its home from; nothing of it leaves the process but answers to prices.

JSON (`gridparley-home/1`): the home as `interop.aggregator.homes` writes it, and arrays over the ISPs of one day,
one row per column that the home's devices name:

    {"format": "gridparley-home/1", "period": "2026-05-20", "isp_minutes": 15, "home": {...},
     "load_kw": {"3": [...]}, "pv_kw": {"0": [...]}, "buy_eur_per_kwh": [...], "sell_eur_per_kwh": [...]}

or an `lfa-instance/1` file (.npz) of one congestion point.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from datamodels import decode
from interop.aggregator.forecast import Forecast
from interop.aggregator.homes import Home, units
from interop.aggregator.portfolio import portfolio_of
from optimiser import Portfolio, Tariffs
from optimiser.instance import read_instance

__all__ = ["Household", "read_household"]

_FORMAT = "gridparley-home/1"
_ARRAYS = ("buy_eur_per_kwh", "sell_eur_per_kwh")


@dataclass(frozen=True, eq=False)
class Household:
    """A home as the optimiser knows it, for the local day `period` ("" where the file does not say)."""

    portfolio: Portfolio
    tariffs: Tariffs
    period: str = ""


def read_household(path: Path) -> Household:
    """Read a home's file.

    Raises:
        OSError, ValueError: it cannot be read, or is not of the form above.
    """
    if path.suffix == ".npz":
        portfolio, _, tariffs = read_instance(path)
        return Household(replace(portfolio, group=np.zeros(portfolio.homes, np.int64)), tariffs)
    try:
        return _household(json.loads(path.read_text(encoding="utf-8")))
    except (KeyError, TypeError, IndexError) as error:
        raise ValueError(f"{path}: not a {_FORMAT} file: {type(error).__name__}: {error}") from error


def _household(data: dict[str, Any]) -> Household:
    if data["format"] != _FORMAT:
        raise ValueError(f"the format is {data['format']!r:.40}, not {_FORMAT}")
    home: Home = decode(data["home"], Home)
    isps = len(data["buy_eur_per_kwh"])
    forecast = Forecast(_columns(data["load_kw"], isps), _columns(data["pv_kw"], isps))
    rows = list(units((home,)))
    prices = Tariffs(*(np.tile(np.asarray(data[name], float), (len(rows), 1)) for name in _ARRAYS))
    return Household(portfolio_of(rows, forecast, data["isp_minutes"] / 60), prices, str(data["period"]))


def _columns(series: dict[str, list[float]], isps: int) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Series by column number as (T, columns); columns that the home does not name are 0."""
    out = np.zeros((isps, max(map(int, series), default=-1) + 1))
    for column, values in series.items():
        if len(values) != isps:
            raise ValueError(f"series {column} has {len(values)} values for {isps} ISPs")
        out[:, int(column)] = values
    return out
