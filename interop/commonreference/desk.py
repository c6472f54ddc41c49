"""The common reference operator at work: it registers what DSOs and aggregators publish, and answers their questions.

Each sees only what concerns it: an aggregator the congestion points where it has connections, and only its own there; a
DSO its own congestion points. A reason names no connection but one that the refused message itself named.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from enum import StrEnum
from typing import Any

from adapters.ports import Direction, Interpretation, Received
from datamodels import (
    AgrPortfolioQuery,
    AgrPortfolioUpdate,
    DsoPortfolioQuery,
    DsoPortfolioUpdate,
    MarketMessage,
    PortfolioView,
    Problem,
    Role,
)
from interop.commonreference.register import REGISTERED, Register, Update
from interop.desk import DeskContext
from interop.effects import Alarm, Effect, Log, Put
from interop.market.desk import MarketDesk, read_options
from interop.market.machine import Judgement

__all__ = ["CommonReferenceDesk", "Mode", "build"]

_CLAUSE = "UFTP 3.1.0 3.3, 3.4"
_SENDERS: Mapping[type[MarketMessage], Role] = {
    DsoPortfolioUpdate: Role.DSO,
    DsoPortfolioQuery: Role.DSO,
    AgrPortfolioUpdate: Role.AGR,
    AgrPortfolioQuery: Role.AGR,
}


class Mode(StrEnum):
    """OPEN: every known participant may publish and ask. CLOSED: members only."""

    OPEN = "open"
    CLOSED = "closed"


@dataclass(frozen=True, slots=True)
class Member:
    domain: str
    role: Role


@dataclass(frozen=True, slots=True)
class CommonReferenceOptions:
    """Settings of the common reference operator's desk.

    Attributes:
        mode: "open" takes updates and questions of every peer, "closed" those of members only.
        members: who is registered in closed mode: a `domain` and a `role` each.
        alarm_takeovers: this many connections taken from other aggregators by one update raise an alarm.
    """

    mode: Mode = Mode.CLOSED
    members: tuple[Member, ...] = ()
    alarm_takeovers: int = 10

    def __post_init__(self) -> None:
        if self.alarm_takeovers < 1:
            raise ValueError("alarm_takeovers must be 1 or more")
        if self.mode is Mode.OPEN and self.members:
            raise ValueError('members are registered in closed mode only: set mode = "closed"')


class CommonReferenceDesk(MarketDesk):
    """Keeps the register; it never speaks first."""

    def __init__(self, context: DeskContext, options: CommonReferenceOptions) -> None:
        super().__init__(context)
        self.mode = options.mode
        self.members = frozenset(options.members)
        self.alarm_takeovers = options.alarm_takeovers
        self.register = Register()

    def load(self, documents: Mapping[tuple[str, str], Any]) -> None:
        super().load(documents)
        self.register = Register.of(self.book)

    def on_message(
        self, peer: str, adapter: str, interpretation: Interpretation, received: Received, now: datetime
    ) -> list[Effect]:
        effects = super().on_message(peer, adapter, interpretation, received, now)
        update = interpretation.message
        if isinstance(update, Update) and any(isinstance(e, Put) and e.kind == REGISTERED for e in effects):
            effects += self._taken_over(peer, self.register.apply(peer, update, self._day(now)))
        return effects

    def judge(self, peer: str, interpretation: Interpretation, now: datetime) -> Judgement:
        message = interpretation.message
        role = _SENDERS.get(type(message)) if message is not None else None
        if role is None:
            return Judgement()
        if self.mode is Mode.CLOSED and Member(peer, role) not in self.members:
            why = f"{peer} is not registered here as {role}"
            return _refused(Problem("M1", "SenderDomain", why, "Unauthorized", clause=_CLAUSE))
        match message:
            case DsoPortfolioUpdate() | AgrPortfolioUpdate():
                return self._update(peer, message, now)
            case DsoPortfolioQuery():
                return self._dso_query(peer, message)
            case AgrPortfolioQuery():
                view = self.register.agr_view(peer, message.timezone, message.period)
                return _shown(view, bool(view.points or view.unpublished), message.period)
        return Judgement()

    def reference(self, day: date) -> dict[str, Any]:
        """The register on a day, with the connections named: for the operator's own page only."""
        summary = self.register.summary(day)
        for row in summary["points"]:
            seen = self.register.dso_view(row["address"], "", day).connections
            row["named"] = [{"address": c.address, "agr": c.agr} for c in seen]
        return summary

    async def work(self, now: datetime) -> None:
        """Nothing is ever due: an operator only answers."""

    def _update(self, peer: str, update: Update, now: datetime) -> Judgement:
        today = self._day(now)
        problems = tuple(self.register.check(peer, update, today))
        key = self.book.key(Direction.IN, peer, update.head.message_id)
        return Judgement(problems, effects=(Put(REGISTERED, key, today.isoformat()),))

    def _dso_query(self, peer: str, query: DsoPortfolioQuery) -> Judgement:
        # The same words for a foreign congestion point as for none: nobody learns here where others have some.
        if not self.register.owns(peer, query.congestion_point):
            why = "is no congestion point of this DSO"
            return _refused(Problem("R2", query.congestion_point, why, "Invalid congestion point", clause=_CLAUSE))
        view = self.register.dso_view(query.congestion_point, query.timezone, query.period)
        return _shown(view, bool(view.connections), query.period)

    def _taken_over(self, peer: str, lost: Mapping[str, set[str]]) -> list[Effect]:
        """Prosumers switch, but not by the dozen: somebody should look at who claims others' connections."""
        effects: list[Effect] = []
        for former, connections in sorted(lost.items()):
            effects.append(Log("register.taken_over", {"by": peer, "from": former, "connections": len(connections)}))
        taken = sum(map(len, lost.values()))
        if taken >= self.alarm_takeovers:
            text = f"{peer} now represents {taken} connections of {', '.join(sorted(lost))}"
            effects.append(Alarm("register.taken_over", peer, text))
        return effects

    def _day(self, now: datetime) -> date:
        return now.astimezone(self.context.terms.calendar.zone).date()


def build(options: Mapping[str, Any], context: DeskContext) -> CommonReferenceDesk:
    """Desk factory named by the entry point `commonreference`.

    Raises:
        ValueError: an option is unknown, missing or wrong; all of them are named.
    """
    return CommonReferenceDesk(context, read_options(CommonReferenceOptions, options))


def _refused(problem: Problem) -> Judgement:
    return Judgement(problems=(problem,))


def _shown(view: PortfolioView, shows: bool, day: date) -> Judgement:
    if shows:
        return Judgement(view=view)
    return _refused(Problem("M3", "Period", f"none on {day}", "No connections available", clause=_CLAUSE))
