"""Response headers and the page for what is not there."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias

from aiohttp import web
from jinja2 import Environment

__all__ = ["add_headers", "not_found_page"]

_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
        "base-uri 'none'; frame-ancestors 'none'; form-action 'self'"
    ),
    "X-Content-Type-Options": "nosniff",
    # Not "no-referrer": browsers would send forms with Origin: null, and no guard could tell them from foreign ones.
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}

_PROGRAMS = "/api/"
"""Below this, errors are for programs whatever they say they accept."""

_Handler: TypeAlias = Callable[[web.Request], Awaitable[web.StreamResponse]]


async def add_headers(request: web.BaseRequest, response: web.StreamResponse) -> None:
    """A signal for `app.on_response_prepare`: the strictest policy, unless a handler has set its own."""
    for name, value in _HEADERS.items():
        response.headers.setdefault(name, value)
    response.headers.setdefault("Cache-Control", "no-store")


def not_found_page(env: Environment, context: Callable[[], dict[str, Any]]) -> Any:
    """A middleware that answers a browser's GET of something unknown with a page; programs keep what they get."""

    @web.middleware
    async def middleware(request: web.Request, handler: _Handler) -> web.StreamResponse:
        try:
            return await handler(request)
        except web.HTTPNotFound:
            if "text/html" not in request.headers.get("Accept", "") or request.path.startswith(_PROGRAMS):
                raise
        body = env.get_template("not_found.html").render(context(), path=request.path)
        return web.Response(text=body, status=404, content_type="text/html")

    return middleware
