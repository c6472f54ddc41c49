"""Wire and canonical: conventions, defects of the schema worked around, versions, profiles."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from adapters.uftp.codec import decode, encode
from adapters.uftp.elements import Element
from adapters.uftp.mapping import to_canonical, to_wire
from adapters.uftp.values import duration
from datamodels import (
    Acknowledgement,
    ContractDay,
    ContractIsp,
    ContractSettlement,
    Disposition,
    FlexOffer,
    FlexRequest,
    Head,
    IspSeries,
    MarketCalendar,
    Metering,
    MeteringKind,
    MeterProfile,
    OfferOption,
    Prognosis,
    PrognosisKind,
    Quality,
    Settlement,
    SettlementIsp,
    SettlementRow,
)
from datamodels import (
    decode as from_json,
)
from datamodels import (
    encode as to_json,
)

DATA = Path(__file__).resolve().parents[2] / "data" / "uftp"
CALENDAR = MarketCalendar()
DAY = date(2030, 6, 12)
HEAD = Head(
    "dso.example.org",
    "agr.example.org",
    "00000000-0000-4000-8000-000000000001",
    "00000000-0000-4000-8000-000000000900",
    datetime(2030, 6, 11, 10, 0, tzinfo=UTC),
)


def read(name: str) -> Element:
    return decode((DATA / f"{name}.xml").read_bytes())


def canonical(name: str) -> Any:
    return to_canonical(read(name), CALENDAR)[0]


def wire(message: Any, world: ModuleType, version: str = "3.1.0") -> tuple[Element, dict[str, str]]:
    """As it arrives at the other side: serialised, validated, decoded."""
    element, losses = to_wire(message, version, world.TERMS)
    return decode(encode(element)), {loss.field: loss.why for loss in losses}


CARRIED = (
    "FlexRequest",
    "FlexOffer",
    "FlexOfferRevocation",
    "FlexOrder",
    "FlexOrder-partial",
    "D-Prognosis",
    "FlexReservationUpdate",
    "Metering",
    "FlexSettlement",
    "FlexRequestResponse",
    "FlexSettlementResponse",
    "D-PrognosisResponse",
)


@pytest.mark.parametrize("name", CARRIED)
def test_wire_to_canonical_to_wire_means_the_same(world: ModuleType, name: str) -> None:
    message = canonical(name)
    again, losses = wire(message, world)
    assert losses == {}
    assert to_canonical(again, CALENDAR)[0] == message


def test_a_request_keeps_signs_units_and_dispositions() -> None:
    request = canonical("FlexRequest")
    assert isinstance(request, FlexRequest)
    assert request.expires == datetime(2030, 6, 11, 12, 0, tzinfo=UTC)
    assert request.requested == frozenset(range(70, 77))
    assert (request.isps[1].min_power_w, request.isps[1].max_power_w) == (-100000, 0)
    assert request.isps[2].disposition is Disposition.AVAILABLE  # absent on the wire


def test_a_prognosis_covers_the_day() -> None:
    prognosis = canonical("D-Prognosis")
    assert prognosis.power.is_complete
    assert (prognosis.power.at(48), prognosis.power.at(49)) == (120000, -3000)


def test_defaults_of_the_schema_are_filled_in() -> None:
    offer, order = canonical("FlexOffer"), canonical("FlexOrder")
    assert [o.min_activation for o in offer.options] == [Decimal("0.50"), Decimal("1.00")]
    assert order.activation_factor == Decimal("1.00")
    assert read("FlexSettlement").children[0]["Penalty"] == 0


@pytest.mark.parametrize(
    ("text", "zone", "expected"),
    [
        ("2030-06-11T12:00:00", "Europe/Amsterdam", datetime(2030, 6, 11, 10, 0, tzinfo=UTC)),
        ("2030-06-11T24:00:00", "Europe/Amsterdam", datetime(2030, 6, 11, 22, 0, tzinfo=UTC)),
        ("2030-06-11T12:00:00-03:00", "Europe/Amsterdam", datetime(2030, 6, 11, 15, 0, tzinfo=UTC)),
        ("9999-12-31T23:00:00-03:00", "Europe/Amsterdam", datetime.max.replace(tzinfo=UTC)),
        ("0001-01-01T00:00:00+03:00", "Europe/Amsterdam", datetime.min.replace(tzinfo=UTC)),
    ],
)
def test_times_without_offset_are_the_messages_own_zone(text: str, zone: str, expected: datetime) -> None:
    raw = (DATA / "FlexRequest.xml").read_bytes()
    element = decode(raw.replace(b'ExpirationDateTime="2030-06-11T12:00:00Z"', f'ExpirationDateTime="{text}"'.encode()))
    request, _ = to_canonical(element, CALENDAR)
    assert isinstance(request, FlexRequest)
    assert request.expires == expected


def test_a_timestamp_without_offset_is_noted() -> None:
    raw = (DATA / "FlexRequest.xml").read_bytes().replace(b'"2030-06-11T10:00:00Z"', b'"2030-06-11T12:00:00"')
    request, losses = to_canonical(decode(raw), CALENDAR)
    assert isinstance(request, FlexRequest)
    assert request.head.created == datetime(2030, 6, 11, 10, 0, tzinfo=UTC)
    assert [loss.field for loss in losses] == ["TimeStamp"]


def test_times_are_sent_with_z(world: ModuleType) -> None:
    request = canonical("FlexRequest")
    amsterdam = replace(request, expires=request.expires.astimezone(CALENDAR.zone))
    element, _ = to_wire(amsterdam, "3.1.0", world.TERMS)
    assert b'ExpirationDateTime="2030-06-11T12:00:00Z"' in encode(element)


@pytest.mark.parametrize(
    ("text", "length"),
    [
        ("PT15M", timedelta(minutes=15)),
        ("PT900S", timedelta(minutes=15)),
        ("PT0.5S", timedelta(seconds=0.5)),
        ("P1DT1H", timedelta(hours=25)),
        ("-PT15M", timedelta(minutes=-15)),
        ("P1M", None),
        ("P999999999D", timedelta(days=999999999)),
        ("P999999999DT999999999H", None),
    ],
)
def test_durations(text: str, length: timedelta | None) -> None:
    assert duration(text) == length


# --- versions -----------------------------------------------------------------------------------------------------


def test_attributes_of_3_1_0_never_reach_a_3_0_0_peer(world: ModuleType) -> None:
    """U-02."""
    order = replace(canonical("FlexOrder"), service_type="S1")
    element, losses = wire(order, world, "3.0.0")
    assert element["Version"] == "3.0.0"
    assert not {"Unsolicited", "ServiceType"} & element.attributes.keys()
    assert list(losses) == ["ServiceType"]
    offer, losses = wire(replace(canonical("FlexOffer"), request=None, unsolicited=True), world, "3.0.0")
    assert "Unsolicited" not in offer.attributes
    assert losses == {}
    heard = to_canonical(offer, CALENDAR)[0]
    assert isinstance(heard, FlexOffer)
    assert heard.unsolicited


def test_an_unsolicited_order_cannot_be_said_in_3_0_0(world: ModuleType) -> None:
    order = replace(canonical("FlexOrder"), offer=None, unsolicited=True)
    with pytest.raises(ValueError, match="FlexOfferMessageID"):
        to_wire(order, "3.0.0", world.TERMS)
    assert wire(order, world)[0]["Unsolicited"] is True


def test_a_3_0_0_order_without_its_offer_breaks_the_schema() -> None:
    """U-02: 400."""
    raw = (DATA / "FlexOrder.xml").read_bytes().replace(b'"3.1.0"', b'"3.0.0"').replace(b'Unsolicited="false" ', b"")
    assert decode(raw)["Version"] == "3.0.0"
    start = raw.index(b"FlexOfferMessageID")
    with pytest.raises(Exception, match="FlexOfferMessageID is missing"):
        decode(raw[:start] + raw[start + len('FlexOfferMessageID="00000000-0000-4000-8000-000000000003" ') :])


# --- what the schema demands and the text does not ----------------------------------------------------------------


def _row(reference: str = "ORD-1", contract: str | None = None, period: date = DAY) -> SettlementRow:
    isps = tuple(SettlementIsp(n, 1000 * n, -500, 900 * n, -500, 0) for n in (70, 71, 75))
    return SettlementRow(
        reference, "ean.871685900012636543", period, Decimal("5"), Decimal(1), Decimal(4), isps, contract
    )


def test_a_settlement_without_contract_carries_the_row_that_the_schema_demands(world: ModuleType) -> None:
    message = Settlement(
        HEAD, date(2030, 6, 1), date(2030, 6, 30), "EUR", (_row(), _row("ORD-2", period=DAY.replace(day=13)))
    )
    element, _ = wire(message, world)
    assert element["Result"] == "Accepted"
    (contract,) = element.all("ContractSettlement")
    assert contract.get("ContractID") is None
    (period,) = contract.children
    assert period["Period"] == DAY
    assert [(i["Start"], i["Duration"], i["ReservedPower"]) for i in period.children] == [(70, 2, 0), (75, 1, 0)]
    back, losses = to_canonical(element, CALENDAR)
    assert back == message
    assert losses == ()


def test_contracts_are_settled_day_by_day(world: ModuleType) -> None:
    used = ContractIsp(70, -700, -600, None, -500, -500)
    idle = tuple(ContractIsp(n, -700, available_w=0) for n in (71, 72, 75))
    days = (ContractDay(DAY, (used, *idle)), ContractDay(DAY.replace(day=13), idle))
    contracts = (ContractSettlement("C1", days), ContractSettlement("C2", days[1:]))
    message = Settlement(HEAD, DAY, DAY.replace(day=30), "EUR", (_row(contract="C1"),), contracts)
    element, losses = wire(message, world)
    assert losses == {}
    first, second = element.all("ContractSettlement")
    assert (first["ContractID"], second["ContractID"]) == ("C1", "C2")
    (before, *after) = first.children[0].children
    names = ("ReservedPower", "RequestedPower", "AvailablePower", "OfferedPower", "OrderedPower")
    assert [before.get(name) for name in names] == [-700, -600, None, -500, -500]
    assert [(i["Start"], i["Duration"], i.get("AvailablePower"), i.get("OrderedPower")) for i in after] == [
        (71, 2, 0, None),
        (75, 1, 0, None),
    ]
    assert to_canonical(element, CALENDAR) == (message, ())
    assert from_json(to_json(message)) == message


@pytest.mark.parametrize(("start", "length", "why"), [(95, 3, r"not in 1\.\.96"), (70, 1, "settled twice")])
def test_settled_isps_are_on_their_day_and_once(start: int, length: int, why: str) -> None:
    element = read("FlexSettlement")
    row, contract = element.children
    more = replace(row.children[0], attributes={**row.children[0].attributes, "Start": start, "Duration": length})
    odd = replace(row, children=(*row.children, more))
    with pytest.raises(ValueError, match=why):
        to_canonical(replace(element, children=(odd, contract)), CALENDAR)


def test_equal_settlement_isps_are_sent_as_one_stretch(world: ModuleType) -> None:
    isps = tuple(SettlementIsp(n, 1000, -500, 600, -400, 100) for n in range(70, 77))
    message = Settlement(HEAD, DAY, DAY, "EUR", (replace(_row(), isps=isps),))
    (row,) = wire(message, world)[0].all("FlexOrderSettlement")
    assert [(i["Start"], i["Duration"]) for i in row.children] == [(70, 7)]


def test_a_rejected_settlement_is_answered_with_a_row_all_the_same(world: ModuleType) -> None:
    answer = Acknowledgement(HEAD, HEAD.message_id, "Settlement", False, ("Missing Settlement Items",))
    (row,) = wire(answer, world)[0].children
    assert (row["Disposition"], row["DisputeReason"]) == ("Disputed", "Missing Settlement Items")
    detailed = replace(
        answer, accepted=True, reasons=(), details=(("ORD-1", "Accepted"), ("ORD-2", "Disputed: price: 3"))
    )
    element, _ = wire(detailed, world)
    assert [(r["OrderReference"], r["Disposition"], r.get("DisputeReason")) for r in element.children] == [
        ("ORD-1", "Accepted", None),
        ("ORD-2", "Disputed", "price: 3"),
    ]
    assert to_canonical(element, CALENDAR)[0] == detailed


def test_every_request_can_be_rejected_in_every_version(world: ModuleType) -> None:
    kinds = {
        "DsoPortfolioUpdate": "DSOPortfolioUpdateResponseMessageID",
        "AgrPortfolioUpdate": "AGRPortfolioUpdateMessageID",
        "AgrPortfolioQuery": "AGRPortfolioQueryMessageID",
        "DsoPortfolioQuery": "DSOPortfolioQueryMessageID",
        "Reservation": "FlexReservationUpdateMessageID",
        "Prognosis": "D-PrognosisMessageID",
        "FlexRequest": "FlexRequestMessageID",
        "FlexOffer": "FlexOfferMessageID",
        "OfferRevocation": "FlexOfferRevocationMessageID",
        "FlexOrder": "FlexOrderMessageID",
        "Metering": "MeteringMessageID",
        "Settlement": "FlexSettlementMessageID",
    }
    for kind, attribute in kinds.items():
        for version in ("3.1.0", "3.0.0"):
            answer = Acknowledgement(HEAD, HEAD.message_id, kind, False, ("Unknown Recipient", "a;b"))
            element, _ = wire(answer, world, version)
            assert element[attribute] == HEAD.message_id
            assert element["RejectionReason"] == "Unknown Recipient;a,b"
    with pytest.raises(ValueError, match="no response"):
        to_wire(Acknowledgement(HEAD, HEAD.message_id, "TestMessage", True), "3.1.0", world.TERMS)


def test_a_validated_order_is_told_with_the_prognosis(world: ModuleType) -> None:
    order = "00000000-0000-4000-8000-000000000005"
    details = ((order, "validated"), (order, "not validated"))
    element, _ = wire(Acknowledgement(HEAD, HEAD.message_id, "Prognosis", True, (), details), world)
    assert [status["IsValidated"] for status in element.children] == [True, False]


# --- metering -----------------------------------------------------------------------------------------------------


def _metering(ean: str, quality: Quality = Quality.GOOD) -> Metering:
    values = tuple(Decimal(n) / 8 for n in range(96))
    profile = MeterProfile(MeteringKind.IMPORT_ENERGY, "kWh", values)
    return Metering(HEAD, ean, CALENDAR, DAY, 1, (profile,), quality)


@pytest.mark.parametrize("ean", ["E8716859000126365", "E871685900012636543", "e871685900012636543"])
def test_both_lengths_of_an_ean_pass(world: ModuleType, ean: str) -> None:
    """U-28: in, and out as they are."""
    element, losses = wire(_metering(ean), world)
    assert element["EAN"] == ean
    assert losses == {}


def test_bare_digits_become_an_ean(world: ModuleType) -> None:
    assert wire(_metering("871685900012636543"), world)[0]["EAN"] == "E871685900012636543"
    element, _ = to_wire(_metering("871"), "3.1.0", world.TERMS)
    with pytest.raises(ValueError, match="EAN"):
        encode(element)


def test_quality_is_lost_and_said_to_be(world: ModuleType) -> None:
    assert list(wire(_metering("E871685900012636543", Quality.UNCERTAIN), world)[1]) == ["quality"]


# --- what cannot be said ------------------------------------------------------------------------------------------


def test_what_uftp_cannot_say_is_an_error(world: ModuleType) -> None:
    empty = IspSeries.empty(CALENDAR, DAY)
    flat = IspSeries.of(CALENDAR, DAY, [1] * 96)
    cases = (
        Prognosis(HEAD, "ean.871685900012636543", 1, flat, PrognosisKind.A),
        Prognosis(HEAD, "ean.871685900012636543", 1, empty),
        FlexOffer(HEAD, "ean.871685900012636543", HEAD.created, "EUR", ()),
        Settlement(HEAD, DAY, DAY, "EUR", ()),
        Settlement(HEAD, DAY, DAY, "EUR", (replace(_row(), isps=()),)),
        FlexOffer(
            HEAD,
            "ean.871685900012636543",
            HEAD.created,
            "EUR",
            (
                OfferOption("A", Decimal(1), flat),
                OfferOption("B", Decimal(1), IspSeries.of(CALENDAR, DAY.replace(day=13), [1] * 96)),
            ),
        ),
    )
    for message in cases:
        with pytest.raises(ValueError, match=r"UFTP|sent|ISP|one day"):
            to_wire(message, "3.1.0", world.TERMS)


def test_encode_never_emits_what_decode_refuses(world: ModuleType) -> None:
    request = canonical("FlexRequest")
    for odd in (
        replace(request, congestion_point="cp-1"),
        replace(request, head=replace(request.head, message_id="1")),
        replace(request, isps=()),
        replace(request, contract="a\x00b"),
    ):
        element, _ = to_wire(odd, "3.1.0", world.TERMS)
        with pytest.raises(ValueError, match="cannot be sent"):
            encode(element)
