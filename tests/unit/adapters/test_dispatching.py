"""A dispatch as an event: words, targets, ids, what stays of an earlier revision, and what is lost."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from adapters.dispatching import event_id, event_of_dispatch
from adapters.errors import Rejection
from datamodels import Dispatch, DispatchInterval, DispatchKind, Programme, ProgrammeTarget, Ven

START = datetime(2026, 1, 1, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
PROGRAMME = Programme(id="p1", name="dispatch")
VEN = Ven(id="v1", name="house-1", profile="3.1.0")


def dispatch(kind: DispatchKind, *values: int, start: datetime = START, id: str = "ord-1:battery-1") -> Dispatch:
    steps = tuple(DispatchInterval(start + k * HOUR, HOUR, value) for k, value in enumerate(values))
    return Dispatch(id, "battery-1", kind, steps, "ord-1", priority=2)


def test_a_limit_becomes_a_capacity_limit_for_the_ven_and_its_resource() -> None:
    event, losses = event_of_dispatch(dispatch(DispatchKind.IMPORT_LIMIT, 4000, 2500), PROGRAMME, VEN, "battery")
    assert [(s.payload, s.unit, [i.value for i in s.intervals]) for s in event.signals] == [
        ("IMPORT_CAPACITY_LIMIT", "KW", [Decimal(4), Decimal("2.5")])
    ]
    assert event.targets == (ProgrammeTarget("house-1", "VEN_NAME"), ProgrammeTarget("battery", "RESOURCE_NAME"))
    assert (event.programme, event.priority, event.name) == ("p1", 2, "ord-1:battery-1")
    assert (event.start, event.end) == (START, START + 2 * HOUR)
    assert losses == ()


def test_the_id_is_one_that_3x_can_carry_and_always_the_same() -> None:
    assert event_id("plain-id_1") == "plain-id_1"
    assert event_id("ord-1:battery-1") == event_id("ord-1:battery-1") != event_id("ord-1:battery-2")
    assert ":" not in event_id("ord-1:battery-1")
    assert len(event_id("x" * 200)) == 36


def test_what_has_run_of_the_earlier_revision_stays() -> None:
    before, _ = event_of_dispatch(dispatch(DispatchKind.SETPOINT, 1000, 2000), PROGRAMME, VEN, "battery")
    before = replace(before, revision=3)
    later = dispatch(DispatchKind.SETPOINT, 500, start=START + HOUR / 2)
    event, _ = event_of_dispatch(later, PROGRAMME, VEN, "battery", before, START + HOUR / 4)
    steps = [(i.start, i.duration, i.value) for i in event.signals[0].intervals]
    assert steps == [(START, HOUR / 2, 1), (START + HOUR / 2, HOUR, Decimal("0.5"))]
    assert event.revision == 3
    pending, _ = event_of_dispatch(later, PROGRAMME, VEN, "battery", before, START - HOUR)
    assert [i.start for i in pending.signals[0].intervals] == [START + HOUR / 2]


@pytest.mark.parametrize(
    ("kind", "value", "profile", "lost"),
    [
        (DispatchKind.SETPOINT, -1000, "3.1.0", "value"),
        (DispatchKind.SETPOINT, -1000, "2.0b", ""),
        (DispatchKind.IMPORT_LIMIT, 1000, "2.0b", "kind"),
        (DispatchKind.IMPORT_LIMIT, 1000, "3.0.1", ""),
        (DispatchKind.LEVEL, 2, "2.0b", ""),
        (DispatchKind.SOC_TARGET, 9000, "3.0.1", ""),
    ],
)
def test_losses_are_those_of_the_profile(kind: DispatchKind, value: int, profile: str, lost: str) -> None:
    _, losses = event_of_dispatch(dispatch(kind, value), PROGRAMME, replace(VEN, profile=profile), "battery")
    assert [loss.field for loss in losses] == ([lost] if lost else [])


def test_a_dispatch_without_intervals_is_none() -> None:
    with pytest.raises(Rejection, match="needs an interval"):
        event_of_dispatch(dispatch(DispatchKind.LEVEL), PROGRAMME, VEN, "battery")
