"""An aggregator's desk over a few small homes, with a clock that is set by hand and a counterpart that says yes."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from datetime import date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace
from typing import Any, TypeVar

import numpy as np

from adapters.ports import Direction, Interpretation, Received
from datamodels import (
    Acknowledgement,
    Binding,
    CongestionPoint,
    Disposition,
    FlexOffer,
    FlexOrder,
    FlexRequest,
    Head,
    IspSeries,
    MarketCalendar,
    MarketMessage,
    MarketTerms,
    Participant,
    Prognosis,
    RequestIsp,
    Resource,
    ResourceKind,
    ResourceRole,
    Role,
    Telemetry,
    encode,
)
from interop.aggregator.desk import AggregatorDesk, build
from interop.aggregator.homes import Battery, Charger, HeatPump, Home, Pv, Stay, write_homes
from interop.desk import DeskContext
from interop.effects import Alarm, Effect, Instruct, Log, Put, Send
from interop.feed import Feed
from interop.market.ids import head, reply_head
from interop.market.machine import kind_of

AGR, DSO, POINT = "agr.example.org", "dso.example.org", "ean.871685900012636543"
DAY = date(2026, 5, 20)
T = TypeVar("T")


class HandClock:
    """Market time that stands until it is set."""

    rate = 1.0

    def __init__(self, now: datetime) -> None:
        self.at = now

    def now(self) -> datetime:
        return self.at

    def to_wall(self, instant: datetime) -> datetime:
        return instant

    def from_wall(self, instant: datetime) -> datetime:
        return instant

    async def sleep_until(self, instant: datetime) -> None:
        while self.at < instant:
            await asyncio.sleep(0.01)


def homes() -> tuple[Home, ...]:
    """Two homes: one with PV, battery and car, one with PV and heat pump. Columns: loads 0, 1; car 2; pump 3."""
    car = Charger("car-1", 2, 7400, (Stay(73, 96, 9000),))
    pump = HeatPump("pump-2", 3, 2500, 2000)
    battery = Battery("battery-1", 6000, 14000, 5000, 5000, 0.95, 0.02)
    return (
        Home("home-1", 1, "ean.871685900000000011", 0, (car,), (), (Pv("pv-1", 0, 12000),), (battery,)),
        Home("home-2", 2, "ean.871685900000000028", 1, (), (pump,), (Pv("pv-2", 1, 8000),), ()),
    )


def lay_out(folder: Path, calendar: MarketCalendar, day: date, days: int = 15) -> Mapping[str, Any]:
    """Homes, a history of `days` whole local days before `day`, and its tariffs; the desk's options for them."""
    rng = np.random.default_rng(7)
    loads, suns = [], []
    for past in [day - timedelta(days=n) for n in range(days, 0, -1)]:
        hour = np.array([t.astimezone(calendar.zone).hour for t in calendar.starts(past)]) + 0.5
        sun = np.maximum(np.sin((hour - 6) / 14 * np.pi), 0.0) * ((hour > 6) & (hour < 20))
        base = 0.4 + 0.5 * np.exp(-(((hour - 19) / 3) ** 2))
        wobble = rng.uniform(0.9, 1.1, (len(hour), 4))
        loads.append(np.stack([base, 0.8 * base, 0 * base, 0.5 + 0 * base], axis=1) * wobble)
        suns.append(np.stack([9.0 * sun, 6.0 * sun], axis=1) * wobble[:, :2])
    first = calendar.start(day - timedelta(days=days), 1)
    np.savez(folder / "history.npz", start=first.isoformat(), load_kw=np.vstack(loads), pv_kw=np.vstack(suns))
    write_homes(folder / "homes.json", homes())
    hours = [t.astimezone(calendar.zone).hour for t in calendar.starts(day)]
    buy = [0.34 if 17 <= h < 21 else 0.26 for h in hours]
    tariffs = {"buy_eur_per_kwh": buy, "sell_eur_per_kwh": [p - 0.14 for p in buy]}
    (folder / "tariffs.json").write_text(json.dumps(tariffs), encoding="utf-8")
    names = {"homes_file": "homes.json", "history_file": "history.npz", "tariffs_file": "tariffs.json"}
    return {key: str(folder / name) for key, name in names.items()} | {"congestion_point": POINT}


def resources() -> dict[str, Resource]:
    out: dict[str, Resource] = {}

    def add(home: Home, id: str, kind: ResourceKind, role: ResourceRole, low: int, high: int, wh: int = 0) -> None:
        binding = None if kind is ResourceKind.METER else Binding("test", id)
        out[id] = Resource(id, home.connection, kind, role, low, high, binding, capacity_wh=wh)

    for home in homes():
        add(home, home.id, ResourceKind.METER, ResourceRole.CONSUMER, 0, 20_000)
        for car in home.chargers:
            add(home, car.id, ResourceKind.EVSE, ResourceRole.CONSUMER, 0, car.p_max_w)
        for pump in home.heat_pumps:
            add(home, pump.id, ResourceKind.HEAT_PUMP, ResourceRole.CONSUMER, 0, pump.p_max_w)
        for pv in home.pvs:
            add(home, pv.id, ResourceKind.PV, ResourceRole.PRODUCER, -pv.p_max_w, 0)
        for store in home.batteries:
            add(home, store.id, ResourceKind.BATTERY, ResourceRole.STORAGE, -store.p_max_w, store.p_max_w, 14000)
    return out


