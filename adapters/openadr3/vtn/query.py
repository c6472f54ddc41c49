"""Query strings, read by the table of an operation's parameters."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from multidict import MultiMapping

from adapters.errors import Rejection
from adapters.openadr3.members import Flag, Kind, ListOf, Reading, Version, Whole
from adapters.openadr3.vtn.tables import Parameter

__all__ = ["read_query"]

_DIGITS = 20


def read_query(given: MultiMapping[str], parameters: Mapping[str, Parameter], version: Version) -> dict[str, Any]:
    """The parameters that an operation knows, checked; others are read over (Rejection: one breaks its schema)."""
    reading = Reading(version)
    out: dict[str, Any] = {}
    for name, parameter in parameters.items():
        kind = parameter.kinds.get(version)
        if kind is not None and name in given:
            texts = given.getall(name)
            value: Any = texts if isinstance(kind, ListOf) else _plain(kind, texts[-1])
            out[name] = kind.read(value, name, reading)
    if reading.problems:
        raise Rejection(reading.problems)
    return out


def _plain(kind: Kind, text: str) -> Any:
    """A text as the JSON value that it stands for; itself where it stands for none, for the kind to refuse."""
    if isinstance(kind, Flag):
        return {"true": True, "false": False}.get(text, text)
    digits = text.removeprefix("-")
    if isinstance(kind, Whole) and digits.isascii() and digits.isdigit() and len(digits) < _DIGITS:
        return int(text)
    return text
