"""The grid operator at work: prognoses in, requests out; offers in, orders out; metering in, settlement out.

What is due follows from the book; the modules beside this one say what it is, as pure functions. Power flow and the
choice among offers run outside the event loop, and what they found counts only if the book still says the same.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from datetime import date, datetime
from typing import Any

import numpy as np

from adapters.ports import Interpretation, Received
from datamodels import Acknowledgement, FlexOffer, Prognosis
from interop.desk import DeskContext
from interop.effects import Alarm, Effect, Log
from interop.gridoperator import decide
from interop.gridoperator.account import settlements
from interop.gridoperator.congestion import Assessment
from interop.gridoperator.net import Net
from interop.gridoperator.options import GridOperatorOptions, Operator
from interop.gridoperator.position import Position, positions, validated
from interop.gridoperator.reference import connections, questions
from interop.gridoperator.request import requests, reservations, upcoming
from interop.market.choice import Choice, Room, choose
from interop.market.desk import MarketDesk, read_options
from interop.market.machine import Judgement
from interop.market.portfolio import configured_points, due_dso, reference_operator
from interop.market.reserve import need_of

__all__ = ["GridOperatorDesk", "build"]

_NEGLIGIBLE = 0.001
"""Share of the transformer's rating by which a day may miss the planned reserve without a new round of trade."""


class GridOperatorDesk(MarketDesk):
    """Keeps low-voltage nets within their ratings by asking aggregators for flexibility."""

    def __init__(
        self,
        context: DeskContext,
        options: GridOperatorOptions,
        net: Net | None = None,
        nets: Mapping[str, Net] | None = None,
    ) -> None:
        """`nets` by congestion point; `net` is behind all others that are ours."""
        super().__init__(context)
        self.options = options
        self.operator = Operator(context.domain, context.terms, context.participants, options)
        self._net, self._nets = net, dict(nets or {})
        own = [point.address for point in context.terms.congestion_points if point.dso == context.domain]
        in_nets = {point: found.connections for point in own if (found := self.net(point)) is not None}
        self._points = configured_points(context.terms, context.domain, connections(options, own, in_nets))
        self._published_on: date | None = None
        # Both only save work: by congestion point and day, the last state that was looked at and what was found.
        self._assessed: dict[tuple[str, date], tuple[str, Assessment]] = {}
        self._settled_on: dict[tuple[str, date], str] = {}

    # --- the hub's calls ----------------------------------------------------------------------------

    def load(self, documents: Mapping[tuple[str, str], Any]) -> None:
        super().load(documents)
        self._published_on = None

    def judge(self, peer: str, interpretation: Interpretation, now: datetime) -> Judgement:
        message = interpretation.message
        if isinstance(message, Prognosis):
            return Judgement(details=validated(self.book, message))
        return Judgement()

    def on_message(
        self, peer: str, adapter: str, interpretation: Interpretation, received: Received, now: datetime
    ) -> list[Effect]:
        effects = super().on_message(peer, adapter, interpretation, received, now)
        if isinstance(interpretation.message, Acknowledgement):
            self._published_on = None
        return effects

    # --- what is due ----------------------------------------------------------------------------

    async def work(self, now: datetime) -> None:
        calendar = self.context.terms.calendar
        await self._keep_reference(now)
        for position in positions(self.operator, self.book, now):
            if position.is_ready(calendar, now) and (net := self.net(position.point)) is not None:
                await self._trade(position, net, now)
        if due := settlements(self.operator, self.book, now):
            await self.say(*due)

    async def _keep_reference(self, now: datetime) -> None:
        """Publish what is behind our congestion points, and ask who represents it; nothing without a CRO."""
        if reference_operator(self.context.participants) is None:
            return
        today = now.astimezone(self.context.terms.calendar.zone).date()
        if self._published_on != today:
            update = due_dso(self.book, self.context, self._points, now)
            if update is not None:
                await self.say(update)
            self._published_on = today
        await self.say(*questions(self.book, self.context, [point.address for point in self._points], now))

    def net(self, point: str) -> Net | None:
        """The net behind a congestion point, None for one that is not ours."""
        terms = self.context.terms.congestion_point(point)
        if terms is None or terms.dso != self.context.domain:
            return None
        return self._nets.get(point, self._net)

    async def assessment(self, position: Position, net: Net) -> Assessment:
        """Power flow at a position, remembered until the position changes."""
        place = position.point, position.day
        known = self._assessed.get(place)
        if known is None or known[0] != position.state:
            away = net.unrepresented(position.represented)
            found = await asyncio.to_thread(net.assess, position.net, away, self.options.reserve)
            known = self._assessed[place] = position.state, found
            await self.context.do(_findings(position, found, _needs(found.room(position.net), net)))
        return known[1]

    async def _trade(self, position: Position, net: Net, now: datetime) -> None:
        assessment = await self.assessment(position, net)
        room = upcoming(self.context.terms.calendar, position.day, assessment.room(position.net), now)
        if self.options.release_reservations:
            await self.say(*reservations(self.operator, self.book, position, room, now))
        if not _needs(room, net):
            return
        asking = requests(self.operator, self.book, position, room, now)
        if any(self.book.record(request.head.message_id) is None for request in asking):
            told = _told(position, assessment) | {
                "requested": sorted(frozenset().union(*(r.requested for r in asking)))
            }
            await self.say(*asking, also=[Log("grid.congested", told)])
            return
        offers = decide.candidates(self.operator, self.book, position, now)
        if decide.is_due(self.operator, self.book, position, offers, now):
            await self._decide(position, net, room, offers, now)

    async def _decide(
        self, position: Position, net: Net, room: Room, offers: Sequence[FlexOffer], now: datetime
    ) -> None:
        """Order the best that is offered; one look at one set of offers."""
        look = " ".join([position.state, *(offer.head.message_id for offer in offers)])
        if self._settled_on.get((position.point, position.day)) == look:
            return
        choice = await asyncio.to_thread(choose, room, offers, lambda offer: decide.may_part(self.operator, offer))
        orders = decide.orders(self.operator, self.book, position, choice.picks, now)
        if choice.shortfall_w and self.options.direct_activation:
            orders += decide.direct_orders(self.operator, self.book, position, choice, orders, now)
        changed = position.net
        for order in orders:
            changed = changed + order.power
        away = net.unrepresented(position.represented)
        clears = await asyncio.to_thread(net.clears, changed, away, sorted(need_of(room)))
        if not self._still(position, choice):
            return  # revoked, expired or answered meanwhile: the next look sees it
        self._settled_on[position.point, position.day] = look
        # What orders leave open is looked at again, without the offers that they took.
        await self.say(*orders, also=[] if clears or orders else [_remains(position, choice)])

    def _still(self, position: Position, choice: Choice) -> bool:
        """Whether the book says what it said when the choice was made."""
        now = self.context.clock.now()
        today = next((p for p in positions(self.operator, self.book, now) if p.state == position.state), None)
        if today is None:
            return False
        alive = {o.head.message_id for o in decide.candidates(self.operator, self.book, today, now)}
        return all(pick.offer.head.message_id in alive for pick in choice.picks)


