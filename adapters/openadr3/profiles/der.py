"""The Dutch OpenADR DER profile 1.0.0: a grid operator calls flexibility from a service provider's resource groups.

A group has a baseline (kW); a FLEX event lowers the group's ceiling to ACTIVE_BASELINE - FLEX for some hours. Events
and reports are told apart by what they carry (`event_kind`, `report_kind`); the rules of reports are in `der_reports`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from itertools import pairwise

from adapters.openadr3.lexical import Duration
from adapters.openadr3.model import Event, Interval, Program, ReportDescriptor, Resource, ResourceGroup, Ven
from adapters.openadr3.model import values_of as values
from adapters.openadr3.profiles.rule import (
    Around,
    Finding,
    Rules,
    is_ean,
    is_uuid,
    kw,
    program_type,
    single,
    single_payload,
    types_in,
)
from datamodels import Severity

__all__ = [
    "ADJACENT_HOUR",
    "CAPACITIES",
    "DER",
    "DISPATCHES",
    "DSO_IDS",
    "describes",
    "event_kind",
    "placed",
]

DER = Rules("DER")

DSO_IDS = {
    "8716916000004": "Coteq",
    "8712423014022": "Enexis",
    "8716871000002": "Liander",
    "8716912000008": "Rendo",
    "8716892000005": "Stedin",
    "8716878999996": "Westland Infra",
}
FLEX_TYPES = ("EVSE", "HB", "HPE", "HPH", "PV")
REJECTED_REASONS = ("WRONG_CONGESTION_AREA", "WRONG_EAN", "GROUP_FLEXIBILITY_EXCEEDED", "OTHER")
OVERRIDE_REASONS = (
    "CONGESTION_AREA_FLEXIBILITY_EXCEEDED",
    "SHARE_LIMIT_EXCEEDED",
    "DECREASE_NOT_ALLOWED",
    "BASELINE_EXCEEDED",
    "OTHER",
)
DISPATCHES = {"PT2H": timedelta(hours=2), "PT4H": timedelta(hours=4), "PT6H": timedelta(hours=6)}
ADJACENT_HOUR = timedelta(hours=1)
CAPACITIES = ("ACTIVE_BASELINE", "RESERVED_BASELINE", "ACTIVE_AVAILABLE_FLEX", "RESERVED_AVAILABLE_FLEX")
BASELINES = CAPACITIES[:2]
DELTAS = ("ACTIVE_FLEX_DELTA", "RESERVED_FLEX_DELTA")
OVERRIDES = tuple(f"{delta}_OVERRIDE" for delta in DELTAS)
ANCHORED = ("REGISTRATION_REQUEST", "DE_REGISTRATION_REQUEST", "OPERATIONAL_STATUS")
_WINDOW = timedelta(days=1)
_TYPE = re.compile(
    r"DSO_SP_INTERFACE-(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)(?:-[0-9A-Za-z.-]+)?(?:\+[0-9A-Za-z.-]+)?"
)
_KINDS = {"baseline": BASELINES, "override": (*OVERRIDES, "REPORT_ID"), "flex": ("FLEX",)}


def describes(program: Program) -> bool:
    """Whether a programme declares this profile."""
    return _TYPE.fullmatch(program_type(program)) is not None


def event_kind(event: Event) -> str | None:
    """anchor, baseline, override or flex, by the payload types it carries; None where they fit none."""
    types = {d.payload_type for d in event.payload_descriptors or ()} | set(types_in(event.intervals))
    if not types:
        return "anchor"
    return next((kind for kind, known in _KINDS.items() if types & set(known)), None)


# --- programme, VEN, resource, group ------------------------------------------------------------------------------


@DER.rule("id", "program ven resource group anchor baseline override flex", "Identifiers", "object ids are UUIDs")
def _id(subject: Program | Ven | Resource | ResourceGroup | Event, around: Around) -> Iterator[Finding]:
    if subject.id is not None and not is_uuid(subject.id):
        yield Finding("id", "the id is no UUID", "use the text of a UUID")


@DER.rule("program.type", "program", "Program", "PROGRAM_TYPE is DSO_SP_INTERFACE-<version>")
def _type(program: Program, around: Around) -> Iterator[Finding]:
    if not describes(program):
        yield Finding("attributes", "PROGRAM_TYPE does not name the profile", "DSO_SP_INTERFACE-1.0.0")


@DER.rule("program.retailer", "program", "Program", "RETAILER_NAME is the EAN13 of one of the six grid operators")
def _retailer(program: Program, around: Around) -> Iterator[Finding]:
    if single(program.attributes, "RETAILER_NAME") not in DSO_IDS:
        yield Finding("attributes", "RETAILER_NAME is none of the grid operators", "give the operator's EAN13")


@DER.rule("program.binding", "program", "Program", "BINDING_EVENTS is true: events are never modified")
def _binding(program: Program, around: Around) -> Iterator[Finding]:
    if single(program.attributes, "BINDING_EVENTS") is not True:
        yield Finding("attributes", "events are not declared binding", "set BINDING_EVENTS to true")


@DER.rule("program.named", "program", "Program", "RETAILER_LONG_NAME and COUNTRY should be there", Severity.WARNING)
def _named(program: Program, around: Around) -> Iterator[Finding]:
    for type in ("RETAILER_LONG_NAME", "COUNTRY"):
        if single(program.attributes, type) is None:
            yield Finding("attributes", f"{type} is not given", f"add {type}")


@DER.rule("program.anchor", "program", "Reporting anchor event", "a programme has exactly one reporting anchor event")
def _one_anchor(program: Program, around: Around) -> Iterator[Finding]:
    if around.events is not None:
        count = sum(event_kind(event) == "anchor" for event in around.events)
        if count != 1:
            yield Finding("events", f"the programme has {count} reporting anchor events", "keep exactly one")


@DER.rule("ven.name", "ven", "VEN", "venName is the EAN13 of the service provider")
def _ven_name(ven: Ven, around: Around) -> Iterator[Finding]:
    if not is_ean(ven.ven_name, 13):
        yield Finding("venName", "the name is no EAN13 with a good check digit", "use the provider's EAN13")


@DER.rule("resource.targets", "resource", "Resource", "targets, where set, include the Asset-ID")
def _asset_target(resource: Resource, around: Around) -> Iterator[Finding]:
    if resource.targets is not None and resource.resource_name not in resource.targets:
        yield Finding("targets", "the resource's own name is not among them", "add resourceName to the targets")


@DER.rule("dso", "resource group", "Resource, Resource group", "DSO_ID is one of the six grid operators")
def _dso(subject: Resource | ResourceGroup, around: Around) -> Iterator[Finding]:
    if single(subject.attributes, "DSO_ID") not in DSO_IDS:
        yield Finding("attributes", "DSO_ID is none of the grid operators", "give the operator's EAN13")


@DER.rule("resource.ean", "resource", "Resource", "EAN is the EAN18 of the grid connection")
def _ean(resource: Resource, around: Around) -> Iterator[Finding]:
    if not is_ean(single(resource.attributes, "EAN"), 18):
        yield Finding("attributes", "EAN is no EAN18 with a good check digit", "give the connection's EAN18")


@DER.rule("resource.flex_type", "resource", "Resource", "FLEX_TYPE is one of EVSE, HB, HPE, HPH, PV")
def _flex_type(resource: Resource, around: Around) -> Iterator[Finding]:
    if single(resource.attributes, "FLEX_TYPE") not in FLEX_TYPES:
        yield Finding("attributes", "FLEX_TYPE is none of those defined", f"one of {', '.join(FLEX_TYPES)}")


@DER.rule("resource.status", "resource", "Registration", "REGISTRATION_STATUS, where set, is ENROLLED or REJECTED")
def _status(resource: Resource, around: Around) -> Iterator[Finding]:
    status = values(resource.attributes, "REGISTRATION_STATUS")
    if status is not None and status not in (("ENROLLED",), ("REJECTED",)):
        yield Finding("attributes", "REGISTRATION_STATUS is neither", "ENROLLED or REJECTED")


@DER.rule("resource.reason", "resource", "Registration", "REJECTED_REASON stands there exactly when it is REJECTED")
def _reason(resource: Resource, around: Around) -> Iterator[Finding]:
    reason = values(resource.attributes, "REJECTED_REASON")
    rejected = values(resource.attributes, "REGISTRATION_STATUS") == ("REJECTED",)
    if rejected and (reason is None or len(reason) != 1 or reason[0] not in REJECTED_REASONS):
        yield Finding("attributes", "the rejection has no known reason", f"one of {', '.join(REJECTED_REASONS)}")
    elif reason is not None and not rejected:
        yield Finding("attributes", "a reason stands there without a rejection", "remove REJECTED_REASON")


@DER.rule("group.targets", "group", "Resource group", "targets include the Group-ID")
def _group_target(group: ResourceGroup, around: Around) -> Iterator[Finding]:
    if group.resource_group_name not in (group.targets or ()):
        yield Finding("targets", "the group's own name is not among them", "add resourceGroupName to the targets")


@DER.rule("group.children", "group", "Resource group", "children are ven_resource only")
def _children(group: ResourceGroup, around: Around) -> Iterator[Finding]:
    for n, child in enumerate(group.children or ()):
        if child.type != "ven_resource":
            yield Finding(f"children[{n}].type", "groups do not hold groups", "name its resources one by one")


@DER.rule("group.provider", "group", "Resource group", "SERVICE_PROVIDER_ID is an EAN13")
def _provider(group: ResourceGroup, around: Around) -> Iterator[Finding]:
    if not is_ean(single(group.attributes, "SERVICE_PROVIDER_ID"), 13):
        yield Finding("attributes", "SERVICE_PROVIDER_ID is no EAN13", "give the provider's EAN13")


@DER.rule("group.congestion_point", "group", "Resource group", "CONGESTION_POINT_ID is given")
def _congestion_point(group: ResourceGroup, around: Around) -> Iterator[Finding]:
    named = single(group.attributes, "CONGESTION_POINT_ID")
    if not isinstance(named, str) or not named:
        yield Finding("attributes", "CONGESTION_POINT_ID is not given", "name the congestion point")


@DER.rule("group.max_duration", "group", "Resource group", "MAX_DURATION is PT2H, PT4H or PT6H")
def _max_duration(group: ResourceGroup, around: Around) -> Iterator[Finding]:
    if single(group.attributes, "MAX_DURATION") not in DISPATCHES:
        yield Finding("attributes", "MAX_DURATION is none of those defined", f"one of {', '.join(DISPATCHES)}")


@DER.rule("group.evse", "group", "Resource group", "EVSE_BASELINE_OVERRIDE, where set, is one value in kW")
def _evse(group: ResourceGroup, around: Around) -> Iterator[Finding]:
    given = values(group.attributes, "EVSE_BASELINE_OVERRIDE") is not None
    if given and kw(single(group.attributes, "EVSE_BASELINE_OVERRIDE")) is None:
        yield Finding("attributes", "EVSE_BASELINE_OVERRIDE is no power", "one number with at most two decimals")


@DER.rule("group.capacities", "group", "Resource group", "the four capacities are there all or none, one kW value each")
def _capacities(group: ResourceGroup, around: Around) -> Iterator[Finding]:
    given = [type for type in CAPACITIES if values(group.attributes, type) is not None]
    if given and len(given) < len(CAPACITIES):
        missing = ", ".join(sorted(set(CAPACITIES) - set(given)))
        yield Finding("attributes", f"some capacities are there, but not {missing}", "give all four or none")
    for type in given:
        power = kw(single(group.attributes, type))
        if power is None:
            yield Finding("attributes", f"{type} is no power", "one number with at most two decimals")
        elif power < 0 and type.endswith("FLEX"):
            yield Finding("attributes", f"{type} is negative", "give it as a number of 0 or more")


# --- events -------------------------------------------------------------------------------------------------------


def _reports(event: Event) -> list[tuple[str, int, int, str]]:
    """What an event asks for, with the standard's defaults in place."""
    return sorted(_asked(descriptor) for descriptor in event.report_descriptors or ())


