"""What utilities and control centres impose. Pure: `(signals, signal, now) -> effects`, and queries."""

from interop.signals.machine import SIGNAL, Signals, key_of, overlaps, receive, until
from interop.signals.queries import bounds, concerns, prices

__all__ = ["SIGNAL", "Signals", "bounds", "concerns", "key_of", "overlaps", "prices", "receive", "until"]
