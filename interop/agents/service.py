"""The agents' listener: WebSocket at `/agents`, one connection per agent, each proved by its own token.

A component like an adapter: `[adapters.agents]` starts it. It binds 127.0.0.1 unless configured, and anything else
needs TLS.
"""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import ssl
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aiohttp import WSCloseCode, WSMsgType, web

from adapters.ports import AdapterStatus, Ports
from datamodels import Problem
from interop.agents import wire
from interop.agents.book import Book, Registered
from interop.agents.floor import Floor, Session
from interop.settings import Settings
from optimiser.masking import LEAST

__all__ = ["AgentsOptions", "AgentsService", "build"]

log = logging.getLogger(__name__)
_NAME = "agents"
_HELLO_S = 10.0


@dataclass(frozen=True, slots=True)
class AgentsOptions:
    """Settings of the agents' listener.

    Attributes:
        listen: host:port of the listener; other addresses than this machine's own need TLS.
        tls_certificate: certificate chain (PEM).
        tls_key: its private key (PEM).
        least: homes per masked group; 1 allows unmasked answers of single homes.
        patience_s: what a round waits for its agents before it plans around those that are silent.
        heartbeat_s: how often a connection is probed; one that does not answer is closed.
        most_agents: connections at once.
        messages_per_s: of one agent, on average; bursts of ten times as many are taken.
    """

    listen: str = "127.0.0.1:8090"
    tls_certificate: Path | None = None
    tls_key: Path | None = None
    least: int = LEAST
    patience_s: float = 30.0
    heartbeat_s: float = 20.0
    most_agents: int = 1000
    messages_per_s: float = 10.0

    def __post_init__(self) -> None:
        host, _, port = self.listen.rpartition(":")
        if not host or not port.isdigit() or int(port) > 65535:
            raise ValueError(f"listen {self.listen!r} is not host:port")
        if (self.tls_certificate is None) != (self.tls_key is None):
            raise ValueError("tls_certificate and tls_key belong together")
        if self.tls_key is None and not _is_local(host.strip("[]")):
            raise ValueError(f"listen {self.listen!r} is not on this machine: set tls_certificate and tls_key")
        if not 1 <= self.least <= 1000:
            raise ValueError("least must be from 1 to 1000")
        for name in ("patience_s", "heartbeat_s", "messages_per_s"):
            if getattr(self, name) <= 0:
                raise ValueError(f"{name} must be above 0")
        if self.most_agents < 1:
            raise ValueError("most_agents must be 1 or more")

    @property
    def address(self) -> tuple[str, int]:
        host, _, port = self.listen.rpartition(":")
        return host.strip("[]"), int(port)


