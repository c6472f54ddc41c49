"""Tokens of an issuer outside, verified with its public keys (JWKS)."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import OrderedDict
from pathlib import Path
from typing import Any

import aiohttp
import jwt

from adapters.errors import TransportFault
from adapters.openadr3.vtn.auth import Caller, caller_of, decoded, scopes_of
from adapters.openadr3.vtn.config import IssuerConfig

__all__ = ["Issuer"]

logger = logging.getLogger(__name__)

_TIMEOUT_S = 10.0
_AGAIN_S = 30.0
_TOKENS = 10_000
_LARGEST = 1024 * 1024


class Issuer:
    """Knows the issuer's keys; an unknown one is looked for again, at most every half minute."""

    def __init__(self, config: IssuerConfig) -> None:
        self._config = config
        self._keys: dict[str, Any] = {}
        self._looked = float("-inf")
        self._looking = asyncio.Lock()
        self._session: aiohttp.ClientSession | None = None
        self._known: OrderedDict[str, tuple[Caller, float]] = OrderedDict()

    async def start(self) -> None:
        """Look for the keys; if they cannot be had now, tokens are refused until they can."""
        if self._config.jwks_url:
            self._session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=_TIMEOUT_S))
        await self._look()

    async def stop(self) -> None:
        if self._session is not None:
            await self._session.close()

    async def verify(self, token: str) -> tuple[Caller, float]:
        """Whose token it is, and until when (TransportFault 401 where it is worth nothing)."""
        known = self._known.get(token)
        if known is None:
            claims = decoded(token, await self._key(token), self._config.issuer, self._config.audience or None)
            client = claims.get(self._config.client_claim)
            if not isinstance(client, str) or not client:
                raise TransportFault(401, "openadr3.token", f"the token has no {self._config.client_claim}")
            scope = claims.get("scope", claims.get("scp", ""))
            scopes = scopes_of(scope.split() if isinstance(scope, str) else map(str, scope))
            known = self._known[token] = caller_of(client, scopes), float(claims["exp"])
            if len(self._known) > _TOKENS:
                self._known.popitem(last=False)
        if known[1] <= time.time():
            self._known.pop(token, None)
            raise TransportFault(401, "openadr3.token", "the token has expired")
        return known

    async def _key(self, token: str) -> Any:
        try:
            kid = jwt.get_unverified_header(token).get("kid")
        except jwt.InvalidTokenError as error:
            raise TransportFault(401, "openadr3.token", "the token is no JWT") from error
        if kid not in self._keys:
            await self._look()
        key = self._keys.get(kid) if kid is not None else next(iter(self._keys.values()), None)
        if key is None:
            raise TransportFault(401, "openadr3.token", "the token is signed with a key that is not known")
        return key

    async def _look(self) -> None:
        async with self._looking:
            if time.monotonic() - self._looked < _AGAIN_S:
                return
            self._looked = time.monotonic()
            try:
                keys = jwt.PyJWKSet.from_json(await self._text()).keys
            except (OSError, ValueError, aiohttp.ClientError, TimeoutError, jwt.PyJWTError) as error:
                logger.warning("openadr3: the issuer's keys cannot be had: %s", type(error).__name__)
                return
            self._keys = {key.key_id or "": key.key for key in keys}

    async def _text(self) -> str:
        if self._session is None:
            return await asyncio.to_thread(Path(self._config.jwks_file).read_text, "utf-8")
        async with self._session.get(self._config.jwks_url) as response:
            response.raise_for_status()
            return (await response.content.read(_LARGEST)).decode()
