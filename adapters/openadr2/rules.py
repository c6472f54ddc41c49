"""What a VTN takes, from whom, and where: one table for end points, roles and handlers, and the checks before them.

A message that is refused changes nothing and gets the reply its kind has in the profile, with the code in eiResponse.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from lxml import etree

from adapters.errors import Rejection
from adapters.openadr2 import codec, events, metadata, model, opts, polling, registration, reports
from adapters.openadr2.model import EiResponse, Payload
from adapters.openadr2.records import Ven
from adapters.openadr2.registration import Caller
from adapters.openadr2.session import Outcome, Session, answer
from adapters.openadr2.tables import qualified
from datamodels import Problem

__all__ = ["ENDPOINTS", "PUSHED", "handle", "hear", "refuse"]

ENDPOINTS = ("EiRegisterParty", "EiEvent", "EiReport", "EiOpt", "OadrPoll")

PUSHED: Mapping[type, str] = {
    model.OadrDistributeEvent: "EiEvent",
    model.OadrCreateReport: "EiReport",
    model.OadrRegisterReport: "EiReport",
    model.OadrCancelReport: "EiReport",
    model.OadrUpdateReport: "EiReport",
    model.OadrCancelPartyRegistration: "EiRegisterParty",
    model.OadrRequestReregistration: "EiRegisterParty",
}
"""Where a VEN in push mode takes what we send."""

_Refusal: TypeAlias = Callable[[Session, EiResponse, etree._Element], Payload]


@dataclass(frozen=True, slots=True)
class _Entry:
    """A payload the VTN takes: where, by whom it is handled, and how it is refused. `open`: also from strangers."""

    endpoint: str
    handler: Callable[..., Outcome]
    refusal: _Refusal
    open: bool = False


def _sender(payload: etree._Element) -> str | None:
    named = codec.ven_id_of(payload)
    return named if named is not None and len(named) <= 256 else None


def _plain(session: Session, response: EiResponse, payload: etree._Element) -> Payload:
    return model.OadrResponse(response, _sender(payload))


def _party(session: Session, response: EiResponse, payload: etree._Element) -> Payload:
    return registration.party_registration(session, response, None)


def _opt_id(payload: etree._Element) -> str:
    return payload.findtext(qualified("ei:optID")) or ""


_TABLE: Mapping[type, _Entry] = {
    model.OadrQueryRegistration: _Entry("EiRegisterParty", registration.query_registration, _party, open=True),
    model.OadrCreatePartyRegistration: _Entry("EiRegisterParty", registration.create_registration, _party, open=True),
    model.OadrCancelPartyRegistration: _Entry(
        "EiRegisterParty",
        registration.cancel_registration,
        lambda s, r, p: model.OadrCanceledPartyRegistration(r, p.findtext(qualified("ei:registrationID")), _sender(p)),
    ),
    model.OadrCanceledPartyRegistration: _Entry("EiRegisterParty", registration.canceled_registration, _plain),
    model.OadrResponse: _Entry("", registration.responded, _plain),
    model.OadrRequestEvent: _Entry(
        "EiEvent",
        events.request_event,
        lambda s, r, p: model.OadrDistributeEvent(r.request_id, s.config.vtn_id, response=r),
    ),
    model.OadrCreatedEvent: _Entry("EiEvent", events.created_event, _plain),
    model.OadrRegisterReport: _Entry(
        "EiReport", reports.register_report, lambda s, r, p: model.OadrRegisteredReport(r, (), _sender(p))
    ),
    model.OadrRegisteredReport: _Entry("EiReport", metadata.registered_report, _plain),
    model.OadrCreateReport: _Entry(
        "EiReport", metadata.create_report, lambda s, r, p: model.OadrCreatedReport(r, (), _sender(p))
    ),
    model.OadrCreatedReport: _Entry("EiReport", reports.created_report, _plain),
    model.OadrUpdateReport: _Entry(
        "EiReport", reports.update_report, lambda s, r, p: model.OadrUpdatedReport(r, ven_id=_sender(p))
    ),
    model.OadrCancelReport: _Entry(
        "EiReport", metadata.cancel_report, lambda s, r, p: model.OadrCanceledReport(r, (), _sender(p))
    ),
    model.OadrCanceledReport: _Entry("EiReport", reports.canceled_report, _plain),
    model.OadrCreateOpt: _Entry("EiOpt", opts.create_opt, lambda s, r, p: model.OadrCreatedOpt(r, _opt_id(p))),
    model.OadrPoll: _Entry("OadrPoll", polling.poll, _plain),
    model.OadrCancelOpt: _Entry("EiOpt", opts.cancel_opt, lambda s, r, p: model.OadrCanceledOpt(r, _opt_id(p))),
}


_REPLIES = frozenset(
    {
        model.OadrResponse,
        model.OadrCreatedEvent,
        model.OadrCreatedReport,
        model.OadrRegisteredReport,
        model.OadrUpdatedReport,
        model.OadrCanceledReport,
        model.OadrCanceledPartyRegistration,
    }
)


def handle(session: Session, caller: Caller, endpoint: str, payload: etree._Element) -> Outcome:
    """Check and handle a schema-valid payload. Never raises for what a peer sent."""
    try:
        entry = _entry(endpoint, payload)
        if not entry.open:
            _registered(caller, payload)
        subject: Any = caller if entry.open else caller.ven
        return entry.handler(session, subject, codec.decode(payload))
    except Rejection as error:
        return refuse(session, payload, error.problems[0])
    except OverflowError:
        problem = Problem("oadr.value", codec.kind_of(payload), "a time lies outside the calendar", reason="454")
        return refuse(session, payload, problem)


def hear(session: Session, ven: Ven, payload: etree._Element) -> Outcome:
    """Take a schema-valid reply of a VEN to what was pushed; the outcome's own reply goes nowhere."""
    try:
        entry = _entry("", payload)
        if codec.class_of(payload) not in _REPLIES:
            raise Rejection([Problem("oadr.role", codec.kind_of(payload), "this is no reply", reason="459")])
        if codec.ven_id_of(payload) not in (None, ven.ven_id):
            raise Rejection([Problem("oadr.ven.foreign", "venID", "the venID is that of another VEN", reason="463")])
        return entry.handler(session, ven, codec.decode(payload))
    except Rejection as error:
        return Outcome(problems=error.problems)


