"""Whatever a version can say comes back as it was said, through text."""

from __future__ import annotations

from decimal import Decimal
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.openadr3.codec import SHAPES, decode, dumps, encode, loads
from adapters.openadr3.members import Version

_SHAPES = [(version, name) for version in Version for name in SHAPES[version]]
_NUMBERS = [0, -1, 10**20, Decimal("0.10"), Decimal("-0.0"), Decimal("1E-7"), Decimal("12345678901234567890.5")]
_TEXTS = ["...", "a\u0000b", 'q"\\', "٣🙂!", "שלום", "x" * 100]
_DURATIONS = ["PT15M", "P1D", "P9999Y", "PT0S", "P1Y2M3DT4H5M6.5S"]
_TIMES = ["2026-11-22T12:00:00Z", "2026-11-22T12:00:00.123456Z", "2026-11-22T12:00:00+01:00"]


def _value(schema: dict[str, Any], random: Random) -> Any:
    """A value that a schema allows, with optional members now and then."""
    if "anyOf" in schema:
        return _value(random.choice(schema["anyOf"]), random)
    if "enum" in schema:
        return random.choice(schema["enum"])
    match schema["type"]:
        case "object":
            wanted = {n for n in schema["properties"] if n in schema["required"] or random.random() < 0.5}
            return {n: _value(part, random) for n, part in schema["properties"].items() if n in wanted}
        case "array":
            return [_value(schema["items"], random) for _ in range(random.randint(0, 2))]
        case "boolean":
            return random.random() < 0.5
        case "integer":
            return random.choice([schema.get("minimum", -(2**31)), schema.get("maximum", 2**31 - 1)])
        case "number":
            return random.choice(_NUMBERS)
    if schema.get("format") == "date-time":
        return random.choice(_TIMES)
    if "(\\d+)Y" in schema.get("pattern", ""):
        return random.choice(_DURATIONS)
    return "a_B-9" if "pattern" in schema else random.choice(_TEXTS)


@pytest.mark.parametrize(("version", "name"), _SHAPES)
@settings(max_examples=30)
@given(seed=st.integers(0, 2**64))
def test_round_trip(version: Version, name: str, seed: int) -> None:
    plain = _value(SHAPES[version][name].schema(), Random(seed))
    decoded = decode(SHAPES[version][name], loads(dumps(plain)))
    assert decoded.problems == ()
    assert decoded.value is not None
    assert _exact(encode(decoded.value, version)) == _exact(plain)


_KEYS = ["programID", "intervals", "payloads", "type", "values", "id", "intervalPeriod", "start", "duration", "targets"]
_JSON = st.recursive(
    st.none() | st.booleans() | st.sampled_from([*_NUMBERS, *_TEXTS]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from([*_KEYS, "x"]), inner, max_size=6),
    max_leaves=12,
)


@given(st.sampled_from(_SHAPES), _JSON)
def test_whatever_comes_is_read_or_told_of(where: tuple[Version, str], body: Any) -> None:
    decoded = decode(SHAPES[where[0]][where[1]], body)
    assert (decoded.value is None) is bool(decoded.problems)


def _exact(value: Any) -> Any:
    """Numbers with their digits: Decimal("1.0") is not 1."""
    if isinstance(value, dict):
        return {k: _exact(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_exact(v) for v in value]
    return str(value) if isinstance(value, Decimal) else value
