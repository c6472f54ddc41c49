"""All of notifications, as the server uses them: started and stopped, told of subscriptions, asked for topics."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Sequence
from typing import Any

from adapters.errors import TransportFault
from adapters.openadr3.members import Version
from adapters.openadr3.model import Subscription
from adapters.openadr3.vtn.access import Access, Viewer
from adapters.openadr3.vtn.auth import Caller
from adapters.openadr3.vtn.push.callback import Callbacks
from adapters.openadr3.vtn.push.config import MqttConfig, WebhookConfig
from adapters.openadr3.vtn.push.mqtt import MqttFeed, Publisher
from adapters.openadr3.vtn.push.notices import Operation, framed, written
from adapters.openadr3.vtn.push.routes import Route, body_for, routes_of
from adapters.openadr3.vtn.push.topics import Topics, may_subscribe, published, topics
from adapters.openadr3.vtn.push.webhooks import Webhooks
from adapters.openadr3.vtn.render import Renderer
from adapters.openadr3.vtn.subscriptions import Held, Subscriptions
from adapters.ports import Edit, Ports
from datamodels import Problem, ProgrammeEvent

__all__ = ["Push"]

_HINT = "an https URL that answers GET ?echo=<text> with that text"


class Push:
    """`verify` says whose a token is and until when (wall seconds; TransportFault: it is worth nothing). Without `mqtt`
    there are webhooks only."""

    def __init__(
        self,
        webhooks: WebhookConfig,
        mqtt: MqttConfig | None,
        lab: bool,
        ports: Ports,
        access: Access,
        renderer: Renderer,
        subscriptions: Subscriptions,
        verify: Callable[[str], Awaitable[tuple[Caller, float]]],
    ) -> None:
        assert ports.programmes is not None, "a VTN serves the programme model"
        self._ports = ports
        self._programmes = ports.programmes
        self._access = access
        self._subscriptions = subscriptions
        self._renderer = renderer
        self._callbacks = Callbacks(webhooks, lab)
        self.webhooks = Webhooks(webhooks, self._callbacks, self._programmes, ports.state, self._body, self._alarm)
        self._mqtt = mqtt
        self._verify = verify
        self.feed = MqttFeed(self._publisher(mqtt), self._programmes, ports.state, self._messages) if mqtt else None
        self._later: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """After `Subscriptions.load` (OSError or ssl.SSLError: a file or address cannot be used)."""
        await self._callbacks.start()
        await self.webhooks.start([route for held in self._subscriptions.all.values() for route in routes_of(held)])
        self._subscriptions.watch(self._subscribed)
        if self.feed is not None:
            await self.feed.start()

    async def stop(self) -> None:
        await self.webhooks.stop()
        if self.feed is not None:
            await self.feed.stop()
        for task in self._later:
            task.cancel()
        await asyncio.gather(*self._later, return_exceptions=True)
        await self._callbacks.stop()

    @property
    def listening(self) -> tuple[str, ...]:
        """Where the embedded broker does."""
        return (self._uri(),) if self._mqtt is not None and not self._mqtt.broker and self.feed is not None else ()

    @property
    def problems(self) -> Iterator[Problem]:
        """What people should look at."""
        for id, trouble in self.webhooks.troubled.items():
            yield Problem("openadr3.callback", id, trouble, hint="its owner puts the subscription anew")
        if self.feed is not None and self.feed.trouble:
            yield Problem("openadr3.mqtt", "broker", self.feed.trouble, hint="notifications wait until it is back")

    # --- subscriptions ---

    async def check(self, value: Subscription, before: Subscription | None = None) -> Sequence[Problem]:
        """What is wrong with the callbacks of a subscription; those of `before` were verified then."""
        known = {(o.callback_url, o.bearer_token) for o in before.object_operations} if before is not None else set()
        new = {}
        for n, each in enumerate(value.object_operations):
            if (each.callback_url, each.bearer_token) not in known:
                new[each.callback_url, each.bearer_token] = f"objectOperations[{n}].callbackUrl"
        said = await asyncio.gather(*(self._callbacks.verify(*callback) for callback in new))
        return [Problem("openadr3.callback", new[c], s, hint=_HINT) for c, s in zip(new, said, strict=True) if s]

    def _subscribed(self, before: Held | None, after: Held | None) -> None:
        held = after or before
        assert held is not None, "one of them is there"
        if before is not None and after is not None and before.revision == after.revision:
            return  # only marked as broken
        self.webhooks.put(held.id, routes_of(after) if after is not None else ())
        operation = Operation.CREATE if before is None else Operation.UPDATE if after is not None else Operation.DELETE
        id = f"{held.id}.{held.revision}.{operation}"
        self.webhooks.tell(id, lambda route: self._subscription_body(route, held, operation))
        if self.feed is not None:
            shown = self._renderer.subscription(held, Version.V310)
            if shown is not None:
                body = framed("SUBSCRIPTION", operation, Version.V310, shown.body)
                self._soon(self.feed.say([(Topics("subscriptions").of(operation.lower()), body)]))

    def _subscription_body(self, route: Route, held: Held, operation: Operation) -> bytes | None:
        if "SUBSCRIPTION" not in route.objects or operation not in route.operations:
            return None
        if not route.viewer.is_bl and route.viewer.client != held.viewer.client:
            return None
        if route.programme and route.programme != held.value.program_id:
            return None
        shown = self._renderer.subscription(held, route.version)
        return None if shown is None else framed("SUBSCRIPTION", operation, route.version, shown.body)

    def _body(self, route: Route, edit: Edit) -> bytes | None:
        return body_for(route, edit, self._access, self._renderer, lambda id: self._programmes.get(ProgrammeEvent, id))

    def _alarm(self, route: Route, reason: str) -> None:
        """The owner sees it at the subscription, people as a refusal by that client."""
        self._ports.inbound.refused("openadr3", route.viewer.client, "openadr3.callback", f"{route.id}: {reason}")
        held = self._subscriptions.get(route.id.rpartition("/")[0])
        if held is not None:
            self._soon(self._mark(held, f"{route.url}: {reason}"))

    async def _mark(self, held: Held, reason: str) -> None:
        await self._subscriptions.mark(held, reason)

    def _soon(self, what: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(what)
        self._later.add(task)
        task.add_done_callback(self._later.discard)

    # --- MQTT ---

    def notifiers(self, viewer: Viewer) -> dict[str, Any]:
        """Schema `notifiersResponse`."""
        if self._mqtt is None:
            return {"WEBHOOK": True}
        anonymous = {"method": "ANONYMOUS"}
        token = {"method": "OAUTH2_BEARER_TOKEN", "username": "{clientID}"}
        mqtt = {
            "URIS": list(self._mqtt.uris or (self._uri(),)),
            "serialization": "JSON",
            "authentication": anonymous if self._mqtt.anonymous else token,
        }
        return {"WEBHOOK": True, "MQTT": mqtt}

    def topics(self, viewer: Viewer, path: Sequence[str]) -> dict[str, Any] | None:
        """Schema `notifierTopicsResponse` for what stands behind /notifiers/mqtt/topics/; None without MQTT, for an
        unknown path, and for what the viewer must not know of.

        Raises:
            TransportFault: 403 for collections, which only BL may have.
        """
        place = Topics.read("/".join(path)) if self._mqtt is not None else None
        allowed = topics(place, viewer, self._access, self._programmes) if place is not None else None
        if place is None or allowed is None:
            return None
        if not allowed:
            raise TransportFault(403, "openadr3.topics", "topics of a whole collection are for business logic")
        return place.document()

    def _publisher(self, config: MqttConfig) -> Publisher:
        # The libraries are an extra: only who configures MQTT needs them.
        try:
            if config.broker:
                from adapters.openadr3.vtn.push.external import ExternalBroker

                return ExternalBroker(config)
            from adapters.openadr3.vtn.push.broker import Door, Ticket
        except ImportError as error:
            raise ValueError(f"openadr3 configuration: vtn.mqtt needs gridparley[mqtt] installed ({error})") from error

        async def ticket(token: str) -> Ticket | None:
            try:
                caller, until = await self._verify(token)
            except TransportFault:
                return None
            return Ticket(caller.viewer, until)

        def may(filter: str, viewer: Viewer) -> bool:
            return may_subscribe(filter, viewer, self._access, self._programmes)

        def refused(peer: str, what: str) -> None:
            self._ports.inbound.refused("openadr3", peer, "openadr3.mqtt", what)

        return Door(config, ticket, may, refused)

    def _uri(self) -> str:
        assert self._mqtt is not None, "asked where there is MQTT"
        port = self.feed.publisher.port if self.feed is not None else 0
        return f"mqtt{'s' if self._mqtt.tls_certificate else ''}://{self._mqtt.address[0]}:{port}"

    def _messages(self, edit: Edit) -> Iterator[tuple[str, bytes]]:
        for topic, viewer, said in published(edit, self._access, self._programmes):
            body = written(self._renderer, viewer, said, Version.V310)
            if body is not None:
                yield topic, body
