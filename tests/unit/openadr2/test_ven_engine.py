"""The event clock: the status table at each boundary, startafter, marks, and what a restart leaves to be told."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from support.openadr2_ven import distribute, event, signal

from adapters.openadr2 import codec
from adapters.openadr2.lexical import Duration
from adapters.openadr2.ven import engine
from adapters.openadr2.ven.engine import Status
from adapters.openadr2.ven.records import Known

START = datetime(2026, 3, 1, 13, tzinfo=UTC)
EARLY = START - timedelta(days=1)
S = timedelta(seconds=1)
MINUTE = timedelta(minutes=1)


def known(wire, since: datetime = EARLY, **fields) -> Known:
    body = codec.encode(distribute(wire)).decode()
    about = wire.event.descriptor
    return replace(Known("peer", about.event_id, about.modification_number, body, since, since - S / 1000), **fields)


@pytest.mark.parametrize(
    ("start", "ramp_s", "length_s"),
    [
        (START, 600, 1800),
        (datetime(2026, 3, 29, 0, 30, tzinfo=UTC), 1800, 7200),  # daylight saving begins in between
        (datetime(2028, 2, 28, 23, 30, tzinfo=UTC), 60, 3600),  # into a leap day
    ],
)
def test_status_at_each_boundary(start: datetime, ramp_s: int, length_s: int) -> None:
    ramp, length = timedelta(seconds=ramp_s), timedelta(seconds=length_s)
    wire = event("e", start, signal(step_s=length_s), ramp_up=Duration(ramp), recovery=Duration(MINUTE))
    whole = engine.timing(wire.event)
    table = [
        (start - ramp - S, Status.FAR),
        (start - ramp, Status.NEAR),
        (start - S, Status.NEAR),
        (start, Status.ACTIVE),
        (start + length - S, Status.ACTIVE),
        (start + length, Status.COMPLETED),
        (start + length + S, Status.COMPLETED),
    ]
    assert [engine.status(whole, None, at) for at, _ in table] == [status for _, status in table]
    ends = start + length / 2
    assert engine.status(whole, ends, ends - S) is Status.ACTIVE
    assert engine.status(whole, ends, ends) is Status.CANCELLED
    assert engine.status(whole, start + length, start + length + S) is Status.COMPLETED


def test_without_ramp_up_nothing_is_near_and_without_duration_nothing_ends() -> None:
    whole = engine.timing(event("e", START, signal(step_s=0)).event)
    assert engine.status(whole, None, START - S) is Status.FAR
    assert engine.status(whole, None, START + timedelta(days=400)) is Status.ACTIVE
    assert [mark.name for mark in engine.marks(known(event("e", START, signal(step_s=0))))] == ["active", "interval"]


def test_marks_in_order_with_ramp_up_and_recovery() -> None:
    wire = event(
        "e",
        START,
        signal(values=(1, 2), step_s=60),
        signal("ELECTRICITY_PRICE", "price", (0.3,), step_s=120, id="s2"),
        ramp_up=Duration(MINUTE),
        recovery=Duration(MINUTE),
    )
    told = [(mark.name, mark.signal, mark.value, (mark.at - START) // S) for mark in engine.marks(known(wire))]
    assert told == [
        ("near", "", None, -60),
        ("active", "", None, 0),
        ("interval", "s1", 1.0, 0),
        ("interval", "s2", 0.3, 0),
        ("interval", "s1", 2.0, 60),
        ("completed", "", None, 120),
        ("recovered", "", None, 180),
    ]


def test_an_event_that_comes_late_begins_when_it_comes_and_tells_nothing_that_never_was() -> None:
    late = START + timedelta(seconds=70)
    marks = engine.marks(known(event("e", START, signal(values=(1, 2, 3), step_s=60)), late))
    assert [(mark.name, mark.value, (mark.at - START) // S) for mark in marks] == [
        ("active", None, 70),
        ("interval", 2.0, 70),
        ("interval", 3.0, 120),
        ("completed", None, 180),
    ]


def test_a_modification_of_a_running_event_tells_its_interval_but_not_its_beginning_again() -> None:
    at = START + timedelta(seconds=70)
    marks = engine.marks(known(event("e", START, signal(values=(1, 5), step_s=60)), at, begun=True))
    assert [(mark.name, mark.value) for mark in marks] == [("interval", 5.0), ("completed", None)]


def test_a_cancelled_event_tells_that_and_nothing_later() -> None:
    ends = START + timedelta(seconds=70)
    marks = engine.marks(known(event("e", START, signal(values=(1, 2, 3), step_s=60)), ends=ends))
    assert [mark.name for mark in marks] == ["active", "interval", "interval", "cancelled"]
    over = engine.marks(known(event("e", START, signal(step_s=60)), ends=START + MINUTE))
    assert [mark.name for mark in over] == ["active", "interval", "completed"]


def test_startafter_is_drawn_once_per_modification_and_moves_all_signals() -> None:
    longest = Duration(timedelta(minutes=10))
    drawn = [engine.draw("ven", "e", mod, longest) for mod in range(50)]
    assert drawn == [engine.draw("ven", "e", mod, longest) for mod in range(50)]
    assert all(0 <= seconds <= 600 for seconds in drawn)
    assert len(set(drawn)) > 40
    assert max(drawn) - min(drawn) > 300
    assert engine.draw("other ven", "e", 0, longest) != drawn[0]
    assert engine.draw("ven", "e", 0, None) == engine.draw("ven", "e", 0, Duration()) == 0
    wire = event("e", START, signal(values=(1, 2), step_s=60), start_after=longest)
    spans = list(engine.spans(wire.event, drawn[0]))
    assert [span.start - START for span in spans] == [timedelta(seconds=drawn[0] + 60 * n) for n in range(2)]


def test_what_is_due_is_told_once_however_often_it_is_asked_and_across_restarts() -> None:
    wire = event("e", START, signal(values=(1, 2, 3), step_s=60))
    record, names = known(wire), []
    for seconds in (-5, 0, 0, 30, 125, 125, 500, 900):
        now = START + timedelta(seconds=seconds)
        marks = engine.due(record, now)
        for mark in marks:
            names.append(f"{mark.name}{mark.uid}")
            record = engine.told(record, mark, marks)
        if seconds in (0, 125):
            record = replace(record)  # what a restart loads
    assert names == ["active", "interval0", "interval1", "interval2", "completed"]
    assert engine.next_mark(record) is None


def test_a_kill_between_two_boundaries_of_one_instant_repeats_the_first_under_its_id() -> None:
    record = known(event("e", START, signal(step_s=60)))
    marks = engine.due(record, START)
    assert [mark.name for mark in marks] == ["active", "interval"]
    assert engine.told(record, marks[0], marks) == record  # the same message id again: the inbox knows it
    assert engine.told(record, marks[1], marks).told == START


def test_an_event_we_opted_out_of_and_a_silent_one_tell_nothing() -> None:
    wire = event("e", START)
    for record in (known(wire, opt="optOut"), known(wire, silent=True)):
        assert engine.due(record, START + timedelta(days=1)) == []
        assert engine.next_mark(record) is None


def test_intervals_beyond_the_event_are_cut() -> None:
    wire = event("e", START, signal(values=(1, 2, 3), step_s=60), duration=Duration(timedelta(seconds=90)))
    spans = list(engine.spans(wire.event))
    assert [((s.start - START) // S, (s.end - START) // S) for s in spans if s.end] == [(0, 60), (60, 90)]


def test_negative_durations_are_refused() -> None:
    with pytest.raises(ValueError, match="negative"):
        engine.timing(event("e", START, ramp_up=Duration(-MINUTE)).event)
