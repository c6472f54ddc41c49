"""Settings of the VEN: typed, checked, an unknown key is refused with the nearest known one."""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from enum import StrEnum
from pathlib import Path
from typing import Any

from yarl import URL

from adapters.openadr2.config import Profile
from adapters.settings import Readers, is_loopback, one_of, tables

__all__ = ["OptPolicy", "VtnConfig", "read_vtns"]

_BASE = "/OpenADR2/Simple/2.0b"


class OptPolicy(StrEnum):
    """What is said to an event: auto says optIn where our side acts on one of its signals, in and out say always so."""

    AUTO = "auto"
    IN = "in"
    OUT = "out"


@dataclass(frozen=True, slots=True)
class VtnConfig:
    """A utility's VTN that we are a VEN of.

    Args:
        peer: the participant that the VTN speaks for.
        url: its base URL; `/OpenADR2/Simple/2.0b` is added where it is missing.
        ven_name: what we are called there.
        vtn_id: the id it must have, letter for letter; without it the one that it registers us with.
        profile: strict, or lenient, which mends the listed deviations and logs each.
        poll_s: wall seconds between two polls; 0 takes what the VTN asks for.
        reply_limit: ask for at most so many events at once; 0 for all.
        listen: address:port at which we serve the VTN's pushes; without it we poll.
        push_url: that address as the VTN reaches it (oadrTransportAddress); needed with `listen`.
        tls_ca: the authority that the VTN is trusted by, instead of the system's.
        tls_certificate, tls_key: our own, of both directions.
        fingerprint: full SHA-256 of the VTN's certificate, upper-case hex with colons; needed with `listen` over TLS.
        signed: sign what we send and take only what is signed (rule 514).
        signing_certificate, signing_key: to sign with, instead of those of TLS.
        signing_fingerprint: full SHA-256 of the certificate the VTN signs with, where it is not that of TLS.
        signature_tolerance_s: how far the VTN's clock may be from ours.
        insecure: allow plain HTTP, on a loopback address only.
        resources: our resources by the resourceID the VTN knows them by; by default all of them by their own ids.
        congestion_points: addresses by the groupID, pnode, service delivery point or meter that events name.
        reports: offer reports of these resources.
        sampling_s: the shortest sampling period that is offered, in wall seconds.
        opt: what is said to events: auto, in or out.
        setpoint_is_limit: the programme means LOAD_DISPATCH setpoints as ceilings of import.
        levels_w: ceilings of import in W for SIMPLE levels 1, 2, 3; without it a level is passed on as it is.
        base_price: price per kWh that priceRelative and priceMultiplier start from.
    """

    peer: str
    url: str
    ven_name: str
    vtn_id: str = ""
    profile: Profile = Profile.STRICT
    poll_s: float = 0.0
    reply_limit: int = 0
    listen: str = ""
    push_url: str = ""
    tls_ca: str = ""
    tls_certificate: str = ""
    tls_key: str = ""
    fingerprint: str = ""
    signed: bool = False
    signing_certificate: str = ""
    signing_key: str = ""
    signing_fingerprint: str = ""
    signature_tolerance_s: int = 5
    insecure: bool = False
    resources: dict[str, str] = field(default_factory=dict)
    congestion_points: dict[str, str] = field(default_factory=dict)
    reports: bool = True
    sampling_s: int = 10
    opt: OptPolicy = OptPolicy.AUTO
    setpoint_is_limit: bool = False
    levels_w: tuple[int, ...] = ()
    base_price: Decimal | None = None

    @property
    def base(self) -> URL:
        url = URL(self.url.rstrip("/"))
        return url if url.path.endswith(_BASE) else url.with_path(url.path.rstrip("/") + _BASE)

    @property
    def signer(self) -> str:
        """Fingerprint of the certificate that the VTN signs with."""
        return self.signing_fingerprint or self.fingerprint

    @property
    def signing_files(self) -> tuple[str, str]:
        """Our certificate and key to sign with."""
        return self.signing_certificate or self.tls_certificate, self.signing_key or self.tls_key

    @property
    def address(self) -> tuple[str, int]:
        """Host and port to serve pushes at."""
        host, _, port = self.listen.rpartition(":")
        return host.strip("[]"), int(port)


