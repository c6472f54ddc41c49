"""Which identities may be among those added: a Bloom filter, so that what is new needs no look at the disk."""

from __future__ import annotations

from collections.abc import Hashable, Iterator

__all__ = ["Known"]

_BITS_EACH = 16
_LEAST_BITS = 1 << 23
_PLACES = 4


class Known:
    """Says no for certain; says yes wrongly once in a thousand times while not more than `expected` were added, and
    the more often the more there are. Takes 2 bytes each, at least 1 MB."""

    def __init__(self, expected: int) -> None:
        bits = max(_LEAST_BITS, 1 << (_BITS_EACH * expected).bit_length())
        self._mask = bits - 1
        self._bits = bytearray(bits // 8)

    def add(self, identity: Hashable) -> None:
        for place in self._places(identity):
            self._bits[place >> 3] |= 1 << (place & 7)

    def __contains__(self, identity: Hashable) -> bool:
        return all(self._bits[place >> 3] >> (place & 7) & 1 for place in self._places(identity))

    def _places(self, identity: Hashable) -> Iterator[int]:
        # Python's hash of texts is keyed anew in every process: nobody can choose ids that collide.
        whole, mask = hash(identity) & 0xFFFF_FFFF_FFFF_FFFF, self._mask
        first, step = whole & 0xFFFF_FFFF, (whole >> 32) | 1
        for n in range(_PLACES):
            yield (first + n * step) & mask
