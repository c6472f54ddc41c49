"""The outbox relay: pauses, age, order within a conversation, and no peer that holds up another."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from adapters.ports import Delivery, DeliveryStatus
from datamodels import Participant, Role
from interop.effects import Send
from interop.outbox import RetryPolicy, judge
from interop.store import OutboxRow, OutboxState

Begin = Callable[..., Awaitable[Any]]
POLICY = RetryPolicy()
TEMPORARY = Delivery(DeliveryStatus.TEMPORARY, 503, "busy")


def _row(kit: Any) -> OutboxRow:
    state = OutboxState.PENDING
    return OutboxRow(1, "wire", kit.PEER, "o1", "c1", "FlexOffer", b"", kit.NOW, 0, 0.0, 0.0, state, "")


def _life(row: OutboxRow, delivery: Delivery, policy: RetryPolicy) -> list[float]:
    """Wall times of all tries of a message that never gets through, starting at 1000."""
    wall, tries = 1000.0, []
    while True:
        tries.append(wall)
        mark = judge(row, delivery, wall, policy)
        if mark.state is OutboxState.DEAD:
            assert "given up" in mark.reason
            return tries
        row = replace(row, attempts=mark.attempts, first_wall=mark.first_wall, next_wall=mark.next_wall)
        wall = mark.next_wall


def test_pauses_double_from_half_a_second_to_five_minutes_for_more_than_an_hour(kit: Any) -> None:
    tries = _life(_row(kit), TEMPORARY, POLICY)
    pauses = [b - a for a, b in itertools.pairwise(tries)]
    assert pauses[:4] == [0.5, 1.0, 2.0, 4.0]
    assert max(pauses) == 300.0
    assert pauses == sorted(pauses)
    assert tries[-1] - tries[0] >= 3600.0


def test_a_peer_may_ask_for_a_longer_pause_but_not_for_ever(kit: Any) -> None:
    asked = replace(TEMPORARY, retry_after_s=20.0)
    assert judge(_row(kit), asked, 1000.0, POLICY).next_wall == 1020.0
    assert judge(_row(kit), replace(asked, retry_after_s=1e9), 1000.0, POLICY).next_wall == 1300.0
    assert 1000.4 <= judge(_row(kit), TEMPORARY, 1000.0, POLICY, jitter=1.0).next_wall < 1000.5


@pytest.mark.parametrize(
    ("status", "state"),
    [(DeliveryStatus.DELIVERED, OutboxState.DELIVERED), (DeliveryStatus.PERMANENT, OutboxState.DEAD)],
)
def test_delivered_and_refused_for_good_end_at_once(kit: Any, status: DeliveryStatus, state: OutboxState) -> None:
    mark = judge(_row(kit), Delivery(status, 400, "no"), 1000.0, POLICY)
    assert (mark.state, mark.attempts, mark.reason) == (state, 1, "400 no")


async def test_the_same_bytes_are_tried_until_they_get_through(begin: Begin, kit: Any) -> None:
    world = await begin()
    world.messenger.answers = [TEMPORARY, ConnectionError("a bug in the adapter"), TEMPORARY]
    await world.hub.do([Send(kit.outgoing("o1"))])
    await world.quiet()
    assert len(world.messenger.tried) == 4
    assert len(set(world.messenger.tried)) == 1
    (row,) = await world.store.message("o1")
    assert row.state == "DELIVERED"


async def test_later_messages_of_a_conversation_wait_and_other_conversations_do_not(begin: Begin, kit: Any) -> None:
    world = await begin()
    world.messenger.answers = [TEMPORARY]
    await world.hub.do([Send(kit.outgoing("a1")), Send(kit.outgoing("a2")), Send(kit.outgoing("b1", "c2"))])
    await world.quiet()
    order = world.messenger.delivered
    assert order.count("a1") == 2
    assert order.index("a2") > 1
    assert order.index("b1") < order.index("a2")
    assert [i for i in order if i != "b1"] == ["a1", "a1", "a2"]


async def test_a_dead_letter_lets_the_next_one_through(begin: Begin, kit: Any) -> None:
    world = await begin()
    world.messenger.answers = [Delivery(DeliveryStatus.PERMANENT, 400, "bad")]
    await world.hub.do([Send(kit.outgoing("a1")), Send(kit.outgoing("a2"))])
    await world.quiet()
    assert world.messenger.delivered == ["a1", "a2"]
    assert (await world.store.counts())["outbox"] == {"PENDING": 0, "DELIVERED": 1, "DEAD": 1}


async def test_a_peer_that_never_answers_does_not_hold_up_another(begin: Begin, kit: Any) -> None:
    world = await begin(policy=RetryPolicy(at_once=8))
    world.participants["other.org"] = Participant("other.org", Role.DSO)
    world.messenger.gate = asyncio.Event()
    await world.hub.do([Send(kit.outgoing(f"slow{n}", f"c{n}")) for n in range(20)])
    for _ in range(200):
        await asyncio.sleep(0.005)
        if len(world.messenger.tried) >= 2:
            break
    await world.hub.do([Send(kit.outgoing("quick", recipient="other.org"))])
    for _ in range(200):
        await asyncio.sleep(0.005)
        if "quick" in world.messenger.delivered:
            break
    assert "quick" in world.messenger.delivered
    assert len(world.messenger.tried) == 3, "a quarter of the tries at once may go to one peer"
    world.messenger.gate.set()
    await world.quiet()


async def test_hearing_from_a_peer_ends_its_pause(begin: Begin, kit: Any) -> None:
    world = await begin(policy=RetryPolicy(first_s=200.0, longest_s=300.0))
    world.messenger.answers = [TEMPORARY]
    await world.hub.do([Send(kit.outgoing("o1"))])
    for _ in range(200):
        await asyncio.sleep(0.005)
        if (await world.store.message("o1"))[0].reason:
            break
    await world.hub.receive(kit.incoming("m1", "c2"))
    await world.quiet()
    assert sorted(world.messenger.delivered) == ["o1", "o1", "re-m1"]


async def test_a_message_to_a_peer_that_was_removed_is_a_dead_letter(begin: Begin, kit: Any) -> None:
    world = await begin(run=False)
    await world.hub.do([Send(kit.outgoing("o1"))])
    world.participants.clear()
    world.hub.start()
    await world.quiet()
    assert world.desk.events == [("undeliverable", ("o1", f"no participant {kit.PEER}"))]


async def test_stopping_tries_once_more_what_is_due(begin: Begin, kit: Any) -> None:
    world = await begin()
    await world.hub.receive(kit.incoming("m1"))
    await world.end()
    assert world.messenger.delivered == ["re-m1"]


def test_each_kind_of_message_has_its_own_age(kit: Any) -> None:
    """U-11: after the class's time it is given up."""
    policy = RetryPolicy(give_up_s=4000.0, give_up_by_kind={"FlexOffer": 10_000.0, "Metering": 5.0})
    offer, metering = _life(_row(kit), TEMPORARY, policy), _life(replace(_row(kit), kind="Metering"), TEMPORARY, policy)
    other = _life(replace(_row(kit), kind="FlexOrder"), TEMPORARY, policy)
    assert offer[-1] - offer[0] >= 10_000.0
    assert 5.0 <= metering[-1] - metering[0] < 10.0
    assert 4000.0 <= other[-1] - other[0] < 4400.0


