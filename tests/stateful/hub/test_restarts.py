"""Any sequence of messages, repeats, conflicts, failures to deliver and restarts leads to the same sums."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from adapters.ports import Delivery, DeliveryStatus, ReceiptStatus
from interop.effects import Send

_IDS = st.sampled_from([f"m{n}" for n in range(6)])


def _machine(kit: Any) -> type[RuleBasedStateMachine]:
    """The state machine; its model is what a peer believes it has said."""

    class Restarts(RuleBasedStateMachine):
        def __init__(self) -> None:
            super().__init__()
            self.folder = tempfile.TemporaryDirectory()
            self.loop = asyncio.new_event_loop()
            self.first: dict[str, str] = {}
            self.conflicts: set[tuple[str, str]] = set()
            self.ours: set[str] = set()
            self.bodies: dict[str, bytes] = {}
            self.running = False
            self.world: Any = self.do(kit.World.begin(Path(self.folder.name)))

        def do(self, work: Coroutine[Any, Any, Any]) -> Any:
            return self.loop.run_until_complete(work)

        @rule(id=_IDS, offer=st.sampled_from(["o1", "o1", "o2"]))
        def receive(self, id: str, offer: str) -> None:
            receipt = self.do(self.world.hub.receive(kit.incoming(id, f"c-{id}", offer)))
            if id not in self.first:
                self.first[id] = offer
                assert receipt.status is ReceiptStatus.NEW
            elif self.first[id] == offer:
                assert receipt.status is ReceiptStatus.DUPLICATE
            else:
                self.conflicts.add((id, offer))
                assert receipt.status is ReceiptStatus.CONFLICT

        @rule(n=st.integers(0, 3))
        def send(self, n: int) -> None:
            self.ours.add(f"ours{n}")
            self.do(self.world.hub.do([Send(kit.outgoing(f"ours{n}", f"o{n}"))]))

        @rule(failures=st.integers(1, 3))
        def peer_is_down(self, failures: int) -> None:
            self.world.messenger.answers += [Delivery(DeliveryStatus.TEMPORARY, 503)] * failures

        @rule()
        def run(self) -> None:
            if not self.running:
                self.do(self._start())
                self.running = True

        async def _start(self) -> None:
            self.world.hub.start()

        @rule()
        def settle(self) -> None:
            self.run()
            self.do(self.world.quiet())
            self.check()

        @rule(ticks=st.integers(0, 20))
        def let_it_work(self, ticks: int) -> None:
            self.do(self._yield(ticks))

        async def _yield(self, ticks: int) -> None:
            for _ in range(ticks):
                await asyncio.sleep(0)

        @rule()
        def die_and_come_back(self) -> None:
            """Whatever is in memory is gone; only the files stay."""
            self.do(self._abandon())
            self.running = False
            self.world = self.do(kit.World.begin(Path(self.folder.name)))

        async def _abandon(self) -> None:
            self._remember()
            for task in asyncio.all_tasks() - {asyncio.current_task()}:
                task.cancel()
            await asyncio.sleep(0)
            await self.world.store.close()

        def _remember(self) -> None:
            """Every try of a message carries the same bytes, in whatever life it is made."""
            for body in self.world.messenger.tried:
                id = kit.loads(body).head.message_id
                assert self.bodies.setdefault(id, body) == body

        @invariant()
        def bytes_never_change(self) -> None:
            self._remember()

        def check(self) -> None:
            """What must be true when nothing is left to do."""
            world, store = self.world, self.world.store
            assert world.desk.count == len(self.first)
            events = self.do(store.events(limit=10_000))
            heard = [e.data["message"] for e in events if e.kind == "counted"]
            assert sorted(heard) == sorted(self.first)
            instructed = [e.data["dispatch"] for e in events if e.kind == "dispatch.instructed"]
            assert sorted(instructed) == sorted(f"d-{id}" for id in self.first)
            conflicts = [e for e in events if e.kind == "alarm" and e.data["rule"] == "inbox.conflict"]
            assert len(conflicts) == len(self.conflicts)
            sent = {e.data["message_id"] for e in events if e.kind == "message.out"}
            expected = {f"re-{id}" for id in self.first} | {f"no-{id}" for id, _ in self.conflicts} | self.ours
            assert sent == expected
            self._remember()
            assert set(self.bodies) == expected
            assert self.do(store.verify_chain()).intact

        def teardown(self) -> None:
            self.settle()
            self.do(self.world.end())
            self.loop.close()
            self.folder.cleanup()

    return Restarts


def test_restarts_at_any_point_change_nothing(kit: Any) -> None:
    run_state_machine_as_test(
        _machine(kit),
        settings=settings(
            max_examples=15,
            stateful_step_count=15,
            deadline=None,
            suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
        ),
    )