def _asked(descriptor: ReportDescriptor) -> tuple[str, int, int, str]:
    frequency = -1 if descriptor.frequency is None else descriptor.frequency
    repeat = 1 if descriptor.repeat is None else descriptor.repeat
    return descriptor.payload_type, frequency, repeat, descriptor.report_intervals or "INTERVALS"


@DER.rule("event.kind", "unknown", "Events", "an event is an anchor, a baseline, a flex delta override or a FLEX event")
def _kind(event: Event, around: Around) -> Iterator[Finding]:
    yield Finding("payloadDescriptors", "its payload types fit no event of the profile", "use those of one kind only")


@DER.rule("anchor.bare", "anchor", "Reporting anchor event", "it has no targets, no period and no intervals")
def _bare(event: Event, around: Around) -> Iterator[Finding]:
    for name, there in (
        ("targets", event.targets),
        ("intervalPeriod", event.interval_period),
        ("intervals", event.intervals),
    ):
        if there:
            yield Finding(name, f"the anchor has {name}", f"leave {name} out")


@DER.rule("anchor.reports", "anchor", "Reporting anchor event", "it asks for three kinds of report, ad hoc, for ever")
def _anchored(event: Event, around: Around) -> Iterator[Finding]:
    asked = [(type, frequency, repeat) for type, frequency, repeat, _ in _reports(event)]
    if asked != sorted((type, 0, -1) for type in ANCHORED):
        yield Finding("reportDescriptors", "these are not the three", f"{', '.join(ANCHORED)}, frequency 0, repeat -1")


