"""Push: what waits for a VEN in push mode is POSTed to its own services, one message after the other.

There is no second queue: what waits is what a poll would be given, and it follows from the durable records. A message
that does not arrive counts as never sent, so that nothing is lost and the order holds however long a VEN is away.
"""

from __future__ import annotations

import asyncio
import logging
import random
from dataclasses import dataclass, field
from ipaddress import ip_address
from pathlib import Path
from ssl import SSLContext
from typing import Protocol
from urllib.parse import urlsplit

from aiohttp import ClientError, ClientResponse, ClientSession, ClientTimeout, Fingerprint, TCPConnector

from adapters.errors import TransportFault
from adapters.tls import TlsProfile, client_context
from adapters.waiting import happens

__all__ = ["Courier", "Depot", "Letter", "address_problem", "pinning_context", "service_url"]

logger = logging.getLogger(__name__)

_PATH = "/OpenADR2/Simple/2.0b"
_TIMEOUT = ClientTimeout(total=20, connect=5, sock_read=15)
_REPLY_BYTES = 1024 * 1024
_FIRST_WAIT_S, _LONGEST_WAIT_S = 1.0, 300.0


def service_url(address: str, service: str) -> str:
    """Where a VEN serves EiEvent and the others; some register the whole path, some only what stands before it."""
    base = address.rstrip("/")
    return f"{base}/{service}" if base.endswith(_PATH) else f"{base}{_PATH}/{service}"


def address_problem(address: str, *, plain: bool) -> str:
    """What is wrong with an oadrTransportAddress, or nothing. `plain`: HTTP to a loopback address is meant."""
    try:
        url = urlsplit(address)
        _ = url.port
    except ValueError:
        return "it is no URL"
    if url.scheme != ("http" if plain else "https") or not url.hostname:
        return f"an address with {'http' if plain else 'https'}:// is needed"
    if url.username is not None or url.query or url.fragment or len(address) > 256:
        return "it has a user, a query or a fragment, or more than 256 characters"
    if plain and not _loopback(url.hostname):
        return "without TLS only loopback addresses are pushed to"
    return ""


def _loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def pinning_context(certificate: Path, key: Path, ca: Path) -> SSLContext:
    """TLS with our certificate. Whose certificate must be shown is known exactly (`Letter.fingerprint`); what names it
    bears does not matter.
    """
    context = client_context(ca, certificate, key, TlsProfile.OPENADR2)
    context.check_hostname = False
    return context


@dataclass(frozen=True, slots=True)
class Letter:
    """One message: `fingerprint` is that of the certificate the VEN must show (empty: plain HTTP on loopback)."""

    url: str
    body: bytes
    fingerprint: str


class Depot(Protocol):
    """Where a courier gets messages and brings replies."""

    async def next_letter(self, ven: str) -> Letter | None:
        """What a VEN is to be told now."""

    async def replied(self, ven: str, body: bytes) -> None:
        """Take the VEN's reply (TransportFault: it is none)."""

    def undelivered(self, ven: str) -> None:
        """The last letter did not arrive: it, and what was to come with it, waits again."""


@dataclass(slots=True)
class _Round:
    """One VEN's deliveries: `woken` when something may wait, `heard` when the VEN gave a sign of life. `http` takes
    only servers that show the certificate `pinned`.
    """

    task: asyncio.Task[None]
    http: ClientSession | None = None
    pinned: str = ""
    woken: asyncio.Event = field(default_factory=asyncio.Event)
    heard: asyncio.Event = field(default_factory=asyncio.Event)


class Courier:
    """Delivers to VENs in push mode. `patience_s`: how long an idle VEN's queue is left alone."""

    def __init__(self, depot: Depot, patience_s: float) -> None:
        self._depot = depot
        self._patience_s = patience_s
        self._rounds: dict[str, _Round] = {}
        self._context: SSLContext | None = None
        self._running = False
        self.failing: dict[str, str] = {}
        """Why the last delivery to a VEN failed, as long as it does."""

    def start(self, context: SSLContext | None) -> None:
        """From now on VENs can be woken; with `context` over TLS."""
        self._context = context
        self._running = True

    async def stop(self) -> None:
        self._running = False
        for ongoing in self._rounds.values():
            ongoing.task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)
        for ongoing in self._rounds.values():
            if ongoing.http is not None:
                await ongoing.http.close()
        self._rounds = {}

    @property
    def tasks(self) -> list[asyncio.Task[None]]:
        return [ongoing.task for ongoing in self._rounds.values()]

    def wake(self, ven: str) -> None:
        """Something may wait for a VEN in push mode."""
        if not self._running:
            return
        if ven not in self._rounds:
            self._rounds[ven] = _Round(asyncio.create_task(self._deliver(ven), name=f"openadr2 push to {ven}"))
        self._rounds[ven].woken.set()

    def heard(self, ven: str) -> None:
        """The VEN has sent something itself: no need to wait until the next try."""
        if ven in self._rounds:
            self._rounds[ven].heard.set()

    async def _deliver(self, ven: str) -> None:
        ongoing = self._rounds[ven]
        failures = 0
        while True:
            ongoing.woken.clear()
            letter = await self._depot.next_letter(ven)
            if letter is None:
                await happens(ongoing.woken, self._patience_s)
                continue
            ongoing.heard.clear()
            try:
                await self._depot.replied(ven, await self._post(ongoing, letter))
            except (ClientError, OSError, TimeoutError, TransportFault) as error:
                self._depot.undelivered(ven)
                self.failing[ven] = f"{type(error).__name__}: {error}"[:200]
                if not failures:
                    logger.warning("openadr2: push to VEN %r failed, will be tried again: %s", ven, self.failing[ven])
                wait = min(_FIRST_WAIT_S * 2**failures, _LONGEST_WAIT_S)
                failures = min(failures + 1, 16)
                # Jitter, so that VENs that went away together do not all come back at once.
                if await happens(ongoing.heard, wait * random.uniform(0.75, 1.0)):  # noqa: S311
                    failures = 0
                continue
            if failures:
                logger.info("openadr2: push to VEN %r works again", ven)
            failures = 0
            self.failing.pop(ven, None)

    async def _post(self, ongoing: _Round, letter: Letter) -> bytes:
        if ongoing.http is None or ongoing.pinned != letter.fingerprint:
            if ongoing.http is not None:
                await ongoing.http.close()
            ongoing.http, ongoing.pinned = self._client(letter.fingerprint), letter.fingerprint
        headers = {"Content-Type": "application/xml"}
        # aiohttp takes context and fingerprint from different places; a fingerprint given here would drop the context.
        tls: SSLContext | bool = self._context or True
        async with ongoing.http.post(
            letter.url, data=letter.body, headers=headers, allow_redirects=False, ssl=tls
        ) as reply:
            if reply.status != 200:
                raise TransportFault(reply.status, "push.status", "the VEN did not take the message")
            return await _body(reply)

    @staticmethod
    def _client(fingerprint: str) -> ClientSession:
        pinned = Fingerprint(bytes.fromhex(fingerprint.replace(":", ""))) if fingerprint else True
        return ClientSession(connector=TCPConnector(limit=1, ssl=pinned), timeout=_TIMEOUT)


async def _body(reply: ClientResponse) -> bytes:
    chunks: list[bytes] = []
    size = 0
    async for chunk in reply.content.iter_any():
        size += len(chunk)
        if size > _REPLY_BYTES:
            raise TransportFault(502, "push.size", f"a reply of more than {_REPLY_BYTES} bytes")
        chunks.append(chunk)
    return b"".join(chunks)
