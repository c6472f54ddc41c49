"""Typed settings out of loosely typed data: driven by dataclasses, strict, and all problems at once."""

from __future__ import annotations

import difflib
import types
import typing
from collections.abc import Callable, Mapping
from dataclasses import MISSING, Field, fields, is_dataclass
from datetime import UTC, date, datetime
from decimal import Decimal, InvalidOperation
from enum import Enum
from pathlib import Path
from typing import Any, TypeVar

from datamodels import Problem

__all__ = ["Settings", "nearest"]

T = TypeVar("T")
_BOOLEANS = {"true": True, "yes": True, "on": True, "1": True, "false": False, "no": False, "off": False, "0": False}


def nearest(word: str, known: typing.Iterable[str]) -> str:
    """A hint that names the known word most like this one, or all of them."""
    options = sorted(known)
    close = difflib.get_close_matches(word, options, 1, 0.6)
    return f"did you mean {close[0]!r}?" if close else f"known: {', '.join(options)}"


class _Wrong(Exception):
    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


class Settings:
    """Reads dataclasses from mappings; `problems` collects what is wrong. Relative paths start at `folder`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.problems: list[Problem] = []

    def read(self, cls: type[T], data: Any, where: str) -> T | None:
        """An instance of a dataclass, or None where something was wrong (see `problems`)."""
        if not isinstance(data, Mapping):
            self._wrong(where, f"expected a table, not {_named(data)}")
            return None
        assert is_dataclass(cls)
        hints = typing.get_type_hints(cls)
        known = {f.name: f for f in fields(cls)}
        before = len(self.problems)
        for key in data:
            if key not in known:
                self._wrong(f"{where}.{key}".lstrip("."), "unknown key", nearest(key, known))
        values = {
            name: self._field(field, hints[name], data, f"{where}.{name}".lstrip(".")) for name, field in known.items()
        }
        if len(self.problems) > before:
            return None
        try:
            return cls(**{name: value for name, value in values.items() if value is not MISSING})
        except ValueError as error:  # a dataclass that checks itself
            self._wrong(where, str(error))
            return None

    def _field(self, field: Field[Any], hint: Any, data: Mapping[str, Any], where: str) -> Any:
        if field.name not in data:
            if field.default is MISSING and field.default_factory is MISSING:
                self._wrong(where, "missing", f"add {field.name} = …")
            return MISSING
        return self._value(hint, data[field.name], where)

    def _value(self, hint: Any, value: Any, where: str) -> Any:
        origin = typing.get_origin(hint)
        if origin in (typing.Union, types.UnionType):
            return self._value(next(a for a in typing.get_args(hint) if a is not type(None)), value, where)
        if origin is tuple:
            if not isinstance(value, list):
                return self._wrong(where, f"expected a list, not {_named(value)}")
            inner = typing.get_args(hint)[0]
            return tuple(self._value(inner, item, f"{where}[{n}]") for n, item in enumerate(value, 1))
        if origin is dict:
            if not isinstance(value, Mapping):
                return self._wrong(where, f"expected a table, not {_named(value)}")
            inner = typing.get_args(hint)[1]
            return {k: v if inner is Any else self._value(inner, v, f"{where}.{k}") for k, v in value.items()}
        if is_dataclass(hint):
            return self.read(typing.cast(type[Any], hint), value, where)
        try:
            return self._leaf(hint, value)
        except _Wrong as wrong:
            return self._wrong(where, str(wrong), wrong.hint)

    def _leaf(self, hint: Any, value: Any) -> Any:
        if hint is Path:
            return self._folder / _text(value)
        if isinstance(hint, type) and issubclass(hint, Enum):
            return _member(hint, value)
        return _LEAVES[hint](value)

    def _wrong(self, where: str, message: str, hint: str = "") -> None:
        self.problems.append(Problem("config", where, message, hint=hint))


def _named(value: Any) -> str:
    names = {str: "text", bool: "a boolean", int: "a number", float: "a number", list: "a list", dict: "a table"}
    return names.get(type(value), type(value).__name__)


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise _Wrong(f"expected text, not {_named(value)}", 'write it in quotes: "…"')
    return value


def _boolean(value: Any) -> bool:
    if isinstance(value, bool):
        return value
    if isinstance(value, str) and value.lower() in _BOOLEANS:
        return _BOOLEANS[value.lower()]
    raise _Wrong(f"{value!r} is not a boolean", "write true or false")


def _integer(value: Any) -> int:
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    try:
        return int(_text(value))
    except (_Wrong, ValueError):
        raise _Wrong(f"{value!r} is not a whole number") from None


def _decimal(value: Any) -> Decimal:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise _Wrong(f"{value!r} is not a number")
    try:
        number = Decimal(str(value))
    except InvalidOperation:
        raise _Wrong(f"{value!r} is not a number") from None
    if not number.is_finite():
        raise _Wrong(f"{value!r} is not a finite number")
    return number


def _date(value: Any) -> date:
    if type(value) is date:
        return value
    try:
        return date.fromisoformat(_text(value))
    except (_Wrong, ValueError):
        raise _Wrong(f"{value!r} is not a date", "write it as 2026-01-31") from None


def _instant(value: Any) -> datetime:
    try:
        instant = value if isinstance(value, datetime) else datetime.fromisoformat(_text(value))
    except (_Wrong, ValueError):
        raise _Wrong(f"{value!r} is not a date and time", "write it as 2026-01-31T10:15:00+01:00") from None
    if instant.tzinfo is None:
        raise _Wrong(f"{value} has no time zone", "add an offset: 2026-01-31T10:15:00+01:00, or Z for UTC")
    return instant.astimezone(UTC)


def _member(cls: type[Enum], value: Any) -> Enum:
    for member in cls:
        if isinstance(value, str) and value.lower() == str(member.value).lower():
            return member
    raise _Wrong(f"{value!r} is not one of them", nearest(str(value), [str(m.value) for m in cls]))


_LEAVES: dict[type, Callable[[Any], Any]] = {
    str: _text,
    bool: _boolean,
    int: _integer,
    float: lambda value: float(_decimal(value)),
    Decimal: _decimal,
    date: _date,
    datetime: _instant,
}
