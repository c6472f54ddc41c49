"""Replay protection of signed messages (rule 514): a time window in both directions, and each nonce once.

Nonces are kept in memory for as long as the window could still admit them. Across a restart, clean or not, a *mark*
per signer stands in for them: no message stamped later than its mark has been admitted. A mark is raised in steps of
a second, so that few messages wait for the disk; after a restart a signer is refused for at most that long.
"""

from __future__ import annotations

import heapq
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from adapters.errors import Rejection
from adapters.openadr2.dsig import Seal
from datamodels import Problem

__all__ = ["MOST_NONCES", "Replays"]

MOST_NONCES = 20_000
"""Per signer; further messages are refused until the window has moved on."""

_STEP = timedelta(seconds=1)


@dataclass(slots=True)
class _Seen:
    nonces: set[str] = field(default_factory=set)
    order: list[tuple[datetime, str]] = field(default_factory=list)

    def forget_before(self, instant: datetime) -> None:
        while self.order and self.order[0][0] < instant:
            self.nonces.discard(heapq.heappop(self.order)[1])


class Replays:
    """`marks` are those made durable by the process before, by certificate fingerprint."""

    def __init__(self, tolerance: timedelta, marks: Mapping[str, datetime]) -> None:
        self._tolerance = tolerance
        self._floors = dict(marks)
        self._marks = dict(marks)
        self._seen: dict[str, _Seen] = {}

    def admit(self, seal: Seal, now: datetime) -> datetime | None:
        """Take a message; where a mark is returned, it must be durable before anything of the message is done.

        Raises:
            Rejection: reason 463; too old, from the future, stamped before a restart, or seen before.
        """
        if abs(now - seal.at) > self._tolerance:
            way = "old" if seal.at < now else "from the future"
            text = f"the signature is {way}: {abs(now - seal.at).total_seconds():.1f} s from our clock"
            raise _no("time", f"{text}, at most {self._tolerance.total_seconds():g} s are taken")
        floor = self._floors.get(seal.fingerprint)
        if floor is not None and seal.at <= floor:
            raise _no("restart", "the signature is from before a restart; sign the message anew")
        seen = self._seen.setdefault(seal.fingerprint, _Seen())
        seen.forget_before(now - self._tolerance)
        if seal.nonce in seen.nonces:
            raise _no("nonce", "this nonce has been used")
        if len(seen.nonces) >= MOST_NONCES:
            raise _no("rate", "too many signed messages at once; try again later")
        seen.nonces.add(seal.nonce)
        heapq.heappush(seen.order, (seal.at, seal.nonce))
        mark = self._marks.get(seal.fingerprint)
        if mark is not None and seal.at <= mark:
            return None
        self._marks[seal.fingerprint] = seal.at + _STEP
        return self._marks[seal.fingerprint]


def _no(rule: str, text: str) -> Rejection:
    return Rejection([Problem(f"oadr.replay.{rule}", "ReplayProtect", text, reason="463")])
