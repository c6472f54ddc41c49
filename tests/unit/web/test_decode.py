"""Every kind of market message in people's words, and nothing of what is personal."""

from __future__ import annotations

import typing
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from support.byhand import DAY, Market, flat
from support.market import P1, TODAY, ean

from datamodels import (
    Acknowledgement,
    AgrView,
    ConnectedAt,
    DsoView,
    Head,
    MarketMessage,
    PointView,
    PortfolioView,
    RedispatchBy,
    encode,
)
from interop.web.decode import Decoded, decoded

ABOUT = Head("a", "b", "m", "c", datetime(2030, 6, 1, tzinfo=UTC))
ANSWER = Acknowledgement(ABOUT, "x", "AgrPortfolioQuery", True, details=(("order-1", "Disputed: no"),))


def said() -> list[MarketMessage]:
    """One message of each kind."""
    market, day = Market(), DAY.isoformat()
    stay = {"address": ean(1), "start": TODAY.isoformat()}
    prognosis, request = market.prognosis(), market.request()
    offer, spare = market.offer(request), market.offer(request, price="3")
    order = market.order(offer, factor="0.50")
    first = [
        prognosis,
        request,
        offer,
        market.agr.say("revoke", market.dso, offer=spare.head.message_id),
        order,
        market.dso.say("reserve", market.agr, contract="c1", period=day, isps=flat(-1000, 41, 2)),
        market.agr.say("publish", market.cro, connections=[stay]),
        market.dso.say("publish", market.cro, points=[stay | {"address": P1, "connections": [stay]}]),
        market.agr.say("query", market.cro, period=day),
        market.dso.say("query", market.cro, period=day),
    ]
    market.later(days=2)
    return [*first, market.metering(connection=ean(1)), market.dso.say("settle", market.agr, first=day), ANSWER]


def read(message: Any) -> Decoded:
    return decoded({"message": encode(message)})


def test_every_kind_of_message_is_told_in_words() -> None:
    messages = said()
    assert {type(m) for m in messages} >= {
        c for c in typing.get_args(MarketMessage) if c.__name__ != "ContractSettlement"
    }
    for message in messages:
        told = read(message)
        assert told.gist or told.fields, type(message).__name__
        assert all(value not in (None, "") for _, value in told.fields)
        assert all(len(row) == len(table.columns) for table in told.tables for row in table.rows)
        assert ean(1)[4:] not in repr(told), f"{type(message).__name__} names a connection"


def test_figures_are_right() -> None:
    by_kind = {type(m).__name__: read(m) for m in said()}
    assert by_kind["FlexRequest"].gist == "2030-06-02, ISPs 41\u201344"
    assert by_kind["FlexOffer"].gist == "\u22125.00 kWh for 2.5000 EUR"
    assert by_kind["FlexOrder"].gist == "\u22122.50 kWh for 1.2500 EUR, 0.50 of the option"
    assert dict(by_kind["Prognosis"].fields)["Net energy"] == "480.00 kWh"
    assert by_kind["FlexOrder"].tables[0].rows == (("41 to 44", "\u22122.500"),)
    assert by_kind["Settlement"].tables[0].rows[0] == ("41", "20.000", "\u22122.500", "18.000", "\u22122.000", "0.500")
    assert dict(by_kind["Metering"].fields)["Connection"] == "… 0001"


@pytest.mark.parametrize(
    ("view", "told"),
    [
        (
            AgrView("UTC", DAY, (PointView(P1, "dso", True, RedispatchBy.AGR, (ean(1), ean(2))),), (ean(3),)),
            {P1: "2 own connections", "At no congestion point": 1},
        ),
        (
            DsoView("UTC", DAY, P1, (ConnectedAt(ean(1), "agr"), ConnectedAt(ean(2)), ConnectedAt(ean(3), "agr"))),
            {"Represented by agr": "2 connections", "Represented by nobody": "1 connections"},
        ),
    ],
)
def test_views_are_counted(view: PortfolioView, told: dict[str, Any]) -> None:
    assert dict(read(Acknowledgement(ABOUT, "x", "Query", True, view=view)).fields) == told


@pytest.mark.parametrize("content", [None, "text", {}, {"$": "Nothing"}, {"$": "FlexRequest"}, {"$": "Head"}])
def test_what_is_no_message_is_left_alone(content: Any) -> None:
    assert decoded({"message": content}) == Decoded()
    assert decoded({"message": encode(Decimal(1))}) == Decoded()
