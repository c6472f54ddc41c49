"""The VEN's own listener, for a VTN that pushes. Who is asking is settled before a message is looked at."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

from adapters.errors import Rejection, TransportFault
from adapters.openadr2 import model
from adapters.openadr2.server import Exchange, Listener
from adapters.openadr2.session import answer
from adapters.openadr2.ven.client import Seen
from adapters.openadr2.ven.config import VtnConfig
from adapters.openadr2.ven.sealing import Sealing
from adapters.openadr2.ven.services import ENDPOINT, Services
from adapters.ports import Direction
from adapters.tls import TlsProfile, server_context
from datamodels import Problem

__all__ = ["PushServer"]


class PushServer:
    """Serves the paths of the profile to one VTN: over TLS to the configured certificate, or plain on loopback."""

    def __init__(self, config: VtnConfig, services: Services, lock: asyncio.Lock, sealing: Sealing, seen: Seen) -> None:
        self._config = config
        self._services = services
        self._lock = lock
        self._seen = seen
        self._sealing = sealing
        self._wake: Callable[[], None] = lambda: None
        self._listener: Listener | None = None

    async def start(self, wake: Callable[[], None]) -> None:
        """Listen; `wake` is called when a message was taken (OSError or ssl.SSLError where that fails)."""
        config, context = self._config, None
        self._wake = wake
        if not config.insecure:
            files = Path(config.tls_certificate), Path(config.tls_key), Path(config.tls_ca)
            context = server_context(*files, TlsProfile.OPENADR2)
        self._listener = Listener("", context, self._admit, self._answer, self._refused)
        await self._listener.start(*config.address)

    async def stop(self) -> None:
        if self._listener is not None:
            await self._listener.stop()
            self._listener = None

    @property
    def addresses(self) -> tuple[str, ...]:
        return self._listener.addresses if self._listener is not None else ()

    def _admit(self, shown: str) -> bool:
        return shown == self._config.fingerprint

    def _refused(self, who: str, fault: TransportFault) -> None:
        self._services.book.refused(fault.rule, fault.message)

    async def _answer(self, exchange: Exchange) -> bytes:
        try:
            taken = self._sealing.read(exchange.body)
        except TransportFault as fault:
            self._refused("", fault)
            raise
        except Rejection as error:
            return self._reply(self._unusable(error.problems[0]))
        self._seen(Direction.IN, taken.kind, exchange.body)
        if (place := ENDPOINT.get(type(taken.payload), exchange.endpoint)) != exchange.endpoint:
            problem = Problem("oadr.endpoint", taken.kind, f"this belongs to {place}", reason="459")
            return self._reply(self._unusable(problem))
        async with self._lock:
            try:
                await self._sealing.admit(taken)
            except Rejection as error:
                return self._reply(self._unusable(error.problems[0]))
            reply = await self._services.take(taken.payload)
        self._wake()
        return self._reply(reply)

    def _unusable(self, problem: Problem) -> model.OadrResponse:
        book = self._services.book
        book.refused(problem.rule, f"{problem.where}: {problem.message}")
        return model.OadrResponse(answer("", problem), book.registration.ven_id)

    def _reply(self, payload: model.Payload) -> bytes:
        body = self._sealing.seal(payload)
        self._seen(Direction.OUT, f"o{type(payload).__name__[1:]}", body)
        return body
