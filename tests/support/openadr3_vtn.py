"""A small VTN in a process of its own: what a grid operator's server must do for the Dutch profiles, and no more.

It takes only what the OpenAPI document of the standard allows, so that it is not merely our own opinion. Objects live
in memory. Run as a program it prints `listening <port>`; `Vtn` starts, feeds and ends it.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import json
import sys
import uuid
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

from aiohttp import ClientSession, web

CLIENTS = {"grid": "grid-secret", "provider": "provider-secret"}
COLLECTIONS = {
    # path: object type, request schema of the business logic, query filters
    "programs": ("PROGRAM", "programRequest", ()),
    "events": ("EVENT", "eventRequest", ("programID",)),
    "reports": ("REPORT", "reportRequest", ("eventID",)),
    "vens": ("VEN", "BlVenRequest", ("venName",)),
    "resources": ("RESOURCE", "BlResourceRequest", ("venID",)),
    "resource_groups": ("RESOURCE_GROUP", None, ("resourceGroupName",)),
}
OWNED = ("reports", "vens", "resources")


class Server:
    def __init__(self, specification: Path | None) -> None:
        self.store: dict[str, dict[str, dict[str, Any]]] = {name: {} for name in COLLECTIONS}
        self.tokens: dict[str, str] = {}
        self.schemas = _schemas(specification) if specification else {}
        self.base = ""

    def app(self) -> web.Application:
        app = web.Application(client_max_size=1 << 24)
        app.router.add_get("/auth/server", self.server)
        app.router.add_post("/auth/token", self.token)
        app.router.add_get("/{collection}", self.list)
        app.router.add_post("/{collection}", self.create)
        app.router.add_delete("/{collection}/{id}", self.delete)
        return app

    async def server(self, request: web.Request) -> web.Response:
        return web.json_response({"tokenURL": f"{request.url.origin()}/auth/token"})

    async def token(self, request: web.Request) -> web.Response:
        form = await request.post()
        client = str(form.get("client_id"))
        if form.get("grant_type") != "client_credentials" or CLIENTS.get(client) != form.get("client_secret"):
            return web.json_response({"error": "invalid_client"}, status=401)
        token = uuid.uuid4().hex
        self.tokens[token] = client
        answer = {"access_token": token, "token_type": "Bearer", "expires_in": 3600}
        return web.json_response(answer, headers={"Cache-Control": "no-store"})

    def client(self, request: web.Request) -> str:
        kind, _, token = request.headers.get("Authorization", "").partition(" ")
        if kind != "Bearer" or token not in self.tokens:
            raise web.HTTPUnauthorized(**_problem(401, "a token is needed"))
        return self.tokens[token]

    def collection(self, request: web.Request) -> tuple[str, tuple[Any, ...]]:
        name = request.match_info["collection"]
        if name not in COLLECTIONS:
            raise web.HTTPNotFound(**_problem(404, f"no {name} here"))
        return name, COLLECTIONS[name]

    async def list(self, request: web.Request) -> web.Response:
        self.client(request)
        name, (_, _, filters) = self.collection(request)
        query = request.query
        found = [
            item
            for item in self.store[name].values()
            if all(item.get(field) == query[field] for field in filters if field in query)
        ]
        skip, limit = int(query.get("skip", 0)), int(query.get("limit", 50))
        body = json.dumps(found[skip : skip + limit]).encode()
        tag = f'"{hashlib.sha256(body).hexdigest()[:16]}"'
        if request.headers.get("If-None-Match") == tag:
            return web.Response(status=304, headers={"ETag": tag})
        return web.Response(body=body, content_type="application/json", headers={"ETag": tag})

    async def create(self, request: web.Request) -> web.Response:
        client = self.client(request)
        name, (kind, schema, _) = self.collection(request)
        if client != "grid" and name != "reports":
            raise web.HTTPForbidden(**_problem(403, "a VEN writes reports only"))
        body = json.loads(await request.read())
        if schema in self.schemas and (wrong := [str(e) for e in self.schemas[schema].iter_errors(body)]):
            raise web.HTTPBadRequest(**_problem(400, "; ".join(wrong)[:500]))
        if name == "reports" and body["eventID"] not in self.store["events"]:
            raise web.HTTPConflict(**_problem(409, "no such event"))
        now = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        stamped = {"createdDateTime": now, "modificationDateTime": now, "objectType": kind}
        item = {"id": str(uuid.uuid4())} | body | stamped
        if name in OWNED:
            item["clientID"] = body.get("clientID", client)
        self.store[name][item["id"]] = item
        return web.json_response(item, status=201)

    async def delete(self, request: web.Request) -> web.Response:
        self.client(request)
        name, _ = self.collection(request)
        item = self.store[name].pop(request.match_info["id"], None)
        if item is None:
            raise web.HTTPNotFound(**_problem(404, "no such object"))
        return web.json_response(item)


def _problem(status: int, detail: str) -> dict[str, Any]:
    return {"text": json.dumps({"status": status, "detail": detail}), "content_type": "application/json"}


def _schemas(path: Path) -> dict[str, Any]:
    """Validators of the requests, by the document of the standard."""
    import jsonschema_rs
    import yaml

    document = yaml.load(path.read_text(encoding="utf-8"), Loader=yaml.CSafeLoader)
    components = _translated(document["components"])
    return {
        name: jsonschema_rs.Draft4Validator({"$ref": f"#/components/schemas/{name}", "components": components})
        for _, name, _ in COLLECTIONS.values()
        if name
    }


def _translated(schema: Any) -> Any:
    """OpenAPI 3.0's `nullable` as a type of its own."""
    if isinstance(schema, list):
        return [_translated(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    out = {key: _translated(value) for key, value in schema.items() if key not in ("example", "discriminator")}
    if out.pop("nullable", False) is True and isinstance(out.get("type"), str):
        out["type"] = [out["type"], "null"]
    return out


class Vtn:
    """The program above, as a test uses it: `url` for a VEN, `add` and `drop` for the grid operator."""

    def __init__(self, specification: Path | None, port: int = 0) -> None:
        self._specification = specification
        self.port = port

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.kill()

    async def start(self) -> None:
        words = [sys.executable, __file__, "--port", str(self.port)]
        words += ["--specification", str(self._specification)] if self._specification else []
        self._process = await asyncio.create_subprocess_exec(*words, stdout=asyncio.subprocess.PIPE)
        assert self._process.stdout is not None
        line = (await asyncio.wait_for(self._process.stdout.readline(), 20)).decode().split()
        assert line[:1] == ["listening"], line
        self.port = int(line[1])
        self._session = ClientSession()
        form = {"grant_type": "client_credentials", "client_id": "grid", "client_secret": CLIENTS["grid"]}
        async with self._session.post(f"{self.url}/auth/token", data=form) as response:
            token = (await response.json())["access_token"]
        self._headers = {"Authorization": f"Bearer {token}"}

    async def kill(self) -> None:
        await self._session.close()
        if self._process.returncode is None:
            self._process.kill()
        await self._process.wait()
        if (transport := getattr(self._process, "_transport", None)) is not None:
            transport.close()

    async def add(self, collection: str, item: Any) -> Any:
        """Create an object; it must be taken."""
        async with self._session.post(f"{self.url}/{collection}", json=item, headers=self._headers) as response:
            body = await response.json()
            assert response.status == 201, body
            return body

    async def drop(self, collection: str, id: str) -> None:
        async with self._session.delete(f"{self.url}/{collection}/{id}", headers=self._headers) as response:
            assert response.status == 200

    async def all(self, collection: str) -> list[Any]:
        async with self._session.get(f"{self.url}/{collection}", headers=self._headers) as response:
            found: list[Any] = await response.json()
            return found


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--specification", type=Path)
    given = parser.parse_args()

    async def serve() -> None:
        runner = web.AppRunner(Server(given.specification).app())
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", given.port, reuse_address=True)
        await site.start()
        print("listening", runner.addresses[0][1], flush=True)
        await asyncio.Event().wait()

    asyncio.run(serve())


if __name__ == "__main__":
    main()
