"""What people look at: the day as it unfolds, conversations, resources, peers, and the log.

Pages are rendered on the server and refreshed in parts; nothing is loaded from anywhere else.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING

from aiohttp import web

from interop.api.operators import Operators
from interop.web.assets import Assets
from interop.web.live import Live
from interop.web.pages import Pages
from interop.web.programmes import Acts, ProgrammePages
from interop.web.render import environment
from interop.web.secure import add_headers, not_found_page
from interop.web.views import Row, Views

if TYPE_CHECKING:
    from interop.server import Server

__all__ = ["Row", "Views", "mount", "register"]


def register(app: web.Application, server: Server) -> None:
    """Entry point of group `gridparley.pages`: the pages of a server that is about to listen."""
    mount(app, server.views, server.clock.now, Operators(server))


def mount(app: web.Application, views: Views, now: Callable[[], datetime], acts: Acts | None = None) -> None:
    """Add the pages to an application that has not started yet; `now` tells market time, `acts` carry forms out."""
    assets = Assets()
    live = Live(views, now)
    pages = Pages(views, live, environment(assets), ProgrammePages(views, now, acts))
    app.add_routes([*pages.routes(), web.get("/static/{digest}/{name:.+}", assets.serve)])
    app.middlewares.append(not_found_page(environment(assets), pages.base))
    app.on_response_prepare.append(add_headers)
    app.cleanup_ctx.append(live.follow)
    app.on_shutdown.append(live.close)
