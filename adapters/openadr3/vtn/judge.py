"""National profiles at the door: objects of a programme that declares one are judged by it, as configured."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

from adapters.errors import Rejection
from adapters.openadr3.members import Version
from adapters.openadr3.model import Event, Program, Report, ResourceGroup, values_of
from adapters.openadr3.profiles import der, gac
from adapters.openadr3.profiles.der_reports import judge as judge_der
from adapters.openadr3.profiles.rule import Around
from adapters.openadr3.vtn import wire
from adapters.openadr3.vtn.config import Judging
from adapters.ports import Programmes
from datamodels import Problem, Programme, ProgrammeEvent, Severity
from datamodels import ResourceGroup as Group

__all__ = ["Judge"]

logger = logging.getLogger(__name__)


class Judge:
    """`judging` for every programme, `by_name` for some."""

    def __init__(self, programmes: Programmes, judging: Judging, by_name: Mapping[str, str]) -> None:
        self._programmes = programmes
        self._judging = judging
        self._by_name = by_name
        self._programs: dict[str, tuple[int, Program]] = {}

    def program(self, entry: Programme) -> Program:
        """A programme as a document of 3.1.0."""
        known = self._programs.get(entry.id)
        if known is None or known[0] != entry.revision:
            value: Program = wire.value_of(entry, Version.V310)
            known = self._programs[entry.id] = entry.revision, value
        return known[1]

    def may_change(self, event: ProgrammeEvent) -> None:
        """Rejection where the programme's events are binding: they are removed and made anew (BINDING_EVENTS)."""
        programme = self._programmes.get(Programme, event.programme)
        if programme is None or self._mode(programme.name) is Judging.OFF:
            return
        if (values_of(self.program(programme).attributes, "BINDING_EVENTS") or (False,))[0] is True:
            text = "events of this programme are binding once they are published"
            raise Rejection([Problem("openadr3.binding", "", text, hint="remove it and make another")])

    def check(self, value: Any, entry: Any) -> None:
        """Rejection where a profile is enforced and the object breaks it; a warning in the log where it is not."""
        program, name = self._program_of(value, entry)
        mode = self._mode(name) if program is not None else Judging.OFF
        if program is None or mode is Judging.OFF:
            return
        problems = [p for p in self._judged(program, value) if p.severity is Severity.ERROR]
        if problems and mode is Judging.ENFORCE:
            raise Rejection(problems)
        for each in problems:
            logger.warning("openadr3: %s %s breaks its programme's profile: %s", type(value).__name__, entry.id, each)

    def _judged(self, program: Program, value: Any) -> Sequence[Problem]:
        around = self._around(value)
        edition = gac.edition(program)
        if edition is not None and isinstance(value, Program | Event):
            return gac.judge(value, edition, around)
        return judge_der(value, around) if der.describes(program) else ()

    def _program_of(self, value: Any, entry: Any) -> tuple[Program | None, str]:
        match value:
            case Program():
                return value, value.program_name
            case Event():
                programme = self._programmes.get(Programme, value.program_id)
            case Report():
                event = self._programmes.get(ProgrammeEvent, value.event_id)
                programme = self._programmes.get(Programme, event.programme) if event is not None else None
            case _:
                return None, ""
        return (self.program(programme), programme.name) if programme is not None else (None, "")

    def _around(self, value: Any) -> Around:
        if isinstance(value, Report):
            event = self._programmes.get(ProgrammeEvent, value.event_id)
            return Around(event=wire.value_of(event, Version.V310) if event is not None else None)
        if isinstance(value, Event):
            names = {t for t in value.targets or () if isinstance(t, str)}
            groups = (g for g in self._programmes.all(Group).values() if g.name in names) if names else iter(())
            group = next(groups, None)
            shown: ResourceGroup | None = wire.value_of(group, Version.V310) if group is not None else None
            return Around(group=shown)
        return Around()

    def _mode(self, name: str) -> Judging:
        return Judging(self._by_name.get(name, self._judging))
