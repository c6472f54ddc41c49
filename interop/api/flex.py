"""Manual trading over HTTP: where the trade stands, and everything a party may say in it (`POST flex/<verb>`)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aiohttp import web

from datamodels import encode
from interop.api.body import answer, market_desk, read
from interop.market.commands import COMMANDS, Unfit
from interop.market.machine import kind_of
from interop.market.status import status
from interop.settings import nearest
from interop.step import Undeliverable

if TYPE_CHECKING:
    from interop.server import Server

__all__ = ["routes"]


def routes(server: Server) -> list[web.RouteDef]:
    async def trade(request: web.Request) -> web.Response:
        return answer(status(market_desk(server).book, server.clock.now()))

    async def command(request: web.Request) -> web.Response:
        """201 with the message that was said now, 200 with the one that said the same before."""
        verb, desk = request.match_info["verb"], market_desk(server)
        if verb not in COMMANDS:
            raise web.HTTPNotFound(text=f"there is no command {verb!r}; {nearest(verb, COMMANDS)}")
        body = await read(request, COMMANDS[verb].body, verb)
        try:
            message, is_new = await desk.command(verb, body)
        except LookupError as error:
            raise web.HTTPNotFound(text=str(error)) from error
        except Unfit as error:
            raise web.HTTPUnprocessableEntity(text=str(error)) from error
        except (ValueError, Undeliverable) as error:
            raise web.HTTPConflict(text=str(error)) from error
        about = message.head
        row = {
            "id": about.message_id,
            "kind": kind_of(message),
            "peer": about.recipient,
            "conversation_id": about.conversation_id,
            "message": encode(message),
            "new": is_new,
        }
        return answer(row, status=201 if is_new else 200)

    return [web.get("/api/v1/flex", trade), web.post("/api/v1/flex/{verb}", command)]
