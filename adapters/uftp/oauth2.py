"""OAuth 2.0 client credentials (RFC 6749 section 4.4): tokens for peers and directories that want one."""

from __future__ import annotations

import asyncio
import json
import ssl
import time
from collections.abc import Callable
from pathlib import Path

import aiohttp

__all__ = ["ClientCredentials", "TokenError", "body_of"]

_MOST_BYTES = 64 * 1024
_UNSAID_S = 300.0  # how long a token is used whose server does not say
_MARGIN = 0.1  # a token is renewed this part of its life before its end
_LONGEST_MARGIN_S = 60.0


class TokenError(Exception):
    """The token server gave no token: it is down, or refuses us. Worth another try later."""


async def body_of(response: aiohttp.ClientResponse) -> bytes:
    """A small body (ValueError: it is none)."""
    body = bytearray()
    async for chunk in response.content.iter_any():
        body += chunk
        if len(body) > _MOST_BYTES:
            raise ValueError(f"more than {_MOST_BYTES} bytes")
    return bytes(body)


class ClientCredentials:
    """A client's account at a token server, and the token it holds at the moment. `tls` says whom to trust there.

    Raises:
        OSError, ValueError: the secret's file cannot be read, or is empty.
    """

    def __init__(
        self,
        token_url: str,
        client_id: str,
        secret_file: Path,
        scope: str = "",
        tls: ssl.SSLContext | bool = True,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        secret = secret_file.read_text(encoding="utf-8").strip()
        if not secret:
            raise ValueError(f"{secret_file} holds no client secret")
        self._url = token_url
        self._account = aiohttp.encode_basic_auth(client_id, secret)
        self._scope = scope
        self._tls = tls
        self._monotonic = monotonic
        self._token = ""
        self._until = 0.0
        self._one_at_a_time = asyncio.Lock()

    async def token(self, session: aiohttp.ClientSession) -> str:
        """The token to send; asked for anew where there is none or its time is over (TokenError)."""
        async with self._one_at_a_time:
            if not self._token or self._monotonic() >= self._until:
                self._token, life_s = await self._ask(session)
                self._until = self._monotonic() + life_s - min(life_s * _MARGIN, _LONGEST_MARGIN_S)
            return self._token

    def drop(self, token: str) -> None:
        """That token was refused: the next call asks for another."""
        if token == self._token:
            self._token = ""

    async def _ask(self, session: aiohttp.ClientSession) -> tuple[str, float]:
        form = {"grant_type": "client_credentials"} | ({"scope": self._scope} if self._scope else {})
        headers = {"Authorization": self._account, "Accept": "application/json"}
        try:
            async with session.post(
                self._url, data=form, headers=headers, ssl=self._tls, allow_redirects=False
            ) as response:
                if response.status != 200:
                    raise TokenError(f"the token server answers {response.status}")
                answer = json.loads(await body_of(response))
                token = answer["access_token"]
                life_s = float(answer.get("expires_in", _UNSAID_S))
        except TimeoutError:
            raise TokenError("the token server does not answer in time") from None
        except (aiohttp.ClientError, OSError) as error:
            raise TokenError(f"the token server cannot be reached: {type(error).__name__}") from error
        except (ValueError, TypeError, KeyError, AttributeError):
            raise TokenError("the token server's answer holds no token") from None
        if not isinstance(token, str) or not token or not token.isascii() or not token.isprintable():
            raise TokenError("the token server's answer holds no usable token")
        return token, max(life_s, 0.0)
