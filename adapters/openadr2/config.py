"""Settings of the VTN, typed and checked; an unknown key is refused with the nearest known one."""

from __future__ import annotations

import difflib
import ipaddress
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, dataclass, fields
from enum import StrEnum
from pathlib import Path
from typing import Any, TypeVar

__all__ = ["Config", "Profile", "Security", "VenConfig", "read_config"]


class Profile(StrEnum):
    """How much a VEN may deviate: strict bends no rule, lenient normalises the listed field deviations."""

    STRICT = "strict"
    LENIENT = "lenient"


class Security(StrEnum):
    """Levels of the profile. high: every message is signed (rule 514); standard: TLS alone. A signature that is there
    is checked at either level. A VEN set to `listener` has the level of the listener.
    """

    LISTENER = "listener"
    STANDARD = "standard"
    HIGH = "high"


@dataclass(frozen=True, slots=True)
class VenConfig:
    """A VEN an operator has announced: its name, and what else is known of it beforehand.

    `fingerprint` is the full SHA-256 of its certificate, upper-case hex with colons.
    """

    ven_name: str
    ven_id: str = ""
    fingerprint: str = ""
    profile: Profile = Profile.STRICT
    security: Security = Security.LISTENER


@dataclass(frozen=True, slots=True)
class Config:
    """All settings.

    `poll_frequency_s` and `report_interval_s` are wall-clock seconds given to the VENs; `report_interval_s` 0 takes
    the shortest sampling period each VEN offers. `insecure` allows plain HTTP on a loopback address only; the venID
    is then the identity. `allow_registration` lets a VEN register that is not in `vens`.

    Of the listener there are `connections` at most, `connections_per_address` of one address, and over TLS
    `requests_per_s` of one certificate (ten seconds' worth may come at once); 0 is no limit.

    We sign with `signing_certificate` and `signing_key` (PEM, RSA or ECDSA), or where they are empty with the files of
    the listener. A signature may be `signature_tolerance_s` old or ahead of our clock. `signature_refusal_status` is
    the HTTP status of a refused signature: 200 with the code 463 in a signed reply, or 403.
    """

    vtn_id: str = "GRIDPARLEY"
    listen: str = "127.0.0.1:8081"
    path_prefix: str = ""
    insecure: bool = False
    tls_certificate: str = ""
    tls_key: str = ""
    tls_client_ca: str = ""
    poll_frequency_s: int = 10
    report_interval_s: int = 0
    market_context: str = "http://gridparley/default"
    allow_registration: bool = False
    connections: int = 5000
    connections_per_address: int = 0
    requests_per_s: int = 100
    security: Security = Security.STANDARD
    signing_certificate: str = ""
    signing_key: str = ""
    signature_tolerance_s: int = 5
    signature_refusal_status: int = 200
    vens: tuple[VenConfig, ...] = ()

    @property
    def address(self) -> tuple[str, int]:
        """Host and port to bind."""
        host, _, port = self.listen.rpartition(":")
        return host.strip("[]"), int(port)

    @property
    def tls_files(self) -> tuple[Path, Path, Path]:
        return Path(self.tls_certificate), Path(self.tls_key), Path(self.tls_client_ca)

    @property
    def signing_files(self) -> tuple[Path, Path] | None:
        """Certificate and key to sign with; None where no VEN gets signed messages."""
        levels = {self.security, *(v.security for v in self.vens)}
        if Security.HIGH not in levels:
            return None
        return Path(self.signing_certificate or self.tls_certificate), Path(self.signing_key or self.tls_key)


T = TypeVar("T")

_CHOICES: Mapping[str, type[StrEnum]] = {c.__name__: c for c in (Profile, Security)}


