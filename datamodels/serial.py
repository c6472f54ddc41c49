"""Canonical objects as JSON and back: one codec for every dataclass of this package, driven by its type hints.

Objects that may stand in a union carry their class name under `"$"`. Decimal, datetime, date, time, timedelta and
bytes become strings; datetimes must be aware. `loads(dumps(x)) == x` for every canonical object.

What a class looks like is worked out once, when it is first met. Two kinds of classes have a shorter form: those with
`compact` (a series is written as runs), and those of `rows`, of which a sequence is written without field names. The
long form, which earlier versions wrote, is read for both.
"""

from __future__ import annotations

import base64
import json
import types
import typing
from collections.abc import Callable
from dataclasses import is_dataclass
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum, StrEnum
from functools import cache, partial
from math import isfinite
from operator import attrgetter
from typing import Any, TypeVar

__all__ = ["compact", "decode", "dumps", "encode", "loads", "register", "repeated", "rows"]

T = TypeVar("T")
Codec = Callable[[Any], Any]
_CLASSES: dict[str, type] = {}
_ENCODERS: dict[type, Codec] = {}
_ROWS: dict[type, Codec] = {}
_COMPACT: dict[type, tuple[Codec, Codec]] = {}


def register(*classes: type) -> None:
    """Make dataclasses known by name, so that `decode` can rebuild them.

    Raises:
        ValueError: another class of that name is registered.
    """
    for cls in classes:
        known = _CLASSES.setdefault(cls.__name__, cls)
        if known is not cls:
            raise ValueError(f"two canonical classes are called {cls.__name__}")


def rows(*classes: type) -> None:
    """Write sequences of these dataclasses or named tuples as lists of their fields: for small ones that come by the
    hundred."""
    register(*classes)
    for cls in classes:
        _ROWS[cls] = _row_encoder(cls)
        _ENCODERS[cls] = _long(cls)


def compact(cls: type[T], write: Callable[[T], dict[str, Any]], read: Callable[[dict[str, Any]], T]) -> None:
    """Give a dataclass a form of its own. `write` returns JSON-ready fields; `read` gets them back, and raises
    ValueError, TypeError or KeyError for what it cannot read. Data that has all the class's own fields is in the long
    form, and never comes to `read`."""
    _COMPACT[cls] = (write, read)


def repeated(*classes: type) -> None:
    """Objects of these dataclasses are encoded several times in a row: the last of each class is kept encoded."""
    for cls in classes:
        _ENCODERS[cls] = _remembering(_encoder(cls))