@DER.rule("event.no_period", "baseline override", "Baseline event, Flex delta override event", "there is no period")
def _no_period(event: Event, around: Around) -> Iterator[Finding]:
    periods = [event.interval_period, *(interval.interval_period for interval in event.intervals or ())]
    if any(period is not None for period in periods):
        yield Finding("intervalPeriod", "a period is given", "leave it out: it holds from its publication on")


@DER.rule("event.one_interval", "baseline override", "Baseline event, Flex delta override event", "one interval, id 0")
def _one_interval(event: Event, around: Around) -> Iterator[Finding]:
    if [interval.id for interval in event.intervals or ()] != [0]:
        yield Finding("intervals", "there is not exactly one interval with id 0", "give exactly that one")


@DER.rule("baseline.targets", "baseline", "Baseline event", "it targets its group")
def _baseline_targets(event: Event, around: Around) -> Iterator[Finding]:
    if not event.targets:
        yield Finding("targets", "no group is named", "name the Group-ID")


@DER.rule("baseline.descriptors", "baseline", "Baseline event", "descriptors: the two baselines, in KW")
def _baseline_descriptors(event: Event, around: Around) -> Iterator[Finding]:
    if sorted((d.payload_type, d.units or "") for d in event.payload_descriptors or ()) != [
        (b, "KW") for b in BASELINES
    ]:
        yield Finding("payloadDescriptors", "these are not the two baselines in KW", " and ".join(BASELINES))


