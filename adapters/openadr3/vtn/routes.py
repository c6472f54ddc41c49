"""Every operation of both versions in one table, which answers requests and is published as OpenAPI document."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from adapters.openadr3.members import Text, Version
from adapters.openadr3.vtn.tables import COLLECTIONS, PAGING, Collection, Parameter

__all__ = ["ANYBODY", "ROUTES", "SIGNED_IN", "Operation", "Route", "find"]

ANYBODY, SIGNED_IN = "", "*"
"""In place of a scope: no token is asked for; any token will do."""
_ID = Text(1, 128, pattern="^[a-zA-Z0-9_-]*$")


@dataclass(frozen=True, slots=True)
class Operation:
    """`does` names the server's handler; `asks` and `answers` are schemas (with `many`: a list of it), `faults` the
    statuses of problems."""

    does: str
    scope: str
    status: int = 200
    asks: str = ""
    answers: str = ""
    many: bool = False
    faults: tuple[int, ...] = (400, 401, 403, 500)
    parameters: Mapping[str, Parameter] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Route:
    """A path below the base; `*` stands for an id, whose parameter is named in `ids`."""

    path: tuple[str, ...]
    operations: Mapping[str, Operation]
    collection: Collection | None = None
    ids: tuple[str, ...] = ()

    @property
    def template(self) -> str:
        ids = iter(self.ids)
        return "/" + "/".join(f"{{{next(ids)}}}" if part == "*" else part for part in self.path)


def find(version: Version, path: tuple[str, ...]) -> tuple[Route, tuple[str, ...]] | None:
    """The route of a path, and the ids in it."""
    for route in _BY_LENGTH[version].get(len(path), ()):
        if all(part in ("*", given) for part, given in zip(route.path, path, strict=True)):
            return route, tuple(given for part, given in zip(route.path, path, strict=True) if part == "*")
    return None


def _of(collection: Collection, version: Version, above: tuple[str, ...] = ()) -> Iterator[Route]:
    name, reads, writes = collection.name, collection.read[version], collection.write
    asks = _asked(name, version)
    parameters = {n: p for n, p in {**collection.parameters, **PAGING}.items() if version in p.kinds}
    missing = (404,) if above or (name == "resource" and version is Version.V310) else ()
    path, ids = (*above, collection.path), ("venID",) if above else ()
    yield Route(
        path,
        {
            "GET": Operation("list", reads, answers=name, many=True, faults=_faults(*missing), parameters=parameters),
            "POST": Operation("create", writes, 201, asks, name, faults=_faults(*missing, 409)),
        },
        collection,
        ids,
    )
    yield Route(
        (*path, "*"),
        {
            "GET": Operation("get", reads, answers=name, faults=_faults(404)),
            "PUT": Operation("replace", writes, 200, asks, name, faults=_faults(404, 409)),
            "DELETE": Operation("remove", writes, answers=name, faults=_faults(404)),
        },
        collection,
        (*ids, f"{name}ID"),
    )


def _asked(name: str, version: Version) -> str:
    return name if version is Version.V301 else f"{name}Request"


def _faults(*more: int) -> tuple[int, ...]:
    return tuple(sorted({400, 401, 403, 500, *more}))


def _topics() -> Iterator[Route]:
    topics = ("notifiers", "mqtt", "topics")
    for path, scope, faults in (
        (("programs",), SIGNED_IN, (400, 401, 404, 500)),
        (("programs", "*"), SIGNED_IN, (400, 401, 404, 500)),
        (("programs", "*", "events"), SIGNED_IN, (400, 401, 404, 500)),
        *(((name,), "read_bl", _faults(404)) for name in ("events", "reports", "subscriptions", "vens", "resources")),
        (("vens", "*"), "read_ven_objects", _faults(404)),
        *((("vens", "*", name), "read_ven_objects", _faults(404)) for name in ("events", "programs", "resources")),
    ):
        ids = ("programID",) if path[0] == "programs" else ("venID",)
        operation = Operation("topics", scope, answers="notifierTopicsResponse", faults=faults)
        yield Route((*topics, *path), {"GET": operation}, None, ids[: path.count("*")])


def _auth(version: Version) -> Iterator[Route]:
    new = version is Version.V310
    faults = (400, 401, 500, 501) if new else (400, 401, 403, 500)
    token = Operation("token", ANYBODY, 200, "clientCredentialRequest", "clientCredentialResponse", faults=faults)
    yield Route(("auth", "token"), {"POST": token})
    yield Route(("auth", "server"), {"GET": Operation("auth_server", ANYBODY, answers="authServerInfo", faults=(500,))})
    yield Route(("auth", "jwks"), {"GET": Operation("jwks", ANYBODY, faults=())})
    yield Route(("openapi.json",), {"GET": Operation("openapi", ANYBODY, faults=())})


def _routes(version: Version) -> Iterator[Route]:
    new = version is Version.V310
    for collection in COLLECTIONS.values():
        if collection.name == "resource" and not new:
            yield from _of(collection, version, ("vens", "*"))
        elif collection.name != "resourceGroup" or new:
            yield from _of(collection, version)
    yield from _auth(version)
    if new:
        yield Route(("notifiers",), {"GET": Operation("notifiers", SIGNED_IN, answers="notifiersResponse", faults=())})
        yield from _topics()


ROUTES: Mapping[Version, tuple[Route, ...]] = {version: tuple(_routes(version)) for version in Version}


def _by_length(routes: Iterable[Route]) -> dict[int, list[Route]]:
    out: dict[int, list[Route]] = {}
    for route in routes:
        out.setdefault(len(route.path), []).append(route)
    return out


_BY_LENGTH = {version: _by_length(routes) for version, routes in ROUTES.items()}
