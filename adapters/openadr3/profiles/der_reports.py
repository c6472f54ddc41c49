"""Reports of the DER profile, and `judge`, the one entry to all of its rules."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

from adapters.openadr3.model import Event, Interval, Program, Report, ReportResource, Resource, ResourceGroup, Ven
from adapters.openadr3.profiles import rule
from adapters.openadr3.profiles.der import DELTAS, DER, event_kind, placed
from adapters.openadr3.profiles.rule import (
    Around,
    Finding,
    Judged,
    is_ean,
    is_uuid,
    kw,
    single,
    single_payload,
    types_in,
)
from datamodels import Problem

__all__ = ["AGGREGATED", "QUARTER", "RULES", "judge", "kind_of", "report_kind"]

RULES = DER.table
AGGREGATED = "AGGREGATED_REPORT"
QUARTER = timedelta(minutes=15)
_STATUSES = ("NORMAL", "ERROR", "PENDING")
_REQUESTS = ("REGISTRATION_REQUEST", "DE_REGISTRATION_REQUEST")
_NAMES = {"RESOURCE_REGISTRATION": "registration", "OPERATIONAL_STATUS": "status"}
_TYPES = {"ack": ("ACK",), "delivery": ("DELIVERED_FLEX",), "delta": DELTAS}
_OBJECTS = {Program: "program", Ven: "ven", Resource: "resource", ResourceGroup: "group"}


def report_kind(report: Report) -> str | None:
    """registration, status, ack, delivery or delta; by its name, else by what it carries; None where it fits none."""
    types = {type for resource in report.resources for type in types_in(resource.intervals)}
    by_type = (kind for kind, known in _TYPES.items() if types & set(known))
    return _NAMES.get(report.report_name or "") or next(by_type, None)


def kind_of(subject: Judged) -> str:
    """What the profile calls an object: a key of the rules' `kinds`."""
    if isinstance(subject, Event):
        return event_kind(subject) or "unknown"
    if isinstance(subject, Report):
        return report_kind(subject) or "unknown_report"
    return _OBJECTS[type(subject)]


def judge(subject: Judged, around: Around = Around()) -> list[Problem]:
    """Everything about an object that the profile forbids."""
    return rule.judge(RULES, kind_of(subject), subject, around)


_ALL = "registration status ack delivery delta unknown_report"
_OF_GROUP = "registration ack delivery delta"


@DER.rule("report.kind", "unknown_report", "Reports", "a report is one of the five kinds of the profile")
def _kind(report: Report, around: Around) -> Iterator[Finding]:
    yield Finding("resources", "its name and payload types fit no report of the profile", "use those of one kind")


@DER.rule("report.client", _ALL, "Reports", "clientName is the venName, an EAN13")
def _client(report: Report, around: Around) -> Iterator[Finding]:
    if not is_ean(report.client_name, 13):
        yield Finding("clientName", "the name is no EAN13 with a good check digit", "give the venName")
    elif around.ven is not None and around.ven.ven_name != report.client_name:
        yield Finding("clientName", "the name is not the VEN's", "give the venName")


@DER.rule("report.aggregated", _OF_GROUP, "Reports", "exactly one resource, AGGREGATED_REPORT")
def _aggregated(report: Report, around: Around) -> Iterator[Finding]:
    if [resource.resource_name for resource in report.resources] != [AGGREGATED]:
        yield Finding("resources", "this is not AGGREGATED_REPORT alone", "report on the group as a whole")


@DER.rule("report.one_interval", "registration ack delta", "Reports", "one interval, id 0")
def _one_interval(report: Report, around: Around) -> Iterator[Finding]:
    for n, resource in enumerate(report.resources):
        if [interval.id for interval in resource.intervals] != [0]:
            yield Finding(f"resources[{n}].intervals", "there is not one interval with id 0", "give exactly that one")


@DER.rule("registration.group", "registration", "Resource group registration", "RESOURCE_GROUP_ID is one UUID")
def _group(report: Report, around: Around) -> Iterator[Finding]:
    for where, interval in _intervals(report):
        if not is_uuid(single(interval.payloads, "RESOURCE_GROUP_ID")):
            yield Finding(where, "RESOURCE_GROUP_ID is no UUID", "give the id of the group, not its name")


