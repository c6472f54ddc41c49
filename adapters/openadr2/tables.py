"""The element tables: how every wire object of `model` looks as XML. `codec` derives both directions from them.

A path names elements from the parent on. Elements before `>` are written once and hold all values of the part, and of
neighbouring parts with the same beginning (`strm:intervals>ei:interval`); elements after it are written per value
(`xcal:dtstart/xcal:date-time`). Parts stand in schema order.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import MISSING, dataclass, fields
from decimal import Decimal
from typing import Any

from adapters.openadr2 import lexical, model

__all__ = ["NAMESPACES", "PAYLOADS", "SHAPES", "UNITS", "Leaf", "Part", "Shape", "UnitShape", "qualified"]

NAMESPACES: Mapping[str, str] = {
    "oadr": "http://openadr.org/oadr-2.0b/2012/07",
    "ei": "http://docs.oasis-open.org/ns/energyinterop/201110",
    "pyld": "http://docs.oasis-open.org/ns/energyinterop/201110/payloads",
    "emix": "http://docs.oasis-open.org/ns/emix/2011/06",
    "power": "http://docs.oasis-open.org/ns/emix/2011/06/power",
    "scale": "http://docs.oasis-open.org/ns/emix/2011/06/siscale",
    "xcal": "urn:ietf:params:xml:ns:icalendar-2.0",
    "strm": "urn:ietf:params:xml:ns:icalendar-2.0:stream",
    "gml": "http://www.opengis.net/gml/3.2",
    "atom": "http://www.w3.org/2005/Atom",
}

_LONGEST_ID = 256


def qualified(name: str) -> str:
    """`ei:venID` in lxml's `{namespace}local` form."""
    prefix, local = name.split(":")
    return f"{{{NAMESPACES[prefix]}}}{local}"


@dataclass(frozen=True, slots=True)
class Leaf:
    """A simple type: text to value (ValueError where it is none) and back."""

    read: Callable[[str], Any]
    write: Callable[[Any], str]


def _id(text: str) -> str:
    if len(text) > _LONGEST_ID:
        raise ValueError(f"an id of {len(text)} characters is longer than {_LONGEST_ID}")
    return text


def _token(text: str) -> str:
    return " ".join(re.split(r"[ \t\r\n]+", text.strip(" \t\r\n")))


TEXT = Leaf(str, str)
ID = Leaf(_id, str)
TOKEN = Leaf(_token, str)
INTEGER = Leaf(int, str)
CODE = Leaf(int, "{:03d}".format)
FLOAT = Leaf(lexical.parse_float, lexical.format_float)
DECIMAL = Leaf(Decimal, "{:f}".format)
BOOLEAN = Leaf(lexical.parse_boolean, lexical.format_boolean)
DATETIME = Leaf(lexical.parse_datetime, lexical.format_datetime)
DURATION = Leaf(lexical.parse_duration, lexical.format_duration)
OPAQUE = Leaf(str, str)
"""A foreign element kept whole, as exclusive canonical XML; `codec` knows it by identity."""


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """One field of a wire object.

    `content` is a `Leaf`, a class of `model`, or, for a substitution group, the class each element name stands for.
    `attr` empty means an element that is always written and never read. `empty`: the holding elements are written even
    without a value.
    """

    attr: str
    wrap: tuple[str, ...]
    inner: tuple[str, ...]
    content: Leaf | type | dict[str, type]
    many: bool
    empty: bool

    @property
    def members(self) -> tuple[tuple[str | None, Leaf | type], ...]:
        """(element name, content) of a substitution group; a lone content stands under None."""
        return tuple(self.content.items()) if isinstance(self.content, dict) else ((None, self.content),)


@dataclass(frozen=True, slots=True)
class Shape:
    """A wire object as XML. `versioned` objects carry ei:schemaVersion."""

    cls: type
    parts: tuple[Part, ...]
    versioned: bool


@dataclass(frozen=True, slots=True)
class UnitShape:
    """A unit element (emix:itemBase substitution): its namespace prefix, fixed texts (empty: free), power or not."""

    prefix: str
    description: str = ""
    units: str = ""
    power: bool = False


