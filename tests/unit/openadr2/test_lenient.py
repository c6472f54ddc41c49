"""Known deviations of deployed VENs: accepted, named and counted in lenient, refused in strict."""

import pytest

from adapters.openadr2 import codec, lenient, model
from adapters.openadr2.lexical import Duration, parse_datetime
from adapters.openadr2.tables import qualified

TIME = parse_datetime("2026-03-01T12:00:00Z")
UNIT = model.ItemBase("energyReal", "RealEnergy", "Wh")
REPORT = model.OadrRegisterReport(
    "q",
    (
        model.OadrReport(
            "0",
            "s",
            TIME,
            duration=Duration.seconds(7 * 86400),
            descriptions=(
                model.ReportDescription(
                    "r",
                    "reading",
                    "Direct Read",
                    data_source=model.EiTarget(resource_id=("battery",)),
                    item_base=UNIT,
                    sampling_rate=model.SamplingRate(Duration.seconds(60), Duration.seconds(60), False),
                ),
            ),
            report_name="METADATA_TELEMETRY_USAGE",
        ),
    ),
    "ven-1",
)
REGISTER = model.OadrCreatePartyRegistration("q", "2.0b", "simpleHttp", False, False, ven_name="one")


def _swap_name_and_profile(body: bytes) -> bytes:
    name = b"<oadr:oadrVenName>one</oadr:oadrVenName>"
    return body.replace(name, b"").replace(b"<oadr:oadrProfileName>", name + b"<oadr:oadrProfileName>")


DEVIATIONS = {
    "schemaVersion without namespace": lambda b: b.replace(b"ei:schemaVersion", b"schemaVersion"),
    "date-time not in UTC": lambda b: b.replace(b"12:00:00Z", b"13:00:00+01:00"),
    "duration in weeks": lambda b: b.replace(b"P7D", b"P1W"),
    "scaled unit": lambda b: b.replace(b">Wh<", b">kWh<"),
    "child order": lambda b: b.replace(b"<ei:venID>ven-1</ei:venID>", b"").replace(
        b"<pyld:requestID>", b"<ei:venID>ven-1</ei:venID><pyld:requestID>"
    ),
}


@pytest.mark.parametrize("deviation", DEVIATIONS)
async def test_lenient_mends_and_counts_what_strict_refuses(around, deviation: str) -> None:
    body = DEVIATIONS[deviation](codec.encode(REPORT))
    assert body != codec.encode(REPORT)
    for profile, status in (("strict", 400), ("lenient", 200)):
        vens = [{"ven_name": "one", "ven_id": "ven-1", "profile": profile}]
        async with around.Vtn(around.Hub(), around.HandClock(), around.home("one"), vens=vens) as vtn:
            await vtn.register()
            answered, reply = await vtn.post("EiReport", body)
            assert answered == status, reply
            if profile == "lenient":
                assert codec.decode(codec.payload_element(codec.read_tree(reply))).response.response_code == 200
                assert vtn.adapter.status().peers["one"].endswith("1 deviations")


async def test_the_name_is_enough_at_registration(around) -> None:
    body = _swap_name_and_profile(codec.encode(REGISTER))
    for profile, status in (("strict", 400), ("lenient", 200)):
        vens = [{"ven_name": "one", "ven_id": "ven-1", "profile": profile}]
        async with around.Vtn(around.Hub(), around.HandClock(), vens=vens) as vtn:
            assert (await vtn.post("EiRegisterParty", body))[0] == status


def test_values_are_kept() -> None:
    body = codec.encode(REPORT)
    for repair in DEVIATIONS.values():
        body = repair(body)
    root = codec.read_tree(body)
    payload = codec.payload_element(root)
    assert sorted(lenient.normalise(payload)) == sorted(DEVIATIONS)
    codec.check_schema(root)
    mended = codec.decode(payload)
    assert isinstance(mended, model.OadrRegisterReport)
    assert mended.reports[0].created == TIME
    assert mended.reports[0].duration == Duration.seconds(7 * 86400)
    assert mended.reports[0].descriptions[0].item_base == model.ItemBase("energyReal", "RealEnergy", "Wh", "k")


def test_a_sound_message_is_left_alone() -> None:
    root = codec.read_tree(codec.encode(REPORT))
    assert lenient.normalise(codec.payload_element(root)) == []
    assert codec.decode(codec.payload_element(root)) == REPORT


def test_what_cannot_be_mended_is_left_to_the_schema() -> None:
    root = codec.read_tree(codec.encode(REPORT))
    for element in root.iter(qualified("ei:createdDateTime")):
        element.text = "yesterday"
    assert lenient.normalise(codec.payload_element(root)) == []
