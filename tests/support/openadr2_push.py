"""A VEN in push mode for tests: a real server on a socket, and what it was told. It answers as the profile asks."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Self

from aiohttp import web

from adapters.openadr2 import codec, model

_OK = model.EiResponse(200, "")
_REPLIES = {
    model.OadrCreateReport: lambda m, ven: model.OadrCreatedReport(
        model.EiResponse(200, m.request_id), tuple(r.report_request_id for r in m.report_requests), ven
    ),
    model.OadrRegisterReport: lambda m, ven: model.OadrRegisteredReport(model.EiResponse(200, m.request_id), (), ven),
    model.OadrUpdateReport: lambda m, ven: model.OadrUpdatedReport(model.EiResponse(200, m.request_id), None, ven),
    model.OadrCancelReport: lambda m, ven: model.OadrCanceledReport(model.EiResponse(200, m.request_id), (), ven),
    model.OadrCancelPartyRegistration: lambda m, ven: model.OadrCanceledPartyRegistration(
        model.EiResponse(200, m.request_id), m.registration_id, ven
    ),
}


@dataclass
class PushVen:
    """Told (service, message) in order; `fail` makes the next answers HTTP 503; `seal` signs replies."""

    ven_id: str = "ven-1"
    context: ssl.SSLContext | None = None
    port: int = 0
    told: list[tuple[str, Any]] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)
    fail: int = 0
    seal: Callable[[bytes], bytes] = bytes
    wrong: Any = None

    async def __aenter__(self) -> Self:
        application = web.Application()
        application.router.add_post("/OpenADR2/Simple/2.0b/{service}", self._take)
        self._runner = web.AppRunner(application, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", self.port, ssl_context=self.context)
        await site.start()
        self.port = self._runner.addresses[0][1]
        return self

    async def __aexit__(self, *error: object) -> None:
        await self._runner.cleanup()

    @property
    def address(self) -> str:
        return f"{'https' if self.context else 'http'}://127.0.0.1:{self.port}"

    def heard(self, cls: type) -> list[Any]:
        return [message for _, message in self.told if type(message) is cls]

    async def _take(self, request: web.Request) -> web.Response:
        body = await request.read()
        if self.fail:
            self.fail -= 1
            return web.Response(status=503)
        root = codec.read_tree(body)
        codec.check_schema(root)
        message = codec.decode(codec.payload_element(root))
        self.told.append((request.match_info["service"], message))
        self.bodies.append(body)
        make = _REPLIES.get(type(message), lambda m, ven: model.OadrResponse(_OK, ven))
        reply = self.wrong or codec.encode(make(message, self.ven_id))
        return web.Response(body=self.seal(reply), content_type="application/xml")
