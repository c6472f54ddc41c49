"""What the table of payload types carries without loss comes back as it was."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from adapters.dispatching import event_of_dispatch
from datamodels import Dispatch, DispatchInterval, DispatchKind, Programme, SignalInterval, SignalKind, Ven
from datamodels.payloads import in_canonical, named, signal_of

START = datetime(2026, 1, 1, tzinfo=UTC)
values = st.integers(-(10**12), 10**12).map(lambda n: Decimal(n) / 1000)
lengths = st.integers(1, 10**6).map(lambda s: timedelta(seconds=s))
steps = st.lists(st.tuples(lengths, values), min_size=1, max_size=6)


def laid_out(steps: list[tuple[timedelta, Decimal]]) -> tuple[SignalInterval, ...]:
    starts = [START + sum((length for length, _ in steps[:k]), timedelta(0)) for k in range(len(steps))]
    return tuple(SignalInterval(s, length, value) for s, (length, value) in zip(starts, steps, strict=True))


@given(st.sampled_from([*SignalKind, *DispatchKind]), steps)
def test_canonical_values_survive_the_signal(
    kind: SignalKind | DispatchKind, steps: list[tuple[timedelta, Decimal]]
) -> None:
    intervals = laid_out(steps)
    back, losses = in_canonical(signal_of(kind, intervals, "EUR"))
    assert (back, losses) == (intervals, ())


@given(st.sampled_from(list(DispatchKind)), st.lists(st.tuples(lengths, st.integers(-(10**9), 10**9)), min_size=1))
def test_a_dispatch_survives_its_event(kind: DispatchKind, steps: list[tuple[timedelta, int]]) -> None:
    laid = laid_out([(length, Decimal(value)) for length, value in steps])
    said = tuple(DispatchInterval(i.start, i.duration, int(i.value)) for i in laid)
    dispatch = Dispatch("d", "r", kind, said, "s")
    event, _ = event_of_dispatch(dispatch, Programme(id="p", name="p"), Ven(id="v", name="v"), "r")
    (signal,) = event.signals
    payload = named(signal.payload)
    assert payload is not None
    assert payload.dispatch is kind
    back, losses = in_canonical(signal)
    assert losses == ()
    assert [DispatchInterval(i.start, i.duration, int(i.value)) for i in back] == list(said)
