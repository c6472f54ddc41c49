"""What agents and aggregator say to each other: JSON objects in WebSocket text frames, version 1.

One table says which fields a message has and what each may hold. Unknown kinds and fields are refused, in both
directions, before anything is done with a message.
"""

from __future__ import annotations

import base64
import binascii
import json
import math
import re
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from optimiser.masking import Words

__all__ = ["LARGEST", "MESSAGES", "VERSION", "Malformed", "decode", "encode", "pack", "unpack"]

VERSION = 1
LARGEST = 64 * 1024
"""Bytes of a frame; a message about 1000 ISPs fits."""
_LONGEST = 1000
_POWER_W = 10**9
_MICRO = 10**12
_ID = re.compile(r"[A-Za-z0-9._:-]{1,80}")
_TEXT = 300
Check = Callable[[Any], bool]


class Malformed(ValueError):
    """A frame that is no message; the text says why and repeats nothing of it but names from the table."""


def _id(value: Any) -> bool:
    return isinstance(value, str) and bool(_ID.fullmatch(value))


def _text(value: Any) -> bool:
    return isinstance(value, str) and len(value) <= _TEXT and value.isprintable()


def _flag(value: Any) -> bool:
    return isinstance(value, bool)


def _whole(low: int, high: int) -> Check:
    return lambda value: isinstance(value, int) and not isinstance(value, bool) and low <= value <= high


def _number(low: float, high: float) -> Check:
    def check(value: Any) -> bool:
        number = isinstance(value, int | float) and not isinstance(value, bool)
        return number and math.isfinite(value) and low <= value <= high

    return check


def _each(check: Check) -> Check:
    return lambda value: isinstance(value, list) and 1 <= len(value) <= _LONGEST and all(map(check, value))


def _by(key: Check, check: Check) -> Check:
    return lambda value: (
        isinstance(value, dict) and len(value) <= _LONGEST and all(key(k) and check(v) for k, v in value.items())
    )


def _bytes(least: int, most: int) -> Check:
    def check(value: Any) -> bool:
        if not isinstance(value, str) or len(value) > 2 * most:
            return False
        try:
            return least <= len(base64.b64decode(value, validate=True)) <= most
        except (binascii.Error, ValueError):
            return False

    return check


def _one_of(*words: str) -> Check:
    return lambda value: value in words


_KEY = _bytes(32, 32)
_POWERS = _each(_whole(-_POWER_W, _POWER_W))
_ROUND = _whole(0, 10_000)
_WORDS = _bytes(8, 8 * (_LONGEST + 2))

MESSAGES: Mapping[str, Mapping[str, Check]] = {
    # the agent speaks
    "hello": {"key": _KEY, "whole": _flag, "least": _whole(1, _LONGEST)},
    "propose": {
        "negotiation": _id,
        "round": _ROUND,
        "net_w?": _POWERS,
        "cost_micro_eur?": _whole(-_MICRO, _MICRO),
        "least_micro_eur?": _whole(-_MICRO, _MICRO),
        "masked?": _WORDS,
    },
    "refuse": {"negotiation": _id, "reason": _text},
    "inform": {
        "award": _id,
        "state": _one_of("accepted", "done", "failed"),
        "reason?": _text,
        "measured_w?": _POWERS,
    },
    # the aggregator speaks
    "welcome": {"agent": _id, "point": _id, "heartbeat_s": _number(0.05, 3600)},
    "open": {
        "negotiation": _id,
        "period": _id,
        "isps": _whole(1, _LONGEST),
        "isp_minutes": _whole(1, 1440),
        "members": _by(_id, _KEY),
    },
    "cfp": {
        "negotiation": _id,
        "round": _ROUND,
        "price_eur_per_kwh": _each(_number(-1e4, 1e4)),
        "deadline_s": _number(0, 3600),
    },
    "accept": {
        "award": _id,
        "negotiation": _id,
        "period": _id,
        "shares": _by(str.isdecimal, _number(0, 1.000001)),
    },
    "reject": {"negotiation": _id, "reason": _text},
    "error": {"reason": _text},
}
"""Fields of each kind of message; a name that ends in ? may be left out."""


def encode(type: str, **fields: Any) -> str:
    """A message as a frame (Malformed: a bug of ours)."""
    _examine(type, fields)
    return json.dumps({"v": VERSION, "type": type, **fields}, separators=(",", ":"), allow_nan=False)


def decode(frame: str) -> tuple[str, dict[str, Any]]:
    """Kind and fields of a frame.

    Raises:
        Malformed: it is too large, no JSON, of another version, of an unknown kind, or a field is wrong.
    """
    if len(frame) > LARGEST:
        raise Malformed(f"a frame of more than {LARGEST} bytes")
    try:
        data = json.loads(frame, parse_constant=_no_constant)
    except (ValueError, RecursionError):
        raise Malformed("not JSON") from None
    if not isinstance(data, dict) or data.pop("v", None) != VERSION:
        raise Malformed(f"not an object with v = {VERSION}")
    type = data.pop("type", None)
    if not isinstance(type, str) or type not in MESSAGES:
        raise Malformed("an unknown type of message")
    _examine(type, data)
    return type, data


def _no_constant(name: str) -> Any:
    raise ValueError(name)


def _examine(type: str, fields: Mapping[str, Any]) -> None:
    known = MESSAGES[type]
    names = {name.rstrip("?") for name in known}
    if not names.issuperset(fields):
        raise Malformed(f"{type} has a field that does not belong there; known: {', '.join(sorted(names))}")
    for name, check in known.items():
        bare = name.rstrip("?")
        if bare not in fields:
            if bare == name:
                raise Malformed(f"{type} lacks {name}")
        elif not check(fields[bare]):
            raise Malformed(f"{type}.{bare} is not as it should be")


def pack(words: Words) -> str:
    """Masked words as base64 of little-endian 64-bit integers."""
    return base64.b64encode(words.astype("<u8").tobytes()).decode()


def unpack(text: str) -> Words:
    """Raises Malformed where the bytes are no whole number of words."""
    data = base64.b64decode(text)
    if len(data) % 8:
        raise Malformed("masked values are not words of 8 bytes")
    return np.frombuffer(data, "<u8").astype(np.uint64)
