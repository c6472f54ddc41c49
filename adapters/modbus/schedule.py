"""Which orders a device has, and what they ask of it at an instant. Pure; times are market time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from adapters.modbus.sunspec.recipes import Verb
from datamodels import Dispatch, DispatchKind

__all__ = ["Schedule", "Target"]


@dataclass(frozen=True, slots=True)
class Target:
    """What a verb shall do now: the value that decides, and every dispatch that is served by it."""

    kind: DispatchKind
    value: int
    decided_by: str
    dispatches: tuple[Dispatch, ...]


class Schedule:
    """The dispatches of one device by id, in the order they came."""

    def __init__(self) -> None:
        self._dispatches: dict[str, Dispatch] = {}

    def put(self, dispatch: Dispatch) -> bool:
        """Take a dispatch, or a higher revision of one; False where it brings nothing new."""
        known = self._dispatches.get(dispatch.id)
        if known is not None and known.revision >= dispatch.revision:
            return False
        self._dispatches[dispatch.id] = dispatch
        return True

    def drop(self, dispatch: str) -> Dispatch | None:
        return self._dispatches.pop(dispatch, None)

    def get(self, dispatch: str) -> Dispatch | None:
        return self._dispatches.get(dispatch)

    def all(self) -> tuple[Dispatch, ...]:
        return tuple(self._dispatches.values())

    def active(self, now: datetime) -> tuple[Dispatch, ...]:
        """Those that have begun and not ended."""
        return tuple(d for d in self._dispatches.values() if d.start <= now < d.end)

    def ended(self, now: datetime) -> tuple[Dispatch, ...]:
        return tuple(d for d in self._dispatches.values() if d.end <= now)

    def targets(self, now: datetime, verbs: Mapping[str, Verb]) -> dict[Verb, Target]:
        """What each verb shall do at `now`.

        Several limits: the strictest decides. Several set points: the most urgent (priority 1 first, 0 last), among
        equals the one that came last.

        Args:
            verbs: the verb that carries each dispatch, by dispatch id.
        """
        found: dict[Verb, list[tuple[Dispatch, int]]] = {}
        for dispatch in self._dispatches.values():
            interval = dispatch.at(now)
            if interval is not None and dispatch.id in verbs:
                found.setdefault(verbs[dispatch.id], []).append((dispatch, interval.value))
        targets = {}
        for verb, candidates in found.items():
            candidates.reverse()  # min() keeps the first of equals: the one that came last
            if verb is Verb.LIMIT:
                dispatch, value = min(candidates, key=_strictness)
            else:
                dispatch, value = min(candidates, key=lambda c: c[0].priority or 1 << 31)
            served = tuple(d for d, _ in reversed(candidates))
            targets[verb] = Target(dispatch.kind, value, dispatch.id, served)
        return targets

    def next_change(self, now: datetime) -> datetime | None:
        """The next instant after `now` at which an interval begins or ends."""
        edges = (e for d in self._dispatches.values() for i in d.intervals for e in (i.start, i.start + i.duration))
        return min((e for e in edges if e > now), default=None)


def _strictness(candidate: tuple[Dispatch, int]) -> int:
    dispatch, value = candidate
    return value if dispatch.kind is DispatchKind.EXPORT_LIMIT else -value
