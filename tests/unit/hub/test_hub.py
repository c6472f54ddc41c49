"""The hub: durable before acknowledged, decided once, in order, and nothing out before it is committed."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from datetime import timedelta
from decimal import Decimal
from hashlib import sha256
from typing import Any

import pytest

from adapters.ports import Change, Delivery, DeliveryStatus, Direction, ReceiptStatus, Received
from datamodels import (
    DispatchStatus,
    DispatchUpdate,
    GridSignal,
    Quantity,
    SignalInterval,
    SignalKind,
    Telemetry,
)
from interop.effects import Alarm, Instruct, Log, Put, Remove, Send
from interop.step import Undeliverable
from interop.store import Batch, InboxEntry, InboxState, StoreUnavailable, Taken

Begin = Callable[..., Awaitable[Any]]


async def test_a_message_is_decided_answered_and_dispatched(begin: Begin, kit: Any) -> None:
    world = await begin()
    with world.feed.subscribe() as seen:
        receipt = await world.hub.receive(kit.incoming("m1"))
        assert receipt.status is ReceiptStatus.NEW
        await world.quiet()
        topics = [(await anext(seen)) for _ in range(3)]
    assert world.messenger.delivered == ["re-m1"]
    assert world.actuator.applied == [("d-m1", 0)]
    assert [(t, d.get("direction")) for t, d in topics if t == "message"] == [("message", "in"), ("message", "out")]
    (first, second) = await world.store.messages("c1")
    assert (first.direction, first.accepted, first.state) == (Direction.IN, True, "DONE")
    assert (second.direction, second.kind, second.state) == (Direction.OUT, "OfferRevocationResponse", "DELIVERED")
    kinds = await world.kinds()
    assert kinds[:4] == ["message.in", "message.out", "counted", "dispatch.instructed"]
    assert "message.delivered" in kinds


async def test_an_invalid_message_is_answered_with_its_reasons_and_recorded_as_rejected(begin: Begin, kit: Any) -> None:
    world = await begin()
    await world.hub.receive(kit.incoming("m1", offer="bad"))
    await world.quiet()
    (row, _) = await world.store.messages("c1")
    assert (row.accepted, row.reasons) == (False, ("Bad offer",))
    assert world.desk.count == 0


async def test_a_duplicate_gets_the_stored_answer_byte_for_byte_and_has_no_effect(begin: Begin, kit: Any) -> None:
    world = await begin()
    for _ in range(3):
        await world.hub.receive(kit.incoming("m1"))
        await world.quiet()
    assert world.desk.count == 1
    assert len(world.messenger.tried) == 3
    assert len(set(world.messenger.tried)) == 1
    assert len(world.actuator.applied) == 1


async def test_a_conflict_is_alarmed_answered_and_changes_nothing(begin: Begin, kit: Any) -> None:
    world = await begin()
    await world.hub.receive(kit.incoming("m1"))
    receipt = await world.hub.receive(kit.incoming("m1", offer="o2"))
    await world.quiet()
    assert receipt.status is ReceiptStatus.CONFLICT
    assert world.desk.count == 1
    assert world.messenger.delivered == ["re-m1", "no-m1"]
    alarms = await world.store.events(kinds=("alarm",))
    assert [a.data["rule"] for a in alarms] == ["inbox.conflict"]
    (row,) = [m for m in await world.store.message("m1") if m.accepted is False]
    assert row.state == "DONE"


async def test_messages_are_decided_strictly_in_order(begin: Begin, kit: Any) -> None:
    world = await begin(run=False)
    ids = [f"m{n}" for n in range(30)]
    await asyncio.gather(*(world.hub.receive(kit.incoming(id, f"c{id}")) for id in ids))
    assert [id for what, id in world.desk.events if what == "message"] == ids
    rows = [row.message_id for row in await world.store.messages() if row.direction is Direction.IN]
    assert rows == ids


async def test_what_lies_in_the_inbox_undecided_goes_before_what_comes(begin: Begin, kit: Any) -> None:
    world = await begin(run=False)
    old = kit.incoming("m1")
    entry = InboxEntry("wire", kit.PEER, old.kind, old.raw, kit.NOW, "m1", "c1", digest=sha256(old.raw).digest())
    await world.store.commit(Batch(taken=(Taken(1, entry),)))
    await world.end()
    again = await begin(run=False)
    assert not again.hub.healthy
    new = asyncio.create_task(again.hub.receive(kit.incoming("m2")))
    await asyncio.sleep(0.05)
    assert again.desk.events == []
    again.hub.start()
    assert (await new).status is ReceiptStatus.NEW
    await again.quiet()
    assert [id for what, id in again.desk.events if what == "message"] == ["m1", "m2"]
    assert (await again.hub.receive(old)).status is ReceiptStatus.DUPLICATE
    await again.quiet()
    assert again.messenger.delivered == ["re-m1", "re-m2", "re-m1"]


async def test_what_comes_twice_at_once_is_taken_once(begin: Begin, kit: Any) -> None:
    world = await begin()
    comes = [kit.incoming("m1"), kit.incoming("m1"), kit.incoming("m1", offer="o2"), kit.incoming("m1", offer="o2")]
    receipts = await asyncio.gather(*map(world.hub.receive, comes))
    new, twice, other = ReceiptStatus.NEW, ReceiptStatus.DUPLICATE, ReceiptStatus.CONFLICT
    assert [receipt.status for receipt in receipts] == [new, twice, other, other]
    await world.quiet()
    assert world.desk.count == 1
    assert set(world.messenger.delivered) == {"re-m1", "no-m1"}
    assert [row.state for row in await world.store.message("m1")] == ["DONE", "DONE"]


async def test_state_of_the_desk_and_open_dispatches_survive_a_restart(begin: Begin, kit: Any) -> None:
    world = await begin()
    await world.hub.receive(kit.incoming("m1"))
    await world.quiet()
    await world.end()
    again = await begin()
    await again.hub.receive(kit.incoming("m2"))
    await again.quiet()
    await _until(lambda: len(again.actuator.applied) == 2)
    assert again.desk.count == 2
    assert again.actuator.applied == [("d-m1", 0), ("d-m2", 0)], "an open dispatch is applied again, once instructed"
    instructed = await again.store.events(kinds=("dispatch.instructed",))
    assert [e.data["dispatch"] for e in instructed] == ["d-m1", "d-m2"]


@pytest.mark.parametrize("offer", ["bug", "crash"])
async def test_a_bug_fails_one_message_and_the_desk_starts_over_from_what_is_durable(
    begin: Begin, kit: Any, offer: str
) -> None:
    world = await begin()
    for id, what in (("m1", "o1"), ("m2", offer), ("m3", "o1")):
        await world.hub.receive(kit.incoming(id, offer=what))
    await world.quiet()
    assert world.desk.count == 2, "what the failing message had changed in memory is gone"
    (failed,) = await world.store.message("m2")
    assert failed.state == InboxState.FAILED
    assert "bug" in failed.reason
    assert [e.data["rule"] for e in await world.store.events(kinds=("alarm",))] == ["hub.failed"]
    assert world.hub.healthy


async def test_an_answer_from_the_peer_is_noted_at_our_message(begin: Begin, kit: Any) -> None:
    world = await begin()
    await world.hub.do([Send(kit.outgoing("ours"))])
    answer = kit.Acknowledgement(kit.head("a1"), "ours", "OfferRevocation", False, ("too late",))
    raw = kit.dumps(answer).encode()
    await world.hub.receive(Received("wire", kit.PEER, "Response", raw, "a1", "c1"))
    await world.quiet()
    ours, theirs = await world.store.messages("c1")
    assert (ours.accepted, ours.reasons) == (False, ("too late",))
    assert (theirs.accepted, theirs.reasons) == (False, ("too late",))


async def test_adapter_documents_are_written_with_the_message_or_not_at_all(begin: Begin, kit: Any) -> None:
    world = await begin()
    state = await world.hub.state("wire")
    await world.hub.receive(kit.incoming("m1"), [Change("nonce", "n1", {"seen": 1})])
    await world.hub.receive(kit.incoming("m1"), [Change("nonce", "n1", {"seen": 2})])
    await state.commit(Change("reg", "r1", {"x": 1}), Change("reg", "r2", {"x": 2}), Change("reg", "r1", None))
    assert state.load("nonce") == {"n1": {"seen": 1}}
    assert state.load("reg") == {"r2": {"x": 2}}
    await world.end()
    again = await begin()
    assert (await again.hub.state("wire")).load("nonce") == {"n1": {"seen": 1}}
    assert (await again.hub.state("other")).load("nonce") == {}


# --- signals, updates, telemetry ----------------------------------------------------------------------------------


def _signal(kit: Any) -> GridSignal:
    interval = SignalInterval(kit.NOW, timedelta(minutes=15), Decimal("4000"))
    return GridSignal("s1", "utility", SignalKind.IMPORT_LIMIT, (interval,))


async def test_a_signal_reaches_the_desk_once_even_after_a_restart(begin: Begin, kit: Any) -> None:
    world = await begin(run=False)
    received = Received("scada", "utility", "oadrDistributeEvent", b"<xml/>", "r1", content=_signal(kit))
    await world.hub.receive(received)
    assert world.desk.events == [("signal", "s1")]
    await world.end()
    again = await begin()
    await again.hub.receive(received)
    await again.quiet()
    assert again.desk.events == []
    (stored,) = await again.store.documents("market", "signal")
    assert kit.loads(kit.dumps(_signal(kit))) == _signal(kit)
    assert stored.value["$"] == "GridSignal"


async def test_news_of_a_dispatch_follows_its_life_cycle(begin: Begin, kit: Any) -> None:
    world = await begin()
    world.actuator.hub = None
    await world.hub.do([Instruct(kit.dispatch())])
    await world.quiet()
    told = [
        ("d1", 0, DispatchStatus.ACCEPTED),
        ("d1", 0, DispatchStatus.ACCEPTED),
        ("d1", 1, DispatchStatus.STARTED),
        ("d9", 0, DispatchStatus.STARTED),
        ("d1", 0, DispatchStatus.SUCCEEDED),
        ("d1", 0, DispatchStatus.STARTED),
    ]
    for id, revision, status in told:
        await world.hub.dispatch_update(DispatchUpdate(id, revision, status, kit.NOW, "why"))
    assert world.desk.events == [
        ("update", ("d1", DispatchStatus.ACCEPTED)),
        ("update", ("d1", DispatchStatus.SUCCEEDED)),
    ]
    assert [e.data["status"] for e in await world.store.events(kinds=("dispatch.update",))] == ["ACCEPTED", "SUCCEEDED"]


async def test_news_that_comes_as_a_message_is_taken_once(begin: Begin, kit: Any) -> None:
    world = await begin()
    world.actuator.hub = None
    await world.hub.do([Instruct(kit.dispatch())])
    update = DispatchUpdate("d1", 0, DispatchStatus.REJECTED, kit.NOW, "optOut")
    for _ in range(2):
        await world.hub.receive(Received("wire", "ven1", "oadrCreateOpt", b"<o/>", "opt1", content=update))
    await world.quiet()
    assert world.hub.dispatcher.records["d1"].status is DispatchStatus.REJECTED
    assert world.desk.events == [("update", ("d1", DispatchStatus.REJECTED))]


async def test_telemetry_is_stored_published_and_told(begin: Begin, kit: Any) -> None:
    world = await begin()
    await world.hub.telemetry([Telemetry("bat1", Quantity.POWER_W, kit.NOW, 42.0)])
    await world.hub.telemetry([])
    assert world.feed.latest("telemetry/bat1/power_w")["value"] == 42.0
    assert world.desk.events == [("telemetry", 1)]
    found = await world.store.telemetry("bat1", Quantity.POWER_W, kit.NOW, kit.NOW + timedelta(seconds=1))
    assert [s.value for s in found] == [42.0]


# --- own initiative -----------------------------------------------------------------------------------------------


async def test_effects_are_durable_when_do_returns(begin: Begin, kit: Any) -> None:
    world = await begin(run=False)
    await world.hub.do([Put("a", "1", 5), Put("a", "2", 6), Remove("a", "1"), Log("hello", {"who": "you"})])
    await world.hub.do([])
    assert [(d.key, d.value) for d in await world.store.documents("market", "a")] == [("2", 6)]
    assert [(e.kind, e.data) for e in await world.store.events()] == [("hello", {"who": "you"})]


async def test_sending_the_same_message_again_has_no_effect(begin: Begin, kit: Any) -> None:
    world = await begin()
    for _ in range(3):
        await world.hub.do([Send(kit.outgoing("ours"))])
        await world.quiet()
    assert world.messenger.delivered == ["ours"]
    assert (await world.kinds()).count("message.out") == 1


async def test_a_message_to_nobody_is_refused_and_nothing_of_it_happens(begin: Begin, kit: Any) -> None:
    world = await begin()
    with pytest.raises(Undeliverable, match=r"nobody\.example.*peer add"):
        await world.hub.do([Put("a", "1", 5), Send(kit.outgoing("ours", recipient="nobody.example"))])
    assert await world.store.documents("market", "a") == []
    await world.hub.do([Send(kit.outgoing("ours"))])


async def test_a_dead_letter_is_alarmed_and_told_in_one_transaction(begin: Begin, kit: Any) -> None:
    world = await begin()
    world.messenger.answers = [Delivery(DeliveryStatus.PERMANENT, 410, "gone")]
    await world.hub.do([Send(kit.outgoing("ours"))])
    await world.quiet()
    assert world.desk.events == [("undeliverable", ("ours", "410 gone"))]
    assert [d.value for d in await world.store.documents("market", "dead")] == ["410 gone"]
    assert [e.kind for e in await world.store.events()] == ["message.out", "message.dead", "alarm"]


async def test_writing_is_tried_until_it_works_and_readiness_shows_it(
    begin: Begin, kit: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = await begin()
    commit, failures = world.store.commit, 2

    async def failing(batch: Batch) -> Any:
        nonlocal failures
        if failures:
            failures -= 1
            raise StoreUnavailable("disk full")
        return await commit(batch)

    monkeypatch.setattr(world.store, "commit", failing)
    effects = asyncio.create_task(world.hub.do([Send(kit.outgoing("ours"))]))
    await _until(lambda: not world.hub.healthy)
    assert world.feed.latest("alarm")["rule"] == "store.unavailable"
    await effects
    assert world.hub.healthy
    await world.quiet()
    assert world.messenger.delivered == ["ours"]


async def test_a_failed_write_is_no_acknowledgement(begin: Begin, kit: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    world = await begin()

    async def failing(batch: Batch) -> Any:
        raise StoreUnavailable("disk full")

    with monkeypatch.context() as patch:
        patch.setattr(world.store, "commit", failing)
        with pytest.raises(StoreUnavailable):
            await world.hub.receive(kit.incoming("m1"), [Change("nonce", "n1", {})])
        with pytest.raises(StoreUnavailable):
            await world.hub.receive(kit.incoming("m2"))
        assert (await world.hub.state("wire")).load("nonce") == {}
    await _until(lambda: world.hub.healthy)
    decided = [id for what, id in world.desk.events if what == "message"]
    assert decided == ["m1"], "what came while nothing could be written is not decided on"
    # What was decided on before that became known is durable in the end, and its sender hears so when it asks again.
    assert (await world.hub.receive(kit.incoming("m1"))).status is ReceiptStatus.DUPLICATE
    assert (await world.hub.receive(kit.incoming("m2"))).status is ReceiptStatus.NEW
    await world.quiet()
    assert world.messenger.delivered.count("re-m2") == 1


@pytest.mark.parametrize("ticks", range(6))
async def test_a_caller_that_gives_up_leaves_a_message_whole_or_not_at_all(begin: Begin, kit: Any, ticks: int) -> None:
    world = await begin()
    state = await world.hub.state("wire")
    task = asyncio.create_task(world.hub.receive(kit.incoming("m1"), [Change("nonce", "n1", {"seen": 1})]))
    for _ in range(ticks):
        await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await world.hub.do([Log("after")])
    taken = world.desk.count == 1
    assert bool(state.load("nonce")) is taken
    assert bool(await world.store.message("m1")) is taken
    again = await world.hub.receive(kit.incoming("m1"), [Change("nonce", "n1", {"seen": 1})])
    assert again.status is (ReceiptStatus.DUPLICATE if taken else ReceiptStatus.NEW)
    assert world.desk.count == 1


async def test_refusals_are_counted_and_many_of_them_alarm_once(begin: Begin, kit: Any) -> None:
    world = await begin()
    for _ in range(50):
        world.hub.refused("wire", "evil.example", "signature", "does not verify")
    await _until(lambda: world.feed.latest("alarm") is not None)
    assert b'gridparley_refused_total{adapter="wire",rule="signature"} 50.0' in world.hub.metrics.text()
    alarms = await world.store.events(kinds=("alarm",))
    assert [(a.data["rule"], a.data["peer"]) for a in alarms] == [("early_warning", "evil.example")]


async def test_alarms_reach_log_feed_and_event_log(begin: Begin, caplog: pytest.LogCaptureFixture) -> None:
    world = await begin()
    with caplog.at_level(logging.WARNING):
        await world.hub.do([Alarm("test.rule", "dso", "look here")])
    assert "look here" in caplog.text
    assert world.feed.latest("alarm")["message"] == "look here"
    assert [e.kind for e in await world.store.events()] == ["alarm"]


async def _until(condition: Callable[[], bool]) -> None:
    for _ in range(600):
        if condition():
            return
        await asyncio.sleep(0.005)
    raise AssertionError("it did not come true within three seconds")
