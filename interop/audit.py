"""Reading the event log again: is it whole, and does it agree with the tables beside it?"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from interop.store import ChainReport, EventRow, Reader

__all__ = ["Audit", "audit"]

_PAGE = 5000


@dataclass(slots=True)
class Audit:
    """Counts rebuilt from the events, and every disagreement found."""

    chain: ChainReport
    kinds: Counter[str] = field(default_factory=Counter)
    messages: Counter[str] = field(default_factory=Counter)
    dispatches: Counter[str] = field(default_factory=Counter)
    problems: list[str] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        return {
            "events": self.chain.events,
            "head": self.chain.head,
            "intact": self.chain.intact,
            "kinds": dict(sorted(self.kinds.items())),
            "messages": dict(sorted(self.messages.items())),
            "dispatches": len(self.dispatches),
            "problems": self.problems,
        }


def audit(reader: Reader, head: str = "") -> Audit:
    """Verify the chain and rebuild the counts; `head` is a hash noted earlier that must still be in the log."""
    chain = reader.verify_chain()
    result = Audit(chain)
    if not chain.intact:
        result.problems.append(f"event {chain.broken_at}: {chain.reason}")
    found = not head
    after = 0
    while rows := reader.events(after, _PAGE):
        _count(result, rows)
        found = found or any(row.hash == head for row in rows)
        after = rows[-1].seq
    if not found:
        result.problems.append(f"no event has the hash {head}: the log was cut off or replaced")
    _compare(result, reader.counts())
    return result


def _count(result: Audit, rows: Iterable[EventRow]) -> None:
    for row in rows:
        result.kinds[row.kind] += 1
        if row.kind == "message.in":
            verdict = {None: "in", True: "in accepted", False: "in rejected"}[row.data["accepted"]]
            result.messages[verdict] += 1
        elif row.kind == "message.out":
            result.messages["out"] += 1
        elif row.kind == "dispatch.instructed":
            result.dispatches[f"{row.data['dispatch']} revision {row.data['revision']}"] += 1


def _compare(result: Audit, counts: dict[str, dict[str, int]]) -> None:
    pairs = (
        ("message.in", counts["inbox"]["DONE"], "handled messages in the inbox"),
        ("message.out", sum(counts["outbox"].values()), "messages in the outbox"),
    )
    for kind, rows, what in pairs:
        if result.kinds[kind] != rows:
            result.problems.append(f"{result.kinds[kind]} {kind} events, but {rows} {what}")
    twice = [dispatch for dispatch, number in result.dispatches.items() if number > 1]
    result.problems += [f"dispatch {dispatch} was instructed more than once" for dispatch in twice]
