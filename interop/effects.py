"""What a state machine wants done. State machines are pure; the hub carries their effects out.

All effects of one step, the event they log, and the mark that the message behind them is handled are committed in one
transaction. Only then does anything leave: replies, dispatches, alarms.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, TypeAlias

from adapters.ports import Enclosed
from datamodels import Dispatch, MarketMessage

__all__ = ["Alarm", "Effect", "Forward", "Instruct", "Log", "Put", "Remove", "Send", "Withdraw"]


@dataclass(frozen=True, slots=True)
class Put:
    """Store a canonical object (anything `datamodels.encode` takes) as document (`kind`, `key`)."""

    kind: str
    key: str
    value: Any


@dataclass(frozen=True, slots=True)
class Remove:
    kind: str
    key: str


@dataclass(frozen=True, slots=True)
class Send:
    """Put a message into the outbox. Its id is fixed in its head; sending the same id again has no effect.

    From `until` (market time) on it would mean nothing: undelivered by then, it goes back to its owner.
    """

    message: MarketMessage
    until: datetime | None = None


@dataclass(frozen=True, slots=True)
class Forward:
    """Put a message that somebody else composed into the outbox, as it stands."""

    adapter: str
    recipient: str
    enclosed: Enclosed


@dataclass(frozen=True, slots=True)
class Instruct:
    """Have a dispatch (or its next revision) carried out by the adapter its resource is bound to."""

    dispatch: Dispatch


@dataclass(frozen=True, slots=True)
class Withdraw:
    """End a dispatch before its time."""

    dispatch: str


@dataclass(frozen=True, slots=True)
class Log:
    """A line in the event log, beside those that the hub writes itself."""

    kind: str
    data: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Alarm:
    """Something a person should see: a conflict, a dead letter, a peer that misbehaves."""

    rule: str
    peer: str
    message: str


Effect: TypeAlias = Put | Remove | Send | Forward | Instruct | Withdraw | Log | Alarm
