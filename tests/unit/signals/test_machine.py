"""What a signal does to the signals that are known: revisions, cancellation, refusals, and what changes nothing."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from datamodels import GridSignal, SignalInterval, SignalKind
from interop.effects import Alarm, Effect, Log, Put, Remove
from interop.market.book import Book
from interop.signals import SIGNAL, key_of, overlaps, receive, until

NOW = datetime(2026, 5, 20, 10, tzinfo=UTC)
HOUR = timedelta(hours=1)
PEER = "utility.example.org"


def signal(revision: int = 0, value: int = 4000, start: datetime = NOW, *, cancelled: bool = False) -> GridSignal:
    interval = SignalInterval(start, HOUR, Decimal(value))
    return GridSignal("s1", "utility", SignalKind.IMPORT_LIMIT, (interval,), revision=revision, cancelled=cancelled)


def told(*heard: GridSignal, peer: str = PEER, now: datetime = NOW) -> tuple[dict[str, GridSignal], list[Effect]]:
    """The signals known after a sequence, and the effects of its last."""
    book, effects = Book(), list[Effect]()
    for one in heard:
        effects = receive(book.documents(SIGNAL), one, peer, now, "EUR")
        book.apply(effects)
    return book.documents(SIGNAL), effects


KEY = key_of(PEER, "s1")
PRICE = GridSignal("s1", "utility", SignalKind.PRICE, signal().intervals, currency="USD")
CASES: list[tuple[str, list[GridSignal], GridSignal | None, list[str]]] = [
    ("first", [signal()], signal(), ["Put", "signal.taken"]),
    ("again", [signal(), signal()], signal(), []),
    ("newer", [signal(), signal(1, 3000)], signal(1, 3000), ["Put", "signal.taken"]),
    ("older", [signal(2), signal(1, 3000)], signal(2), ["signal.outdated"]),
    ("other content", [signal(1), signal(1, 3000)], signal(1), ["alarm signal.conflict"]),
    ("cancelled", [signal(), signal(1, cancelled=True)], signal(1, cancelled=True), ["Put", "signal.cancelled"]),
    ("cancelled as it was", [signal(), signal(cancelled=True)], signal(cancelled=True), ["Put", "signal.cancelled"]),
    ("cancelled twice", [signal(cancelled=True), signal(cancelled=True)], signal(cancelled=True), []),
    (
        "late after its end",
        [signal(), signal(2, cancelled=True), signal(1)],
        signal(2, cancelled=True),
        ["signal.outdated"],
    ),
    ("taken up again", [signal(1, cancelled=True), signal(2)], signal(2), ["Put", "signal.taken"]),
    ("empty", [replace(signal(), intervals=())], None, ["alarm signal.invalid"]),
    ("below zero", [signal(value=-1)], None, ["alarm signal.invalid"]),
    ("invalid after valid", [signal(), signal(1, -1)], signal(), ["alarm signal.invalid"]),
    ("foreign money", [PRICE], None, ["alarm signal.invalid"]),
    ("cancelled, never known", [replace(signal(cancelled=True), intervals=())], None, ["signal.unknown"]),
]


@pytest.mark.parametrize(("heard", "known", "effects"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_what_is_known_and_what_is_said_of_it(
    heard: list[GridSignal], known: GridSignal | None, effects: list[str]
) -> None:
    signals, last = told(*heard)
    assert signals == ({} if known is None else {KEY: known})
    assert [_named(effect) for effect in last] == effects


def _named(effect: Effect) -> str:
    if isinstance(effect, Log):
        return effect.kind
    return f"alarm {effect.rule}" if isinstance(effect, Alarm) else type(effect).__name__


def test_a_cancellation_without_intervals_keeps_those_it_ends() -> None:
    signals, _ = told(signal(), GridSignal("s1", "utility", SignalKind.IMPORT_LIMIT, (), revision=1, cancelled=True))
    assert signals[KEY] == signal(1, cancelled=True)


def test_nobody_can_touch_what_somebody_else_imposed() -> None:
    book = Book()
    book.apply(receive({}, signal(), PEER, NOW))
    book.apply(receive(book.documents(SIGNAL), signal(9, cancelled=True), "other.example.org", NOW))
    assert not book.documents(SIGNAL)[KEY].cancelled


def test_what_ended_long_ago_is_dropped_when_something_new_comes() -> None:
    old = replace(signal(start=NOW - timedelta(days=8)), id="old")
    open_ended = replace(old, id="open", intervals=(replace(old.intervals[0], duration=timedelta(0)),))
    known = {key_of(PEER, s.id): s for s in (old, open_ended)}
    effects = receive(known, signal(), PEER, NOW)
    assert [e.key for e in effects if isinstance(e, Remove)] == [key_of(PEER, "old")]
    assert [e.key for e in effects if isinstance(e, Put)] == [KEY]


def test_the_same_again_is_the_same_after_a_restart() -> None:
    """The book takes up signals from the store as it left them."""
    signals, _ = told(signal(1))
    again = Book()
    again.load({(SIGNAL, key): value for key, value in signals.items()})
    assert receive(again.documents(SIGNAL), signal(1), PEER, NOW) == []
    assert [_named(e) for e in receive(again.documents(SIGNAL), signal(0), PEER, NOW)] == ["signal.outdated"]


def test_when_a_signal_is_over_and_what_it_overlaps() -> None:
    assert until(signal()) == NOW + HOUR
    two = replace(signal(), intervals=(SignalInterval(NOW + HOUR, HOUR, Decimal(1)), *signal().intervals))
    assert until(two) == NOW + 2 * HOUR
    open_ended = replace(signal(), intervals=(SignalInterval(NOW, timedelta(0), Decimal(1)),))
    assert until(open_ended) is None
    assert overlaps(signal(), NOW + HOUR / 2, NOW + 2 * HOUR)
    assert not overlaps(signal(), NOW + HOUR, NOW + 2 * HOUR)
    assert not overlaps(signal(), NOW - HOUR, NOW)
    assert not overlaps(signal(), NOW + HOUR / 2, NOW + HOUR / 4)
    assert overlaps(open_ended, NOW + 100 * HOUR, NOW + 101 * HOUR)
