"""The margin policy: what an option costs the grid operator, given what it costs the homes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from decimal import ROUND_CEILING, Decimal
from string import ascii_uppercase

from datamodels import IspSeries, MarketCalendar, OfferOption
from optimiser import PricedOption

__all__ = ["Pricing"]

_CENT = Decimal("0.01")


@dataclass(frozen=True, slots=True)
class Pricing:
    """Price = cost of the change x (1 + `markup`) + `eur_per_kwh` for each kWh moved, rounded up to a cent.

    The cost of a change is convex, so a part of it costs the homes at most that part of the price without the margin.
    """

    markup: Decimal = Decimal("0.2")
    eur_per_kwh: Decimal = Decimal("0.05")

    def price(self, cost_eur: float, energy_kwh: float) -> Decimal:
        """What is asked for a change of that cost and energy; never less than a cent."""
        raw = (
            Decimal(repr(max(float(cost_eur), 0.0))) * (1 + self.markup) + Decimal(repr(energy_kwh)) * self.eur_per_kwh
        )
        return max(raw.quantize(_CENT, ROUND_CEILING), _CENT)

    def offer_options(
        self,
        priced: Sequence[PricedOption],
        calendar: MarketCalendar,
        period: date,
        min_activation: Decimal = Decimal("1.00"),
    ) -> list[OfferOption]:
        """Options A, B, … in the order given; those that change nothing, or no less than another, are left out."""
        out: list[OfferOption] = []
        for option in priced:
            values = [int(p) for p in option.power_w]
            power = IspSeries(calendar, period, tuple(p or None for p in values))
            if not power.isps or any(power == other.power for other in out):
                continue
            energy_kwh = sum(abs(p) for p in values) * calendar.isp_hours / 1000
            price = self.price(option.price_eur, energy_kwh)
            out.append(OfferOption(ascii_uppercase[len(out)], price, power, min_activation))
        return out
