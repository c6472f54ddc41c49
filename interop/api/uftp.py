"""Ready UFTP payloads over HTTP: sent as they stand, and remembered as said by us."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aiohttp import web

from adapters.errors import Rejection
from interop.api.body import answer, market_desk
from interop.market.desk import SaidAlready
from interop.step import Undeliverable

if TYPE_CHECKING:
    from interop.server import Server

__all__ = ["routes"]


def routes(server: Server) -> list[web.RouteDef]:
    async def send(request: web.Request) -> web.Response:
        desk = market_desk(server)
        try:
            row = await desk.forward(await request.read(), request.query.get("to", ""))
        except Rejection as error:
            raise web.HTTPUnprocessableEntity(text=str(error)) from error
        except (SaidAlready, Undeliverable) as error:
            raise web.HTTPConflict(text=str(error)) from error
        return answer(row, status=201)

    return [web.post("/api/v1/uftp/messages", send)]
