"""Dispatches: what each resource was told, where that stands, and who carries it there.

Records live in the store's space "hub" as kinds "dispatch" and "dispatch_state". A `Plan` of changes is made first
(pure), committed by the hub together with everything else of the step, and only then carried out, in order per
resource. After a restart every dispatch that is not over is applied again; adapters make that harmless.
"""

from __future__ import annotations

import asyncio
import logging
from collections import ChainMap
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from adapters.errors import Rejection
from adapters.ports import Actuator
from datamodels import Dispatch, DispatchStatus, DispatchUpdate, Resource, decode, encode
from interop import crashpoints
from interop.store import Document, Event

__all__ = ["SPACE", "Carry", "Dispatcher", "Plan", "Record"]

SPACE = "hub"
_DISPATCH, _STATE = "dispatch", "dispatch_state"
_KEPT = timedelta(days=30)
log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Record:
    """The latest revision of a dispatch and its standing. `carried`: its adapter has taken this revision."""

    dispatch: Dispatch
    status: DispatchStatus
    at: datetime
    reason: str = ""
    withdrawn: bool = False
    carried: bool = False

    def state(self) -> dict[str, Any]:
        return {
            "revision": self.dispatch.revision,
            "status": str(self.status),
            "at": self.at.isoformat(),
            "reason": self.reason,
            "withdrawn": self.withdrawn,
            "carried": self.carried,
        }


@dataclass(frozen=True, slots=True)
class Carry:
    """Something to be done at a resource: apply `dispatch`, or withdraw it."""

    dispatch: Dispatch
    withdraw: bool = False


class Plan:
    """Changes to dispatches within one step, not yet durable."""

    def __init__(self, records: Mapping[str, Record]) -> None:
        self._records = records
        self.clear()

    def clear(self) -> None:
        """Forget the changes."""
        self.changed: dict[str, Record] = {}
        self.carries: list[Carry] = []
        self.events: list[Event] = []

    def _known(self, dispatch: str) -> Record | None:
        return self.changed.get(dispatch) or self._records.get(dispatch)

    def instruct(self, dispatch: Dispatch, now: datetime) -> None:
        """A new dispatch, or a higher revision of one; anything else has no effect."""
        known = self._known(dispatch.id)
        if known is not None and known.dispatch.revision >= dispatch.revision:
            return
        self.changed[dispatch.id] = Record(dispatch, DispatchStatus.NEW, now)
        self.carries.append(Carry(dispatch))
        self._log("dispatch.instructed", dispatch, now, source=dispatch.source, dispatch_kind=str(dispatch.kind))

    def withdraw(self, dispatch: str, now: datetime) -> None:
        """End a dispatch that is under way; one that is over, or unknown, is left alone."""
        known = self._known(dispatch)
        if known is None or known.status.is_final or known.withdrawn:
            return
        self.changed[dispatch] = replace(known, withdrawn=True)
        self.carries.append(Carry(known.dispatch, withdraw=True))
        self._log("dispatch.withdrawn", known.dispatch, now)

    def update(self, update: DispatchUpdate, now: datetime) -> bool:
        """Take news of a dispatch. False where it is no news: stale, repeated, impossible, or of an unknown one."""
        known = self._known(update.dispatch)
        if known is None or update.revision < known.dispatch.revision or update.status is known.status:
            return False
        if update.revision > known.dispatch.revision or not known.status.may_become(update.status):
            log.warning(
                "dispatch %s revision %d cannot go from %s to %s (revision %d)",
                *(update.dispatch, known.dispatch.revision, known.status, update.status, update.revision),
            )
            return False
        self.changed[update.dispatch] = replace(
            known, status=update.status, at=update.at, reason=update.reason, carried=True
        )
        self._log("dispatch.update", known.dispatch, now, status=str(update.status), reason=update.reason)
        return True

    def carried(self, dispatch: Dispatch) -> None:
        known = self._known(dispatch.id)
        if known is not None and known.dispatch.revision == dispatch.revision and not known.carried:
            self.changed[dispatch.id] = replace(known, carried=True)

    def documents(self) -> tuple[Document, ...]:
        documents: list[Document] = []
        for key, record in self.changed.items():
            documents.append(Document(SPACE, _DISPATCH, key, encode(record.dispatch)))
            documents.append(Document(SPACE, _STATE, key, record.state()))
        return tuple(documents)

    def _log(self, kind: str, dispatch: Dispatch, now: datetime, **more: Any) -> None:
        named = {"dispatch": dispatch.id, "revision": dispatch.revision, "resource": dispatch.resource}
        self.events.append(Event(kind, now, named | more))


