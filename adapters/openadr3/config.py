"""Settings of the VEN: typed, checked, an unknown key is refused with the nearest known one."""

from __future__ import annotations

import difflib
import ipaddress
from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, dataclass, field, fields
from pathlib import Path
from typing import Any, TypeVar

from yarl import URL

from adapters.openadr3.members import Version

__all__ = ["Config", "VtnConfig", "read_config"]

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class VtnConfig:
    """A VTN that we are a VEN of.

    Args:
        peer: the participant that the VTN speaks for.
        url: base URL of the API, version and all.
        ven_name: what we are called there (DER profile and GAC 2.2: our EAN13).
        version: 3.1.0 or 3.0.1.
        client_id, client_secret_file: for a token; the token server is asked for, or `token_url`.
        token_file: a token that is given, instead of these.
        scope: asked for with a token.
        programs: names of the programmes to obey; by default every one with a known profile.
        congestion_points: addresses by the CONGESTION_POINT_ID that groups name.
        poll_s: wall seconds between two looks.
        tls_ca: the authority that the VTN is trusted by, instead of the system's; with tls_certificate and tls_key we
            show a certificate.
        insecure: allow plain HTTP, on a loopback address only.
    """

    peer: str
    url: str
    ven_name: str
    version: Version = Version.V310
    client_id: str = ""
    client_secret_file: str = ""
    token_file: str = ""
    token_url: str = ""
    scope: str = ""
    programs: tuple[str, ...] = ()
    congestion_points: dict[str, str] = field(default_factory=dict)
    poll_s: float = 30.0
    tls_ca: str = ""
    tls_certificate: str = ""
    tls_key: str = ""
    insecure: bool = False

    @property
    def is_new(self) -> bool:
        """Whether resources and groups are collections of their own."""
        return self.version is not Version.V301


@dataclass(frozen=True, slots=True)
class Config:
    vtns: tuple[VtnConfig, ...]


def read_config(data: Mapping[str, Any]) -> Config:
    """Check settings as they come from a configuration file.

    Raises:
        ValueError: naming every key that is wrong, and how to mend it.
    """
    wrong = [f"{key} is not known; did you mean vtns?" for key in data if key != "vtns"]
    given = data.get("vtns", ())
    if not isinstance(given, Sequence) or isinstance(given, str) or not all(isinstance(v, Mapping) for v in given):
        wrong.append("vtns: a list of tables is needed")
        given = ()
    elif not given:
        wrong.append("vtns: at least one is needed")
    read = [_table(VtnConfig, table, f"vtns[{n}].", wrong) for n, table in enumerate(given, 1)]
    vtns = tuple(vtn for vtn in read if vtn is not None)
    for n, vtn in enumerate(vtns, 1):
        wrong += [f"vtns[{n}].{text}" for text in _consistent(vtn)]
    peers = [vtn.peer for vtn in vtns]
    wrong += [f"vtns: peer {peer!r} stands twice" for peer in sorted({p for p in peers if peers.count(p) > 1})]
    if wrong:
        raise ValueError("openadr3 configuration: " + "; ".join(wrong))
    return Config(vtns)


def _table(cls: type[T], data: Mapping[str, Any], where: str, wrong: list[str]) -> T | None:
    known = {f.name: f for f in fields(cls)}  # type: ignore[arg-type]
    values: dict[str, Any] = {}
    before = len(wrong)
    for key, value in data.items():
        if key not in known:
            near = difflib.get_close_matches(key, known, 1)
            wrong.append(f"{where}{key} is not known" + (f"; did you mean {near[0]}?" if near else ""))
            continue
        try:
            values[key] = _READERS[str(known[key].type)](value)
        except ValueError as error:
            wrong.append(f"{where}{key}: {error}")
    missing = [f.name for f in known.values() if f.default is MISSING and f.default_factory is MISSING]
    missing = [name for name in missing if name not in data]
    wrong += [f"{where}{name} is missing" for name in missing]
    return cls(**values) if len(wrong) == before else None


def _consistent(vtn: VtnConfig) -> list[str]:
    wrong = []
    try:
        url = URL(vtn.url)
    except ValueError:
        url = URL()
    if url.scheme not in ("http", "https") or not url.host:
        wrong.append(f"url: the base URL of an API is needed, not {vtn.url!r}")
    elif url.scheme == "http" and not (vtn.insecure and _is_loopback(url.host)):
        wrong.append("url: https is needed (http only with insecure = true on a loopback address)")
    if bool(vtn.client_id) != bool(vtn.client_secret_file):
        wrong.append("client_id and client_secret_file go together; one is missing")
    if vtn.client_id and vtn.token_file:
        wrong.append("token_file and client_id exclude each other; remove one")
    if bool(vtn.tls_certificate) != bool(vtn.tls_key):
        wrong.append("tls_certificate and tls_key go together; one is missing")
    if vtn.poll_s <= 0:
        wrong.append("poll_s: seconds above 0")
    for key in ("client_secret_file", "token_file", "tls_ca", "tls_certificate", "tls_key"):
        path = getattr(vtn, key)
        if path and not Path(path).is_file():
            wrong.append(f"{key}: there is no file {path}")
    return wrong


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _text(value: Any) -> str:
    if not isinstance(value, str) or not value:
        raise ValueError(f"a text is needed, not {value!r}")
    return value


def _texts(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list | tuple):
        raise ValueError(f"a list of texts is needed, not {value!r}")
    return tuple(_text(item) for item in value)


def _map(value: Any) -> dict[str, str]:
    if not isinstance(value, Mapping):
        raise ValueError(f"a table of texts is needed, not {value!r}")
    return {_text(key): _text(item) for key, item in value.items()}


def _version(value: Any) -> Version:
    if value not in set(Version):
        raise ValueError(f"one of {', '.join(Version)} is needed, not {value!r}")
    return Version(value)


def _seconds(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"a number is needed, not {value!r}")
    return float(value)


def _flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError(f"true or false is needed, not {value!r}")
    return value


_READERS: dict[str, Callable[[Any], Any]] = {
    "str": _text,
    "tuple[str, ...]": _texts,
    "dict[str, str]": _map,
    "Version": _version,
    "float": _seconds,
    "bool": _flag,
}
