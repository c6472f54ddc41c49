"""The aggregator's trade on one day: requests answered, relief offered unasked, and offers taken back that cannot be
kept. Derived from the book, like all that a desk does."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta

from datamodels import FlexOffer, FlexRequest, IspSeries, OfferOption, Prognosis
from interop.aggregator.agreements import Agreements
from interop.aggregator.day import Day
from interop.aggregator.offering import Terms, ahead, compose, covers, open_offers, overlapping, relief, unanswered
from interop.effects import Alarm, Log, Put
from interop.market.ids import head
from interop.market.reserve import held, obligation
from interop.market.revoke import why_not

__all__ = ["Trade"]

_SHORT_SHARE = 0.01
_SHORT_W = 100.0


class Trade:
    """Offers of one day."""

    def __init__(self, day: Day) -> None:
        self.day = day
        self.desk = day.desk
        self.context = day.context
        self._checked: dict[str, tuple[int, frozenset[object]]] = {}

    async def work(self, now: datetime) -> None:
        await self._take_back(now)
        for request in unanswered(self.day.agreed(), now):
            if self.desk.book.document("declined", self._subject(request)) is None:
                await self._answer(request, now)
        await self._offer_unasked(now)

    # --- asked ----------------------------------------------------------------------------

    def _subject(self, request: FlexRequest) -> str:
        """What the next offer for a request is about: the request, and how often it was answered before."""
        before = len(self.day.agreed().offers_for(request))
        return request.head.message_id if before == 0 else f"{request.head.message_id}/{before}"

    async def _answer(self, request: FlexRequest, now: datetime) -> None:
        agreed = self.day.agreed()
        baseline = agreed.asked_of[agreed.requests.index(request)]
        if baseline is None:
            return
        asked = request.head
        subject = self._subject(request)
        options = await self._options(agreed, request, baseline)
        about = head(asked.recipient, asked.sender, now, "offer", subject, conversation=asked.conversation_id)
        if not options:
            await self._decline(subject, request)
            return
        owed = self._owed(request)
        await self._put_in_place(compose(about, request, baseline, options, self._terms.valid, owed))
        if owed is not None and not covers(options[0].power, owed):
            await self.context.do([self._short(request)])

    async def _decline(self, subject: str, request: FlexRequest) -> None:
        note = Put("declined", subject, True)
        self.desk.book.apply([note])
        effects: list[Put | Log | Alarm] = [note, Log("offer.none", {"request": request.head.message_id})]
        if request.contract is not None:
            effects.append(self._short(request))
        await self.context.do(effects)

    def _short(self, request: FlexRequest) -> Alarm:
        text = f"less can be offered for request {request.head.message_id} than contract {request.contract} owes"
        return Alarm("contract.short", request.head.sender, text)

    def _owed(self, request: FlexRequest) -> IspSeries | None:
        """What the request's contract obliges us to offer."""
        contract = self.context.terms.contract(request.contract) if request.contract else None
        if contract is None:
            return None
        reserved = held(self.desk.book, contract, self.day.calendar, request.congestion_point, request.period)
        return obligation(reserved, request)

    # --- unasked ----------------------------------------------------------------------------

    async def _offer_unasked(self, now: datetime) -> None:
        """Relief for a limit that the own prognosis breaks, once per prognosis, where nobody asked for it in time."""
        options = self.day.options
        agreed = self.day.agreed()
        newest = agreed.prognosis
        if not options.unsolicited_offers or newest is None or agreed.requests or not agreed.answered:
            return
        gate = self.day.the_day_before(self.day.calendar.day_ahead_gate.isoformat())
        if not self.day.the_day_before(options.unsolicited_at) <= now < self.day.span[1]:
            return
        about = self.day.head(now, "unsolicited", newest.head.message_id)
        if self.desk.book.record(about.message_id) or self.desk.book.document("declined", about.message_id):
            return
        first = 1 if now < gate else self.day.tradable(now)
        need = relief(about, agreed, self.day.point, first, gate if now < gate else self.day.span[1])
        found = await self._options(agreed, need, newest) if need is not None else []
        if need is None or not found:
            self.desk.book.apply([Put("declined", about.message_id, True)])
            return
        await self._put_in_place(compose(about, need, newest, found, self._terms.valid, unsolicited=True))

    # --- both ----------------------------------------------------------------------------

    @property
    def _terms(self) -> Terms:
        """How an offer may look here, to this peer."""
        options, point = self.day.options, self.day.point
        valid = options.offer_valid_minutes
        wanted = Terms(
            options.offer_options,
            options.min_activation,
            None if valid is None else timedelta(minutes=valid),
        )
        return wanted.at(point, self.context.participants.get(point.dso))

    async def _options(self, agreed: Agreements, request: FlexRequest, baseline: Prognosis) -> list[OfferOption]:
        """Priced options, counted from the baseline with what was ordered on it, in ISPs that have not begun."""
        ordered, begun = agreed.ordered_on(baseline), self.day.operation.running
        rest = ahead(request, begun, ordered)
        if not rest.requested:
            return []
        return await asyncio.to_thread(
            self.day.planner.options,
            rest,
            baseline.power + ordered,
            self.day.operation.known(),
            await self.day.current_plan(),
            *self.day.allowed(agreed),
            self._terms.options,
            self._terms.min_activation,
        )

    async def _put_in_place(self, offer: FlexOffer) -> None:
        """Send an offer. One that holds the same ISPs and is still open goes: flexibility is not offered twice."""
        now = self.context.clock.now()
        if offer.expires <= now:
            return
        for record, earlier in list(open_offers(self.day.agreed(), self.desk.book, now)):
            if overlapping(earlier, offer.options) and why_not(self.desk.book, record, earlier, now) is None:
                await self.desk.revoke(earlier.head.message_id)
        self._checked[offer.head.message_id] = self.day.operation.stand
        await self.desk.say(offer)

    async def _take_back(self, now: datetime) -> None:
        """Revoke offers that the homes can no longer keep; their requests, if they run, are then answered anew."""
        stand = self.day.operation.stand
        for record, offer in list(open_offers(self.day.agreed(), self.desk.book, now)):
            id = offer.head.message_id
            if self._checked.get(id) == stand or why_not(self.desk.book, record, offer, now) is not None:
                continue
            if not await self._is_kept(offer):
                await self.desk.revoke(id)
                await self.context.do([Log("offer.undeliverable", {"offer": id})])
            self._checked[id] = stand

    async def _is_kept(self, offer: FlexOffer) -> bool:
        """Whether a plan still reaches the fullest option; the others ask for less of the same."""
        option = offer.options[0]
        supposed = self.day.agreed().supposing(offer, option)
        plan = await asyncio.to_thread(
            self.day.planner.repair,
            self.day.operation.known(),
            await self.day.current_plan(),
            *self.day.allowed(supposed),
        )
        short_w = plan.plan.violation_kw[0] * 1000
        return all(short_w[isp - 1] <= max(_SHORT_W, _SHORT_SHARE * abs(power)) for isp, power in option.power)
