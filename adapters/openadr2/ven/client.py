"""HTTP to a VTN: one payload out, one back. The VTN's certificate is compared before anything is sent. Wall time."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any

import aiohttp

from adapters.errors import Rejection, TransportFault
from adapters.openadr2 import model
from adapters.openadr2.model import OadrResponse, Payload
from adapters.openadr2.ven.config import VtnConfig
from adapters.openadr2.ven.sealing import SIZE, Sealing
from adapters.ports import Direction
from adapters.tls import TlsProfile, client_context, fingerprint

__all__ = ["Client", "Seen", "VtnError"]

_TIMEOUT = aiohttp.ClientTimeout(total=60, sock_connect=5, sock_read=20)
Seen = Callable[[Direction, str, bytes], None]

_ENDPOINTS = {
    "EiRegisterParty": (
        model.OadrQueryRegistration,
        model.OadrCreatePartyRegistration,
        model.OadrCancelPartyRegistration,
        model.OadrCanceledPartyRegistration,
        model.OadrResponse,
    ),
    "EiEvent": (model.OadrRequestEvent, model.OadrCreatedEvent),
    "EiReport": (
        model.OadrRegisterReport,
        model.OadrRegisteredReport,
        model.OadrCreateReport,
        model.OadrCreatedReport,
        model.OadrUpdateReport,
        model.OadrUpdatedReport,
        model.OadrCancelReport,
        model.OadrCanceledReport,
    ),
    "EiOpt": (model.OadrCreateOpt, model.OadrCancelOpt),
    "OadrPoll": (model.OadrPoll,),
}
_ENDPOINT: dict[type, str] = {cls: endpoint for endpoint, classes in _ENDPOINTS.items() for cls in classes}


class VtnError(Exception):
    """A VTN could not be asked, or its answer cannot be used. `code` is the HTTP status or the eiResponse code, 0 where
    there was none."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code

    @property
    def is_fault(self) -> bool:
        """Whether the VTN is there, but cannot take this message: neither busy nor unable to tell who we are."""
        return self.code >= 400 and self.code not in (401, 403, 408, 429, 463, 502, 503, 504)


class Client:
    """One VTN. `seen` is told of every body."""

    def __init__(self, config: VtnConfig, sealing: Sealing, seen: Seen) -> None:
        self._config = config
        self._sealing = sealing
        self._seen = seen
        self._session: aiohttp.ClientSession | None = None

    async def start(self) -> None:
        """Read TLS files (OSError or ssl.SSLError where that fails)."""
        connector = aiohttp.TCPConnector(limit_per_host=4, ssl=_context(self._config))
        self._session = aiohttp.ClientSession(
            connector=connector, timeout=_TIMEOUT, cookie_jar=aiohttp.DummyCookieJar()
        )

    async def stop(self) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def say(self, payload: Payload) -> Payload | None:
        """Post a payload to its end point; what comes back. None is an empty answer to an oadrResponse.

        Raises:
            VtnError: the VTN cannot be reached, answers with a fault, or says what cannot be read.
        """
        name = _name(payload)
        body = self._sealing.seal(payload)
        self._seen(Direction.OUT, name, body)
        status, answered = await self._post(_ENDPOINT[type(payload)], body)
        if status != 200:
            raise VtnError(status, f"{name}: HTTP {status} {_line(answered)}".rstrip())
        if not answered and isinstance(payload, OadrResponse):
            return None
        try:
            taken = self._sealing.read(answered)
            await self._sealing.admit(taken)
        except (TransportFault, Rejection) as error:
            raise VtnError(0, f"the answer to {name} cannot be used: {error}"[:300]) from error
        self._seen(Direction.IN, taken.kind, answered)
        return taken.payload

    async def _post(self, endpoint: str, body: bytes) -> tuple[int, bytes]:
        if self._session is None:
            raise RuntimeError("the client is not started")
        url, headers = self._config.base / endpoint, {"Content-Type": "application/xml"}
        try:
            async with self._session.post(url, data=body, headers=headers, allow_redirects=False) as response:
                return response.status, await _limited(response)
        except TimeoutError:
            raise VtnError(0, f"{url.host}: no answer in time") from None
        except (aiohttp.ClientError, OSError) as error:
            raise VtnError(0, f"{url.host}: {type(error).__name__}: {error}"[:200]) from error


async def _limited(response: aiohttp.ClientResponse) -> bytes:
    content = bytearray()
    async for chunk in response.content.iter_chunked(1 << 16):
        content += chunk
        if len(content) > SIZE:
            raise VtnError(0, f"an answer of more than {SIZE} bytes")
    return bytes(content)


def _name(payload: Payload) -> str:
    return f"o{type(payload).__name__[1:]}"


def _line(body: bytes) -> str:
    return " ".join(body[:200].decode("ascii", "replace").split())


# --- TLS ----------------------------------------------------------------------------------------------------------


def _context(config: VtnConfig) -> ssl.SSLContext | bool:
    if config.base.scheme == "http":
        return True
    authority = Path(config.tls_ca) if config.tls_ca else None
    certificate = Path(config.tls_certificate) if config.tls_certificate else None
    key = Path(config.tls_key) if config.tls_key else None
    context = client_context(authority, certificate, key, TlsProfile.OPENADR2)
    if config.fingerprint:
        context.sslobject_class = _pinned(config.fingerprint)
    return context


def _pinned(expected: str) -> type[ssl.SSLObject]:
    class Pinned(ssl.SSLObject):
        """A connection that ends with its handshake where the peer shows another certificate than the expected one."""

        def do_handshake(self) -> None:
            super().do_handshake()
            shown = fingerprint(self.getpeercert(binary_form=True) or b"")
            if shown != expected:
                raise ssl.SSLCertVerificationError(f"the VTN shows certificate {shown}, not the configured one")

    pinned: Any = Pinned
    return pinned  # type: ignore[no-any-return]
