"""The trade over HTTP: where it stands, and which offers may be taken back."""

from __future__ import annotations

import asyncio
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

import pytest

from adapters.ports import Direction
from datamodels import (
    Disposition,
    FlexOffer,
    FlexOrder,
    FlexRequest,
    MarketCalendar,
    OfferRevocation,
    RequestIsp,
    Settlement,
    SettlementIsp,
    SettlementRow,
)
from interop.effects import Put
from interop.market.ids import head


async def note(server: Any, *documents: Any) -> None:
    """Put documents into the store and the desk's book."""
    effects = [Put(*document) for document in documents]
    server.desk.book.apply(effects)
    await server.hub.do(effects)


def order(offer: FlexOffer, kit: Any) -> FlexOrder:
    option = offer.options[0]
    about = head(kit.dso, kit.agr, kit.now, "order")
    return FlexOrder(about, offer.congestion_point, "o-1", option.price, "EUR", option.power, offer.head.message_id)


async def test_the_trade_with_its_verdicts_and_money(serve: Any, ask: Any, kit: Any) -> None:
    server = await serve()
    isps = (RequestIsp(40, 1, Disposition.REQUESTED, -4000, 0),)
    day, expires = date(2026, 5, 21), kit.now + timedelta(hours=1)
    request = FlexRequest(
        head(kit.dso, kit.agr, kit.now, "request"), kit.point, MarketCalendar(), day, 1, expires, isps
    )
    offer = kit.offer()
    bought = order(offer, kit)
    row = SettlementRow(
        *("o-1", kit.point, day, Decimal("2.50"), Decimal("0.50"), Decimal("2.00")),
        (SettlementIsp(40, 0, -4000, -3000, -3000, 1000),),
    )
    settlement = Settlement(head(kit.dso, kit.agr, kit.now, "settlement"), day, day, "EUR", (row,))
    heard = Direction.IN
    await note(
        server,
        kit.said(request, direction=heard),
        kit.said(offer),
        kit.said(bought, direction=heard),
        kit.said(settlement, direction=heard, accepted=None),
        ("dispatched", "o-1", True),
    )
    status, trade = await ask(server, "GET", "flex")
    assert status == 200
    told = {name: len(rows) for name, rows in trade.items() if rows}
    assert told == dict.fromkeys(("requests", "offers", "orders", "settlements"), 1)
    assert trade["requests"][0]["requested"] == [40]
    assert trade["offers"][0]["state"] == "ORDERED"
    assert trade["offers"][0]["options"] == [
        {"reference": "1", "price": "2.50", "price_per_kwh": "2.5000", "energy_kwh": -1.0, "min_activation": "1.00"}
    ]
    bought = trade["orders"][0]
    assert (bought["price"], bought["state"], bought["events"]) == (
        "2.50",
        "DISPATCHED",
        ["sent", "accepted", "dispatched"],
    )
    settled = trade["settlements"][0]
    assert (settled["accepted"], settled["net"], settled["rows"][0]["delivered_share"]) == (None, "2.00", 0.75)


async def test_an_offer_is_taken_back_once_and_for_good(serve: Any, ask: Any, kit: Any) -> None:
    server = await serve()
    offer = kit.offer()
    await note(server, kit.said(offer))
    id = offer.head.message_id
    status, answer = await ask(server, "POST", "flex/revoke", json={"offer": id})
    assert (status, answer["peer"]) == (201, kit.dso)
    for _ in range(500):
        if server.adapters["wire"].sent:
            break
        await asyncio.sleep(0.005)
    (sent,) = server.adapters["wire"].sent
    assert isinstance(sent, OfferRevocation)
    assert (sent.offer, sent.head.conversation_id) == (id, offer.head.conversation_id)
    again = await serve()
    known = again.desk.book.find(id)
    assert known.revoked, "an order that comes now is refused, also after a restart"
    assert (await ask(again, "GET", "flex"))[1]["offers"][0]["state"] == "REVOKED"
    status, problem = await ask(again, "POST", "flex/revoke", json={"offer": id})
    assert (status, problem["detail"]) == (409, f"offer {id} is revoked already")


@pytest.mark.parametrize("why", ["is ordered", "has expired (2026-05-20 10:00Z)", "was rejected"])
async def test_an_offer_that_is_past_taking_back(serve: Any, ask: Any, kit: Any, why: str) -> None:
    server = await serve()
    offer = kit.offer(expires=kit.now if "expired" in why else kit.now + timedelta(hours=1))
    documents = [kit.said(offer, accepted="rejected" not in why)]
    if "ordered" in why:
        documents.append(kit.said(order(offer, kit), direction=Direction.IN))
    await note(server, *documents)
    status, problem = await ask(server, "POST", "flex/revoke", json={"offer": offer.head.message_id})
    assert status == 409
    assert why in problem["detail"]
    assert not server.desk.book.record(offer.head.message_id).revoked


async def test_only_the_aggregators_own_offers_can_be_taken_back(serve: Any, ask: Any, kit: Any) -> None:
    server = await serve()
    assert (await ask(server, "POST", "flex/revoke", json={"offer": "unknown"}))[0] == 404
    offer = kit.offer()
    await note(server, kit.said(offer, direction=Direction.IN))
    assert (await ask(server, "POST", "flex/revoke", json={"offer": offer.head.message_id}))[0] == 404
    server = await serve(role="DSO")
    status, problem = await ask(server, "POST", "flex/revoke", json={"offer": offer.head.message_id})
    assert (status, "only an aggregator" in problem["detail"]) == (409, True)
    server = await serve("none")
    assert (await ask(server, "GET", "flex"))[0] == 409


async def test_an_offer_stands_where_its_revocation_cannot_be_sent(serve: Any, ask: Any, kit: Any) -> None:
    server = await serve()
    offer = kit.offer()
    stranger = FlexOffer(
        head(kit.agr, "nobody.example.org", kit.now, "offer"), kit.point, offer.expires, "EUR", offer.options
    )
    await note(server, kit.said(stranger))
    id = stranger.head.message_id
    status, problem = await ask(server, "POST", "flex/revoke", json={"offer": id})
    assert (status, "no such peer" in problem["detail"]) == (409, True)
    assert not server.desk.book.record(id).revoked


async def test_commands_make_messages_once_and_their_problems_are_told(serve: Any, ask: Any, kit: Any) -> None:
    server = await serve()
    words = {"period": "2026-05-21", "isps": [{"start": 1, "duration": 96, "power_w": 5000}]}
    for path, odd, expected, word in (
        ("prognosis", {"period": "soon"}, 422, "is not a date"),
        ("prognosis", {"isp": []}, 422, "did you mean 'isps'?"),
        ("prognosis", {"isps": [{"start": 1, "power_w": 0}]}, 422, "are missing"),
        ("prognosis", {"congestion_point": "x"}, 404, "no congestion point 'x'"),
        ("prognoses", {}, 404, "did you mean 'prognosis'?"),
        ("request", {"isps": []}, 409, "only a DSO asks for flexibility"),
    ):
        status, problem = await ask(server, "POST", f"flex/{path}", json=words | odd)
        assert (status, word in problem["detail"]) == (expected, True), problem
    assert server.desk.book.records() == []
    first, second = [await ask(server, "POST", "flex/prognosis", json=words) for _ in range(2)]
    assert (first[0], second[0], second[1]) == (201, 200, first[1] | {"new": False})
    assert (first[1]["kind"], first[1]["peer"], first[1]["message"]["revision"]) == ("Prognosis", kit.dso, 1)
    again = await serve()
    assert [r.message.head.message_id for r in again.desk.book.records()] == [first[1]["id"]]
