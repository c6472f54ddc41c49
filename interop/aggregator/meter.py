"""From telemetry to power per ISP: registers where a device has them, interval means where it reports those.

A register read a moment before and a moment after the boundary of an ISP is interpolated to the boundary, so that the
mean power of the ISP is energy over time and not an average of samples.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable
from datetime import datetime, timedelta

from datamodels import Quality, Quantity, Telemetry

__all__ = ["Meter"]

_KEPT = 4000
_KEPT_MEANS = 400
_REGISTERS = (Quantity.IMPORT_ENERGY_WH, Quantity.EXPORT_ENERGY_WH)


class Meter:
    """The latest values of every resource, its registers, and its interval means."""

    def __init__(self) -> None:
        self._latest: dict[tuple[str, Quantity], Telemetry] = {}
        self._registers: dict[tuple[str, Quantity], list[tuple[datetime, float]]] = defaultdict(list)
        self._means: dict[str, dict[datetime, Telemetry]] = defaultdict(dict)
        self._settled: dict[tuple[str, datetime, datetime], float] = {}
        self.additions = 0
        """How often samples came."""

    def add(self, samples: Iterable[Telemetry]) -> None:
        """Take samples in; those of bad quality count for nothing but the latest value."""
        self.additions += 1
        for sample in samples:
            key = (sample.resource, sample.quantity)
            known = self._latest.get(key)
            if known is None or sample.at >= known.at:
                self._latest[key] = sample
            if sample.quality is Quality.BAD:
                continue
            if sample.quantity in _REGISTERS:
                series = self._registers[key]
                if not series or sample.at > series[-1][0]:
                    series.append((sample.at, sample.value))
                else:
                    self._insert(sample, series)
                del series[:-_KEPT]
            elif sample.quantity is Quantity.MEAN_POWER_W:
                means = self._means[sample.resource]
                means[sample.at] = sample
                while len(means) > _KEPT_MEANS:
                    del means[next(iter(means))]

    def _insert(self, sample: Telemetry, series: list[tuple[datetime, float]]) -> None:
        """A reading that comes late: what was worked out without it is worked out again."""
        place = bisect_left(series, sample.at, key=lambda entry: entry[0])
        if series[place][0] == sample.at:
            return
        series.insert(place, (sample.at, sample.value))
        for key in [key for key in self._settled if key[0] == sample.resource]:
            del self._settled[key]

    def latest(self, resource: str, quantity: Quantity) -> Telemetry | None:
        return self._latest.get((resource, quantity))

    def value(self, resource: str, quantity: Quantity, default: float = 0.0) -> float:
        sample = self._latest.get((resource, quantity))
        return default if sample is None else sample.value

    def isp_w(self, resource: str, start: datetime, end: datetime) -> float | None:
        """`mean_w` of a span that is over: once it is known it is remembered, so asking again costs nothing."""
        key = (resource, start, end)
        if key not in self._settled:
            mean = self.mean_w(resource, start, end)
            if mean is None:
                return None
            self._settled[key] = mean
        return self._settled[key]

    def mean_w(self, resource: str, start: datetime, end: datetime) -> float | None:
        """Mean net power over [start, end), None where the telemetry does not cover it."""
        energy = self._energy_wh(resource, start, end)
        if energy is not None:
            return energy / ((end - start) / timedelta(hours=1))
        return self._mean_of_intervals(resource, start, end)

    def _energy_wh(self, resource: str, start: datetime, end: datetime) -> float | None:
        total, found = 0.0, False
        for quantity, sign in zip(_REGISTERS, (1.0, -1.0), strict=True):
            series = self._registers.get((resource, quantity))
            if not series:
                continue
            begin, finish = _at(series, start), _at(series, end)
            if begin is None or finish is None:
                return None
            total += sign * (finish - begin)
            found = True
        return total if found else None

    def _mean_of_intervals(self, resource: str, start: datetime, end: datetime) -> float | None:
        covered, energy = 0.0, 0.0
        for at, sample in self._means.get(resource, {}).items():
            stop = at + timedelta(seconds=sample.duration_s)
            overlap = (min(stop, end) - max(at, start)).total_seconds()
            if overlap > 0:
                covered += overlap
                energy += overlap * sample.value
        # Reporting in wall time may leave an edge of a few per cent uncovered; more than that is a gap.
        return energy / covered if covered >= 0.9 * (end - start).total_seconds() else None


def _at(series: list[tuple[datetime, float]], instant: datetime) -> float | None:
    """The register at an instant, interpolated between its neighbours; None outside what was read."""
    k = bisect_left(series, instant, key=lambda entry: entry[0])
    if k < len(series) and series[k][0] == instant:
        return series[k][1]
    if k == 0 or k == len(series):
        return None
    (t0, v0), (t1, v1) = series[k - 1], series[k]
    return v0 + (v1 - v0) * ((instant - t0) / (t1 - t0))
