"""The HTTP listener: bytes in and out, sizes, encodings, time-outs, and every fault as a `problem` body.

400 unreadable or invalid, 401 and 403 by token, 404 path or hidden, 405 method, 408 too slow, 409 conflict, 412 another
version of the object, 413 too large, 415 content type or encoding, 503 stopping; never a 500 for what a client sends.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
import zlib
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

from aiohttp import web
from multidict import MultiMapping

from adapters.errors import Rejection, TransportFault
from adapters.openadr3.codec import dumps

__all__ = ["Answer", "Exchange", "Listener", "problem"]

logger = logging.getLogger(__name__)

_KEEPALIVE_S = 30.0
_BODY_S = 10.0
_BODY_BYTES_PER_S = 100_000
_STOP_S = 5.0
_WORTH_PACKING = 4096
_PACKED = 500


@dataclass(frozen=True, slots=True)
class Exchange:
    """A request. `body` reads it whole (TransportFault), and only when it is wanted."""

    method: str
    path: str
    query: MultiMapping[str]
    headers: Mapping[str, str]
    content_type: str
    origin: str
    remote: str
    body: Callable[[], Awaitable[bytes]]


@dataclass(frozen=True, slots=True)
class Answer:
    status: int = 200
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)


class Listener:
    """`answer` turns an exchange into an answer, or raises TransportFault or Rejection; `status_of` says with which
    status a Rejection is answered."""

    def __init__(
        self,
        context: ssl.SSLContext | None,
        largest: int,
        answer: Callable[[Exchange], Awaitable[Answer]],
        refused: Callable[[str, str, str], None],
    ) -> None:
        self._context = context
        self._largest = largest
        self._answer = answer
        self._refused = refused
        self._runner: web.ServerRunner | None = None
        self._stopping = False
        self._packed: OrderedDict[str, bytes] = OrderedDict()

    async def start(self, host: str, port: int) -> None:
        server = web.Server(self._handle, keepalive_timeout=_KEEPALIVE_S, access_log=None, auto_decompress=False)
        self._runner = web.ServerRunner(server, shutdown_timeout=_STOP_S)
        await self._runner.setup()
        await web.TCPSite(self._runner, host, port, ssl_context=self._context, backlog=1024).start()

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
        return tuple(f"{self._scheme}://{_host(a)}:{a[1]}" for a in self._runner.addresses)

    @property
    def _scheme(self) -> str:
        return "https" if self._context is not None else "http"

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        answer = await self._answered(request)
        headers = {"Server": "gridparley", **answer.headers}
        body = answer.body
        if body:
            headers.setdefault("Content-Type", "application/json")
        if len(body) > _WORTH_PACKING and "gzip" in request.headers.get("Accept-Encoding", ""):
            body = self._packed_body(body, headers.get("ETag", ""))
            headers |= {"Content-Encoding": "gzip", "Vary": "Accept-Encoding, Authorization"}
            if "ETag" in headers:
                headers["ETag"] = "W/" + headers["ETag"]
        return web.Response(status=answer.status, body=body, headers=headers)

    def _packed_body(self, body: bytes, tag: str) -> bytes:
        """Packed once for all who are shown the same."""
        packed = self._packed.pop(tag, None) if tag else None
        if packed is None:
            packed = zlib.compress(body, 1, wbits=31)
        if tag:
            self._packed[tag] = packed
            if len(self._packed) > _PACKED:
                self._packed.popitem(last=False)
        return packed

    async def _answered(self, request: web.BaseRequest) -> Answer:
        try:
            if self._stopping:
                raise TransportFault(503, "http.stopping", "the server is stopping; try again later")
            return await self._answer(self._exchange(request))
        except TransportFault as fault:
            self._refused(request.remote or "", fault.rule, fault.message)
            return problem(fault.code, fault.rule, fault.message)
        except (ConnectionError, web.RequestPayloadError) as error:
            logger.info("openadr3: %s broke off: %s", request.remote, type(error).__name__)
            return problem(400, "http.body", "the body broke off")
        except Rejection as rejection:
            raise AssertionError("the server answers rejections") from rejection
        except Exception:
            # What is left are our own mistakes: the client is told so, and nothing else.
            logger.exception("openadr3: %s %s failed", request.method, request.rel_url.raw_path)
            return problem(500, "openadr3.internal", "the server failed; its log says more")

    def _exchange(self, request: web.BaseRequest) -> Exchange:
        try:
            path, query = request.rel_url.path, request.query
        except ValueError as error:
            raise TransportFault(400, "http.path", "the path cannot be read") from error
        return Exchange(
            request.method,
            path,
            query,
            request.headers,
            request.content_type,
            f"{self._scheme}://{request.host}",
            request.remote or "",
            lambda: self._body(request),
        )

    async def _body(self, request: web.BaseRequest) -> bytes:
        encoding = request.headers.get("Content-Encoding", "identity").lower()
        if encoding not in ("identity", "gzip"):
            raise TransportFault(415, "http.encoding", "bodies are plain or gzip")
        too_large = TransportFault(413, "http.size", f"at most {self._largest} bytes are read")
        length = request.content_length
        if length is not None and length > self._largest:
            raise too_large
        unpack = zlib.decompressobj(wbits=31) if encoding == "gzip" else None
        chunks: list[bytes] = []
        size = 0
        try:
            async with asyncio.timeout(_BODY_S + (length or self._largest) / _BODY_BYTES_PER_S):
                async for chunk in request.content.iter_any():
                    piece = chunk if unpack is None else unpack.decompress(chunk, self._largest + 1 - size)
                    size += len(piece)
                    if size > self._largest or (unpack is not None and unpack.unconsumed_tail):
                        raise too_large
                    chunks.append(piece)
        except TimeoutError:
            raise TransportFault(408, "http.slow", "the body came too slowly") from None
        except zlib.error as error:
            raise TransportFault(400, "http.encoding", "the body is not gzip") from error
        if unpack is not None and not unpack.eof:
            raise TransportFault(400, "http.encoding", "the body is cut gzip")
        return b"".join(chunks)


def problem(status: int, rule: str, detail: str, more: Mapping[str, Any] | None = None) -> Answer:
    """A `problem` body; `rule` names the check that failed."""
    body = {"type": "about:blank", "title": HTTPStatus(status).phrase, "status": status, "detail": detail}
    return Answer(status, dumps({**body, "rule": rule, **(more or {})}))


def _host(address: Any) -> str:
    return f"[{address[0]}]" if ":" in address[0] else str(address[0])
