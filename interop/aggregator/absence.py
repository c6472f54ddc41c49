"""When resources behind VENs are not there for us: their schedules of availability, and events they opted out of.

What a VEN said last about an instant counts. An opt-out of an event holds for the event's time and for those of the
VEN's resources that the event names, else for all of them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date, datetime

from datamodels import (
    Availability,
    EventOpt,
    MarketCalendar,
    Opt,
    ProgrammeEvent,
    Resource,
    Ven,
    VenResource,
)
from interop.programmes.objects import Objects

__all__ = ["Absence", "Word"]


@dataclass(frozen=True, slots=True)
class Word:
    """A VEN's word on a resource of ours (by id) from `start` to `end` (None: for ever)."""

    resource: str
    opt: Opt
    said: datetime
    start: datetime
    end: datetime | None

    def covers(self, instant: datetime) -> bool:
        return self.start <= instant and (self.end is None or instant < self.end)

    def overlaps(self, begin: datetime, end: datetime) -> bool:
        return self.start < end and (self.end is None or begin < self.end)


class Absence:
    """Reads the programme model (None: nobody is ever absent). A resource of ours is behind a VEN where the VEN's
    resource names it, or its binding's address is <VEN name>/<resource name>."""

    def __init__(self, programmes: Objects | None, resources: Mapping[str, Resource]) -> None:
        self._programmes = programmes
        self._resources = resources
        self._read_at = -1
        self._words: list[Word] = []

    def at(self, instant: datetime) -> set[str]:
        """Resources that are not there at an instant."""
        return self._out(word for word in self._newest_first() if word.covers(instant))

    def isps(self, calendar: MarketCalendar, day: date) -> dict[str, frozenset[int]]:
        """ISPs (1-based) of a day in any part of which a resource is not there, by resource."""
        found: dict[str, set[int]] = {}
        words = self._newest_first()
        begin, end = calendar.day_span(day)
        if not any(word.opt is Opt.OPT_OUT and word.overlaps(begin, end) for word in words):
            return {}
        for isp, start in enumerate(calendar.starts(day), 1):
            for id in self._out(word for word in words if word.overlaps(start, start + calendar.isp)):
                found.setdefault(id, set()).add(isp)
        return {id: frozenset(isps) for id, isps in found.items()}

    def _out(self, words: Iterator[Word]) -> set[str]:
        opts: dict[str, Opt] = {}
        for word in words:
            opts.setdefault(word.resource, word.opt)
        return {id for id, opt in opts.items() if opt is Opt.OPT_OUT}

    def _newest_first(self) -> list[Word]:
        if self._programmes is not None and self._read_at != self._programmes.last:
            self._read_at = self._programmes.last
            words = [*self._of_schedules(self._programmes), *self._of_events(self._programmes)]
            self._words = sorted(words, key=lambda word: word.said, reverse=True)
        return self._words

    def _of_schedules(self, programmes: Objects) -> Iterator[Word]:
        for entry in programmes.all(Availability).values():
            if entry.device_classes and not entry.resources:
                continue  # which of the VEN's devices are meant, it alone knows
            for id in self._behind(programmes, entry.ven, frozenset(entry.resources)):
                for window in entry.windows:
                    yield Word(id, entry.opt, entry.modified, window.start, window.end)

    def _of_events(self, programmes: Objects) -> Iterator[Word]:
        for opt in programmes.all(EventOpt).values():
            event = programmes.get(ProgrammeEvent, opt.event)
            if opt.opt is not Opt.OPT_OUT or event is None or event.cancelled or event.test:
                continue
            if opt.answered < event.revision or event.start is None:
                continue
            named = frozenset(target.value for target in event.targets)
            some = self._behind(programmes, opt.ven, named) if named else set()
            for id in some or self._behind(programmes, opt.ven, frozenset()):
                yield Word(id, opt.opt, opt.modified, event.start, event.end)

    def _behind(self, programmes: Objects, ven: str, names: frozenset[str]) -> set[str]:
        """Ids of resources of ours behind a VEN (by id): those with one of `names` there, or all of them."""
        of = programmes.get(Ven, ven)
        known = {r.name: r.resource for r in programmes.all(VenResource).values() if r.ven == ven and r.resource}
        for id, resource in self._resources.items():
            owner, _, name = (resource.binding.address if resource.binding else "").partition("/")
            if of is not None and owner == of.name and name:
                known.setdefault(name, id)
        return {id for name, id in known.items() if id in self._resources and (not names or name in names)}
