"""HTTP to a VTN: tokens, pages, ETags, and problem bodies. Time-outs are wall time."""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlencode

import aiohttp
from yarl import URL

from adapters.errors import TransportFault
from adapters.openadr3 import codec, model
from adapters.openadr3.codec import answer, decode, dumps, encode, loads, request
from adapters.openadr3.config import VtnConfig
from adapters.openadr3.members import Version, Wire
from adapters.ports import Direction
from adapters.tls import client_context
from datamodels import Problem

__all__ = ["Client", "VtnError"]

T = TypeVar("T", bound=Wire)
_PAGE = 50
_MOST_PAGES = 400
_RENEW_BEFORE_S = 30.0
_TIMEOUT = aiohttp.ClientTimeout(total=60, sock_connect=5, sock_read=20)
Seen = Callable[[Direction, str, bytes, str], None]


class VtnError(Exception):
    """A VTN could not be asked or did not do what it was asked. `code` is the HTTP status, 0 where there was none."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code

    @property
    def is_final(self) -> bool:
        """Whether asking again cannot help."""
        return 400 <= self.code < 500 and self.code not in (401, 403, 404, 408, 409, 425, 429)


class Client:
    """One VTN. `seen` is told of every body. What cannot be read in lists is in `problems`, its ids in `unread`."""

    def __init__(self, config: VtnConfig, seen: Seen) -> None:
        self.config = config
        self.problems: list[Problem] = []
        self.unread: set[str] = set()
        self._seen = seen
        self._base = URL(config.url.rstrip("/"))
        self._session: aiohttp.ClientSession | None = None
        self._token: tuple[str, float] | None = None
        self._cache: dict[URL, tuple[str, bytes]] = {}

    async def start(self) -> None:
        """Read TLS files (OSError or ssl.SSLError where that fails)."""
        tls: ssl.SSLContext | bool = True
        if self.config.tls_ca or self.config.tls_certificate:
            tls = _context(self.config)
        connector = aiohttp.TCPConnector(limit_per_host=4, ssl=tls)
        self._session = aiohttp.ClientSession(
            connector=connector, timeout=_TIMEOUT, cookie_jar=aiohttp.DummyCookieJar()
        )

    async def stop(self) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None

    # --- objects ---

    async def all(self, cls: type[T], path: str, **query: str) -> list[tuple[T, bytes]]:
        """Every object of a collection with its own JSON; objects that cannot be read are left out and told of.

        Raises:
            VtnError: the collection cannot be had.
        """
        out: list[tuple[T, bytes]] = []
        for page in range(_MOST_PAGES):
            where = self._url(path).with_query(query | {"skip": str(page * _PAGE), "limit": str(_PAGE)})
            items = await self._read(where, cls.__name__)
            if not isinstance(items, list):
                raise VtnError(0, f"{path} is no list")
            for n, item in enumerate(items):
                decoded = decode(answer(cls, self.config.version), item)
                if decoded.value is not None:
                    out.append((decoded.value, dumps(item)))
                elif isinstance(item, Mapping) and isinstance(item.get("id"), str):
                    self.unread.add(item["id"])
                place = f"{path}[{page * _PAGE + n}]"
                self.problems += [
                    Problem(p.rule, f"{place}.{p.where}", p.message, hint=p.hint) for p in decoded.problems
                ]
            if len(items) < _PAGE:
                return out
        raise VtnError(0, f"{path} does not end after {_MOST_PAGES} pages")

    async def create(self, path: str, value: Wire) -> None:
        """Post an object (VtnError where the VTN does not take it)."""
        shape = request(type(value), self.config.version)
        plain = encode(value, self.config.version)
        body = dumps({name: item for name, item in plain.items() if name not in shape.hidden})
        await self._exchange("POST", self._url(path), type(value).__name__, body)

    # --- exchange ---

    def _url(self, path: str) -> URL:
        return self._base / path

    async def _read(self, url: URL, kind: str) -> Any:
        known = self._cache.get(url)
        headers = {"If-None-Match": known[0]} if known else {}
        status, body, tag = await self._exchange("GET", url, kind, None, headers)
        if status == 304 and known:
            return self._loads(known[1])
        if tag:
            self._cache[url] = (tag, body)
        else:
            self._cache.pop(url, None)
        return self._loads(body)

    async def _exchange(
        self, method: str, url: URL, kind: str, body: bytes | None, headers: Mapping[str, str] | None = None
    ) -> tuple[int, bytes, str]:
        """One request with a token, which is renewed once where the VTN no longer takes it."""
        for attempt in (1, 2):
            token = await self._bearer()
            given = dict(headers or {}) | ({"Authorization": f"Bearer {token}"} if token else {})
            status, answered, tag = await self._send(method, url, kind, body, given)
            if status != 401 or not token or attempt == 2 or self.config.token_file:
                break
            self._token = None
        if status >= 400:
            raise VtnError(status, f"{method} {url.path}: {status} {_told(answered, self.config.version)}")
        return status, answered, tag

    async def _send(
        self, method: str, url: URL, kind: str, body: bytes | None, headers: dict[str, str], form: str = ""
    ) -> tuple[int, bytes, str]:
        if self._session is None:
            raise RuntimeError("the client is not started")
        if body is not None:
            headers["Content-Type"] = form or "application/json"
            self._seen(Direction.OUT, kind, b"" if form else body, method)
        try:
            async with self._session.request(
                method, url, data=body, headers=headers, allow_redirects=False
            ) as response:
                if response.status in (301, 302, 303, 307, 308):
                    raise VtnError(response.status, f"{url.path} redirects; configure where it leads to")
                content = await _limited(response)
                if not form and response.status != 304:
                    self._seen(Direction.IN, kind, content, f"{method} {response.status}")
                return response.status, content, response.headers.get("ETag", "")
        except TimeoutError:
            raise VtnError(0, f"{url.host}: no answer in time") from None
        except (aiohttp.ClientError, OSError) as error:
            raise VtnError(0, f"{url.host}: {type(error).__name__}: {error}"[:200]) from error

    @staticmethod
    def _loads(body: bytes) -> Any:
        try:
            return loads(body)
        except TransportFault as fault:
            raise VtnError(0, fault.message) from fault

    # --- token ---

    async def _bearer(self) -> str:
        """A token that is good for a while; empty where none is configured."""
        config = self.config
        if config.token_file:
            return (await asyncio.to_thread(Path(config.token_file).read_text, encoding="utf-8")).strip()
        if not config.client_id:
            return ""
        if self._token is None or self._token[1] <= time.monotonic():
            self._token = await self._ask_token()
        return self._token[0]

    async def _ask_token(self) -> tuple[str, float]:
        """By client credentials (RFC 6749 4.4), where `/auth/server` says or at `/auth/token`."""
        config = self.config
        secret = (await asyncio.to_thread(Path(config.client_secret_file).read_text, encoding="utf-8")).strip()
        form = {"grant_type": "client_credentials", "client_id": config.client_id, "client_secret": secret}
        fields = form | ({"scope": config.scope} if config.scope else {})
        url = await self._token_url()
        encoded = urlencode(fields).encode()
        status, answered, _ = await self._send("POST", url, "token", encoded, {}, "application/x-www-form-urlencoded")
        said = self._loads(answered) if status < 300 else {}
        token = said.get("access_token") if isinstance(said, dict) else None
        if not isinstance(token, str) or not token:
            raise VtnError(status, f"no token from {url.host}: {status} {_told(answered, config.version)}")
        lasts = said.get("expires_in")
        lasts = float(lasts) if isinstance(lasts, int) and not isinstance(lasts, bool) else 3600.0
        return token, time.monotonic() + max(lasts - _RENEW_BEFORE_S, lasts / 2)

    async def _token_url(self) -> URL:
        config = self.config
        if config.token_url:
            return URL(config.token_url)
        if config.version is Version.V310:
            status, body, _ = await self._send("GET", self._url("auth/server"), "auth/server", None, {})
            said = self._loads(body) if status == 200 else {}
            named = said.get("tokenURL") if isinstance(said, dict) else None
            if isinstance(named, str):
                url = URL(named)
                if url.scheme == "https" or (config.insecure and url.host == self._base.host):
                    return url
                raise VtnError(0, f"/auth/server names {named!r}, to which no secret goes; configure token_url")
        return self._url("auth/token")


async def _limited(response: aiohttp.ClientResponse) -> bytes:
    content = bytearray()
    async for chunk in response.content.iter_chunked(1 << 16):
        content += chunk
        if len(content) > codec.DEFAULT_SIZE:
            raise VtnError(0, f"an answer of more than {codec.DEFAULT_SIZE} bytes")
    return bytes(content)


def _context(config: VtnConfig) -> ssl.SSLContext:
    certificate = Path(config.tls_certificate) if config.tls_certificate else None
    key = Path(config.tls_key) if config.tls_key else None
    if config.tls_ca:
        return client_context(Path(config.tls_ca), certificate, key)
    context = ssl.create_default_context()
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if certificate is not None:
        context.load_cert_chain(certificate, key)
    return context


def _told(body: bytes, version: Version) -> str:
    """What a problem body says, short and in one line."""
    try:
        told = decode(answer(model.Problem, version), loads(body)).value
    except TransportFault:
        return ""
    if told is None:
        return ""
    text = " ".join(part for part in (told.title, told.detail) if part) or str(told.extra.get("error", ""))
    return " ".join(text.split())[:200]
