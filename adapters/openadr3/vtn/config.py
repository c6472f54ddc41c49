"""Settings of the VTN."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

from adapters.openadr3.vtn.push.config import MqttConfig, WebhookConfig, wrong_mqtt, wrong_webhooks
from adapters.settings import Readers, is_loopback, one_of, table, tables

__all__ = ["ClientConfig", "IssuerConfig", "Judging", "Profile", "ServerConfig", "read_server"]

_ROLES = ("bl", "ven")


class Profile(StrEnum):
    """PRODUCTION: https and tokens. LAB: also plain http on loopback. OPEN: anybody may read what has no targets."""

    PRODUCTION = "production"
    LAB = "lab"
    OPEN = "open"


class Judging(StrEnum):
    """What becomes of an object that breaks the national profile its programme declares."""

    OFF = "off"
    WARN = "warn"
    ENFORCE = "enforce"


_READERS: Readers = {"Profile": one_of(Profile), "Judging": one_of(Judging)}


@dataclass(frozen=True, slots=True)
class ClientConfig:
    """A client that may ask for tokens.

    Args:
        id: its client_id; also the owner of what it creates.
        role: bl (business logic) or ven: which scopes it has by default.
        scopes: its scopes, instead of those of its role.
        secret_hash: its secret as `adapters.openadr3.vtn.auth.hashed` returns it (scrypt).
        secret_file: a file with the secret itself, instead.
    """

    id: str
    role: str = "ven"
    scopes: tuple[str, ...] = ()
    secret_hash: str = ""
    secret_file: str = ""


@dataclass(frozen=True, slots=True)
class IssuerConfig:
    """An issuer of tokens outside, instead of the embedded one.

    Args:
        issuer: the `iss` of its tokens.
        token_url: where clients get them; what /auth/server says.
        jwks_url, jwks_file: its public keys.
        audience: the `aud` that tokens must have; empty for any.
        client_claim: the claim that names the client.
    """

    issuer: str
    token_url: str
    jwks_url: str = ""
    jwks_file: str = ""
    audience: str = ""
    client_claim: str = "sub"


@dataclass(frozen=True, slots=True)
class ServerConfig:
    """A VTN of both versions, at <path>/3.0.1 and <path>/3.1.0.

    Args:
        listen: address:port; port 0 takes a free one.
        path: what the bases of both versions begin with.
        public_url: scheme, host and port that clients use, where they differ from what a request names.
        profile: production, lab (plain http on loopback) or open (reads without a token).
        insecure: plain http, in the lab and open profiles on a loopback address only.
        tls_certificate, tls_key: of the listener.
        lenient: supply the objectType of payload descriptors that clients leave out.
        strict_privacy: show targeted objects only to queries that name a target.
        judging: off, warn or enforce, for programmes that declare the DER or GAC profile.
        programmes: another judging for a programme, by name.
        signing_key_file: PEM key (Ed25519 or RSA) that signs tokens; by default one is made and kept.
        token_life_s: wall seconds.
        largest_body: bytes of a request, inflated.
        clients: who may ask for tokens.
        issuer: an issuer outside, instead.
        webhooks: how callbacks of subscriptions are called.
        mqtt: where notifications are published as well.
    """

    listen: str = "127.0.0.1:8083"
    path: str = "/openadr3"
    public_url: str = ""
    profile: Profile = Profile.PRODUCTION
    insecure: bool = False
    tls_certificate: str = ""
    tls_key: str = ""
    lenient: bool = False
    strict_privacy: bool = False
    judging: Judging = Judging.WARN
    programmes: dict[str, str] = field(default_factory=dict)
    signing_key_file: str = ""
    token_life_s: float = 3600.0
    largest_body: float = 10 * 1024 * 1024
    clients: tuple[ClientConfig, ...] = ()
    issuer: IssuerConfig | None = None
    webhooks: WebhookConfig = field(default_factory=WebhookConfig)
    mqtt: MqttConfig | None = None

    @property
    def address(self) -> tuple[str, int]:
        """Host and port to bind."""
        host, _, port = self.listen.rpartition(":")
        return host.strip("[]"), int(port)


def read_server(data: Any, wrong: list[str]) -> ServerConfig | None:
    """The settings of a table `vtn`; what is wrong with it goes to `wrong`."""
    if not isinstance(data, Mapping):
        wrong.append("vtn: a table is needed")
        return None
    before = len(wrong)
    clients = tables(ClientConfig, data.get("clients", ()), "vtn.clients", wrong)
    outside = data.get("issuer")
    issuer = table(IssuerConfig, outside, "vtn.issuer.", wrong) if isinstance(outside, Mapping) else None
    webhooks = table(WebhookConfig, data.get("webhooks", {}), "vtn.webhooks.", wrong) or WebhookConfig()
    mqtt = table(MqttConfig, data["mqtt"], "vtn.mqtt.", wrong) if "mqtt" in data else None
    rest = {key: value for key, value in data.items() if key not in ("clients", "issuer", "webhooks", "mqtt")}
    more = {"clients": clients, "issuer": issuer, "webhooks": webhooks, "mqtt": mqtt}
    config = table(ServerConfig, rest, "vtn.", wrong, _READERS, **more)
    if config is None or len(wrong) > before:
        return None
    wrong += [f"vtn.{text}" for text in _consistent(config)]
    return config


def _consistent(config: ServerConfig) -> list[str]:
    wrong = []
    try:
        host, port = config.address
        if not host or not 0 <= port <= 65535:
            raise ValueError
    except ValueError:
        return [f"listen: address:port is needed, not {config.listen!r}"]
    wrong += [
        f"programmes: one of {', '.join(Judging)}, not {j!r}"
        for j in config.programmes.values()
        if j not in set(Judging)
    ]
    if not config.path.startswith("/") or config.path.endswith("/"):
        wrong.append(f"path: begins with / and does not end with it, not {config.path!r}")
    if config.insecure and (config.profile == Profile.PRODUCTION or not is_loopback(host)):
        wrong.append("insecure is for the lab and open profiles on a loopback address only; configure tls_*")
    if not config.insecure and not (config.tls_certificate and config.tls_key):
        wrong.append("tls_certificate and tls_key are needed (or insecure = true in the lab profile on loopback)")
    if config.token_life_s < 1 or config.largest_body < 1024:
        wrong.append("token_life_s: at least 1; largest_body: at least 1024")
    for n, client in enumerate(config.clients, 1):
        if client.role not in _ROLES:
            wrong.append(f"clients[{n}].role: bl or ven, not {client.role!r}")
        if bool(client.secret_hash) == bool(client.secret_file):
            wrong.append(f"clients[{n}]: either secret_hash or secret_file is needed")
    ids = [client.id for client in config.clients]
    wrong += [f"clients: id {id!r} stands twice" for id in sorted({i for i in ids if ids.count(i) > 1})]
    issuer = config.issuer
    if issuer is not None and bool(issuer.jwks_url) == bool(issuer.jwks_file):
        wrong.append("issuer: either jwks_url or jwks_file is needed")
    if issuer is not None and config.clients:
        wrong.append("issuer and clients exclude each other; remove one")
    files = [config.tls_certificate, config.tls_key, config.signing_key_file, issuer.jwks_file if issuer else ""]
    files += [client.secret_file for client in config.clients]
    files += [config.webhooks.ca, config.webhooks.signing_key_file]
    wrong += [f"webhooks.{text}" for text in wrong_webhooks(config.webhooks)]
    mqtt = config.mqtt
    if mqtt is not None:
        files += [mqtt.tls_certificate, mqtt.tls_key, mqtt.password_file, mqtt.ca]
        wrong += [f"mqtt.{text}" for text in wrong_mqtt(mqtt, config.profile is Profile.LAB)]
    wrong += [f"there is no file {path}" for path in files if path and not Path(path).is_file()]
    return wrong