def read_config(data: Mapping[str, Any]) -> Config:
    """Check settings as they come from a configuration file.

    Raises:
        ValueError: naming every key that is wrong, and how to mend it.
    """
    wrong: list[str] = []
    vens = data.get("vens", ())
    if not isinstance(vens, Sequence) or isinstance(vens, str) or not all(isinstance(v, Mapping) for v in vens):
        wrong.append("vens: a list of tables is needed")
        vens = ()
    read = [_fields(VenConfig, ven, f"vens[{n}].", wrong) for n, ven in enumerate(vens, 1)]
    config = _fields(Config, {k: v for k, v in data.items() if k != "vens"}, "", wrong, vens=tuple(filter(None, read)))
    if config is not None and not wrong:
        wrong += _consistent(config)
    if wrong or config is None:
        raise ValueError("openadr2 configuration: " + "; ".join(wrong))
    return config


def _fields(cls: type[T], data: Mapping[str, Any], where: str, wrong: list[str], **more: Any) -> T | None:
    known = {f.name: f for f in fields(cls)}  # type: ignore[arg-type]
    values: dict[str, Any] = dict(more)
    for key, value in data.items():
        if key not in known:
            near = difflib.get_close_matches(key, known, 1)
            wrong.append(f"{where}{key} is not known" + (f"; did you mean {near[0]}?" if near else ""))
            continue
        kind = str(known[key].type)
        if kind in _CHOICES:
            choices = _CHOICES[kind]
            if value not in set(choices):
                wrong.append(f"{where}{key}: {' or '.join(choices)}, not {value!r}")
                continue
            value = choices(value)
        elif type(value).__name__ != kind:
            wrong.append(f"{where}{key}: {kind} is needed, not {value!r}")
            continue
        values[key] = value
    for name, field in known.items():
        if field.default is MISSING and name not in values:
            wrong.append(f"{where}{name} is missing")
            return None
    return cls(**values)


def _consistent(config: Config) -> list[str]:
    wrong = []
    try:
        host, port = config.address
        loopback = host == "localhost" or ipaddress.ip_address(host).is_loopback
        if not 0 <= port <= 65535:
            raise ValueError
    except ValueError:
        wrong.append(f"listen: address:port is needed, not {config.listen!r}")
        loopback = True
    tls = (config.tls_certificate, config.tls_key, config.tls_client_ca)
    if config.insecure and any(tls):
        wrong.append("insecure and tls_* exclude each other; remove one")
    if config.insecure and not loopback:
        wrong.append(f"insecure is for loopback addresses only, not {config.listen}; configure tls_*")
    if not config.insecure and not all(tls):
        wrong.append("tls_certificate, tls_key and tls_client_ca are needed (or insecure = true on a loopback address)")
    wrong += _signing(config)
    if not config.vtn_id or config.vtn_id.islower() or config.vtn_id.isdigit():
        # Deployed VENs refuse every event of a VTN whose id has no upper-case letter, and read digits as a number.
        wrong.append(f"vtn_id: an id with an upper-case letter is needed, not {config.vtn_id!r}")
    if min(config.connections, config.connections_per_address, config.requests_per_s) < 0:
        wrong.append("connections, connections_per_address, requests_per_s: 0 or more")
    if config.poll_frequency_s < 1:
        wrong.append("poll_frequency_s: at least 1")
    if config.report_interval_s < 0:
        wrong.append("report_interval_s: 0 or more")
    for key in ("ven_name", "ven_id", "fingerprint"):
        given = [getattr(v, key) for v in config.vens if getattr(v, key)]
        if twice := {g for g in given if given.count(g) > 1}:
            wrong.append(f"vens: {key} {sorted(twice)[0]!r} stands twice")
    return wrong


def _signing(config: Config) -> list[str]:
    wrong = []
    if config.security is Security.LISTENER:
        wrong.append("security: the listener's own level is standard or high")
    if bool(config.signing_certificate) != bool(config.signing_key):
        wrong.append("signing_certificate and signing_key: both or neither")
    if config.signing_files and config.insecure and not config.signing_key:
        wrong.append("signing_certificate and signing_key are needed for security = high without tls_*")
    if config.signature_tolerance_s < 1:
        wrong.append("signature_tolerance_s: at least 1")
    if config.signature_refusal_status not in (200, 403):
        wrong.append(f"signature_refusal_status: 200 or 403, not {config.signature_refusal_status}")
    return wrong
