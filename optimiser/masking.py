"""Sums without their parts: pairwise masks that cancel (Bonawitz et al. 2017, without their recovery of dropouts).

Every member of a group adds one pseudo-random vector per other member to its numbers, and the other subtracts it. Each
masked vector alone is uniformly distributed modulo 2^64; over the whole group the masks cancel exactly (powers are
whole W, money whole micro-EUR). A pair's vectors follow from an X25519 key agreement, the negotiation, the round and
the group, so no mask is ever used for two vectors.

A group with a member missing sums to noise, and is not opened: unmasking what is left would give away the missing
member when its answer arrives late. The group falls back to what it did before anybody asked.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise

import numpy as np
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from numpy.typing import NDArray

__all__ = ["LEAST", "Circle", "Words", "groups", "signed", "unmask", "unsigned"]

LEAST = 10
"""Homes that a sum holds at least, unless a member asks for more."""
_LONGEST = 1000
Words = NDArray[np.uint64]


class Circle:
    """A member's view of its group for one negotiation.

    Args:
        own: this member's id; `secret` its private key.
        members: public key (32 bytes) of every member, itself included, by id.
        least: refuse to speak in a smaller group.

    Raises:
        ValueError: the group is too small, this member is not in it, a key stands twice or is none.
    """

    def __init__(
        self, own: str, secret: X25519PrivateKey, members: Mapping[str, bytes], negotiation: str, *, least: int = LEAST
    ) -> None:
        if len(members) < least:
            raise ValueError(f"a group of {len(members)} hides less than a group of {least}")
        if members.get(own) != secret.public_key().public_bytes_raw():
            raise ValueError(f"the group does not hold {own!r} with its own key")
        if len(set(members.values())) < len(members):
            raise ValueError("a key stands twice in the group: somebody is counted more than once")
        told = hashlib.sha256(negotiation.encode())
        for id, key in sorted(members.items()):
            told.update(len(id).to_bytes(2, "big") + id.encode() + key)
        self._salt = told.digest()
        self._shared = {
            id: (id > own, secret.exchange(X25519PublicKey.from_public_bytes(key)))
            for id, key in members.items()
            if id != own
        }
        self._spoken: set[str] = set()

    def mask(self, values: Words, label: str) -> Words:
        """Masked values for the round `label`.

        Raises:
            ValueError: the label was used before (two vectors under one mask give away their difference), or there
                are more than 1000 values.
        """
        if label in self._spoken:
            raise ValueError(f"{label!r} was answered already")
        if len(values) > _LONGEST:
            raise ValueError(f"{len(values)} values are more than {_LONGEST}")
        self._spoken.add(label)
        total = values.copy()
        for plus, shared in self._shared.values():
            stream = HKDF(hashes.SHA256(), 8 * len(values), self._salt, label.encode()).derive(shared)
            words = np.frombuffer(stream, "<u8")
            total = total + words if plus else total - words
        return total


def unmask(masked: Iterable[Words]) -> Words:
    """The sum of all members' masked values: that of the values themselves, modulo 2^64."""
    total: Words = np.add.reduce(list(masked))
    return total


def unsigned(values: Sequence[int]) -> Words:
    """Whole numbers as words, modulo 2^64."""
    return np.array([value % 2**64 for value in values], np.uint64)


def signed(words: Words) -> list[int]:
    """Words as whole numbers between -2^63 and 2^63."""
    return [int(word) for word in words.view(np.int64)]


def groups(members: Sequence[str], least: int) -> list[list[str]]:
    """As many groups of at least `least` neighbours as there can be; none where there are too few members."""
    count = len(members) // least
    edges = [len(members) * n // count for n in range(count + 1)] if count else [0]
    return [list(members[a:b]) for a, b in pairwise(edges)]
