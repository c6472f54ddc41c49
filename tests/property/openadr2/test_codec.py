"""Every payload class: decode(encode(x)) == x, and what is encoded is valid by the schema."""

import re
import types
import typing
from dataclasses import fields
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import cache

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from lxml import etree

from adapters.openadr2 import codec, model
from adapters.openadr2.lexical import Duration, format_datetime, format_duration, parse_datetime, parse_duration
from adapters.openadr2.tables import PAYLOADS, UNITS

_TEXT = st.text(
    st.characters(
        exclude_categories=("Cs",),
        exclude_characters="".join(map(chr, [*range(9), 11, 12, *range(14, 32)])) + "\ufffe\uffff",
    ),
    max_size=12,
) | st.sampled_from(["123", "0123", "true", "null", "1.2.3", "1e5", "é", "]]>", "a & b < c", " x ", "\r\n", "\t"])
_TOKEN = st.from_regex(r"x-[a-zA-Z0-9]{1,8}", fullmatch=True)
_UINT = st.integers(0, 2**32 - 1)
_SPAN = st.builds(
    lambda days, seconds, months: Duration(timedelta(days=days, seconds=seconds), months),
    st.integers(0, 400),
    st.integers(0, 86399),
    st.integers(0, 30),
)
_TIME = st.datetimes(timezones=st.just(UTC))
_FLOAT = st.floats(allow_nan=False, allow_infinity=False, width=32)
_ATOM = (
    '<feed xmlns="http://www.w3.org/2005/Atom"><id>urn:x</id><title>a &amp; b</title>'
    "<updated>2026-01-01T00:00:00Z</updated></feed>"
)
_GML = (
    '<FeatureCollection xmlns="http://www.opengis.net/gml/3.2"><location><Polygon><exterior><LinearRing>'
    "<posList>1.0 2.0 3.0 4.0</posList></LinearRing></exterior></Polygon></location></FeatureCollection>"
)

_OPT = st.sampled_from(["optIn", "optOut"])
_FIXED = {
    ("EiResponse", "response_code"): st.integers(0, 999),
    ("EventResponse", "response_code"): st.integers(0, 999),
    ("EiTarget", "service_area"): st.lists(st.just(_GML), max_size=1).map(tuple),
    ("EiTarget", "service_location"): st.lists(st.just(_GML), max_size=1).map(tuple),
    ("GreenButton", "feed"): st.just(_ATOM),
    ("EventDescriptor", "modification_number"): _UINT,
    ("EventDescriptor", "priority"): st.none() | _UINT,
    ("EventDescriptor", "event_status"): st.sampled_from(["none", "far", "near", "active", "completed", "cancelled"]),
    ("EventDescriptor", "market_context"): st.sampled_from(["http://a.example/b", "urn:x:1"]),
    ("OadrCreateOpt", "market_context"): st.none() | st.just("urn:x:2"),
    ("ReportDescription", "market_context"): st.none() | st.just("urn:x:3"),
    ("QualifiedEventId", "modification_number"): _UINT,
    ("EventResponse", "opt_type"): _OPT,
    ("OadrCreateOpt", "opt_type"): _OPT,
    ("OadrCreateOpt", "opt_reason"): st.just("economic") | _TOKEN,
    ("OadrEvent", "response_required"): st.sampled_from(["always", "never"]),
    ("OadrRequestEvent", "reply_limit"): st.none() | _UINT,
    ("ReportPayload", "confidence"): st.none() | st.integers(0, 100),
    ("ReportPayload", "data_quality"): st.none() | _TOKEN | st.just("Quality Good - Non Specific"),
    ("EventSignal", "signal_name"): st.just("LOAD_DISPATCH") | _TOKEN,
    ("EventSignal", "signal_type"): st.sampled_from(["delta", "level", "setpoint", "x-loadControlCapacity"]),
    ("ReportDescription", "report_type"): st.just("reading") | _TOKEN,
    ("ReportDescription", "reading_type"): st.just("Direct Read") | _TOKEN,
    ("SpecifierPayload", "reading_type"): st.just("Mean") | _TOKEN,
    ("OadrReport", "report_name"): st.none() | st.just("TELEMETRY_USAGE") | _TOKEN,
    ("Service", "name"): st.sampled_from(["EiEvent", "OadrPoll"]),
    ("OadrProfile", "name"): st.sampled_from(["2.0a", "2.0b"]),
    ("OadrProfile", "transports"): st.just(("simpleHttp", "xmpp")),
    ("OadrCreatePartyRegistration", "profile_name"): st.sampled_from(["2.0a", "2.0b"]),
    ("OadrCreatePartyRegistration", "transport_name"): st.sampled_from(["simpleHttp", "xmpp"]),
}
_AT_LEAST_ONE = {
    ("Interval", "payloads"),
    ("EventSignal", "intervals"),
    ("EventBaseline", "intervals"),
    ("EiEvent", "signals"),
    ("ReportSpecifier", "payloads"),
    ("OadrCreateReport", "report_requests"),
    ("OadrCancelReport", "report_request_ids"),
    ("OadrCreatedPartyRegistration", "profiles"),
    ("Service", "infos"),
}


