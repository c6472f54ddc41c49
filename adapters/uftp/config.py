"""Configuration of the adapter: typed, checked, unknown keys refused."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from adapters.uftp import settings
from adapters.uftp.access import ACCESS, Access
from adapters.uftp.discovery import DISCOVERY, DiscoveryConfig
from adapters.uftp.schema import VERSIONS
from datamodels import Role

__all__ = ["UftpConfig"]


@dataclass(frozen=True, slots=True)
class UftpConfig:
    """One participant's UFTP end.

    Args:
        domain: own Internet domain, lower case.
        role: AGR, DSO or CRO.
        signing_key_file: our signing key, or several during a rotation; `gridparley uftp keys` makes and rotates it.
        listen: "host:port"; port 0 takes a free one.
        versions: wire versions to speak.
        legacy_path: also serve /USEF/2019/SignedMessage.
        rate_limit_per_s: messages a second from one peer, averaged over two seconds; 0 is no limit.
        max_body_bytes: largest envelope that is read.
        tls_certificate, tls_key: serve HTTPS; with tls_client_ca clients must show a certificate of that authority.
        tls_ca: the authority that peers' servers are trusted by, instead of the system's.
        client_tls_certificate, client_tls_key: what we show to peers' servers that want a client certificate.
        connect_timeout_s, read_timeout_s: how long a connection to a peer may take, and a silence on it.
        discovery: how peers are found.
        access: what single peers want of whoever calls them.
    """

    domain: str
    role: Role
    signing_key_file: Path
    listen: str = "127.0.0.1:8080"
    versions: tuple[str, ...] = VERSIONS
    legacy_path: bool = False
    rate_limit_per_s: float = 1000.0
    max_body_bytes: int = 2 * 1024 * 1024
    tls_certificate: Path | None = None
    tls_key: Path | None = None
    tls_client_ca: Path | None = None
    tls_ca: Path | None = None
    client_tls_certificate: Path | None = None
    client_tls_key: Path | None = None
    connect_timeout_s: float = 5.0
    read_timeout_s: float = 20.0
    discovery: DiscoveryConfig = field(default_factory=DiscoveryConfig)
    access: tuple[Access, ...] = ()

    def __post_init__(self) -> None:
        complaints = [
            f"{one} and uftp.{other} go together; one is missing"
            for one, other in (("tls_certificate", "tls_key"), ("client_tls_certificate", "client_tls_key"))
            if (getattr(self, one) is None) != (getattr(self, other) is None)
        ]
        if self.tls_client_ca is not None and self.tls_certificate is None:
            complaints.append("tls_client_ca needs uftp.tls_certificate and uftp.tls_key")
        domains = [access.domain for access in self.access]
        complaints += [f"access lists {d} more than once" for d in sorted(set(domains)) if domains.count(d) > 1]
        if complaints:
            raise ValueError("\n".join(complaints))

    @classmethod
    def parse(cls, config: Mapping[str, Any]) -> UftpConfig:
        """Read a configuration table.

        Raises:
            ValueError: all that is wrong with it, one complaint a line.
        """
        return settings.read(cls, config, _READERS, "uftp")

    @property
    def address(self) -> tuple[str, int]:
        host, _, port = self.listen.rpartition(":")
        return host.strip("[]"), int(port)


def _role(value: Any) -> Role:
    if value not in ("AGR", "DSO", "CRO"):
        raise ValueError(f"must be AGR, DSO or CRO, not {value!r}")
    return Role(value)


def _listen(value: Any) -> str:
    host, separator, port = settings.text(value).rpartition(":")
    if not separator or not host or not port.isdigit() or int(port) > 65535:
        raise ValueError(f"must be host:port, not {value!r}")
    return str(value)


def _versions(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list | tuple) or not value or not set(value) <= set(VERSIONS):
        raise ValueError(f"must list some of {', '.join(VERSIONS)}, not {value!r}")
    return tuple(v for v in VERSIONS if v in value)


def _size(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 1024 <= value <= 64 * 1024 * 1024:
        raise ValueError(f"must be a number of bytes from 1 KiB to 64 MiB, not {value!r}")
    return value


_READERS: Mapping[str, settings.Reader] = {
    "domain": settings.domain,
    "role": _role,
    "signing_key_file": settings.path,
    "listen": _listen,
    "versions": _versions,
    "legacy_path": settings.flag,
    "rate_limit_per_s": settings.number(0, 1e9, "messages a second (0: no limit)"),
    "max_body_bytes": _size,
    "tls_certificate": settings.path,
    "tls_key": settings.path,
    "tls_client_ca": settings.path,
    "tls_ca": settings.path,
    "client_tls_certificate": settings.path,
    "client_tls_key": settings.path,
    "connect_timeout_s": settings.number(0.05, 600, "a number of seconds"),
    "read_timeout_s": settings.number(0.05, 600, "a number of seconds"),
    "discovery": partial(settings.read, DiscoveryConfig, readers=DISCOVERY, where="uftp.discovery"),
    "access": settings.tables(Access, ACCESS, "uftp.access"),
}
