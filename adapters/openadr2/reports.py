"""EiReport at the VTN: what VENs offer, what we ask of it, and what they send. Pure over `Session`."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime, timedelta

from adapters.errors import Rejection
from adapters.openadr2 import mapping, opts
from adapters.openadr2.lexical import Duration
from adapters.openadr2.model import (
    GreenButton,
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
    ReportDescription,
    ReportRequest,
    ReportSpecifier,
    SpecifierPayload,
)
from adapters.openadr2.records import Ending, GreenButtonFeed, OfferedReport, Record, RequestedReport, Ven
from adapters.openadr2.session import METADATA, Outcome, Session, answer
from datamodels import Problem, Quantity, Telemetry

__all__ = [
    "cancel",
    "canceled_report",
    "created_report",
    "ending",
    "register_report",
    "request",
    "request_metadata",
    "unconfirmed",
    "update_report",
]

_TELEMETRY = ("TELEMETRY_USAGE", "TELEMETRY_STATUS")
_GREEN_BUTTON = "HISTORY_GREENBUTTON"
_OFFERS = {f"METADATA_{name}": name for name in (*_TELEMETRY, "HISTORY_USAGE", _GREEN_BUTTON)}


def register_report(session: Session, ven: Ven, message: OadrRegisterReport) -> Outcome:
    """oadrRegisterReport: keep what is offered, and ask for every telemetry report that is understood; older requests
    end. Histories are asked for when somebody wants them (`request`).

    The first request travels in the reply, each further one in an oadrCreateReport of its own: VENs in the field mix
    up the data points of several requests in one message.
    """
    bound = session.bound(ven.name)
    problems: list[Problem] = []
    offers: list[OfferedReport] = []
    for report in message.reports:
        name = _OFFERS.get(report.report_name or "")
        if name is None:
            continue
        found = [mapping.point_of(name, d, bound) for d in report.descriptions]
        problems += [p for p in found if isinstance(p, Problem)]
        points = tuple(p for p in found if isinstance(p, mapping.Point))
        if points:
            shortest, longest = _periods(session, report.descriptions)
            offers.append(OfferedReport(ven.name, report.report_specifier_id, name, points, shortest, longest))
    requests = [_periodic(session, offer) for offer in offers if offer.report_name in _TELEMETRY]
    first = requests[:1]
    session.mark_sent((r.id, 0) for r in first)
    offered = {offer.key for offer in offers}
    drop: tuple[Record, ...] = (
        *session.requests_of(ven.name),
        *(o for o in session.offers_of(ven.name) if o.key not in offered),
    )
    reply = OadrRegisteredReport(answer(message.request_id), tuple(map(_wire, first)), ven.ven_id)
    return Outcome(reply, (*offers, *requests), drop, problems=tuple(problems), audit=True)


def _periods(session: Session, descriptions: Iterable[ReportDescription]) -> tuple[int, int]:
    """The shortest and longest sampling period that all data points have in common (0: no longest), in seconds."""
    rates = [d.sampling_rate for d in descriptions if d.sampling_rate is not None]
    shortest = max((r.min_period.span for r in rates), default=timedelta(seconds=session.config.poll_frequency_s))
    longest = min((r.max_period.span for r in rates), default=timedelta(0))
    return round(shortest.total_seconds()), round(longest.total_seconds())


# --- what we ask ----------------------------------------------------------------------------------------------------


def _periodic(session: Session, offer: OfferedReport) -> RequestedReport:
    wanted = session.config.report_interval_s or offer.shortest_s
    period = max(min(wanted, offer.longest_s or wanted), offer.shortest_s, 1)
    return RequestedReport(
        id=session.new_id(),
        ven=offer.ven,
        specifier=offer.specifier,
        report_name=offer.report_name,
        granularity_s=period,
        since=session.now_wall(),
        points=offer.points,
    )


def request(
    session: Session,
    ven: Ven,
    specifier: str,
    *,
    once: bool = False,
    since: datetime | None = None,
    until: datetime | None = None,
) -> RequestedReport:
    """A request for a report that a VEN has offered; times are wall time.

    Telemetry is periodic up to `until`, or `once`, now. Of a history, all that was stored from `since` to `until` comes
    once; without either, all there is.

    Raises:
        Rejection: the VEN offers no such report.
    """
    offer = session.offers.get(f"{ven.name}/{specifier}")
    if offer is None:
        raise Rejection([Problem("oadr.report.offer", specifier, "the VEN offers no such report", reason="461")])
    asked = replace(_periodic(session, offer), until=until, since=since or session.now_wall())
    if offer.report_name in _TELEMETRY:
        return replace(asked, once=once)
    return replace(asked, once=True, granularity_s=0)


def request_metadata(session: Session, ven: Ven) -> RequestedReport:
    """A request that the VEN tell anew what it offers (rule 306)."""
    return RequestedReport(session.new_id(), ven.name, METADATA, METADATA, 0, session.now_wall(), (), once=True)


def cancel(asked: RequestedReport, *, one_more: bool = False) -> RequestedReport:
    """The request that is to end, at once or with `one_more` report (reportToFollow)."""
    return replace(asked, ending=Ending.CANCEL_AFTER_ONE_MORE if one_more else Ending.CANCEL)


def _wire(asked: RequestedReport) -> ReportRequest:
    """Table of the profile: no interval and no reportBackDuration is once, now; granularity and reportBackDuration 0
    with an interval is a history; else periodic, and an interval without duration has no end.
    """
    period = Duration.seconds(asked.granularity_s)
    interval: Properties | None = None
    if not asked.once or (asked.points and not asked.granularity_s):
        length = (asked.until - asked.since).total_seconds() if asked.until is not None else 0
        interval = Properties(asked.since, Duration.seconds(max(length, 0)))
    points = tuple(SpecifierPayload(p.r_id, p.reading_type) for p in asked.points)
    return ReportRequest(
        asked.id,
        ReportSpecifier(
            asked.specifier,
            granularity=period,
            report_back_duration=Duration() if asked.once else period,
            report_interval=interval,
            payloads=points or (SpecifierPayload(METADATA, "x-notApplicable"),),
        ),
    )


def unconfirmed(session: Session, ven: Ven) -> OadrCreateReport | None:
    """The next request that the VEN has not acknowledged."""
    for asked in session.requests_of(ven.name):
        if not asked.confirmed and not asked.ending and session.due(asked.id, 0):
            session.mark_sent([(asked.id, 0)])
            return OadrCreateReport(session.new_id(), (_wire(asked),), ven.ven_id)
    return None


def ending(session: Session, ven: Ven) -> OadrCancelReport | None:
    """The next request that is to end, and the VEN has not been told, or has not said that it does."""
    for asked in session.requests_of(ven.name):
        if asked.ending in _TO_TELL and session.due(f"cancel {asked.id}", 0):
            return _cancellation(session, ven, asked)
    return None


_TO_TELL = (Ending.CANCEL, Ending.CANCEL_AFTER_ONE_MORE)


def _cancellation(session: Session, ven: Ven, asked: RequestedReport) -> OadrCancelReport:
    session.mark_sent([(f"cancel {asked.id}", 0)])
    follows = asked.ending is Ending.CANCEL_AFTER_ONE_MORE
    return OadrCancelReport(session.new_id(), (asked.id,), follows, ven.ven_id)


# --- what the VEN answers ---------------------------------------------------------------------------------------------


def created_report(session: Session, ven: Ven, message: OadrCreatedReport) -> Outcome:
    """oadrCreatedReport: the VEN lists what it will report; ids we do not know are no error (a restored VTN). Where it
    refuses, it is not asked again.
    """
    response = message.response
    reply = OadrResponse(answer(response.request_id), ven.ven_id)
    open_ = [r for r in session.requests_of(ven.name) if not r.confirmed]
    if response.response_code != 200:
        refused = tuple(r for r in open_ if r.id in session.sent)
        text = f"the VEN refuses: {response.response_code}"
        problems = tuple(Problem("oadr.report.refused", f"reportSpecifierID {r.specifier!r}", text) for r in refused)
        return Outcome(reply, drop=refused, problems=problems)
    # A METADATA request is answered by what follows; its id is listed only if it comes again and again.
    listed = set(message.pending_reports)
    confirmed = [r for r in open_ if r.id in listed or (r.specifier == METADATA and r.id in session.sent)]
    return Outcome(reply, tuple(replace(r, confirmed=True) for r in confirmed))


def canceled_report(session: Session, ven: Ven, message: OadrCanceledReport) -> Outcome:
    """oadrCanceledReport: what was cancelled is over, or waits for its last report. A VEN that knows no such report
    (not 200) has ended it too.
    """
    reply = OadrResponse(answer(message.response.request_id), ven.ven_id)
    told = [r for r in session.requests_of(ven.name) if r.ending in _TO_TELL and f"cancel {r.id}" in session.sent]
    if message.response.response_code != 200:
        return Outcome(reply, drop=tuple(told))
    over = [r for r in told if r.ending is Ending.CANCEL and r.id not in message.pending_reports]
    last = [replace(r, ending=Ending.ONE_MORE) for r in told if r.ending is Ending.CANCEL_AFTER_ONE_MORE]
    return Outcome(reply, tuple(last), tuple(over))


def update_report(session: Session, ven: Ven, message: OadrUpdateReport) -> Outcome:
    """oadrUpdateReport: measurements of what was asked for; the rest is refused (rule 304: unknown request 452).

    A request that is to end is cancelled in the same breath, inside oadrUpdatedReport.
    """
    samples: list[Telemetry] = []
    problems: list[Problem] = []
    keep: list[Record] = []
    drop: list[Record] = []
    cancelled: OadrCancelReport | None = None
    for report in message.reports:
        asked = session.requests.get(report.report_request_id)
        if asked is None or asked.ven != ven.name:
            text = "nothing was asked under this id (rule 304)"
            problems.append(Problem("oadr.report.request", "reportRequestID", text, reason="452"))
            continue
        if asked.report_name == _GREEN_BUTTON:
            keep += _feeds(asked, report)
        else:
            points = {p.r_id: p for p in asked.points}
            found, wrong = mapping.samples_of(report, points, timedelta(seconds=asked.granularity_s), session.clock)
            samples += _overridden(session, ven.name, found)
            problems += wrong
        if asked.once or asked.ending is Ending.ONE_MORE:
            drop.append(asked)
        elif asked.ending in _TO_TELL and cancelled is None:
            cancelled = _cancellation(session, ven, asked)
            if asked.ending is Ending.CANCEL:
                drop.append(asked)
            else:
                keep.append(replace(asked, ending=Ending.ONE_MORE))
        elif not asked.confirmed:
            keep.append(replace(asked, confirmed=True))
    worst = next((p for p in problems if p.reason), None)
    reply = OadrUpdatedReport(answer(message.request_id, worst), cancelled, ven.ven_id)
    audit = any(isinstance(record, GreenButtonFeed) for record in keep)
    return Outcome(reply, tuple(keep), tuple(drop), telemetry=tuple(samples), problems=tuple(problems), audit=audit)


def _overridden(session: Session, ven: str, samples: list[Telemetry]) -> list[Telemetry]:
    """A device that follows does not undo what its owner opted out of."""
    if not session.opts_of(ven):
        return samples
    names = {id: resource_id for resource_id, id in session.bound(ven).items()}
    return [
        replace(s, value=1.0)
        if s.quantity is Quantity.MANUAL_OVERRIDE and opts.opted_out(session, ven, names[s.resource], s.at)
        else s
        for s in samples
    ]


def _feeds(asked: RequestedReport, report: OadrReport) -> list[GreenButtonFeed]:
    feeds = [p.feed for i in report.intervals for p in i.payloads if isinstance(p, GreenButton)]
    names = [p.r_id for p in asked.points] if len(feeds) == len(asked.points) else [str(n) for n in range(len(feeds))]
    return [GreenButtonFeed(asked.ven, asked.id, name, feed) for name, feed in zip(names, feeds, strict=True)]
