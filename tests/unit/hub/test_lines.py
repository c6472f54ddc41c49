"""Lines of the outbox in memory: order within a line, room, retries, and what is left to the store."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

from interop.lines import Lines
from interop.store import OutboxRow, OutboxState


def row(seq: int, line: str = "a", wall: float = 0.0, peer: str = "p") -> OutboxRow:
    at = datetime(2026, 1, 1, tzinfo=UTC)
    return OutboxRow(seq, "uftp", peer, f"m{seq}", line, "X", b"", at, 0, 0.0, wall, OutboxState.PENDING, "")


def seqs(lines: Lines, now: float = 10.0, most: int = 99) -> list[int]:
    return [taken.seq for taken in lines.take(now, lambda peer: lines.busy() < most)]


def test_only_the_head_of_a_line_is_taken_and_the_next_follows_it() -> None:
    lines = Lines(10)
    lines.reset([row(1), row(2), row(3, "b")], complete=True)
    assert lines.add(row(4, "b"))
    assert seqs(lines) == [1, 3]
    assert seqs(lines) == []
    lines.end(row(3, "b"))
    assert seqs(lines) == [4]
    lines.end(row(1))
    assert seqs(lines) == [2]
    lines.end(row(2))
    lines.end(row(4, "b"))
    assert (lines.busy(), lines.next_wall) == (0, None)


def test_a_head_that_must_wait_holds_up_its_line_and_no_other() -> None:
    lines = Lines(10)
    lines.reset([row(1), row(2), row(3, "b")], complete=True)
    assert seqs(lines) == [1, 3]
    lines.end(row(1), replace(row(1), next_wall=20.0, attempts=1))
    lines.end(row(3, "b"))
    assert seqs(lines) == []
    assert lines.next_wall == 20.0
    (again,) = lines.take(20.0, lambda peer: True)
    assert (again.seq, again.attempts) == (1, 1)


def test_what_finds_no_room_is_taken_later() -> None:
    lines = Lines(10)
    lines.reset([row(n, f"c{n}") for n in (1, 2, 3)], complete=True)
    assert seqs(lines, most=2) == [1, 2]
    lines.end(row(1, "c1"))
    assert seqs(lines, most=2) == [3]


def test_a_reset_leaves_what_is_being_tried_alone() -> None:
    lines = Lines(10)
    lines.reset([row(1), row(2)], complete=True)
    assert seqs(lines) == [1]
    lines.reset([row(1), row(2)], complete=True)
    assert seqs(lines) == []
    lines.end(row(1))
    assert seqs(lines) == [2]


def test_more_than_fits_is_left_to_the_store() -> None:
    lines = Lines(2)
    assert not lines.add(row(1)), "the store has not been asked yet"
    lines.reset([row(1)], complete=True)
    assert lines.add(row(2))
    assert not lines.add(row(3))
    assert not lines.complete
    lines.reset([row(1)], complete=False)
    assert not lines.add(row(4))
