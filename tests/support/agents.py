"""Agents' server and agents of synthetic homes for tests, on loopback."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from adapters.clock import SystemClock
from adapters.ports import Change, Ports
from datamodels import MarketCalendar, MarketTerms
from interop.agents.client import Agent
from interop.agents.home import Household
from interop.agents.service import AgentsService, build
from optimiser import Limits, Portfolio, Tariffs
from optimiser.synthetic import neighbourhood

DAY = "2026-05-20"


class Memory:
    """Durable documents that outlive a service, as a store would keep them."""

    def __init__(self) -> None:
        self.documents: dict[tuple[str, str], dict[str, Any]] = {}

    def load(self, kind: str) -> dict[str, dict[str, Any]]:
        return {key: dict(value) for (k, key), value in self.documents.items() if k == kind}

    async def commit(self, *changes: Change) -> None:
        for change in changes:
            if change.value is None:
                self.documents.pop((change.kind, change.key), None)
            else:
                self.documents[change.kind, change.key] = dict(change.value)


@dataclass
class Inbound:
    """Takes alarms. The rest of the hub is no business of agents of homes: a call of it fails the test."""

    alarms: list[tuple[str, str, str]] = field(default_factory=list)

    def refused(self, adapter: str, peer: str, rule: str, detail: str) -> None:
        self.alarms.append((peer, rule, detail))

    async def receive(self, received: Any, changes: Sequence[Change] = ()) -> Any:
        raise NotImplementedError

    async def telemetry(self, samples: Any) -> None:
        raise NotImplementedError

    async def dispatch_update(self, update: Any) -> None:
        raise NotImplementedError


def service(state: Memory | None = None, **options: Any) -> tuple[AgentsService, Inbound]:
    inbound = Inbound()
    ports = Ports(
        inbound=inbound,
        state=state or Memory(),
        clock=SystemClock(),
        trace=lambda *a, **k: None,
        terms=MarketTerms(MarketCalendar()),
        participants={},
        resources={},
    )
    return build({"listen": "127.0.0.1:0", **options}, ports), inbound


@contextlib.asynccontextmanager
async def serving(state: Memory | None = None, **options: Any) -> AsyncIterator[tuple[AgentsService, Inbound]]:
    found, inbound = service(state, **options)
    await found.start()
    try:
        yield found, inbound
    finally:
        await found.stop()


def homes(count: int, seed: int = 1, isps: int = 96) -> tuple[list[Household], Limits, tuple[Portfolio, Tariffs]]:
    """Households of a synthetic neighbourhood, its limits, and the whole of it; the last `isps` of the day, where
    the upper limit is made tight."""
    p, limits, tariffs = neighbourhood(count, seed)
    if isps < p.isps:
        now = p.isps - isps
        reach = 0.5 * (p.dt_h * p.ev_max_kw[:, now:]).sum(axis=1, keepdims=True)
        p = replace(p, ev_energy_min_kwh=np.minimum(p.ev_energy_min_kwh, reach)).tail(now)
        limits, tariffs = limits.tail(now), tariffs.tail(now)
        limits = Limits(limits.lo_kw, 0.3 * limits.hi_kw)
    one = [np.array([n]) for n in range(count)]
    return [Household(p.take(n), tariffs.take(n)) for n in one], limits, (p, tariffs)


def agent(household: Household, folder: Path, **options: Any) -> Agent:
    folder.mkdir(parents=True, exist_ok=True)
    return Agent(household, X25519PrivateKey.generate(), folder, **options)


@contextlib.asynccontextmanager
async def connected(
    found: AgentsService, agents: Mapping[str, Agent], point: str = "cp", *, wait: Iterable[str] | None = None
) -> AsyncIterator[dict[str, asyncio.Task[None]]]:
    """Agents admitted and connected, each by a connection of its own."""
    tasks = {}
    for id, one in agents.items():
        token = await found.book.register(id, point)
        tasks[id] = asyncio.create_task(one.run(f"ws://{found.address}/agents", token))
    try:
        await until(lambda: set(agents if wait is None else wait) <= set(found.floor.sessions))
        yield tasks
    finally:
        for task in tasks.values():
            task.cancel()
        await asyncio.gather(*tasks.values(), return_exceptions=True)


async def until(done: Any, seconds: float = 60.0) -> None:
    async with asyncio.timeout(seconds):
        while not done():
            await asyncio.sleep(0.02)
