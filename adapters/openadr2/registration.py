"""EiRegisterParty at the VTN. Pure over `Session`; who is asking was settled by the transport."""

from __future__ import annotations

from dataclasses import dataclass, replace

from adapters.errors import Rejection
from adapters.openadr2 import notices
from adapters.openadr2.lexical import Duration
from adapters.openadr2.model import (
    EiResponse,
    OadrCanceledPartyRegistration,
    OadrCancelPartyRegistration,
    OadrCreatedPartyRegistration,
    OadrCreatePartyRegistration,
    OadrProfile,
    OadrQueryRegistration,
    OadrRequestReregistration,
    OadrResponse,
)
from adapters.openadr2.push import address_problem
from adapters.openadr2.records import Record, Ven
from adapters.openadr2.session import Outcome, Session, answer
from datamodels import DispatchStatus, DispatchUpdate, Problem

__all__ = [
    "Caller",
    "cancel_registration",
    "canceled_registration",
    "create_registration",
    "party_registration",
    "pending",
    "query_registration",
    "responded",
]

_PROFILES = (OadrProfile("2.0b", ("simpleHttp",)),)


@dataclass(frozen=True, slots=True)
class Caller:
    """Who sent a message: `ven` where it is known; `fingerprint` of its certificate, empty without TLS."""

    ven: Ven | None
    fingerprint: str = ""


def query_registration(session: Session, caller: Caller, message: OadrQueryRegistration) -> Outcome:
    """oadrQueryRegistration: what we offer, with the ids of a VEN that is registered already."""
    return Outcome(party_registration(session, answer(message.request_id), caller.ven))


def party_registration(session: Session, response: EiResponse, ven: Ven | None) -> OadrCreatedPartyRegistration:
    """oadrCreatedPartyRegistration; ids only of a registered VEN, and none beside an error."""
    registered = ven if ven is not None and ven.registration_id and response.response_code == 200 else None
    return OadrCreatedPartyRegistration(
        response=response,
        registration_id=registered.registration_id if registered else None,
        ven_id=registered.ven_id if registered else None,
        vtn_id=session.config.vtn_id,
        profiles=_PROFILES,
        requested_poll_freq=Duration.seconds(session.config.poll_frequency_s),
    )


def create_registration(session: Session, caller: Caller, message: OadrCreatePartyRegistration) -> Outcome:
    """oadrCreatePartyRegistration: register, or register again under the same venID.

    Events and report requests survive a new registration.
    """
    try:
        _offered(session, message)
        ven = _applicant(session, caller, message)
        if message.registration_id and message.registration_id != ven.registration_id:
            raise _no("registration.id", "registrationID", "it is not the one given to this VEN", "452")
    except Rejection as error:
        problem = error.problems[0]
        return Outcome(party_registration(session, answer(message.request_id, problem), None), problems=(problem,))
    ven = replace(
        ven,
        ven_id=ven.ven_id or session.new_id(),
        registration_id=message.registration_id or session.new_id(),
        fingerprint=caller.fingerprint or ven.fingerprint,
        pending="",
        push_address=(message.transport_address or "") if message.http_pull_model is False else "",
    )
    reply = party_registration(session, answer(message.request_id), ven)
    return Outcome(reply, (ven,), edits=notices.enrolment(session, ven), audit=True)


def _offered(session: Session, message: OadrCreatePartyRegistration) -> None:
    if message.profile_name != "2.0b":
        raise _no("registration.profile", "oadrProfileName", "only 2.0b is offered", "459")
    if message.transport_name != "simpleHttp":
        raise _no("registration.transport", "oadrTransportName", "only simpleHttp is offered", "459")
    if message.http_pull_model is not False:
        return
    if not message.transport_address:
        raise _no("registration.push", "oadrTransportAddress", "push needs an address", "469")
    if wrong := address_problem(message.transport_address, plain=session.config.insecure):
        raise _no("registration.push", "oadrTransportAddress", wrong, "459")


