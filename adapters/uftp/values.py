"""Lexical types of UFTP attributes: text to Python and back (the simple types of the released schemas).

Texts are trimmed before they are read, as every known peer does. Integers are held to 18 digits and years to
1..9999: more is meaningless for a power, a revision or a market day.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from functools import lru_cache
from typing import Any

__all__ = ["TYPES", "ValueType", "duration", "duration_text"]

_SPACE = " \t\r\n"
_CACHED = 4096
_DIGITS = 18


@dataclass(frozen=True, slots=True)
class ValueType:
    """`read` turns attribute text into a value, `write` does the reverse; both raise ValueError with a reason."""

    name: str
    read: Callable[[str], Any]
    write: Callable[[Any], str]
    values: tuple[str, ...] = ()
    """The permitted values of an enumeration."""
    many: Callable[[Sequence[str]], list[Any]] | None = None
    facets: tuple[tuple[str, str], ...] = ()
    """How the type restricts its base, in the words of XML Schema."""

    def read_all(self, texts: Sequence[str]) -> list[Any]:
        """`read` of each; may raise ValueError where `read` would not, if a text has an unusual form."""
        return self.many(texts) if self.many else [self.read(text) for text in texts]


def _pattern(name: str, pattern: str, what: str) -> ValueType:
    fits = re.compile(pattern).fullmatch

    def read(text: str) -> str:
        text = text.strip(_SPACE)
        if fits(text) is None:
            raise ValueError(f"is not {what}")
        return text

    return ValueType(name, read, str, facets=(("pattern", pattern),))


def _enumeration(name: str, values: Iterable[str]) -> ValueType:
    known = {v: v for v in values}

    def read(text: str) -> str:
        value = known.get(text) or known.get(text.strip(_SPACE))
        if value is None:
            raise ValueError(f"is none of {', '.join(known)}")
        return value

    def many(texts: Sequence[str]) -> list[str]:
        return [known.get(text) or read(text) for text in texts]

    return ValueType(name, read, str, tuple(known), many, tuple(("enumeration", value) for value in known))


def _integer(name: str, minimum: int | None = None) -> ValueType:
    fits = re.compile(r"[+-]?[0-9]{1,18}").fullmatch

    def read(text: str) -> int:
        if fits(text) is None:
            text = text.strip(_SPACE)
            if fits(text) is None:
                raise ValueError("is not a whole number of at most 18 digits")
        value = int(text)
        if minimum is not None and value < minimum:
            raise ValueError(f"is below {minimum}")
        return value

    def many(texts: Sequence[str]) -> list[int]:
        # What `int` reads is a plain number, if nothing but digits and signs stand in it.
        digits = "".join(texts).replace("-", "")
        if not (digits.isascii() and digits.isdigit() and max(map(len, texts)) <= _DIGITS):
            raise ValueError("one is not a plain whole number")
        values = list(map(int, texts))
        if minimum is not None and min(values) < minimum:
            raise ValueError(f"one is below {minimum}")
        return values

    return ValueType(name, read, str, many=many)


def _decimal(
    name: str, digits: int | None = None, low: Decimal | None = None, high: Decimal | None = None
) -> ValueType:
    fits = re.compile(r"[+-]?([0-9]{1,18}(\.[0-9]{0,18})?|\.[0-9]{1,18})").fullmatch

    @lru_cache(_CACHED)
    def read(text: str) -> Decimal:
        text = text.strip(_SPACE)
        if fits(text) is None:
            raise ValueError("is not a decimal number")
        value = Decimal(text)
        if digits is not None and len(text.partition(".")[2].rstrip("0")) > digits:
            raise ValueError(f"has more than {digits} fraction digits")
        if low is not None and value < low:
            raise ValueError(f"is below {low}")
        if high is not None and value > high:
            raise ValueError(f"is above {high}")
        return value

    facets = (("fractionDigits", digits), ("minInclusive", low), ("maxInclusive", high))
    stated = tuple((facet, str(value)) for facet, value in facets if value is not None)
    return ValueType(name, read, lambda value: format(value, "f"), facets=stated)


_DATE = re.compile(r"([0-9]{4}-[0-9]{2}-[0-9]{2})(Z|[+-](0[0-9]|1[0-3]):[0-5][0-9]|[+-]14:00)?")
_DATETIME = re.compile(
    r"([0-9]{4}-[0-9]{2}-[0-9]{2})T([0-9]{2}:[0-9]{2}:[0-9]{2})(\.[0-9]+)?"
    r"(Z|[+-](?:0[0-9]|1[0-3]):[0-5][0-9]|[+-]14:00)?"
)
_DURATION = re.compile(
    r"(?P<sign>-)?P(?=.)(?:(?P<years>[0-9]{1,9})Y)?(?:(?P<months>[0-9]{1,9})M)?(?:(?P<days>[0-9]{1,9})D)?"
    r"(?:T(?=.)(?:(?P<hours>[0-9]{1,9})H)?(?:(?P<minutes>[0-9]{1,9})M)?"
    r"(?:(?P<seconds>[0-9]{1,9}(?:\.[0-9]{1,9})?)S)?)?"
)


def _read_date(text: str) -> date:
    found = _DATE.fullmatch(text.strip(_SPACE))
    if found is None:
        raise ValueError("is not a date yyyy-mm-dd")
    return date.fromisoformat(found[1])


def _read_datetime(text: str) -> datetime:
    found = _DATETIME.fullmatch(text.strip(_SPACE))
    if found is None:
        raise ValueError("is not a date and time yyyy-mm-ddThh:mm:ss with an optional offset")
    day, clock, fraction, offset = found.groups("")
    if clock == "24:00:00" and not fraction.strip(".0"):
        return datetime.fromisoformat(f"{day}T00:00:00{offset}") + timedelta(days=1)
    return datetime.fromisoformat(f"{day}T{clock}{fraction[:7]}{offset}")


def _write_datetime(value: datetime) -> str:
    text = value.isoformat()
    return text.removesuffix("+00:00") + "Z" if text.endswith("+00:00") else text


def _read_duration(text: str) -> str:
    text = text.strip(_SPACE)
    if _DURATION.fullmatch(text) is None:
        raise ValueError("is not an ISO 8601 duration")
    return text


@lru_cache(_CACHED)
def duration(text: str) -> timedelta | None:
    """Length of an xs:duration; None where it has none that holds on every day (years, months) or is absurd."""
    found = _DURATION.fullmatch(text)
    if found is None or int(found["years"] or 0) or int(found["months"] or 0):
        return None
    try:
        length = timedelta(
            days=int(found["days"] or 0),
            hours=int(found["hours"] or 0),
            minutes=int(found["minutes"] or 0),
            seconds=float(found["seconds"] or 0),
        )
    except OverflowError:
        return None
    return -length if found["sign"] else length


def duration_text(length: timedelta) -> str:
    """An ISP length as the specification writes it: whole minutes, `PT15M`."""
    return f"PT{length // timedelta(minutes=1)}M"


_BASE64 = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/= \t\r\n"


def _read_base64(text: str) -> str:
    # Bodies are long: taking all permitted characters away is many times as fast as a pattern.
    if text.encode("utf-8", "surrogatepass").translate(None, _BASE64):
        raise ValueError("is not base64")
    return text.strip(_SPACE)


def _read_boolean(text: str) -> bool:
    try:
        return {"true": True, "1": True, "false": False, "0": False}[text.strip(_SPACE)]
    except KeyError:
        raise ValueError("is neither true nor false") from None


# What XML 1.0 can carry at all, in an attribute.
_TEXT = r"[\t\n\r\x20-\uD7FF\uE000-\uFFFD\U00010000-\U0010FFFF]*"

TYPES: dict[str, ValueType] = {
    t.name: t
    for t in (
        _pattern("text", _TEXT, "text that XML can carry"),
        _pattern("version", r"[0-9]+\.[0-9]+\.[0-9]+", "a version x.y.z"),
        _pattern("uuid", r"[0-9A-Fa-f]{8}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{12}", "a UUID"),
        _pattern("domain", r"([a-z0-9]+(-[a-z0-9]+)*\.)+[a-z]{2,}", "an Internet domain in lower case"),
        _pattern(
            "address",
            r"ea1\.[0-9]{4}-[0-9]{2}\.[^\n\r]{1,244}:[^\n\r]{1,244}|ean\.[0-9]{12,34}",
            "an entity address (ea1.yyyy-mm.… or ean.…)",
        ),
        _pattern(
            "timeZone",
            r"(Africa|America|Australia|Europe|Pacific)/[a-zA-Z0-9_/]{3,}",
            "a time zone of the schema (Africa, America, Australia, Europe, Pacific)",
        ),
        _pattern("currency", r"[A-Z]{3}", "a currency of three capitals"),
        # The released schema has 16 digits; an EAN has 18, and both known peers moved to 18.
        _pattern("ean", r"[Ee]([0-9]{16}|[0-9]{18})", "an EAN: E and 16 or 18 digits"),
        ValueType("base64", _read_base64, str),
        ValueType("duration", _read_duration, str),
        ValueType("date", _read_date, date.isoformat),
        ValueType("dateTime", _read_datetime, _write_datetime),
        ValueType("boolean", _read_boolean, lambda value: "true" if value else "false"),
        _integer("integer"),
        _integer("long"),
        _integer("positive", 1),
        _decimal("decimal"),
        _decimal("amount", 4),
        _decimal("factor", 2, Decimal("0.01"), Decimal(1)),
        _enumeration("role", ("AGR", "CRO", "DSO")),
        _enumeration("redispatch", ("AGR", "DSO")),
        _enumeration("result", ("Accepted", "Rejected")),
        _enumeration("disposition", ("Available", "Requested")),
        _enumeration("settled", ("Accepted", "Disputed")),
        _enumeration("unit", ("kW", "kWh")),
        _enumeration("profile", ("Power", "ImportEnergy", "ExportEnergy", "ImportMeterReading", "ExportMeterReading")),
    )
}
