"""What the demo asks the two servers for, and where it posts its result for the dashboard."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from aiohttp import web

from adapters.ports import Direction
from datamodels import FlexOrder, Settlement
from interop.market.desk import MarketDesk

if TYPE_CHECKING:
    from interop.server import Server
    from interop.tap import Crossing

__all__ = ["register"]


def register(app: web.Application, server: Server) -> None:
    """Add `/api/v1/demo` to a server that lives in the accelerated time of a run, and to no other."""
    if server.config.clock.file is None:
        return
    crossings: Counter[str] = Counter()

    def count(crossing: Crossing) -> None:
        crossings[crossing.adapter] += 1

    server.tap.listeners.append(count)

    async def state(request: web.Request) -> web.Response:
        return web.json_response(_state(server, crossings))

    async def result(request: web.Request) -> web.Response:
        data: dict[str, Any] = await request.json()
        server.feed.publish("result", data)
        return web.json_response({"shown": True}, status=201)

    async def progress(request: web.Request) -> web.Response:
        server.feed.publish("progress", await request.json())
        return web.json_response({"shown": True}, status=201)

    app.router.add_get("/api/v1/demo", state)
    app.router.add_post("/api/v1/demo/result", result)
    app.router.add_post("/api/v1/demo/progress", progress)


def _state(server: Server, crossings: Counter[str]) -> dict[str, Any]:
    desk = server.desk
    orders: list[FlexOrder] = []
    settled: set[str] = set()
    if isinstance(desk, MarketDesk):
        orders = desk.book.messages(FlexOrder, accepted=True)
        answered = desk.book.messages(Settlement, direction=Direction.OUT, accepted=True)
        settled = {settlement.head.recipient for settlement in answered}
    live = server.feed.latest("actual")
    return {
        "orders": len(orders),
        "dispatched": any(o.order_reference == r.dispatch.source for o in orders for r in _dispatches(server)),
        "settled": len(settled),
        "net_kw": live["net_kw"] if live else None,
        "messages": {name: crossings[name] for name in server.adapters if name != "uftp"},
        "devices": {
            name: sum(_connected(text) for text in adapter.status().peers.values())
            for name, adapter in server.adapters.items()
            if name != "uftp"
        },
    }


def _dispatches(server: Server) -> list[Any]:
    return list(server.hub.dispatcher.records.values())


def _connected(text: str) -> bool:
    """What adapters say of a counterpart that is there."""
    return text.startswith(("registered", "online"))
