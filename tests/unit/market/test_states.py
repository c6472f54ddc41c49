"""Life cycles: every state is reached by some trace, and what a trace shows is a way through the table."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
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


class Watch:
    """Sees one message in one book move, each time by a transition that the table holds."""

    def __init__(self, market: Market, party: Any, message: Any) -> None:
        self.market, self.party, self.message = market, party, message
        self.at = S.SENT

    def sees(self, after: TradeState) -> None:
        assert state(self.market, self.party, self.message) is after
        moves = {(t.before, t.after) for t in cycle_of(self.message).transitions}
        assert (self.at, after) in moves
        self.at = after


def spoken(market: Market, party: Any, verb: str, **words: Any) -> Any:
    """Said, and not answered yet."""
    message = party.compose(verb, **words)
    said(party.book, message)
    return message


def test_answers_that_come_after_the_end() -> None:
    market = Market()
    request = (market.prognosis(), market.request())[1]
    words = {"request": request.head.message_id}
    option = {"isps": flat(-5001, 41, 4), "min_activation": "0.50"}
    late, gone = [
        spoken(market, market.agr, "offer", **words, options=[option | {"price": price}]) for price in ("5", "6")
    ]
    market.agr.say("revoke", offer=gone.head.message_id)
    Watch(market, market.agr, gone).sees(S.REVOKED)
    market.later(hours=3)
    expired, revoked = Watch(market, market.agr, late), Watch(market, market.agr, gone)
    revoked.at = S.REVOKED
    expired.sees(S.EXPIRED)
    for offer in (late, gone):
        refuse(market.agr, offer)
    expired.sees(S.REJECTED)
    revoked.sees(S.REJECTED)


def test_a_revocation_that_crosses_or_comes_late() -> None:
    market = Market()
    request = (market.prognosis(), market.request())[1]
    crossed, late = market.offer(request), market.offer(request, price="3")
    sold, old = Watch(market, market.dso, crossed), Watch(market, market.dso, late)
    sold.at = old.at = S.ACCEPTED
    order = spoken(market, market.dso, "order", offer=crossed.head.message_id)
    sold.sees(S.ORDERING)
    back = [market.agr.compose("revoke", offer=offer.head.message_id) for offer in (crossed, late)]
    refuse(market.dso, order)
    sold.sees(S.UNSOLD)
    heard(market.dso.book, back[0], market.clock.at)
    sold.sees(S.REVOKED)
    market.later(hours=3)
    old.sees(S.EXPIRED)
    heard(market.dso.book, back[1], market.clock.at)
    old.sees(S.REVOKED)


def test_what_a_newer_message_replaced_may_still_be_refused_ordered_or_expire() -> None:
    market = Market()
    day = DAY.isoformat()
    prognosis = spoken(market, market.agr, "prognosis", period=day, isps=flat(1))
    market.prognosis()
    request = spoken(market, market.dso, "request", period=day, isps=[_isp(41)])
    bought, open_ = market.request(), market.dso.say("request", market.agr, period=day, isps=[_isp(45)])
    offer = market.offer(bought)
    reserve = spoken(market, market.dso, "reserve", contract="c1", period=day, isps=flat(-9, 41, 1))
    market.dso.say("reserve", market.agr, contract="c1", period=day, isps=flat(-8, 41, 1))
    for old in (request, bought, open_):
        market.dso.say("request", market.agr, period=day, isps=[_isp(42)], revises=old.head.message_id)
    watched = {
        name: Watch(market, party, message)
        for name, party, message in (
            ("prognosis", market.agr, prognosis),
            ("request", market.dso, request),
            ("open", market.dso, open_),
            ("reserve", market.dso, reserve),
        )
    }
    for watch in watched.values():
        watch.sees(S.SUPERSEDED)
    sold = Watch(market, market.dso, bought)
    sold.at = S.OFFERED
    sold.sees(S.SUPERSEDED)
    market.order(offer)
    sold.sees(S.ORDERED)
    market.later(hours=3)
    watched["open"].sees(S.EXPIRED)
    refuse(market.agr, prognosis)
    watched["prognosis"].sees(S.REJECTED)
    market.later(days=2)
    watched["reserve"].sees(S.EXPIRED)
    watched["request"].sees(S.EXPIRED)
    for message, name in ((request, "request"), (reserve, "reserve")):
        refuse(market.dso, message)
        watched[name].sees(S.REJECTED)


def test_metering_and_settlement_replaced_before_they_were_answered() -> None:
    market = Market()
    market.order((market.prognosis(), market.offer(market.request()))[1])
    market.later(days=2)
    profiles = [{"kind": "Power", "values": ["15"] * 96}]
    metering = spoken(market, market.agr, "metering", connection=ean(7), period=DAY.isoformat(), profiles=profiles)
    market.metering(connection=ean(7))
    settlement = spoken(market, market.dso, "settle", first=DAY.isoformat())
    market.metering("17", connection=ean(7))
    market.dso.say("settle", market.agr, first=DAY.isoformat())
    for party, message in ((market.agr, metering), (market.dso, settlement)):
        watch = Watch(market, party, message)
        watch.sees(S.SUPERSEDED)
        refuse(party, message)
        watch.sees(S.REJECTED)


def test_whatever_is_refused_at_once_is_rejected() -> None:
    market, day = Market(), DAY.isoformat()
    request = (market.prognosis(), market.request())[1]
    option = {"isps": flat(-5001, 41, 4), "price": "9"}
    agr, dso = market.agr, market.dso
    messages = [
        (agr, spoken(market, agr, "prognosis", period=day, isps=flat(7))),
        (dso, spoken(market, dso, "request", period=day, isps=[_isp(60)])),
        (agr, spoken(market, agr, "offer", request=request.head.message_id, options=[option])),
        (dso, spoken(market, dso, "reserve", contract="c1", period=day, isps=flat(-9, 41, 1))),
    ]
    market.order(market.offer(request))
    market.later(days=2)
    assert [state(market, *message) for message in messages] == [S.SENT, S.EXPIRED, S.EXPIRED, S.EXPIRED]
    profiles = [{"kind": "Power", "values": ["15"] * 96}]
    messages.append((agr, spoken(market, agr, "metering", connection=ean(7), period=day, profiles=profiles)))
    market.metering(connection=ean(8))
    messages.append((dso, spoken(market, dso, "settle", first=day)))
    for party, message in messages:
        refuse(party, message)
        watch = Watch(market, party, message)
        watch.sees(S.REJECTED)


def test_orders_and_revocations_that_overtake_the_answer_to_the_offer() -> None:
    market = Market()
    request = (market.prognosis(), market.request())[1]
    offers = []
    for price in ("5", "6"):
        option = {"isps": flat(-5001, 41, 4), "price": price}
        offers.append(spoken(market, market.agr, "offer", request=request.head.message_id, options=[option]))
        heard(market.dso.book, offers[-1], market.clock.at)
    bought, crossed = offers
    order = spoken(market, market.dso, "order", offer=bought.head.message_id)
    heard(market.agr.book, order, market.clock.at)
    record = market.agr.book.record(bought.head.message_id)
    assert record is not None
    way = [(t.before, t.after) for t in steps(Facts(market.agr.book, market.clock.at), record)[1:]]
    assert way == [(S.SENT, S.ORDERING), (S.ORDERING, S.ORDERED)]
    back = market.agr.compose("revoke", offer=crossed.head.message_id)
    watch = Watch(market, market.dso, crossed)
    watch.sees(S.ACCEPTED)
    spoken(market, market.dso, "order", offer=crossed.head.message_id)
    watch.sees(S.ORDERING)
    heard(market.dso.book, back, market.clock.at)
    watch.sees(S.REVOKED)
    first = market.agr.say("offer", market.dso, request=request.head.message_id, options=[option | {"price": "7"}])
    watch = Watch(market, market.agr, first)
    watch.sees(S.ACCEPTED)
    market.agr.say("revoke", market.dso, offer=first.head.message_id)
    watch.sees(S.REVOKED)


def test_requests_run_out_with_and_without_offers() -> None:
    market = Market()
    market.prognosis()
    asked, silent = market.request(), market.dso.say("request", market.agr, period=DAY.isoformat(), isps=[_isp(45)])
    unanswered = spoken(market, market.dso, "request", period=DAY.isoformat(), isps=[_isp(44)])
    heard(market.agr.book, unanswered, market.clock.at)
    market.offer(asked)
    offered = market.offer(unanswered)
    watches = [Watch(market, market.dso, m) for m in (asked, silent, unanswered)]
    for watch, before in zip(watches, (S.OFFERED, S.ACCEPTED, S.OFFERED), strict=True):
        watch.at = before if watch.message is asked else S.SENT
        if watch.message is not asked:
            watch.sees(before)
    reservation = spoken(market, market.dso, "reserve", contract="c1", period=DAY.isoformat(), isps=flat(-9, 41, 1))
    watches.append(Watch(market, market.dso, reservation))
    market.later(days=2)
    for watch in watches:
        watch.sees(S.EXPIRED)
    assert state(market, market.agr, offered) is S.EXPIRED


def test_orders_settled_without_metering_and_settled_again() -> None:
    market = Market()
    order = market.order((market.prognosis(), market.offer(market.request()))[1])
    market.later(days=2)
    metering = market.metering()
    settlements = [market.dso.compose("settle", first=DAY.isoformat())]
    bare = Market()  # an aggregator that metered nothing
    bare.order((bare.prognosis(), bare.offer(bare.request()))[1])
    bare.later(days=2)
    watch = Watch(bare, bare.agr, order)
    watch.at = S.ACCEPTED
    watch.sees(S.DELIVERED)
    for n, verdict in enumerate(("Accepted", "Disputed: x", "Accepted")):
        about = replace(settlements[0].head, message_id=f"settlement-{n}")
        row = (order.order_reference, verdict)
        again = replace(settlements[0], head=about)
        heard(bare.agr.book, again, bare.clock.at, judgement=Judgement(details=(row,)))
        watch.sees(S.SETTLED if verdict == "Accepted" else S.DISPUTED)
        if n == 0:
            first = Watch(bare, bare.agr, again)
            first.sees(S.ACCEPTED)
    first.sees(S.SUPERSEDED)
    other = Watch(bare, bare.agr, order)
    other.at = S.DELIVERED
    heard(
        bare.agr.book,
        replace(settlements[0], head=replace(settlements[0].head, message_id="last")),
        bare.clock.at,
        judgement=Judgement(details=((order.order_reference, "Disputed: y"),)),
    )
    other.sees(S.DISPUTED)
    replaced = Watch(market, market.agr, metering)
    replaced.sees(S.ACCEPTED)
    market.metering("16")
    replaced.sees(S.SUPERSEDED)


def test_what_a_newer_message_replaced_is_refused_in_time() -> None:
    market, day = Market(), DAY.isoformat()
    request = spoken(market, market.dso, "request", period=day, isps=[_isp(41)])
    market.dso.say("request", market.agr, period=day, isps=[_isp(42)], revises=request.head.message_id)
    reserve = spoken(market, market.dso, "reserve", contract="c1", period=day, isps=flat(-9, 41, 1))
    market.dso.say("reserve", market.agr, contract="c1", period=day, isps=flat(-8, 41, 1))
    for message in (request, reserve):
        watch = Watch(market, market.dso, message)
        watch.sees(S.SUPERSEDED)
        refuse(market.dso, message)
        watch.sees(S.REJECTED)