def test_a_message_that_has_expired_is_given_up_at_that_very_moment(kit: Any) -> None:
    """U-11: long before its class's time, and not a pause later."""
    row = replace(_row(kit), until_wall=1100.0, attempts=20)
    mark = judge(row, TEMPORARY, 1000.0, POLICY)
    assert (mark.state, mark.next_wall) == (OutboxState.PENDING, 1100.0)
    mark = judge(row, TEMPORARY, 1100.0, POLICY)
    assert mark.state is OutboxState.DEAD
    assert mark.reason.startswith("expired after 21 tries")
    assert judge(row, Delivery(DeliveryStatus.DELIVERED, 200), 1100.0, POLICY).state is OutboxState.DELIVERED


async def test_an_expired_message_goes_back_to_its_owner_without_a_last_try(kit: Any, begin: Begin) -> None:
    """U-11: the desk is told; the peer is not bothered with what it must refuse."""
    world = await begin()
    await world.hub.do([Send(kit.outgoing("late"), world.clock.now())])
    await world.hub.do([Send(kit.outgoing("in time", "c2"), datetime.now(UTC) + timedelta(hours=1))])
    await world.quiet()
    assert world.messenger.delivered == ["in time"]
    ((what, (id, reason)),) = [e for e in world.desk.events if e[0] == "undeliverable"]
    assert (what, id) == ("undeliverable", "late")
    assert reason.startswith("expired")
    assert "message.dead" in await world.kinds()


async def test_more_messages_than_fit_in_memory_all_leave_in_order(
    begin: Callable[..., Awaitable[Any]], kit: Any
) -> None:
    """The store is asked for the rest, seldom, also while some of them must wait for another try."""
    world = await begin(run=False)
    messages = [kit.outgoing(f"m{n}", f"c{n % 150}") for n in range(400)]
    await world.hub.do([Send(message) for message in messages])
    world.messenger.answers = [Delivery(DeliveryStatus.TEMPORARY, 503)] * 3
    world.hub.start()
    await world.quiet()
    delivered = list(dict.fromkeys(world.messenger.delivered))
    assert len(delivered) == 400
    for line in range(150):
        of_line = [int(id[1:]) for id in delivered if int(id[1:]) % 150 == line]
        assert of_line == sorted(of_line)
