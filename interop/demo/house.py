"""A believable home: an inflexible load, cars that must leave charged, and heat pumps with a warm house to lean on.

Powers are means over a quarter-hour, consumption positive. Set points are wishes: a car that would not be full in time
charges anyway, and a heat pump keeps the house within its comfort whatever it is told.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

__all__ = ["House"]


@dataclass(slots=True)
class _Car:
    p_max_w: int
    stays: list[tuple[int, int, int]]  # first step, step after the last, Wh wanted
    before: list[float]
    charged_wh: float = 0.0
    stay: int | None = None

    def power(self, step: int, wish_w: float | None, hours: float) -> float:
        current = next((n for n, (first, end, _) in enumerate(self.stays) if first <= step < end), None)
        if current != self.stay:
            self.stay, self.charged_wh = current, 0.0
        if current is None:
            return self.before[step] if step < len(self.before) else 0.0
        _, end, wanted = self.stays[current]
        missing = max(wanted - self.charged_wh, 0.0)
        later = (end - step - 1) * self.p_max_w * hours
        must = max(missing - later, 0.0) / hours
        wish = self.p_max_w if wish_w is None else wish_w
        power = min(max(wish, must, 0.0), self.p_max_w, missing / hours)
        self.charged_wh += power * hours
        return power


@dataclass(slots=True)
class _HeatPump:
    p_max_w: int
    buffer_wh: int
    demand_w: list[float]
    stored_wh: float = 0.0

    def power(self, step: int, wish_w: float | None, hours: float) -> float:
        demand = self.demand_w[step]
        wish = demand if wish_w is None else wish_w
        least = demand - (self.stored_wh + self.buffer_wh) / hours
        most = demand + (self.buffer_wh - self.stored_wh) / hours
        power = min(max(wish, least, 0.0), most, self.p_max_w)
        self.stored_wh += (power - demand) * hours
        return power


@dataclass(slots=True)
class House:
    """A home that is asked once per quarter-hour step, in order, what it consumes."""

    name: str
    start: datetime
    step: timedelta
    load_w: list[float]
    devices: dict[str, _Car | _HeatPump]
    log: list[dict[str, float]] = field(default_factory=list)

    @classmethod
    def read(cls, path: Path) -> House:
        """Read the profile that the demo wrote for this home."""
        data: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        devices: dict[str, _Car | _HeatPump] = {}
        for car in data["cars"]:
            devices[car["id"]] = _Car(car["p_max_w"], [tuple(s) for s in car["stays"]], car["before_w"])
        for pump in data["heat_pumps"]:
            devices[pump["id"]] = _HeatPump(pump["p_max_w"], pump["buffer_wh"], pump["demand_w"])
        return cls(
            data["name"],
            datetime.fromisoformat(data["start"]),
            timedelta(seconds=data["step_s"]),
            data["load_w"],
            devices,
        )

    def begin(self, step: int) -> datetime:
        return self.start + step * self.step

    def step_at(self, instant: datetime) -> int:
        return int((instant - self.start) // self.step)

    def live(self, step: int, wishes: Mapping[str, float]) -> dict[str, float]:
        """Mean W of every device and of the whole home (key "home") in one step; steps must come in order.

        Raises:
            ValueError: a step was left out or comes twice.
        """
        if step != len(self.log):
            raise ValueError(f"step {step} does not follow {len(self.log) - 1}")
        hours = self.step / timedelta(hours=1)
        if step >= len(self.load_w):
            powers = dict.fromkeys([*self.devices, "home"], 0.0)
        else:
            powers = {id: device.power(step, wishes.get(id), hours) for id, device in self.devices.items()}
            powers["home"] = self.load_w[step] + sum(powers.values())
        self.log.append(powers)
        return powers
