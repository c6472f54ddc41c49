"""The server: everything is put together here, started in order and stopped in the opposite one."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import signal
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from typing import Any, TypeGuard

from adapters.clock import Clock, FileClock, SystemClock
from adapters.ports import Actuator, Adapter, AdapterStatus, Messenger, Opting, Ports
from datamodels import GridSignal, Opt, Problem, Resource
from interop import plugins
from interop.config import Config
from interop.desk import DeskContext, DeskRunner, NoDesk
from interop.effects import Log
from interop.feed import Feed
from interop.http import Listener, make_app
from interop.hub import Hub
from interop.market.desk import MarketDesk
from interop.metrics import Metrics
from interop.outbox import RetryPolicy
from interop.peers import Peers
from interop.programmes import Registry
from interop.programmes.relay import Relay
from interop.store import Store, StoreUnavailable
from interop.tap import Tap
from interop.views import ServerViews

__all__ = ["Server", "make_clock", "run"]

log = logging.getLogger(__name__)
_STOP_S = 9.0
_GC_THRESHOLDS = (20_000, 20, 20)
_SWITCH_S = 0.001
"""The store's thread needs the interpreter for a moment between statements; it must not wait 5 ms for it each time."""
_PROOF_S = 1.0


def make_clock(config: Config) -> Clock:
    """Market time as configured (OSError or ValueError where the anchor file cannot be read)."""
    return FileClock(config.clock.file) if config.clock.file else SystemClock()


class Server:
    """One party's server. `start` leaves nothing behind when it raises; `stop` may be called at any time after.

    Attributes for pages and commands: `config`, `clock`, `feed`, `metrics`, `store`, `hub`, `peers`, `programmes`,
    `resources`, `adapters`, `desk`, `tap`, `views`; `http_address` once started.
    """

    store: Store
    hub: Hub
    peers: Peers
    programmes: Registry
    desk: DeskRunner

    def __init__(self, config: Config) -> None:
        self.config = config
        self.clock = make_clock(config)
        self.feed = Feed()
        self.metrics = Metrics()
        self.tap = Tap(self.clock.now)
        self.views = ServerViews(self)
        self.terms = config.market.terms()
        self.resources: dict[str, Resource] = {r.id: r.canonical() for r in config.resources}
        self.adapters: dict[str, Adapter] = {}
        self._listener: Listener | None = None
        self._opened = contextlib.AsyncExitStack()
        self._proof: tuple[float, list[Problem]] = (0.0, [])

    @property
    def http_address(self) -> str:
        """host:port of the operators' HTTP."""
        return self._listener.address if self._listener else ""

    async def start(self) -> None:
        """Open the store, start adapters, hub, desk and HTTP.

        Raises:
            StoreError, OSError, LookupError, ValueError: what could not be done, and why.
        """
        try:
            await self._start()
        except BaseException:
            await self._opened.aclose()
            raise

    async def _start(self) -> None:
        await self._rest()
        config, opened = self.config, self._opened
        started: list[Adapter] = []
        opened.push_async_callback(_stop_all, started)
        for adapter in self.adapters.values():
            started.append(adapter)
            await adapter.start()
        self.hub.start()
        opened.push_async_callback(self.hub.stop, _STOP_S / 9)
        await self.desk.start()
        opened.push_async_callback(_within, self.desk.stop)
        if config.relays:
            relay = self._relay(self.desk)
            await relay.start()
            opened.push_async_callback(relay.stop)
        host, port = config.server.address
        self._listener = Listener(make_app(self), host, port)
        opened.push_async_callback(self._listener.stop)
        await self._listener.start()
        lag = asyncio.create_task(self._watch_lag(), name="lag")
        opened.callback(lag.cancel)
        log.info("ready: operators at http://%s, adapters %s", self.http_address, ", ".join(self.adapters) or "none")

    @contextlib.asynccontextmanager
    async def at_rest(self) -> AsyncIterator[Server]:
        """The store, the peers and the desk with all that is durable, but nothing that listens, sends or decides.

        Raises as `start`.
        """
        try:
            await self._rest()
            self._opened.push_async_callback(self.hub.stop)
            yield self
        finally:
            await self._opened.aclose()

    async def _rest(self) -> None:
        config, opened = self.config, self._opened
        self.store = await Store.open(config.server.data_dir, self.metrics.group.observe)
        opened.push_async_callback(self.store.close)
        self.peers = Peers((p.canonical() for p in config.peers), self.store, self.feed, self.clock.now)
        await self.peers.load()
        self.programmes = Registry(self.store, self.feed, self.clock.now)
        await self.programmes.load()
        await self._assemble()
        await self.hub.load()

    async def stop(self) -> None:
        """Stop deciding, handle what is durable, flush the outbox, close; at most ten seconds."""
        await self._opened.aclose()

    async def _assemble(self) -> None:
        """Build hub, adapters and desk around the same live mappings."""
        server, messengers, actuators = self.config.server, dict[str, Messenger](), dict[str, Actuator]()
        policy = RetryPolicy(
            server.outbox_first_s, server.outbox_longest_s, server.outbox_give_up_s, server.outbox_give_up_by_kind
        )
        self.hub = Hub(
            self.store,
            self.clock,
            NoDesk(),
            messengers,
            actuators,
            self.peers,
            self.resources,
            self.feed,
            metrics=self.metrics,
            policy=policy,
        )
        for name, options in self.config.adapters.items():
            state = await self.hub.state(name)
            ports = Ports(
                inbound=self.hub,
                state=state,
                clock=self.clock,
                trace=self.tap,
                terms=self.terms,
                participants=self.peers,
                resources=self.resources,
                follows=self._follows,
                history=self.store.telemetry,
                learn=self.peers.learn,
                programmes=self.programmes.for_adapter(state),
            )
            adapter: Adapter = _build(plugins.ADAPTERS, name, options, ports)
            self.adapters[name] = adapter
            if _is_messenger(adapter):
                messengers[name] = adapter
            if _is_actuator(adapter):
                actuators[name] = adapter
        self.desk = self._desk()
        self.hub.desk = self.desk

    def _follows(self, signal: GridSignal) -> bool:
        return self.desk.obeys(signal)

    def _desk(self) -> DeskRunner:
        kind, party = self.config.desk.kind, self.config.party
        context = DeskContext(
            domain=party.domain,
            role=party.role,
            terms=self.terms,
            participants=self.peers,
            resources=self.resources,
            clock=self.clock,
            feed=self.feed,
            store=self.store,
            adapters=self.adapters,
            do=self.hub.do,
            programmes=self.programmes,
        )
        if kind == "none":
            return NoDesk()
        desk: DeskRunner = _build(plugins.DESKS, kind, self.config.desk.options, context)
        return desk

    def _relay(self, desk: DeskRunner) -> Relay:
        if not isinstance(desk, MarketDesk):
            raise ValueError("[[relays]]: only a desk of the market keeps signals; set [desk] kind")
        return Relay(
            self.config.relays,
            self.programmes,
            self.store,
            self.feed,
            self.resources,
            lambda: desk.signals,
            self.clock.now,
            lambda kind, data: self.hub.do([Log(kind, data)]),
            self._opt_out,
        )

    async def _opt_out(self, peer: str, signal: str) -> bool:
        """Tell whoever imposed a signal that we do not take part; False where no adapter can."""
        for adapter in self.adapters.values():
            if isinstance(adapter, Opting) and await adapter.opt_signal(peer, signal, Opt.OPT_OUT, "notParticipating"):
                return True
        return False

    # --- health ----------------------------------------------------------------------------------------------------

    async def problems(self) -> list[Problem]:
        """What keeps the server from being ready; proves that the store can be written, at most once a second."""
        if time.monotonic() - self._proof[0] > _PROOF_S:
            try:
                await asyncio.wait_for(self.store.prove(), 5)
                found = []
            except (StoreUnavailable, TimeoutError) as error:
                found = [
                    Problem("ready.store", "store", f"cannot be written: {error}", hint="free disk space, mend it")
                ]
            self._proof = (time.monotonic(), found)
        problems = list(self._proof[1])
        if not self.hub.healthy:
            problems.append(Problem("ready.hub", "hub", "the inbox is not being worked on", hint="see the log"))
        for name, status in self._statuses().items():
            if not status.ready:
                detail = "; ".join(map(str, status.problems)) or "not listening"
                problems.append(Problem("ready.adapter", f"adapters.{name}", detail))
        return problems

    async def measure(self) -> bytes:
        """All metrics as Prometheus text."""
        counts = await self.store.counts()
        for gauge, states in ((self.metrics.inbox, counts["inbox"]), (self.metrics.outbox, counts["outbox"])):
            for state, number in states.items():
                gauge.labels(state).set(number)
        self.metrics.ready.set(not await self.problems())
        for name, status in self._statuses().items():
            self.metrics.adapter.labels(name).set(status.ready)
        return self.metrics.text()

    def _statuses(self) -> Mapping[str, AdapterStatus]:
        return {name: adapter.status() for name, adapter in self.adapters.items()}

    async def _watch_lag(self) -> None:
        while True:
            began = time.monotonic()
            await asyncio.sleep(1.0)
            self.metrics.lag_s.set(max(time.monotonic() - began - 1.0, 0.0))


