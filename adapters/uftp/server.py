"""The listener: from a POST to a durable message, and the HTTP status that says how far it came.

Until the payload is schema-valid a fault is an HTTP status; from there on the answer is 200 and a functional response
follows (UFTP 3.1.0 appendix 4). 200 leaves only when the message is durable.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import Awaitable, Callable
from typing import NamedTuple

from aiohttp import web

from adapters import xml
from adapters.errors import TransportFault
from adapters.ports import Direction, Ports, Received
from adapters.uftp import envelope
from adapters.uftp.bucket import Bucket
from adapters.uftp.check import read_payload
from adapters.uftp.config import UftpConfig
from adapters.uftp.discovery import Resolver
from adapters.uftp.elements import Element
from datamodels import Participant

__all__ = ["LEGACY_PATH", "NAME", "PATH", "Accepted", "Server"]

NAME = "uftp"
PATH = "/shapeshifter/api/v3/message"
LEGACY_PATH = "/USEF/2019/SignedMessage"

_KEEPALIVE_S = 15.0
_BODY_S = 10.0
_BODY_BYTES_PER_S = 100_000
_SHUTDOWN_S = 5.0
_LINGER_S = 1.0  # how long a refused body may still trickle in before the connection is cut
_MEDIA = ("text/xml", "application/xml")

log = logging.getLogger(__name__)


class Accepted(NamedTuple):
    """A message that was taken in: who sent it, its wire form, and the bytes as they came."""

    sender: Participant
    element: Element
    raw: bytes


class Server:
    """Listens for envelopes. `on_accepted` is told of each message after it became durable, before 200 leaves."""

    def __init__(
        self,
        config: UftpConfig,
        ports: Ports,
        tls: ssl.SSLContext | None,
        resolver: Resolver,
        on_accepted: Callable[[Accepted], Awaitable[None]],
    ) -> None:
        self._config = config
        self._ports = ports
        self._tls = tls
        self._resolver = resolver
        self._on_accepted = on_accepted
        self._bucket = Bucket(config.rate_limit_per_s)
        self._limits = xml.Limits(size=config.max_body_bytes)
        self._runner: web.AppRunner | None = None
        self.listening: tuple[str, ...] = ()

    async def start(self) -> None:
        """Open the listener; raises OSError where the address is taken."""
        app = web.Application(client_max_size=self._config.max_body_bytes)
        app.router.add_post(PATH, self._handle)
        if self._config.legacy_path:
            app.router.add_post(LEGACY_PATH, self._handle)
        self._runner = web.AppRunner(
            app,
            keepalive_timeout=_KEEPALIVE_S,
            lingering_time=_LINGER_S,
            shutdown_timeout=_SHUTDOWN_S,
            access_log=None,
            auto_decompress=False,
        )
        await self._runner.setup()
        host, port = self._config.address
        try:
            await web.TCPSite(self._runner, host, port, ssl_context=self._tls).start()
        except OSError:
            await self.stop()
            raise
        scheme = "https" if self._tls else "http"
        self.listening = tuple(f"{scheme}://{_host(a)}:{a[1]}{PATH}" for a in self._runner.addresses)

    async def stop(self) -> None:
        self.listening = ()
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def _handle(self, request: web.Request) -> web.Response:
        raw, peer = b"", ""
        try:
            raw = await self._read(request)
            sealed = envelope.read(raw, self._limits)
            peer = sealed.sender_domain
            sender, payload = await self._resolver.open(sealed)
            if not self._bucket.take(peer, asyncio.get_running_loop().time()):
                raise TransportFault(429, "uftp.rate", f"more than {self._config.rate_limit_per_s:g} messages a second")
            reading = read_payload(payload, sender, self._limits)
        except TransportFault as fault:
            return self._refuse(fault, peer or str(request.remote), raw)
        element = reading.element
        received = Received(
            NAME, peer, element.name, raw, element["MessageID"], element["ConversationID"], read=(sealed, reading)
        )
        receipt = await self._ports.inbound.receive(received)
        self._ports.trace(NAME, peer, Direction.IN, element.name, raw, f"200 {receipt.status}")
        await self._on_accepted(Accepted(sender, element, raw))
        return web.Response()

    async def _read(self, request: web.Request) -> bytes:
        """The body, if its headers are right; a sender that dawdles is cut off."""
        length = request.content_length
        if length is None or "Transfer-Encoding" in request.headers:
            raise TransportFault(411, "uftp.length", "Content-Length is required")
        if request.content_type not in _MEDIA:
            raise TransportFault(400, "uftp.media", f"Content-Type must be {' or '.join(_MEDIA)}")
        if (request.charset or "utf-8").lower() not in ("utf-8", "utf8", "us-ascii"):
            raise TransportFault(400, "uftp.charset", "the charset must be utf-8")
        if request.headers.get("Content-Encoding", "identity").lower() != "identity":
            raise TransportFault(400, "uftp.compressed", "compressed bodies are not read")
        if length > self._config.max_body_bytes:
            message = f"body has {length} bytes, at most {self._config.max_body_bytes} are read"
            raise TransportFault(413, "uftp.size", message)
        if request.content.is_eof():  # it is here already
            return await request.read()
        try:
            async with asyncio.timeout(_BODY_S + length / _BODY_BYTES_PER_S):
                return await request.read()
        except TimeoutError:
            raise TransportFault(408, "uftp.slow", "the body did not arrive in time") from None
        except OSError:
            raise TransportFault(400, "uftp.aborted", "the sender left before the body was complete") from None

    def _refuse(self, fault: TransportFault, peer: str, raw: bytes) -> web.Response:
        self._ports.inbound.refused(NAME, peer, fault.rule, fault.message)
        self._ports.trace(NAME, peer, Direction.IN, "refused", raw, f"{fault.code} {fault.rule}")
        log.info("refused a message of %s: %d %s", peer, fault.code, fault.rule)
        response = web.Response(status=fault.code, reason=_REASONS.get(fault.code), text=f"{fault.message}\n")
        if fault.code == 429:
            response.headers["Retry-After"] = "1"
        if fault.code in (408, 411, 413) or not raw:
            response.force_close()
        return response


_REASONS = {419: "Sender Key Not Resolvable"}


def _host(address: tuple[str, int]) -> str:
    return f"[{address[0]}]" if ":" in address[0] else address[0]