class Dispatcher:
    """Knows every dispatch and hands each to the actuator its resource is bound to.

    Args:
        settle: called after a dispatch was handed over (error "") or could not be (the update says how it ends).
    """

    def __init__(
        self,
        resources: Mapping[str, Resource],
        actuators: Mapping[str, Actuator],
        settle: Callable[[Dispatch, DispatchUpdate | None], Awaitable[None]],
        now: Callable[[], datetime],
    ) -> None:
        self._resources = resources
        self._actuators = actuators
        self._settle = settle
        self._now = now
        self._queues: dict[str, asyncio.Queue[Carry]] = {}
        self._workers: set[asyncio.Task[None]] = set()
        self.records: dict[str, Record] = {}

    def load(self, documents: Iterable[Document]) -> list[Document]:
        """Take up what is stored in the hub's space; returns what to delete, because it ended long ago."""
        by_kind: dict[str, dict[str, Any]] = {_DISPATCH: {}, _STATE: {}}
        for document in documents:
            if document.kind in by_kind:
                by_kind[document.kind][document.key] = document.value
        for key, value in by_kind[_DISPATCH].items():
            state = by_kind[_STATE][key]
            self.records[key] = Record(
                decode(value, Dispatch),
                DispatchStatus(state["status"]),
                datetime.fromisoformat(state["at"]),
                state["reason"],
                state["withdrawn"],
                state["carried"],
            )
        old = [id for id, record in self.records.items() if record.dispatch.end < self._now() - _KEPT]
        for id in old:
            del self.records[id]
        return [Document(SPACE, kind, id, None) for id in old for kind in by_kind]

    def plan(self, changed: dict[str, Record]) -> Plan:
        """A plan on top of changes that are on their way to become durable."""
        return Plan(ChainMap(dict[str, Record](), changed, self.records))

    def carry_out(self, plan: Plan) -> None:
        """The plan is durable: remember it and do it."""
        self.records.update(plan.changed)
        for carry in plan.carries:
            self._enqueue(carry)

    def resume(self) -> int:
        """Apply (or withdraw) again whatever is not over; returns how many."""
        now = self._now()
        open_ = [r for r in self.records.values() if not r.status.is_final and r.dispatch.end > now]
        for record in sorted(open_, key=lambda r: r.at):
            self._enqueue(Carry(record.dispatch, record.withdrawn))
        return len(open_)

    async def stop(self) -> None:
        for worker in self._workers:
            worker.cancel()
        await asyncio.gather(*self._workers, return_exceptions=True)

    def _enqueue(self, carry: Carry) -> None:
        resource = carry.dispatch.resource
        queue = self._queues.get(resource)
        if queue is None:
            queue = self._queues[resource] = asyncio.Queue()
            worker = asyncio.create_task(self._work(queue), name=f"dispatch {resource}")
            self._workers.add(worker)
        queue.put_nowait(carry)

    async def _work(self, queue: asyncio.Queue[Carry]) -> None:
        while True:
            carry = await queue.get()
            crashpoints.reach("before_dispatch")
            failure = await self._hand_over(carry)
            crashpoints.reach("after_dispatch_before_mark")
            await self._settle(carry.dispatch, failure)

    async def _hand_over(self, carry: Carry) -> DispatchUpdate | None:
        """Give it to the actuator; None when it was taken."""
        dispatch = carry.dispatch
        resource = self._resources.get(dispatch.resource)
        binding = resource.binding if resource else None
        actuator = self._actuators.get(binding.adapter) if binding else None
        if resource is None or actuator is None:
            named = f"adapter {binding.adapter!r} is not running" if binding else "it has no binding"
            reason = named if resource else "it is not configured"
            return self._ended(dispatch, DispatchStatus.REJECTED, f"resource {dispatch.resource}: {reason}")
        try:
            if carry.withdraw:
                await actuator.withdraw(dispatch.id)
            else:
                await actuator.apply(resource, dispatch)
        except Rejection as refusal:
            return self._ended(dispatch, DispatchStatus.REJECTED, str(refusal))
        except Exception as error:  # an adapter's bug must not stop the other dispatches of this resource
            log.exception("dispatch %s could not be handed to %s", dispatch.id, dispatch.resource)
            return self._ended(dispatch, DispatchStatus.ABORTED, f"{type(error).__name__}: {error}")
        return None

    def _ended(self, dispatch: Dispatch, status: DispatchStatus, reason: str) -> DispatchUpdate:
        return DispatchUpdate(dispatch.id, dispatch.revision, status, self._now(), reason)
