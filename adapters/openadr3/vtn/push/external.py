"""Publishing to an MQTT broker that somebody else runs; who may have which of its topics is controlled there."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Sequence
from pathlib import Path

import aiomqtt
from yarl import URL

from adapters.openadr3.vtn.push.config import MqttConfig
from adapters.tls import client_context

__all__ = ["ExternalBroker"]

_AT_ONCE = 200
_TIMEOUT_S = 20.0


class ExternalBroker:
    """A connection that is made when there is something to say, and kept."""

    def __init__(self, config: MqttConfig) -> None:
        self._config = config
        self._password = Path(config.password_file).read_text().strip() if config.password_file else None
        self._client: aiomqtt.Client | None = None

    @property
    def port(self) -> int:
        return 0

    async def start(self) -> None:
        """Nothing is asked of the broker yet: while it is down, notifications wait."""

    async def stop(self) -> None:
        await self._leave()

    async def publish(self, messages: Sequence[tuple[str, bytes]]) -> None:
        """At QoS 1, all acknowledged when this returns.

        Raises:
            OSError: not all were; publish them again.
        """
        try:
            async with asyncio.timeout(_TIMEOUT_S):
                client = await self._connected()
                rest = iter(messages)
                while part := list(itertools.islice(rest, _AT_ONCE)):
                    await asyncio.gather(*(client.publish(topic, body, qos=1) for topic, body in part))
        except (aiomqtt.MqttError, TimeoutError, OSError) as error:
            await self._leave()
            raise OSError(f"{self._config.broker}: {error or type(error).__name__}") from error

    async def _connected(self) -> aiomqtt.Client:
        if self._client is None:
            url = URL(self._config.broker)
            secure = url.scheme == "mqtts"
            client = aiomqtt.Client(
                url.host or "",
                url.port or (8883 if secure else 1883),
                username=self._config.user or None,
                password=self._password,
                tls_context=client_context(Path(self._config.ca) if self._config.ca else None) if secure else None,
                timeout=_TIMEOUT_S,
            )
            await client.__aenter__()
            self._client = client
        return self._client

    async def _leave(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            try:
                await client.__aexit__(None, None, None)
            except aiomqtt.MqttError:
                return  # the connection was lost already
