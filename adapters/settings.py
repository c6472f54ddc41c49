"""Settings read by the dataclass that declares them: an unknown key is refused with the nearest known one.

What a value may be follows from the annotation of its field; an adapter adds readers for types of its own.
"""

from __future__ import annotations

import difflib
import ipaddress
from collections.abc import Callable, Mapping
from dataclasses import MISSING, fields
from enum import StrEnum
from types import MappingProxyType
from typing import Any, TypeAlias, TypeVar

__all__ = ["Readers", "is_loopback", "one_of", "table", "tables"]

T = TypeVar("T")
Readers: TypeAlias = Mapping[str, Callable[[Any], Any]]
"""How a value is read, by the annotation of its field; ValueError says what is needed instead."""
_NONE: Readers = MappingProxyType({})


def table(
    cls: type[T], data: Mapping[str, Any], where: str, wrong: list[str], readers: Readers = _NONE, **more: Any
) -> T | None:
    """The settings of a table, `more` given already; None where something is wrong with it."""
    readers = {**_READERS, **readers}
    known = {f.name: f for f in fields(cls)}  # type: ignore[arg-type]
    values: dict[str, Any] = dict(more)
    before = len(wrong)
    for key, value in data.items():
        if key not in known:
            near = difflib.get_close_matches(key, known, 1)
            wrong.append(f"{where}{key} is not known" + (f"; did you mean {near[0]}?" if near else ""))
            continue
        try:
            values[key] = readers[str(known[key].type)](value)
        except ValueError as error:
            wrong.append(f"{where}{key}: {error}")
    missing = [f.name for f in known.values() if f.default is MISSING and f.default_factory is MISSING]
    missing = [name for name in missing if name not in values and name not in data]
    wrong += [f"{where}{name} is missing" for name in missing]
    return cls(**values) if len(wrong) == before else None


def tables(cls: type[T], given: Any, where: str, wrong: list[str], readers: Readers = _NONE) -> tuple[T, ...]:
    """The settings of a list of tables."""
    if not isinstance(given, list | tuple) or not all(isinstance(v, Mapping) for v in given):
        wrong.append(f"{where}: a list of tables is needed")
        return ()
    read = [table(cls, item, f"{where}[{n}].", wrong, readers) for n, item in enumerate(given, 1)]
    return tuple(item for item in read if item is not None)


def is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _text(value: Any) -> str:
    if not isinstance(value, str) or not value:
        raise ValueError(f"a text is needed, not {value!r}")
    return value


def _texts(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list | tuple):
        raise ValueError(f"a list of texts is needed, not {value!r}")
    return tuple(_text(item) for item in value)


def _map(value: Any) -> dict[str, str]:
    if not isinstance(value, Mapping):
        raise ValueError(f"a table of texts is needed, not {value!r}")
    return {_text(key): _text(item) for key, item in value.items()}


def one_of(kind: type[StrEnum]) -> Callable[[Any], StrEnum]:
    """Reads the values of an enumeration."""

    def read(value: Any) -> StrEnum:
        if value not in set(kind):
            raise ValueError(f"one of {', '.join(kind)} is needed, not {value!r}")
        return kind(value)

    return read


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"a number is needed, not {value!r}")
    return float(value)


def _whole(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise ValueError(f"a whole number is needed, not {value!r}")
    return value


def _wholes(value: Any) -> tuple[int, ...]:
    if not isinstance(value, list | tuple):
        raise ValueError(f"a list of whole numbers is needed, not {value!r}")
    return tuple(_whole(item) for item in value)


def _flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError(f"true or false is needed, not {value!r}")
    return value


_READERS: Readers = {
    "str": _text,
    "tuple[str, ...]": _texts,
    "dict[str, str]": _map,
    "float": _number,
    "int": _whole,
    "tuple[int, ...]": _wholes,
    "bool": _flag,
}
