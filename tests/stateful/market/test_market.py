"""Whatever is delayed, overtaken, repeated or killed: both sides of each trade end with the same orders and money."""

from __future__ import annotations

import os
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import replace
from datetime import date, timedelta
from decimal import ROUND_HALF_EVEN, Decimal
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from support.bazaar import AGGREGATORS, CALENDAR, CONNECTIONS, CONTRACT, DAYS, PARTIES, TERMS, Bazaar, settlement_of
from support.market import AGR, AGR2, CRO, DSO, P1, point, stay

from adapters.ports import Direction
from datamodels import (
    AgrView,
    Disposition,
    DsoView,
    FlexOffer,
    FlexOrder,
    FlexRequest,
    IspSeries,
    Metering,
    MeteringKind,
    MeterProfile,
    OfferOption,
    OfferRevocation,
    Prognosis,
    RequestIsp,
    Reservation,
    Role,
    Run,
    Settlement,
)
from interop.commonreference.register import Register
from interop.market import portfolio
from interop.market.book import Record
from interop.market.ids import head
from interop.market.machine import DISPOSITION
from interop.market.revoke import revocation

CAMPAIGN = int(os.environ.get("GRIDPARLEY_STATEFUL_EXAMPLES", "0"))
_AGR, _DAY = st.sampled_from(AGGREGATORS), st.sampled_from(DAYS)
_POWER = st.integers(-40_000, 40_000)
_FACTOR = st.integers(25, 100).map(lambda n: Decimal(n) / 100)
_CENTS = Decimal("0.0001")
_LEAST = st.integers(1, 6).map(lambda n: Decimal(n * n) / 36).map(lambda f: f.quantize(Decimal("0.01")))
_CONTRACT = st.sampled_from([(AGR, CONTRACT), (AGR, CONTRACT), (AGR, None), (AGR2, CONTRACT)])
_PRICE = st.integers(0, 200_000).map(lambda n: Decimal(n) / 10_000)