def _power(name: str) -> st.SearchStrategy:
    shape = UNITS[name]
    decimal = st.decimals(0, 1000, places=1)
    power = st.builds(model.PowerAttributes, decimal, decimal, st.booleans()) if shape.power else st.none()
    described = st.just(shape.description) if shape.units else _TEXT
    units = st.just(shape.units) if shape.units else _TEXT.map(str.strip)
    if name.startswith("currency"):
        described, units = st.just("currencyPerKWh"), st.just("EUR")
    if name == "temperature":
        described, units = st.just("temperature"), st.just("celsius")
    return st.builds(model.ItemBase, st.just(name), described, units, st.sampled_from(["none", "k", "micro"]), power)


@cache
def _made(cls: type) -> st.SearchStrategy:
    if cls is model.ItemBase:
        return st.sampled_from(sorted(UNITS)).flatmap(_power)
    hints = typing.get_type_hints(cls)
    return st.builds(
        cls,
        **{
            f.name: _FIXED[key]
            if (key := (cls.__name__, f.name)) in _FIXED
            else _of(hints[f.name], nonempty=key in _AT_LEAST_ONE)
            for f in fields(cls)
            if f.name != "schema_version"
        },
    )


def _of(hint: object, nonempty: bool = False) -> st.SearchStrategy:
    simple = {str: _TEXT, int: _UINT, float: _FLOAT, bool: st.booleans(), datetime: _TIME, Duration: _SPAN}
    simple[Decimal] = st.decimals(0, 1000, places=2)
    simple[type(None)] = st.none()
    if hint in simple:
        return simple[hint]
    origin = typing.get_origin(hint)
    if origin is tuple:
        return st.lists(_of(typing.get_args(hint)[0]), min_size=int(nonempty), max_size=2).map(tuple)
    if origin in (typing.Union, types.UnionType):
        return st.one_of(*(_of(a, nonempty) for a in typing.get_args(hint)))
    return st.deferred(lambda: _made(hint))


@pytest.mark.parametrize("cls", PAYLOADS.values(), ids=lambda c: c.__name__)
@settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_round_trip(cls: type, data: st.DataObject) -> None:
    payload = data.draw(_made(cls))
    body = codec.encode(payload)
    root = codec.read_tree(body)
    codec.check_schema(root)
    assert codec.decode(codec.payload_element(root)) == payload


@given(st.text(max_size=5))
def test_a_text_survives_or_is_refused(text: str) -> None:
    payload = model.OadrPoll(text)
    try:
        body = codec.encode(payload)
    except ValueError:
        assert re.search("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]", text)
        return
    assert codec.decode(codec.payload_element(codec.read_tree(body))) == payload


@given(_SPAN)
def test_durations_are_written_as_they_are_read(value: Duration) -> None:
    text = format_duration(value)
    assert parse_duration(text) == value
    assert not re.search(r"W|\.", text)


@given(_TIME)
def test_times_are_written_in_utc(value: datetime) -> None:
    text = format_datetime(value)
    assert text.endswith("Z")
    assert parse_datetime(text) == value


def test_every_payload_of_the_schema_has_a_class() -> None:
    root = etree.parse(str(codec.schema_path())).getroot()
    names = {e.get("ref") for e in root.iterfind("{*}element[@name='oadrSignedObject']//{*}choice/{*}element")}
    assert {f"oadr:{etree.QName(tag).localname}" for tag in PAYLOADS} == names
    assert len(names) == 23
