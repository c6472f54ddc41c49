"""Decoding: what is refused, how it is told, and what comes back as it was."""

from __future__ import annotations

import csv
import json
from decimal import Decimal
from typing import Any

import pytest
from support import openadr3 as kit

from adapters.errors import TransportFault
from adapters.openadr3 import model
from adapters.openadr3.codec import SHAPES, decode, dumps, encode, loads, request
from adapters.openadr3.lexical import DateTime, Duration
from adapters.openadr3.members import Version

V310 = Version.V310
_LACK_A_TYPE_TOO = ("ex-36.json", "ex-37.json")  # besides the sentinel that the verdict names
EVENT = {"programID": "p", "intervals": [{"id": 0, "payloads": [{"type": "PRICE", "values": [0.17]}]}]}


def test_examples_of_the_standard_keep_their_verdicts() -> None:
    index = kit.SHARED / "vectors" / "openadr3" / "examples" / "index.csv"
    if not index.is_file():
        pytest.skip(f"no examples at {index}")
    with index.open(encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["verdict_3_1_0_yaml"] and row["file"] != "-"]
    names = {"venRequest": "BlVenRequest", "resourceRequest": "BlResourceRequest"}
    seen = 0
    for row in rows:
        shape = SHAPES[V310].get(names.get(row["schema"], row["schema"]))
        if shape is None:
            continue
        seen += 1
        body = loads((index.parent / row["file"]).read_bytes())
        decoded = decode(shape, body)
        # Sentinel starts are no date-times to the document, but are to the standard's text (errata 10).
        sentinel = '"0001-01-01"' in row["verdict_3_1_0_yaml"] and row["file"] not in _LACK_A_TYPE_TOO
        good = row["verdict_3_1_0_yaml"] == "valid" or sentinel
        assert (not decoded.problems) is good, (row["file"], decoded.problems)
        if decoded.value is not None:
            read_over = {m for m in shape.hidden if isinstance(body, dict)}
            kept = {k: v for k, v in _without_nulls(body).items() if k not in read_over}
            assert encode(decoded.value, V310) == kept, row["file"]
        lenient = decode(shape, body, lenient=True)
        assert bool(lenient.problems) is (row["file"] in ("ex-10.json", "ex-38.json")), row["file"]
    assert seen > 40


@pytest.mark.parametrize("kind", ["dateTime", "duration", "objectID"])
def test_lexical_vectors(kind: str) -> None:
    for row in kit.vector("lexical.json")[kind]:
        good = row.get("product", "accept" if row["yaml"] == "valid" else "reject").startswith("accept")
        if kind == "dateTime":
            body: Any = EVENT | {"intervalPeriod": {"start": row["value"]}}
        elif kind == "duration":
            good = good and not row["value"].startswith("-")
            body = EVENT | {"intervalPeriod": {"duration": row["value"]}}
        else:
            body = EVENT | {"programID": row["value"]}
        decoded = decode(request(model.Event, V310), body)
        assert (decoded.value is not None) is good, row
        if decoded.value is not None:
            assert encode(decoded.value, V310) == body
        if good and kind == "duration":
            fixed = Duration(row["value"]).fixed
            assert (None if fixed is None else Decimal(str(fixed.total_seconds()))) == row["seconds"]


def test_a_randomised_start_may_be_negative_and_a_duration_may_not() -> None:
    shape = request(model.Event, V310)
    assert not decode(shape, EVENT | {"intervalPeriod": {"randomizeStart": "-PT5M"}}).problems
    assert decode(shape, EVENT | {"intervalPeriod": {"duration": "-PT5M"}}).problems
    assert Duration("-PT5M").fixed == -Duration("PT5M").fixed  # type: ignore[operator]


def test_every_problem_is_told_with_place_and_remedy() -> None:
    body = {
        "eventName": 7,
        "priority": -1,
        "intervals": [{"id": 2**31, "payloads": [{"type": "", "values": [None]}, {"type": "X"}]}, 3],
    }
    problems = decode(request(model.Event, V310), body).problems
    assert {p.where: p.rule for p in problems} == {
        "programID": "openadr3.missing",
        "eventName": "openadr3.type",
        "priority": "openadr3.range",
        "intervals[0].id": "openadr3.range",
        "intervals[0].payloads[0].type": "openadr3.length",
        "intervals[0].payloads[0].values[0]": "openadr3.type",
        "intervals[0].payloads[1].values": "openadr3.missing",
        "intervals[1]": "openadr3.type",
    }
    assert all(p.message and p.hint for p in problems)


