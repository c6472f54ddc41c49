"""The HTTP listener of the VTN. It moves bytes, finds out who is asking, and holds no business rule.

HTTP status is transport only: 400 unreadable or invalid, 403 unknown certificate, 404 path, 405 method, 408 too slow,
413 too large, 415 content type or encoding, 429 too often, 503 stopping; every protocol answer is a 200 (never a 500
for input).
"""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from aiohttp import web

from adapters.errors import TransportFault
from adapters.openadr2.limits import Buckets, CountingServer, Limits
from adapters.openadr2.rules import ENDPOINTS
from adapters.tls import fingerprint

__all__ = ["Exchange", "Listener"]

logger = logging.getLogger(__name__)

_SIZES = {"EiReport": 8 * 1024 * 1024}
_SIZE = 1024 * 1024
_KEEPALIVE_S = 15.0
_BODY_S = 10.0
_BODY_BYTES_PER_S = 100_000
_STOP_S = 5.0
_BUFFERED = 64 * 1024


@dataclass(frozen=True, slots=True)
class Exchange:
    """A request as the VTN sees it: end point, body, and the sender's certificate fingerprint (empty: plain HTTP)."""

    endpoint: str
    body: bytes
    fingerprint: str


class Listener:
    """Serves `<prefix>/OpenADR2/Simple/2.0b/<service>`.

    `answer` turns an exchange into reply bytes or raises `TransportFault`; `admit` is asked, before any byte of the
    body is read, whether a certificate is known.
    """

    def __init__(
        self,
        prefix: str,
        context: ssl.SSLContext | None,
        admit: Callable[[str], bool],
        answer: Callable[[Exchange], Awaitable[bytes]],
        refused: Callable[[str, TransportFault], None],
        limits: Limits = Limits(),  # noqa: B008 - frozen
    ) -> None:
        base = f"{prefix.rstrip('/')}/OpenADR2/Simple/2.0b/"
        self._paths = {base + endpoint: endpoint for endpoint in ENDPOINTS}
        self._context = context
        self._admit = admit
        self._answer = answer
        self._refused = refused
        self._limits = limits
        self._buckets = Buckets(limits.requests_per_s)
        self._runner: web.ServerRunner | None = None
        self._site: web.TCPSite | None = None
        self._stopping = False

    async def start(self, host: str, port: int) -> None:
        # auto_decompress off: a compressed body is refused, so none is ever inflated.
        server = CountingServer(
            self._handle, self._limits, keepalive_timeout=_KEEPALIVE_S, access_log=None, auto_decompress=False
        )
        self._runner = web.ServerRunner(server, shutdown_timeout=_STOP_S)
        await self._runner.setup()
        self._site = web.TCPSite(self._runner, host, port, ssl_context=self._context)
        await self._site.start()

    async def stop(self) -> None:
        """Answer 503 to what still comes, finish what is in flight, close."""
        self._stopping = True
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    @property
    def addresses(self) -> tuple[str, ...]:
        """The bound addresses, as URLs without path."""
        if self._runner is None:
            return ()
        scheme = "https" if self._context is not None else "http"
        return tuple(f"{scheme}://{_host(a)}:{a[1]}" for a in self._runner.addresses)

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        try:
            try:
                exchange = await self._read(request)
            except TransportFault as fault:
                self._refused(request.remote or "", fault)
                raise
            return await _sent(request, await self._answer(exchange))
        except TransportFault as fault:
            headers = {405: {"Allow": "POST"}, 429: {"Retry-After": "1"}}.get(fault.code)
            return web.Response(status=fault.code, text=f"{fault.rule}: {fault.message}\n", headers=headers)
        except (ConnectionError, web.RequestPayloadError) as error:
            logger.info("openadr2: %s broke off: %s", request.remote, type(error).__name__)
            return web.Response(status=400, text="http.body: the body broke off\n")

    async def _read(self, request: web.BaseRequest) -> Exchange:
        if self._stopping:
            raise TransportFault(503, "http.stopping", "the server is stopping; try again later")
        endpoint = self._paths.get(request.path)
        if endpoint is None:
            raise TransportFault(404, "http.path", "there is no such service")
        if request.method != "POST":
            raise TransportFault(405, "http.method", "messages are sent with POST")
        shown = self._certificate(request)
        if shown and not self._admit(shown):
            raise TransportFault(403, "tls.certificate", "this certificate is not known")
        if self._buckets.take(shown or request.remote or ""):
            raise TransportFault(429, "http.rate", "too many requests; try again later")
        if request.content_type not in ("application/xml", "text/xml"):
            raise TransportFault(415, "http.type", "messages are application/xml")
        if request.headers.get("Content-Encoding", "identity") != "identity":
            raise TransportFault(415, "http.encoding", "messages are not compressed")
        return Exchange(endpoint, await _body(request, _SIZES.get(endpoint, _SIZE)), shown)

    def _certificate(self, request: web.BaseRequest) -> str:
        if self._context is None:
            return ""
        transport: Any = request.transport
        session = transport.get_extra_info("ssl_object") if transport is not None else None
        der = session.getpeercert(binary_form=True) if session is not None else None
        if not der:
            raise TransportFault(403, "tls.certificate", "a client certificate is needed")
        return fingerprint(der)


async def _sent(request: web.BaseRequest, body: bytes) -> web.StreamResponse:
    """The reply; one that does not fit into the buffers of the socket must be read in good time."""
    response = web.Response(body=body, content_type="application/xml")
    if len(body) > _BUFFERED:
        try:
            async with asyncio.timeout(_BODY_S + len(body) / _BODY_BYTES_PER_S):
                await response.prepare(request)
                await response.write_eof()
        except TimeoutError:
            logger.info("openadr2: %s reads too slowly, the connection is closed", request.remote)
            if request.transport is not None:
                request.transport.abort()
    return response


async def _body(request: web.BaseRequest, limit: int) -> bytes:
    length = request.content_length
    if length is not None and length > limit:
        raise TransportFault(413, "http.size", f"at most {limit} bytes are read")
    chunks: list[bytes] = []
    size = 0
    try:
        async with asyncio.timeout(_BODY_S + (length or limit) / _BODY_BYTES_PER_S):
            async for chunk in request.content.iter_any():
                size += len(chunk)
                if size > limit:
                    raise TransportFault(413, "http.size", f"at most {limit} bytes are read")
                chunks.append(chunk)
    except TimeoutError:
        raise TransportFault(408, "http.slow", "the body came too slowly") from None
    return b"".join(chunks)


def _host(address: Any) -> str:
    return f"[{address[0]}]" if ":" in address[0] else str(address[0])
