"""The day as it unfolds: what the charts draw and the key figures tell, folded from the feed. Pure, no I/O."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

__all__ = ["TOPICS", "Day", "Figure", "figures", "finite"]

CHANNELS = ("net_kw", "pv_kw", "battery_kw", "homes_kw")
_KEPT = ("day", "progress", "settlement", "result")
_MOST_ISPS = 1500
TOPICS = (*_KEPT, "plan", "actuals", "actual")
"""What the day is folded from, in an order in which the latest of each may be applied."""


@dataclass(slots=True)
class Day:
    """Latest value of the topics that are kept whole, and what was measured in each ISP (kW, index 0 is ISP 1).

    A live value stays until the final one of its ISP is known.
    """

    kept: dict[str, dict[str, Any]] = field(default_factory=dict)
    actuals: dict[str, list[float | None]] = field(default_factory=lambda: {name: [] for name in CHANNELS})

    def apply(self, topic: str, data: Any) -> dict[str, Any] | None:
        """Take in one item of the feed.

        Returns it as it is to be shown (no infinities; of the running ISP the mean so far, since limits hold for
        means), or None for what does not concern the day.
        """
        if not isinstance(data, Mapping):
            return None
        shown: dict[str, Any] = finite(data)
        if topic in _KEPT:
            if topic == "day" and shown.get("period") != self.of("day").get("period"):
                self.actuals = {name: [] for name in CHANNELS}
            self.kept[topic] = shown
        elif topic == "plan":
            self.kept["day"] = dict(self.of("day")) | {"plan_kw": shown.get("plan_kw")}
        elif topic == "actuals":
            for name in CHANNELS:
                for k, value in enumerate((shown.get(name) or ())[:_MOST_ISPS], 1):
                    self._set(name, k, value)
        elif topic == "actual":
            isp, mean = shown.get("isp"), shown.get("mean_kw")
            if not isinstance(isp, int) or not 1 <= isp <= _MOST_ISPS:
                return None
            if shown.get("live") and mean is not None:
                shown["net_kw"] = mean
            for name in CHANNELS:
                self._set(name, isp, shown.get(name))
        else:
            return None
        return shown

    def _set(self, channel: str, isp: int, value: float | None) -> None:
        if value is not None:
            series = self.actuals[channel]
            series.extend([None] * (isp - len(series)))
            series[isp - 1] = value

    def of(self, topic: str) -> Mapping[str, Any]:
        """The latest of a topic that is kept whole; empty where there was none."""
        return self.kept.get(topic, {})

    def progress(self) -> Mapping[str, Any]:
        """Topic `progress`; where nobody publishes it, what the rest tells of it."""
        if published := self.of("progress"):
            return published
        isps, net = len(self.of("day").get("starts") or ()), self.actuals["net_kw"]
        isp = max((k for k, power in enumerate(net, 1) if power is not None), default=0)
        if self.of("settlement") or self.of("result"):
            phase = "done"
        elif isp and isp == isps:
            phase = "settlement"
        else:
            phase = "day" if isp else "trade" if isps else ""
        return {"phase": phase, "isp": isp, "of": isps}

    def snapshot(self) -> list[tuple[str, Any]]:
        """Items that bring another `Day` to this state, in the order in which to apply them."""
        items: list[tuple[str, Any]] = [(topic, self.kept[topic]) for topic in _KEPT if topic in self.kept]
        if any(self.actuals.values()):
            items.append(("actuals", self.actuals))
        return items

    @property
    def timezone(self) -> str:
        return str(self.of("day").get("timezone") or "UTC")

    @property
    def isp_hours(self) -> float:
        return float(self.of("day").get("isp_minutes") or 15) / 60

    def series(self, name: str) -> Sequence[float | None]:
        return self.of("day").get(name) or ()


@dataclass(frozen=True, slots=True)
class Figure:
    """One key figure. `tone` is "good", "bad" or "" and is never the only carrier of meaning."""

    label: str
    value: float | int | None
    unit: str
    note: str
    tone: str = ""


def figures(day: Day) -> list[Figure]:
    """The numbers a person looks for first; `value` None where there is nothing to tell yet."""
    net = day.actuals["net_kw"]
    requested = [isp for isp in day.of("day").get("requested") or () if isinstance(isp, int)]
    return [_now(day, net), _peak(day), _held(day, net), _moved(day, net, requested), _settled(day)]


def _now(day: Day, net: Sequence[float | None]) -> Figure:
    isp = next((k for k in range(len(net), 0, -1) if net[k - 1] is not None), None)
    if isp is None or (power := net[isp - 1]) is None:
        return Figure("Feeder now", None, "kW", "waiting for the first measurement")
    excess = _excess(day, isp, power)
    limit = _at(day.series("limit_export_kw" if power < 0 else "limit_import_kw"), isp)
    if limit is None:
        return Figure("Feeder now", power, "kW", "export" if power < 0 else "import")
    side = "export limit" if power < 0 else "import limit"
    if excess > 0:
        return Figure("Feeder now", power, "kW", f"{excess:.1f} kW above the {side}", "bad")
    return Figure("Feeder now", power, "kW", f"{abs(limit - power):.1f} kW below the {side}", "good")


def _peak(day: Day) -> Figure:
    label, forecast = "Peak in forecast", day.series("forecast_kw")
    known = [(_excess(day, isp, p), abs(p), p) for isp, p in enumerate(forecast, 1) if p is not None]
    if not known:
        return Figure(label, None, "kW", "no forecast yet")
    excess, _, power = max(known)
    over = _over(day, forecast)
    note = f"{excess:.1f} kW above the limit" if excess > 0 else "within the limit"
    if over:
        note = f"{note}; {over} ISPs exceed it"
    return Figure(label, power, "kW", note, "bad" if over else "good")


def _held(day: Day, net: Sequence[float | None]) -> Figure:
    measured = sum(p is not None for p in net)
    if not measured:
        return Figure("ISPs above limit", None, "", "counted once the day runs")
    over = _over(day, net)
    expected = _over(day, day.series("forecast_kw")[: len(net)])
    note = f"of {measured} so far; forecast without flexibility: {expected}"
    return Figure("ISPs above limit", over, "", note, "bad" if over else "good")


def _moved(day: Day, net: Sequence[float | None], requested: Sequence[int]) -> Figure:
    label, baseline = "Flexibility delivered", day.series("prognosis_kw")
    if not requested:
        return Figure(label, None, "kWh", "nothing requested yet")
    done = [isp for isp in requested if _at(net, isp) is not None and _at(baseline, isp) is not None]
    if not done:
        return Figure(label, None, "kWh", f"{len(requested)} ISPs requested, none has passed")
    energy = sum(abs((_at(net, i) or 0.0) - (_at(baseline, i) or 0.0)) for i in done) * day.isp_hours
    return Figure(label, energy, "kWh", f"against the prognosis, in {len(done)} of {len(requested)} requested ISPs")


def _settled(day: Day) -> Figure:
    rows = [row for row in day.of("settlement").get("rows") or () if isinstance(row, Mapping)]
    if not rows:
        return Figure("Settled", None, "", "after the day")
    net = sum(float(row.get("net") or 0) for row in rows)
    ordered = sum(float(row.get("ordered_kwh") or 0) for row in rows)
    delivered = sum(float(row.get("delivered_kwh") or 0) for row in rows)
    share = f"{delivered / ordered:.1%} of {ordered:.1f} kWh ordered" if ordered else "nothing was ordered"
    return Figure("Settled", net, str(rows[0].get("currency") or ""), share)


def _at(series: Sequence[float | None], isp: int) -> float | None:
    return series[isp - 1] if 1 <= isp <= len(series) else None


def _excess(day: Day, isp: int, power: float) -> float:
    """By how much a net power breaks a limit of its ISP, kW."""
    upper, lower = _at(day.series("limit_import_kw"), isp), _at(day.series("limit_export_kw"), isp)
    return max(0.0 if upper is None else power - upper, 0.0 if lower is None else lower - power, 0.0)


def _over(day: Day, series: Sequence[float | None]) -> int:
    """In how many ISPs a series breaks a limit by more than its last shown digit."""
    return sum(p is not None and _excess(day, isp, p) >= 0.05 for isp, p in enumerate(series, 1))


def finite(value: Any) -> Any:
    """JSON-ready data with null for what JSON cannot say: a limit of infinity is none."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: finite(item) for key, item in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [finite(item) for item in value]
    return value
