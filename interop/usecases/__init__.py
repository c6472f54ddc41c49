"""The three use cases on real grid data: played as simulations, told as reports.

A day is planned on forecasts, lived through with what really came, and compared with what knowing the day would have
given. No process is started and nothing is sent; scenarios of `interop.scenarios` play the same homes over their
protocols.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from interop.usecases import community, home, lvgrid
from interop.usecases.assumptions import Assumptions
from interop.usecases.report import Report

__all__ = ["USE_CASES", "UseCase"]


class Play(Protocol):
    def __call__(self, assumptions: Assumptions, days: int) -> Report: ...


@dataclass(frozen=True, slots=True)
class UseCase:
    """How it is played, and how many days of each season unless told otherwise; `most` is what the data holds."""

    play: Play
    days: int
    most: int


USE_CASES: Mapping[str, UseCase] = {
    "home": UseCase(home.play, days=7, most=14),
    "community": UseCase(community.play, days=2, most=14),
    "lvgrid": UseCase(lvgrid.play, days=3, most=14),
}
