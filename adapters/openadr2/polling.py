"""OadrPoll at the VTN: exactly one payload per poll. Pure over `Session`."""

from __future__ import annotations

from adapters.openadr2 import events, metadata, registration, reports
from adapters.openadr2.model import OadrPoll, OadrResponse, Payload
from adapters.openadr2.records import Ven
from adapters.openadr2.session import Outcome, Session, answer

__all__ = ["nothing", "poll", "waiting"]


def waiting(session: Session, ven: Ven) -> Payload | None:
    """What waits for a VEN: a word on its registration, else its events, else something about reports."""
    word = registration.pending(session, ven)
    if word is not None:
        return word
    if events.unanswered(session, ven.name):
        return events.distribute(session, ven, session.new_id())
    return reports.ending(session, ven) or reports.unconfirmed(session, ven) or metadata.owed(session, ven)


def nothing(ven: Ven) -> OadrResponse:
    """The answer to a poll when nothing waits."""
    return OadrResponse(answer(""), ven.ven_id)


def poll(session: Session, ven: Ven, message: OadrPoll) -> Outcome:
    """oadrPoll, the long way."""
    return Outcome(waiting(session, ven) or nothing(ven))
