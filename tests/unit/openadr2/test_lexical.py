"""The 54 lexical cases: the schema's verdict, and the value we read."""

import csv
import re
from pathlib import Path

import pytest
from lxml import etree

from adapters.errors import Rejection, TransportFault
from adapters.openadr2 import codec, lexical, model
from adapters.openadr2.lexical import Duration

_FILE = Path(__file__).parents[2] / "data" / "openadr2" / "lexical.csv"
_CASES = list(csv.DictReader(_FILE.read_text(encoding="utf-8").splitlines()))
_PLACES = {
    "duration": (model.SamplingRate, "oadrMinPeriod"),
    "dateTime": (model.OadrReport, "createdDateTime"),
    "float": (model.PayloadFloat, "value"),
}


def _message(kind: str, text: str) -> etree._Element:
    """A valid report message with one text replaced."""
    root = codec.read_tree(codec.encode(_REPORT))
    payload = codec.payload_element(root)
    if kind == "schemaVersion":
        name = "{http://docs.oasis-open.org/ns/energyinterop/201110}schemaVersion"
        value = payload.attrib.pop(name)
        if text == "(attribute without namespace)":
            payload.set("schemaVersion", value)
        elif text != "(absent)":
            payload.set(name, text)
        return root
    for element in root.iter(f"{{*}}{_PLACES[kind][1]}"):
        element.text = text
    return root


_REPORT = model.OadrUpdateReport(
    "q",
    (
        model.OadrReport(
            "0",
            "s",
            lexical.parse_datetime("2026-01-01T00:00:00Z"),
            intervals=(model.Interval((model.ReportPayload("r", model.PayloadFloat(1.0)),)),),
            descriptions=(
                model.ReportDescription(
                    "r", "reading", "Direct Read", sampling_rate=model.SamplingRate(Duration(), Duration(), False)
                ),
            ),
        ),
    ),
)


@pytest.mark.parametrize("case", _CASES, ids=[f"{c['type']} {c['text']!r}" for c in _CASES])
def test_verdict_of_the_schema(case: dict[str, str]) -> None:
    root = _message(case["type"], case["text"])
    if case["xsd_valid"] == "true":
        codec.check_schema(root)
    else:
        with pytest.raises(TransportFault, match=r"oadr\.schema"):
            codec.check_schema(root)


@pytest.mark.parametrize(
    "case", [c for c in _CASES if c["type"] == "duration" and c["canonical"]], ids=lambda c: c["text"]
)
def test_durations(case: dict[str, str]) -> None:
    value = lexical.parse_duration(case["text"].strip())
    if case["text"] == "PT1.5S":
        assert value.span.total_seconds() == 1.5
        assert lexical.format_duration(value) == "PT2S"
        return
    assert lexical.format_duration(value) == case["canonical"]


@pytest.mark.parametrize("case", [c for c in _CASES if c["type"] == "dateTime"], ids=lambda c: c["text"])
def test_times(case: dict[str, str]) -> None:
    if case["canonical"]:
        read = lexical.parse_datetime(case["text"], strict=False)
        assert lexical.format_datetime(read) == re.sub(r"(\.\d{3})Z", r"\g<1>000Z", case["canonical"])
    else:
        with pytest.raises(ValueError, match="date-time"):
            lexical.parse_datetime(case["text"], strict=False)
    if case["text"] and not case["text"].endswith("Z"):
        with pytest.raises(ValueError, match="date-time"):
            lexical.parse_datetime(case["text"])


@pytest.mark.parametrize("text", ["NaN", "INF", "-INF", "1e400", "inf", "", "1,5", "0x10", "1_000"])
def test_what_is_no_finite_number(text: str) -> None:
    with pytest.raises(ValueError, match="number"):
        lexical.parse_float(text)


@pytest.mark.parametrize(("text", "value"), [("1", 1.0), ("-1.5e3", -1500.0), (" 2 ", 2.0), (".5", 0.5)])
def test_numbers(text: str, value: float) -> None:
    assert lexical.parse_float(text) == value


@pytest.mark.parametrize(
    ("kind", "text", "code"),
    [
        ("float", "NaN", "454"),
        ("float", "1e400", "454"),
        ("dateTime", "-2024-01-01T00:00:00Z", "454"),
        ("dateTime", "2024-01-01T00:00:00", "459"),
    ],
)
def test_what_the_schema_lets_through_is_refused_with_a_code(kind: str, text: str, code: str) -> None:
    root = _message(kind, text)
    codec.check_schema(root)
    with pytest.raises(Rejection) as refusal:
        codec.decode(codec.payload_element(root))
    assert refusal.value.problems[0].reason == code


def test_months_are_counted_from_a_start() -> None:
    start = lexical.parse_datetime("2024-01-31T00:00:00Z")
    assert lexical.parse_duration("P1M").after(start).days == 29
    assert lexical.parse_duration("P1Y2M").after(start).days == 366 + 31 + 28
    with pytest.raises(ValueError, match="negative"):
        lexical.parse_duration("-PT5M").after(start)
