"""EiReport at the VTN: what VENs offer, what we ask of it, and what they send. Pure over `Session`."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from adapters.openadr2 import mapping
from adapters.openadr2.lexical import Duration
from adapters.openadr2.model import (
    OadrCanceledReport,
    OadrCancelReport,
    OadrCreatedReport,
    OadrCreateReport,
    OadrRegisteredReport,
    OadrRegisterReport,
    OadrReport,
    OadrResponse,
    OadrUpdatedReport,
    OadrUpdateReport,
    Properties,
    ReportRequest,
    ReportSpecifier,
    SpecifierPayload,
)
from adapters.openadr2.session import Outcome, Record, RequestedReport, Session, Ven, answer
from datamodels import Problem, Telemetry

__all__ = [
    "cancel_report",
    "canceled_report",
    "create_report",
    "created_report",
    "register_report",
    "registered_report",
    "unconfirmed",
    "update_report",
]

_WANTED = ("METADATA_TELEMETRY_USAGE", "METADATA_TELEMETRY_STATUS")


def register_report(session: Session, ven: Ven, message: OadrRegisterReport) -> Outcome:
    """oadrRegisterReport: ask for every telemetry report that is understood; older requests end.

    The first request travels in the reply, each further one in an oadrCreateReport of its own: VENs in the field mix
    up the data points of several requests in one message.
    """
    bound = session.bound(ven.name)
    problems: list[Problem] = []
    requests: list[RequestedReport] = []
    for report in message.reports:
        if report.report_name not in _WANTED:
            continue
        found = [mapping.point_of(report.report_name, d, bound) for d in report.descriptions]
        problems += [p for p in found if isinstance(p, Problem)]
        points = tuple(p for p in found if isinstance(p, mapping.Point))
        if points:
            requests.append(
                RequestedReport(
                    id=session.new_id(),
                    ven=ven.name,
                    specifier=report.report_specifier_id,
                    report_name=report.report_name.removeprefix("METADATA_"),
                    granularity_s=_granularity(session, report),
                    since=session.now_wall(),
                    points=points,
                )
            )
    first = requests[:1]
    session.mark_sent((r.id, 0) for r in first)
    reply = OadrRegisteredReport(answer(message.request_id), tuple(map(_wire, first)), ven.ven_id)
    return Outcome(reply, tuple(requests), tuple(session.requests_of(ven.name)), problems=tuple(problems), audit=True)


def _granularity(session: Session, report: OadrReport) -> int:
    """The wanted sampling period in seconds, moved into what all data points of the report offer."""
    rates = [d.sampling_rate for d in report.descriptions if d.sampling_rate is not None]
    low = max((r.min_period.span for r in rates), default=timedelta(seconds=session.config.poll_frequency_s))
    high = min((r.max_period.span for r in rates), default=timedelta.max)
    wanted = timedelta(seconds=session.config.report_interval_s) or low
    return max(round(max(min(wanted, high), low).total_seconds()), 1)


def _wire(request: RequestedReport) -> ReportRequest:
    period = Duration.seconds(request.granularity_s)
    return ReportRequest(
        request.id,
        ReportSpecifier(
            request.specifier,
            granularity=period,
            report_back_duration=period,
            report_interval=Properties(request.since, Duration()),
            payloads=tuple(SpecifierPayload(p.r_id, p.reading_type) for p in request.points),
        ),
    )


def unconfirmed(session: Session, ven: Ven) -> OadrCreateReport | None:
    """The next request that the VEN has not acknowledged, to be sent at a poll."""
    for request in session.requests_of(ven.name):
        if not request.confirmed and session.due(request.id, 0):
            session.mark_sent([(request.id, 0)])
            return OadrCreateReport(session.new_id(), (_wire(request),), ven.ven_id)
    return None


def created_report(session: Session, ven: Ven, message: OadrCreatedReport) -> Outcome:
    """oadrCreatedReport: the VEN lists what it will report; ids we do not know are no error (a restored VTN)."""
    pending = set(message.pending_reports)
    confirmed = [replace(r, confirmed=True) for r in session.requests_of(ven.name) if r.id in pending]
    return Outcome(OadrResponse(answer(message.response.request_id), ven.ven_id), tuple(confirmed))


def canceled_report(session: Session, ven: Ven, message: OadrCanceledReport) -> Outcome:
    """oadrCanceledReport: acknowledged; a request ends when a report registration replaces it."""
    return Outcome(OadrResponse(answer(message.response.request_id), ven.ven_id))


def registered_report(session: Session, ven: Ven, message: OadrRegisteredReport) -> Outcome:
    """oadrRegisteredReport: we offer no reports, so it asks for none that exist."""
    return Outcome(OadrResponse(answer(message.response.request_id), ven.ven_id))


def create_report(session: Session, ven: Ven, message: OadrCreateReport) -> Outcome:
    """oadrCreateReport from a VEN: this VTN produces no reports."""
    problem = Problem("oadr.report.none", "reportSpecifierID", "this VTN offers no reports", reason="461")
    return Outcome(OadrCreatedReport(answer(message.request_id, problem), (), ven.ven_id))


def cancel_report(session: Session, ven: Ven, message: OadrCancelReport) -> Outcome:
    """oadrCancelReport from a VEN: there is none to cancel."""
    problem = Problem("oadr.report.none", "reportRequestID", "no such report", reason="452")
    return Outcome(OadrCanceledReport(answer(message.request_id, problem), (), ven.ven_id))


def update_report(session: Session, ven: Ven, message: OadrUpdateReport) -> Outcome:
    """oadrUpdateReport: measurements of what was asked for; the rest is refused (rule 304: unknown request 452)."""
    samples: list[Telemetry] = []
    problems: list[Problem] = []
    keep: list[Record] = []
    for report in message.reports:
        request = session.requests.get(report.report_request_id)
        if request is None or request.ven != ven.name:
            text = "nothing was asked under this id (rule 304)"
            problems.append(Problem("oadr.report.request", "reportRequestID", text, reason="452"))
            continue
        points = {p.r_id: p for p in request.points}
        found, wrong = mapping.samples_of(report, points, timedelta(seconds=request.granularity_s), session.clock)
        samples += found
        problems += wrong
        if not request.confirmed:
            keep.append(replace(request, confirmed=True))
    reply = OadrUpdatedReport(answer(message.request_id, problems[0] if problems else None), ven_id=ven.ven_id)
    return Outcome(reply, tuple(keep), telemetry=tuple(samples), problems=tuple(problems))
