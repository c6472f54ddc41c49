"""What one peer may take of the listener: connections per address, and requests per second by a token bucket each."""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from aiohttp import web

__all__ = ["Buckets", "CountingServer", "Limits"]

logger = logging.getLogger(__name__)

_MOST_BUCKETS = 10_000


@dataclass(frozen=True, slots=True)
class Limits:
    """0 is no limit. `requests_per_s` holds for each certificate, or address without TLS; ten seconds' worth may come
    at once.
    """

    connections: int = 5000
    connections_per_address: int = 0
    requests_per_s: int = 0


class Buckets:
    """Token buckets by peer; those that are full again are forgotten first, so that their number is bounded."""

    def __init__(self, per_s: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._per_s = per_s
        self._clock = clock
        self._spent: dict[str, tuple[float, float]] = {}
        """How much of a peer's allowance is used up, and as of when; in order of use."""

    def take(self, peer: str) -> float:
        """Count a request; how many seconds the peer has to wait, 0 where it may go on."""
        if not self._per_s:
            return 0.0
        now = self._clock()
        most = 10.0 * self._per_s
        spent, since = self._spent.pop(peer, (0.0, now))
        spent = max(spent - (now - since) * self._per_s, 0.0)
        wait = max(spent + 1 - most, 0.0) / self._per_s
        self._spent[peer] = (spent if wait else spent + 1, now)
        if len(self._spent) > _MOST_BUCKETS:
            del self._spent[next(iter(self._spent))]
        return wait


class CountingServer(web.Server):
    """An aiohttp server that closes connections beyond its limits as they come."""

    def __init__(self, handler: Any, limits: Limits, **more: Any) -> None:
        super().__init__(handler, **more)
        self._limits = limits
        self._addresses: dict[Any, str] = {}
        self._counts: Counter[str] = Counter()
        self._turned_away: set[str] = set()

    def connection_made(self, handler: Any, transport: Any) -> None:
        super().connection_made(handler, transport)
        address = str((transport.get_extra_info("peername") or ("",))[0])
        self._addresses[handler] = address
        self._counts[address] += 1
        most, most_here = self._limits.connections, self._limits.connections_per_address
        if (most and len(self._addresses) > most) or (most_here and self._counts[address] > most_here):
            if address not in self._turned_away:
                self._turned_away.add(address)
                logger.warning("openadr2: too many connections, those of %s are closed", address)
            transport.abort()

    def connection_lost(self, handler: Any, exc: BaseException | None = None) -> None:
        super().connection_lost(handler, exc)
        address = self._addresses.pop(handler, None)
        if address is not None:
            self._counts[address] -= 1
            if not self._counts[address]:
                del self._counts[address]
                self._turned_away.discard(address)