def refuse(session: Session, payload: etree._Element, problem: Problem) -> Outcome:
    """The reply that says no, in the form the kind of message calls for."""
    cls = codec.class_of(payload)
    refusal = _TABLE[cls].refusal if cls in _TABLE else _plain
    return Outcome(refusal(session, answer(_request_id(payload), problem), payload), problems=(problem,))


def _request_id(payload: etree._Element) -> str:
    element = payload.find(f".//{qualified('pyld:requestID')}")
    text = (element.text or "") if element is not None else ""
    return text if len(text) <= 256 else ""


def _entry(endpoint: str, payload: etree._Element) -> _Entry:
    kind = codec.kind_of(payload)
    version = payload.get(qualified("ei:schemaVersion"))
    if version not in (None, "2.0b"):
        raise Rejection([Problem("oadr.version", kind, "schemaVersion must be 2.0b", reason="459")])
    entry = _TABLE.get(codec.class_of(payload))
    if entry is None:
        raise Rejection([Problem("oadr.role", kind, "a VEN does not send this", reason="451")])
    if endpoint and entry.endpoint not in ("", endpoint):
        raise Rejection([Problem("oadr.endpoint", kind, f"this belongs to {entry.endpoint}", reason="459")])
    return entry


def _registered(caller: Caller, payload: etree._Element) -> None:
    """The sender is registered, and names itself as the transport knows it (rule 21)."""
    ven, named = caller.ven, codec.ven_id_of(payload)
    if ven is None or not ven.registration_id:
        raise Rejection([Problem("oadr.unregistered", "venID", "this VEN is not registered", reason="463")])
    if named is None:
        raise Rejection([Problem("oadr.ven.missing", "venID", "the venID is missing", reason="452")])
    if named != ven.ven_id:
        raise Rejection([Problem("oadr.ven.foreign", "venID", "the venID is that of another VEN", reason="463")])