def read_vtns(given: Any) -> tuple[VtnConfig, ...]:
    """Check the list `vtns` as it comes from a configuration file.

    Raises:
        ValueError: naming every key that is wrong, and how to mend it.
    """
    wrong: list[str] = []
    vtns = tables(VtnConfig, given, "vtns", wrong, _READERS)
    for n, vtn in enumerate(vtns, 1):
        wrong += [f"vtns[{n}].{text}" for text in _consistent(vtn)]
    peers = [vtn.peer for vtn in vtns]
    wrong += [f"vtns: peer {peer!r} stands twice" for peer in sorted({p for p in peers if peers.count(p) > 1})]
    if wrong:
        raise ValueError("openadr2 configuration: " + "; ".join(wrong))
    return vtns


def _consistent(vtn: VtnConfig) -> list[str]:
    wrong = []
    if (text := _url(vtn.url, vtn.insecure)) is not None:
        wrong.append(f"url: {text}")
    if bool(vtn.listen) != bool(vtn.push_url):
        wrong.append("listen and push_url go together; one is missing")
    elif vtn.listen:
        wrong += _push(vtn)
    if bool(vtn.tls_certificate) != bool(vtn.tls_key):
        wrong.append("tls_certificate and tls_key go together; one is missing")
    if vtn.signed and not all(vtn.signing_files):
        wrong.append("signed: signing_certificate and signing_key (or those of TLS) are needed to sign with")
    if vtn.signed and not vtn.signer:
        wrong.append("signed: signing_fingerprint or fingerprint is needed, to know the VTN's signature by")
    for key in ("tls_ca", "tls_certificate", "tls_key", "signing_certificate", "signing_key"):
        path = getattr(vtn, key)
        if path and not Path(path).is_file():
            wrong.append(f"{key}: there is no file {path}")
    for key, least in (("poll_s", 0), ("reply_limit", 0), ("sampling_s", 1), ("signature_tolerance_s", 1)):
        if getattr(vtn, key) < least:
            wrong.append(f"{key}: at least {least}")
    if vtn.levels_w and (len(vtn.levels_w) != 3 or min(vtn.levels_w) < 0):
        wrong.append(f"levels_w: three ceilings in W are needed, not {list(vtn.levels_w)}")
    return wrong


def _push(vtn: VtnConfig) -> list[str]:
    try:
        host, port = vtn.address
        local = is_loopback(host)
        if not 0 <= port <= 65535:
            raise ValueError
    except ValueError:
        return [f"listen: address:port is needed, not {vtn.listen!r}"]
    if vtn.insecure:
        return [] if local else ["listen: insecure is for loopback addresses only; configure tls_*"]
    needed = [key for key in ("tls_ca", "tls_certificate", "tls_key", "fingerprint") if not getattr(vtn, key)]
    return [f"listen: {', '.join(needed)} is needed to know the VTN by"] if needed else []


def _url(text: str, insecure: bool) -> str | None:
    try:
        url = URL(text)
    except ValueError:
        url = URL()
    if url.scheme not in ("http", "https") or not url.host:
        return f"the base URL of a VTN is needed, not {text!r}"
    if url.scheme == "http" and not (insecure and is_loopback(url.host)):
        return "https is needed (http only with insecure = true on a loopback address)"
    return None


def _money(value: Any) -> Decimal:
    try:
        price = Decimal(str(value))
    except InvalidOperation:
        price = Decimal("NaN")
    if isinstance(value, bool) or not price.is_finite():
        raise ValueError(f"a price is needed, not {value!r}")
    return price


_READERS: Readers = {"Decimal | None": _money, "Profile": one_of(Profile), "OptPolicy": one_of(OptPolicy)}
