"""What all handlers share: bodies read strictly into dataclasses, and answers."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Iterable
from dataclasses import fields
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from aiohttp import web

from datamodels import Problem
from interop.market.desk import MarketDesk
from interop.settings import Settings

if TYPE_CHECKING:
    from interop.server import Server

__all__ = ["answer", "market_desk", "minutes", "read", "refuse", "wrong_id"]

T = TypeVar("T")
_BODY_S = 10
_ID = re.compile(r"[A-Za-z0-9._:-]{1,80}")
_LONGEST_MINUTES = 366 * 24 * 60


async def read(request: web.Request, cls: type[T], where: str) -> T:
    """The JSON body as a dataclass; HTTP 400 where it is no JSON, 422 with every problem where it does not fit."""
    try:
        async with asyncio.timeout(_BODY_S):
            data = json.loads(await request.text())
    except TimeoutError:
        raise web.HTTPRequestTimeout(text=f"the body did not arrive within {_BODY_S} s") from None
    except ValueError:
        keys = ", ".join(f.name for f in fields(cls))  # type: ignore[arg-type]
        raise web.HTTPBadRequest(text=f"the body is not JSON; expected an object with {keys}") from None
    settings = Settings(Path())
    value = settings.read(cls, data, where)
    if value is None:
        refuse(settings.problems)
        raise AssertionError("unreachable: what cannot be read has a problem")
    return value


def refuse(problems: Iterable[Problem]) -> None:
    """HTTP 422 where there is any problem."""
    text = "; ".join(map(str, problems))
    if text:
        raise web.HTTPUnprocessableEntity(text=text)


def answer(data: Any, status: int = 200) -> web.Response:
    return web.json_response(data, status=status, headers={"Cache-Control": "no-store"})


def market_desk(server: Server) -> MarketDesk:
    """The desk, where there is one that trades; HTTP 409 where there is none."""
    if not isinstance(server.desk, MarketDesk):
        raise web.HTTPConflict(text=f"this server has no market desk ([desk] kind = {server.config.desk.kind!r})")
    return server.desk


def wrong_id(id: str) -> list[Problem]:
    if not id or _ID.fullmatch(id):
        return []
    return [Problem("api.id", "id", f"{id!r:.40} is not usable", hint="use 1 to 80 letters, digits and . _ : -")]


def minutes(number: int, where: str, *, least: int = 1) -> tuple[timedelta, list[Problem]]:
    """A duration of whole minutes, and what is wrong with it."""
    if least <= number <= _LONGEST_MINUTES:
        return timedelta(minutes=number), []
    text = f"{number} is not between {least} and {_LONGEST_MINUTES}"
    return timedelta(0), [Problem("api.minutes", where, text)]
