import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from datamodels import (
    Binding,
    Dispatch,
    DispatchInterval,
    DispatchKind,
    FlexOrder,
    Head,
    Quantity,
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


def test_what_is_not_canonical_is_not_written() -> None:
    with pytest.raises(ValueError, match="aware"):
        dumps(NOW.replace(tzinfo=None))
    with pytest.raises(ValueError, match="JSON compliant"):
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
