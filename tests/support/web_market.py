"""A trade of one DSO with two aggregators, really made by hand (`support.byhand`), for the pages' tests."""

from __future__ import annotations

from datetime import date
from typing import Any

from support.byhand import DAY, Market, Party, flat
from support.market import AGR, AGR2, CRO, DSO, P1, P2, ean, head

from datamodels import (
    AgrPortfolioUpdate,
    ConnectionPeriod,
    DsoPortfolioUpdate,
    PointPeriod,
    RedispatchBy,
    encode,
)
from interop.commonreference.register import Register
from interop.effects import Put
from interop.market import board
from interop.market.book import Record
from interop.market.machine import DISPOSITION, kind_of

__all__ = ["POINT", "Sample", "register"]

POINT = P1


class Sample:
    """What a party of that role would see; the aggregator sees its own side only."""

    def __init__(self, role: str = "DSO") -> None:
        market = Market()
        second = Party(AGR2, [DSO, CRO], market.clock)
        market.dso.context.participants[AGR2] = market.cro.context.participants[AGR2]  # type: ignore[index]
        self.clock, day = market.clock, DAY.isoformat()
        for agr, kw in ((market.agr, 60), (second, 42)):
            agr.say("prognosis", market.dso, period=day, isps=[*flat(kw * 1000, 1, 40), *flat(kw * 1500, 41, 56)])
        wanted = [
            {"start": 36, "duration": 5, "min_power_w": -4000, "max_power_w": 9000, "disposition": "Available"},
            {"start": 41, "duration": 6, "min_power_w": -26000, "max_power_w": -12000},
            {"start": 47, "duration": 4, "min_power_w": -20000, "max_power_w": -8000},
            {"start": 51, "duration": 8, "min_power_w": -3000, "max_power_w": 11000, "disposition": "Available"},
        ]
        for agr, price in ((market.agr, 9), (second, 7)):
            under = {"contract": "c1"} if agr is market.agr else {}
            request = market.dso.say("request", agr, peer=agr.context.domain, period=day, isps=wanted, **under)
            full = [*flat(-18000, 41, 6), *flat(-11000, 47, 4), *flat(6000, 52, 6)]
            less = [*flat(-13000, 41, 6), *flat(-8000, 47, 4)]
            options = [
                {"isps": full, "price": f"{price}.4000", "min_activation": "0.50"},
                {"isps": less, "price": f"{price - 3}.1500"},
            ]
            offer = agr.say("offer", market.dso, request=request.head.message_id, options=options)
            factor = "0.75" if price == 7 else "1.00"
            market.dso.say("order", agr, offer=offer.head.message_id, option="1", factor=factor)
        third = market.agr.say(
            "offer", market.dso, period=day, options=[{"isps": flat(-5000, 60, 4), "price": "4.0000"}]
        )
        market.agr.say("revoke", market.dso, offer=third.head.message_id)
        market.later(days=2)
        for n, (agr, kw) in enumerate(((market.agr, 75), (second, 48)), 1):
            values = [kw - 0.25 * (k % 7) - (5 if k > 43 else 0) for k in range(96)]
            profiles = [{"kind": "Power", "values": values}]
            agr.say("metering", market.dso, connection=ean(n), period=day, profiles=profiles)
            settlement = market.dso.say("settle", agr, peer=agr.context.domain, first=day)
            if n == 2:
                row = settlement.rows[0].order_reference
                why = "Disputed: ISP 44: baseline 63000 W, ordered -13500 W, measured 47750 W give 13500 W delivered"
                market.dso.book.apply([Put(DISPOSITION, settlement.head.message_id, {row: why})])
        self.party = {"DSO": market.dso, "AGR": market.agr, "CRO": market.cro}[role]

    @property
    def records(self) -> list[Record]:
        return self.party.book.records()

    def places(self) -> list[dict[str, Any]]:
        return board.places(self.party.book, self.clock.at)

    def place(self, point: str, day: date) -> dict[str, Any] | None:
        found = board.place(self.party.book, self.party.context.terms, point, day, self.clock.at)
        return found if found["prognoses"] else None

    def settlements(self) -> list[dict[str, Any]]:
        return board.settlements(self.party.book, self.party.context.terms, self.clock.at)

    def messages(self) -> list[dict[str, Any]]:
        """Rows as `Views.messages` has them."""
        return [
            {
                "direction": str(record.direction),
                "adapter": "uftp",
                "peer": record.peer,
                "kind": kind_of(record.message),
                "message_id": record.message.head.message_id,
                "conversation_id": record.message.head.conversation_id,
                "at": record.message.head.created.isoformat(),
                "accepted": record.accepted,
                "reasons": [],
                "signature": "ok",
                "message": encode(record.message),
            }
            for record in self.records
        ]


def register(*, named: bool) -> dict[str, Any]:
    """Two congestion points; some connections that nobody represents, and one at no congestion point."""
    begin, end = date(2030, 1, 1), date(2030, 12, 31)
    stays = [ConnectionPeriod(ean(n), begin, end) for n in range(1, 10)]
    points = (
        PointPeriod(P1, begin, None, True, RedispatchBy.AGR, tuple(stays[:5])),
        PointPeriod(P2, begin, end, False, RedispatchBy.DSO, tuple(stays[5:8])),
    )
    reference = Register()
    reference.apply(DSO, DsoPortfolioUpdate(head(DSO, CRO, "u1"), "Europe/Amsterdam", points), DAY)
    for agr, theirs in ((AGR, stays[:4]), (AGR2, stays[5:])):
        update = AgrPortfolioUpdate(head(agr, CRO, f"u {agr}"), "Europe/Amsterdam", tuple(theirs))
        reference.apply(agr, update, DAY)
    found = reference.summary(DAY)
    for point in found["points"] if named else []:
        seen = reference.dso_view(point["address"], "", DAY).connections
        point["named"] = [{"address": c.address, "agr": c.agr} for c in seen]
    return found
