"""Callback URLs of subscriptions: which may be called, and whether somebody there wants it (Definition, Webhooks).

A callback is somebody else's address that we are asked to call from inside our network. The guard sits where the
socket is made, so it judges the very address that is connected to, whatever the name resolved to a moment before.
"""

from __future__ import annotations

import errno
import ipaddress
import logging
import secrets
import socket
from collections.abc import Sequence
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import TypeAlias

import aiohttp
from yarl import URL

from adapters.openadr3.vtn.push.config import WebhookConfig
from adapters.tls import client_context

__all__ = ["Callbacks", "may_call"]

Network: TypeAlias = IPv4Network | IPv6Network
_ANSWER = 4096
_KEEPALIVE_S = 2.0
_TRANSLATED = ipaddress.ip_network("64:ff9b::/96")
"""NAT64: an IPv4 address, possibly a private one, in the clothes of a global IPv6 address (RFC 6052)."""

log = logging.getLogger(__name__)


def may_call(address: str, also: Sequence[Network] = ()) -> bool:
    """Whether an IP address may be called: a global one, and not another address wrapped into it, or one of `also`."""
    ip = ipaddress.ip_address(address.partition("%")[0])
    if any(ip in network for network in also):
        return True
    if isinstance(ip, ipaddress.IPv6Address) and (
        ip.ipv4_mapped is not None or ip.sixtofour is not None or ip.teredo is not None or ip in _TRANSLATED
    ):
        return False
    return ip.is_global and not ip.is_multicast


class Callbacks:
    """The one HTTP client for callbacks: no redirects, no proxies, no cookies, guarded addresses, short time-outs.

    `lab` allows plain http and any address, and asks for no echo.
    """

    def __init__(self, config: WebhookConfig, lab: bool = False) -> None:
        self._config = config
        self._lab = lab
        self._networks = tuple(ipaddress.ip_network(network) for network in config.networks)
        self._session: aiohttp.ClientSession | None = None

    async def start(self) -> None:
        """Raises OSError or ssl.SSLError where `ca` cannot be used."""
        # The engine bounds connections by receiver and by speed; a limit here would let slow receivers fill it.
        connector = aiohttp.TCPConnector(
            limit=0,
            ssl=client_context(Path(self._config.ca) if self._config.ca else None),
            keepalive_timeout=_KEEPALIVE_S,
            socket_factory=self._socket,
        )
        self._session = aiohttp.ClientSession(
            connector=connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(total=self._config.timeout_s, sock_connect=self._config.timeout_s / 2),
            auto_decompress=False,
        )

    async def stop(self) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None

    def _is_callable(self, url: str) -> bool:
        """What can be seen from a URL alone."""
        try:
            parsed = URL(url)
        except ValueError:
            return False
        schemes = ("https", "http") if self._lab else ("https",)
        return parsed.scheme in schemes and bool(parsed.host) and parsed.user is None

    async def verify(self, url: str, bearer: str | None = None) -> str:
        """Ask a callback to echo a random text, as is demanded before a subscription is made or its URL changed.

        Returns what is wrong, if anything: then the subscription must not be stored. What exactly happened is in the
        log only: it would tell a stranger what there is in our network.
        """
        if not self._is_callable(url):
            return "an https URL without user and password is needed"
        if self._lab:
            return ""
        assert self._session is not None, "callbacks are verified after start"
        text = secrets.token_urlsafe(24)
        asked = URL(url).update_query(echo=text)
        try:
            async with self._session.get(asked, headers=authorization(bearer), allow_redirects=False) as response:
                told = await response.content.read(_ANSWER)
                status = response.status
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            log.warning("openadr3: callback %s cannot be verified: %s", url, error or type(error).__name__)
            return "the callback could not be asked for its echo"
        if status != 200 or told.strip() != text.encode():
            log.warning("openadr3: callback %s answered the echo with %s and another text", url, status)
            return "the callback did not answer its echo"
        return ""

    async def post(self, url: str, body: bytes, headers: dict[str, str]) -> int:
        """The status of one try.

        Raises:
            aiohttp.ClientError, TimeoutError, OSError: there was no answer.
        """
        assert self._session is not None, "callbacks are called after start"
        async with self._session.post(url, data=body, headers=headers, allow_redirects=False) as response:
            await response.content.read(_ANSWER)
            return response.status

    def _socket(self, info: aiohttp.AddrInfoType) -> socket.socket:
        family, kind, protocol, _, address = info
        if not self._lab and not may_call(address[0], self._networks):
            raise OSError(errno.EACCES, f"{address[0]} is not an address that callbacks may have")
        return socket.socket(family, kind, protocol)


def authorization(bearer: str | None) -> dict[str, str]:
    return {"Authorization": f"Bearer {bearer}"} if bearer else {}
