"""Discovery by an HTTP address book, in the shape of GOPACS' participants API version 3::

    GET <url>/uftp-participants/v3/participants/<domain>
    GET <url>/uftp-participants/v3/participants/contracts/<contract>/roles/<AGR|DSO>

with a bearer token. An entry is JSON with `domain` and `publicKey`. It names no address: all participants of such a
market are reached at one. An entry that names a role must name the right one; not all do.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import quote

import aiohttp

from adapters.uftp.access import Credentials
from adapters.uftp.discovery.base import Found, Unavailable, Unlisted
from adapters.uftp.keys import parse_public_keys
from adapters.uftp.oauth2 import TokenError, body_of
from datamodels import Role

__all__ = ["AddressBook"]

_PATH = "/uftp-participants/v3/participants"


class AddressBook:
    """Looks participants up in an address book.

    Args:
        now: wall time.
        url: where the address book is, without its path.
        endpoint: the URL at which this market's participants take messages; "" where operators list it.
        life_s: how long an answer holds.
    """

    def __init__(
        self,
        now: Callable[[], datetime],
        url: str,
        credentials: Credentials,
        endpoint: str = "",
        life_s: float = 3600.0,
        timeout_s: float = 5.0,
    ) -> None:
        self._now = now
        self._url = url
        self._credentials = credentials
        self._endpoint = endpoint
        self._life_s = life_s
        self._timeout = aiohttp.ClientTimeout(total=timeout_s)
        self._session: aiohttp.ClientSession | None = None

    async def find(self, domain: str, role: Role) -> Found:
        entry = await self._get(f"{_PATH}/{quote(domain, safe='')}")
        if entry.get("domain", domain) != domain:
            raise Unavailable(f"asked for {domain}, the address book answers with another domain")
        return self._read(entry, domain, role)

    async def find_party(self, contract: str, role: Role) -> tuple[str, Found]:
        """The domain of the party that has `role` in a contract, and what is known of it."""
        entry = await self._get(f"{_PATH}/contracts/{quote(contract, safe='')}/roles/{role}")
        domain = entry.get("domain")
        if not isinstance(domain, str):
            raise Unavailable(f"the address book's entry on contract {contract} names no domain")
        return domain, self._read(entry, domain, role)

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None

    def _read(self, entry: dict[str, Any], domain: str, role: Role) -> Found:
        if entry.get("role", role) != role:
            raise Unlisted(f"the address book has {domain} in another role than {role}")
        try:
            keys = parse_public_keys(str(entry.get("publicKey") or ""))
        except ValueError as error:
            raise Unavailable(f"the address book's entry on {domain}: {error}") from None
        return Found(keys, self._endpoint, (), self._now() + timedelta(seconds=self._life_s))

    async def _get(self, path: str) -> dict[str, Any]:
        """An entry. A token that is refused is renewed once."""
        try:
            status, body = await self._try(path)
            if status == 401:
                status, body = await self._try(path)
        except TimeoutError:
            raise Unavailable("the address book does not answer in time") from None
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise Unavailable(f"the address book cannot be read: {type(error).__name__}") from error
        except TokenError as error:
            raise Unavailable(str(error)) from error
        if status == 404:
            raise Unlisted("the address book has no such entry")
        if status != 200:
            raise Unavailable(f"the address book answers {status}")
        try:
            entry = json.loads(body)
        except ValueError:
            entry = None
        if not isinstance(entry, dict):
            raise Unavailable("the address book's answer is no entry")
        return entry

    async def _try(self, path: str) -> tuple[int, bytes]:
        if self._session is None:
            self._session = aiohttp.ClientSession(timeout=self._timeout, cookie_jar=aiohttp.DummyCookieJar())
        account, tls = self._credentials.account, self._credentials.tls
        headers = {"Accept": "application/json"}
        token = ""
        if account is not None:
            token = await account.token(self._session)
            headers["Authorization"] = f"Bearer {token}"
        async with self._session.get(self._url + path, headers=headers, ssl=tls, allow_redirects=False) as response:
            if response.status == 401 and account is not None:
                account.drop(token)
            return response.status, await body_of(response)
