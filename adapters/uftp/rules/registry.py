"""What a rule is, what it may look at, and how all of them are applied."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from itertools import islice
from operator import le, lt
from typing import NamedTuple, TypeVar

from adapters.ports import Direction, History, Known
from adapters.uftp.elements import Element
from adapters.uftp.schema import MESSAGES, MessageSpec
from datamodels import MarketMessage, MarketTerms, Participant, Problem, Role, Severity

__all__ = [
    "RULES",
    "Context",
    "Finding",
    "Rule",
    "Spans",
    "check",
    "expand",
    "isp_lists",
    "known",
    "numbers",
    "reasons",
    "rule",
    "span",
]

T = TypeVar("T")
_MOST_FINDINGS = 50


class Spans:
    """The ISPs that one list addresses: `firsts` and `lasts` number them element by element, `where` it stands."""

    __slots__ = ("firsts", "in_order", "lasts", "where")

    def __init__(self, where: str, parent: Element) -> None:
        durations = parent.column("Duration", 1)  # a Metering ISP has none
        self.where = where
        self.firsts: Sequence[int] = parent.column("Start")
        self.lasts = self.firsts
        forward = True
        if durations.count(1) != len(durations):
            self.lasts = [first + length - 1 for first, length in zip(self.firsts, durations, strict=True)]
            forward = all(map(le, self.firsts, self.lasts))
        self.in_order = forward and all(map(lt, self.lasts, self.firsts[1:]))
        """Whether each element lies after the one before it, so that none is addressed twice."""

    @property
    def pairs(self) -> Iterator[tuple[int, int]]:
        return zip(self.firsts, self.lasts, strict=True)

    @property
    def end(self) -> int:
        """The highest number; 0 without any."""
        return self.lasts[-1] if self.in_order and self.lasts else max(self.lasts, default=0)

    def within(self, first: int, last: int) -> bool:
        """Whether all of them, in order, lie within first..last; False where that is not clear."""
        return self.in_order and self.firsts[0] >= first and self.lasts[-1] <= last


@dataclass(frozen=True, slots=True)
class Context:
    """Everything a rule may look at. `sender` and `sender_role` are those of the envelope whose signature was good.

    `canonical` is the message translated, None where that was not possible (its ISPs leave the day, say).
    """

    element: Element
    spec: MessageSpec
    canonical: MarketMessage | None
    sender: str
    sender_role: Role
    own_domain: str
    own_role: Role
    history: History
    terms: MarketTerms
    participants: Mapping[str, Participant]
    now: datetime
    versions: tuple[str, ...]
    _spans: list[Spans] = field(default_factory=list, init=False, repr=False)

    @property
    def spans(self) -> list[Spans]:
        """The ISPs that each ISP list of a day message addresses (see `isp_lists`); worked out once."""
        if not self._spans:
            self._spans.extend(Spans(where, parent) for where, parent in isp_lists(self.element))
        return self._spans

    @property
    def last_isp(self) -> int | None:
        """Number of ISPs of the message's Period in the market; None where the ISP length does not divide it."""
        return _isps(self, self.element["Period"])


class Finding(NamedTuple):
    """One failure: `detail` is added to the rule's reason, `reason` replaces it."""

    where: str
    message: str
    detail: str = ""
    reason: str = ""
    severity: Severity = Severity.ERROR


@dataclass(frozen=True, slots=True)
class Rule:
    """`reason` is the released RejectionReason (UFTP 3.1.0 sections 3.5 to 3.10), `clause` the rule's source."""

    id: str
    messages: frozenset[str]
    reason: str
    clause: str
    check: Callable[[Context], Iterable[Finding]]


RULES: dict[str, Rule] = {}
_BY_MESSAGE: dict[str, list[Rule]] = {}


def rule(
    id: str, messages: Iterable[str], reason: str, clause: str
) -> Callable[[Callable[[Context], Iterator[Finding]]], Callable[[Context], Iterator[Finding]]]:
    """Register a generator of findings as rule `id` for those roots."""

    def register(function: Callable[[Context], Iterator[Finding]]) -> Callable[[Context], Iterator[Finding]]:
        entry = Rule(id, frozenset(messages), reason, f"UFTP 3.1.0 {clause}", function)
        if id in RULES or not entry.messages <= MESSAGES.keys():
            raise ValueError(f"rule {id} stands twice, or names an unknown message")
        RULES[id] = entry
        for name in entry.messages:
            _BY_MESSAGE.setdefault(name, []).append(entry)
        return function

    return register


def check(context: Context) -> list[Problem]:
    """All problems by all rules that apply; one problem a rule and reason, warnings singly."""
    problems: list[Problem] = []
    for entry in _BY_MESSAGE.get(context.element.name, ()):
        merged: dict[str, list[Finding]] = {}
        for finding in islice(entry.check(context), _MOST_FINDINGS):
            reason = finding.reason or entry.reason
            text = f"{reason}: {finding.detail}" if finding.detail else reason
            if finding.severity is Severity.ERROR:
                merged.setdefault(text, []).append(finding)
            else:
                problems.append(_problem(entry, text, [finding]))
        problems.extend(_problem(entry, text, findings) for text, findings in merged.items())
    return problems


def _problem(entry: Rule, reason: str, findings: list[Finding]) -> Problem:
    where = ", ".join(dict.fromkeys(f.where for f in findings[:3]))
    message = "; ".join(dict.fromkeys(f.message for f in findings[:3]))
    if len(findings) > 3:
        message += f"; and {len(findings) - 3} more"
    return Problem(entry.id, where, message, reason, "", entry.clause, findings[0].severity)


def reasons(problems: Iterable[Problem]) -> tuple[str, ...]:
    """The reasons to answer with: each once, in the order found."""
    return tuple(dict.fromkeys(p.reason for p in problems if p.severity is Severity.ERROR and p.reason))


# --- what several rules need --------------------------------------------------------------------------------------


def _isps(context: Context, day: date) -> int | None:
    try:
        return context.terms.calendar.isps(day)
    except (ValueError, OverflowError):
        return None


def isp_lists(element: Element) -> list[tuple[str, Element]]:
    """The ISP lists of a day message, each with where it stands, as the parents of its ISPs: one, or one an option
    (a profile)."""
    if element.name == "FlexOffer":
        return [(f"OfferOption {o['OptionReference']}", o) for o in element.children]
    if element.name == "Metering":
        return [(f"Profile {p['ProfileType']}", p) for p in element.children]
    return [("ISP", element)]


def span(isp: Element) -> tuple[int, int]:
    """First and last number that an ISP element addresses; a Metering ISP has no Duration."""
    start, length = isp.attributes["Start"], isp.attributes.get("Duration", 1)
    return start, start + length - 1


def expand(isps: Iterable[Element], last: int) -> set[int]:
    """All numbers within 1..last that ISP elements address."""
    return numbers((span(isp) for isp in isps), last)


def numbers(spans: Iterable[tuple[int, int]], last: int) -> set[int]:
    """All numbers within 1..last that lie in (first, last) spans."""
    return {k for first, end in spans for k in range(max(first, 1), min(end, last) + 1)}


def known(context: Context, id: str | None, kind: type[T], direction: Direction) -> tuple[Known, T] | None:
    """The earlier message of that id, kind and direction between these two parties."""
    found = context.history.find(id, direction, context.sender) if id else None
    if found is None or found.direction is not direction or found.peer != context.sender:
        return None
    return (found, found.message) if isinstance(found.message, kind) else None
