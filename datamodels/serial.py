"""Canonical objects as JSON and back: one codec for every dataclass of this package, driven by its type hints.

Objects that may stand in a union carry their class name under `"$"`. Decimal, datetime, date, time, timedelta and
bytes become strings; datetimes must be aware. `loads(dumps(x)) == x` for every canonical object.
"""

from __future__ import annotations

import base64
import json
import types
import typing
from collections.abc import Callable
from dataclasses import fields, is_dataclass
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from functools import cache, partial
from typing import Any, TypeVar

__all__ = ["decode", "dumps", "encode", "loads", "register"]

T = TypeVar("T")
_CLASSES: dict[str, type] = {}
_ENCODERS: dict[type, Callable[[Any], Any]] = {}


def register(*classes: type) -> None:
    """Make dataclasses known by name, so that `decode` can rebuild them.

    Raises:
        ValueError: another class of that name is registered.
    """
    for cls in classes:
        known = _CLASSES.setdefault(cls.__name__, cls)
        if known is not cls:
            raise ValueError(f"two canonical classes are called {cls.__name__}")


def encode(value: Any) -> Any:
    """A canonical object as JSON-ready data.

    Raises:
        ValueError: a datetime is not aware.
        TypeError: the value is of no canonical type.
    """
    cls = type(value)
    rule = _ENCODERS.get(cls)
    if rule is None:
        rule = _ENCODERS[cls] = _encoder(cls)
    return rule(value)


def decode(data: Any, hint: Any = None) -> Any:
    """Rebuild what `encode` made. Without a `hint`, data must carry its class name.

    Raises:
        ValueError: the data does not fit, or names an unknown class.
    """
    if hint is None or hint is Any or hint is object:
        if isinstance(data, dict) and "$" in data:
            return _build(_class(data["$"]), data)
        return data
    origin = typing.get_origin(hint)
    if origin in (typing.Union, types.UnionType):
        members = typing.get_args(hint)
        if data is None and type(None) in members:
            return None
        if isinstance(data, dict) and "$" in data:
            if (cls := _class(data["$"])) not in members:
                raise ValueError(f"{cls.__name__} is none of {', '.join(m.__name__ for m in members)}")
            return _build(cls, data)
        return decode(data, next(a for a in members if a is not type(None)))
    if origin is tuple:
        args = typing.get_args(hint)
        if len(args) == 2 and args[1] is Ellipsis:
            return tuple(decode(v, args[0]) for v in data)
        return tuple(decode(v, a) for v, a in zip(data, args, strict=True))
    if origin in (list, frozenset, set):
        (inner,) = typing.get_args(hint)
        return origin(decode(v, inner) for v in data)
    if origin is dict:
        return {k: decode(v, typing.get_args(hint)[1]) for k, v in data.items()}
    return _leaf(data, hint)


def _instant(value: datetime) -> str:
    if value.tzinfo is None:
        raise ValueError("canonical time must be aware")
    return value.astimezone(UTC).isoformat()


_RULES: tuple[tuple[tuple[type, ...], Callable[[Any], Any]], ...] = (
    ((Enum,), lambda v: v.value),
    ((bool, int, float, str, type(None)), lambda v: v),
    ((tuple, list), lambda v: [encode(item) for item in v]),
    ((frozenset, set), lambda v: sorted(encode(item) for item in v)),
    ((dict,), lambda v: {str(key): encode(item) for key, item in v.items()}),
    ((datetime,), _instant),
    ((date, time), lambda v: v.isoformat()),
    ((timedelta,), lambda v: v // timedelta(microseconds=1)),
    ((Decimal,), str),
    ((bytes,), lambda v: base64.b64encode(v).decode("ascii")),
)
"""First match counts: an enum may be a str, a datetime is a date."""


def _encoder(cls: type) -> Callable[[Any], Any]:
    """How values of exactly this class are encoded."""
    for types_, rule in _RULES:
        if issubclass(cls, types_):
            return rule
    if is_dataclass(cls):
        names = tuple(field.name for field in fields(cls))
        return lambda v: {"$": cls.__name__, **{name: encode(getattr(v, name)) for name in names}}
    raise TypeError(f"{cls.__name__} is not canonical")


def dumps(value: Any) -> str:
    """Canonical JSON text: sorted keys, no spaces, so equal objects give equal text.

    Raises:
        ValueError: a number is not finite, or a datetime not aware.
    """
    return json.dumps(encode(value), sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def loads(text: str | bytes, cls: type[T] | None = None) -> Any:
    """Rebuild an object from its JSON text (ValueError as in `decode`)."""
    return decode(json.loads(text), cls)


_LEAVES: dict[type, Callable[[Any], Any]] = {
    datetime: datetime.fromisoformat,
    date: date.fromisoformat,
    time: time.fromisoformat,
    timedelta: lambda d: timedelta(microseconds=d),
    Decimal: Decimal,
    bytes: partial(base64.b64decode, validate=True),
    float: float,
}


def _leaf(data: Any, hint: Any) -> Any:
    if hint in _LEAVES:
        return _LEAVES[hint](data)
    if isinstance(hint, type) and issubclass(hint, Enum):
        return hint(data)
    if isinstance(hint, type) and is_dataclass(hint):
        return _build(hint, data)
    if not isinstance(data, hint) or (hint is int and isinstance(data, bool)):
        raise ValueError(f"{data!r} is not of type {hint.__name__}")
    return data


def _class(name: str) -> type:
    try:
        return _CLASSES[name]
    except KeyError:
        raise ValueError(f"no canonical class is called {name!r}") from None


@cache
def _hints(cls: type) -> dict[str, Any]:
    return typing.get_type_hints(cls)


def _build(cls: type, data: Any) -> Any:
    if not isinstance(data, dict) or data.get("$", cls.__name__) != cls.__name__:
        raise ValueError(f"{data!r:.80} is not a {cls.__name__}")
    hints = _hints(cls)
    unknown = set(data) - set(hints) - {"$"}
    if unknown:
        raise ValueError(f"{cls.__name__} has no field {', '.join(sorted(unknown))}")
    try:
        return cls(**{name: decode(data[name], hints[name]) for name in hints if name in data})
    except (TypeError, ArithmeticError) as error:  # a field is missing, or has the wrong shape
        raise ValueError(f"{cls.__name__}: {error}") from error
