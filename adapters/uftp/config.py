"""Configuration of the adapter: typed, checked, unknown keys refused."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from dataclasses import MISSING, dataclass, fields
from pathlib import Path
from typing import Any

from adapters.uftp.schema import VERSIONS
from adapters.uftp.values import TYPES
from datamodels import Role

__all__ = ["UftpConfig"]


@dataclass(frozen=True, slots=True)
class UftpConfig:
    """One participant's UFTP end.

    Args:
        domain: own Internet domain, lower case.
        role: AGR, DSO or CRO.
        signing_key_file: see `keys.load_key_file`.
        listen: "host:port"; port 0 takes a free one.
        versions: wire versions to speak.
        legacy_path: also serve /USEF/2019/SignedMessage.
        rate_limit_per_s: messages a second from one peer, averaged over two seconds; 0 is no limit.
        max_body_bytes: largest envelope that is read.
        tls_certificate, tls_key: serve HTTPS; with tls_client_ca clients must show a certificate of that authority.
        tls_ca: the authority that peers' servers are trusted by, instead of the system's.
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

    @classmethod
    def parse(cls, config: Mapping[str, Any]) -> UftpConfig:
        """Read a configuration table.

        Raises:
            ValueError: all that is wrong with it, one complaint a line.
        """
        complaints: list[str] = []
        values: dict[str, Any] = {}
        for key, value in config.items():
            reader = _READERS.get(key)
            if reader is None:
                near = difflib.get_close_matches(key, _READERS, 1)
                complaints.append(f"uftp.{key} is not known" + (f"; did you mean {near[0]}?" if near else ""))
                continue
            try:
                values[key] = reader(value)
            except ValueError as error:
                complaints.append(f"uftp.{key} {error}")
        complaints.extend(
            f"uftp.{f.name} is missing" for f in fields(cls) if f.default is MISSING and f.name not in config
        )
        if ("tls_certificate" in config) != ("tls_key" in config):
            complaints.append("uftp.tls_certificate and uftp.tls_key go together; one is missing")
        if "tls_client_ca" in config and "tls_certificate" not in config:
            complaints.append("uftp.tls_client_ca needs uftp.tls_certificate and uftp.tls_key")
        if complaints:
            raise ValueError("\n".join(complaints))
        return cls(**values)

    @property
    def address(self) -> tuple[str, int]:
        host, _, port = self.listen.rpartition(":")
        return host.strip("[]"), int(port)


def _text(value: Any) -> str:
    if not isinstance(value, str) or not value:
        raise ValueError(f"must be a text, not {value!r}")
    return value


def _domain(value: Any) -> str:
    return str(TYPES["domain"].read(_text(value)))


def _role(value: Any) -> Role:
    if value not in ("AGR", "DSO", "CRO"):
        raise ValueError(f"must be AGR, DSO or CRO, not {value!r}")
    return Role(value)


def _listen(value: Any) -> str:
    host, separator, port = _text(value).rpartition(":")
    if not separator or not host or not port.isdigit() or int(port) > 65535:
        raise ValueError(f"must be host:port, not {value!r}")
    return str(value)


def _versions(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list | tuple) or not value or not set(value) <= set(VERSIONS):
        raise ValueError(f"must list some of {', '.join(VERSIONS)}, not {value!r}")
    return tuple(v for v in VERSIONS if v in value)


def _flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError(f"must be true or false, not {value!r}")
    return value


def _rate(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 1e9:
        raise ValueError(f"must be a number of messages a second (0: no limit), not {value!r}")
    return float(value)


def _size(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 1024 <= value <= 64 * 1024 * 1024:
        raise ValueError(f"must be a number of bytes from 1 KiB to 64 MiB, not {value!r}")
    return value


def _path(value: Any) -> Path:
    if not isinstance(value, Path):
        value = Path(_text(value))
    return Path(value)


_READERS: dict[str, Callable[[Any], Any]] = {
    "domain": _domain,
    "role": _role,
    "signing_key_file": _path,
    "listen": _listen,
    "versions": _versions,
    "legacy_path": _flag,
    "rate_limit_per_s": _rate,
    "max_body_bytes": _size,
    "tls_certificate": _path,
    "tls_key": _path,
    "tls_client_ca": _path,
    "tls_ca": _path,
}
