"""Forms that change something: a page elsewhere cannot send them in a visitor's name.

A browser holds a random cookie of ours, and each form a keyed digest of it. Both must come back together; the key lives
as long as the process, so a form that is older than the server is refused and filled in anew.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets

from aiohttp import web

__all__ = ["Forms"]

_COOKIE, _FIELD = "gridparley_form", "csrf"
_STALE = "this form is too old, or was not made by this server; open the page again and send it anew"


class Forms:
    def __init__(self) -> None:
        self._key = secrets.token_bytes(32)

    def cookie(self, request: web.Request) -> str:
        """The browser's cookie, or a new one for it."""
        return request.cookies.get(_COOKIE) or secrets.token_urlsafe(24)

    def token(self, cookie: str) -> str:
        """What the forms of a page hold that goes to the browser with that cookie."""
        return hmac.new(self._key, cookie.encode(), hashlib.sha256).hexdigest()

    def keep(self, response: web.Response, cookie: str) -> None:
        """Give the browser its cookie."""
        response.set_cookie(_COOKIE, cookie, httponly=True, samesite="Strict", path="/")

    async def read(self, request: web.Request) -> dict[str, str]:
        """What a form says (HTTP 403 where it is not one of ours)."""
        data = {name: value for name, value in (await request.post()).items() if isinstance(value, str)}
        cookie = request.cookies.get(_COOKIE, "")
        given = data.pop(_FIELD, "")
        if not cookie or not hmac.compare_digest(given.encode(), self.token(cookie).encode()):
            raise web.HTTPForbidden(text=_STALE)
        return data