@DER.rule("baseline.values", "baseline", "Baseline event", "both baselines, one kW value each, at most two decimals")
def _baseline_values(event: Event, around: Around) -> Iterator[Finding]:
    for n, interval in enumerate(event.intervals or ()):
        if len(interval.payloads) != 2 or any(kw(single(interval.payloads, type)) is None for type in BASELINES):
            yield Finding(f"intervals[{n}].payloads", "these are not the two baselines", "one number of kW for each")


@DER.rule("baseline.reports", "baseline", "Baseline event", "it asks for the flex deltas, ad hoc, for ever")
def _baseline_reports(event: Event, around: Around) -> Iterator[Finding]:
    if _reports(event) != [(type, 0, -1, "OPEN_INTERVALS") for type in DELTAS]:
        hint = f"{' and '.join(DELTAS)} with OPEN_INTERVALS, frequency 0, repeat -1"
        yield Finding("reportDescriptors", "these are not the two flex deltas", hint)


@DER.rule("event.one_target", "override flex", "Flex delta override event, FLEX event", "exactly one group is targeted")
def _one_target(event: Event, around: Around) -> Iterator[Finding]:
    if len(event.targets or ()) != 1:
        yield Finding("targets", f"{len(event.targets or ())} targets are named", "name one Group-ID")


@DER.rule("override.report", "override", "Flex delta override event", "REPORT_ID is the UUID of the report corrected")
def _override_report(event: Event, around: Around) -> Iterator[Finding]:
    for n, interval in enumerate(event.intervals or ()):
        if not is_uuid(single(interval.payloads, "REPORT_ID")):
            yield Finding(f"intervals[{n}].payloads", "REPORT_ID is no UUID", "name the report that is corrected")


