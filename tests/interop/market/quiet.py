"""A desk that takes and answers messages by the market's rules and never speaks by itself: for tests that speak for it.

Installed as a plug-in (entry point `quiet` of `gridparley.desks`) in the server processes that the tests start.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from adapters.ports import Interpretation
from datamodels import Settlement
from interop.desk import DeskContext
from interop.market.desk import MarketDesk
from interop.market.machine import Judgement


class QuietDesk(MarketDesk):
    def judge(self, peer: str, interpretation: Interpretation, now: datetime) -> Judgement:
        """Rows of a settlement are accepted as they are."""
        if not isinstance(interpretation.message, Settlement):
            return Judgement()
        return Judgement(details=tuple((row.order_reference, "Accepted") for row in interpretation.message.rows))

    async def work(self, now: datetime) -> None:
        """Nothing is ever due."""


def build(options: Mapping[str, Any], context: DeskContext) -> QuietDesk:
    return QuietDesk(context)