def build(options: Mapping[str, Any], context: DeskContext) -> GridOperatorDesk:
    """Desk factory named by the entry point `gridoperator`.

    Raises:
        ValueError: an option is unknown, missing or wrong (all of them are named), or a file cannot be used.
    """
    settings, calendar = read_options(GridOperatorOptions, options), context.terms.calendar
    net = None
    if settings.network_file and settings.history_file:
        net = Net.read(settings.network_file, settings.history_file, calendar)
    nets = {p.address: Net.read(p.network_file, p.history_file, calendar) for p in settings.points}
    return GridOperatorDesk(context, settings, net, nets)


def _findings(position: Position, assessment: Assessment, needs: bool) -> list[Effect]:
    """What a first look at a position tells; that it is congested is told with the requests."""
    effects: list[Effect] = [] if needs else [Log("grid.clear", _told(position, assessment))]
    for agr in sorted(position.missing):
        text = f"no prognosis for {position.point} on {position.day}: its connections count as they usually are"
        effects.append(Alarm("prognosis.missing", agr, text))
    return effects


def _told(position: Position, assessment: Assessment) -> dict[str, Any]:
    return {
        "congestion_point": position.point,
        "period": position.day.isoformat(),
        "prognoses": [p.head.message_id for p in position.prognoses.values()],
        "missing": sorted(position.missing),
        "congested": [int(k) + 1 for k in np.flatnonzero(assessment.congested)],
        "max_loading": float(assessment.flow.trafo_loading.max()),
    }


def _remains(position: Position, choice: Choice) -> Alarm:
    worst = max(map(abs, choice.shortfall_w.values()), default=0)
    text = (
        f"{position.point} stays congested on {position.day} with all that was offered: "
        f"{len(choice.shortfall_w)} ISPs short, up to {worst} W"
    )
    return Alarm("grid.congestion_remains", "", text)


def _needs(room: Room, net: Net) -> bool:
    """Whether a change is needed that is worth a new round of trade."""
    return any(abs(power) > _NEGLIGIBLE * net.grid.rating_kva * 1000 for power in need_of(room).values())