@DER.rule(
    "registration.resources", "registration", "Resource group registration", "one request, naming resources by UUID"
)
def _requests(report: Report, around: Around) -> Iterator[Finding]:
    for where, interval in _intervals(report):
        asked = [p for p in interval.payloads if p.type in _REQUESTS]
        if len(interval.payloads) != 2 or len(asked) != 1:
            yield Finding(
                where, "this is not a group and one request", f"RESOURCE_GROUP_ID and {' or '.join(_REQUESTS)}"
            )
        elif not asked[0].values or not all(is_uuid(value) for value in asked[0].values):
            yield Finding(where, "a resource is not named by its UUID", "give the ids of the resources")


@DER.rule("delta.values", "delta", "Flexibility reporting", "both flex deltas, one kW value of 0 or less each")
def _deltas(report: Report, around: Around) -> Iterator[Finding]:
    for where, interval in _intervals(report):
        powers = [kw(single(interval.payloads, type)) for type in DELTAS]
        if len(interval.payloads) != 2 or any(power is None or power > 0 for power in powers):
            yield Finding(where, "these are not the two flex deltas of 0 kW or less", " and ".join(DELTAS))


@DER.rule("ack.value", "ack", "Flexibility dispatch acknowledgment", "one ACK, true")
def _ack(report: Report, around: Around) -> Iterator[Finding]:
    for where, interval in _intervals(report):
        if single_payload(interval, "ACK") is not True:
            yield Finding(where, "this is not ACK true alone", "give exactly that")


@DER.rule("report.no_period", "ack status", "Flexibility dispatch acknowledgment, Operational status", "no period")
def _no_period(report: Report, around: Around) -> Iterator[Finding]:
    for where, interval in _intervals(report):
        if interval.interval_period is not None:
            yield Finding(where, "the interval has a period", "leave it out")


@DER.rule(
    "delivery.values",
    "delivery",
    "Flex delivery report",
    "one DELIVERED_FLEX per interval, a kW value of 0 or more per quarter-hour",
)
def _delivered(report: Report, around: Around) -> Iterator[Finding]:
    for where, interval in _intervals(report):
        if len(interval.payloads) != 1 or interval.payloads[0].type != "DELIVERED_FLEX":
            yield Finding(where, "this is not DELIVERED_FLEX alone", "give exactly that payload")
            continue
        given, (span,) = interval.payloads[0].values, placed([interval])
        if span is None:
            yield Finding(where, "the interval has no period of its own", "repeat that of the event's interval")
        elif len(given) * QUARTER != span[1] - span[0]:
            yield Finding(where, f"{len(given)} values do not fill the interval", "one value per 15 minutes")
        for power in map(kw, given):
            if power is None or power < 0:
                yield Finding(where, "a value is no power of 0 or more", "kW with at most two decimals")
                break


@DER.rule(
    "delivery.mirror", "delivery", "Flex delivery report", "the intervals are those of the event: ids and periods"
)
def _mirror(report: Report, around: Around) -> Iterator[Finding]:
    if around.event is None or len(report.resources) != 1:
        return
    said, asked = report.resources[0].intervals, around.event.intervals or ()
    ours = dict(zip((i.id for i in said), placed(said), strict=True))
    theirs = dict(zip((i.id for i in asked), placed(asked), strict=True))
    if ours != theirs or len(said) != len(asked):
        yield Finding("resources[0].intervals", "they are not those of the event", "repeat each id and period once")


@DER.rule("status.name", "status", "Operational status reporting", "one entry per Asset-ID")
def _assets(report: Report, around: Around) -> Iterator[Finding]:
    names = [resource.resource_name for resource in report.resources]
    if not names or len(set(names)) < len(names) or AGGREGATED in names:
        yield Finding("resources", "assets are missing, repeated or summed up", "one entry for each Asset-ID")


@DER.rule("status.values", "status", "Operational status reporting", "one interval id 0, NORMAL, ERROR or PENDING")
def _status(report: Report, around: Around) -> Iterator[Finding]:
    for n, resource in enumerate(report.resources):
        if not _is_status(resource):
            yield Finding(f"resources[{n}]", "this is not one status", f"interval 0, one of {', '.join(_STATUSES)}")


def _is_status(resource: ReportResource) -> bool:
    intervals = resource.intervals
    return [i.id for i in intervals] == [0] and single_payload(intervals[0], "OPERATIONAL_STATUS") in _STATUSES


def _intervals(report: Report) -> Iterator[tuple[str, Interval]]:
    for n, resource in enumerate(report.resources):
        for m, interval in enumerate(resource.intervals):
            yield f"resources[{n}].intervals[{m}]", interval
