"""A token bucket: so many a second, twice that at once."""

from __future__ import annotations

__all__ = ["Bucket"]

_BURST_S = 2.0


class Bucket:
    """An allowance of `rate` a second for each key, averaged over two seconds; 0 is no limit."""

    def __init__(self, rate: float) -> None:
        self._rate = rate
        self._levels: dict[str, tuple[float, float]] = {}

    def take(self, key: str, now: float) -> bool:
        """Whether one more is allowed at `now` (s, of any clock that only runs forward)."""
        if not self._rate:
            return True
        most = max(self._rate * _BURST_S, 1.0)
        level, at = self._levels.get(key, (most, now))
        level = min(level + (now - at) * self._rate, most)
        granted = level >= 1.0
        self._levels[key] = (level - 1.0 if granted else level, now)
        return granted
