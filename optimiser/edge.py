"""The only place where W become kW and back, and where canonical objects meet arrays."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date
from decimal import ROUND_CEILING, Decimal
from math import inf

import numpy as np
from numpy.typing import ArrayLike

from datamodels import CongestionPoint, FlexRequest, IspSeries, MarketCalendar, OfferOption
from optimiser.offering import PricedOption, Request
from optimiser.plans import Plan
from optimiser.portfolio import FloatArray, IntArray, Limits

__all__ = [
    "group_series",
    "home_series",
    "kilowatts",
    "limits_of",
    "offer_option",
    "ordered_limits",
    "request_from",
    "watts",
]

_CENT = Decimal("0.01")


def kilowatts(power_w: ArrayLike) -> FloatArray:
    """W to kW."""
    return np.asarray(power_w, float) / 1000.0


def watts(power_kw: ArrayLike) -> IntArray:
    """kW to whole W, half to even."""
    return np.rint(np.asarray(power_kw, float) * 1000.0).astype(np.int64)


def limits_of(points: Iterable[CongestionPoint], isps: int) -> Limits:
    """The congestion points' standing limits, in their order; None is no limit."""
    lo, hi = [], []
    for point in points:
        lo.append(-inf if point.export_limit_w is None else -point.export_limit_w / 1000.0)
        hi.append(inf if point.import_limit_w is None else point.import_limit_w / 1000.0)
    return Limits(np.repeat(np.array(lo)[:, None], isps, axis=1), np.repeat(np.array(hi)[:, None], isps, axis=1))


def request_from(request: FlexRequest, prognosis: IspSeries, limits: Limits | None = None) -> Request:
    """A DSO's request as bounds on the deviation from the prognosis it refers to.

    Requested ISPs ask; Available ISPs only bound; ISPs the request does not name are open.

    Raises:
        ValueError: the prognosis is of another day or incomplete.
        InputError: as `Request`.
    """
    if prognosis.period != request.period or not prognosis.is_complete:
        raise ValueError(f"a request for {request.period} needs a complete prognosis of that day")
    isps = len(prognosis)
    low, high = np.full(isps, -inf), np.full(isps, inf)
    for bounds in request.isps:
        place = slice(bounds.start - 1, bounds.start - 1 + bounds.duration)
        low[place], high[place] = bounds.min_power_w, bounds.max_power_w
    requested = np.zeros(isps, bool)
    requested[[isp - 1 for isp in request.requested]] = True
    return Request(requested, low, high, limits, prognosis.array())


def ordered_limits(prognosis: IspSeries, ordered: Iterable[IspSeries], limits: Limits, group: int = 0) -> Limits:
    """`limits` with accepted orders on top: in each ordered ISP the power is at most prognosis + ordered where less
    consumption was bought, at least that where more was. Several orders of one ISP add up.

    Raises:
        ValueError: the prognosis does not cover an ordered ISP.
    """
    total = IspSeries.empty(prognosis.calendar, prognosis.period)
    for series in ordered:
        total = total + series
    lo, hi = limits.lo_kw.copy(), limits.hi_kw.copy()
    for isp, power in total:
        base = prognosis.at(isp)
        if base is None:
            raise ValueError(f"ISP {isp} was ordered, but has no prognosis")
        bound = (base + power) / 1000.0
        if power < 0:
            hi[group, isp - 1] = min(hi[group, isp - 1], bound)
            lo[group, isp - 1] = min(lo[group, isp - 1], hi[group, isp - 1])
        elif power > 0:
            lo[group, isp - 1] = max(lo[group, isp - 1], bound)
            hi[group, isp - 1] = max(lo[group, isp - 1], hi[group, isp - 1])
    return Limits(lo, hi, limits.penalty, limits.contains)


def group_series(plan: Plan, calendar: MarketCalendar, period: date, group: int = 0) -> IspSeries:
    """A congestion point's planned power: what a D-prognosis says (ValueError where the day has other ISPs)."""
    return IspSeries.of(calendar, period, plan.group_w[group].tolist())


def home_series(plan: Plan, calendar: MarketCalendar, period: date, home: int) -> IspSeries:
    """A home's planned power; the homes of a congestion point add up to its series."""
    return IspSeries.of(calendar, period, plan.net_w[home].tolist())


def offer_option(
    option: PricedOption,
    reference: str,
    request: FlexRequest,
    min_activation: Decimal = Decimal("1.00"),
) -> OfferOption:
    """An option in market terms: addresses the requested ISPs, its price rounded up to a cent."""
    price = Decimal(f"{option.price_eur:.6f}").quantize(_CENT, ROUND_CEILING)
    power = IspSeries.of(request.calendar, request.period, option.power_w.tolist()).restricted(request.requested)
    return OfferOption(reference, price, power, min_activation)
