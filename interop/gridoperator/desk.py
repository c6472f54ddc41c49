"""The grid operator at work: prognosis in, request out; offers in, order out; metering in, settlement out."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np

from adapters.ports import Direction
from datamodels import (
    FlexOffer,
    FlexOrder,
    FlexRequest,
    Head,
    IspSeries,
    Metering,
    Prognosis,
)
from interop.desk import DeskContext
from interop.effects import Log
from interop.gridoperator.congestion import Allocation, Assessment, assess
from interop.gridoperator.powerflow import Grid
from interop.market.choice import choose
from interop.market.desk import MarketDesk, read_options
from interop.market.ids import head
from interop.market.settle import metered, settle

__all__ = ["GridOperatorDesk", "build"]


@dataclass(frozen=True, slots=True)
class GridOperatorOptions:
    """Settings of the grid operator's desk.

    Attributes:
        network_file: the net (JSON tables of a SimBench extract, see `Grid`).
        history_file: measured quarter-hours of whole local days, to know each bus's usual load (npz).
        connections: EANs that must all be metered before a day is settled; without any, nothing is.
        reserve: share of a rating that may be planned with.
    """

    network_file: Path
    history_file: Path
    connections: tuple[str, ...] = ()
    reserve: float = 0.97

    def __post_init__(self) -> None:
        if not 0 < self.reserve <= 1:
            raise ValueError(f"reserve {self.reserve} is not in (0, 1]")


class GridOperatorDesk(MarketDesk):
    """Keeps one low-voltage net within its ratings by asking aggregators for flexibility."""

    def __init__(self, context: DeskContext, options: GridOperatorOptions) -> None:
        super().__init__(context)
        self.grid, self.allocation = _read(options.network_file, options.history_file)
        self.connections = frozenset(options.connections)
        self.reserve = options.reserve
        self._assessed: dict[str, Assessment] = {}
        self._clear: set[str] = set()

    async def work(self, now: datetime) -> None:
        for prognosis in self._newest_prognoses():
            if not self._said(self._request_head(prognosis, now)) and now < self._gate(prognosis):
                await self._request(prognosis, now)
        for request in self.book.messages(FlexRequest, direction=Direction.OUT, accepted=True):
            if not self._said(self._order_head(request, now)):
                await self._order(request, now)
        await self._settle(now)

    # --- plan and validate ----------------------------------------------------------------------------

    def _newest_prognoses(self) -> list[Prognosis]:
        newest: dict[tuple[str, object], Prognosis] = {}
        for prognosis in self.book.messages(Prognosis, direction=Direction.IN, accepted=True):
            newest[prognosis.congestion_point, prognosis.power.period] = prognosis
        return list(newest.values())

    def _gate(self, prognosis: Prognosis) -> datetime:
        """When day-ahead trade for the prognosed day closes."""
        calendar = self.context.terms.calendar
        day_before = prognosis.power.period - timedelta(days=1)
        return datetime.combine(day_before, calendar.day_ahead_gate, calendar.zone)

    async def assessment(self, prognosis: Prognosis) -> Assessment:
        """Power flow at a prognosis, outside the event loop; remembered per message."""
        key = prognosis.head.message_id
        if key not in self._assessed:
            self._assessed[key] = await asyncio.to_thread(
                assess, self.grid, self.allocation, prognosis.power, self.reserve
            )
        return self._assessed[key]

    async def _request(self, prognosis: Prognosis, now: datetime) -> None:
        result = await self.assessment(prognosis)
        isps = result.request(prognosis.power)
        request = FlexRequest(
            head=self._request_head(prognosis, now),
            congestion_point=prognosis.congestion_point,
            calendar=self.context.terms.calendar,
            period=prognosis.power.period,
            revision=prognosis.revision,
            expires=self._gate(prognosis),
            isps=isps,
        )
        found = {
            "prognosis": prognosis.head.message_id,
            "congested": [int(k) + 1 for k in np.flatnonzero(result.congested)],
            "requested": sorted(request.requested),
            "max_loading": float(result.flow.trafo_loading.max()),
        }
        if request.requested:
            await self.say(request, also=[Log("grid.congested", found)])
        elif prognosis.head.message_id not in self._clear:
            self._clear.add(prognosis.head.message_id)
            await self.context.do([Log("grid.clear", found)])

    async def _order(self, request: FlexRequest, now: datetime) -> None:
        offers = [
            offer
            for offer in self.book.messages(FlexOffer, direction=Direction.IN, accepted=True)
            if offer.request == request.head.message_id and now < offer.expires and not self._revoked(offer)
        ]
        if not offers:
            return
        prognosis = self._baseline(offers[0])
        if prognosis is None:
            return
        chosen = await asyncio.to_thread(
            choose, request, offers, lambda power: self._clears(request, prognosis.power + power)
        )
        if chosen is None:
            return
        offer, option = chosen.offer, chosen.option
        order = FlexOrder(
            head=self._order_head(request, now),
            congestion_point=offer.congestion_point,
            order_reference=f"{request.period:%Y%m%d}-{offer.head.message_id[:8]}-{option.reference}",
            price=option.price,
            currency=offer.currency,
            power=option.power,
            offer=offer.head.message_id,
            option=option.reference,
            prognosis=offer.prognosis,
            contract=offer.contract,
            baseline_reference=offer.baseline_reference,
        )
        await self.say(order)

    def _clears(self, request: FlexRequest, net: IspSeries) -> bool:
        """Whether no requested ISP is congested at that net power, and no other is made so."""
        flow = self.grid.run(self.allocation.spread(net.array() / 1000.0), self.allocation.reactive_kvar)
        return not flow.congested[[k - 1 for k in sorted(request.requested)]].any()

    # --- settle ----------------------------------------------------------------------------

    async def _settle(self, now: datetime) -> None:
        calendar = self.context.terms.calendar
        orders = self.book.messages(FlexOrder, direction=Direction.OUT, accepted=True)
        for day in sorted({order.power.period for order in orders}):
            if now < calendar.day_span(day)[1]:
                continue
            meterings = {
                m.ean: m for m in self.book.messages(Metering, direction=Direction.IN, accepted=True) if m.period == day
            }
            if not self.connections or not self.connections <= set(meterings):
                continue
            actual = metered(meterings[ean] for ean in self.connections)
            for agr in sorted({order.head.recipient for order in orders if order.power.period == day}):
                placed = [o for o in orders if o.power.period == day and o.head.recipient == agr]
                about = head(self.context.domain, agr, now, "settlement", day, agr)
                if actual is None or self._said(about):
                    continue
                prognoses = {o.prognosis: p for o in placed if o.prognosis and (p := self._prognosis(o.prognosis))}
                await self.say(settle(about, day, placed, prognoses, actual, self.context.terms))

    # --- the book ----------------------------------------------------------------------------

    def _said(self, head: Head) -> bool:
        return self.book.record(head.message_id) is not None

    def _request_head(self, prognosis: Prognosis, now: datetime) -> Head:
        return head(self.context.domain, prognosis.head.sender, now, "request", prognosis.head.message_id)

    def _order_head(self, request: FlexRequest, now: datetime) -> Head:
        about = request.head
        return head(about.sender, about.recipient, now, "order", about.message_id, conversation=about.conversation_id)

    def _revoked(self, offer: FlexOffer) -> bool:
        record = self.book.record(offer.head.message_id)
        return record is not None and record.revoked

    def _baseline(self, offer: FlexOffer) -> Prognosis | None:
        return self._prognosis(offer.prognosis) if offer.prognosis else None

    def _prognosis(self, message_id: str) -> Prognosis | None:
        record = self.book.record(message_id)
        return record.message if record and isinstance(record.message, Prognosis) else None


def build(options: Mapping[str, Any], context: DeskContext) -> GridOperatorDesk:
    """Desk factory named by the entry point `gridoperator`.

    Raises:
        ValueError: an option is unknown, missing or wrong; all of them are named.
    """
    return GridOperatorDesk(context, read_options(GridOperatorOptions, options))


def _read(network: Path, history: Path) -> tuple[Grid, Allocation]:
    """The net, and how a net power is spread over it: the last week's usual load, and installed generation."""
    tables = json.loads(network.read_text(encoding="utf-8"))
    buses = [bus["id"] for bus in tables["bus"]]
    with np.load(history) as data:
        load, reactive = (np.asarray(data[key], dtype=np.float64) for key in ("load_kw", "load_kvar"))
    return Grid(tables), Allocation(
        load_kw=_usual(load, tables, buses),
        reactive_kvar=_usual(reactive, tables, buses),
        generation_share=_shares(tables, buses),
    )


def _usual(series: np.ndarray[Any, np.dtype[np.float64]], tables: dict[str, Any], buses: list[int]) -> Any:
    week = series.reshape(-1, 96, series.shape[1])[-7:].mean(axis=0)
    usual = np.zeros((96, len(buses)))
    for load in tables["load"]:
        usual[:, buses.index(load["bus"])] += week[:, load["id"]]
    return usual


def _shares(tables: dict[str, Any], buses: list[int]) -> Any:
    installed = np.zeros(len(buses))
    for pv in tables["pv"]:
        installed[buses.index(pv["bus"])] += pv["p_rated_kw"]
    return installed / installed.sum()
