"""The contract of the store: atomic batches, verdicts on duplicates, order, and durability."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from adapters.ports import Direction
from datamodels import Quality, Quantity, Telemetry
from interop.store import (
    Again,
    AlreadyHandled,
    Answer,
    Batch,
    Document,
    Event,
    InboxEntry,
    InboxMark,
    InboxState,
    OutboxEntry,
    OutboxMark,
    OutboxState,
    Reader,
    Seen,
    Store,
    StoreError,
    StoreLocked,
    StoreUnavailable,
    Taken,
)

NOW = datetime(2026, 5, 20, 10, 0, tzinfo=UTC)


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    store = await Store.open(tmp_path)
    yield store
    await store.close()


def digest(raw: bytes) -> bytes:
    return sha256(raw).digest()


def take(seq: int, message_id: str | None = "m1", raw: bytes = b"one", peer: str = "dso", **more: Any) -> Batch:
    """A batch that takes in a message, undecided unless there is a mark."""
    conflict, mark = more.pop("conflict", False), more.pop("mark", None)
    at = more.pop("at", NOW)
    entry = InboxEntry("uftp", peer, "FlexRequest", raw, at, message_id, "c1", digest=digest(raw), **more)
    return Batch(taken=(Taken(seq, entry, conflict, mark),))


def out(message_id: str, conversation: str = "c1", peer: str = "dso", **more: Any) -> OutboxEntry:
    return OutboxEntry("uftp", peer, message_id, conversation, "FlexOffer", b"body", NOW, more.pop("wall", 0.0), **more)


async def test_a_message_is_taken_once_under_an_identity_and_content(store: Store) -> None:
    await store.commit(take(1))
    with pytest.raises(AlreadyHandled, match="m1 of dso"):
        await store.commit(take(2))
    assert store.seen("uftp", "dso", "m1") == [Seen(1, digest(b"one"), conflict=False)]
    assert [row.raw for row in await store.unprocessed()] == [b"one"]
    assert store.last_taken() == 1


async def test_messages_that_contradict_it_are_kept_apart_each_once(store: Store) -> None:
    await store.commit(take(1))
    for seq, raw in ((2, b"two"), (3, b"three")):
        await store.commit(take(seq, raw=raw, conflict=True))
    with pytest.raises(AlreadyHandled):
        await store.commit(take(4, raw=b"two", conflict=True))
    assert [(row.seq, row.conflict) for row in store.seen("uftp", "dso", "m1")] == [(1, False), (2, True), (3, True)]
    assert [(row.raw, row.conflict) for row in await store.unprocessed()] == [
        (b"one", False),
        (b"two", True),
        (b"three", True),
    ]


async def test_ids_of_different_peers_and_messages_without_id_never_collide(store: Store) -> None:
    for batch in (take(1), take(2, peer="other"), take(3, None), take(4, None)):
        await store.commit(batch)
    assert store.seen("uftp", "nobody", "m1") == []
    assert store.last_taken() == 4


async def test_what_cannot_be_taken_takes_the_rest_of_its_batch_with_it(store: Store) -> None:
    await store.commit(take(1))
    with pytest.raises(AlreadyHandled):
        await store.commit(replace(take(2), documents=(Document("a", "k", "1", {"v": 2}),), events=(Event("x", NOW),)))
    assert await store.documents("a") == []
    assert await store.events() == []


async def test_a_row_can_be_written_as_it_ended(store: Store) -> None:
    event = Event("message.in", NOW, {"n": 1})
    mark = InboxMark(1, InboxState.DONE, "", "FlexRequest2", {"x": 1}, True, ("r",), event)
    await store.commit(take(1, mark=mark))
    assert await store.unprocessed() == []
    (row,) = await store.messages()
    assert (row.state, row.kind, row.message, row.accepted, row.reasons) == (
        "DONE",
        "FlexRequest2",
        {"x": 1},
        True,
        ("r",),
    )
    assert [e.data for e in await store.events()] == [{"n": 1}]


async def test_what_comes_again_has_the_answer_to_that_very_message_sent_again(store: Store) -> None:
    await store.commit(take(1))
    await store.commit(take(2, raw=b"two", conflict=True))
    answers = (out("yes", answers="m1", cause=1), out("no", answers="m1", cause=2), out("offer"))
    await store.commit(Batch(outbox=answers))
    delivered = tuple(OutboxMark(id, OutboxState.DELIVERED, 1, 1.0, 1.0) for id in ("yes", "no", "offer"))
    await store.commit(Batch(tries=delivered))
    assert (await store.commit(Batch(again=(Again(1, "uftp", "dso", "m1", 5.0),)))).requeued == 1
    assert [row.message_id for row in await store.due(5.0)] == ["yes"]
    assert (await store.commit(Batch(again=(Again(2, "uftp", "dso", "m1", 5.0),)))).requeued == 1
    assert (await store.counts())["outbox"] == {"PENDING": 2, "DELIVERED": 1, "DEAD": 0}


async def test_a_row_is_handled_once_and_the_second_batch_is_undone_whole(store: Store) -> None:
    await store.commit(take(1))
    mark = InboxMark(1, InboxState.DONE, message={"x": 1}, accepted=True, reasons=("r",))
    await store.commit(Batch(marks=(mark,)))
    with pytest.raises(AlreadyHandled):
        await store.commit(Batch(documents=(Document("a", "k", "1", 1),), marks=(mark,), events=(Event("x", NOW),)))
    assert await store.documents("a") == []
    assert await store.events() == []
    (row,) = await store.messages()
    assert (row.state, row.message, row.accepted, row.reasons) == ("DONE", {"x": 1}, True, ("r",))


async def test_a_bad_batch_does_not_harm_the_others_of_its_group(store: Store) -> None:
    bad = Batch(documents=(Document("a", "bad", "1", 1),), marks=(InboxMark(99, InboxState.DONE),))
    good = [Batch(documents=(Document("a", "good", str(n), n),)) for n in range(20)]
    results = await asyncio.gather(*(store.commit(b) for b in [*good[:10], bad, *good[10:]]), return_exceptions=True)
    assert [type(r) for r in results if isinstance(r, Exception)] == [AlreadyHandled]
    assert [d.value for d in await store.documents("a")] == list(range(20))


async def test_waiting_batches_share_a_commit(tmp_path: Path) -> None:
    groups: list[int] = []
    store = await Store.open(tmp_path, groups.append)
    try:
        await asyncio.gather(*(store.commit(take(n + 1, str(n))) for n in range(300)))
    finally:
        await store.close()
    assert sum(groups) == 300
    assert max(groups) > 1


async def test_documents_keep_their_place_are_replaced_and_deleted(store: Store) -> None:
    await store.commit(Batch(documents=tuple(Document("a", "k", key, {"n": key}) for key in "zyx")))
    await store.commit(Batch(documents=(Document("a", "k", "z", {"n": "new"}), Document("a", "k", "y", None))))
    await store.commit(Batch(documents=(Document("a", "other", "q", 0), Document("b", "k", "z", "elsewhere"))))
    assert [(d.key, d.value) for d in await store.documents("a", "k")] == [("z", {"n": "new"}), ("x", {"n": "x"})]
    assert [d.key for d in await store.documents("a")] == ["z", "x", "q"]


async def test_a_message_is_queued_once_and_logged_once(store: Store) -> None:
    entries = [out("o1", event=Event("message.out", NOW, {"n": n})) for n in (1, 2)]
    assert (await store.commit(Batch(outbox=(entries[0],)))).queued == {"o1": 1}
    assert (await store.commit(Batch(outbox=(entries[1],)))).queued == {}
    assert [e.data for e in await store.events()] == [{"n": 1}]


async def test_only_the_oldest_pending_message_of_a_conversation_is_due(store: Store) -> None:
    await store.commit(Batch(outbox=(out("a1"), out("a2"), out("b1", "c2"), out("x1", peer="other"))))
    assert [r.message_id for r in await store.due(1.0)] == ["a1", "b1", "x1"]
    later = OutboxMark("a1", OutboxState.PENDING, 1, 1.0, 50.0, "503")
    await store.commit(Batch(tries=(later, OutboxMark("b1", OutboxState.DELIVERED, 1, 1.0, 1.0))))
    assert [r.message_id for r in await store.due(1.0)] == ["x1"]
    await store.commit(Batch(tries=(OutboxMark("x1", OutboxState.DEAD, 1, 1.0, 1.0),)))
    assert await store.next_due() == 50.0
    await store.hasten("dso", 7.0)
    (row,) = await store.due(7.0)
    assert (row.message_id, row.attempts, row.reason) == ("a1", 1, "503")


async def test_messages_of_a_conversation_come_in_order_of_time(store: Store) -> None:
    await store.commit(take(1, at=NOW))
    await store.commit(Batch(outbox=(OutboxEntry("uftp", "dso", "o1", "c1", "Offer", b"o", NOW + timedelta(1), 0),)))
    await store.commit(take(2, "m2", b"two", at=NOW + timedelta(2)))
    await store.commit(Batch(answers=(Answer("o1", accepted=False, reasons=("too late",)),)))
    rows = await store.messages("c1")
    assert [(r.direction, r.message_id) for r in rows] == [
        (Direction.IN, "m1"),
        (Direction.OUT, "o1"),
        (Direction.IN, "m2"),
    ]
    assert (rows[1].accepted, rows[1].reasons) == (False, ("too late",))
    assert [r.message_id for r in await store.messages(limit=2)] == ["o1", "m2"]
    assert await store.messages("c9") == []
    assert [r.raw for r in await store.message("m2")] == [b"two"]


async def test_events_can_be_read_on_and_chosen_by_kind(store: Store) -> None:
    await store.commit(Batch(events=tuple(Event("ab"[n % 2], NOW, {"n": n}) for n in range(6))))
    assert [e.seq for e in await store.events(after=4)] == [5, 6]
    assert [e.data["n"] for e in await store.events(kinds=("b",))] == [1, 3, 5]
    assert [e.seq for e in await store.latest_events(2, ("a",))] == [3, 5]


async def test_telemetry_is_kept_in_order_and_replaced(store: Store) -> None:
    samples = [
        Telemetry("pv1", Quantity.POWER_W, NOW + timedelta(seconds=n), -float(n), 1.0, Quality.GOOD) for n in (2, 0, 1)
    ]
    await store.record([*samples, Telemetry("pv1", Quantity.VOLTAGE_V, NOW, 230.0)])
    await store.record([Telemetry("pv1", Quantity.POWER_W, NOW, -9.0, 1.0, Quality.UNCERTAIN)])
    found = await store.telemetry("pv1", Quantity.POWER_W, NOW, NOW + timedelta(seconds=2))
    assert [(s.at, s.value, s.quality) for s in found] == [
        (NOW, -9.0, Quality.UNCERTAIN),
        (NOW + timedelta(seconds=1), -1.0, Quality.GOOD),
    ]


async def test_everything_is_there_after_a_restart(tmp_path: Path) -> None:
    store = await Store.open(tmp_path)
    await store.commit(replace(take(1, content={"$": "x"}), documents=(Document("a", "k", "1", [1, "ä"]),)))
    await store.counts()
    await store.close()
    await store.close()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["gridparley.db", "lock", "telemetry.db"]
    with pytest.raises(StoreUnavailable, match="closed"):
        await store.counts()
    with pytest.raises(StoreUnavailable, match="closed"):
        await store.commit(take(2, "m2"))
    again = await Store.open(tmp_path)
    assert [row.content for row in await again.unprocessed()] == [{"$": "x"}]
    assert [d.value for d in await again.documents("a")] == [[1, "ä"]]
    await again.close()


async def test_one_process_owns_a_data_directory(store: Store, tmp_path: Path) -> None:
    with pytest.raises(StoreLocked, match="in use"):
        await Store.open(tmp_path)
    await store.commit(take(1))


async def test_a_data_directory_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StoreUnavailable, match="file"):
        await Store.open(tmp_path / "file" / "data")
    (tmp_path / "gridparley.db").write_bytes(b"this is no database, whatever its name says" * 100)
    with pytest.raises(StoreUnavailable, match="not a database"):
        await Store.open(tmp_path)


async def test_a_full_disk_refuses_writes_and_recovers_by_itself(store: Store) -> None:
    pages = await store._main.submit(lambda c: c.execute("PRAGMA page_count").fetchone()[0])
    await store._main.submit(lambda c: c.execute(f"PRAGMA max_page_count = {pages + 2}").fetchone())
    big = take(1, "big", b"x" * 100_000)
    with pytest.raises(StoreUnavailable, match="full"):
        await store.commit(big)
    assert (await store.counts())["inbox"]["NEW"] == 0
    await store._main.submit(lambda c: c.execute("PRAGMA max_page_count = 1000000").fetchone())
    await store.commit(big)
    assert store.last_taken() == 1


async def test_a_backup_is_complete_while_writing_goes_on(store: Store, tmp_path: Path) -> None:
    await store.commit(replace(take(1), events=(Event("x", NOW),)))
    writing = asyncio.gather(*(store.commit(take(n + 2, f"n{n}")) for n in range(50)))
    await store.backup(tmp_path / "copy")
    await writing
    with pytest.raises(FileExistsError):
        await store.backup(tmp_path / "copy")
    reader = Reader(tmp_path / "copy")
    assert next(row.message_id for row in reader.unprocessed()) == "m1"
    assert reader.verify_chain().intact
    reader.close()


def test_reading_where_there_is_nothing_says_so(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="no database"):
        Reader(tmp_path)
