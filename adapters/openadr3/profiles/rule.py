"""How a profile is written down: a table of rules over objects, each with an id, a clause and its reason."""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, TypeAlias

from adapters.openadr3.model import Event, Interval, Program, Report, Resource, ResourceGroup, ValuesMap, Ven, values_of
from datamodels import Problem, Severity

__all__ = [
    "Around",
    "Finding",
    "Judged",
    "Rule",
    "Rules",
    "is_ean",
    "is_uuid",
    "judge",
    "kw",
    "number",
    "program_type",
    "single",
    "single_payload",
    "types_in",
]

Judged: TypeAlias = Program | Ven | Resource | ResourceGroup | Event | Report


@dataclass(frozen=True, slots=True)
class Around:
    """What a rule may know besides the object; a rule that needs what is not given says nothing.

    `group` is the one an event targets, `event` the one a report answers, `events` all of the programme (for a
    programme: its events; for an event: the others).
    """

    group: ResourceGroup | None = None
    event: Event | None = None
    events: Sequence[Event] | None = None
    ven: Ven | None = None


@dataclass(frozen=True, slots=True)
class Finding:
    where: str
    message: str
    hint: str


Check: TypeAlias = Callable[[Any, Around], Iterable[Finding]]


@dataclass(frozen=True, slots=True)
class Rule:
    """`says` is the rule in one line, given as the reason of a refusal."""

    id: str
    kinds: tuple[str, ...]
    clause: str
    says: str
    check: Check
    severity: Severity = Severity.ERROR


class Rules:
    """A profile's table; `rule` enters a function into it."""

    def __init__(self, profile: str) -> None:
        self.profile = profile
        self.table: list[Rule] = []

    def rule(
        self, id: str, kinds: str, clause: str, says: str, severity: Severity = Severity.ERROR
    ) -> Callable[[Check], Check]:
        def enter(check: Check) -> Check:
            self.table.append(Rule(f"{self.profile}.{id}", tuple(kinds.split()), clause, says, check, severity))
            return check

        return enter


def judge(table: Iterable[Rule], kind: str, subject: Judged, around: Around) -> list[Problem]:
    """Everything the rules for a kind of object find."""
    return [
        Problem(rule.id, found.where, found.message, rule.says, found.hint, rule.clause, rule.severity)
        for rule in table
        if kind in rule.kinds
        for found in rule.check(subject, around)
    ]


# --- words that rules share -----------------------------------------------------------------------------------------


def is_ean(value: Any, digits: int) -> bool:
    """An EAN of that many digits with a good check digit (weights 3, 1 from the right)."""
    if not isinstance(value, str) or not re.fullmatch(rf"[0-9]{{{digits}}}", value):
        return False
    weighted = sum(int(d) * (3 if n % 2 == 0 else 1) for n, d in enumerate(reversed(value[:-1])))
    return (10 - weighted % 10) % 10 == int(value[-1])


def is_uuid(value: Any) -> bool:
    if not isinstance(value, str):
        return False
    try:
        return str(uuid.UUID(value)) == value.lower()
    except ValueError:
        return False


def number(value: Any) -> Decimal | None:
    """A finite number; None for anything else, true and false among it."""
    if isinstance(value, bool) or not isinstance(value, int | Decimal):
        return None
    return Decimal(value) if Decimal(value).is_finite() else None


def kw(value: Any) -> Decimal | None:
    """A power value: a number in kW with at most two decimals; None for anything else."""
    power = number(value)
    return power if power is not None and power == round(power, 2) else None


def single(maps: Iterable[ValuesMap] | None, type: str) -> Any:
    """The one value of the one map of a type; None where it is absent, repeated, or has another number of values."""
    found = [m for m in maps or () if m.type == type]
    return found[0].values[0] if len(found) == 1 and len(found[0].values) == 1 else None


def single_payload(interval: Interval, type: str) -> Any:
    """The one value of an interval whose only payload is of that type."""
    return single(interval.payloads, type) if len(interval.payloads) == 1 else None


def types_in(intervals: Iterable[Interval] | None) -> Iterator[str]:
    return (payload.type for interval in intervals or () for payload in interval.payloads)


def program_type(program: Program) -> str:
    """PROGRAM_TYPE of a programme in either version, empty where it names none."""
    named = program.program_type or (values_of(program.attributes, "PROGRAM_TYPE") or ("",))[0]
    return named if isinstance(named, str) else ""
