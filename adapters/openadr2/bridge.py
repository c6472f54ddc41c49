"""Between a running VTN and the programme model: what VENs say goes in, what is edited there comes to VENs."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence

from adapters.errors import Rejection
from adapters.openadr2 import notices
from adapters.openadr2.session import Outcome, Session
from adapters.ports import Edit, Programmes
from datamodels import Loss, Programme, ProgrammeEvent, ResourceGroup, Ven, VenResource

__all__ = ["Bridge"]

logger = logging.getLogger(__name__)


class Bridge:
    """`tell` is called with the name of a VEN for which something has changed."""

    def __init__(self, session: Session, programmes: Programmes | None, tell: Callable[[str], None]) -> None:
        self._session = session
        self._programmes = programmes
        self._tell = tell

    def start(self) -> Outcome:
        """Follow the model from now on. The outcome forgets what VENs answered to events that are gone: they get a
        list of events without them."""
        self._refresh()
        if self._programmes is not None:
            self._programmes.watch(self._edited)
        known = {n.key for told in self._session.notices.values() for n in told.values()}
        gone = tuple(d for d in self._session.deliveries.values() if d.ven and d.key not in known)
        self._session.orphans |= {d.ven for d in gone}
        return Outcome(drop=gone)

    def follow(self, ven: str) -> None:
        """A VEN has registered, or ended it."""
        self._refresh(vens=[ven])

    async def write(self, edits: Sequence[Edit]) -> None:
        """Hand what VENs say to the model. What it refuses is no fault of the VEN's, whose word counts here anyway."""
        if not edits or self._programmes is None:
            return
        try:
            await self._programmes.write(edits)
        except Rejection as error:
            logger.warning("openadr2: the programme model does not take %s: %s", edits[0].kind.__name__, error)

    def _edited(self, edits: Sequence[Edit]) -> None:
        entries = [edit.entry for edit in edits]
        if any(isinstance(entry, Programme | ResourceGroup) for entry in entries):
            self._refresh()
            return
        if events := [entry.id for entry in entries if isinstance(entry, ProgrammeEvent)]:
            self._refresh(events=events)
        names = {self._named(entry) for entry in entries if isinstance(entry, Ven | VenResource)}
        if vens := sorted(names & self._session.vens.keys()):
            self._refresh(vens=vens)

    def _named(self, entry: Ven | VenResource) -> str:
        """The name of the VEN that an edit is about."""
        if isinstance(entry, Ven):
            return entry.name
        owner = self._programmes.get(Ven, entry.ven) if self._programmes is not None else None
        return owner.name if owner is not None else ""

    def _refresh(self, events: Sequence[str] | None = None, vens: Sequence[str] | None = None) -> None:
        changed, losses = notices.refresh(self._session, events, vens)
        distinct: dict[Loss, None] = dict.fromkeys(losses)
        for loss in distinct:
            logger.info("openadr2: 2.0b VENs do not get of an event: %s %s: %s", loss.field, loss.value, loss.why)
        for name in changed:
            self._tell(name)
