import json
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any, ClassVar

import pytest

from datamodels import (
    Binding,
    Dispatch,
    DispatchInterval,
    DispatchKind,
    Disposition,
    FlexOrder,
    FlexRequest,
    Head,
    IspSeries,
    MarketCalendar,
    Quantity,
    RequestIsp,
    Resource,
    ResourceKind,
    ResourceRole,
    Run,
    Storage,
    Telemetry,
    decode,
    dumps,
    encode,
    loads,
)
from datamodels.serial import register

NOW = datetime(2026, 5, 20, 12, tzinfo=UTC)
BATTERY = Resource(
    "bat-1",
    "ean.1",
    ResourceKind.BATTERY,
    ResourceRole.STORAGE,
    -5_000,
    5_000,
    Binding("modbus", "127.0.0.1:502", {"unit": "1"}),
    Storage(10_000, 4_000, 5_000, 5_000, wear_eur_per_kwh=Decimal("0.040")),
)


def test_the_text_is_canonical() -> None:
    assert dumps(Run(1, 2, -3)) == '{"$":"Run","duration":2,"power_w":-3,"start":1}'
    assert dumps(Decimal("1.10")) == '"1.10"'
    assert encode(timedelta(days=200_000, microseconds=1)) == 200_000 * 86_400_000_000 + 1


def test_a_union_is_told_apart_by_name() -> None:
    assert loads(dumps(BATTERY)) == BATTERY
    assert json.loads(dumps(BATTERY))["flexibility"]["$"] == "Storage"


WRONG = [
    pytest.param(dumps(BATTERY).replace('"$":"Storage"', '"$":"Run"'), None, "Run is none of", id="foreign in a union"),
    pytest.param(dumps(BATTERY).replace('"$":"Storage"', '"$":"Gone"'), None, "no canonical class", id="unknown class"),
    pytest.param(dumps(Run(1, 2, 3)), Head, "is not a Head", id="another class"),
    pytest.param('{"$":"Run","start":1,"duration":2}', None, "missing .*'power_w'", id="missing field"),
    pytest.param('{"$":"Run","start":1,"duration":2,"power_w":3,"x":4}', None, "Run has no field x", id="extra field"),
    pytest.param('{"$":"Run","start":"1","duration":2,"power_w":3}', None, "'1' is not of type int", id="text for int"),
    pytest.param('{"$":"Run","start":true,"duration":2,"power_w":3}', None, "not of type int", id="bool for int"),
    pytest.param('{"$":"Run","start":null,"duration":2,"power_w":3}', None, "not of type int", id="null for int"),
    pytest.param('{"$":"Mode","id":"a","power_w":1,"running_cost_eur_per_h":"x"}', None, "Mode: ", id="no decimal"),
    pytest.param('{"$":"SignalTarget","kind":"planet","id":"a"}', None, "planet", id="no such enum value"),
    pytest.param("[1, 2]", Run, "is not a Run", id="list for object"),
    pytest.param('{"$":"ParticipantKey","public_key":"!"}', None, "base64|Only", id="not base64"),
]


@pytest.mark.parametrize(("text", "cls", "message"), WRONG)
def test_data_that_does_not_fit_is_refused(text: str, cls: type | None, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        loads(text, cls)


@dataclass(frozen=True)
class Labelled:
    label: ClassVar[str] = "of the class"
    size: int = 0


def test_what_belongs_to_the_class_is_no_field() -> None:
    assert encode(Labelled(3)) == {"$": "Labelled", "size": 3}
    assert decode({"size": 3}, Labelled) == Labelled(3)
    with pytest.raises(ValueError, match="has no field label"):
        decode({"label": "another", "size": 3}, Labelled)


def test_what_is_not_canonical_is_not_written() -> None:
    with pytest.raises(ValueError, match="aware"):
        dumps(NOW.replace(tzinfo=None))
    with pytest.raises(ValueError, match="not finite"):
        dumps(Telemetry("r", Quantity.POWER_W, NOW, float("nan")))
    with pytest.raises(TypeError, match="complex is not canonical"):
        encode(1j)


def test_nested_objects_and_hints() -> None:
    dispatch = Dispatch("d", "r", DispatchKind.SETPOINT, (DispatchInterval(NOW, timedelta(minutes=15), 5),), "o")
    assert decode(encode([dispatch]), list[Dispatch]) == [dispatch]
    assert decode({"a": 1, "b": 2}, dict[str, int]) == {"a": 1, "b": 2}


def test_two_classes_of_one_name_are_refused() -> None:
    impostor = dataclass(type("FlexOrder", (), {}))
    with pytest.raises(ValueError, match="two canonical classes are called FlexOrder"):
        register(impostor)
    register(FlexOrder)


def test_what_earlier_versions_wrote_is_read() -> None:
    """A series with one value an ISP, and request rows with names: stores of 0.1 hold both."""
    calendar = MarketCalendar()
    period = date(2026, 5, 20)
    series = IspSeries(calendar, period, (5,) * 40 + (None,) * 16 + (-7,) * 40)
    written = encode(series)
    assert written["runs"] == [[1, 40, 5], [57, 40, -7]]
    earlier = {k: v for k, v in written.items() if k != "runs"} | {"power_w": list(series.power_w)}
    assert decode(earlier) == series

    isp = RequestIsp(3, 2, Disposition.REQUESTED, -5, 0)
    request = FlexRequest(
        Head("a", "b", "1", "2", datetime(2026, 5, 19, tzinfo=UTC)),
        *("ean.1", calendar, period, 1, datetime(2026, 5, 20, tzinfo=UTC), (isp,)),
    )
    written = encode(request)
    assert written["isps"] == [[3, 2, "Requested", -5, 0]]
    row = {"$": "RequestIsp", "start": 3, "duration": 2, "disposition": "Requested", "min_power_w": -5}
    assert decode(written | {"isps": [row | {"max_power_w": 0}]}) == request


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"runs": [[1, 2]]}, "unpack"),
        ({"runs": [[96, 2, 5]]}, "outside"),
        ({"runs": [[1, 2, 5], [2, 1, 5]]}, "twice"),
        ({"runs": [[1, 2, "5"]]}, "whole"),
        ({"runs": [["1", 2, 5]]}, "whole"),
        ({"runs": None}, "IspSeries"),
        ({"extra": 1}, "extra"),
        ({"period": 7}, "IspSeries"),
    ],
)
def test_a_damaged_series_is_refused(change: dict[str, Any], complaint: str) -> None:
    good = encode(IspSeries.empty(MarketCalendar(), date(2026, 5, 20)))
    with pytest.raises(ValueError, match=complaint):
        decode(good | change)
