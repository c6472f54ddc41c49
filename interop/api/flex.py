"""The trade over HTTP: where it stands, and an offer taken back."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aiohttp import web

from interop.api.body import answer, market_desk
from interop.market.status import status
from interop.step import Undeliverable

if TYPE_CHECKING:
    from interop.server import Server

__all__ = ["routes"]


def routes(server: Server) -> list[web.RouteDef]:
    async def flex(request: web.Request) -> web.Response:
        return answer(status(market_desk(server).book, server.clock.now()))

    async def revoke(request: web.Request) -> web.Response:
        desk = market_desk(server)
        offer = request.match_info["id"]
        try:
            revocation = await desk.revoke(offer)
        except LookupError as error:
            raise web.HTTPNotFound(text=str(error)) from error
        except (ValueError, Undeliverable) as error:
            raise web.HTTPConflict(text=str(error)) from error
        return answer({"id": offer, "revocation": revocation.head.message_id, "peer": revocation.head.recipient})

    return [web.get("/api/v1/flex", flex), web.delete("/api/v1/flex/offers/{id}", revoke)]