def _applicant(session: Session, caller: Caller, message: OadrCreatePartyRegistration) -> Ven:
    """Which VEN wants to register.

    Raises:
        Rejection: it is not known and may not register on its own, or claims to be another (463, 452).
    """
    ven = caller.ven
    if ven is None and message.ven_id and not caller.fingerprint:
        raise _no("registration.ven", "venID", "no such venID", "452")
    if ven is None:
        ven = _by_name(session, caller, message.ven_name or "")
    if message.ven_id and message.ven_id != ven.ven_id:
        raise _no("registration.ven", "venID", "it is not the one of this VEN", "463")
    return ven


def _by_name(session: Session, caller: Caller, name: str) -> Ven:
    known = session.vens.get(name)
    announced = any(v.ven_name == name for v in session.config.vens)
    if not name or (known is None and not session.config.allow_registration):
        raise _no("registration.unknown", "oadrVenName", "this VEN has not been announced", "463")
    if known is None:
        return Ven(name)
    if caller.fingerprint and (known.fingerprint or not (announced and session.config.allow_registration)):
        raise _no("registration.certificate", "oadrVenName", "this VEN has another certificate", "463")
    return known


def _no(rule: str, where: str, text: str, code: str) -> Rejection:
    return Rejection([Problem(f"oadr.{rule}", where, text, reason=code)])


def cancel_registration(session: Session, ven: Ven, message: OadrCancelPartyRegistration) -> Outcome:
    """oadrCancelPartyRegistration from a VEN: its events and report requests end with the registration."""
    problem = None
    if message.registration_id != ven.registration_id:
        problem = Problem("oadr.registration.id", "registrationID", "not the one of this VEN", reason="452")
    reply = OadrCanceledPartyRegistration(answer(message.request_id, problem), message.registration_id, ven.ven_id)
    return Outcome(reply, problems=(problem,)) if problem else replace(_ended(session, ven), reply=reply)


def canceled_registration(session: Session, ven: Ven, message: OadrCanceledPartyRegistration) -> Outcome:
    """oadrCanceledPartyRegistration: the VEN's answer to our cancellation."""
    reply = OadrResponse(answer(message.response.request_id), ven.ven_id)
    if ven.pending != "cancel" or message.response.response_code != 200:
        return Outcome(reply)
    return replace(_ended(session, ven), reply=reply)


def _ended(session: Session, ven: Ven) -> Outcome:
    now, wall = session.clock.now(), session.now_wall()
    keep: list[Record] = [replace(ven, registration_id="", pending="", push_address="")]
    updates = []
    for event in session.events_of(ven.name):
        keep.append(replace(event, closed=wall))
        delivery = session.delivery(event.id)
        if not delivery.told.is_final:
            keep.append(replace(delivery, revision=event.dispatch.revision, told=DispatchStatus.ABORTED))
            reason = "the VEN's registration was cancelled"
            updates.append(DispatchUpdate(event.id, event.dispatch.revision, DispatchStatus.ABORTED, now, reason))
    drop: tuple[Record, ...] = (
        *session.requests_of(ven.name),
        *session.offers_of(ven.name),
        *session.metadata_of(ven.name),
    )
    return Outcome(None, tuple(keep), drop, updates=tuple(updates), audit=True)


def pending(session: Session, ven: Ven) -> OadrRequestReregistration | OadrCancelPartyRegistration | None:
    """What the next poll tells a VEN about its registration."""
    number = int(ven.pending == "cancel")  # another word need not wait for the answer to the one before
    if not ven.pending or not session.due(f"ven {ven.name}", number):
        return None
    session.mark_sent([(f"ven {ven.name}", number)])
    if ven.pending == "reregister":
        return OadrRequestReregistration(ven.ven_id)
    return OadrCancelPartyRegistration(session.new_id(), ven.registration_id, ven.ven_id)


def responded(session: Session, ven: Ven, message: OadrResponse) -> Outcome:
    """oadrResponse from a VEN, its answer to a polled oadrRequestReregistration."""
    return Outcome(OadrResponse(answer(message.response.request_id), ven.ven_id))
