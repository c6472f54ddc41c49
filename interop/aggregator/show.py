"""What the dashboard draws of the aggregator's day, in kW."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from datamodels import IspSeries

__all__ = ["actuals", "kilowatts"]

Drawn = list[float | None]


def kilowatts(series: IspSeries) -> Drawn:
    """kW per ISP, None where the series does not address one."""
    return [None if p is None else round(p / 1000, 3) for p in series.power_w]


def actuals(groups: Mapping[str, Sequence[IspSeries]], finished: int, isps: int) -> dict[str, Drawn]:
    """kW per ISP of each group of resources, and of all together as `net_kw`; None where an ISP is not finished, or
    not measured for every resource of the group."""
    sums: dict[str, Drawn] = {
        name: [
            None
            if k >= finished or any(s.power_w[k] is None for s in series)
            else round(sum(s.power_w[k] or 0 for s in series) / 1000, 3)
            for k in range(isps)
        ]
        for name, series in groups.items()
    }
    columns = list(zip(*sums.values(), strict=True))
    sums["net_kw"] = [None if None in row else round(sum(v for v in row if v is not None), 3) for row in columns]
    return sums
