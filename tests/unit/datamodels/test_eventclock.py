"""The event clock at each of its boundaries."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from datamodels import EventSignal, ProgrammeEvent, SignalInterval
from datamodels.eventclock import EventPhase, next_change, phase_of, running

START = datetime(2026, 3, 29, 0, 30, tzinfo=UTC)
HOUR, SECOND = timedelta(hours=1), timedelta(seconds=1)
STEPS = tuple(SignalInterval(START + k * HOUR, HOUR, Decimal(k)) for k in range(2))
EVENT = ProgrammeEvent(id="e", programme="p", signals=(EventSignal("SIMPLE", STEPS),), ramp_up=HOUR / 2)
OPEN = replace(
    EVENT, signals=(EventSignal("SIMPLE", (*STEPS, SignalInterval(START + 2 * HOUR, HOUR * 0, Decimal(3)))),)
)


@pytest.mark.parametrize(
    ("instant", "phase"),
    [
        (START - HOUR / 2 - SECOND, EventPhase.FAR),
        (START - HOUR / 2, EventPhase.NEAR),
        (START - SECOND, EventPhase.NEAR),
        (START, EventPhase.ACTIVE),
        (START + 2 * HOUR - SECOND, EventPhase.ACTIVE),
        (START + 2 * HOUR, EventPhase.COMPLETED),
    ],
)
def test_phases_begin_and_end_on_the_second(instant: datetime, phase: EventPhase) -> None:
    assert phase_of(EVENT, instant) is phase
    assert phase.is_over is (phase is EventPhase.COMPLETED)
    assert phase_of(replace(EVENT, cancelled=True), instant) is EventPhase.CANCELLED


def test_without_a_ramp_nothing_is_near() -> None:
    assert phase_of(replace(EVENT, ramp_up=HOUR * 0), START - SECOND) is EventPhase.FAR


def test_what_has_no_end_is_active_until_it_is_cancelled() -> None:
    for event in (OPEN, ProgrammeEvent(id="reports", programme="p")):
        assert phase_of(event, START + 1000 * HOUR) is EventPhase.ACTIVE
        assert next_change(event, START + 1000 * HOUR) is None


def test_the_next_change_is_ramp_start_or_end() -> None:
    assert [next_change(EVENT, t) for t in (START - HOUR, START - HOUR / 4, START, START + 2 * HOUR)] == [
        START - HOUR / 2,
        START,
        START + 2 * HOUR,
        None,
    ]
    assert next_change(replace(EVENT, cancelled=True), START - HOUR) is None


def test_the_interval_that_runs() -> None:
    signal = OPEN.signals[0]
    found = [running(signal, START + k * HOUR / 2) for k in (-1, 0, 3, 4, 99)]
    assert [i and i.value for i in found] == [None, 0, 1, 3, 3]
