"""What a signal does to the signals that are known. One function, no I/O.

A signal belongs to the peer that said it: its key begins with the identity the transport proved, so nobody can revise
or cancel what somebody else imposed. A cancelled signal stays, without effect, until it would have been over: an
earlier revision that arrives late must not bring it back.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, TypeAlias

from datamodels import GridSignal, Problem, SignalKind, validate
from interop.effects import Alarm, Effect, Log, Put, Remove

__all__ = ["SIGNAL", "Signals", "key_of", "overlaps", "receive", "until"]

SIGNAL = "signal"
"""Kind of the documents that hold signals."""

Signals: TypeAlias = Mapping[str, GridSignal]
"""Every signal known, cancelled ones too, by `key_of`."""

_KEPT = timedelta(days=7)
_PRICES = frozenset({SignalKind.PRICE, SignalKind.EXPORT_PRICE})


def key_of(peer: str, id: str) -> str:
    return f"{peer}/{id}"


def receive(signals: Signals, signal: GridSignal, peer: str, now: datetime, currency: str = "") -> list[Effect]:
    """Effects of a signal from `peer`; a signal that cannot be used alarms and changes nothing.

    A higher revision replaces, the same is a no-op, an older one is refused with a log line. `currency`, where given,
    is the only one that prices may be in. Signals that ended more than a week ago are dropped on the way.
    """
    key = key_of(peer, signal.id)
    known = signals.get(key)
    about: dict[str, Any] = {"peer": peer, "id": signal.id, "signal_kind": signal.kind.value}
    about["revision"] = signal.revision
    problems = [*validate(signal), *_foreign(signal, currency)]
    if problems:
        return [Alarm("signal.invalid", peer, f"signal {signal.id} is ignored: {'; '.join(map(str, problems))}")]
    if known is not None:
        # Some senders cancel without raising the revision; the last word counts all the same.
        ends = signal.cancelled and not known.cancelled and signal.revision == known.revision
        if signal.revision < known.revision:
            return [Log("signal.outdated", about | {"known": known.revision})]
        if signal.revision == known.revision and not ends:
            return [] if signal == known or known.cancelled else [_conflict(signal, peer)]
    elif signal.cancelled and not signal.intervals:
        return [Log("signal.unknown", about)]
    if signal.cancelled and not signal.intervals and known is not None:
        signal = replace(signal, intervals=known.intervals)
    effects: list[Effect] = [Remove(SIGNAL, old) for old in _over(signals, now) if old != key]
    return [*effects, Put(SIGNAL, key, signal), Log("signal.cancelled" if signal.cancelled else "signal.taken", about)]


def until(signal: GridSignal) -> datetime | None:
    """When the signal is over; None for one that is open-ended."""
    last = max(signal.intervals, key=lambda interval: interval.start, default=None)
    return last.start + last.duration if last is not None and last.duration else None


def overlaps(signal: GridSignal, begin: datetime, end: datetime) -> bool:
    """Whether any of the signal lies in [begin, end)."""
    over = until(signal)
    return begin < end and any(i.start < end for i in signal.intervals) and (over is None or over > begin)


def _foreign(signal: GridSignal, currency: str) -> list[Problem]:
    if signal.kind not in _PRICES or not currency or signal.currency in ("", currency):
        return []
    text = f"a price in {signal.currency}, but the market settles in {currency}"
    return [Problem("signal.currency", "currency", text)]


def _conflict(signal: GridSignal, peer: str) -> Alarm:
    text = f"signal {signal.id} came again as revision {signal.revision}, but with other content; the first one stands"
    return Alarm("signal.conflict", peer, text)


def _over(signals: Signals, now: datetime) -> list[str]:
    ends = ((key, until(signal)) for key, signal in signals.items())
    return [key for key, end in ends if end is not None and end + _KEPT < now]