def encode(value: Any) -> Any:
    """A canonical object as JSON-ready data, not to be changed.

    Raises:
        ValueError: a datetime is not aware, or a number not finite.
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
    return _decoder(hint)(data)


def dumps(value: Any) -> str:
    """Canonical JSON text: sorted keys, no spaces, so equal objects give equal text.

    Raises:
        ValueError: a number is not finite, or a datetime not aware.
    """
    return json.dumps(encode(value), sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def loads(text: str | bytes, cls: type[T] | None = None) -> Any:
    """Rebuild an object from its JSON text (ValueError as in `decode`)."""
    return decode(json.loads(text), cls)


# --- writing ------------------------------------------------------------------------------------------------------


def _instant(value: datetime) -> str:
    if value.tzinfo is None:
        raise ValueError("canonical time must be aware")
    return value.astimezone(UTC).isoformat()


def _finite(value: float) -> float:
    if not isfinite(value):
        raise ValueError(f"{value} is not finite")
    return value


_RULES: tuple[tuple[tuple[type, ...], Codec], ...] = (
    ((Enum,), lambda v: v.value),
    ((bool, int, str, type(None)), lambda v: v),
    ((float,), _finite),
    ((tuple, list), lambda v: [_ROWS.get(type(item), encode)(item) for item in v]),
    ((frozenset, set), lambda v: sorted(encode(item) for item in v)),
    ((dict,), lambda v: {str(key): encode(item) for key, item in v.items()}),
    ((datetime,), _instant),
    ((date, time), lambda v: v.isoformat()),
    ((timedelta,), lambda v: v // timedelta(microseconds=1)),
    ((Decimal,), str),
    ((bytes,), lambda v: base64.b64encode(v).decode("ascii")),
)
"""First match counts: an enum may be a str, a datetime is a date."""


def _encoder(cls: type) -> Codec:
    """How values of exactly this class are encoded."""
    for types_, rule in _RULES:
        if issubclass(cls, types_):
            return rule
    if not is_dataclass(cls):
        raise TypeError(f"{cls.__name__} is not canonical")
    if cls in _COMPACT:
        write = _COMPACT[cls][0]
        return lambda v: {"$": cls.__name__, **write(v)}
    return _long(cls)


def _long(cls: type) -> Codec:
    """With the names of class and fields."""
    names = tuple(_hints(cls))
    return lambda v: {"$": cls.__name__, **{name: encode(getattr(v, name)) for name in names}}


def _remembering(rule: Codec) -> Codec:
    last: tuple[Any, Any] = (None, None)

    def write(value: Any) -> Any:
        nonlocal last
        known = last
        if known[0] is not value:
            known = last = (value, rule(value))
        return known[1]

    return write


def _row_encoder(cls: type) -> Codec:
    """Fields in order, in one go: they are numbers, texts and enumerations of texts (TypeError where they are not)."""
    hints = _hints(cls)
    for name, hint in hints.items():
        if hint not in (int, float, str, bool) and not (isinstance(hint, type) and issubclass(hint, StrEnum)):
            raise TypeError(f"{cls.__name__}.{name} does not fit in a row")
    if issubclass(cls, tuple):
        return list
    fetch = attrgetter(*hints)
    return lambda v: list(fetch(v))


# --- reading ------------------------------------------------------------------------------------------------------

_LEAVES: dict[Any, Codec] = {
    datetime: datetime.fromisoformat,
    date: date.fromisoformat,
    time: time.fromisoformat,
    timedelta: lambda d: timedelta(microseconds=d),
    Decimal: Decimal,
    bytes: partial(base64.b64decode, validate=True),
    float: float,
}


@cache
def _decoder(hint: Any) -> Codec:
    """How data that a hint describes is decoded."""
    if hint is None or hint is Any or hint is object:
        return _untyped
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        return _union(args)
    if origin is tuple and len(args) == 2 and args[1] is Ellipsis:
        each = _later(args[0])
        return lambda data: tuple([each(v) for v in data])
    if origin is tuple:
        all_ = [_later(a) for a in args]
        return lambda data: tuple([d(v) for d, v in zip(all_, data, strict=True)])
    if origin in (list, frozenset, set):
        each = _later(args[0])
        return lambda data: origin([each(v) for v in data])
    if origin is dict:
        each = _later(args[1])
        return lambda data: {k: each(v) for k, v in data.items()}
    if hint in _LEAVES:
        return _LEAVES[hint]
    if isinstance(hint, type) and issubclass(hint, Enum):
        return hint
    if _has_fields(hint):
        return _class_decoder(hint)
    return _checked(hint)


def _has_fields(hint: Any) -> bool:
    return isinstance(hint, type) and (is_dataclass(hint) or hint in _ROWS)


def _later(hint: Any) -> Codec:
    """The decoder of a hint that is part of another; of a class it is looked up when used, as classes may nest."""
    if _has_fields(hint):

        def read(data: Any) -> Any:
            return _decoder(hint)(data)

        return read
    return _decoder(hint)


def _untyped(data: Any) -> Any:
    if isinstance(data, dict) and "$" in data:
        return _decoder(_class(data["$"]))(data)
    return data


def _union(members: tuple[Any, ...]) -> Codec:
    optional = type(None) in members
    first = _later(next(m for m in members if m is not type(None)))

    def read(data: Any) -> Any:
        if data is None and optional:
            return None
        if isinstance(data, dict) and "$" in data:
            if (cls := _class(data["$"])) not in members:
                raise ValueError(f"{cls.__name__} is none of {', '.join(m.__name__ for m in members)}")
            return _decoder(cls)(data)
        return first(data)

    return read


def _checked(hint: Any) -> Codec:
    def read(data: Any) -> Any:
        if type(data) is hint:
            return data
        if not isinstance(data, hint) or (hint is int and isinstance(data, bool)):
            raise ValueError(f"{data!r} is not of type {hint.__name__}")
        return data

    return read


def _class(name: str) -> type:
    try:
        return _CLASSES[name]
    except KeyError:
        raise ValueError(f"no canonical class is called {name!r}") from None


@cache
def _hints(cls: type) -> dict[str, Any]:
    """The hints of its fields, in order; what belongs to the class itself is none of them."""
    hints = typing.get_type_hints(cls)
    return {name: h for name, h in hints.items() if (typing.get_origin(h) or h) is not typing.ClassVar}


def _class_decoder(cls: type) -> Codec:
    name = cls.__name__
    readers = {field: _later(hint) for field, hint in _hints(cls).items()}
    in_order = tuple(readers.values())
    known = readers.keys() | {"$"}
    own = _COMPACT[cls][1] if cls in _COMPACT else None

    def build(data: Any) -> Any:
        if type(data) is list and cls in _ROWS:
            return cls(*[read(v) for read, v in zip(in_order, data, strict=True)])
        if not isinstance(data, dict) or data.get("$", name) != name:
            raise ValueError(f"{data!r:.80} is not a {name}")
        if own is not None and not readers.keys() <= data.keys():
            return own(data)
        if unknown := data.keys() - known:
            raise ValueError(f"{name} has no field {', '.join(sorted(unknown))}")
        return cls(**{field: read(data[field]) for field, read in readers.items() if field in data})

    def read(data: Any) -> Any:
        try:
            return build(data)
        except (TypeError, ArithmeticError, KeyError) as error:  # a field is missing, or has the wrong shape
            raise ValueError(f"{name}: {error}") from error

    return read