@pytest.mark.parametrize("version", list(Version))
def test_each_required_member_is_required_and_each_optional_may_be_null(version: Version) -> None:
    for name, shape in SHAPES[version].items():
        whole = _sample(shape.schema())
        assert not decode(shape, whole).problems, name
        for item in shape.members:
            missing = decode(shape, {k: v for k, v in whole.items() if k != item.wire})
            assert [p.where for p in missing.problems] == ([item.wire] if item.required else []), name
            null = decode(shape, whole | {item.wire: None})
            assert bool(null.problems) is item.required, (name, item.wire)


def test_unknown_members_stay_and_metadata_of_a_request_is_read_over() -> None:
    event = kit.read(request(model.Event, V310), EVENT | {"id": "mine", "vendor": {"a": [1]}})
    assert event.id is None
    assert encode(event, V310) == EVENT | {"vendor": {"a": [1]}}


def test_a_member_of_one_version_is_unknown_to_the_other() -> None:
    body = {"programName": "p", "retailerName": 7}
    assert kit.read(request(model.Program, V310), body).extra == {"retailerName": 7}
    assert decode(request(model.Program, Version.V301), body).problems
    old = kit.read(request(model.Event, Version.V301), EVENT | {"targets": [{"type": "GROUP", "values": ["g"]}]})
    assert old.targets[0].values == ("g",)
    assert decode(request(model.Event, V310), EVENT | {"targets": [{"type": "GROUP", "values": ["g"]}]}).problems


def test_role_decides_what_a_ven_request_must_hold() -> None:
    ven = {"objectType": "VEN_VEN_REQUEST", "venName": "v"}
    assert kit.read(request(model.Ven, V310), ven | {"targets": ["g"], "clientID": 7}).targets is None
    assert [p.where for p in decode(request(model.Ven, V310, "Bl"), ven).problems] == ["objectType", "clientID"]


@pytest.mark.parametrize("number", ["0.1", "1E-7", "12345678901234567890", "0.30000000000000000001", "-0.0", "1.50"])
def test_numbers_come_back_as_they_were(number: str) -> None:
    body = '{"programID":"p","intervals":[{"id":0,"payloads":[{"type":"PRICE","values":[' + number + "]}]}]}"
    event = kit.read(request(model.Event, V310), loads(body.encode()))
    assert dumps(encode(event, V310)).decode() == body


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"", 400),
        (b"{", 400),
        (b'{"a":1,"a":2}', 400),
        (b'{"a":NaN}', 400),
        (b'{"a":-Infinity}', 400),
        (b'"\\ud800"', 400),
        (b'"\xff"', 400),
        (b"[" * 10_000 + b"]" * 10_000, 400),
        (b" " * 1001, 413),
    ],
)
def test_json_with_tricks_is_refused(body: bytes, code: int) -> None:
    with pytest.raises(TransportFault) as caught:
        loads(body, 1000 if code == 413 else 1 << 20)
    assert caught.value.code == code


def test_brackets_in_texts_do_not_nest() -> None:
    assert loads(json.dumps({"a": '[["\\"[{' * 100}).encode())


@pytest.mark.parametrize("body", [[], 7, "x", None])
def test_a_body_that_is_no_object_is_refused(body: Any) -> None:
    assert [p.where for p in decode(request(model.Event, V310), body).problems] == ["body"]


def test_the_sentinel_is_kept_and_means_no_instant() -> None:
    assert DateTime.read("0001-01-01", sentinel=True).instant is None
    with pytest.raises(ValueError, match="offset"):
        DateTime.read("0001-01-01")


def _without_nulls(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _without_nulls(v) for k, v in value.items() if v is not None}
    return [_without_nulls(v) for v in value] if isinstance(value, list) else value


def _sample(schema: dict[str, Any]) -> Any:
    """A value that a schema allows, whole."""
    if "anyOf" in schema:
        return _sample(schema["anyOf"][0])
    if "enum" in schema:
        return schema["enum"][0]
    match schema["type"]:
        case "object":
            return {name: _sample(part) for name, part in schema["properties"].items()}
        case "array":
            return [_sample(schema["items"])]
        case "string" if schema.get("format") == "date-time":
            return "2026-11-22T12:00:00Z"
        case "string":
            return "PT1H" if "(\\d+)Y" in schema.get("pattern", "") else "text"
        case "boolean":
            return True
    return schema.get("minimum", 1)
