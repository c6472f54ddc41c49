"""What operators may do over HTTP beyond reading: impose signals, tell one resource what to do, run programmes with
their events and VENs, answer a utility's events, trade by hand, send a ready message, trust a peer's new key.

Bad input is answered with a problem document that names everything wrong with it (422), what cannot be done in the
present state with 409, what is unknown with 404.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from aiohttp import web

from interop.api import dispatches, flex, peers, programmes, signals, uftp, utilities

if TYPE_CHECKING:
    from interop.server import Server

__all__ = ["routes"]


def routes(server: Server) -> list[web.RouteDef]:
    """All routes of this package, for a server that is about to listen."""
    return [
        *signals.routes(server),
        *dispatches.routes(server),
        *flex.routes(server),
        *peers.routes(server),
        *programmes.routes(server),
        *uftp.routes(server),
        *utilities.routes(server),
    ]
