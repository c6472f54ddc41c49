"""What is measured on a day: arithmetic over powers (members,ISPs) in kW, import positive. No other module counts."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "bills",
    "community_bill",
    "exchanged_kw",
    "exported_kwh",
    "imported_kwh",
    "leftover_eur",
    "peak_kw",
    "self_consumption",
    "self_sufficiency",
]

Floats = NDArray[np.float64]


def bills(net_kw: Floats, buy: Floats, sell: Floats, hours: float) -> Floats:
    """What each member (N,) pays its supplier, EUR: import at `buy`, export at `sell` (T,) EUR/kWh."""
    return np.asarray(hours * (np.maximum(net_kw, 0.0) @ buy - np.maximum(-net_kw, 0.0) @ sell))


def community_bill(net_kw: Floats, buy: Floats, sell: Floats, hours: float, fee: Floats | float = 0.0) -> float:
    """What all members together (N,T) pay behind one meter, EUR, with `fee` (EUR/kWh) on what they exchange."""
    fees = float((hours * exchanged_kw(net_kw) * fee).sum())
    return float(bills(net_kw.sum(axis=0, keepdims=True), buy, sell, hours)[0]) + fees


def imported_kwh(net_kw: Floats, hours: float) -> float:
    """What a connection (T,) takes from the grid."""
    return float(hours * np.maximum(net_kw, 0.0).sum())


def exported_kwh(net_kw: Floats, hours: float) -> float:
    """What a connection (T,) gives to the grid."""
    return float(hours * np.maximum(-net_kw, 0.0).sum())


def peak_kw(net_kw: Floats) -> float:
    """Largest power through a connection (T,), either way."""
    return float(np.abs(net_kw).max())


def self_consumption(net_kw: Floats, pv_kw: Floats, hours: float) -> float:
    """Share of the PV energy (T,) that is not exported through the connection (T,); 0 without PV.

    Energy that a battery exports counts as exported, so the share is never below 0 only because it is cut there.
    """
    generated = float(hours * pv_kw.sum())
    return max(1.0 - exported_kwh(net_kw, hours) / generated, 0.0) if generated > 0 else 0.0


def self_sufficiency(net_kw: Floats, used_kw: Floats, hours: float) -> float:
    """Share of the consumption (T,) that is not imported; 0 without consumption.

    Consumption is everything but batteries; what their losses take is imported or generated too.
    """
    used = float(hours * used_kw.sum())
    return max(1.0 - imported_kwh(net_kw, hours) / used, 0.0) if used > 0 else 0.0


def exchanged_kw(net_kw: Floats) -> Floats:
    """What members (N,T) take from each other: in each ISP the smaller of all imports and all exports (T,)."""
    return np.asarray(np.minimum(np.maximum(net_kw, 0.0).sum(axis=0), np.maximum(-net_kw, 0.0).sum(axis=0)))


def leftover_eur(kwh: Floats, buy: Floats, sell: Floats) -> Floats:
    """What stores owe (positive) or are owed for ending `kwh` (N,) above where they began, EUR.

    A surplus is worth the mean selling price, a lack costs the mean buying price: never better than trading it.
    """
    return np.asarray(np.where(kwh > 0, -kwh * sell.mean(), -kwh * buy.mean()))
