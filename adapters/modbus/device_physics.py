"""What a simulated PV array or battery does in market time, integrated exactly.

Between two events power is constant: a step of the profile, a control that is set or expires, a battery that becomes
full or empty. `advance` walks from event to event, so energy is an exact function of time, however seldom it is asked.

Inside, time is seconds since the profile's start. Power is W, consumption positive; controls are W, generation
positive, as devices speak of them. Pure: no clock, no I/O.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["Battery", "Control", "PhotovoltaicArray", "Plant", "Step"]


@dataclass(frozen=True, slots=True)
class Control:
    """A limit or set point in force, W generation positive; from `until` on, `after_w` (None: none) holds instead."""

    value_w: float | None
    until: float = math.inf
    after_w: float | None = None


@dataclass(frozen=True, slots=True)
class Step:
    """One elapsed step of the profile: number, mean power (W, consumption positive), content at its end (Wh)."""

    number: int
    mean_w: float
    stored_wh: float | None


_FREE = Control(None)


class Plant(ABC):
    """Common bookkeeping. `step_s`: length of a step, s."""

    def __init__(self, step_s: float) -> None:
        self.step_s = step_s
        self.at = 0.0
        self.exported_wh = 0.0
        self.imported_wh = 0.0
        self.limit = _FREE
        """Caps generation."""
        self.setpoint = _FREE
        """Fixes power as far as the plant can follow."""
        self._step = 0
        self._step_wh = 0.0

    @property
    @abstractmethod
    def power_w(self) -> float:
        """Power at this instant, W, consumption positive."""

    @property
    def stored_wh(self) -> float | None:
        return None

    def advance(self, to: float) -> list[Step]:
        """Let time pass until `to`; returns the steps that ended. Times before the present change nothing."""
        ended: list[Step] = []
        while self.at < to:
            power = self.power_w
            step_end = (self._step + 1) * self.step_s
            end = min(to, step_end, self.limit.until, self.setpoint.until, self.at + self._seconds_at(power))
            self._pass(power, end)
            if self.limit.until <= self.at:
                self.limit = Control(self.limit.after_w)
            if self.setpoint.until <= self.at:
                self.setpoint = Control(self.setpoint.after_w)
            if self.at >= step_end:
                mean = self._step_wh * 3600.0 / self.step_s
                ended.append(Step(self._step, mean, self.stored_wh))
                self._step, self._step_wh = self._step + 1, 0.0
        return ended

    def _pass(self, power: float, end: float) -> None:
        energy = power * (end - self.at) / 3600.0
        self._step_wh += energy
        self.imported_wh += max(energy, 0.0)
        self.exported_wh += max(-energy, 0.0)
        self._keep(energy)
        self.at = end

    def _seconds_at(self, power: float) -> float:
        """How long the plant can keep this power, s."""
        return math.inf

    @abstractmethod
    def _keep(self, energy: float) -> None:
        """Account for energy (Wh, consumption positive) that went into the plant."""


class PhotovoltaicArray(Plant):
    """PV: produces what is available, W per step from the profile's start on, as far as it is allowed to."""

    def __init__(self, step_s: float, available_w: Sequence[float]) -> None:
        super().__init__(step_s)
        self._available_w = tuple(available_w)

    @property
    def power_w(self) -> float:
        available = self._available_w[self._step] if self._step < len(self._available_w) else 0.0
        allowed = (c.value_w for c in (self.limit, self.setpoint) if c.value_w is not None)
        return -max(min((available, *allowed)), 0.0)

    def _keep(self, energy: float) -> None:
        """Nothing is stored."""


class Battery(Plant):
    """Battery: idle unless told; loses `1 - efficiency` on the way in and on the way out; stops when full or empty."""

    def __init__(
        self,
        step_s: float,
        *,
        capacity_wh: float,
        content_wh: float,
        charge_max_w: float,
        discharge_max_w: float,
        charge_efficiency: float = 1.0,
        discharge_efficiency: float = 1.0,
    ) -> None:
        super().__init__(step_s)
        self.capacity_wh = capacity_wh
        self._content_wh = content_wh
        self._charge_max_w = charge_max_w
        self._discharge_max_w = discharge_max_w
        self._in = charge_efficiency
        self._out = discharge_efficiency

    @property
    def stored_wh(self) -> float:
        return self._content_wh

    @property
    def power_w(self) -> float:
        power = -(self.setpoint.value_w or 0.0)
        power = min(max(power, -self._discharge_max_w), self._charge_max_w)
        if self.limit.value_w is not None:
            power = max(power, -self.limit.value_w)
        stuck = self._content_wh >= self.capacity_wh if power > 0 else self._content_wh <= 0.0
        return 0.0 if stuck or power == 0.0 else power

    def _rate(self, power: float) -> float:
        """Change of the content, W."""
        return power * self._in if power > 0 else power / self._out

    def _seconds_at(self, power: float) -> float:
        if power == 0.0:
            return math.inf
        room = self.capacity_wh - self._content_wh if power > 0 else self._content_wh
        return room * 3600.0 / abs(self._rate(power))

    def _keep(self, energy: float) -> None:
        content = self._content_wh + self._rate(energy)
        # Within a µWh of a bound it is reached: rounding must not leave a remainder that takes many tiny steps.
        if content < 1e-6:
            content = 0.0
        elif content > self.capacity_wh - 1e-6:
            content = self.capacity_wh
        self._content_wh = content