def _is_local(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def build(options: Mapping[str, Any], ports: Ports) -> AgentsService:
    """Entry point of group `gridparley.adapters` (ValueError: an option is wrong)."""
    settings = Settings(Path())
    read = settings.read(AgentsOptions, options, "adapters.agents")
    if read is None:
        raise ValueError("; ".join(map(str, settings.problems)))
    return AgentsService(read, ports)


class AgentsService:
    """The listener and, in `floor`, what goes on between its agents; `book` holds who may come."""

    def __init__(self, options: AgentsOptions, ports: Ports) -> None:
        self.name = _NAME
        self.options, self.ports = options, ports
        self.book = Book(ports.state)
        self.floor = Floor(self.book, self._alarm, options.heartbeat_s)
        self.address = ""
        self._runner: web.AppRunner | None = None
        self._connections: set[web.WebSocketResponse] = set()

    def _alarm(self, agent: str, rule: str, detail: str) -> None:
        self.ports.inbound.refused(_NAME, agent, rule, detail)

    async def start(self) -> None:
        """Listen; OSError where the port is taken or the certificate cannot be read."""
        tls = None
        if self.options.tls_certificate is not None:
            tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            tls.minimum_version = ssl.TLSVersion.TLSv1_2
            await asyncio.to_thread(tls.load_cert_chain, self.options.tls_certificate, self.options.tls_key)
        app = web.Application()
        app.add_routes([web.get("/agents", self._serve)])
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=2)
        await self._runner.setup()
        host, port = self.options.address
        await web.TCPSite(self._runner, host, port, ssl_context=tls, backlog=1024).start()
        host, port = self._runner.addresses[0][:2]
        self.address = f"{host}:{port}"

    async def stop(self) -> None:
        for socket in list(self._connections):
            await socket.close(code=WSCloseCode.GOING_AWAY, message=b"the server stops")
        if self._runner:
            await self._runner.cleanup()
        self.address = ""

    def status(self) -> AdapterStatus:
        problems: tuple[Problem, ...] = ()
        if not self.address:
            problems = (Problem("agents.listener", "adapters.agents", "not listening"),)
        connected = dict.fromkeys(self.floor.sessions, "connected")
        return AdapterStatus(bool(self.address), (self.address,) if self.address else (), problems, connected)

    # --- one connection -----------------------------------------------------------------------------------------------

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        known = self.book.who(request.headers.get("Authorization", "").removeprefix("Bearer "))
        if known is None:
            self._alarm(request.remote or "?", "agents.token", "an unknown token")
            raise web.HTTPUnauthorized(text="unknown token", headers={"WWW-Authenticate": "Bearer"})
        if "Origin" in request.headers:
            raise web.HTTPForbidden(text="agents are no web pages")
        if len(self._connections) >= self.options.most_agents:
            raise web.HTTPServiceUnavailable(text="too many agents", headers={"Retry-After": "30"})
        socket = web.WebSocketResponse(
            max_msg_size=wire.LARGEST, heartbeat=self.options.heartbeat_s, compress=False, timeout=2.0
        )
        await socket.prepare(request)
        self._connections.add(socket)
        try:
            await self._converse(known, socket)
        except wire.Malformed as error:
            self._alarm(known.id, "agents.message", str(error))
            if not socket.closed:
                await socket.send_str(wire.encode("error", reason=str(error)[:300]))
                await socket.close(code=WSCloseCode.POLICY_VIOLATION)
        finally:
            self._connections.discard(socket)
        return socket

    async def _converse(self, known: Registered, socket: web.WebSocketResponse) -> None:
        try:
            async with asyncio.timeout(_HELLO_S):
                type, data = await self._next(socket)
        except TimeoutError:
            raise wire.Malformed(f"no hello within {_HELLO_S:g} s") from None
        if type == "":
            return
        if type != "hello":
            raise wire.Malformed("the first message is not hello")
        session = Session(known.id, known.point, socket, **data)
        earlier = self.floor.sessions.get(known.id)
        try:
            await self.floor.enter(session)
            if earlier is not None and isinstance(earlier.socket, web.WebSocketResponse):
                await earlier.socket.close(code=WSCloseCode.POLICY_VIOLATION, message=b"replaced")
            allowed, at = 10 * self.options.messages_per_s, time.monotonic()
            while True:
                type, data = await self._next(socket)
                if type == "" or self.book.agents.get(known.id) is None:
                    return
                now = time.monotonic()
                rate = self.options.messages_per_s
                allowed, at = min(allowed + (now - at) * rate, 10 * rate) - 1, now
                if allowed < 0:
                    raise wire.Malformed("too many messages")
                await self.floor.hear(session, type, data)
        finally:
            self.floor.leave(session)

    @staticmethod
    async def _next(socket: web.WebSocketResponse) -> tuple[str, dict[str, Any]]:
        """The next message; an empty kind when the connection has ended."""
        message = await socket.receive()
        if message.type in (WSMsgType.CLOSE, WSMsgType.CLOSING, WSMsgType.CLOSED, WSMsgType.ERROR):
            return "", {}
        if message.type is not WSMsgType.TEXT:
            raise wire.Malformed("a frame that is not text")
        return wire.decode(message.data)
