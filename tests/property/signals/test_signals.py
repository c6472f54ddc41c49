"""Whatever is said, in whatever order: limits only tighten, and a cancelled signal leaves no trace."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, timedelta
from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from datamodels import GridSignal, MarketCalendar, SignalInterval, SignalKind, SignalTarget, TargetKind
from interop.market.book import Book
from interop.signals import SIGNAL, bounds, prices, receive

CALENDAR = MarketCalendar("Europe/Berlin")
DAY = date(2026, 5, 20)
BEGIN, _ = CALENDAR.day_span(DAY)
POINT = SignalTarget(TargetKind.CONGESTION_POINT, "ean.1")
LOW, HIGH = -1000.0, 2000.0
PEERS = ("a.example.org", "b.example.org")

minutes = st.integers(0, 24 * 60).map(lambda n: timedelta(minutes=n))
intervals = st.builds(
    SignalInterval,
    st.integers(-300, 25 * 60).map(lambda n: BEGIN + timedelta(minutes=n)),
    minutes,
    st.integers(0, 4000).map(Decimal),
)
signals = st.builds(
    GridSignal,
    id=st.sampled_from(["s1", "s2", "s3"]),
    source=st.just("utility"),
    kind=st.sampled_from(SignalKind),
    intervals=st.lists(intervals, max_size=3).map(tuple),
    targets=st.sampled_from([(), (POINT,), (SignalTarget(TargetKind.CONGESTION_POINT, "ean.2"),)]),
    priority=st.integers(0, 3),
    revision=st.integers(0, 3),
    cancelled=st.booleans(),
)
said = st.lists(st.tuples(st.sampled_from(PEERS), signals), max_size=8)


def heard(*words: tuple[str, GridSignal]) -> dict[str, GridSignal]:
    book = Book()
    for peer, signal in words:
        book.apply(receive(book.documents(SIGNAL), signal, peer, BEGIN))
    return book.documents(SIGNAL)


def meaning(known: dict[str, GridSignal]) -> object:
    """Everything that can be asked about the day."""
    return (
        bounds(known, CALENDAR, DAY, LOW, HIGH, [POINT]),
        *(prices(known, CALENDAR, DAY, kind, [POINT]) for kind in (SignalKind.PRICE, SignalKind.EXPORT_PRICE)),
    )


@given(said)
def test_bounds_are_never_wider_than_what_stands(words: list[tuple[str, GridSignal]]) -> None:
    low, high = bounds(heard(*words), CALENDAR, DAY, LOW, HIGH, [POINT])
    assert len(low) == len(high) == 96
    for least, most in zip(low, high, strict=True):
        assert LOW <= least <= 0 <= most <= HIGH


@given(said, signals, st.integers(0, 1))
def test_a_cancelled_signal_leaves_no_trace(
    words: list[tuple[str, GridSignal]], signal: GridSignal, raised: int
) -> None:
    fresh = replace(signal, id="fresh", cancelled=False)
    ended = replace(fresh, cancelled=True, revision=fresh.revision + raised)
    before = meaning(heard(*words))
    assert meaning(heard(*words, (PEERS[0], fresh), (PEERS[0], ended))) == before
    late = replace(fresh, revision=max(ended.revision - 1, 0))
    assert meaning(heard(*words, (PEERS[0], fresh), (PEERS[0], ended), (PEERS[0], late))) == before


@given(st.lists(signals, max_size=6).map(lambda all_: {s.revision: replace(s, id="s1", cancelled=False) for s in all_}))
def test_the_order_in_which_revisions_arrive_does_not_matter(revisions: dict[int, GridSignal]) -> None:
    ascending = [(PEERS[0], revisions[n]) for n in sorted(revisions)]
    assert heard(*ascending) == heard(*reversed(ascending))