class Agr:
    """The desk, what it wanted done (`done`), and the grid operator's voice."""

    def __init__(
        self,
        folder: Path,
        now: datetime,
        *,
        day: date = DAY,
        calendar: MarketCalendar | None = None,
        terms: MarketTerms | None = None,
        peer: Participant | None = None,
        **options: Any,
    ) -> None:
        self.calendar = calendar or MarketCalendar()
        self.day = day
        self.clock = HandClock(now)
        self.done: list[Effect] = []
        self.documents: dict[tuple[str, str], Any] = {}
        self.heard: list[Telemetry] = []
        point = CongestionPoint(POINT, DSO, date(2020, 1, 1), import_limit_w=20_000, export_limit_w=20_000)
        self.participants = {DSO: peer or Participant(DSO, Role.DSO)}
        self.context = DeskContext(
            domain=AGR,
            role=Role.AGR,
            terms=terms or MarketTerms(self.calendar, (point,), penalty_eur_per_kwh=Decimal("0.5")),
            participants=self.participants,
            resources=resources(),
            clock=self.clock,
            feed=Feed(),
            store=SimpleNamespace(telemetry=self._nothing, documents=self._dispatches),  # type: ignore[arg-type]
            adapters={},
            do=self._do,
        )
        self.options = {**lay_out(folder, self.calendar, day), **options}
        self.desk: AggregatorDesk = build(self.options, self.context)

    async def _do(self, effects: Sequence[Effect]) -> None:
        self._keep(effects)

    def _keep(self, effects: Sequence[Effect]) -> None:
        self.done += effects
        for effect in effects:
            if isinstance(effect, Put):
                self.documents[effect.kind, effect.key] = effect.value

    async def _nothing(self, *what: Any) -> list[Any]:
        return []

    async def _dispatches(self, *space: str) -> list[Any]:
        newest = {e.dispatch.id: e.dispatch for e in self.done if isinstance(e, Instruct)}
        return [SimpleNamespace(value=encode(dispatch)) for dispatch in newest.values()]

    def restarted(self) -> None:
        """The desk anew, from what was made durable."""
        self.desk = build(self.options, self.context)
        self.desk.load(self.documents)

    # --- what it does ----------------------------------------------------------------------------

    async def work(self, now: datetime | None = None) -> None:
        if now is not None:
            self.clock.at = now
        await self.desk.work(self.clock.at)

    def said(self, cls: type[T]) -> list[T]:
        return self.desk.book.messages(cls, direction=Direction.OUT)

    def answers(self) -> list[Acknowledgement]:
        return [e.message for e in self.done if isinstance(e, Send) and isinstance(e.message, Acknowledgement)]

    def alarms(self, rule: str) -> list[str]:
        return [e.message for e in self.done if isinstance(e, Alarm) and e.rule == rule]

    def logs(self, kind: str) -> list[Mapping[str, Any]]:
        return [e.data for e in self.done if isinstance(e, Log) and e.kind == kind]

    # --- the grid operator ----------------------------------------------------------------------------

    def hear(self, message: MarketMessage, **interpreted: Any) -> Acknowledgement | None:
        """A message from the grid operator; its answer."""
        about = message.head
        received = Received("uftp", DSO, kind_of(message), b"", about.message_id, about.conversation_id)
        interpretation = Interpretation(message, kind=kind_of(message), refers_to=about.message_id, **interpreted)
        effects = self.desk.on_message(DSO, "uftp", interpretation, received, self.clock.at)
        self._keep(effects)
        return next(
            (e.message for e in effects if isinstance(e, Send) and isinstance(e.message, Acknowledgement)), None
        )

    def accept(self, *, accepted: bool = True) -> None:
        """Answer everything that is unanswered."""
        for record in self.desk.book.records():
            if record.direction is Direction.OUT and record.accepted is None:
                about = record.message.head
                reply = reply_head(about, self.clock.at)
                self.hear(
                    Acknowledgement(reply, about.message_id, kind_of(record.message), accepted), needs_answer=False
                )

    def request(
        self, name: str, wanted: Mapping[int, tuple[int, int]], *, expires: datetime, **more: Any
    ) -> FlexRequest:
        """A request for (least, most) W per ISP; all other ISPs have wide room."""
        isps = [
            RequestIsp(
                k,
                1,
                Disposition.REQUESTED if k in wanted else Disposition.AVAILABLE,
                *wanted.get(k, (-50_000, 50_000)),
            )
            for k in range(1, self.calendar.isps(self.day) + 1)
        ]
        about = head(DSO, AGR, self.clock.at, "request", name)
        return FlexRequest(about, POINT, self.calendar, self.day, 1, expires, tuple(isps), **more)

    def order(self, offer: FlexOffer, *, factor: str = "1.00", option: int = 0) -> FlexOrder:
        bought = offer.options[option]
        share = Decimal(factor)
        about = offer.head
        return FlexOrder(
            Head(DSO, AGR, f"order-{about.message_id}", about.conversation_id, self.clock.at),
            POINT,
            f"o-{about.message_id[:6]}-{bought.reference}",
            bought.price * share,
            offer.currency,
            bought.power.scaled(share),
            offer=about.message_id,
            option=bought.reference,
            activation_factor=share,
            contract=offer.contract,
            prognosis=offer.prognosis,
        )

    def prognosis(self, power: IspSeries, revision: int = 1) -> Prognosis:
        return Prognosis(head(AGR, DSO, self.clock.at, "prognosis", revision), POINT, revision, power)
