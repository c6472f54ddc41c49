"""What every command checks: who may say it, to whom, about which place, day and ISPs.

Unknown names raise LookupError, what the present state forbids ValueError, and what does not fit the market `Unfit`
with all problems found.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal

from datamodels import (
    CongestionPoint,
    Contract,
    IspSeries,
    MarketCalendar,
    Participant,
    ParticipantStatus,
    Problem,
    Role,
    Run,
    validate,
)
from interop.desk import DeskContext
from interop.settings import nearest

__all__ = [
    "StretchBody",
    "Unfit",
    "ahead",
    "as_role",
    "contract_with",
    "contract_with_id",
    "money",
    "peer_of",
    "place",
    "refuse",
    "series",
    "valid",
]

_MOST = Decimal(10) ** 12


class Unfit(ValueError):
    """What was asked for does not fit the market; `problems` names everything that is wrong with it."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        super().__init__("; ".join(map(str, problems)))
        self.problems = tuple(problems)


@dataclass(frozen=True, slots=True)
class StretchBody:
    """`duration` ISPs from number `start` on (ISPs count from 1) with one power, W."""

    start: int
    power_w: int
    duration: int = 1


def refuse(problems: Iterable[Problem]) -> None:
    """Raise `Unfit` where there is any problem."""
    found = list(problems)
    if found:
        raise Unfit(found)


def valid(message: object, where: str) -> list[Problem]:
    """Problems of a canonical object, told as parts of what the operator said."""
    return [Problem(p.rule, f"{where}.{p.where}", p.message, hint=p.hint) for p in validate(message)]


def as_role(context: DeskContext, role: Role, what: str) -> None:
    """ValueError where this party does not play the role that says such things."""
    if context.role is not role:
        raise ValueError(f"only a {role} {what}, and this party is a {context.role}")


def peer_of(context: DeskContext, domain: str, role: Role) -> Participant:
    """The counterpart that is meant: by name, or the only one there is with that role."""
    known = {d: p for d, p in context.participants.items() if p.role is role}
    if not domain:
        if len(known) != 1:
            listed = ", ".join(sorted(known)) or "none; gridparley peer add adds one"
            raise LookupError(f"which {role}? Name the peer; known: {listed}")
        domain = next(iter(known))
    peer = context.participants.get(domain)
    if peer is None:
        raise LookupError(f"no peer is called {domain!r} ({nearest(domain, known) or 'gridparley peer add'})")
    if peer.role is not role:
        raise ValueError(f"{domain} is a {peer.role}; this is said to a {role}")
    if peer.status is ParticipantStatus.BARRED:
        raise ValueError(f"{domain} is barred; gridparley peer add admits it again")
    return peer


def place(context: DeskContext, address: str, dso: str = "") -> CongestionPoint:
    """The congestion point that is meant, one of `dso` if given: by address, or the only one there is."""
    known = {p.address: p for p in context.terms.congestion_points if dso in ("", p.dso)}
    if not address and len(known) == 1:
        return next(iter(known.values()))
    if address not in known:
        listed = ", ".join(known) or "none is configured"
        what = f"no congestion point {address!r}" if address else "which congestion point?"
        raise LookupError(f"{what}{f' of {dso}' if dso else ''}; known: {listed}")
    return known[address]


def contract_with_id(context: DeskContext, id: str) -> Contract:
    contract = context.terms.contract(id)
    if contract is None:
        raise LookupError(f"no contract {id!r}; known: {', '.join(c.id for c in context.terms.contracts) or 'none'}")
    return contract


def contract_with(context: DeskContext, id: str | None, peer: str) -> Contract | None:
    """The contract of that id, which must be with the peer; None without an id."""
    if id is None:
        return None
    contract = contract_with_id(context, id)
    if {contract.dso, contract.agr} != {context.domain, peer}:
        raise ValueError(f"contract {id} is between {contract.dso} and {contract.agr}, not with {peer}")
    return contract


def series(
    calendar: MarketCalendar, day: date, stretches: Sequence[StretchBody], where: str
) -> tuple[IspSeries, list[Problem]]:
    """Stretches as a series of the day, and what is wrong with them (the series is then empty)."""
    try:
        runs = [Run(s.start, s.duration, s.power_w) for s in stretches]
        return IspSeries.from_runs(calendar, day, runs), []
    except ValueError as error:
        hint = f"{day} has ISPs 1 to {calendar.isps(day)}"
        return IspSeries.empty(calendar, day), [Problem("flex.isps", where, str(error), hint=hint)]


def ahead(calendar: MarketCalendar, day: date, isps: Iterable[int], now: datetime, where: str) -> list[Problem]:
    """A problem where an ISP has begun."""
    begun = sorted(k for k in isps if 1 <= k <= calendar.isps(day) and calendar.start(day, k) <= now)
    if not begun:
        return []
    text = f"ISP {begun[0]} began at {calendar.start(day, begun[0]):%Y-%m-%d %H:%M}Z; market time is {now:%H:%M}Z"
    return [Problem("flex.begun", where, text, hint="leave out what has begun")]


def money(amount: Decimal, where: str) -> list[Problem]:
    """A problem where an amount is no price: from 0 on, with at most 4 digits behind the point."""
    if not 0 <= amount < _MOST:
        return [Problem("flex.price", where, f"{amount} is not between 0 and {_MOST:f}")]
    if amount != round(amount, 4):
        return [Problem("flex.price", where, f"{amount} has more than 4 digits behind the point", hint="round it")]
    return []
