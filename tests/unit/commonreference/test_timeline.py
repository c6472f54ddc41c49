"""Days and what held on them, against a model that keeps one value a day."""

from __future__ import annotations

from datetime import date, timedelta
from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from interop.commonreference.timeline import Span, Timeline, claim, value_on

FIRST = date(2030, 1, 1)
DAYS = 12


def day(n: int) -> date:
    return date.max if n >= DAYS else FIRST + timedelta(days=n)


def spans(draw: st.DrawFn, value: str) -> list[Span[str]]:
    found = []
    for _ in range(draw(st.integers(1, 2))):
        start = draw(st.integers(0, DAYS - 1))
        found.append(Span(day(start), day(draw(st.integers(start, DAYS))), value))
    return found


@st.composite
def histories(draw: st.DrawFn) -> list[tuple[int, str, list[Span[str]]]]:
    todays = sorted(draw(st.lists(st.integers(0, DAYS - 1), min_size=1, max_size=6)))
    return [(today, value := draw(st.sampled_from("abc")), spans(draw, value)) for today in todays]


@settings(max_examples=200, deadline=None)
@given(histories())
def test_a_day_holds_what_was_said_last_before_it_and_first_after_it(
    history: list[tuple[int, str, list[Span[str]]]],
) -> None:
    timeline: Timeline[str] = ()
    held: dict[int, str | None] = dict.fromkeys(range(DAYS))
    for today, value, claims in history:
        timeline = claim(timeline, claims, day(today), value.__eq__)
        for n in range(DAYS):
            named = any(c.start <= day(n) <= c.end for c in claims)
            if n >= today:
                held[n] = value if named else None if held[n] == value else held[n]
            elif named and held[n] is None:
                held[n] = value
        assert {n: value_on(timeline, day(n)) for n in range(DAYS)} == held
        assert all(a.end < b.start for a, b in pairwise(timeline))
        assert all(s.start <= s.end for s in timeline)


def test_an_open_end_stays_open() -> None:
    timeline = claim((), [Span(FIRST, date.max, "a")], FIRST, "a".__eq__)
    timeline = claim(timeline, [Span(day(3), day(5), "b")], FIRST, "b".__eq__)
    assert timeline == (Span(FIRST, day(2), "a"), Span(day(3), day(5), "b"), Span(day(6), date.max, "a"))