def _build(group: str, name: str, *arguments: Any) -> Any:
    """Call a plugin's factory; its complaint about options names the table they stand in."""
    build = plugins.load(group, name)
    try:
        return build(*arguments)
    except (ValueError, KeyError, TypeError) as error:
        table = f"[adapters.{name}]" if group == plugins.ADAPTERS else "[desk.options]"
        raise ValueError(f"{table}: {type(error).__name__}: {error}") from error


def _is_messenger(adapter: object) -> TypeGuard[Messenger]:
    return all(hasattr(adapter, method) for method in ("interpret", "encode", "deliver"))


def _is_actuator(adapter: object) -> TypeGuard[Actuator]:
    return all(hasattr(adapter, method) for method in ("apply", "withdraw"))


async def _stop_all(adapters: Sequence[Adapter]) -> None:
    await asyncio.gather(*(_within(adapter.stop) for adapter in adapters))


async def _within(stop: Callable[[], Awaitable[None]]) -> None:
    """Stop one part; a part that fails or takes too long does not keep the others from stopping."""
    try:
        await asyncio.wait_for(stop(), _STOP_S / 3)
    except Exception:  # it stops here whatever happens
        log.exception("a part of the server did not stop in order")


async def run(config: Config, on_ready: Callable[[Server], None] = lambda server: None) -> None:
    """Serve until SIGTERM or SIGINT; raises what `Server.start` raises."""
    loop, told = asyncio.get_running_loop(), asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, told.set)
    server = Server(config)
    # What the start builds stays, so looking for garbage among it again and again would be in vain. What messages leave
    # behind later has few cycles.
    gc.disable()
    await server.start()
    gc.collect()
    gc.freeze()
    gc.set_threshold(*_GC_THRESHOLDS)
    gc.enable()
    sys.setswitchinterval(_SWITCH_S)
    on_ready(server)
    try:
        await told.wait()
        log.info("stopping")
    finally:
        await server.stop()
        log.info("stopped")