@DER.rule("override.values", "override", "Flex delta override event", "at least one override, a kW value of 0 or less")
def _override_values(event: Event, around: Around) -> Iterator[Finding]:
    for n, interval in enumerate(event.intervals or ()):
        given = [type for type in OVERRIDES if values(interval.payloads, type) is not None]
        if not given:
            yield Finding(f"intervals[{n}].payloads", "nothing is overridden", f"one of {', '.join(OVERRIDES)}")
        for type in given:
            power = kw(single(interval.payloads, type))
            if power is None or power > 0:
                yield Finding(f"intervals[{n}].payloads", f"{type} is no power of 0 or less", "one number of kW")


@DER.rule("override.reasons", "override", "Flex delta override event", "each override has its reason, and none besides")
def _override_reasons(event: Event, around: Around) -> Iterator[Finding]:
    for n, interval in enumerate(event.intervals or ()):
        for type in OVERRIDES:
            reason = values(interval.payloads, f"{type}_REASON")
            overridden = values(interval.payloads, type) is not None
            if overridden and single(interval.payloads, f"{type}_REASON") not in OVERRIDE_REASONS:
                yield Finding(f"intervals[{n}].payloads", f"{type} has no known reason", ", ".join(OVERRIDE_REASONS))
            elif reason is not None and not overridden:
                yield Finding(f"intervals[{n}].payloads", f"{type}_REASON explains nothing", "remove it")


@DER.rule("override.descriptors", "override", "Flex delta override event", "one descriptor per payload, values in KW")
def _override_descriptors(event: Event, around: Around) -> Iterator[Finding]:
    described = sorted(d.payload_type for d in event.payload_descriptors or ())
    if described != sorted(types_in(event.intervals)):
        yield Finding("payloadDescriptors", "they are not those of the payloads", "describe each payload type once")
    if any(d.payload_type in OVERRIDES and d.units != "KW" for d in event.payload_descriptors or ()):
        yield Finding("payloadDescriptors", "an override is not in KW", "set units to KW")


@DER.rule("flex.descriptor", "flex", "FLEX event", "exactly one descriptor, FLEX in KW")
def _flex_descriptor(event: Event, around: Around) -> Iterator[Finding]:
    if [(d.payload_type, d.units) for d in event.payload_descriptors or ()] != [("FLEX", "KW")]:
        yield Finding("payloadDescriptors", "these are not FLEX in KW alone", "describe FLEX, units KW")


@DER.rule("flex.reports", "flex", "FLEX event", "it asks for an ACK and for DELIVERED_FLEX, and nothing else")
def _flex_reports(event: Event, around: Around) -> Iterator[Finding]:
    asked = _reports(event)
    acks = [frequency for type, frequency, _, _ in asked if type == "ACK"]
    if len(asked) != 2 or acks != [0] or ("DELIVERED_FLEX", -1, 1, "INTERVALS") not in asked:
        hint = "ACK with frequency 0; DELIVERED_FLEX with INTERVALS, frequency -1, repeat 1"
        yield Finding("reportDescriptors", "these are not the two reports", hint)


@DER.rule("flex.window", "flex", "FLEX event", "the event's period is one day (P1D) with a start")
def _flex_window(event: Event, around: Around) -> Iterator[Finding]:
    if _window(event) is None:
        yield Finding("intervalPeriod", "it is not one day from a start on", "give start and duration P1D")


@DER.rule("flex.intervals", "flex", "FLEX event", "intervals are numbered upwards from 0")
def _flex_ids(event: Event, around: Around) -> Iterator[Finding]:
    ids = [interval.id for interval in event.intervals or ()]
    if not ids or ids[0] != 0 or any(a >= b for a, b in pairwise(ids)):
        yield Finding("intervals", "the ids do not go up from 0", "number the intervals in their order")


@DER.rule("flex.periods", "flex", "FLEX event", "each interval has a period: 2, 4 or 6 hours, or an adjacent hour")
def _flex_periods(event: Event, around: Around) -> Iterator[Finding]:
    lengths = {ADJACENT_HOUR, *DISPATCHES.values()}
    for n, (interval, span) in enumerate(zip(event.intervals or (), placed(event), strict=True)):
        period = interval.interval_period
        if span is None or period is None or period.duration is None or period.duration.fixed not in lengths:
            yield Finding(f"intervals[{n}].intervalPeriod", "its length is none of those", "PT1H, PT2H, PT4H or PT6H")


