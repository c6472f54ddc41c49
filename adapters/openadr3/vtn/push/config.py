"""Settings of notifications."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from dataclasses import dataclass

from yarl import URL

from adapters.settings import is_loopback

__all__ = ["MqttConfig", "WebhookConfig", "wrong_mqtt", "wrong_webhooks"]


@dataclass(frozen=True, slots=True)
class WebhookConfig:
    """How callbacks of subscriptions are called.

    Args:
        ca: the authority that callbacks are trusted by, instead of the system's.
        networks: networks that callbacks may be in though they are not public, such as 10.0.0.0/8.
        signing_key_file: the key that signs notifications of subscriptions without a bearerToken.
        timeout_s: wall seconds for one try.
        tries: how often one notification is tried before the callback counts as broken.
        first_pause_s: between the first two tries; each further pause is three times as long.
    """

    ca: str = ""
    networks: tuple[str, ...] = ()
    signing_key_file: str = ""
    timeout_s: float = 10.0
    tries: float = 8
    first_pause_s: float = 5.0


@dataclass(frozen=True, slots=True)
class MqttConfig:
    """Where notifications are published over MQTT (needs the extra `mqtt`).

    Args:
        listen: address:port of the embedded broker; port 0 takes a free one.
        tls_certificate, tls_key: of the embedded broker; without them it speaks plain MQTT, in the lab profile on a
            loopback address only.
        uris: what clients are told; by default where the embedded broker listens.
        broker: URL (mqtts://host:port) of an external broker that is published to instead; who may have which of its
            topics is configured there.
        user, password_file: ours at the external broker.
        ca: the external broker's authority, instead of the system's.
        anonymous: clients need no token (lab profile, or an external broker without).
    """

    listen: str = "127.0.0.1:8883"
    tls_certificate: str = ""
    tls_key: str = ""
    uris: tuple[str, ...] = ()
    broker: str = ""
    user: str = ""
    password_file: str = ""
    ca: str = ""
    anonymous: bool = False

    @property
    def address(self) -> tuple[str, int]:
        """Host and port to bind."""
        host, _, port = self.listen.rpartition(":")
        return host.strip("[]"), int(port)


def wrong_webhooks(config: WebhookConfig) -> Iterator[str]:
    """What is wrong with the settings."""
    for network in config.networks:
        try:
            ipaddress.ip_network(network)
        except ValueError:
            yield f"networks: a network such as 10.0.0.0/8 is needed, not {network!r}"
    if config.timeout_s <= 0 or config.tries < 1 or config.first_pause_s <= 0:
        yield "timeout_s and first_pause_s: seconds above 0; tries: at least 1"


def wrong_mqtt(config: MqttConfig, lab: bool) -> Iterator[str]:
    """What is wrong with the settings."""
    if config.broker:
        url = URL(config.broker)
        if url.scheme not in ("mqtt", "mqtts") or not url.host:
            yield f"broker: mqtts://host:port is needed, not {config.broker!r}"
        elif url.scheme == "mqtt" and not (lab and is_loopback(url.host)):
            yield "broker: mqtts is needed (mqtt in the lab profile on loopback only)"
        if not config.uris:
            yield "uris: say where clients reach the external broker"
        return
    try:
        host, port = config.address
        if not host or not 0 <= port <= 65535:
            raise ValueError
    except ValueError:
        yield f"listen: address:port is needed, not {config.listen!r}"
        return
    if bool(config.tls_certificate) != bool(config.tls_key):
        yield "tls_certificate and tls_key go together; one is missing"
    elif not config.tls_certificate and not (lab and is_loopback(host)):
        yield "tls_certificate and tls_key are needed (none in the lab profile on loopback)"
    if config.anonymous and not lab:
        yield "anonymous is for the lab profile only"
