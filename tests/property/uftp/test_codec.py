"""Whatever the table allows survives the wire; whatever the canonical model says comes back the same."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from itertools import pairwise
from types import ModuleType
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from adapters.errors import TransportFault
from adapters.uftp import check_payload
from adapters.uftp.codec import decode, encode
from adapters.uftp.elements import Element
from adapters.uftp.mapping import to_canonical, to_wire
from adapters.uftp.schema import MESSAGES, VERSIONS, ElementSpec
from adapters.uftp.values import TYPES
from datamodels import (
    Acknowledgement,
    Disposition,
    FlexOffer,
    FlexOrder,
    FlexRequest,
    Head,
    IspSeries,
    MarketCalendar,
    OfferOption,
    OfferRevocation,
    Prognosis,
    RequestIsp,
    Reservation,
    Role,
)

CALENDARS = (
    MarketCalendar(),
    MarketCalendar("Europe/Amsterdam", timedelta(minutes=30)),
    MarketCalendar("America/New_York", timedelta(hours=1)),
    MarketCalendar("Australia/Lord_Howe", timedelta(minutes=15)),
)
DAYS = (date(2030, 6, 12), date(2030, 3, 31), date(2030, 10, 27), date(2030, 3, 10), date(2030, 10, 6))

relaxed = settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)

_NAIVE = (datetime.fromisoformat("1900-01-01"), datetime.fromisoformat("9998-01-01"))
_offsets = st.one_of(
    st.none(), st.just(UTC), st.builds(lambda m: timezone(timedelta(minutes=m)), st.integers(-839, 839))
)
_characters = st.characters(min_codepoint=32, exclude_categories=("Cs",), exclude_characters="\ufffe\uffff")
_text = st.one_of(st.text(_characters, max_size=12), st.sampled_from(("a\tb", 'q"<&>', "ë€𝄞")))
_text = _text.filter(lambda t: t == t.strip(" \t\r\n"))
_labels = st.from_regex(r"[a-z0-9]{1,8}\.[a-z]{2,5}", fullmatch=True)


def _decimals(low: Any, high: Any, places: int) -> st.SearchStrategy[Decimal]:
    return st.decimals(low, high, places=places, allow_nan=False, allow_infinity=False)


_VALUES: dict[str, st.SearchStrategy[Any]] = {
    "text": _text,
    "version": st.just("3.1.0"),
    "uuid": st.uuids().map(str),
    "domain": _labels,
    "address": st.one_of(
        st.from_regex(r"ean\.[0-9]{12,34}", fullmatch=True),
        st.builds(lambda d: f"ea1.2030-01.{d}:cp", _labels),
    ),
    "timeZone": st.sampled_from(("Europe/Amsterdam", "America/New_York", "Australia/Lord_Howe")),
    "currency": st.from_regex(r"[A-Z]{3}", fullmatch=True),
    "ean": st.from_regex(r"[Ee]([0-9]{16}|[0-9]{18})", fullmatch=True),
    "base64": st.from_regex(r"[A-Za-z0-9+/]{4,40}", fullmatch=True),
    "duration": st.sampled_from(("PT15M", "PT30M", "PT1H", "P1D", "-PT15M", "P1Y2M3DT4H5M6.7S")),
    "date": st.dates(date(1, 1, 2)),
    "dateTime": st.builds(lambda d, z: d.replace(tzinfo=z), st.datetimes(*_NAIVE), _offsets),
    "boolean": st.booleans(),
    "integer": st.integers(-(10**18) + 1, 10**18 - 1),
    "long": st.integers(-(10**18) + 1, 10**18 - 1),
    "positive": st.integers(1, 10**18 - 1),
    "decimal": _decimals("-1e6", "1e6", 6),
    "amount": _decimals("-1e6", "1e6", 4),
    "factor": _decimals("0.01", "1.00", 2),
}


def _value(kind: str) -> st.SearchStrategy[Any]:
    return st.sampled_from(TYPES[kind].values) if TYPES[kind].values else _VALUES[kind]


@st.composite
def elements(draw: st.DrawFn, spec: ElementSpec, version: str) -> Element:
    attributes = {
        name: version if name == "Version" else draw(_value(attribute.type.name))
        for name, attribute in spec.attributes.items()
        if attribute.required or attribute.default is not None or draw(st.booleans())
    }
    children: list[Element] = []
    for child in spec.children:
        most = min(child.maximum or 3, 3)
        children += draw(st.lists(elements(child, version), min_size=child.minimum, max_size=most))
    return Element(spec.name, attributes, tuple(children))


@st.composite
def messages(draw: st.DrawFn) -> Element:
    version = draw(st.sampled_from(VERSIONS))
    name = draw(st.sampled_from(sorted(MESSAGES)))
    return draw(elements(MESSAGES[name].spec[version], version))


@relaxed
@given(messages())
def test_what_the_table_allows_survives_the_wire(message: Element) -> None:
    """U-01."""
    assert decode(encode(message)) == message


@relaxed
@given(messages(), st.data())
def test_a_missing_required_attribute_is_found(message: Element, data: st.DataObject) -> None:
    spec = MESSAGES[message.name].spec[message.get("Version") or "3.1.0"]
    name = data.draw(st.sampled_from(sorted(spec.required - {"Version"})))
    rest = {k: v for k, v in message.attributes.items() if k != name}
    with pytest.raises(ValueError, match=name):
        encode(Element(message.name, rest, message.children))


@settings(max_examples=80, deadline=None)
@given(st.binary(max_size=200), st.integers(0, 1200), st.booleans())
def test_damaged_payloads_are_refused_or_judged(world: ModuleType, junk: bytes, at: int, insert: bool) -> None:
    """No input ends in anything but a verdict or a TransportFault."""
    raw = (world.DATA / "FlexOffer.xml").read_bytes()
    at = min(at, len(raw))
    damaged = raw[:at] + junk + raw[at if insert else at + len(junk) :]
    code, result = 200, None
    try:
        result = check_payload(
            damaged,
            world.AGR,
            Role.AGR,
            world.MemoryHistory(),
            world.TERMS,
            world.participants(),
            world.NOW,
            world.DSO,
            Role.DSO,
        ).result
    except TransportFault as fault:
        code = fault.code
    assert (code, result) in ((200, "Accepted"), (200, "Rejected"), (200, None), (400, None))


# --- canonical ----------------------------------------------------------------------------------------------------

_heads = st.builds(
    Head,
    _labels,
    _labels,
    st.uuids().map(str),
    st.uuids().map(str),
    st.datetimes(*_NAIVE, timezones=st.just(UTC)),
)
_refs = st.none() | st.uuids().map(str)
_texts = st.none() | _text.filter(bool)
_names = _text.filter(bool)
_prices = _decimals("-10000", "10000", 4)


@st.composite
def series(draw: st.DrawFn, calendar: MarketCalendar, day: date, complete: bool = False) -> IspSeries:
    count = calendar.isps(day)
    power = st.integers(-(10**9), 10**9)
    pool = draw(st.lists(power if complete else st.none() | power, min_size=1, max_size=6))
    values = [pool[(k * k // 7) % len(pool)] for k in range(count)]
    if not complete and all(v is None for v in values):
        values[draw(st.integers(0, count - 1))] = draw(power)
    return IspSeries(calendar, day, tuple(values))


@st.composite
def market_messages(draw: st.DrawFn) -> Any:
    calendar, day = draw(st.sampled_from(CALENDARS)), draw(st.sampled_from(DAYS))
    head, point = draw(_heads), draw(_VALUES["address"])
    kind = draw(
        st.sampled_from((Prognosis, FlexRequest, FlexOffer, OfferRevocation, FlexOrder, Reservation, Acknowledgement))
    )
    basis = {"contract": draw(_texts), "prognosis": draw(_refs), "baseline_reference": draw(_texts)}
    if kind is Prognosis:
        return Prognosis(head, point, draw(st.integers(0, 10**9)), draw(series(calendar, day, True)))
    if kind is FlexRequest:
        ends = sorted(draw(st.sets(st.integers(1, calendar.isps(day)), min_size=2, max_size=6)))
        isps = tuple(
            RequestIsp(a, b - a, draw(st.sampled_from(Disposition)), -draw(st.integers(0, 10**6)), 5)
            for a, b in pairwise(ends)
        )
        return FlexRequest(head, point, calendar, day, 1, head.created, isps, basis["contract"], draw(_texts))
    if kind is FlexOffer:
        options = draw(
            st.lists(
                st.builds(OfferOption, _names, _prices, series(calendar, day), _decimals("0.01", "1.00", 2)),
                min_size=1,
                max_size=3,
            )
        )
        request = draw(_refs)
        return FlexOffer(head, point, head.created, "EUR", tuple(options), request, request is None, **basis)
    if kind is OfferRevocation:
        return OfferRevocation(head, str(draw(st.uuids())))
    if kind is FlexOrder:
        offer = draw(_refs)
        return FlexOrder(
            head,
            point,
            draw(_names),
            draw(_prices),
            "EUR",
            draw(series(calendar, day)),
            offer,
            draw(_texts),
            draw(_decimals("0.01", "1.00", 2)),
            offer is None,
            service_type=draw(_texts),
            **basis,
        )
    if kind is Reservation:
        return Reservation(head, point, draw(_names), draw(_names), draw(series(calendar, day)))
    reasons = draw(st.lists(_names.filter(lambda t: ";" not in t), max_size=3))
    name = draw(
        st.sampled_from(("FlexRequest", "FlexOffer", "OfferRevocation", "FlexOrder", "Reservation", "Metering"))
    )
    # The reader trims each reason as text between semicolons.
    trimmed = tuple(r.strip() for r in reasons if r.strip())
    return Acknowledgement(head, str(draw(st.uuids())), name, not trimmed, trimmed)


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(market_messages())
def test_canonical_messages_come_back_the_same(world: ModuleType, message: Any) -> None:
    """U-15: signs and all else."""
    calendar = getattr(message, "calendar", None) or (
        message.options[0].power.calendar if isinstance(message, FlexOffer) else getattr(message, "power", CALENDARS[0])
    )
    calendar = getattr(calendar, "calendar", calendar)
    element, losses = to_wire(message, "3.1.0", world.TERMS)
    assert losses == ()
    again, lost = to_canonical(decode(encode(element)), calendar)
    assert again == message
    assert lost == ()
