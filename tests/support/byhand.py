"""A market of two or three parties that trade by hand, without a server: what one says, the other hears and answers."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

from support.market import AGR, AGR2, CRO, DSO, FIRST, NOW, P1, Clock, answer, context, heard, said

from datamodels import CongestionPoint, Contract, MarketMessage, OfferRevocation, Run
from interop.desk import DeskContext
from interop.market.book import Book
from interop.market.commands import COMMANDS, compose
from interop.settings import Settings

DAY = date(2030, 6, 2)
POINT = CongestionPoint(P1, DSO, FIRST)
CONTRACT = Contract(
    "c1",
    DSO,
    AGR,
    ("redispatch",),
    penalty_eur_per_kwh=Decimal("0.10"),
    reserved=(Run(41, 8, -5000),),
    price_eur_per_kwh=Decimal("0.60"),
)


def body(verb: str, **words: Any) -> Any:
    """What an operator says, read as the API reads it."""
    settings = Settings(Path())
    read = settings.read(COMMANDS[verb].body, words, verb)
    assert read is not None, settings.problems
    return read


def flat(power_w: int, start: int = 1, duration: int = 96) -> list[dict[str, int]]:
    return [{"start": start, "duration": duration, "power_w": power_w}]


class Party:
    """One party's book, on a clock that is set."""

    def __init__(self, domain: str, peers: Iterable[str], clock: Clock, point: CongestionPoint = POINT) -> None:
        made = context(domain, peers, points=(point,), clock=clock)
        self.context: DeskContext = replace(made, terms=replace(made.terms, contracts=(CONTRACT,)))
        self.book = Book()
        self.clock = clock

    def compose(self, verb: str, **words: Any) -> MarketMessage:
        return compose(verb, self.book, self.context, body(verb, **words), self.clock.at)

    def say(self, verb: str, *to: Party, **words: Any) -> Any:
        """Say something and, where somebody is there to hear it, take the answer."""
        message = self.compose(verb, **words)
        if isinstance(message, OfferRevocation) and (revoked := self.book.with_revocation(message.offer)):
            self.book.apply([revoked])
        said(self.book, message)
        for other in to:
            heard(self.book, answer(heard(other.book, message, self.clock.at)), self.clock.at)
        return message


class Market:
    """A grid operator, an aggregator, and a common reference operator that accepts everything."""

    def __init__(self, point: CongestionPoint = POINT) -> None:
        self.clock = Clock(NOW)
        self.dso = Party(DSO, [AGR, CRO], self.clock, point)
        self.agr = Party(AGR, [DSO, CRO], self.clock, point)
        self.cro = Party(CRO, [DSO, AGR, AGR2], self.clock, point)

    def later(self, **by: float) -> None:
        self.clock.at += timedelta(**by)

    def prognosis(self, power_w: int = 20_000) -> Any:
        return self.agr.say("prognosis", self.dso, period=DAY.isoformat(), isps=flat(power_w))

    def request(self) -> Any:
        wanted = [{"start": 41, "duration": 4, "min_power_w": -8000, "max_power_w": -4000}]
        return self.dso.say("request", self.agr, period=DAY.isoformat(), isps=wanted)

    def offer(self, request: Any, price: str = "2.5000", least: str = "0.50", **more: Any) -> Any:
        option = {"isps": flat(-5001, 41, 4), "price": price, "min_activation": least}
        return self.agr.say("offer", self.dso, request=request.head.message_id, options=[option], **more)

    def order(self, offer: Any, **more: Any) -> Any:
        return self.dso.say("order", self.agr, offer=offer.head.message_id, **more)

    def metering(self, kw: str = "18", connection: str = "ean.871685900012636543") -> Any:
        profiles = [{"kind": "Power", "values": [kw] * 96}]
        return self.agr.say("metering", self.dso, connection=connection, period=DAY.isoformat(), profiles=profiles)
