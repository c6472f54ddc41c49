"""Both desks trade a day of 92, 96 and 100 ISPs with each other; every message crosses as signed-off UFTP bytes."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path

import pytest
from support import agr as aggregator
from support import gridoperator as operator
from support.agr import AGR, DSO, POINT, Agr
from support.gridoperator import Market

from adapters.ports import Interpretation, Received
from adapters.uftp import check_payload
from adapters.uftp.codec import encode
from adapters.uftp.mapping import to_wire
from datamodels import (
    Acknowledgement,
    CongestionPoint,
    FlexOffer,
    FlexOrder,
    FlexRequest,
    MarketMessage,
    MarketTerms,
    Metering,
    Prognosis,
    Role,
    Settlement,
)
from interop.effects import Effect, Instruct, Send

_LIMIT_KVA = 9.0


class Exchange:
    """The two desks, and the wire between them."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch, day: date) -> None:
        net = operator.NETWORK | {"trafo": [operator.NETWORK["trafo"][0] | {"s_kva": _LIMIT_KVA}]}
        monkeypatch.setattr(operator, "NETWORK", net)
        point = CongestionPoint(POINT, DSO, date(2020, 1, 1), export_limit_w=9000, import_limit_w=9000)
        eans = tuple(home.connection.replace("ean.", "E") for home in aggregator.homes())
        self.dso = Market(day=day, point=point, represented={AGR: eans}, expected=(AGR,))
        self.terms: MarketTerms = self.dso.context.terms
        noon_before = datetime.combine(day - timedelta(days=1), time(9, 50), self.terms.calendar.zone)
        self.agr = Agr(folder, noon_before.astimezone(UTC), day=day, terms=self.terms)
        self.crossed: list[MarketMessage] = []
        self._sent = {AGR: 0, DSO: 0}

    async def until_quiet(self, now: datetime) -> None:
        """Both work and hear each other until nobody has anything to say."""
        self.agr.clock.at = self.dso.clock.time = now.astimezone(UTC)
        for _ in range(20):
            await self.agr.work()
            await self.dso.desk.work(self.dso.clock.now())
            if not self._cross():
                return
        raise AssertionError("they never come to rest")

    def _cross(self) -> bool:
        moved = False
        for sender, effects in ((AGR, self.agr.done), (DSO, self.dso.effects)):
            new, self._sent[sender] = effects[self._sent[sender] :], len(effects)
            for effect in new:
                if isinstance(effect, Send):
                    self._carry(sender, effect.message)
                    moved = True
        return moved

    def _carry(self, sender: str, message: MarketMessage) -> None:
        element, _ = to_wire(message, "3.1.0", self.terms)
        role, desk = (Role.AGR, self.dso.desk) if sender == AGR else (Role.DSO, self.agr.desk)
        own, own_role = (DSO, Role.DSO) if sender == AGR else (AGR, Role.AGR)
        now = self.agr.clock.at
        participants = desk.context.participants
        verdict = check_payload(
            encode(element), sender, role, desk.history, self.terms, participants, now, own, own_role
        )
        assert not verdict.problems, (type(message).__name__, verdict.reason)
        head = message.head
        received = Received("uftp", sender, verdict.kind, b"", head.message_id, head.conversation_id)
        interpretation = Interpretation(
            verdict.message, verdict.problems, verdict.losses, verdict.needs_answer, head.message_id, verdict.kind
        )
        effects: list[Effect] = list(desk.on_message(sender, "uftp", interpretation, received, now))
        if own == DSO:
            self.dso.effects += effects
        else:
            self.agr._keep(effects)
        self.crossed.append(message)

    def of(self, cls: type[MarketMessage]) -> list[MarketMessage]:
        return [message for message in self.crossed if isinstance(message, cls)]


@pytest.mark.parametrize(
    ("day", "isps"), [(date(2026, 3, 29), 92), (date(2026, 10, 25), 100), (date(2026, 5, 20), 96)], ids=str
)
async def test_a_day_is_traded_delivered_and_settled_whatever_its_length(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, day: date, isps: int
) -> None:
    exchange = Exchange(tmp_path, monkeypatch, day)
    calendar = exchange.terms.calendar
    ten = datetime.combine(day - timedelta(days=1), time(10, 0), calendar.zone)
    await exchange.until_quiet(ten)
    (prognosis,) = exchange.of(Prognosis)
    (request,) = exchange.of(FlexRequest)
    (offer,) = exchange.of(FlexOffer)
    (order,) = exchange.of(FlexOrder)
    assert isinstance(prognosis, Prognosis)
    assert isinstance(request, FlexRequest)
    assert isinstance(offer, FlexOffer)
    assert isinstance(order, FlexOrder)
    assert len(prognosis.power) == isps
    assert prognosis.power.is_complete
    assert len({k for row in request.isps for k in row.isps}) == isps
    asked = {calendar.start(day, k).astimezone(calendar.zone).hour for k in request.requested}
    assert asked <= set(range(7, 19)), "the sun stands where the clock says"
    assert order.price > 0
    told = [effect.dispatch for effect in exchange.agr.done if isinstance(effect, Instruct)]
    assert {dispatch.resource for dispatch in told} >= {"battery-1", "pv-1", "pv-2"}
    begin, end = calendar.day_span(day)
    assert end - begin == isps * calendar.isp
    assert all(begin <= interval.start for dispatch in told for interval in dispatch.intervals)

    await exchange.until_quiet(end + timedelta(hours=2))
    meterings = exchange.of(Metering)
    assert {len(m.profiles[0].values) for m in meterings if isinstance(m, Metering)} == {isps}
    (settlement,) = exchange.of(Settlement)
    assert isinstance(settlement, Settlement)
    (row,) = settlement.rows
    assert {i.isp for i in row.isps} == order.power.isps
    assert row.net == row.price - row.penalty
    assert row.price <= order.price
    answers = [m for m in exchange.of(Acknowledgement) if isinstance(m, Acknowledgement)]
    assert all(answer.accepted for answer in answers)
    verdicts = dict(next(a for a in answers if a.refers_to == settlement.head.message_id).details)
    assert verdicts == {order.order_reference: "Accepted"}
