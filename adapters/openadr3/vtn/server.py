"""The VTN: finds the operation of a request, who asks, and whether it may; the desk does the rest."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

from adapters.errors import Rejection, TransportFault
from adapters.openadr3.codec import dumps, loads
from adapters.openadr3.members import Version
from adapters.openadr3.vtn import auth
from adapters.openadr3.vtn.access import Access, Viewer
from adapters.openadr3.vtn.config import ClientConfig, Profile, ServerConfig
from adapters.openadr3.vtn.desk import Desk, Place
from adapters.openadr3.vtn.http import Answer, Exchange, Listener, problem
from adapters.openadr3.vtn.issuer import Issuer
from adapters.openadr3.vtn.judge import Judge
from adapters.openadr3.vtn.openapi import document
from adapters.openadr3.vtn.push.service import Push
from adapters.openadr3.vtn.query import read_query
from adapters.openadr3.vtn.render import Rendered, Renderer, rendered
from adapters.openadr3.vtn.routes import ANYBODY, SIGNED_IN, Operation, Route, find
from adapters.openadr3.vtn.subscriptions import Subscriptions
from adapters.ports import AdapterStatus, Change, Ports, Programmes
from adapters.tls import server_context

__all__ = ["Vtn"]

logger = logging.getLogger(__name__)

_KEYS = "signing"
_STATUS = {
    "programme.name": 409,
    "programme.reference": 409,
    "programme.in_use": 409,
    "programme.stale": 409,
    "openadr3.binding": 409,
}
"""How a rejection is answered; 400 where nothing stands here."""
_NOT_STORED = {"Cache-Control": "no-store", "Pragma": "no-cache"}
_PRIVATE = {"Cache-Control": "private, no-cache", "Vary": "Authorization"}


class Vtn:
    """Attributes for others: `access`, `renderer`, `subscriptions`, `push`, `tokens` (None with an issuer outside)."""

    def __init__(self, config: ServerConfig, ports: Ports) -> None:
        if ports.programmes is None:
            raise ValueError("openadr3 configuration: vtn needs the server's programme model")
        programmes: Programmes = ports.programmes
        self.config = config
        self._ports = ports
        self.access = Access(programmes, config.strict_privacy)
        self.renderer = Renderer(programmes, self.access)
        self.subscriptions = Subscriptions(ports.state, ports.clock.now)
        is_lab = config.profile is Profile.LAB
        self.push = Push(
            config.webhooks, config.mqtt, is_lab, ports, self.access, self.renderer, self.subscriptions, self.verify
        )
        self._desk = Desk(
            programmes,
            self.access,
            self.renderer,
            self.subscriptions,
            self.push,
            Judge(programmes, config.judging, config.programmes),
            ports.clock.now,
            config.lenient,
        )
        self.tokens: auth.Tokens | None = None
        self._issuer = Issuer(config.issuer) if config.issuer is not None else None
        self._listener: Listener | None = None
        self._documents: dict[Version, bytes] = {}
        self._handlers: Mapping[str, Callable[..., Any]] = {
            name: getattr(self, f"_{name}")
            for name in (
                *("list", "get", "create", "replace", "remove"),
                *("token", "auth_server", "jwks", "openapi", "notifiers", "topics"),
            )
        }

    async def start(self) -> None:
        """Take up what is durable, listen (OSError or ssl.SSLError where that cannot be)."""
        config = self.config
        self.subscriptions.load()
        if config.issuer is None:
            key = await self._signing_key()
            self.tokens = auth.Tokens(map(_client, config.clients), key, "gridparley", config.token_life_s)
        else:
            assert self._issuer is not None
            await self._issuer.start()
        await self.push.start()
        context = None
        if not config.insecure:
            context = server_context(Path(config.tls_certificate), Path(config.tls_key), None)
        self._listener = Listener(context, int(config.largest_body), self._answer, self._refused)
        await self._listener.start(*config.address)

    async def stop(self) -> None:
        if self._listener is not None:
            await self._listener.stop()
        await self.push.stop()
        if self._issuer is not None:
            await self._issuer.stop()

    def status(self) -> AdapterStatus:
        listening = self._listener.addresses if self._listener is not None else ()
        served = (*(a + self.config.path for a in listening), *self.push.listening)
        return AdapterStatus(bool(listening), served, tuple(self.push.problems))

    # --- a request ---

    async def _answer(self, exchange: Exchange) -> Answer:
        where = self._where(exchange.path)
        if where is None:
            raise TransportFault(404, "openadr3.path", "there is nothing at this path")
        version, route, ids = where
        method = "GET" if exchange.method == "HEAD" else exchange.method
        operation = route.operations.get(method)
        allow = {
            "Allow": ", ".join(sorted({*route.operations, "OPTIONS", *(["HEAD"] if "GET" in route.operations else [])}))
        }
        if method == "OPTIONS":
            return Answer(204, headers=allow)
        if operation is None:
            fault = problem(405, "openadr3.method", "this path does not know that method")
            return Answer(405, fault.body, allow)
        try:
            caller = await self._caller(exchange, operation)
            return _fresh(
                await self._handlers[operation.does](exchange, version, route, operation, ids, caller), exchange
            )
        except Rejection as rejection:
            self._refused(exchange.remote, rejection.problems[0].rule, str(rejection))
            return _rejected(rejection, version)
        except TransportFault as fault:
            if fault.code != 401 or operation.does == "token":
                raise
            self._refused(exchange.remote, fault.rule, fault.message)
            answer = problem(401, fault.rule, fault.message)
            return Answer(401, answer.body, {"WWW-Authenticate": 'Bearer realm="OpenADR"'})

    def _where(self, path: str) -> tuple[Version, Route, tuple[str, ...]] | None:
        base = self.config.path
        if not path.startswith(base + "/"):
            return None
        name, *parts = path[len(base) + 1 :].split("/")
        version = _VERSIONS.get(name)
        found = find(version, tuple(parts)) if version is not None else None
        return (version, *found) if version is not None and found is not None else None

    async def _caller(self, exchange: Exchange, operation: Operation) -> auth.Caller:
        if operation.scope == ANYBODY:
            return _ANONYMOUS
        scheme, _, token = exchange.headers.get("Authorization", "").partition(" ")
        if scheme.lower() == "bearer" and token:
            caller, _ = await self.verify(token.strip())
        elif self.config.profile is Profile.OPEN:
            caller = _ANONYMOUS
        else:
            raise TransportFault(401, "openadr3.token", "a bearer token is needed; get one at auth/token")
        if operation.scope != SIGNED_IN and not caller.may(operation.scope):
            raise TransportFault(403, "openadr3.scope", f"the scope {operation.scope} is needed")
        return caller

    async def verify(self, token: str) -> tuple[auth.Caller, float]:
        """Whose token it is, and until when (wall seconds; TransportFault 401 where it is worth nothing)."""
        if self._issuer is not None:
            return await self._issuer.verify(token)
        assert self.tokens is not None, "the listener starts after the tokens"
        return self.tokens.verify(token)

    # --- collections ---

    async def _list(self, exchange: Exchange, *at: Any) -> Answer:
        place, operation, _ = self._place(*at)
        query = read_query(exchange.query, operation.parameters, place.version)
        return _shown(self._desk.list(place, query))

    async def _get(self, exchange: Exchange, *at: Any) -> Answer:
        place, _, ids = self._place(*at)
        targets = {n: p for n, p in place.collection.parameters.items() if n == "targets"}
        query = read_query(exchange.query, targets, place.version)
        return _shown(self._desk.get(place, ids[-1], query))

    async def _create(self, exchange: Exchange, *at: Any) -> Answer:
        place, _, _ = self._place(*at)
        return _shown(await self._desk.create(place, await self._json(exchange)), 201)

    async def _replace(self, exchange: Exchange, *at: Any) -> Answer:
        place, _, ids = self._place(*at)
        data = await self._json(exchange)
        return _shown(await self._desk.replace(place, ids[-1], data, exchange.headers.get("If-Match", "")))

    async def _remove(self, exchange: Exchange, *at: Any) -> Answer:
        place, _, ids = self._place(*at)
        shown = await self._desk.remove(place, ids[-1], exchange.headers.get("If-Match", ""))
        return Answer(200, shown.body, dict(_PRIVATE))

    def _place(
        self, version: Version, route: Route, operation: Operation, ids: tuple[str, ...], caller: auth.Caller
    ) -> tuple[Place, Operation, tuple[str, ...]]:
        assert route.collection is not None, "only collections are handled so"
        if (
            route.collection.name == "resourceGroup"
            and operation.does not in ("list", "get")
            and not caller.viewer.is_bl
        ):
            raise TransportFault(403, "openadr3.scope", "groups are made by business logic")
        under = ids[0] if route.ids[:1] == ("venID",) and route.collection.name == "resource" else ""
        return Place(caller, version, route.collection, under), operation, ids

    async def _json(self, exchange: Exchange) -> Any:
        if exchange.content_type != "application/json":
            raise TransportFault(415, "http.type", "bodies are application/json")
        return loads(await exchange.body(), int(self.config.largest_body))

    # --- tokens ---

    async def _token(self, exchange: Exchange, *at: Any) -> Answer:
        if self.tokens is None:
            raise TransportFault(501, "openadr3.issuer", "tokens come from another server; see auth/server")
        try:
            form = await self._form(exchange)
            granted = await self.tokens.grant(form, exchange.headers.get("Authorization", ""), exchange.remote)
        except TransportFault as fault:
            self._refused(exchange.remote, fault.rule, fault.message)
            error = fault.rule if fault.code in (400, 401, 429) and "." not in fault.rule else "invalid_request"
            more = {"error": error, "error_description": fault.message}
            headers = {"WWW-Authenticate": 'Basic realm="OpenADR"'} if fault.code == 401 else {}
            retry = {"Retry-After": "60"} if fault.code == 429 else {}
            body = problem(fault.code, fault.rule, fault.message, more).body
            return Answer(fault.code, body, _NOT_STORED | headers | retry)
        return Answer(200, dumps(granted), _NOT_STORED)

    async def _form(self, exchange: Exchange) -> Mapping[str, Any]:
        body = await exchange.body()
        if exchange.content_type == "application/json":
            data = loads(body, int(self.config.largest_body))
            if not isinstance(data, Mapping):
                raise TransportFault(400, "invalid_request", "an object is needed")
            return data
        if exchange.content_type != "application/x-www-form-urlencoded":
            raise TransportFault(415, "http.type", "a form is needed")
        try:
            return dict(parse_qsl(body.decode("ascii"), keep_blank_values=True, max_num_fields=50))
        except ValueError as error:
            raise TransportFault(400, "invalid_request", "the form cannot be read") from error

    async def _auth_server(self, exchange: Exchange, version: Version, *at: Any) -> Answer:
        if self.config.issuer is not None:
            return Answer(200, dumps({"tokenURL": self.config.issuer.token_url}))
        base = f"{self.config.public_url or exchange.origin}{self.config.path}/{version}"
        return Answer(200, dumps({"tokenURL": f"{base}/auth/token"}))

    async def _jwks(self, exchange: Exchange, *at: Any) -> Answer:
        if self.tokens is None:
            raise TransportFault(404, "openadr3.issuer", "tokens come from another server; see auth/server")
        return Answer(200, json.dumps(self.tokens.jwks()).encode())

    # --- about the API ---

    async def _openapi(self, exchange: Exchange, version: Version, *at: Any) -> Answer:
        known = self._documents.get(version)
        if known is None:
            known = self._documents[version] = json.dumps(document(version, f"{self.config.path}/{version}")).encode()
        return Answer(200, known, {"ETag": rendered(known).etag})

    async def _notifiers(self, exchange: Exchange, *at: Any) -> Answer:
        return Answer(200, dumps(self.push.notifiers(at[-1].viewer)))

    async def _topics(self, exchange: Exchange, version: Version, route: Route, *at: Any) -> Answer:
        _, ids, caller = at
        given = iter(ids)
        path = [next(given) if part == "*" else part for part in route.path[3:]]
        topics = self.push.topics(caller.viewer, path)
        if topics is None:
            raise TransportFault(404, "openadr3.path", "there are no topics of it")
        return Answer(200, dumps(topics))

    # --- inside ---

    async def _signing_key(self) -> bytes:
        if self.config.signing_key_file:
            return await asyncio.to_thread(Path(self.config.signing_key_file).read_bytes)
        known = self._ports.state.load(_KEYS).get("key")
        if known is None:
            known = {"pem": auth.new_key().decode()}
            await self._ports.state.commit(Change(_KEYS, "key", known))
        return str(known["pem"]).encode()

    def _refused(self, remote: str, rule: str, text: str) -> None:
        self._ports.inbound.refused("openadr3", remote, rule, text)


_VERSIONS = {str(version): version for version in Version}
_ANONYMOUS = auth.Caller(Viewer(), frozenset({"read_targets"}))


def _client(config: ClientConfig) -> auth.Client:
    secret = config.secret_hash or Path(config.secret_file).read_text(encoding="utf-8").strip()
    scopes = auth.scopes_of(config.scopes) if config.scopes else auth.ROLES[config.role]
    return auth.Client(config.id, secret, scopes)


def _shown(found: Rendered, status: int = 200) -> Answer:
    return Answer(status, found.body, {**_PRIVATE, "ETag": found.etag})


def _fresh(answer: Answer, exchange: Exchange) -> Answer:
    """304 where the client has it already."""
    known, tag = exchange.headers.get("If-None-Match", ""), answer.headers.get("ETag", "")
    if exchange.method in ("GET", "HEAD") and tag and known:
        tags = {each.strip().removeprefix("W/") for each in known.split(",")}
        if tag in tags or "*" in tags:
            return Answer(304, b"", answer.headers)
    return answer


def _rejected(rejection: Rejection, version: Version) -> Answer:
    first = rejection.problems[0]
    status = _STATUS.get(first.rule, 400)
    if version is Version.V301 and first.rule == "programme.reference":
        status = 400
    shown = [{"rule": p.rule, "where": p.where, "message": p.message, "hint": p.hint} for p in rejection.problems[:50]]
    text = "; ".join(f"{p.where}: {p.message}" if p.where else p.message for p in rejection.problems[:5])
    return problem(status, first.rule, text, {"errors": shown})