UNITS: Mapping[str, UnitShape] = {
    "currency": UnitShape("oadr"),
    "currencyPerKWh": UnitShape("oadr"),
    "currencyPerKW": UnitShape("oadr"),
    "currencyPerThm": UnitShape("oadr"),
    "current": UnitShape("oadr", "Current", "A"),
    "frequency": UnitShape("oadr", "Frequency", "Hz"),
    "Therm": UnitShape("oadr", "Therm", "thm"),
    "temperature": UnitShape("oadr", "temperature"),
    "customUnit": UnitShape("oadr"),
    "voltage": UnitShape("power", "Voltage", "V"),
    "energyReal": UnitShape("power", "RealEnergy", "Wh"),
    "energyReactive": UnitShape("power", "ReactiveEnergy", "VARh"),
    "energyApparent": UnitShape("power", "ApparentEnergy", "VAh"),
    "powerReal": UnitShape("power", "RealPower", "W", power=True),
    "powerReactive": UnitShape("power", "ReactivePower", "VAR", power=True),
    "powerApparent": UnitShape("power", "ApparentPower", "VA", power=True),
}

_UNIT = {qualified(f"{shape.prefix}:{name}"): model.ItemBase for name, shape in UNITS.items()} | {
    qualified("oadr:pulseCount"): model.PulseCount,
    qualified("oadr:oadrGBDataDescription"): model.GreenButton,
}
_VALUE = {
    qualified("ei:payloadFloat"): model.PayloadFloat,
    qualified("oadr:oadrPayloadResourceStatus"): model.ResourceStatus,
}
_STREAM = {
    qualified("ei:signalPayload"): model.SignalPayload,
    qualified("oadr:oadrReportPayload"): model.ReportPayload,
    qualified("oadr:oadrGBPayload"): model.GreenButton,
}


def _part(attr: str, path: str, content: Leaf | type | dict[str, type], *, empty: bool = False) -> tuple[Any, ...]:
    return attr, path, content, empty


def _shape(cls: type, *parts: tuple[Any, ...]) -> Shape:
    defaults = {f.name: f.default for f in fields(cls)}
    hints = {f.name: str(f.type) for f in fields(cls)}
    made = []
    for attr, path, content, empty in parts:
        wrap, _, inner = path.rpartition(">")
        many = attr in hints and hints[attr].startswith("tuple")
        tags = [tuple(qualified(n) for n in re.split("[/>]", side) if n) for side in (wrap, inner)]
        made.append(Part(attr, tags[0], tags[1], content, many, empty))
    named = {p.attr for p in made} - {""}
    missing = {n for n, d in defaults.items() if n not in named and n != "schema_version" and d is MISSING}
    if missing:
        raise TypeError(f"{cls.__name__} has fields without an element: {missing}")
    return Shape(cls, tuple(made), "schema_version" in defaults)


P = _part
_RESPONSE = P("response", "ei:eiResponse", model.EiResponse)
_REQUEST_ID = P("request_id", "pyld:requestID", ID)
_VEN_ID = P("ven_id", "ei:venID", ID)
_REGISTRATION_ID = P("registration_id", "ei:registrationID", ID)
_INTERVALS = P("intervals", "strm:intervals>ei:interval", model.Interval)
_DTSTART = P("dtstart", "xcal:dtstart/xcal:date-time", DATETIME)
_DURATION = P("duration", "xcal:duration/xcal:duration", DURATION)
_ITEM_BASE = P("item_base", "", _UNIT)
_INFOS = P("infos", "oadr:oadrInfo", model.Info)
_PENDING = P("pending_reports", "oadr:oadrPendingReports>ei:reportRequestID", ID, empty=True)
_QUALIFIED = P("qualified_event_id", "ei:qualifiedEventID", model.QualifiedEventId)

