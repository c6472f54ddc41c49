"""Messages between agents and aggregator: one table, nothing beyond it."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from interop.agents import wire

KEY = "A" * 43 + "="
SAMPLES = {
    "hello": {"key": KEY, "whole": False, "least": 10},
    "propose": {"negotiation": "n-1", "round": 3, "net_w": [5, -5], "cost_micro_eur": 1, "least_micro_eur": -1},
    "refuse": {"negotiation": "n-1", "reason": "not today"},
    "inform": {"award": "n-1.a", "state": "done", "measured_w": [1, 2]},
    "welcome": {"agent": "a", "point": "cp", "heartbeat_s": 20.0},
    "open": {"negotiation": "n-1", "period": "2026-05-20", "isps": 96, "isp_minutes": 15, "members": {"a": KEY}},
    "cfp": {"negotiation": "n-1", "round": 0, "price_eur_per_kwh": [0.0, -0.1], "deadline_s": 30.0},
    "accept": {"award": "n-1.a", "negotiation": "n-1", "period": "2026-05-20", "shares": {"0": 0.5, "7": 0.5}},
    "reject": {"negotiation": "n-1", "reason": "baseline"},
    "error": {"reason": "why"},
}


def test_every_kind_of_message_has_a_sample_and_comes_back_unchanged() -> None:
    assert set(SAMPLES) == set(wire.MESSAGES)
    for type, fields in SAMPLES.items():
        assert wire.decode(wire.encode(type, **fields)) == (type, fields)


def cfp(round: str, price: str) -> str:
    head = '{"v": 1, "type": "cfp", "negotiation": "n", "deadline_s": 1'
    return f'{head}, "round": {round}, "price_eur_per_kwh": [{price}]}}'


@pytest.mark.parametrize(
    ("frame", "why"),
    [
        ("x" * (wire.LARGEST + 1), "more than"),
        ("{", "not JSON"),
        ("[" * 60_000, "not JSON"),
        ("[]", "v = 1"),
        ('{"v": 2, "type": "hello"}', "v = 1"),
        ('{"v": 1, "type": "sudo"}', "unknown type"),
        ('{"v": 1, "type": ["hello"]}', "unknown type"),
        ('{"v": 1, "type": "error"}', "lacks reason"),
        ('{"v": 1, "type": "error", "reason": "x", "more": 1}', "does not belong"),
        ('{"v": 1, "type": "error", "reason": "a\\nb"}', "error.reason"),
        (
            cfp(round="0", price="NaN"),
            "JSON",
        ),
        (
            cfp(round="0", price="1e9"),
            "price",
        ),
        (
            cfp(round="true", price="1"),
            "round",
        ),
        ('{"v": 1, "type": "propose", "negotiation": "n", "round": 0, "masked": "%%%"}', "masked"),
        ('{"v": 1, "type": "hello", "key": "AAAA", "whole": false, "least": 10}', "hello.key"),
    ],
)
def test_what_is_no_message_is_refused(frame: str, why: str) -> None:
    with pytest.raises(wire.Malformed, match=re.escape(why)):
        wire.decode(frame)


@given(st.text(max_size=200) | st.binary(max_size=200).map(lambda b: b.decode("latin-1")))
def test_no_text_breaks_the_reader(frame: str) -> None:
    with pytest.raises(wire.Malformed):
        wire.decode(frame)


@given(st.sampled_from(sorted(SAMPLES)), st.data())
def test_a_field_of_another_kind_is_refused(type: str, data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(sorted(SAMPLES[type])))
    value = data.draw(st.none() | st.lists(st.none(), min_size=1) | st.just({"?": None}) | st.just("\x00"))
    with pytest.raises(wire.Malformed):
        wire.decode(json.dumps({"v": 1, "type": type, **SAMPLES[type], name: value}))


def test_words_travel_as_base64() -> None:
    words = np.array([0, 1, 2**64 - 1], np.uint64)
    assert (wire.unpack(wire.pack(words)) == words).all()
    with pytest.raises(wire.Malformed, match="8 bytes"):
        wire.unpack("AAAA")


def test_the_document_names_every_message_and_field() -> None:
    text = (Path(__file__).parents[3] / "docs" / "agents.md").read_text(encoding="utf-8")
    for type, fields in wire.MESSAGES.items():
        assert f"`{type}`" in text
        for name in fields:
            assert f"`{name.rstrip('?')}`" in text, f"{type}.{name}"
