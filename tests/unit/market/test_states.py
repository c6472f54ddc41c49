"""Life cycles: every state is reached by some trace, and what a trace shows is a way through the table."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from support.byhand import DAY, Market, flat
from support.market import AGR, DSO, TODAY, answer, ean, head, heard, said

from datamodels import Acknowledgement, TradeState
from interop.effects import Put
from interop.market.facts import MEANING, Event, Facts
from interop.market.machine import Judgement
from interop.market.states import CYCLES, LifeCycle, cycle_of, state_of, steps

S = TradeState


def state(market: Market, party: Any, message: Any) -> TradeState:
    record = party.book.record(message.head.message_id)
    assert record is not None
    return state_of(party.book, record, market.clock.at)


def refuse(party: Any, message: Any) -> None:
    """The peer refuses what was said."""
    about = message.head
    reply = head(about.recipient, about.sender, f"re-{about.message_id}", about.created)
    heard(party.book, Acknowledgement(reply, about.message_id, type(message).__name__, False, ("no",)))


@pytest.mark.parametrize("cycle", CYCLES, ids=lambda c: c.name)
def test_every_state_is_reachable_and_no_event_is_ambiguous(cycle: LifeCycle) -> None:
    assert cycle.reachable() == cycle.states
    counts = Counter((t.before, t.event) for t in cycle.transitions)
    assert set(counts.values()) == {1}
    assert {t.event for t in cycle.transitions} <= set(MEANING)
    assert all(t.after is not S.SENT for t in cycle.transitions)


def test_a_whole_trade_on_both_sides() -> None:
    market = Market()
    first, prognosis = market.prognosis(1), market.prognosis()
    request = market.request()
    assert state(market, market.agr, request) is S.ACCEPTED
    offer = market.offer(request)
    assert state(market, market.dso, request) is S.OFFERED
    order = market.order(offer, factor="0.50")
    market.agr.book.apply([Put("dispatched", order.order_reference, True)])
    for party in (market.agr, market.dso):
        assert state(market, party, first) is S.SUPERSEDED
        assert state(market, party, prognosis) is S.ACCEPTED
        assert state(market, party, request) is S.ORDERED
        assert state(market, party, offer) is S.PARTLY_ORDERED
    assert (state(market, market.agr, order), state(market, market.dso, order)) == (S.DISPATCHED, S.ACCEPTED)
    market.later(days=2)
    assert state(market, market.dso, order) is S.DELIVERED
    metering = market.metering()
    assert state(market, market.dso, order) is S.METERED
    settlement = market.dso.say("settle", market.agr, first=DAY.isoformat())
    for party in (market.agr, market.dso):
        assert [state(market, party, m) for m in (settlement, order, metering)] == [S.ACCEPTED, S.SETTLED, S.SETTLED]
        record = party.book.record(order.head.message_id)
        assert record is not None
        way = [step.event for step in steps(Facts(party.book, market.clock.at), record)]
        assert [e for e in way if e is not Event.DISPATCHED] == [
            Event.SENT,
            Event.ACCEPTED,
            Event.DELIVERED,
            Event.METERED,
            Event.SETTLED,
        ]


def test_a_disputed_settlement_is_put_right_by_the_next() -> None:
    market = Market()
    order = market.order((market.prognosis(), market.offer(market.request()))[1])
    market.later(days=2)
    first_metering = market.metering()
    disputed = market.dso.compose("settle", first=DAY.isoformat())
    said(market.dso.book, disputed)
    row = (order.order_reference, "Disputed: powers of ISP 41 differ")
    heard(
        market.dso.book, answer(heard(market.agr.book, disputed, market.clock.at, judgement=Judgement(details=(row,))))
    )
    for party in (market.agr, market.dso):
        assert [state(market, party, m) for m in (disputed, order)] == [S.DISPUTED, S.DISPUTED]
    market.metering("17")
    again = market.dso.say("settle", market.agr, first=DAY.isoformat())
    for party in (market.agr, market.dso):
        found = [state(market, party, m) for m in (disputed, again, order, first_metering)]
        assert found == [S.SUPERSEDED, S.ACCEPTED, S.SETTLED, S.SUPERSEDED]


def test_what_is_refused_revoked_expired_or_late() -> None:
    market = Market()
    request = (market.prognosis(), market.request())[1]
    revoked, expired, unsold, whole = [market.offer(request, price=str(n)) for n in range(1, 5)]
    market.agr.say("revoke", market.dso, offer=revoked.head.message_id)
    order = market.dso.compose("order", offer=unsold.head.message_id)
    said(market.dso.book, order)
    assert state(market, market.dso, unsold) is S.ORDERING
    refuse(market.dso, order)
    assert (state(market, market.dso, unsold), state(market, market.dso, order)) == (S.UNSOLD, S.REJECTED)
    market.order(whole)
    reservation = market.dso.say("reserve", market.agr, contract="c1", period=DAY.isoformat(), isps=flat(-9, 41, 1))
    market.later(seconds=1)
    smaller = market.dso.say("reserve", market.agr, contract="c1", period=DAY.isoformat(), isps=flat(0, 41, 1))
    market.later(hours=3)
    late = market.dso.compose("request", period=TODAY.isoformat(), isps=[_isp(60)])
    said(market.dso.book, late)
    assert state(market, market.dso, late) is S.SENT
    market.later(hours=5)
    assert state(market, market.dso, late) is S.EXPIRED
    refuse(market.dso, late)
    assert state(market, market.dso, late) is S.REJECTED
    for party in (market.agr, market.dso):
        assert [state(market, party, m) for m in (revoked, expired, whole)] == [S.REVOKED, S.EXPIRED, S.ORDERED]
        assert [state(market, party, m) for m in (reservation, smaller)] == [S.SUPERSEDED, S.ACCEPTED]
    market.later(days=1)
    market.later(hours=14)
    assert state(market, market.dso, smaller) is S.EXPIRED


def test_reference_messages_are_answered_and_that_is_all() -> None:
    market = Market()
    asked = market.agr.compose("query", period=DAY.isoformat())
    said(market.agr.book, asked)
    assert state(market, market.agr, asked) is S.SENT
    refuse(market.agr, asked)
    assert state(market, market.agr, asked) is S.REJECTED
    connection = {"address": ean(1), "start": TODAY.isoformat()}
    update = market.agr.say("publish", market.cro, connections=[connection])
    assert state(market, market.cro, update) is S.ACCEPTED


def test_answers_have_no_life_cycle() -> None:
    with pytest.raises(KeyError):
        cycle_of(Acknowledgement(head(AGR, DSO, "x"), "y", "FlexRequest", True))


def _isp(start: int) -> dict[str, Any]:
    return {"start": start, "min_power_w": -8000, "max_power_w": -4000}
