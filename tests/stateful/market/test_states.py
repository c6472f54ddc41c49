"""Random trade by hand, with answers that come late, out of order or never: no message ever goes back."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import Any

import hypothesis.strategies as st
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from support.byhand import DAY, Market, Party, flat
from support.market import answer, heard, said

from adapters.ports import Direction
from datamodels import Acknowledgement, FlexOffer, FlexOrder, FlexRequest, OfferRevocation, Problem, TradeState
from interop.market.book import Book
from interop.market.commands import Unfit
from interop.market.facts import Facts
from interop.market.machine import Judgement
from interop.market.states import cycle_of, steps


@dataclass
class Link:
    """Messages and answers that are under way to one party."""

    to: Party
    waiting: deque[Any] = field(default_factory=deque)


class Trade(RuleBasedStateMachine):
    """Both parties say what comes to mind; the other hears it whenever it does."""

    def __init__(self) -> None:
        super().__init__()
        self.market = Market()
        self.parties = {"dso": self.market.dso, "agr": self.market.agr}
        self.links = {"dso": Link(self.market.dso), "agr": Link(self.market.agr)}
        self.seen: dict[tuple[str, str], TradeState] = {}

    def say(self, who: str, verb: str, **words: Any) -> None:
        party, other = self.parties[who], {"dso": "agr", "agr": "dso"}[who]
        try:
            message = party.compose(verb, **words)
        except (LookupError, ValueError, Unfit):
            return
        if party.book.record(message.head.message_id) is not None:
            return
        if isinstance(message, OfferRevocation) and (revoked := party.book.with_revocation(message.offer)):
            party.book.apply([revoked])
        said(party.book, message)
        self.links[other].waiting.append(message)

    def one_of(self, who: str, cls: type[Any], direction: Direction, pick: int) -> str:
        known = self.parties[who].book.messages(cls, direction=direction)
        return known[pick % len(known)].head.message_id if known else "none"

    @rule(power=st.integers(18_000, 18_003))
    def prognosis(self, power: int) -> None:
        self.say("agr", "prognosis", period=DAY.isoformat(), isps=flat(power))

    @rule(low=st.integers(-9000, -8997), pick=st.integers(0, 9), revise=st.booleans())
    def request(self, low: int, pick: int, revise: bool) -> None:
        wanted = [{"start": 41, "duration": 4, "min_power_w": low, "max_power_w": -4000}]
        revises = self.one_of("dso", FlexRequest, Direction.OUT, pick) if revise else ""
        self.say("dso", "request", period=DAY.isoformat(), isps=wanted, revises=revises)

    @rule(pick=st.integers(0, 9), price=st.integers(1, 5))
    def offer(self, pick: int, price: int) -> None:
        option = {"isps": flat(-5001, 41, 4), "price": price, "min_activation": "0.50"}
        self.say("agr", "offer", request=self.one_of("agr", FlexRequest, Direction.IN, pick), options=[option])

    @rule(pick=st.integers(0, 9))
    def revoke(self, pick: int) -> None:
        self.say("agr", "revoke", offer=self.one_of("agr", FlexOffer, Direction.OUT, pick))

    @rule(pick=st.integers(0, 9), factor=st.sampled_from(["1", "0.50"]))
    def order(self, pick: int, factor: str) -> None:
        self.say("dso", "order", offer=self.one_of("dso", FlexOffer, Direction.IN, pick), factor=factor)

    @rule(power=st.integers(0, 2))
    def reserve(self, power: int) -> None:
        self.say("dso", "reserve", contract="c1", period=DAY.isoformat(), isps=flat(-power, 41, 1))

    @rule(kw=st.sampled_from(["15", "16"]))
    def metering(self, kw: str) -> None:
        profiles = [{"kind": "Power", "values": [kw] * 96}]
        self.say("agr", "metering", connection="ean.871685900012636543", period=DAY.isoformat(), profiles=profiles)

    @rule()
    def settle(self) -> None:
        self.say("dso", "settle", first=DAY.isoformat())

    @rule(who=st.sampled_from(["dso", "agr"]), agrees=st.integers(0, 4), disputes=st.booleans())
    def hear(self, who: str, agrees: int, disputes: bool) -> None:
        """The next message or answer arrives; a message is refused now and then, and where the standard wants it."""
        link, other = self.links[who], {"dso": "agr", "agr": "dso"}[who]
        if not link.waiting:
            return
        message = link.waiting.popleft()
        if isinstance(message, Acknowledgement):
            heard(link.to.book, message, self.market.clock.at)
            return
        problems = () if agrees and self.fits(link.to.book, message) else (Problem("test", "message", "no"),)
        said_to = "Disputed: x" if disputes else "Accepted"
        details = tuple((row.order_reference, said_to) for row in getattr(message, "rows", ()))
        effects = heard(link.to.book, message, self.market.clock.at, judgement=Judgement(problems, details))
        self.links[other].waiting.append(answer(effects))

    def fits(self, book: Book, message: Any) -> bool:
        """R7, R11, R46 and R49: what is revoked, expired or sold is not referred to any more."""
        about = {FlexOrder: "offer", FlexOffer: "request", OfferRevocation: "offer"}.get(type(message))
        if about is None:
            return True
        known = book.record(getattr(message, about))
        sold = {o.offer for o in book.messages(FlexOrder, accepted=True)}
        if known is None or (about == "offer" and known.message.head.message_id in sold):
            return False
        alive = isinstance(known.message, FlexOffer | FlexRequest) and known.message.expires > self.market.clock.at
        return isinstance(message, OfferRevocation) or (alive and not known.revoked)

    @rule(hours=st.sampled_from([1, 24]))
    def later(self, hours: int) -> None:
        self.market.later(hours=hours)

    @invariant()
    def nothing_goes_back(self) -> None:
        for who, party in self.parties.items():
            facts = Facts(party.book, self.market.clock.at)
            for record in party.book.records():
                key, state = (who, record.message.head.message_id), steps(facts, record)[-1].after
                before = self.seen.get(key, TradeState.SENT)
                assert state in cycle_of(record.message).reachable(before), f"{before} -> {state}: {record}"
                self.seen[key] = state

    @invariant()
    def an_offer_is_sold_once(self) -> None:
        for party in self.parties.values():
            sold = [o.offer for o in party.book.messages(FlexOrder, accepted=True)]
            assert len(sold) == len(set(sold))


Trade.TestCase.settings = settings(max_examples=40, stateful_step_count=40, deadline=None)
TestTrade = Trade.TestCase
