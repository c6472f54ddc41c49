"""Whatever an event, its modifications and the moments at which the clock is looked at: every boundary is told once."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

from hypothesis import given, settings
from hypothesis import strategies as st
from support.openadr2 import HandClock
from support.openadr2_ven import PEER, battery, distribute, event, signal

from adapters.openadr2.lexical import Duration
from adapters.openadr2.ven import engine, events
from adapters.openadr2.ven.config import read_vtns
from adapters.openadr2.ven.engine import Status
from adapters.openadr2.ven.records import Known
from adapters.openadr2.ven.signals import Site

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
SECONDS = st.integers(0, 600)


def site() -> Site:
    config = read_vtns([{"peer": PEER, "url": "https://utility.example", "ven_name": "one"}])[0]
    clock = HandClock()
    clock.market = clock.anchor
    return Site.of(config, "ven-7", {"battery": battery()}, "EUR", clock)


SITE = site()


@st.composite
def wires(draw, id: str = "e", mod: int = 0):
    steps = draw(st.lists(st.integers(1, 300), min_size=1, max_size=4))
    values = tuple(float(n) for n in range(len(steps)))
    made = signal(values=values, step_s=1)
    intervals = tuple(replace(i, duration=Duration.seconds(s)) for i, s in zip(made.intervals, steps, strict=True))
    period = {
        name: Duration.seconds(draw(SECONDS)) for name in ("ramp_up", "recovery", "start_after") if draw(st.booleans())
    }
    start = NOW + timedelta(seconds=draw(st.integers(-600, 600)))
    return event(id, start, replace(made, intervals=intervals), mod=mod, **period)


def heard(known: dict[str, Known], at: datetime, *wires) -> None:
    judged = events.judge(distribute(*wires), known, SITE, "VTN", lambda s: True, at)
    assert judged.problem is None
    known |= {step.known.id: step.known for step in judged.steps}


@settings(max_examples=150, deadline=None)
@given(wires(), st.lists(st.integers(0, 3000), max_size=12))
def test_every_boundary_is_told_once_in_order_and_none_early(wire, looks: list[int]) -> None:
    known: dict[str, Known] = {}
    heard(known, NOW, wire)
    told = []
    for seconds in [*sorted(looks), 4000]:
        now = NOW + timedelta(seconds=seconds)
        marks = engine.due(known["e"], now)
        assert all(mark.at <= now for mark in marks)
        for mark in marks:
            told.append(mark)
            known["e"] = engine.told(known["e"], mark, marks)
        assert engine.due(known["e"], now) == []
        following = engine.next_mark(known["e"])
        assert following is None or following > now
    fresh = replace(known["e"], told=known["e"].since - timedelta(microseconds=1))
    assert told == engine.marks(fresh) or known["e"].silent
    assert len({(m.name, m.signal, m.uid) for m in told}) == len(told)


@settings(max_examples=150, deadline=None)
@given(wires(), st.integers(-700, 3000), st.one_of(st.none(), st.integers(-700, 3000)))
def test_status_agrees_with_the_marks(wire, at: int, cancelled: int | None) -> None:
    whole = engine.timing(wire.event)
    now = NOW + timedelta(seconds=at)
    ends = None if cancelled is None else NOW + timedelta(seconds=cancelled)
    long_ago = NOW - timedelta(days=1)
    body = events._body(wire, "VTN")
    marks = engine.marks(Known(PEER, "e", 0, body, long_ago, long_ago, ends=ends))
    passed = [mark.name for mark in marks if mark.at <= now and mark.name not in ("interval", "recovered")]
    last = passed[-1] if passed else "far"
    assert engine.status(whole, ends, now) == Status(last)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 3), st.sampled_from(["far", "cancelled"]), SECONDS), max_size=6))
def test_what_is_imposed_is_always_what_the_last_word_says(words) -> None:
    """After any sequence of modifications and cancellations, the newest revision of every signal tells its state."""
    known: dict[str, Known] = {}
    imposed: dict[str, object] = {}
    at = NOW
    highest, ended = -1, False
    for mod, status, seconds in words:
        at += timedelta(seconds=seconds / 100)
        wire = event("e", NOW + timedelta(hours=1), signal(values=(1000.0 + mod,)), mod=mod, status=status)
        judged = events.judge(distribute(wire), known, SITE, "VTN", lambda s: True, at)
        for step in judged.steps:
            known[step.known.id] = step.known
            for s in step.signals:
                before = imposed.get(s.id)
                assert before is None or s.revision > before.revision
                imposed[s.id] = s
        if mod > highest:
            highest, ended = mod, status == "cancelled"
        elif mod == highest:
            ended = ended or status == "cancelled"
    live = [s for s in imposed.values() if not s.cancelled]
    if highest < 0 or ended:
        assert live == []
    else:
        assert [i.value for s in live for i in s.intervals] == [Decimal(1000 + highest)]
