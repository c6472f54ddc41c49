import asyncio
import json
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from adapters.clock import Anchor, FileClock, SystemClock

MARKET = datetime(2016, 5, 20, tzinfo=UTC)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "clock.json"
    Anchor(time.time(), MARKET, 900.0).write(path)
    return path


def test_one_wall_second_is_a_quarter_of_an_hour(path: Path) -> None:
    clock, anchor = FileClock(path), Anchor.read(path)
    instant = datetime.fromtimestamp(anchor.wall + 1, UTC)
    assert abs(clock.from_wall(instant) - (MARKET + timedelta(minutes=15))) < timedelta(milliseconds=1)
    assert clock.rate == 900.0
    assert MARKET <= clock.now() < MARKET + timedelta(hours=2)


@pytest.mark.parametrize("days", [-400, -1, 0, 0.3, 400])
def test_to_wall_and_from_wall_are_inverse(path: Path, days: float) -> None:
    clock = FileClock(path)
    instant = MARKET + timedelta(days=days)
    assert abs(clock.from_wall(clock.to_wall(instant)) - instant) < timedelta(milliseconds=2)  # 900 x 1 us, rounded
    wall = datetime.now(UTC) + timedelta(days=days)
    assert abs(clock.to_wall(clock.from_wall(wall)) - wall) < timedelta(microseconds=5)


def test_market_time_is_utc_whatever_the_file_says(path: Path) -> None:
    path.write_text(json.dumps({"wall": time.time(), "market": "2016-05-20T02:00:00+02:00", "rate": 1}))
    clock = FileClock(path)
    assert clock.now().utcoffset() == timedelta(0)
    assert abs(clock.now() - MARKET) < timedelta(seconds=30)


async def test_a_new_anchor_is_followed(path: Path) -> None:
    clock = FileClock(path)
    moved = MARKET + timedelta(days=1000)
    for step in range(3):  # also when anchors follow each other within one tick of the file system's clock
        Anchor(time.time(), moved + timedelta(days=step), 2.0).write(path)
    await asyncio.sleep(0.03)
    assert clock.now() >= moved + timedelta(days=2)
    assert clock.rate == 2.0


async def test_sleep_returns_when_the_clock_jumps(path: Path) -> None:
    Anchor(time.time(), MARKET, 1.0).write(path)
    clock = FileClock(path)
    waiting = asyncio.create_task(clock.sleep_until(MARKET + timedelta(days=1)))
    await asyncio.sleep(0.06)
    assert not waiting.done()
    Anchor(time.time(), MARKET + timedelta(days=2), 1.0).write(path)
    await asyncio.wait_for(waiting, 5)


async def test_sleep_ends_at_the_instant_not_before(path: Path) -> None:
    clocks = (FileClock(path), SystemClock())
    for clock in clocks:
        instant = clock.now() + timedelta(seconds=0.05 * clock.rate)
        await clock.sleep_until(instant)
        assert clock.now() >= instant
        await clock.sleep_until(instant)  # in the past: at once


def test_the_system_clock_is_wall_time() -> None:
    clock, now = SystemClock(), datetime.now(UTC)
    assert (clock.rate, clock.to_wall(now), clock.from_wall(now)) == (1.0, now, now)
    assert abs(clock.now() - now) < timedelta(seconds=30)


def test_an_impossible_anchor_is_refused() -> None:
    with pytest.raises(ValueError, match="has no zone"):
        Anchor(0.0, MARKET.replace(tzinfo=None), 1.0)
    for rate in (0.0, -1.0, float("nan"), float("inf")):
        with pytest.raises(ValueError, match="cannot run"):
            Anchor(0.0, MARKET, rate)


def test_a_clock_without_a_file_does_not_start(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        FileClock(tmp_path / "absent.json")


def test_writing_leaves_no_partial_file(path: Path) -> None:
    Anchor(time.time(), MARKET, 1.0).write(path)
    assert [p.name for p in path.parent.iterdir()] == ["clock.json"]
