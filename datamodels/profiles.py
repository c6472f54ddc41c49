"""Peer profiles: what a counterpart's software takes of what the standard allows, and what else it sends.

Own checks are never weakened by a profile. A desk that composes within the limits loses nothing; an adapter bends
what it can of the rest, logs that as a loss, and refuses to send what the peer would surely refuse.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

__all__ = ["PROFILES", "ProfileLimits", "limits_of"]


@dataclass(frozen=True, slots=True)
class ProfileLimits:
    """How to speak with a peer.

    Args:
        most_options: how many options an offer may have; None is any number.
        partial_activation: whether an order may buy a part of an option.
        unsolicited_orders: whether an order may refer to no offer.
        currency_digits: prices must have exactly the digits of their currency (EUR 12.50, not 12.5).
        request_partition: ISPs of offers and orders must be cut as in the request.
        ean_digits: digits of the EAN in a metering message.
        reads_loosely: deviations from the schema that are known of this peer are read.
        foreign_activation: another DSO than the congestion point's may order there: the contract authorises it.
    """

    most_options: int | None = None
    partial_activation: bool = True
    unsolicited_orders: bool = True
    currency_digits: bool = False
    request_partition: bool = False
    ean_digits: int = 18
    reads_loosely: bool = False
    foreign_activation: bool = False


PROFILES: Mapping[str, Mapping[str, Any]] = {
    "strict": {},
    "java-3.x": {
        "most_options": 1,
        "partial_activation": False,
        "unsolicited_orders": False,
        "currency_digits": True,
        "request_partition": True,
    },
    "ean16": {"ean_digits": 16},
    "lenient-in": {"reads_loosely": True},
    "gopacs": {"foreign_activation": True},
}
"""What each profile changes of the standard; several are joined by "+" ("gopacs+java-3.x")."""


@lru_cache
def limits_of(profile: str) -> ProfileLimits:
    """The limits of a peer profile.

    Raises:
        ValueError: there is no such profile.
    """
    changes: dict[str, Any] = {}
    for name in profile.split("+"):
        if name not in PROFILES:
            raise ValueError(f"no peer profile {name!r}; there are {', '.join(PROFILES)}, joined by +")
        changes |= PROFILES[name]
    return ProfileLimits(**changes)
