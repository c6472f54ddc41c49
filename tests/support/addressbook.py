"""An address book and its token server on loopback, in the shape of GOPACS' participants API version 3."""

from __future__ import annotations

import base64
import itertools
from dataclasses import dataclass, field
from types import TracebackType

from aiohttp import web

CLIENT, SECRET = "gridparley", "hunter2-hunter2"
_PATH = "/uftp-participants/v3/participants"


@dataclass
class AddressBookServer:
    """`entries` by domain, `contracts` by (id, role). `valid` holds tokens; `status` overrides all."""

    entries: dict[str, dict[str, str]] = field(default_factory=dict)
    contracts: dict[tuple[str, str], str] = field(default_factory=dict)
    status: int | None = None
    valid: set[str] = field(default_factory=set)
    lives_s: float = 3600
    tokens: int = 0
    asked: list[str] = field(default_factory=list)
    url: str = ""

    async def __aenter__(self) -> AddressBookServer:
        app = web.Application()
        app.router.add_post("/oauth/token", self._token)
        app.router.add_get(f"{_PATH}/{{domain}}", self._participant)
        app.router.add_get(f"{_PATH}/contracts/{{id}}/roles/{{role}}", self._party)
        self._numbers = itertools.count(1)
        self._runner = web.AppRunner(app)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}"
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: object, trace: TracebackType | None) -> None:
        await self._runner.cleanup()

    async def _token(self, request: web.Request) -> web.Response:
        form = await request.post()
        account = base64.b64encode(f"{CLIENT}:{SECRET}".encode()).decode()
        if form.get("grant_type") != "client_credentials" or request.headers.get("Authorization") != f"Basic {account}":
            return web.json_response({"error": "invalid_client"}, status=401)
        self.tokens += 1
        token = f"token-{next(self._numbers)}"
        self.valid.add(token)
        return web.json_response({"access_token": token, "token_type": "Bearer", "expires_in": self.lives_s})

    async def _participant(self, request: web.Request) -> web.Response:
        return self._answer(request, request.match_info["domain"])

    async def _party(self, request: web.Request) -> web.Response:
        return self._answer(request, self.contracts.get((request.match_info["id"], request.match_info["role"]), ""))

    def _answer(self, request: web.Request, domain: str) -> web.Response:
        self.asked.append(request.path.removeprefix(_PATH))
        if self.status is not None:
            return web.Response(status=self.status)
        if request.headers.get("Authorization", "").removeprefix("Bearer ") not in self.valid:
            return web.Response(status=401)
        entry = self.entries.get(domain)
        return web.Response(status=404) if entry is None else web.json_response(entry)
