"""Settings of the aggregator's desk."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import time
from decimal import Decimal
from pathlib import Path

__all__ = ["AggregatorOptions"]

_HUNDREDTH = Decimal("0.01")


@dataclass(frozen=True, slots=True)
class AggregatorOptions:
    """Settings of the aggregator's desk.

    Attributes:
        homes_file: what is behind each connection (JSON, see `Planner`).
        history_file: measured quarter-hours of whole local days up to the day that is planned (npz, see `Planner`).
        tariffs_file: prices per ISP (JSON, see `Planner`).
        congestion_point: address of the one that is steered for.
        prognosis_at: local time on the day before at which the prognosis is sent.
        margin_w: kept from every bound; by default how far the homes' own load may be off its newest forecast
            by the time of day, 39 times out of 40.
        markup: share added to what a change costs the homes.
        eur_per_kwh: asked on top for each kWh moved.
        offer_options: how many options an offer holds, where the congestion point and the peer allow several.
        min_activation: smallest part of an option that can be bought, 0.01 to 1, where parts may be bought.
        offer_valid_minutes: how long an offer stands at most; by default as long as its request.
        reprognosis_w: what the expected power of an ISP may differ by before a new revision of the prognosis is sent;
            by default three times what the homes' own load may change by from one ISP to the next.
        reprognosis_minutes: least time between two revisions.
        unsolicited_offers: whether to offer relief unasked where the own prognosis breaks the congestion point's limit.
        unsolicited_at: local time on the day before from which that is done, if no request has come.
        metering_revised_hours: how long after the day late readings still lead to a new revision of the metering.
        rolling: whether the day after is planned too, with what this day brought as history, and so on.
    """

    homes_file: Path
    history_file: Path
    tariffs_file: Path
    congestion_point: str
    prognosis_at: str = "10:00"
    margin_w: float | None = None
    markup: Decimal = Decimal("0.2")
    eur_per_kwh: Decimal = Decimal("0.05")
    offer_options: int = 2
    min_activation: Decimal = Decimal("0.1")
    offer_valid_minutes: float | None = None
    reprognosis_w: float | None = None
    reprognosis_minutes: float = 60.0
    unsolicited_offers: bool = False
    unsolicited_at: str = "11:00"
    metering_revised_hours: float = 48.0
    rolling: bool = False

    def __post_init__(self) -> None:
        time.fromisoformat(self.prognosis_at)
        time.fromisoformat(self.unsolicited_at)
        if self.offer_options < 1:
            raise ValueError("offer_options must be 1 or more")
        if not 0 < self.min_activation <= 1 or self.min_activation % _HUNDREDTH:
            raise ValueError(f"min_activation {self.min_activation} is not one of 0.01, 0.02, … 1.00")
        if self.offer_valid_minutes is not None and self.offer_valid_minutes <= 0:
            raise ValueError("offer_valid_minutes must be above 0")
        for name in ("reprognosis_w", "reprognosis_minutes", "metering_revised_hours"):
            value = getattr(self, name)
            if value is not None and value < 0:
                raise ValueError(f"{name} {value} is below zero")
