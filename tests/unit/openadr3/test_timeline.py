"""When an event's values hold."""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import islice
from typing import Any

import pytest
from support import openadr3 as kit

from adapters.openadr3 import model, timeline
from adapters.openadr3.codec import encode, request
from adapters.openadr3.lexical import DateTime, Duration, instant, span
from adapters.openadr3.members import Version, Wire
from adapters.openadr3.timeline import expand

NOW = datetime(2026, 11, 22, 6, tzinfo=UTC)
PRICE = {"id": 0, "payloads": [{"type": "PRICE", "values": [1]}]}


def _event(body: Any) -> model.Event:
    event = kit.read(request(model.Event, Version.V310), {"programID": "p"} | body)
    assert isinstance(event, model.Event)
    return event


def test_expansion_vectors() -> None:
    vectors = kit.vector("interval-expansion.json")
    now = DateTime.read(vectors["now"]).instant
    assert now is not None
    for case in vectors["cases"]:
        rows = [
            {
                "intervalId": row.interval_id,
                "start": instant(row.start),
                "end": None if row.end is None else instant(row.end),
                "value": [_plain(v) for v in row.value] if isinstance(row.value, tuple) else row.value,
                "payloadType": row.payload_type,
            }
            for row in expand(_event(case["event"]), now)
        ]
        assert rows == case["expanded"], case["id"]


def test_a_loop_without_an_end_is_laid_out_as_far_as_it_is_read() -> None:
    event = _event({"duration": "P9999Y", "intervalPeriod": {"duration": "PT1H"}, "intervals": [PRICE]})
    rows = list(islice(expand(event, NOW), 1000))
    assert rows[-1].start == NOW.replace(day=22) + 999 * (rows[1].start - rows[0].start)


def test_a_loop_without_an_end_ends_at_the_most_that_is_laid_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timeline, "MOST_ROWS", 10)
    event = _event({"duration": "P9999Y", "intervalPeriod": {"duration": "PT1H"}, "intervals": [PRICE]})
    assert len(list(expand(event, NOW))) == 10


def test_intervals_after_one_without_an_end_say_nothing() -> None:
    event = _event({"intervalPeriod": {"duration": "P9999Y"}, "intervals": [PRICE, PRICE]})
    assert [row.end for row in expand(event, NOW)] == [None]


def test_texts_are_not_spread_over_an_interval() -> None:
    alert = {"id": 0, "payloads": [{"type": "X", "values": ["a", "b"]}]}
    rows = list(expand(_event({"intervalPeriod": {"duration": "PT1H"}, "intervals": [alert]}), NOW))
    assert [(row.start, row.value) for row in rows] == [(NOW, "a"), (NOW, "b")]


@pytest.mark.parametrize("text", ["PT15M", "PT1H30M", "P1D", "PT0S", "PT0.5S", "PT2H", "PT26H"])
def test_lengths_are_written_as_they_are_read(text: str) -> None:
    fixed = Duration.read(text).fixed
    assert fixed is not None
    assert Duration.read(span(fixed)).fixed == fixed


def test_months_follow_the_calendar() -> None:
    assert Duration.read("P1M").after(datetime(2026, 1, 31, tzinfo=UTC)) == datetime(2026, 2, 28, tzinfo=UTC)
    assert Duration.read("P1M").fixed is None
    assert Duration.read("P9999Y").after(NOW) is None
    assert Duration.read("P9999999999999D").is_endless


def _plain(value: Any) -> Any:
    return encode(value, Version.V310) if isinstance(value, Wire) else value
