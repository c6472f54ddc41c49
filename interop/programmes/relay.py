"""The bridge: what a utility imposes on us is said on to our own VENs, as events of a programme.

`relayed` is pure: a signal in, an event out, with what is lost. `Relay` follows the desk's signals, so that they reach
VENs of every standard, whatever they came by; a revision is taken once, in one transaction with the mark that it was.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from adapters.dispatching import RESOURCE_NAME, VEN_NAME
from adapters.ports import Edit
from datamodels import (
    EventOpt,
    GridSignal,
    Loss,
    Opt,
    Programme,
    ProgrammeEvent,
    ProgrammeTarget,
    Resource,
    SignalTarget,
    TargetKind,
    Ven,
)
from datamodels.eventclock import phase_of
from datamodels.payloads import signal_of
from interop.config import RelayConfig
from interop.feed import Feed
from interop.market.ids import derived_id
from interop.programmes.registry import Registry
from interop.programmes.rows import addressed
from interop.store import Document, StorePort

__all__ = ["Relay", "relayed"]

logger = logging.getLogger(__name__)
SPACE, TAKEN = "relay", "taken"
_LOOK_AGAIN_S = 5.0


def relayed(
    signal: GridSignal, peer: str, programme: str, targets: Sequence[ProgrammeTarget], resources: Mapping[str, Resource]
) -> tuple[ProgrammeEvent | None, tuple[Loss, ...]]:
    """The event (of a programme, by id) that says a signal on. None where it is for somebody and we know no VEN of
    those: without targets it would be for everybody.

    Priority means the same on both sides. The start is the one that holds here: where it was drawn at random, it was
    drawn once, for us and all of our VENs.
    """
    losses: list[Loss] = []
    for_whom = list(targets)
    if not targets and not any(target.kind is TargetKind.MARKET for target in signal.targets):
        for target in signal.targets:
            found = list(_targets(target, resources))
            for_whom += found
            if not found:
                losses.append(Loss("target", f"{target.kind} {target.id}", "no VEN is known by it"))
        if signal.targets and not for_whom:
            return None, tuple(losses)
    event = ProgrammeEvent(
        id=derived_id("relay", peer, signal.id),
        programme=programme,
        name=f"{peer}/{signal.id}"[:128],
        signals=(signal_of(signal.kind, signal.intervals, signal.currency),) if signal.intervals else (),
        targets=tuple(dict.fromkeys(for_whom)),
        priority=signal.priority,
        cancelled=signal.cancelled,
    )
    return event, tuple(losses)


def _targets(target: SignalTarget, resources: Mapping[str, Resource]) -> Iterable[ProgrammeTarget]:
    if target.kind is TargetKind.GROUP:
        yield ProgrammeTarget(target.id, "GROUP")
    resource = resources.get(target.id) if target.kind is TargetKind.RESOURCE else None
    ven, name = _address(resource) if resource is not None else ("", "")
    if ven and name:
        yield ProgrammeTarget(ven, VEN_NAME)
        # A name that a resource of another VEN has too would show the event to that one.
        if all(behind != name or owner == ven for owner, behind in map(_address, resources.values())):
            yield ProgrammeTarget(name, RESOURCE_NAME)


def _address(resource: Resource) -> tuple[str, str]:
    """The VEN that a resource is behind, and its name there; empty where there is none."""
    ven, _, name = (resource.binding.address if resource.binding is not None else "").partition("/")
    return ven, name


class Relay:
    """Follows `signals` (by peer and id, see `interop.signals.key_of`) for as long as it runs.

    Args:
        log: writes a line (kind, data) to the event log.
        opt_out: tells a peer that we do not take part in what it imposes (a signal's id); False where that cannot be.
    """

    def __init__(
        self,
        configs: Sequence[RelayConfig],
        registry: Registry,
        store: StorePort,
        feed: Feed,
        resources: Mapping[str, Resource],
        signals: Callable[[], Mapping[str, GridSignal]],
        now: Callable[[], datetime],
        log: Callable[[str, Mapping[str, Any]], Awaitable[None]],
        opt_out: Callable[[str, str], Awaitable[bool]],
    ) -> None:
        self._configs = configs
        self._registry, self._store, self._feed = registry, store, feed
        self._resources, self._signals, self._now, self._log = resources, signals, now, log
        self._opt_out = opt_out
        self._taken: dict[str, dict[str, Any]] = {}
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        for document in await self._store.documents(SPACE, TAKEN):
            self._taken[document.key] = document.value
        self._task = asyncio.create_task(self._run(), name="relay")

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    async def look(self) -> None:
        """Say on what is new among the signals."""
        known = self._signals()
        for key, signal in list(known.items()):
            peer = key.removesuffix(f"/{signal.id}")
            for config in self._configs:
                if config.peer != peer:
                    continue
                if self._said(key) != _word(signal):
                    await self._say(key, signal, peer, config)
                if config.opt_out and not signal.cancelled:
                    await self._consider_opt_out(key, signal, peer)
        gone = [key for key in self._taken if key not in known]
        if gone:
            await self._registry.write((), [Document(SPACE, TAKEN, key, None) for key in gone])
            for key in gone:
                del self._taken[key]

    async def _say(self, key: str, signal: GridSignal, peer: str, config: RelayConfig) -> None:
        found = [p for p in self._registry.all(Programme).values() if p.name == config.programme]
        id = found[0].id if found else derived_id("programme", config.programme)
        event, losses = relayed(signal, peer, id, _named(config), self._resources)
        before = self._registry.get(ProgrammeEvent, event.id) if event is not None else None
        author = f"relay/{peer}"
        edits = [] if found else [Edit(None, Programme(id=id, name=config.programme), author)]
        if event is None or (before is None and phase_of(event, self._now()).is_over):
            edits = []
        elif before is None:
            edits.append(Edit(None, event, author))
        else:
            signals = event.signals or before.signals
            edits.append(Edit(before, replace(event, signals=signals), author))
        about = {"peer": peer, "signal": signal.id, "revision": signal.revision, "event": event.id if event else None}
        await self._log("relay.said" if edits else "relay.kept", about)
        for loss in losses:
            await self._log("relay.loss", about | {"field": loss.field, "value": loss.value, "why": loss.why})
        # Last: what was not logged to its end is said, and logged, again.
        self._taken[key] = await self._keep(key, {"said": _word(signal)}, edits)

    async def _consider_opt_out(self, key: str, signal: GridSignal, peer: str) -> None:
        """Once for each word of the peer's: where all whom its event is for opted out, so do we."""
        event = self._registry.get(ProgrammeEvent, derived_id("relay", peer, signal.id))
        taken = self._taken[key]
        if event is None or event.cancelled or taken.get("opted_out") or not self._is_refused(event):
            return
        about = {"peer": peer, "signal": signal.id, "event": event.id}
        await self._log("relay.opt_out", about | {"told": await self._opt_out(peer, signal.id)})
        self._taken[key] = await self._keep(key, taken | {"opted_out": True}, ())

    def _is_refused(self, event: ProgrammeEvent) -> bool:
        vens = [ven.id for ven in self._registry.all(Ven).values() if addressed(event, ven, self._registry)]
        opts = (self._registry.get(EventOpt, f"{event.id}/{ven}") for ven in vens)
        return bool(vens) and all(
            opt is not None and opt.opt is Opt.OPT_OUT and opt.answered >= event.revision for opt in opts
        )

    def _said(self, key: str) -> list[Any] | None:
        return self._taken[key]["said"] if key in self._taken else None

    async def _keep(self, key: str, value: dict[str, Any], edits: Sequence[Edit]) -> dict[str, Any]:
        await self._registry.write(edits, [Document(SPACE, TAKEN, key, value)])
        return value

    async def _run(self) -> None:
        with self._feed.subscribe() as news:
            while True:
                try:
                    await self.look()
                except Exception:  # one failed look must not be the last; the same is due at the next
                    logger.exception("signals could not be said on; tried again")
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(_LOOK_AGAIN_S):
                        while (await anext(news))[0] not in ("message", "programme"):
                            pass


def _word(signal: GridSignal) -> list[Any]:
    """What tells one word on a signal from the next."""
    return [signal.revision, signal.cancelled]


def _named(config: RelayConfig) -> tuple[ProgrammeTarget, ...]:
    parts = [target.rpartition("=") for target in config.targets]
    return tuple(ProgrammeTarget(value, kind) for kind, _, value in parts)
