"""Reading configuration tables: typed, unknown keys refused, every complaint at once."""

from __future__ import annotations

import difflib
import ipaddress
from collections.abc import Callable, Mapping
from dataclasses import MISSING, fields
from enum import StrEnum
from pathlib import Path
from typing import Any, TypeVar

from yarl import URL

from adapters.uftp.values import TYPES

__all__ = ["address", "choice", "domain", "flag", "number", "path", "read", "tables", "text", "texts", "url"]

T = TypeVar("T")
E = TypeVar("E", bound=StrEnum)
Reader = Callable[[Any], Any]


def read(cls: type[T], table: Any, readers: Mapping[str, Reader], where: str) -> T:
    """An instance of a dataclass from a table whose keys `readers` knows.

    Raises:
        ValueError: all that is wrong with it, one complaint a line; also what the dataclass itself complains of.
    """
    if not isinstance(table, Mapping):
        raise ValueError(f"{where} must be a table, not {table!r}")
    complaints: list[str] = []
    values: dict[str, Any] = {}
    for key, value in table.items():
        reader = readers.get(key)
        if reader is None:
            near = difflib.get_close_matches(key, readers, 1)
            complaints.append(f"{where}.{key} is not known" + (f"; did you mean {near[0]}?" if near else ""))
            continue
        try:
            values[key] = reader(value)
        except ValueError as error:
            lines = str(error).split("\n")
            complaints.extend(line if line.startswith(f"{where}.") else f"{where}.{key} {line}" for line in lines)
    complaints.extend(
        f"{where}.{f.name} is missing"
        for f in fields(cls)  # type: ignore[arg-type]
        if f.default is MISSING and f.default_factory is MISSING and f.name not in table
    )
    if complaints:
        raise ValueError("\n".join(complaints))
    try:
        return cls(**values)
    except ValueError as error:
        raise ValueError("\n".join(f"{where}.{line}" for line in str(error).split("\n"))) from None


def tables(cls: type[T], readers: Mapping[str, Reader], where: str) -> Callable[[Any], tuple[T, ...]]:
    """A reader for a list of tables."""

    def each(value: Any) -> tuple[T, ...]:
        if not isinstance(value, list | tuple):
            raise ValueError(f"must be a list of tables, not {value!r}")
        return tuple(read(cls, table, readers, where) for table in value)

    return each


def text(value: Any) -> str:
    if not isinstance(value, str) or not value:
        raise ValueError(f"must be a text, not {value!r}")
    return value


def texts(one: Callable[[Any], str]) -> Callable[[Any], tuple[str, ...]]:
    """A reader for a list of what `one` reads."""

    def each(value: Any) -> tuple[str, ...]:
        if not isinstance(value, list | tuple):
            raise ValueError(f"must be a list, not {value!r}")
        return tuple(one(item) for item in value)

    return each


def domain(value: Any) -> str:
    return str(TYPES["domain"].read(text(value)))


def flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError(f"must be true or false, not {value!r}")
    return value


def number(least: float, most: float, what: str) -> Callable[[Any], float]:
    """A reader for a number from `least` to `most`."""

    def one(value: Any) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float) or not least <= value <= most:
            raise ValueError(f"must be {what} from {least:g} to {most:g}, not {value!r}")
        return float(value)

    return one


def path(value: Any) -> Path:
    return value if isinstance(value, Path) else Path(text(value))


def choice(cls: type[E]) -> Callable[[Any], E]:
    """A reader for one of an enumeration's values."""

    def one(value: Any) -> E:
        try:
            return cls(value)
        except ValueError:
            raise ValueError(f"must be one of {', '.join(cls)}, not {value!r}") from None

    return one


def url(value: Any) -> str:
    """An address that secrets may be sent to: https, or http on this machine."""
    try:
        parsed = URL(text(value))
    except ValueError:
        parsed = URL()
    if not parsed.host or parsed.scheme not in ("http", "https"):
        raise ValueError(f"must be an https address, not {value!r}")
    if parsed.scheme == "http" and not _is_loopback(parsed.host):
        raise ValueError(f"must begin with https:// off this machine, not {value!r}")
    return str(value).rstrip("/")


def address(value: Any) -> str:
    """`address` or `address:port` of a name server; an IPv6 address with a port stands in brackets."""
    host, port = split_address(text(value))
    try:
        ipaddress.ip_address(host)
    except ValueError:
        raise ValueError(f"must be an IP address, with :port where it is not 53, not {value!r}") from None
    if not 0 < port < 65536:
        raise ValueError(f"has no usable port: {value!r}")
    return str(value)


def split_address(value: str, default: int = 53) -> tuple[str, int]:
    """Host and port; port 0 where it is no number."""
    host, separator, port = value.rpartition(":")
    if not separator or (":" in host and not host.startswith("[")):
        return value.strip("[]"), default
    return host.strip("[]"), int(port) if port.isdecimal() else 0


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
