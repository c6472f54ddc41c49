"""The desk of a party whose decisions are made elsewhere: it judges and answers what comes, by the rules of the market,
and remembers it. What it says is said with `gridparley uftp send`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from interop.desk import DeskContext
from interop.market.desk import MarketDesk, read_options

__all__ = ["ManualDesk", "build"]


class ManualDesk(MarketDesk):
    """Nothing is ever due."""

    async def work(self, now: datetime) -> None:
        return None


@dataclass(frozen=True, slots=True)
class _NoOptions:
    pass


def build(options: Mapping[str, Any], context: DeskContext) -> ManualDesk:
    """The desk; ValueError for any option."""
    read_options(_NoOptions, options)
    return ManualDesk(context)