@DER.rule("flex.inside", "flex", "FLEX event", "intervals lie inside the event's window")
def _flex_inside(event: Event, around: Around) -> Iterator[Finding]:
    window = _window(event)
    for n, span in enumerate(placed(event)):
        if window is not None and span is not None and not (window[0] <= span[0] and span[1] <= window[1]):
            yield Finding(f"intervals[{n}]", "it lies outside of the event's window", "move it inside")


@DER.rule("flex.overlap", "flex", "FLEX event", "intervals do not overlap; gaps are allowed")
def _flex_overlap(event: Event, around: Around) -> Iterator[Finding]:
    spans = sorted(span for span in placed(event) if span is not None)
    if any(a[1] > b[0] for a, b in pairwise(spans)):
        yield Finding("intervals", "two intervals overlap", "move one of them")


@DER.rule("flex.values", "flex", "FLEX event", "one FLEX payload with one kW value of 0 or more, two decimals at most")
def _flex_values(event: Event, around: Around) -> Iterator[Finding]:
    for n, interval in enumerate(event.intervals or ()):
        power = kw(single_payload(interval, "FLEX"))
        if power is None or power < 0:
            yield Finding(f"intervals[{n}].payloads", "this is not one FLEX of 0 kW or more", "give exactly that one")


@DER.rule("flex.adjacent", "flex", "FLEX event", "an adjacent hour has FLEX 0 and abuts a dispatch")
def _flex_adjacent(event: Event, around: Around) -> Iterator[Finding]:
    spans = placed(event)
    edges = {edge for span in spans if span is not None and span[1] - span[0] in DISPATCHES.values() for edge in span}
    for n, (interval, span) in enumerate(zip(event.intervals or (), spans, strict=True)):
        if span is None or span[1] - span[0] != ADJACENT_HOUR:
            continue
        if kw(single_payload(interval, "FLEX")) != 0:
            yield Finding(f"intervals[{n}].payloads", "an adjacent hour calls flexibility", "its FLEX is 0")
        if not edges & set(span):
            yield Finding(f"intervals[{n}]", "the hour is adjacent to no dispatch", "place it beside one")


@DER.rule("flex.max_duration", "flex", "FLEX event", "a dispatch is no longer than the group's MAX_DURATION")
def _flex_max_duration(event: Event, around: Around) -> Iterator[Finding]:
    longest = DISPATCHES.get(single(around.group.attributes, "MAX_DURATION")) if around.group else None
    for n, span in enumerate(placed(event)):
        if longest is not None and span is not None and span[1] - span[0] > longest:
            yield Finding(f"intervals[{n}]", "the dispatch is longer than the group can hold", f"at most {longest}")


@DER.rule("flex.available", "flex", "FLEX event", "FLEX is within the group's ACTIVE_AVAILABLE_FLEX")
def _flex_available(event: Event, around: Around) -> Iterator[Finding]:
    available = kw(single(around.group.attributes, "ACTIVE_AVAILABLE_FLEX")) if around.group else None
    for n, interval in enumerate(event.intervals or ()):
        power = kw(single_payload(interval, "FLEX"))
        if available is not None and power is not None and power > available:
            yield Finding(f"intervals[{n}].payloads", f"{power} kW are called", f"{available} kW are available")


def placed(subject: Event | Sequence[Interval]) -> list[tuple[datetime, datetime] | None]:
    """Begin and end of each interval by its own period (UTC); None where that does not say."""
    intervals = subject.intervals or () if isinstance(subject, Event) else subject
    out: list[tuple[datetime, datetime] | None] = []
    for interval in intervals:
        period = interval.interval_period
        start = period.start.instant if period and period.start else None
        end = period.duration.after(start) if period and start and period.duration else None
        out.append((start, end) if start and end else None)
    return out


def _window(event: Event) -> tuple[datetime, datetime] | None:
    period = event.interval_period
    start = period.start.instant if period and period.start else None
    length = period.duration.fixed if period and isinstance(period.duration, Duration) else None
    return (start, start + length) if start and length == _WINDOW else None
