"""Peers over HTTP, beyond what `interop.http` does: their keys rotate."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from aiohttp import web

from adapters.uftp.keys import parse_public_keys
from interop.api.body import answer, read

if TYPE_CHECKING:
    from interop.server import Server

__all__ = ["KeyBody", "routes"]

_LONGEST_H = 31 * 24


@dataclass(frozen=True, slots=True)
class KeyBody:
    """A peer's new public key, and for how many hours (market time) its present keys are still trusted."""

    key: str
    overlap_h: float = 24.0

    def __post_init__(self) -> None:
        if len(parse_public_keys(self.key)) != 1:
            raise ValueError("key must be one public key")
        if not 0 <= self.overlap_h <= _LONGEST_H:
            raise ValueError(f"overlap_h must be from 0 to {_LONGEST_H}")

    @property
    def public_key(self) -> bytes:
        return parse_public_keys(self.key)[0]

    @property
    def overlap(self) -> timedelta:
        return timedelta(hours=self.overlap_h)


def routes(server: Server) -> list[web.RouteDef]:
    async def rotate(request: web.Request) -> web.Response:
        domain = request.match_info["domain"]
        body = await read(request, KeyBody, "key")
        try:
            peer = await server.peers.rotate(domain, body.public_key, body.overlap)
        except KeyError as error:
            raise web.HTTPNotFound(text=f"no peer is called {domain}") from error
        except ValueError as error:
            raise web.HTTPConflict(text=str(error)) from error
        return answer({"id": domain, "status": str(peer.status)}, status=201)

    return [web.post("/api/v1/peers/{domain}/keys", rotate)]