SHAPES: Mapping[type, Shape] = {
    shape.cls: shape
    for shape in (
        _shape(
            model.EiResponse,
            P("response_code", "ei:responseCode", CODE),
            P("response_description", "ei:responseDescription", TEXT),
            _REQUEST_ID,
        ),
        _shape(
            model.TransportInterface,
            P("point_of_receipt", "power:pointOfReceipt", TEXT),
            P("point_of_delivery", "power:pointOfDelivery", TEXT),
        ),
        _shape(
            model.EiTarget,
            P("aggregated_pnode", "power:aggregatedPnode/power:node", TEXT),
            P("end_device_asset", "power:endDeviceAsset/power:mrid", TEXT),
            P("meter_asset", "power:meterAsset/power:mrid", TEXT),
            P("pnode", "power:pnode/power:node", TEXT),
            P("service_area", "emix:serviceArea/gml:FeatureCollection", OPAQUE),
            P("service_delivery_point", "power:serviceDeliveryPoint/power:node", TEXT),
            P("service_location", "power:serviceLocation/gml:FeatureCollection", OPAQUE),
            P("transport_interface", "power:transportInterface", model.TransportInterface),
            P("group_id", "ei:groupID", ID),
            P("group_name", "ei:groupName", TEXT),
            P("resource_id", "ei:resourceID", ID),
            P("ven_id", "ei:venID", ID),
            P("party_id", "ei:partyID", ID),
        ),
        _shape(
            model.PowerAttributes,
            P("hertz", "power:hertz", DECIMAL),
            P("voltage", "power:voltage", DECIMAL),
            P("ac", "power:ac", BOOLEAN),
        ),
        _shape(
            model.PulseCount,
            P("", "oadr:itemDescription", Leaf(str, lambda _: "pulse count")),
            P("", "oadr:itemUnits", Leaf(str, lambda _: "count")),
            P("factor", "oadr:pulseFactor", FLOAT),
        ),
        _shape(model.GreenButton, P("feed", "atom:feed", OPAQUE)),
        _shape(
            model.Properties,
            _DTSTART,
            _DURATION,
            P("start_after", "xcal:tolerance/xcal:tolerate/xcal:startafter", DURATION),
            P("notification", "ei:x-eiNotification/xcal:duration", DURATION),
            P("ramp_up", "ei:x-eiRampUp/xcal:duration", DURATION),
            P("recovery", "ei:x-eiRecovery/xcal:duration", DURATION),
        ),
        _shape(model.PayloadFloat, P("value", "ei:value", FLOAT)),
        _shape(
            model.LoadControlValue,
            P("minimum", "oadr:oadrMin", FLOAT),
            P("maximum", "oadr:oadrMax", FLOAT),
            P("current", "oadr:oadrCurrent", FLOAT),
            P("normal", "oadr:oadrNormal", FLOAT),
        ),
        _shape(
            model.LoadControlState,
            P("capacity", "oadr:oadrCapacity", model.LoadControlValue),
            P("level_offset", "oadr:oadrLevelOffset", model.LoadControlValue),
            P("percent_offset", "oadr:oadrPercentOffset", model.LoadControlValue),
            P("set_point", "oadr:oadrSetPoint", model.LoadControlValue),
        ),
        _shape(
            model.ResourceStatus,
            P("online", "oadr:oadrOnline", BOOLEAN),
            P("manual_override", "oadr:oadrManualOverride", BOOLEAN),
            P("load_control_state", "oadr:oadrLoadControlState", model.LoadControlState),
        ),
        _shape(model.SignalPayload, P("payload", "", _VALUE)),
        _shape(
            model.ReportPayload,
            P("r_id", "ei:rID", ID),
            P("confidence", "ei:confidence", INTEGER),
            P("accuracy", "ei:accuracy", FLOAT),
            P("payload", "", _VALUE),
            P("data_quality", "oadr:oadrDataQuality", TOKEN),
        ),
        _shape(model.Interval, _DTSTART, _DURATION, P("uid", "xcal:uid/xcal:text", TEXT), P("payloads", "", _STREAM)),
        _shape(
            model.EventDescriptor,
            P("event_id", "ei:eventID", ID),
            P("modification_number", "ei:modificationNumber", INTEGER),
            P("modified", "ei:modificationDateTime", DATETIME),
            P("modification_reason", "ei:modificationReason", TEXT),
            P("priority", "ei:priority", INTEGER),
            P("market_context", "ei:eiMarketContext/emix:marketContext", TOKEN),
            P("created", "ei:createdDateTime", DATETIME),
            P("event_status", "ei:eventStatus", TOKEN),
            P("test_event", "ei:testEvent", TEXT),
            P("vtn_comment", "ei:vtnComment", TEXT),
        ),
        _shape(
            model.ActivePeriod, P("properties", "xcal:properties", model.Properties), P("", "xcal:components", TEXT)
        ),
        _shape(
            model.EventSignal,
            _INTERVALS,
            P("target", "ei:eiTarget", model.EiTarget),
            P("signal_name", "ei:signalName", TOKEN),
            P("signal_type", "ei:signalType", TOKEN),
            P("signal_id", "ei:signalID", ID),
            _ITEM_BASE,
            P("current_value", "ei:currentValue/ei:payloadFloat", model.PayloadFloat),
        ),
        _shape(
            model.EventBaseline,
            _DTSTART,
            _DURATION,
            _INTERVALS,
            P("baseline_id", "ei:baselineID", ID),
            P("resource_id", "ei:resourceID", ID),
            P("baseline_name", "ei:baselineName", TEXT),
            _ITEM_BASE,
        ),
        _shape(
            model.EiEvent,
            P("descriptor", "ei:eventDescriptor", model.EventDescriptor),
            P("active_period", "ei:eiActivePeriod", model.ActivePeriod),
            P("signals", "ei:eiEventSignals>ei:eiEventSignal", model.EventSignal),
            P("baseline", "ei:eiEventSignals>ei:eiEventBaseline", model.EventBaseline),
            P("target", "ei:eiTarget", model.EiTarget),
        ),
        _shape(
            model.OadrEvent,
            P("event", "ei:eiEvent", model.EiEvent),
            P("response_required", "oadr:oadrResponseRequired", TEXT),
        ),
        _shape(
            model.QualifiedEventId,
            P("event_id", "ei:eventID", ID),
            P("modification_number", "ei:modificationNumber", INTEGER),
        ),
        _shape(
            model.EventResponse,
            P("response_code", "ei:responseCode", CODE),
            P("response_description", "ei:responseDescription", TEXT),
            _REQUEST_ID,
            _QUALIFIED,
            P("opt_type", "ei:optType", TOKEN),
        ),
        _shape(
            model.OadrDistributeEvent,
            _RESPONSE,
            _REQUEST_ID,
            P("vtn_id", "ei:vtnID", ID),
            P("events", "oadr:oadrEvent", model.OadrEvent),
        ),
        _shape(
            model.OadrCreatedEvent,
            P("response", "pyld:eiCreatedEvent>ei:eiResponse", model.EiResponse),
            P(
                "event_responses",
                "pyld:eiCreatedEvent>ei:eventResponses>ei:eventResponse",
                model.EventResponse,
                empty=True,
            ),
            P("ven_id", "pyld:eiCreatedEvent>ei:venID", ID),
        ),
        _shape(
            model.OadrRequestEvent,
            P("request_id", "pyld:eiRequestEvent>pyld:requestID", ID),
            P("ven_id", "pyld:eiRequestEvent>ei:venID", ID),
            P("reply_limit", "pyld:eiRequestEvent>pyld:replyLimit", INTEGER),
        ),
        _shape(model.OadrResponse, _RESPONSE, _VEN_ID),
        _shape(model.OadrPoll, _VEN_ID),
        _shape(model.Available, P("properties", "xcal:properties", model.Properties)),
        _shape(
            model.OadrCreateOpt,
            P("opt_id", "ei:optID", ID),
            P("opt_type", "ei:optType", TOKEN),
            P("opt_reason", "ei:optReason", TOKEN),
            P("market_context", "emix:marketContext", TOKEN),
            _VEN_ID,
            P("availability", "xcal:vavailability>xcal:components>xcal:available", model.Available, empty=True),
            P("created", "ei:createdDateTime", DATETIME),
            _REQUEST_ID,
            _QUALIFIED,
            P("target", "ei:eiTarget", model.EiTarget),
            P("device_class", "oadr:oadrDeviceClass", model.EiTarget),
        ),
        _shape(model.OadrCreatedOpt, _RESPONSE, P("opt_id", "ei:optID", ID)),
        _shape(model.OadrCancelOpt, _REQUEST_ID, P("opt_id", "ei:optID", ID), _VEN_ID),
        _shape(model.OadrCanceledOpt, _RESPONSE, P("opt_id", "ei:optID", ID)),
        _shape(
            model.SamplingRate,
            P("min_period", "oadr:oadrMinPeriod", DURATION),
            P("max_period", "oadr:oadrMaxPeriod", DURATION),
            P("on_change", "oadr:oadrOnChange", BOOLEAN),
        ),
        _shape(
            model.ReportDescription,
            P("r_id", "ei:rID", ID),
            P("subject", "ei:reportSubject", model.EiTarget),
            P("data_source", "ei:reportDataSource", model.EiTarget),
            P("report_type", "ei:reportType", TOKEN),
            _ITEM_BASE,
            P("reading_type", "ei:readingType", TOKEN),
            P("market_context", "emix:marketContext", TOKEN),
            P("sampling_rate", "oadr:oadrSamplingRate", model.SamplingRate),
        ),
        _shape(
            model.OadrReport,
            _DTSTART,
            _DURATION,
            _INTERVALS,
            P("report_id", "ei:eiReportID", ID),
            P("descriptions", "oadr:oadrReportDescription", model.ReportDescription),
            P("report_request_id", "ei:reportRequestID", ID),
            P("report_specifier_id", "ei:reportSpecifierID", ID),
            P("report_name", "ei:reportName", TOKEN),
            P("created", "ei:createdDateTime", DATETIME),
        ),
        _shape(model.SpecifierPayload, P("r_id", "ei:rID", ID), _ITEM_BASE, P("reading_type", "ei:readingType", TOKEN)),
        _shape(
            model.ReportSpecifier,
            P("report_specifier_id", "ei:reportSpecifierID", ID),
            P("granularity", "xcal:granularity/xcal:duration", DURATION),
            P("report_back_duration", "ei:reportBackDuration/xcal:duration", DURATION),
            P("report_interval", "ei:reportInterval/xcal:properties", model.Properties),
            P("payloads", "ei:specifierPayload", model.SpecifierPayload),
        ),
        _shape(
            model.ReportRequest,
            P("report_request_id", "ei:reportRequestID", ID),
            P("specifier", "ei:reportSpecifier", model.ReportSpecifier),
        ),
        _shape(
            model.OadrRegisterReport,
            _REQUEST_ID,
            P("reports", "oadr:oadrReport", model.OadrReport),
            _VEN_ID,
            P("report_request_id", "ei:reportRequestID", ID),
        ),
        _shape(
            model.OadrRegisteredReport,
            _RESPONSE,
            P("report_requests", "oadr:oadrReportRequest", model.ReportRequest),
            _VEN_ID,
        ),
        _shape(
            model.OadrCreateReport,
            _REQUEST_ID,
            P("report_requests", "oadr:oadrReportRequest", model.ReportRequest),
            _VEN_ID,
        ),
        _shape(model.OadrCreatedReport, _RESPONSE, _PENDING, _VEN_ID),
        _shape(model.OadrUpdateReport, _REQUEST_ID, P("reports", "oadr:oadrReport", model.OadrReport), _VEN_ID),
        _shape(
            model.OadrCancelReport,
            _REQUEST_ID,
            P("report_request_ids", "ei:reportRequestID", ID),
            P("report_to_follow", "pyld:reportToFollow", BOOLEAN),
            _VEN_ID,
        ),
        _shape(
            model.OadrUpdatedReport,
            _RESPONSE,
            P("cancel_report", "oadr:oadrCancelReport", model.OadrCancelReport),
            _VEN_ID,
        ),
        _shape(model.OadrCanceledReport, _RESPONSE, _PENDING, _VEN_ID),
        _shape(
            model.OadrProfile,
            P("name", "oadr:oadrProfileName", TOKEN),
            P("transports", "oadr:oadrTransports>oadr:oadrTransport/oadr:oadrTransportName", TOKEN),
        ),
        _shape(model.Info, P("key", "oadr:oadrKey", TEXT), P("value", "oadr:oadrValue", TEXT)),
        _shape(model.Service, P("name", "oadr:oadrServiceName", TOKEN), _INFOS),
        _shape(model.Extension, P("name", "oadr:oadrExtensionName", TEXT), _INFOS),
        _shape(model.OadrQueryRegistration, _REQUEST_ID),
        _shape(
            model.OadrCreatePartyRegistration,
            _REQUEST_ID,
            _REGISTRATION_ID,
            _VEN_ID,
            P("profile_name", "oadr:oadrProfileName", TOKEN),
            P("transport_name", "oadr:oadrTransportName", TOKEN),
            P("transport_address", "oadr:oadrTransportAddress", TEXT),
            P("report_only", "oadr:oadrReportOnly", BOOLEAN),
            P("xml_signature", "oadr:oadrXmlSignature", BOOLEAN),
            P("ven_name", "oadr:oadrVenName", TEXT),
            P("http_pull_model", "oadr:oadrHttpPullModel", BOOLEAN),
        ),
        _shape(
            model.OadrCreatedPartyRegistration,
            _RESPONSE,
            _REGISTRATION_ID,
            _VEN_ID,
            P("vtn_id", "ei:vtnID", ID),
            P("profiles", "oadr:oadrProfiles>oadr:oadrProfile", model.OadrProfile),
            P("requested_poll_freq", "oadr:oadrRequestedOadrPollFreq/xcal:duration", DURATION),
            P("services", "oadr:oadrServiceSpecificInfo>oadr:oadrService", model.Service, empty=True),
            P("extensions", "oadr:oadrExtensions>oadr:oadrExtension", model.Extension, empty=True),
        ),
        _shape(model.OadrRequestReregistration, _VEN_ID),
        _shape(model.OadrCancelPartyRegistration, _REQUEST_ID, _REGISTRATION_ID, _VEN_ID),
        _shape(model.OadrCanceledPartyRegistration, _RESPONSE, _REGISTRATION_ID, _VEN_ID),
    )
}

PAYLOADS: Mapping[str, type] = {
    qualified(f"oadr:o{cls.__name__[1:]}"): cls
    for cls in SHAPES
    if cls.__name__.startswith("Oadr") and SHAPES[cls].versioned
}
"""The class of each of the 23 payload elements."""
