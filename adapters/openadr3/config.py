"""Settings of the adapter: the VTNs that it is a VEN of, and (see `vtn.config`) the VTN that it is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from yarl import URL

from adapters.openadr3.members import Version
from adapters.openadr3.vtn.config import ServerConfig, read_server
from adapters.settings import is_loopback, one_of, tables

__all__ = ["Config", "VtnConfig", "read_config"]


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
    """VTNs that we follow, and the VTN that we are."""

    vtns: tuple[VtnConfig, ...] = ()
    vtn: ServerConfig | None = None


def read_config(data: Mapping[str, Any]) -> Config:
    """Check settings as they come from a configuration file.

    Raises:
        ValueError: naming every key that is wrong, and how to mend it.
    """
    wrong = [f"{key} is not known; did you mean vtns?" for key in data if key not in ("vtns", "vtn")]
    vtns = tables(VtnConfig, data.get("vtns", ()), "vtns", wrong, {"Version": one_of(Version)})
    if not data.get("vtns") and "vtn" not in data:
        wrong.append("vtns: at least one is needed, or a table vtn")
    for n, vtn in enumerate(vtns, 1):
        wrong += [f"vtns[{n}].{text}" for text in _consistent(vtn)]
    peers = [vtn.peer for vtn in vtns]
    wrong += [f"vtns: peer {peer!r} stands twice" for peer in sorted({p for p in peers if peers.count(p) > 1})]
    server = read_server(data["vtn"], wrong) if "vtn" in data else None
    if wrong:
        raise ValueError("openadr3 configuration: " + "; ".join(wrong))
    return Config(vtns, server)


def _consistent(vtn: VtnConfig) -> list[str]:
    wrong = []
    try:
        url = URL(vtn.url)
    except ValueError:
        url = URL()
    if url.scheme not in ("http", "https") or not url.host:
        wrong.append(f"url: the base URL of an API is needed, not {vtn.url!r}")
    elif url.scheme == "http" and not (vtn.insecure and is_loopback(url.host)):
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
