from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.errors import Rejection
from adapters.openadr2 import mapping, model
from datamodels import Dispatch, DispatchInterval, DispatchKind

QUARTER = timedelta(minutes=15)


def _descriptor(dispatch: Dispatch, status: str = "far") -> model.EventDescriptor:
    now = datetime(2026, 3, 1, tzinfo=UTC)
    return model.EventDescriptor(dispatch.id, dispatch.revision, "urn:x", now, status, priority=dispatch.priority)


@pytest.mark.parametrize("rate", [1.0, 60.0, 900.0])
@pytest.mark.parametrize(
    ("kind", "values", "signal", "payloads"),
    [
        ("SETPOINT", (1500, -5000), ("LOAD_DISPATCH", "setpoint", "powerReal"), (1500.0, -5000.0)),
        ("DELTA", (-200, 0), ("LOAD_DISPATCH", "delta", "powerReal"), (-200.0, 0.0)),
        ("SOC_TARGET", (4200, 0), ("CHARGE_STATE", "setpoint", "energyReal"), (4200.0, 0.0)),
        ("LEVEL", (3, 0), ("SIMPLE", "level", None), (3.0, 0.0)),
        ("IMPORT_LIMIT", (2500, 0), ("LOAD_CONTROL", "x-loadControlCapacity", None), (0.25, 0.0)),
        ("EXPORT_LIMIT", (2500, 0), ("LOAD_CONTROL", "x-loadControlCapacity", None), (0.5, 0.0)),
    ],
)
def test_a_dispatch_survives_the_way_out_and_back(around, kind, values, signal, payloads, rate) -> None:
    clock, home = around.HandClock(rate=rate), around.home("one")
    sent = around.plan("d", home, clock.now() + QUARTER, values, kind=DispatchKind(kind), revision=3, priority=2)
    schedule, losses = mapping.schedule_of(sent, clock)
    form = mapping.form_of(home, sent.kind)
    event = mapping.event_of(schedule, form, _descriptor(sent), sent.kind, model.EiTarget(), clock.wall)
    (carried,) = event.event.signals
    unit = carried.item_base.name if carried.item_base else None
    assert (carried.signal_name, carried.signal_type, unit) == signal
    assert tuple(i.payloads[0].payload.value for i in carried.intervals) == payloads
    back, more = mapping.dispatch_of(event, home, clock)
    assert (losses, more) == ((), ())
    assert back == Dispatch("d", home.id, sent.kind, sent.intervals, "d", 3, 2)


def test_a_limit_as_setpoint_where_the_programme_says_so(around) -> None:
    home = around.home("one", limit="setpoint")
    assert mapping.form_of(home, DispatchKind.IMPORT_LIMIT) == mapping.SignalForm(
        "LOAD_DISPATCH", "setpoint", "powerReal"
    )


def test_a_signal_without_meaning(around) -> None:
    clock, home = around.HandClock(), around.home("one")
    sent = around.plan("d", home, clock.now(), (1,))
    schedule, _ = mapping.schedule_of(sent, clock)
    form = mapping.SignalForm("ELECTRICITY_PRICE", "price")
    event = mapping.event_of(schedule, form, _descriptor(sent), sent.kind, model.EiTarget(), clock.wall)
    nameless = model.EventSignal(event.event.signals[0].intervals, form.name, form.type, "0")
    event = model.OadrEvent(
        model.EiEvent(event.event.descriptor, event.event.active_period, (nameless,), model.EiTarget())
    )
    with pytest.raises(Rejection) as refusal:
        mapping.dispatch_of(event, home, clock)
    assert refusal.value.problems[0].reason == "460"


@given(
    offset=st.floats(0, 1, exclude_max=True),
    rate=st.sampled_from([1.0, 7.0, 60.0, 450.0, 899.0, 900.0, 901.0]),
    count=st.integers(1, 96),
)
def test_rounding_never_accumulates(around, offset: float, rate: float, count: int) -> None:
    """Each boundary stays within half a second of its exact place, wherever the clock's anchor lies."""
    clock = around.HandClock(rate=rate)
    clock.anchor += timedelta(seconds=offset)
    sent = around.plan("d", around.home("one"), clock.market + QUARTER, tuple(range(count)))
    schedule, losses = mapping.schedule_of(sent, clock)
    assert all(seconds >= 1 for seconds, _ in schedule.steps)
    kept = {value for _, value in schedule.steps}
    assert len(kept) + len(losses) == count
    at = schedule.start
    for seconds, value in schedule.steps:
        exact = clock.to_wall(sent.intervals[value].start)
        assert abs(at - exact) <= timedelta(seconds=0.502) or rate > 900
        at += timedelta(seconds=seconds)
    assert abs(at - clock.to_wall(sent.end)) <= timedelta(seconds=0.502) or count == 1


def test_900_fold_is_one_second_each_whatever_the_anchor(around) -> None:
    clock = around.HandClock(rate=900.0)
    for micro in range(0, 1_000_000, 49_999):
        clock.anchor = clock.anchor.replace(microsecond=micro)
        schedule, _ = mapping.schedule_of(around.plan("d", around.home("one"), clock.market, tuple(range(96))), clock)
        assert schedule.steps == tuple((1, k) for k in range(96))


def test_what_vanishes_within_a_second_is_named(around) -> None:
    clock = around.HandClock(rate=3600.0)
    sent = around.plan("d", around.home("one"), clock.market, tuple(range(8)))
    schedule, losses = mapping.schedule_of(sent, clock)
    assert schedule.seconds == 2
    assert len(schedule.steps) + len(losses) == 8
    assert {loss.field for loss in losses} == {"interval"}
    short, _ = mapping.schedule_of(around.plan("d", around.home("one"), clock.market, (5,)), clock)
    assert short.steps == ((1, 5),)


def test_merging_revisions(around) -> None:
    home, start = around.home("one"), datetime(2026, 5, 20, tzinfo=UTC)
    old = around.plan("d", home, start, (1, 2, 3, 4))
    new = around.plan("d", home, start + 1.5 * QUARTER, (9,), revision=1)
    pending = mapping.merged(old, new, start - QUARTER)
    assert pending == new
    running = mapping.merged(old, new, start + QUARTER)
    assert running.intervals == (
        DispatchInterval(start, QUARTER, 1),
        DispatchInterval(start + QUARTER, QUARTER / 2, 2),
        *new.intervals,
    )
    assert running.revision == 1


@pytest.mark.parametrize(
    ("scale", "factor"), [("none", 1.0), ("k", 1e3), ("M", 1e6), ("micro", 1e-6), ("c", 1e-2), ("T", 1e12)]
)
def test_scale_codes(scale: str, factor: float) -> None:
    unit = model.ItemBase("energyReal", "RealEnergy", "Wh", scale)
    source = model.EiTarget(resource_id=("r",))
    offer = model.ReportDescription("1", "reading", "Direct Read", data_source=source, item_base=unit)
    point = mapping.point_of("METADATA_TELEMETRY_USAGE", offer, {"r": "home"})
    assert isinstance(point, mapping.Point)
    assert 10.0**point.exponent == pytest.approx(factor)
