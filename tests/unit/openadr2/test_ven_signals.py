"""What the signals of an event mean: every row of the table, scale codes, limits, levels, prices, losses."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from support.openadr2 import HandClock
from support.openadr2_ven import PEER, battery, event, signal

from adapters.errors import Rejection
from adapters.openadr2 import mapping, model
from adapters.openadr2.lexical import Duration
from adapters.openadr2.model import ItemBase, PowerAttributes
from adapters.openadr2.ven import engine, signals
from adapters.openadr2.ven.config import read_vtns
from adapters.openadr2.ven.signals import Site
from datamodels import Dispatch, DispatchInterval, DispatchKind

START = datetime(2026, 3, 1, 13, tzinfo=UTC)


def watts(scale: str = "none") -> ItemBase:
    return ItemBase("powerReal", "RealPower", "W", scale, PowerAttributes(Decimal(50), Decimal(230), ac=True))


def price(currency: str = "EUR", scale: str = "none") -> ItemBase:
    return ItemBase("currencyPerKWh", "currencyPerKWh", currency, scale)


def site(**settings) -> Site:
    config = read_vtns([{"peer": PEER, "url": "https://utility.example", "ven_name": "one", **settings}])[0]
    return Site.of(config, "ven-7", {"battery": battery()}, "EUR", HandClock())


def meant(*given: model.EventSignal, settings: dict | None = None, **more):
    return signals.meaning(event("e", START, *given, **more).event, 0.0, PEER, site(**(settings or {})))


@pytest.mark.parametrize(
    ("given", "settings", "kind", "value"),
    [
        (signal("LOAD_DISPATCH", "setpoint", (-1.5,), unit=watts("k")), {}, "SETPOINT", -1500),
        (signal("LOAD_DISPATCH", "setpoint", (2.5,), unit=watts("m")), {}, "SETPOINT", 0),
        (signal("LOAD_DISPATCH", "setpoint", (2,), unit=watts("M")), {"setpoint_is_limit": True}, "IMPORT_LIMIT", 2e6),
        (signal("LOAD_DISPATCH", "setpoint", (700,), id="EXPORT_LIMIT"), {}, "EXPORT_LIMIT", 700),
        (signal("LOAD_DISPATCH", "delta", (-300,)), {}, "DELTA", -300),
        (signal("LOAD_CONTROL", "x-loadControlCapacity", (0.25,)), {}, "IMPORT_LIMIT", 2500),
        (signal("LOAD_CONTROL", "x-loadControlCapacity", (0.5,), id="EXPORT_LIMIT"), {}, "EXPORT_LIMIT", 2500),
        (signal("LOAD_CONTROL", "x-loadControlSetpoint", (5,), unit=watts("k")), {}, "SETPOINT", 5000),
        (signal("SIMPLE", "level", (2,)), {}, "LEVEL", 2),
        (signal("simple", "level", (2,)), {"levels_w": [9, 8, 7]}, "IMPORT_LIMIT", 8),
        (signal("ELECTRICITY_PRICE", "price", (25.0,), unit=price(scale="c")), {}, "PRICE", "0.25"),
        (signal("ENERGY_PRICE", "priceRelative", (-0.05,), unit=price()), {"base_price": 0.3}, "PRICE", "0.25"),
        (signal("ELECTRICITY_PRICE", "priceMultiplier", (1.5,)), {"base_price": "0.3"}, "PRICE", "0.45"),
    ],
)
def test_every_row(given: model.EventSignal, settings: dict, kind: str, value: object) -> None:
    (found,), losses = meant(given, settings=settings)
    assert (found.kind, found.intervals[0].value) == (kind, Decimal(str(value)))
    assert found.currency == ("EUR" if kind == "PRICE" else "")
    assert losses == ()


@pytest.mark.parametrize(
    ("given", "settings", "code", "text"),
    [
        (signal("BID_LOAD", "setpoint"), {}, "460", "no meaning"),
        (signal("CHARGE_STATE", "setpoint"), {}, "460", "no meaning"),
        (signal("DEMAND_CHARGE", "price", unit=ItemBase("currencyPerKW", "currencyPerKW", "EUR")), {}, "460", "no m"),
        (signal("LOAD_DISPATCH", "multiplier"), {}, "460", "no meaning"),
        (signal("x-mine", "level"), {}, "460", "no meaning"),
        (signal("SIMPLE", "delta", (1,)), {}, "460", "no meaning"),  # rule 116
        (signal("SIMPLE", "level", (1.5,)), {}, "454", "rule 9"),
        (signal("LOAD_DISPATCH", "setpoint", unit=price()), {}, "460", "powerReal is meant"),
        (signal("ELECTRICITY_PRICE", "price", unit=price("USD")), {}, "460", "settles in EUR"),
        (signal("ELECTRICITY_PRICE", "price"), {}, "460", "currencyPerKWh is needed"),
        (signal("ELECTRICITY_PRICE", "priceRelative", unit=price()), {}, "460", "base_price"),
        (signal("LOAD_CONTROL", "x-loadControlCapacity"), {"resources": {"other": "other"}}, "460", "rated power"),
    ],
)
def test_what_is_not_supported(given: model.EventSignal, settings: dict, code: str, text: str) -> None:
    with pytest.raises(Rejection, match=text) as refused:
        meant(given, settings=settings)
    assert refused.value.problems[0].reason == code


def test_the_lenient_profile_reads_field_deviations_and_names_them() -> None:
    lenient = {"profile": "lenient"}
    (level,), lost = meant(signal("SIMPLE", "delta", (1,)), settings=lenient)
    assert (level.kind, [loss.field for loss in lost]) == ("LEVEL", ["signalType"])
    (cost,), lost = meant(signal("ELECTRICITY_PRICE", "price", (0.2,)), settings=lenient)
    assert (cost.currency, [loss.field for loss in lost]) == ("EUR", ["itemBase"])


def test_level_0_leaves_a_gap_and_a_limit_asks_for_one_direction_only() -> None:
    (found,), _ = meant(signal("SIMPLE", "level", (0, 1, 0), step_s=60), settings={"levels_w": [5000, 3000, 0]})
    clock = HandClock()
    assert [(i.start, i.value) for i in found.intervals] == [
        (clock.from_wall(START + timedelta(seconds=60)), Decimal(5000))
    ]
    (limit,), losses = meant(signal(values=(-5,)), settings={"setpoint_is_limit": True})
    assert (limit.intervals[0].value, losses[0].value) == (Decimal(0), "-5 W")


def test_of_several_signals_the_plain_level_gives_way_and_what_is_unknown_is_named() -> None:
    found, losses = meant(
        signal("SIMPLE", "level", (1,), id="a"),
        signal("LOAD_CONTROL", "x-loadControlCapacity", (0.5,), id="b"),
        signal("BID_LOAD", "setpoint", id="c"),
        signal("ELECTRICITY_PRICE", "price", (0.2,), id="d", unit=price()),
    )
    assert [(s.id, s.kind) for s in found] == [("e/b", "IMPORT_LIMIT"), ("e/d", "PRICE")]
    assert [loss.value for loss in losses] == ["BID_LOAD setpoint", "SIMPLE"]


def test_priority_targets_and_what_targets_cannot_say() -> None:
    target = model.EiTarget(
        end_device_asset=("Thermostat",), meter_asset=("m1",), resource_id=("battery",), service_location=()
    )
    (found,), losses = meant(signal(), target=target, priority=2, settings={"congestion_points": {"m1": "ean.point"}})
    assert found.priority == 2
    assert [(t.kind, t.id) for t in found.targets] == [("resource", "battery"), ("congestion_point", "ean.point")]
    assert [loss.value for loss in losses] == ["Thermostat"]


def test_resources_are_known_by_the_names_the_utility_gave_them() -> None:
    (found,), _ = meant(
        signal(), target=model.EiTarget(resource_id=("their name",)), settings={"resources": {"their name": "battery"}}
    )
    assert [t.id for t in found.targets] == ["battery"]


def test_times_are_market_times() -> None:
    clock = HandClock(rate=900.0)
    here = Site.of(site().config, "ven-7", {"battery": battery()}, "EUR", clock)
    (found,), _ = signals.meaning(event("e", START, signal(values=(1, 2), step_s=60)).event, 30.0, PEER, here)
    assert found.intervals[0].start == clock.from_wall(START + timedelta(seconds=30))
    assert found.intervals[1].duration == timedelta(seconds=54000)


@pytest.mark.parametrize(
    "kind", [DispatchKind.IMPORT_LIMIT, DispatchKind.SETPOINT, DispatchKind.DELTA, DispatchKind.LEVEL]
)
def test_what_our_own_vtn_says_means_the_same_here(kind: DispatchKind) -> None:
    clock, resource = HandClock(), battery()
    value = 2 if kind is DispatchKind.LEVEL else 2500
    begin = clock.market + timedelta(hours=1)
    dispatch = Dispatch("d1", "battery", kind, (DispatchInterval(begin, timedelta(minutes=15), value),), "test")
    form = mapping.form_of(resource, kind)
    schedule, _ = mapping.schedule_of(dispatch, clock)
    descriptor = model.EventDescriptor("d1", 0, "http://context", START, "far")
    wire = mapping.event_of(schedule, form, descriptor, kind, model.EiTarget(), clock.wall)
    (found,), _ = signals.meaning(wire.event, 0.0, PEER, site())
    assert (found.kind.value, found.intervals[0].value) == (kind.value, Decimal(value))
    assert (found.intervals[0].start, found.intervals[0].duration) == (begin, timedelta(minutes=15))


def test_a_cut_signal_keeps_what_was_before() -> None:
    (found,), _ = meant(signal(values=(1, 2), step_s=60), duration=Duration())
    end = found.intervals[1].start + timedelta(seconds=10)
    left = signals.cut(found, end)
    assert [(i.duration.total_seconds(), i.value) for i in left.intervals] == [(60, 1), (10, 2)]
    assert signals.cut(found, found.intervals[0].start).cancelled


def test_the_engine_and_the_signals_lay_out_the_same_times() -> None:
    wire = event("e", START, signal(values=(1, 2, 3), step_s=60))
    clock = HandClock()
    (found,), _ = signals.meaning(wire.event, 12.5, PEER, site())
    assert [i.start for i in found.intervals] == [clock.from_wall(s.start) for s in engine.spans(wire.event, 12.5)]
