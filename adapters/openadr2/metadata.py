"""EiReport the other way round: what VENs ask of the VTN. We offer no reports, and say so in a valid, empty set.

A VEN that asks for METADATA is told by oadrRegisterReport, once or every reportBackDuration (rules 306, 327). Pure over
`Session`.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from adapters.openadr2.model import (
    OadrCanceledReport,
    OadrCancelReport,
    OadrCreatedReport,
    OadrCreateReport,
    OadrRegisteredReport,
    OadrRegisterReport,
    OadrResponse,
    ReportRequest,
)
from adapters.openadr2.records import AskedMetadata, Record, Ven
from adapters.openadr2.session import METADATA, Outcome, Session, answer
from datamodels import Problem

__all__ = ["cancel_report", "create_report", "owed", "registered_report"]

_MOST_ASKED = 16


def create_report(session: Session, ven: Ven, message: OadrCreateReport) -> Outcome:
    """oadrCreateReport from a VEN: METADATA is promised, anything else is not offered (461). All or nothing."""
    known = {a.id: a for a in session.metadata_of(ven.name)}
    problem = None
    try:
        asked = [_asked(session, ven, request) for request in message.report_requests]
    except (ValueError, OverflowError) as error:
        asked, problem = [], Problem("oadr.report.time", "reportSpecifier", str(error), reason="454")
    for request in message.report_requests:
        if request.specifier.report_specifier_id != METADATA:
            problem = Problem("oadr.report.none", "reportSpecifierID", "this VTN offers no reports", reason="461")
    if len(known.keys() | {a.id for a in asked}) > _MOST_ASKED:
        problem = Problem("oadr.report.many", "oadrReportRequest", f"more than {_MOST_ASKED} at once", reason="461")
    if problem is not None:
        reply = OadrCreatedReport(answer(message.request_id, problem), tuple(known), ven.ven_id)
        return Outcome(reply, problems=(problem,))
    pending = tuple(dict.fromkeys((*known, *(a.id for a in asked))))
    return Outcome(OadrCreatedReport(answer(message.request_id), pending, ven.ven_id), tuple(asked))


def _asked(session: Session, ven: Ven, request: ReportRequest) -> AskedMetadata:
    now = session.now_wall()
    every = request.specifier.report_back_duration.after(now)
    start = request.specifier.report_interval.dtstart if request.specifier.report_interval is not None else now
    return AskedMetadata(request.report_request_id, ven.name, max(start, now), every.total_seconds())


def owed(session: Session, ven: Ven) -> OadrRegisterReport | None:
    """The oadrRegisterReport that a VEN asked for, once it is time (rule 311: its reportRequestID is 0)."""
    for asked in session.metadata_of(ven.name):
        key = f"metadata {asked.key}"
        if session.now_wall() >= asked.due and session.due(key, 0):
            session.mark_sent([(key, 0)])
            return OadrRegisterReport(session.new_id(), (), ven.ven_id, "0")
    return None


def registered_report(session: Session, ven: Ven, message: OadrRegisteredReport) -> Outcome:
    """oadrRegisteredReport, the answer to ours: what was asked for once is done, the rest comes again."""
    keep: list[Record] = []
    drop: list[Record] = []
    for asked in session.metadata_of(ven.name):
        if session.sent.pop(f"metadata {asked.key}", None) is None:
            continue
        if asked.every_s:
            passed = (session.now_wall() - asked.due).total_seconds() // asked.every_s + 1
            keep.append(replace(asked, due=asked.due + timedelta(seconds=passed * asked.every_s)))
        else:
            drop.append(asked)
    problem = None
    if message.report_requests:
        problem = Problem("oadr.report.none", "oadrReportRequest", "this VTN offers no reports", reason="461")
    reply = OadrResponse(answer(message.response.request_id, problem), ven.ven_id)
    return Outcome(reply, tuple(keep), tuple(drop), problems=(problem,) if problem else ())


def cancel_report(session: Session, ven: Ven, message: OadrCancelReport) -> Outcome:
    """oadrCancelReport from a VEN; an unknown id is refused (452), and what is known ends all the same."""
    known = {a.id: a for a in session.metadata_of(ven.name)}
    problem = None
    if any(id not in known for id in message.report_request_ids):
        problem = Problem("oadr.report.none", "reportRequestID", "no such report", reason="452")
    drop = tuple(known[id] for id in message.report_request_ids if id in known)
    left = tuple(id for id in known if id not in message.report_request_ids)
    reply = OadrCanceledReport(answer(message.request_id, problem), left, ven.ven_id)
    return Outcome(reply, drop=drop, problems=(problem,) if problem else ())
