"""The table of payload types: both ways, against the vectors, and what units may be."""

from __future__ import annotations

import csv
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from support.openadr3 import SHARED

from datamodels import DispatchKind, EventSignal, SignalInterval, SignalKind
from datamodels.payloads import PAYLOADS, carrying, in_canonical, named, signal_of

VECTORS = SHARED / "vectors" / "openadr3" / "mapping-2.0b-3x.csv"
STEP = SignalInterval(datetime(2026, 1, 1, tzinfo=UTC), timedelta(hours=1), Decimal(7400))


def test_every_kind_has_one_payload_type() -> None:
    for kind in (*SignalKind, *DispatchKind):
        assert kind in (carrying(kind).signal, carrying(kind).dispatch)
    assert len({p.name for p in PAYLOADS}) == len(PAYLOADS)


def of_2b(name: str, type: str) -> set[str]:
    """Payload types that a 2.0b signal may carry."""
    signals = ((p.name, p.openadr2) for p in PAYLOADS if p.openadr2 is not None)
    return {found for found, s in signals if s.type == type and name in (s.name, *s.alike)}


def test_a_2b_signal_carries_one_payload_type_but_for_capacities() -> None:
    for payload in PAYLOADS:
        if payload.openadr2 is not None:
            found = of_2b(payload.openadr2.name, payload.openadr2.type)
            capacity = payload.openadr2.type == "x-loadControlCapacity"
            assert found == ({"IMPORT_CAPACITY_LIMIT", "EXPORT_CAPACITY_LIMIT"} if capacity else {payload.name})


@pytest.mark.skipif(not VECTORS.exists(), reason="needs ../shared/vectors")
def test_the_table_says_what_the_published_one_says() -> None:
    for row in csv.DictReader(VECTORS.read_text(encoding="utf-8").splitlines()):
        if row["kind"] != "signal" or not row["fidelity"].startswith("exact"):
            continue
        name, _, type = row["openadr_2_0b"].partition(",")[0].partition(" ")
        type = {"/ level 0..3": "level"}.get(type, type)
        assert of_2b(name, type) == {row["openadr_3_1"]}, row


def test_power_is_written_in_kilowatts_and_prices_keep_their_currency() -> None:
    signal = signal_of(SignalKind.IMPORT_LIMIT, (STEP,))
    assert (signal.payload, signal.unit, signal.intervals[0].value) == ("IMPORT_CAPACITY_LIMIT", "KW", Decimal("7.4"))
    price = signal_of(SignalKind.PRICE, (STEP,), "EUR")
    assert (price.unit, price.currency, price.intervals[0].value) == ("KWH", "EUR", 7400)
    assert str(signal_of(DispatchKind.SOC_TARGET, (STEP,)).intervals[0].value) == "7.4"


@pytest.mark.parametrize(
    ("payload", "unit", "value", "full", "expected"),
    [
        ("IMPORT_CAPACITY_LIMIT", "KW", "7.4", 0, "7400"),
        ("IMPORT_CAPACITY_LIMIT", "", "7.4", 0, "7400"),
        ("IMPORT_CAPACITY_LIMIT", "W", "7400", 0, "7400"),
        ("IMPORT_CAPACITY_LIMIT", "PERCENT", "0.5", 11000, "5500"),
        ("IMPORT_CAPACITY_LIMIT", "PERCENT", "0.5", 0, None),
        ("IMPORT_CAPACITY_LIMIT", "KWH", "1", 0, None),
        ("CHARGE_STATE_SETPOINT", "PERCENT", "0.25", 40000, "10000"),
        ("PRICE", "MWH", "80", 0, "0.08"),
        ("PRICE", "KW", "80", 0, None),
        ("SIMPLE", "", "2", 0, "2"),
        ("SIMPLE", "KW", "2", 0, None),
        ("ALERT_FIRE", "", "1", 0, None),
    ],
)
def test_units_are_translated_or_the_loss_is_named(
    payload: str, unit: str, value: str, full: int, expected: str | None
) -> None:
    step = SignalInterval(STEP.start, STEP.duration, Decimal(value))
    intervals, losses = in_canonical(EventSignal(payload, (step,), unit), full)
    assert [str(i.value) for i in intervals] == ([expected] if expected else [])
    assert bool(losses) is (expected is None)


def test_names_are_those_of_the_standard() -> None:
    assert named("DISPATCH_SETPOINT") is carrying(DispatchKind.SETPOINT)
    assert named("dispatch_setpoint") is None
