"""Stored text means the same whoever wrote it."""

from __future__ import annotations

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from datamodels import encode
from interop.store import text

_LEAVES = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
_VALUES = st.recursive(
    _LEAVES, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=4)
)


@given(_VALUES)
def test_it_reads_back_equal_with_and_without_orjson(value: object) -> None:
    written = text.dump(value)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(text, "_orjson", None)
        plain = text.dump(value)
    assert text.load(written) == text.load(plain) == value


def test_integers_beyond_64_bits_stay_exact() -> None:
    assert text.load(text.dump({"n": 2**200, "m": [-(2**70)]})) == {"n": 2**200, "m": [-(2**70)]}


def test_keys_are_sorted_and_nothing_is_spaced() -> None:
    assert text.dump({"b": [1, None], "a": {"é": 1.5}}) == '{"a":{"é":1.5},"b":[1,null]}'


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
def test_numbers_that_are_not_finite_never_come_that_far(number: float) -> None:
    with pytest.raises(ValueError, match="not finite"):
        encode({"deep": [{"x": number}]})
    assert json.loads(text.dump(encode({"x": 1.5}))) == {"x": 1.5}
