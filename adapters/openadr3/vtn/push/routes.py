"""Subscriptions as routes: one for each of their callbacks."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from adapters.openadr3.members import Version
from adapters.openadr3.vtn.access import Access, Viewer
from adapters.openadr3.vtn.push.callback import authorization
from adapters.openadr3.vtn.push.notices import OBJECTS, READ_AS, Operation, notice, programme_of, written
from adapters.openadr3.vtn.render import Renderer
from adapters.openadr3.vtn.subscriptions import Held
from adapters.openadr3.vtn.wire import targets_of
from adapters.ports import Edit
from datamodels import ProgrammeEvent, ProgrammeTarget

__all__ = ["Route", "body_for", "headers", "routes_of"]


@dataclass(frozen=True, slots=True)
class Route:
    """One member of a subscription's objectOperations.

    `id` is `<subscription>/<place in objectOperations>`; `programme` and `targets` narrow it down. It hears of nothing
    older than itself.
    """

    id: str
    viewer: Viewer
    version: Version
    url: str
    objects: frozenset[str]
    operations: frozenset[Operation]
    created: datetime
    bearer: str = ""
    programme: str = ""
    targets: tuple[ProgrammeTarget, ...] = ()


def routes_of(held: Held) -> tuple[Route, ...]:
    """The routes of a subscription."""
    value = held.value
    return tuple(
        Route(
            f"{held.id}/{n}",
            held.viewer,
            held.version,
            each.callback_url,
            frozenset(each.objects),
            frozenset(READ_AS[word] for word in each.operations),
            held.created,
            each.bearer_token or "",
            value.program_id or "",
            targets_of(value.targets),
        )
        for n, each in enumerate(value.object_operations)
    )


def body_for(
    route: Route, edit: Edit, access: Access, renderer: Renderer, event: Callable[[str], ProgrammeEvent | None]
) -> bytes | None:
    """What a route is told of an edit; None where it is nothing."""
    if OBJECTS.get(edit.kind) not in route.objects:
        return None
    if edit.after is not None and edit.after.modified < route.created:
        return None
    if route.programme and programme_of(edit.entry, event) not in (route.programme, None):
        return None
    found = notice(access, route.viewer, edit, route.targets)
    if found is None or found.operation not in route.operations:
        return None
    return written(renderer, route.viewer, found, route.version, route.targets)


def headers(id: str, body: bytes, bearer: str, key: bytes, at: int) -> dict[str, str]:
    """Headers of a notification: `id` is the same at every try, `at` (s since the epoch) is of this one.

    The signature is HMAC-SHA256 over `<timestamp>.<body>`, with the bearerToken as key, or without one with `key`.
    """
    out = {
        "Content-Type": "application/json",
        "X-Notification-Id": id,
        "X-Notification-Timestamp": str(at),
        **authorization(bearer),
    }
    secret = bearer.encode() or key
    if secret:
        signature = hmac.new(secret, b"%d." % at + body, hashlib.sha256).hexdigest()
        out["X-Notification-Signature"] = f"sha256={signature}"
    return out
