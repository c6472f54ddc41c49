"""A grid operator's desk on a small net, with aggregators that say what a test lets them say; no sockets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
from support.hub import StillClock

from adapters.ports import Interpretation, Received
from datamodels import (
    Acknowledgement,
    CongestionPoint,
    Contract,
    FlexOffer,
    FlexOrder,
    FlexRequest,
    IspSeries,
    MarketCalendar,
    MarketMessage,
    MarketTerms,
    Metering,
    MeteringKind,
    MeterProfile,
    OfferOption,
    OfferRevocation,
    Participant,
    PortfolioView,
    Prognosis,
    Role,
    Settlement,
)
from interop.desk import DeskContext
from interop.effects import Alarm, Effect, Log, Put, Send
from interop.feed import Feed
from interop.gridoperator.desk import GridOperatorDesk
from interop.gridoperator.history import History
from interop.gridoperator.net import Net
from interop.gridoperator.options import GridOperatorOptions
from interop.market.ids import head, reply_head

DSO, AGR, OTHER, CRO = "dso.example.org", "agr.example.org", "other.example.org", "cro.example.org"
POINT = "ea1.2030-01.org.example:cp-1"
DAY = date(2030, 6, 4)
EANS = {AGR: ("E871690000000000011", "E871690000000000012"), OTHER: ("E871690000000000021",)}

NETWORK: dict[str, Any] = {
    "frequency_hz": 50,
    "bus": [{"id": 0, "vn_kv": 20.0}, {"id": 1, "vn_kv": 0.4}, {"id": 2, "vn_kv": 0.4}],
    "line": [
        {
            "id": 0,
            "from_bus": 1,
            "to_bus": 2,
            "length_km": 0.05,
            "r_ohm_per_km": 0.2,
            "x_ohm_per_km": 0.08,
            "c_nf_per_km": 800.0,
            "i_max_ka": 0.3,
            "parallel": 1,
        }
    ],
    "trafo": [
        {
            "id": 0,
            "hv_bus": 0,
            "lv_bus": 1,
            "s_kva": 100.0,
            "vn_hv_kv": 20.0,
            "vn_lv_kv": 0.4,
            "vk_percent": 4.0,
            "vkr_percent": 1.5,
            "pfe_kw": 0.3,
            "i0_percent": 0.3,
            "shift_degree": 150.0,
            "tap_min": -2,
            "tap_max": 2,
        }
    ],
    "source_node": [{"bus": 0, "vm_pu": 1.02}],
    "load": [{"id": 0, "bus": 1}, {"id": 1, "bus": 2}],
    "pv": [{"id": 0, "bus": 2, "p_rated_kw": 200.0}],
}
"""A transformer of 100 kVA, a feeder, and generation that can exceed both."""


def history(calendar: MarketCalendar, day: date) -> History:
    """A week before `day`: a steady load of 6 kW at both buses, and no sun."""
    first = day - timedelta(days=7)
    rows = sum(calendar.isps(first + timedelta(days=n)) for n in range(7))
    load = np.full((rows, 2), 6.0)
    return History(calendar, calendar.day_span(first)[0], load, load * 0.1, np.zeros((rows, 1)))


class Market:
    """The desk (`work`), what it said (`said`, by class), and what a test makes others say (`hear`)."""

    def __init__(
        self,
        *,
        day: date = DAY,
        contracts: Sequence[Contract] = (),
        point: CongestionPoint | None = None,
        cro: bool = False,
        **options: Any,
    ) -> None:
        self.day = day
        self.calendar = MarketCalendar()
        self.noon_before = datetime.combine(day - timedelta(days=1), time(12), self.calendar.zone).astimezone(UTC)
        self.clock = StillClock(self.noon_before - timedelta(hours=2))
        point = point or CongestionPoint(POINT, DSO, date(2020, 1, 1))
        self.peers = {agr: Participant(agr, Role.AGR) for agr in (AGR, OTHER)}
        if cro:
            self.peers[CRO] = Participant(CRO, Role.CRO)
        self.effects: list[Effect] = []
        terms = MarketTerms(self.calendar, (point,), tuple(contracts), penalty_eur_per_kwh=Decimal("0.5"))
        self.context = DeskContext(
            DSO,
            Role.DSO,
            terms,
            self.peers,
            {},
            self.clock,
            Feed(),
            None,
            {},
            self._do,  # type: ignore[arg-type]
        )
        self.options: dict[str, Any] = {"represented": EANS} | options
        self.desk = self._desk({})

    def _desk(self, documents: dict[tuple[str, str], Any]) -> GridOperatorDesk:
        options = GridOperatorOptions(Path("net"), Path("history"), **self.options)
        desk = GridOperatorDesk(self.context, options, Net(NETWORK, history(self.calendar, self.day)))
        desk.load(documents)
        return desk

    def restart(self) -> None:
        """Kill the desk and start it again on what is durable."""
        documents: dict[tuple[str, str], Any] = {}
        for effect in self.effects:
            if isinstance(effect, Put):
                documents[effect.kind, effect.key] = effect.value
        self.desk = self._desk(documents)

    async def _do(self, effects: Sequence[Effect]) -> None:
        self.effects += effects

    # --- what the desk does ----------------------------------------------------------------------------

    async def work(self, now: datetime | None = None) -> None:
        """Let the desk do all that is due, until it has no more to say."""
        if now is not None:
            self.clock.time = now
        for _ in range(10):
            before = len(self.effects)
            await self.desk.work(self.clock.now())
            if len(self.effects) == before:
                return
        raise AssertionError("the desk does not come to rest")

    def said(self, cls: type[Any], to: str | None = None) -> list[Any]:
        messages = [effect.message for effect in self.effects if isinstance(effect, Send)]
        return [m for m in messages if isinstance(m, cls) and to in (None, m.head.recipient)]

    def alarms(self, rule: str) -> list[Alarm]:
        return [effect for effect in self.effects if isinstance(effect, Alarm) and effect.rule == rule]

    def logged(self, kind: str) -> list[Log]:
        return [effect for effect in self.effects if isinstance(effect, Log) and effect.kind == kind]

    # --- what others say ----------------------------------------------------------------------------

    def hear(self, message: MarketMessage) -> Any:
        """Deliver a message from its sender; returns the answer, where there is one."""
        sender = message.head.sender
        needs_answer = not isinstance(message, Acknowledgement)
        received = Received("uftp", sender, type(message).__name__, b"", message.head.message_id)
        effects = self.desk.on_message(
            sender, "uftp", Interpretation(message, needs_answer=needs_answer), received, self.clock.now()
        )
        self.effects += effects
        return next((e.message for e in effects if isinstance(e, Send)), None)

    def answer(
        self,
        message: MarketMessage,
        accepted: bool = True,
        details: dict[str, str] | None = None,
        view: PortfolioView | None = None,
    ) -> None:
        kind = type(message).__name__
        verdict = Acknowledgement(
            reply_head(message.head, self.clock.now()), message.head.message_id, kind, accepted,
            () if accepted else ("Reference message revoked",), tuple((details or {}).items()), view,
        )  # fmt: skip
        self.hear(verdict)

    def prognose(self, agr: str, power: IspSeries, revision: int = 1) -> Prognosis:
        about = head(agr, DSO, self.clock.now(), "prognosis", POINT, power.period, revision)
        prognosis = Prognosis(about, POINT, revision, power)
        self.validation = self.hear(prognosis)
        return prognosis

    def offer(
        self,
        agr: str,
        *options: OfferOption,
        to: FlexRequest | None,
        on: Prognosis,
        expires: datetime | None = None,
        subject: object = "offer",
    ) -> FlexOffer:
        """An offer for a request or, without one, an unsolicited one."""
        about = head(agr, DSO, self.clock.now(), subject, to.head.message_id if to else self.clock.now())
        if to is not None:
            about = replace(about, conversation_id=to.head.conversation_id)
        offer = FlexOffer(
            about,
            POINT,
            expires or (to.expires if to else self.clock.now() + timedelta(hours=1)),
            "EUR",
            options,
            request=to.head.message_id if to else None,
            unsolicited=to is None,
            contract=to.contract if to else None,
            prognosis=on.head.message_id,
        )
        self.hear(offer)
        return offer

    def revoke(self, offer: FlexOffer) -> None:
        about = head(offer.head.sender, DSO, self.clock.now(), "revoke", offer.head.message_id)
        self.hear(OfferRevocation(about, offer.head.message_id))

    def meter(self, agr: str, power: IspSeries, revision: int = 1) -> None:
        """A day of an aggregator: all of it at its first connection, nothing at the others."""
        for n, ean in enumerate(EANS[agr]):
            about = head(agr, DSO, self.clock.now(), "metering", ean, power.period, revision)
            kw = tuple(Decimal(p or 0) / 1000 if n == 0 else Decimal(0) for p in power.power_w)
            profile = MeterProfile(MeteringKind.POWER, "kW", kw)
            self.hear(Metering(about, ean, self.calendar, power.period, revision, (profile,)))

    def series(self, base: int, peak: int | None = None, isps: Sequence[int] = ()) -> IspSeries:
        """`base` W all day, `peak` W in some ISPs."""
        count = self.calendar.isps(self.day)
        return IspSeries.of(
            self.calendar, self.day, [peak if peak is not None and k in isps else base for k in range(1, count + 1)]
        )

    def option(
        self, isps: Sequence[int], power: int, price: str, least: str = "1.00", reference: str = "A"
    ) -> OfferOption:
        values = [power if k in isps else None for k in range(1, self.calendar.isps(self.day) + 1)]
        return OfferOption(reference, Decimal(price), IspSeries(self.calendar, self.day, tuple(values)), Decimal(least))

    @property
    def requests(self) -> list[FlexRequest]:
        return self.said(FlexRequest)

    @property
    def orders(self) -> list[FlexOrder]:
        return self.said(FlexOrder)

    @property
    def settlements(self) -> list[Settlement]:
        return self.said(Settlement)
