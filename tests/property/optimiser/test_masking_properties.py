"""Masks cancel exactly, hide everything short of the sum, and are never used twice."""

from __future__ import annotations

import hashlib
from itertools import pairwise

import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st

from optimiser.masking import Circle, groups, signed, unmask, unsigned

KEYS = [X25519PrivateKey.from_private_bytes(hashlib.sha256(bytes([n])).digest()) for n in range(16)]


def circles(count: int, negotiation: str = "n", **options: int) -> dict[str, Circle]:
    ids = [f"home-{n}" for n in range(count)]
    public = {id: key.public_key().public_bytes_raw() for id, key in zip(ids, KEYS, strict=False)}
    return {id: Circle(id, key, public, negotiation, **options) for id, key in zip(ids, KEYS, strict=False)}


@settings(max_examples=25, deadline=None)
@given(
    st.integers(2, 12).flatmap(
        lambda n: st.lists(st.lists(st.integers(-(2**58), 2**58), min_size=5, max_size=5), min_size=n, max_size=n)
    )
)
def test_the_sum_is_exact(values: list[list[int]]) -> None:
    members = circles(len(values), least=2)
    masked = [c.mask(unsigned(v), "1") for c, v in zip(members.values(), values, strict=True)]
    assert signed(unmask(masked)) == [sum(column) for column in zip(*values, strict=True)]


@settings(max_examples=10, deadline=None)
@given(st.integers(3, 8), st.data())
def test_any_part_of_a_group_sums_to_noise(count: int, data: st.DataObject) -> None:
    """Whatever proper part of a group the coordinator holds, its sum is spread over the whole range of 64 bits."""
    part = data.draw(st.sets(st.integers(0, count - 1), min_size=1, max_size=count - 1))
    members = list(circles(count, least=2).values())
    words = unmask([members[n].mask(unsigned([0] * 800), "1") for n in sorted(part)])
    high = (words >> np.uint64(56)).astype(float)
    assert abs(high.mean() - 127.5) < 6 * 73.9 / np.sqrt(800)
    assert len(set(words.tolist())) == 800


def test_all_but_one_who_collude_learn_only_the_sum_of_the_other_two() -> None:
    """Two sets of values of the honest pair that have one sum look alike to everybody else, given the pair's mask."""
    first, second = circles(10), circles(10)
    one = {id: c.mask(unsigned([5, 7]), "1") for id, c in first.items()}
    other = {id: c.mask(unsigned([9, 1] if id == "home-0" else [1, 13] if id == "home-1" else [5, 7]), "1")
             for id, c in second.items()}  # fmt: skip
    assert (unmask(one.values()) == unmask(other.values())).all()
    for id in list(one)[2:]:
        assert (one[id] == other[id]).all()
    assert (one["home-0"] - other["home-0"] == other["home-1"] - one["home-1"]).all()
    assert signed(one["home-0"]) != [5, 7]


def test_masks_change_with_round_negotiation_and_group() -> None:
    value = unsigned([1000] * 50)
    seen = [
        circles(10)["home-0"].mask(value, "1"),
        circles(10)["home-0"].mask(value, "2"),
        circles(10, "another")["home-0"].mask(value, "1"),
        circles(11)["home-0"].mask(value, "1"),
    ]
    for one, other in pairwise([*seen, seen[0]]):
        assert not (one == other).any()


def test_a_round_is_answered_once() -> None:
    circle = circles(10)["home-0"]
    circle.mask(unsigned([1]), "1")
    with pytest.raises(ValueError, match="answered already"):
        circle.mask(unsigned([2]), "1")


def test_unsafe_groups_are_refused() -> None:
    with pytest.raises(ValueError, match="a group of 9 hides less than a group of 10"):
        circles(9)
    public = {f"home-{n}": KEYS[n].public_key().public_bytes_raw() for n in range(10)}
    with pytest.raises(ValueError, match="does not hold 'home-3' with its own key"):
        Circle("home-3", KEYS[4], public, "n")
    with pytest.raises(ValueError, match="a key stands twice"):
        Circle("home-3", KEYS[3], public | {"home-4": public["home-5"]}, "n")
    with pytest.raises(ValueError, match="more than 1000"):
        circles(10)["home-0"].mask(unsigned([0] * 1001), "1")


@given(st.integers(0, 60), st.integers(2, 12))
def test_groups_hold_everybody_once_and_are_large_enough(count: int, least: int) -> None:
    members = [f"m{n}" for n in range(count)]
    found = groups(members, least)
    assert all(len(group) >= least for group in found)
    assert sorted(m for group in found for m in group) == (sorted(members) if count >= least else [])
