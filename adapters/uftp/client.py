"""Delivery: one try to post an envelope, and what its outcome means for the next."""

from __future__ import annotations

import io
from collections.abc import Mapping
from email.utils import parsedate_to_datetime

import aiohttp
from yarl import URL

from adapters.clock import SystemClock
from adapters.ports import Delivery, DeliveryStatus
from adapters.uftp.access import Credentials
from adapters.uftp.oauth2 import TokenError

__all__ = ["Client", "classify"]

_REDIRECTS = frozenset((301, 302, 307, 308))
_MOST_REDIRECTS = 5
_HEADERS = {"Content-Type": "text/xml; charset=utf-8"}
_CONNECT_S, _READ_S = 5.0, 20.0
# The key is not resolvable yet, the way is not there yet, too many messages, the server took too long to read.
_TEMPORARY_IN_4XX = frozenset((404, 408, 419, 425, 429))


def classify(code: int) -> DeliveryStatus:
    """What an HTTP status says about a delivery (UFTP 3.1.0 appendix 4): other 4xx end it, the unknown is temporary."""
    if 200 <= code < 300:
        return DeliveryStatus.DELIVERED
    if 400 <= code < 500 and code not in _TEMPORARY_IN_4XX:
        return DeliveryStatus.PERMANENT
    return DeliveryStatus.TEMPORARY


class Client:
    """Posts envelopes over one pool of connections. Time-outs are wall time.

    Args:
        credentials: for single peers, by domain.
        others: for all others.
        connect_s, read_s: how long a connection may take, and a silence on it.
    """

    def __init__(
        self,
        credentials: Mapping[str, Credentials] | None = None,
        others: Credentials | None = None,
        connect_s: float = _CONNECT_S,
        read_s: float = _READ_S,
    ) -> None:
        self._credentials = credentials or {}
        self._others = others or Credentials()
        # A peer that trickles its answer must not hold a delivery for ever.
        self._timeout = aiohttp.ClientTimeout(total=connect_s + 2 * read_s, sock_connect=connect_s, sock_read=read_s)
        self._session: aiohttp.ClientSession | None = None

    async def start(self) -> None:
        connector = aiohttp.TCPConnector(limit=100, limit_per_host=8)
        self._session = aiohttp.ClientSession(
            connector=connector, timeout=self._timeout, cookie_jar=aiohttp.DummyCookieJar()
        )

    async def stop(self) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def post(self, endpoint: str, body: bytes, domain: str = "") -> Delivery:
        """Post once, following redirects with the same method and body; with what peer `domain` wants of callers.

        A token that the peer refuses with 401 is renewed once.
        """
        if self._session is None:
            raise RuntimeError("the client is not started")
        try:
            url = URL(endpoint)
        except ValueError:
            url = URL()
        if url.scheme not in ("http", "https") or not url.host:
            return Delivery(DeliveryStatus.TEMPORARY, 0, f"no usable endpoint is known: {endpoint!r}")
        credentials = self._credentials.get(domain, self._others)
        try:
            if credentials.account is None:
                return await self._follow(self._session, url, body, credentials, "")
            token = await credentials.account.token(self._session)
            delivery = await self._follow(self._session, url, body, credentials, token)
            if delivery.code == 401:
                credentials.account.drop(token)
                token = await credentials.account.token(self._session)
                delivery = await self._follow(self._session, url, body, credentials, token)
            return delivery
        except TimeoutError:
            return Delivery(DeliveryStatus.TEMPORARY, 0, "timed out")
        except TokenError as error:
            return Delivery(DeliveryStatus.TEMPORARY, 0, str(error))
        except (aiohttp.ClientError, OSError, ValueError) as error:
            return Delivery(DeliveryStatus.TEMPORARY, 0, f"{type(error).__name__}: {error}"[:200])

    @staticmethod
    async def _follow(
        session: aiohttp.ClientSession, url: URL, body: bytes, credentials: Credentials, token: str
    ) -> Delivery:
        first, seen = url.origin(), {url}
        for _ in range(_MOST_REDIRECTS + 1):
            # A token is meant for the peer, not for whom it redirects to.
            headers = _HEADERS | ({"Authorization": f"Bearer {token}"} if token and url.origin() == first else {})
            async with session.post(
                url, data=io.BytesIO(body), headers=headers, ssl=credentials.tls, allow_redirects=False
            ) as response:
                if response.status not in _REDIRECTS or "Location" not in response.headers:
                    return await _outcome(response)
                target = url.join(URL(response.headers["Location"]))
            if target.scheme not in ("http", "https") or (url.scheme == "https" and target.scheme == "http"):
                return Delivery(DeliveryStatus.TEMPORARY, response.status, "redirected to an unsafe address")
            if target in seen:
                return Delivery(DeliveryStatus.TEMPORARY, response.status, "redirected in a circle")
            seen.add(target)
            url = target
        return Delivery(DeliveryStatus.TEMPORARY, 0, f"redirected more than {_MOST_REDIRECTS} times")


async def _outcome(response: aiohttp.ClientResponse) -> Delivery:
    text = (await response.content.read(500)).decode("utf-8", "replace").strip()
    status = classify(response.status)
    detail = "" if status is DeliveryStatus.DELIVERED else f"{response.reason or ''}: {text}".strip(": ")
    return Delivery(status, response.status, detail, _retry_after(response.headers.get("Retry-After")))


def _retry_after(text: str | None) -> float | None:
    """Seconds to wait, from either form of the header (RFC 9110 section 10.2.3)."""
    if text is None:
        return None
    if text.strip().isdigit():
        return min(float(text), 86400.0)
    try:
        until = parsedate_to_datetime(text)
        return max((until - SystemClock().now()).total_seconds(), 0.0)
    except (ValueError, TypeError):
        return None