class Market(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.bazaar = Bazaar()

    @initialize(base_w=_POWER)
    def open_the_market(self, base_w: int) -> None:
        """Every day is prognosed and asked about: trade may begin."""
        for agr in AGGREGATORS:
            for day in DAYS:
                self.prognose(agr, day, base_w, 1)
                self.request(agr, day, 10, -30_000, 24)
        self.bazaar.quiet()

    # --- what the post and the clock do -----------------------------------------------------

    @precondition(lambda self: self.bazaar.routes)
    @rule(data=st.data(), count=st.integers(1, 4))
    def deliver(self, data: st.DataObject, count: int) -> None:
        for _ in range(count):
            if self.bazaar.routes:
                self.bazaar.deliver(data.draw(st.sampled_from(self.bazaar.under_way())))

    @precondition(lambda self: self.bazaar.routes)
    @rule(data=st.data())
    def lose_the_receipt(self, data: st.DataObject) -> None:
        self.bazaar.deliver(data.draw(st.sampled_from(self.bazaar.under_way())), answer_lost=True)

    @rule(hours=st.sampled_from([1, 1, 1, 3, 8]))
    def wait(self, hours: int) -> None:
        self.bazaar.clock.at += timedelta(hours=hours)

    @rule(party=st.sampled_from(PARTIES))
    def die_and_come_back(self, party: str) -> None:
        self.bazaar.restart(party)

    @rule()
    def settle_down(self) -> None:
        self.bazaar.quiet()
        self.check_agreement()

    # --- contract and plan ------------------------------------------------------------------

    @rule(agr=_AGR, connections=st.sets(st.integers(1, 4)), points=st.sets(st.integers(1, 4), min_size=1))
    def publish(self, agr: str, connections: set[int], points: set[int]) -> None:
        party, dso, now = self.bazaar.parties[agr], self.bazaar.parties[DSO], self.bazaar.tick()
        self._say(portfolio.due_agr(party.book, party.context, [stay(n) for n in sorted(connections)], now))
        published = [point(P1, *(stay(n) for n in sorted(points)))]
        self._say(portfolio.due_dso(dso.book, dso.context, published, now))

    @rule(agr=_AGR, day=_DAY)
    def ask_the_common_reference(self, agr: str, day: date) -> None:
        party, dso, now = self.bazaar.parties[agr], self.bazaar.parties[DSO], self.bazaar.tick()
        self._say(portfolio.agr_question(party.book, party.context, day, now))
        self._say(portfolio.dso_question(dso.book, dso.context, P1, day, now))

    @rule(day=_DAY, power_w=st.integers(-60_000, 0))
    def reserve(self, day: date, power_w: int) -> None:
        power = IspSeries.from_runs(CALENDAR, day, [Run(10, 6, power_w)])
        self._say(Reservation(self._head(DSO, AGR), P1, CONTRACT, f"r{self.bazaar.count}", power))

    # --- validate and operate ---------------------------------------------------------------

    @rule(agr=_AGR, day=_DAY, base_w=_POWER, jump=st.sampled_from([0, 1, 1, 1, 3]))
    def prognose(self, agr: str, day: date, base_w: int, jump: int) -> None:
        """A prognosis, or its next revision, which includes what was ordered; now and then a revision comes twice."""
        own = [p.revision for p in self.bazaar.book(agr).messages(Prognosis) if p.power.period == day]
        power = IspSeries.of(CALENDAR, day, [base_w] * CALENDAR.isps(day))
        for order in self._accepted(agr, DSO, Direction.IN):
            if order.power.period == day:
                power = power + order.power
        self._say(Prognosis(self._head(agr, DSO), P1, max(own, default=0) + (jump if own else 1), power))

    @rule(agr=_AGR, day=_DAY, first=st.integers(1, 18), power_w=_POWER.filter(bool), hours=st.integers(1, 30))
    def request(self, agr: str, day: date, first: int, power_w: int, hours: int) -> None:
        isp = RequestIsp(first, 4, Disposition.REQUESTED, min(power_w, 0), max(power_w, 0))
        expires = min(self.bazaar.now + timedelta(hours=hours), CALENDAR.end(day, first + 3))
        self._say(FlexRequest(self._head(DSO, agr), P1, CALENDAR, day, 1, expires, (isp,)))

    @precondition(lambda self: self._open_requests())
    @rule(data=st.data(), share=_FACTOR, prices=st.lists(_PRICE, min_size=1, max_size=3), least=_LEAST)
    def offer(self, data: st.DataObject, share: Decimal, prices: list[Decimal], least: Decimal) -> None:
        request = data.draw(st.sampled_from(self._open_requests()))
        agr = request.head.recipient
        isp = request.isps[0]
        wanted = IspSeries.from_runs(
            CALENDAR, request.period, [Run(isp.start, isp.duration, isp.min_power_w or isp.max_power_w)]
        )
        options = tuple(OfferOption(f"o{n}", price, wanted.scaled(share), least) for n, price in enumerate(prices))
        self._offer(agr, request.period, options, request.expires, request)

    @rule(agr=_AGR, day=_DAY, first=st.integers(1, 20), power_w=_POWER.filter(bool), price=_PRICE, least=_LEAST)
    def offer_unasked(self, agr: str, day: date, first: int, power_w: int, price: Decimal, least: Decimal) -> None:
        power = IspSeries.from_runs(CALENDAR, day, [Run(first, 3, power_w)])
        self._offer(agr, day, (OfferOption("only", price, power, least),), CALENDAR.end(day, first + 2), None)

    def _offer(
        self, agr: str, day: date, options: tuple[OfferOption, ...], expires: Any, request: FlexRequest | None
    ) -> None:
        baseline = self._newest_prognosis(agr, day)
        if baseline is None:
            return
        about = self._head(agr, DSO, request.head.conversation_id if request else None)
        asked = request.head.message_id if request else None
        offer = FlexOffer(about, P1, expires, "EUR", options, asked, request is None, prognosis=baseline)
        self._say(offer)

    @precondition(lambda self: self._offers(Direction.OUT, *AGGREGATORS))
    @rule(data=st.data())
    def revoke(self, data: st.DataObject) -> None:
        about = data.draw(st.sampled_from(self._offers(Direction.OUT, *AGGREGATORS))).head
        book, offer = self.bazaar.book(about.sender), about.message_id
        try:
            message = revocation(book, Role.AGR, offer, self.bazaar.tick())
        except ValueError:
            if book.orders(offer):  # a faulty aggregator takes back what is ordered, and must be refused
                late = head(about.sender, DSO, self.bazaar.tick(), self.bazaar.now, conversation=about.conversation_id)
                self._say(OfferRevocation(late, offer))
            return
        revoked = book.with_revocation(offer)
        assert revoked is not None
        self.bazaar.say(message, also=[revoked])

    @precondition(lambda self: self._offers(Direction.IN, DSO))
    @rule(data=st.data(), factor=st.one_of(st.just(Decimal("1.00")), _FACTOR))
    def order(self, data: st.DataObject, factor: Decimal) -> None:
        offer = data.draw(st.sampled_from(self._offers(Direction.IN, DSO)))
        self._order(offer, data.draw(st.sampled_from(offer.options)), factor)

    @precondition(lambda self: self._offers(Direction.IN, DSO))
    @rule(data=st.data(), fault=st.sampled_from(["again", "elsewhere", "power", "price", "factor"]))
    def order_wrongly(self, data: st.DataObject, fault: str) -> None:
        """What a faulty grid operator might do: order twice, of somebody else, more than offered, or for less money."""
        offer = data.draw(st.sampled_from(self._offers(Direction.IN, DSO)))
        option, factor = offer.options[0], Decimal("1.00")
        if fault == "again":
            self._order(offer, option, factor)
        elif fault == "elsewhere":
            other = next(agr for agr in AGGREGATORS if agr != offer.head.sender)
            baseline = self._newest_prognosis(other, option.power.period)
            offer = replace(offer, head=replace(offer.head, sender=other), prognosis=baseline)
        elif fault == "power":
            option = replace(option, power=option.power.map(lambda p: 2 * p))
        elif fault == "price":
            option = replace(option, price=option.price + 1)
        else:
            factor = option.min_activation / 2
        self._order(offer, option, factor.quantize(Decimal("0.01")))

    def _order(self, offer: FlexOffer, option: OfferOption, factor: Decimal) -> None:
        about = self._head(DSO, offer.head.sender, offer.head.conversation_id)
        price = (option.price * factor).quantize(_CENTS, ROUND_HALF_EVEN)
        self._say(
            FlexOrder(
                about,
                P1,
                f"order-{self.bazaar.count}",
                price,
                "EUR",
                option.power.scaled(factor),
                offer.head.message_id,
                option.reference,
                factor,
                prognosis=offer.prognosis,
            )
        )

    @rule(under=_CONTRACT, day=_DAY, power_w=st.integers(-60_000, -1), price=_PRICE)
    def order_directly(self, under: tuple[str, str | None], day: date, power_w: int, price: Decimal) -> None:
        """By contract; now and then by none, or by that of another."""
        agr, contract = under
        baseline = self._newest_prognosis(agr, day)
        if baseline is None:
            return
        power = IspSeries.from_runs(CALENDAR, day, [Run(12, 2, power_w)])
        about = self._head(DSO, agr)
        reference = f"order-{self.bazaar.count}"
        more = {"unsolicited": True, "contract": contract, "prognosis": baseline}
        self._say(FlexOrder(about, P1, reference, price, "EUR", power, **more))

    # --- settle -----------------------------------------------------------------------------

    @rule(agr=_AGR, day=_DAY, noise_w=_POWER)
    def meter(self, agr: str, day: date, noise_w: int) -> None:
        book = self.bazaar.book(agr)
        prognoses = [p for p in book.messages(Prognosis, accepted=True) if p.power.period == day]
        if not prognoses or self.bazaar.now < CALENDAR.day_span(day)[1]:
            return
        revision = sum(m.period == day for m in book.messages(Metering)) + 1
        values = tuple(Decimal(w + noise_w) / 1000 for _, w in prognoses[-1].power)
        profile = MeterProfile(MeteringKind.POWER, "kW", values)
        self._say(Metering(self._head(agr, DSO), CONNECTIONS[agr], CALENDAR, day, revision, (profile,)))

    @rule(agr=_AGR, day=_DAY)
    def settle(self, agr: str, day: date) -> None:
        """A settlement whenever the grid operator could: also while answers are still under way."""
        drawn_up = settlement_of(self.bazaar.book(DSO), DSO, agr, self._head(DSO, agr), day)
        if drawn_up.rows:
            self._say(drawn_up)

    # --- helpers ----------------------------------------------------------------------------

    def _head(self, sender: str, recipient: str, conversation: str | None = None) -> Any:
        self.bazaar.count += 1
        return head(sender, recipient, self.bazaar.tick(), self.bazaar.count, conversation=conversation)

    def _say(self, message: Any) -> None:
        if message is not None:
            self.bazaar.say(message)

    def _accepted(self, domain: str, peer: str, direction: Direction) -> list[FlexOrder]:
        return self.bazaar.orders(domain, peer, direction)

    def _open_requests(self) -> list[FlexRequest]:
        return [
            request
            for agr in AGGREGATORS
            for request in self.bazaar.book(agr).messages(FlexRequest, direction=Direction.IN, accepted=True)
            if request.expires > self.bazaar.now
        ]

    def _offers(self, direction: Direction, *parties: str) -> list[FlexOffer]:
        return [
            offer for party in parties for offer in self.bazaar.book(party).messages(FlexOffer, direction=direction)
        ]

    def _newest_prognosis(self, agr: str, day: date) -> str | None:
        said = [p for p in self.bazaar.book(agr).messages(Prognosis, accepted=True) if p.power.period == day]
        return max(said, key=lambda p: p.revision).head.message_id if said else None

    # --- always -----------------------------------------------------------------------------

    @invariant()
    def no_order_without_offer_or_contract(self) -> None:
        for agr in AGGREGATORS:
            book = self.bazaar.book(agr)
            bought: Counter[str | None] = Counter()
            for order in self._accepted(agr, DSO, Direction.IN):
                if order.unsolicited:
                    contract = TERMS.contract(order.contract or "")
                    assert contract is not None
                    assert (contract.dso, contract.agr) == (DSO, agr)
                    continue
                record = book.record(order.offer or "")
                assert record is not None
                assert (record.direction, record.peer, record.revoked) == (Direction.OUT, DSO, False)
                bought[order.offer] += 1
            assert set(bought.values()) <= {1}

    @invariant()
    def revisions_grow(self) -> None:
        for domain in PARTIES:
            seen: dict[tuple[object, ...], int] = defaultdict(int)
            for message in self._taken(domain):
                match message:
                    case Prognosis():
                        subject = ("prognosis", message.head.sender, message.power.period)
                    case Metering():
                        subject = ("metering", message.ean, message.period)
                    case _:
                        continue
                assert message.revision > seen[subject]
                seen[subject] = message.revision

    def _taken(self, domain: str) -> Iterator[Any]:
        records = self.bazaar.book(domain).records()
        return (r.message for r in records if r.direction is Direction.IN and r.accepted)

    @invariant()
    def no_answer_is_unusable(self) -> None:
        for party in self.bazaar.parties.values():
            assert [
                a for a in party.alarms if a.rule in ("answer.unusable", "message.unusable", "message.conflict")
            ] == []

    # --- when nothing is under way ----------------------------------------------------------

    def check_agreement(self) -> None:
        for domain in PARTIES:
            for record in self.bazaar.book(domain).records():
                if record.direction is Direction.OUT:
                    self._both_agree(domain, record)
        for agr in AGGREGATORS:
            self._same_energy(agr)
            self._same_offers(agr)
        self._views_are_private()

    def _both_agree(self, domain: str, record: Record) -> None:
        theirs = self.bazaar.book(record.peer).record(record.message.head.message_id)
        assert record.accepted is not None, "a message was never answered"
        assert record.accepted == (theirs is not None), (domain, record)
        if theirs is not None:
            assert (theirs.peer, theirs.direction, theirs.accepted) == (domain, Direction.IN, True)
            assert replace(theirs.message, head=record.message.head) == record.message

    def _same_energy(self, agr: str) -> None:
        """What was ordered is the same on both sides, and the stated part of what was offered."""
        bought, sold = self._accepted(DSO, agr, Direction.OUT), self._accepted(agr, DSO, Direction.IN)
        assert [o.head.message_id for o in bought] == [o.head.message_id for o in sold]
        assert sum(o.power.energy_wh() for o in bought) == sum(o.power.energy_wh() for o in sold)
        assert sum(o.price for o in bought) == sum(o.price for o in sold)
        for order in sold:
            record = self.bazaar.book(agr).record(order.offer or "")
            if record is None or not isinstance(record.message, FlexOffer):
                continue
            option = record.message.option(order.option)
            assert option is not None
            assert order.activation_factor >= option.min_activation
            part = {k: round(Decimal(w) * order.activation_factor) for k, w in option.power}
            assert dict(order.power) == part
            assert order.price == (option.price * order.activation_factor).quantize(_CENTS, ROUND_HALF_EVEN)

    def _same_offers(self, agr: str) -> None:
        """An offer that both know is revoked for both or for neither, unless its revocation was refused."""
        refused = {
            r.message.offer
            for r in self.bazaar.book(agr).records()
            if isinstance(r.message, OfferRevocation) and r.accepted is False
        }
        for record in self.bazaar.book(agr).records():
            offer = record.message
            if not isinstance(offer, FlexOffer) or offer.head.message_id in refused:
                continue
            theirs = self.bazaar.book(DSO).record(offer.head.message_id)
            if theirs is not None:
                assert theirs.revoked == record.revoked
                sold, bought = (self.bazaar.book(side).orders(offer.head.message_id) for side in (agr, DSO))
                assert bool(sold) == bool(bought)
                assert not (record.revoked and sold)

    def _views_are_private(self) -> None:
        register = Register.of(self.bazaar.book(CRO))
        assert register.summary(DAYS[0]) == self.bazaar.parties[CRO].desk.register.summary(DAYS[0])  # type: ignore[attr-defined]
        for day in DAYS:
            claimed = {agr: {c.address for u in self._updates(agr) for c in u.connections} for agr in AGGREGATORS}
            for agr in AGGREGATORS:
                view = portfolio.agr_view(self.bazaar.book(agr), day)
                if isinstance(view, AgrView):
                    assert {c for p in view.points for c in p.connections} | set(view.unpublished) <= claimed[agr]
            seen = portfolio.dso_view(self.bazaar.book(DSO), P1, day)
            if isinstance(seen, DsoView):
                for connected in seen.connections:
                    assert connected.agr is None or connected.address in claimed[connected.agr]

    def _updates(self, agr: str) -> Iterator[Any]:
        records = self.bazaar.book(agr).records()
        return (r.message for r in records if type(r.message).__name__ == "AgrPortfolioUpdate" and r.accepted)

    def teardown(self) -> None:
        """The days pass; everything is metered and settled, to the cent."""
        bazaar = self.bazaar
        bazaar.quiet()
        bazaar.clock.at = max(bazaar.now, CALENDAR.day_span(DAYS[-1])[1] + timedelta(hours=1))
        for agr in AGGREGATORS:
            for day in DAYS:
                self.meter(agr, day, 777)
        bazaar.quiet()
        for agr in AGGREGATORS:
            for day in DAYS:
                self.settle(agr, day)
        bazaar.quiet()
        self.check_agreement()
        for agr in AGGREGATORS:
            self._same_money(agr)

    def _same_money(self, agr: str) -> None:
        """The last settlement of each day is accepted, undisputed, and nets what the aggregator counts for itself."""
        own = self.bazaar.book(agr)
        settled = {s.period_start: s for s in own.messages(Settlement, direction=Direction.IN, accepted=True)}
        for day in {order.power.period for order in self._accepted(agr, DSO, Direction.IN)}:
            theirs = settled[day]
            assert set(own.document(DISPOSITION, theirs.head.message_id).values()) == {"Accepted"}
            ours = settlement_of(own, DSO, agr, theirs.head, day)
            assert sum(row.net for row in theirs.rows) == sum(row.net for row in ours.rows)
            assert sum(row.price for row in theirs.rows) <= sum(
                order.price for order in self._accepted(agr, DSO, Direction.IN) if order.power.period == day
            )


def test_both_sides_agree_whatever_happens_to_the_post() -> None:
    run_state_machine_as_test(
        Market,
        settings=settings(
            max_examples=CAMPAIGN or 50,
            stateful_step_count=100 if CAMPAIGN else 50,
            derandomize=not CAMPAIGN,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
