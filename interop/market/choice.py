"""The grid operator's choice: the cheapest option that brings the net within its limits."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from datamodels import Disposition, FlexOffer, FlexRequest, IspSeries, OfferOption

__all__ = ["Candidate", "choose", "relief"]


@dataclass(frozen=True, slots=True)
class Candidate:
    offer: FlexOffer
    option: OfferOption


def relief(request: FlexRequest, power: IspSeries) -> float:
    """Share (0..1) of the requested change that `power` covers, over all requested ISPs."""
    wanted = covered = 0
    for isp in request.isps:
        if isp.disposition is not Disposition.REQUESTED:
            continue
        need = isp.min_power_w if isp.min_power_w > 0 else isp.max_power_w
        for k in isp.isps:
            given = power.at(k) or 0
            wanted += abs(need)
            covered += min(max(given if need > 0 else -given, 0), abs(need))
    return covered / wanted if wanted else 1.0


def choose(request: FlexRequest, offers: Iterable[FlexOffer], clears: Callable[[IspSeries], bool]) -> Candidate | None:
    """Among all options, the cheapest that `clears` the congestion; if none does, the one with the most relief.

    Ties go to the lower price, then to the earlier offer. None where nothing was offered.
    """
    candidates = [Candidate(offer, option) for offer in offers for option in offer.options]
    enough = [c for c in candidates if clears(c.option.power)]
    if enough:
        return min(enough, key=lambda c: c.option.price)
    return max(candidates, key=lambda c: (relief(request, c.option.power), -c.option.price), default=None)
