"""The operators' HTTP: health, metrics, a JSON API, and whatever pages are installed.

Reading is open to whoever reaches the listener (127.0.0.1 unless configured otherwise) and calls it by its address.
Changing anything needs the configured token, or, without one, a loopback client. Errors are problem documents
(RFC 9457) with a reference that also stands in the log.
"""

from __future__ import annotations

import asyncio
import hmac
import ipaddress
import json
import logging
import secrets
from collections.abc import Awaitable, Callable
from dataclasses import fields
from typing import TYPE_CHECKING, Any

from aiohttp import web

from interop import plugins
from interop.api import routes
from interop.config import PeerConfig
from interop.settings import Settings
from interop.store import StoreUnavailable

if TYPE_CHECKING:
    from interop.server import Server

__all__ = ["Listener", "make_app"]

log = logging.getLogger(__name__)
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
_SAFE = frozenset({"GET", "HEAD"})
_MOST_ROWS = 5000
_BODY_S = 10
_FORM = "application/x-www-form-urlencoded"
"""What a page's form sends, which cannot set a header: it has a field for the token."""
_MOST_BYTES = 2 * 1024 * 1024


def make_app(server: Server) -> web.Application:
    """The application, pages included."""
    app = web.Application(middlewares=[_problems, _guard(server)], client_max_size=_MOST_BYTES)
    api = _Api(server)
    app.add_routes(
        [
            web.get("/healthz", api.healthz),
            web.get("/readyz", api.readyz),
            web.get("/metrics", api.metrics),
            web.get("/api/v1/status", api.status),
            web.get("/api/v1/messages", api.messages),
            web.get("/api/v1/messages/{id}", api.message),
            web.get("/api/v1/dispatches", api.dispatches),
            web.get("/api/v1/resources", api.resources),
            web.get("/api/v1/alarms", api.alarms),
            web.get("/api/v1/events", api.events),
            web.get("/api/v1/peers", api.peers),
            web.post("/api/v1/peers", api.add_peer),
            web.delete("/api/v1/peers/{domain}", api.bar_peer),
        ]
    )
    app.add_routes(routes(server))
    for name, point in plugins.find(plugins.PAGES).items():
        try:
            register = point.load()
        except (ImportError, AttributeError):  # pages that cannot be loaded must not keep the market from working
            log.exception("the pages of %s are not shown", name)
        else:
            register(app, server)
    return app


class Listener:
    """An application on a socket, with time-outs that a server on a network needs."""

    def __init__(self, app: web.Application, host: str, port: int) -> None:
        self._runner = web.AppRunner(app, access_log=None, keepalive_timeout=15, shutdown_timeout=3)
        self._host = host
        self._port = port
        self.address = ""

    async def start(self) -> None:
        """Listen; raises OSError where the port is taken."""
        await self._runner.setup()
        site = web.TCPSite(self._runner, self._host, self._port)
        await site.start()
        host, port = self._runner.addresses[0][:2]
        self.address = f"{host}:{port}"

    async def stop(self) -> None:
        await self._runner.cleanup()


class _Api:
    def __init__(self, server: Server) -> None:
        self._server = server

    async def healthz(self, request: web.Request) -> web.Response:
        return web.json_response({"status": "alive"})

    async def readyz(self, request: web.Request) -> web.Response:
        problems = await self._server.problems()
        body = {"ready": not problems, "problems": [str(problem) for problem in problems]}
        return web.json_response(body, status=503 if problems else 200)

    async def metrics(self, request: web.Request) -> web.Response:
        body = await self._server.measure()
        return web.Response(body=body, headers={"Content-Type": "text/plain; version=0.0.4; charset=utf-8"})

    async def status(self, request: web.Request) -> web.Response:
        return _json(await self._server.views.status())

    async def messages(self, request: web.Request) -> web.Response:
        wanted = request.query.get("conversation"), _number(request, "limit", 200), request.query.get("peer")
        return _json(await self._server.views.messages(*wanted))

    async def message(self, request: web.Request) -> web.Response:
        rows = await self._server.views.message(request.match_info["id"])
        if not rows:
            raise web.HTTPNotFound(text="no message has that id")
        return _json(rows)

    async def dispatches(self, request: web.Request) -> web.Response:
        return _json(await self._server.views.dispatches())

    async def resources(self, request: web.Request) -> web.Response:
        return _json(await self._server.views.resources())

    async def alarms(self, request: web.Request) -> web.Response:
        return _json(await self._server.views.alarms(_number(request, "limit", 100)))

    async def events(self, request: web.Request) -> web.Response:
        after = request.query.get("after")
        if after is None:
            return _json(await self._server.views.events(_number(request, "limit", 100)))
        rows = await self._server.store.events(_number(request, "after", 0), _number(request, "limit", 1000))
        return _json([{"seq": e.seq, "at": e.at.isoformat(), "kind": e.kind, "data": e.data} for e in rows])

    async def peers(self, request: web.Request) -> web.Response:
        return _json(await self._server.views.peers())

    async def add_peer(self, request: web.Request) -> web.Response:
        try:
            async with asyncio.timeout(_BODY_S):
                data = json.loads(await request.text())
        except TimeoutError:
            raise web.HTTPRequestTimeout(text=f"the body did not arrive within {_BODY_S} s") from None
        except ValueError:
            keys = ", ".join(f.name for f in fields(PeerConfig))
            raise web.HTTPBadRequest(text=f"the body is not JSON; expected an object with {keys}") from None
        settings = Settings(self._server.config.server.data_dir)
        peer = settings.read(PeerConfig, data, "peer")
        if peer is None:
            raise web.HTTPUnprocessableEntity(text="; ".join(str(problem) for problem in settings.problems))
        await self._server.peers.put(peer.canonical())
        return _json({"id": peer.domain, "status": str(peer.status)}, status=201)

    async def bar_peer(self, request: web.Request) -> web.Response:
        domain = request.match_info["domain"]
        if domain not in self._server.peers:
            raise web.HTTPNotFound(text=f"no peer is called {domain}")
        barred = await self._server.peers.bar(domain)
        return _json({"id": barred.domain, "status": str(barred.status)})


