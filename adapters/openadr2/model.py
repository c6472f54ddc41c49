"""Wire objects of OpenADR 2.0b: the 23 payloads and their parts, as the schema names them.

Frozen and free of behaviour; `tables` says how each looks as XML and `codec` translates. Ids are always `str`, times
UTC-aware, durations `Duration`, response codes `int`. Optional elements are None; repeated ones are tuples. Where the
schema tells an absent list from an empty one, so does the type (`tuple | None`).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TypeAlias

from adapters.openadr2.lexical import Duration
from adapters.openadr2.parts import (
    EiResponse,
    EiTarget,
    GreenButton,
    Interval,
    ItemBase,
    LoadControlState,
    LoadControlValue,
    PayloadFloat,
    PowerAttributes,
    Properties,
    PulseCount,
    ReportPayload,
    ResourceStatus,
    SignalPayload,
    TransportInterface,
    Unit,
)

__all__ = [
    "ActivePeriod",
    "Available",
    "EiEvent",
    "EiResponse",
    "EiTarget",
    "EventBaseline",
    "EventDescriptor",
    "EventResponse",
    "EventSignal",
    "Extension",
    "GreenButton",
    "Info",
    "Interval",
    "ItemBase",
    "LoadControlState",
    "LoadControlValue",
    "OadrCancelOpt",
    "OadrCancelPartyRegistration",
    "OadrCancelReport",
    "OadrCanceledOpt",
    "OadrCanceledPartyRegistration",
    "OadrCanceledReport",
    "OadrCreateOpt",
    "OadrCreatePartyRegistration",
    "OadrCreateReport",
    "OadrCreatedEvent",
    "OadrCreatedOpt",
    "OadrCreatedPartyRegistration",
    "OadrCreatedReport",
    "OadrDistributeEvent",
    "OadrEvent",
    "OadrPoll",
    "OadrProfile",
    "OadrQueryRegistration",
    "OadrRegisterReport",
    "OadrRegisteredReport",
    "OadrReport",
    "OadrRequestEvent",
    "OadrRequestReregistration",
    "OadrResponse",
    "OadrUpdateReport",
    "OadrUpdatedReport",
    "Payload",
    "PayloadFloat",
    "PowerAttributes",
    "Properties",
    "PulseCount",
    "QualifiedEventId",
    "ReportDescription",
    "ReportPayload",
    "ReportRequest",
    "ReportSpecifier",
    "ResourceStatus",
    "SamplingRate",
    "Service",
    "SignalPayload",
    "SpecifierPayload",
    "TransportInterface",
    "Unit",
]


# --- events -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class EventDescriptor:
    event_id: str
    modification_number: int
    market_context: str
    created: datetime
    event_status: str
    modified: datetime | None = None
    modification_reason: str | None = None
    priority: int | None = None
    test_event: str | None = None
    vtn_comment: str | None = None


@dataclass(frozen=True, slots=True)
class ActivePeriod:
    properties: Properties


@dataclass(frozen=True, slots=True)
class EventSignal:
    intervals: tuple[Interval, ...]
    signal_name: str
    signal_type: str
    signal_id: str
    target: EiTarget | None = None
    item_base: Unit | None = None
    current_value: PayloadFloat | None = None


@dataclass(frozen=True, slots=True)
class EventBaseline:
    dtstart: datetime
    duration: Duration
    intervals: tuple[Interval, ...]
    baseline_id: str
    baseline_name: str
    resource_id: tuple[str, ...] = ()
    item_base: Unit | None = None


@dataclass(frozen=True, slots=True)
class EiEvent:
    descriptor: EventDescriptor
    active_period: ActivePeriod
    signals: tuple[EventSignal, ...]
    target: EiTarget
    baseline: EventBaseline | None = None


@dataclass(frozen=True, slots=True)
class OadrEvent:
    event: EiEvent
    response_required: str = "always"


@dataclass(frozen=True, slots=True)
class QualifiedEventId:
    event_id: str
    modification_number: int


@dataclass(frozen=True, slots=True)
class EventResponse:
    response_code: int
    request_id: str
    qualified_event_id: QualifiedEventId
    opt_type: str
    response_description: str | None = None


@dataclass(frozen=True, slots=True)
class OadrDistributeEvent:
    request_id: str
    vtn_id: str
    events: tuple[OadrEvent, ...] = ()
    response: EiResponse | None = None
    schema_version: str | None = "2.0b"


@dataclass(frozen=True, slots=True)
class OadrCreatedEvent:
    response: EiResponse
    ven_id: str
    event_responses: tuple[EventResponse, ...] | None = None
    schema_version: str | None = "2.0b"


@dataclass(frozen=True, slots=True)
class OadrRequestEvent:
    request_id: str
    ven_id: str
    reply_limit: int | None = None
    schema_version: str | None = "2.0b"


@dataclass(frozen=True, slots=True)
class OadrResponse:
    response: EiResponse
    ven_id: str | None = None
    schema_version: str | None = "2.0b"


@dataclass(frozen=True, slots=True)
class OadrPoll:
    ven_id: str
    schema_version: str | None = "2.0b"


# --- opt ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Available:
    properties: Properties


@dataclass(frozen=True, slots=True)
class OadrCreateOpt:
    opt_id: str
    opt_type: str
    opt_reason: str
    ven_id: str
    created: datetime
    request_id: str
    target: EiTarget
    market_context: str | None = None
    availability: tuple[Available, ...] | None = None
    qualified_event_id: QualifiedEventId | None = None
    device_class: EiTarget | None = None
    schema_version: str | None = "2.0b"


@dataclass(frozen=True, slots=True)
class OadrCreatedOpt:
    response: EiResponse
    opt_id: str
    schema_version: str | None = "2.0b"


@dataclass(frozen=True, slots=True)
class OadrCancelOpt:
    request_id: str
    opt_id: str
    ven_id: str
    schema_version: str | None = "2.0b"


@dataclass(frozen=True, slots=True)
class OadrCanceledOpt:
    response: EiResponse
    opt_id: str | None = None
    schema_version: str | None = "2.0b"


# --- reports ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class SamplingRate:
    min_period: Duration
    max_period: Duration
    on_change: bool


@dataclass(frozen=True, slots=True)
class ReportDescription:
    r_id: str
    report_type: str
    reading_type: str
    subject: EiTarget | None = None
    data_source: EiTarget | None = None
    item_base: Unit | None = None
    market_context: str | None = None
    sampling_rate: SamplingRate | None = None


@dataclass(frozen=True, slots=True)
class OadrReport:
    report_request_id: str
    report_specifier_id: str
    created: datetime
    dtstart: datetime | None = None
    duration: Duration | None = None
    intervals: tuple[Interval, ...] = ()
    report_id: str | None = None
    descriptions: tuple[ReportDescription, ...] = ()
    report_name: str | None = None


@dataclass(frozen=True, slots=True)
class SpecifierPayload:
    r_id: str
    reading_type: str
    item_base: Unit | None = None


@dataclass(frozen=True, slots=True)
class ReportSpecifier:
    report_specifier_id: str
    granularity: Duration
    report_back_duration: Duration
    payloads: tuple[SpecifierPayload, ...]
    report_interval: Properties | None = None


@dataclass(frozen=True, slots=True)
class ReportRequest:
    report_request_id: str
    specifier: ReportSpecifier


@dataclass(frozen=True, slots=True)
class OadrRegisterReport:
    request_id: str
    reports: tuple[OadrReport, ...] = ()
    ven_id: str | None = None
    report_request_id: str | None = None
    schema_version: str | None = "2.0b"


@dataclass(frozen=True, slots=True)
class OadrRegisteredReport:
    response: EiResponse
    report_requests: tuple[ReportRequest, ...] = ()
    ven_id: str | None = None
    schema_version: str | None = "2.0b"


@dataclass(frozen=True, slots=True)
class OadrCreateReport:
    request_id: str
    report_requests: tuple[ReportRequest, ...]
    ven_id: str | None = None
    schema_version: str | None = "2.0b"


@dataclass(frozen=True, slots=True)
class OadrCreatedReport:
    response: EiResponse
    pending_reports: tuple[str, ...] = ()
    ven_id: str | None = None
    schema_version: str | None = "2.0b"


@dataclass(frozen=True, slots=True)
class OadrUpdateReport:
    request_id: str
    reports: tuple[OadrReport, ...] = ()
    ven_id: str | None = None
    schema_version: str | None = "2.0b"


@dataclass(frozen=True, slots=True)
class OadrCancelReport:
    request_id: str
    report_request_ids: tuple[str, ...]
    report_to_follow: bool
    ven_id: str | None = None
    schema_version: str | None = "2.0b"


@dataclass(frozen=True, slots=True)
class OadrUpdatedReport:
    response: EiResponse
    cancel_report: OadrCancelReport | None = None
    ven_id: str | None = None
    schema_version: str | None = "2.0b"


@dataclass(frozen=True, slots=True)
class OadrCanceledReport:
    response: EiResponse
    pending_reports: tuple[str, ...] = ()
    ven_id: str | None = None
    schema_version: str | None = "2.0b"


# --- registration -------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class OadrProfile:
    name: str
    transports: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Info:
    key: str
    value: str


@dataclass(frozen=True, slots=True)
class Service:
    name: str
    infos: tuple[Info, ...]


@dataclass(frozen=True, slots=True)
class Extension:
    name: str
    infos: tuple[Info, ...] = ()


@dataclass(frozen=True, slots=True)
class OadrQueryRegistration:
    request_id: str
    schema_version: str | None = "2.0b"


@dataclass(frozen=True, slots=True)
class OadrCreatePartyRegistration:
    request_id: str
    profile_name: str
    transport_name: str
    report_only: bool
    xml_signature: bool
    registration_id: str | None = None
    ven_id: str | None = None
    transport_address: str | None = None
    ven_name: str | None = None
    http_pull_model: bool | None = None
    schema_version: str | None = "2.0b"


@dataclass(frozen=True, slots=True)
class OadrCreatedPartyRegistration:
    response: EiResponse
    vtn_id: str
    profiles: tuple[OadrProfile, ...]
    registration_id: str | None = None
    ven_id: str | None = None
    requested_poll_freq: Duration | None = None
    services: tuple[Service, ...] | None = None
    extensions: tuple[Extension, ...] | None = None
    schema_version: str | None = "2.0b"


@dataclass(frozen=True, slots=True)
class OadrRequestReregistration:
    ven_id: str
    schema_version: str | None = "2.0b"


@dataclass(frozen=True, slots=True)
class OadrCancelPartyRegistration:
    request_id: str
    registration_id: str
    ven_id: str | None = None
    schema_version: str | None = "2.0b"


@dataclass(frozen=True, slots=True)
class OadrCanceledPartyRegistration:
    response: EiResponse
    registration_id: str | None = None
    ven_id: str | None = None
    schema_version: str | None = "2.0b"


Payload: TypeAlias = (
    OadrDistributeEvent
    | OadrCreatedEvent
    | OadrRequestEvent
    | OadrResponse
    | OadrCancelOpt
    | OadrCanceledOpt
    | OadrCreateOpt
    | OadrCreatedOpt
    | OadrCancelReport
    | OadrCanceledReport
    | OadrCreateReport
    | OadrCreatedReport
    | OadrRegisterReport
    | OadrRegisteredReport
    | OadrUpdateReport
    | OadrUpdatedReport
    | OadrCancelPartyRegistration
    | OadrCanceledPartyRegistration
    | OadrCreatePartyRegistration
    | OadrCreatedPartyRegistration
    | OadrRequestReregistration
    | OadrQueryRegistration
    | OadrPoll
)