def _json(data: Any, status: int = 200) -> web.Response:
    return web.json_response(data, status=status, headers={"Cache-Control": "no-store"})


def _number(request: web.Request, name: str, default: int) -> int:
    text = request.query.get(name, str(default))
    if not text.isdecimal():
        raise web.HTTPBadRequest(text=f"{name} must be a whole number, 0 or more")
    return min(int(text), _MOST_ROWS) if name == "limit" else int(text)


def _guard(server: Server) -> Any:
    """Changes need the token or, where none is configured, a loopback client that no web page speaks for."""
    token = server.config.server.api_token

    @web.middleware
    async def guard(request: web.Request, handler: Handler) -> web.StreamResponse:
        if request.method in _SAFE:
            if not token and server.config.server.is_local and not _own_host(request):
                raise web.HTTPForbidden(text="this server is asked for by its address or as localhost")
            return await handler(request)
        if token:
            offered = request.headers.get("Authorization", "").removeprefix("Bearer ")
            if request.content_type == _FORM:
                offered = offered or str((await request.post()).get("api_token", ""))
            if not hmac.compare_digest(offered.encode(), token.encode()):
                raise web.HTTPUnauthorized(
                    text="send Authorization: Bearer <api_token>", headers={"WWW-Authenticate": "Bearer"}
                )
        elif not _loopback(request.remote) or not _own_host(request):
            raise web.HTTPForbidden(text="changes come from this machine only, unless [server] api_token is set")
        return await handler(request)

    return guard


def _loopback(remote: str | None) -> bool:
    return remote is not None and ipaddress.ip_address(remote).is_loopback


def _own_host(request: web.Request) -> bool:
    """No browser is tricked: the Host is ours by address or localhost, and a page elsewhere sends a foreign Origin."""
    host = request.url.host or ""
    local = host == "localhost" or (host.replace(".", "").replace(":", "").isalnum() and _is_loopback_text(host))
    origin = request.headers.get("Origin")
    return local and (origin is None or origin == f"{request.scheme}://{request.host}")


def _is_loopback_text(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


@web.middleware
async def _problems(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Errors as problem documents."""
    try:
        return await handler(request)
    except web.HTTPException as error:
        if error.status < 400:
            raise
        headers = {k: v for k, v in error.headers.items() if k in ("WWW-Authenticate", "Allow", "Retry-After")}
        return _problem(error.status, error.reason, error.text or "", headers)
    except StoreUnavailable as error:
        return _problem(503, "Service Unavailable", str(error), {"Retry-After": "5"})
    except Exception:  # whatever it was, the client gets a reference to the log line, not the text
        reference = secrets.token_hex(6)
        log.exception("%s %s failed", request.method, request.path, extra={"reference": reference})
        return _problem(500, "Internal Server Error", "see the server's log", {}, reference)


def _problem(status: int, title: str, detail: str, headers: dict[str, str], reference: str = "") -> web.Response:
    body = {"type": "about:blank", "title": title, "status": status, "detail": detail}
    body["reference"] = reference or secrets.token_hex(6)
    if not reference:
        log.info("%d %s: %s", status, title, detail, extra={"reference": body["reference"]})
    text = json.dumps(body)
    return web.Response(status=status, text=text, content_type="application/problem+json", headers=headers)
