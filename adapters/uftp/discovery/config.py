"""Configuration of discovery, and the directory it asks for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from pathlib import Path

from adapters.uftp import settings
from adapters.uftp.access import Access, Credentials
from adapters.uftp.discovery.addressbook import AddressBook
from adapters.uftp.discovery.base import Directory
from adapters.uftp.discovery.dns import Dns
from adapters.uftp.discovery.listed import Listed
from datamodels import Participant

__all__ = ["DISCOVERY", "Admit", "DiscoveryConfig", "Provider", "make_directory"]


class Provider(StrEnum):
    STATIC = "static"
    DNS = "dns"
    ADDRESS_BOOK = "address-book"


class Admit(StrEnum):
    """LISTED: whom operators listed. DISCOVERED: also whom the directory vouches for."""

    LISTED = "listed"
    DISCOVERED = "discovered"


@dataclass(frozen=True, slots=True)
class DiscoveryConfig:
    """How peers' keys and addresses are found where operators did not list them; what they listed always counts.

    Args:
        provider: who is asked.
        admit: who may speak with us: only listed peers, or whoever the directory vouches for.
        timeout_s: how long one look-up may take.
        negative_s: how long a failed look-up is remembered.
        refresh_s: least time between two look-ups of one peer on account of signatures that do not open.
        lookups_per_s: look-ups a second on account of strangers, all together.
        suffixes: dns; only domains at or below one of these.
        resolvers: dns; address or address:port of validating resolvers, instead of the system's.
        require_dnssec: dns; whether answers must carry the AD flag.
        url: address-book; where it is, without the path of its API.
        endpoint: address-book; the URL at which its participants take messages.
        cache_s: address-book; how long an answer holds.
        token_url, client_id, client_secret_file, scope: address-book; OAuth 2.0 client credentials.
        tls_ca: address-book; the authority that it and its token server are trusted by.
    """

    provider: Provider = Provider.STATIC
    admit: Admit = Admit.LISTED
    timeout_s: float = 5.0
    negative_s: float = 60.0
    refresh_s: float = 60.0
    lookups_per_s: float = 10.0
    suffixes: tuple[str, ...] = ()
    resolvers: tuple[str, ...] = ()
    require_dnssec: bool = True
    url: str = ""
    endpoint: str = ""
    cache_s: float = 3600.0
    token_url: str = ""
    client_id: str = ""
    client_secret_file: Path | None = None
    scope: str = ""
    tls_ca: Path | None = None

    def __post_init__(self) -> None:
        if self.provider is Provider.ADDRESS_BOOK and not self.url:
            raise ValueError("url is missing")
        if self.provider is Provider.STATIC and self.admit is Admit.DISCOVERED:
            raise ValueError("admit = discovered needs a provider that can discover somebody")
        account = (self.token_url, self.client_id, self.client_secret_file)
        if any(account) and not all(account):
            raise ValueError("token_url, client_id and client_secret_file go together; one is missing")


_seconds = settings.number(0.01, 7 * 24 * 3600.0, "a number of seconds")

DISCOVERY: Mapping[str, settings.Reader] = {
    "provider": settings.choice(Provider),
    "admit": settings.choice(Admit),
    "timeout_s": _seconds,
    "negative_s": _seconds,
    "refresh_s": _seconds,
    "lookups_per_s": settings.number(0.1, 1000.0, "a number"),
    "suffixes": settings.texts(settings.domain),
    "resolvers": settings.texts(settings.address),
    "require_dnssec": settings.flag,
    "url": settings.url,
    "endpoint": settings.url,
    "cache_s": _seconds,
    "token_url": settings.url,
    "client_id": settings.text,
    "client_secret_file": settings.path,
    "scope": settings.text,
    "tls_ca": settings.path,
}


def make_directory(
    config: DiscoveryConfig, participants: Mapping[str, Participant], now: Callable[[], datetime]
) -> Directory:
    """The directory that is configured; `now` is wall time.

    Raises:
        OSError, ValueError: a file is missing or does not hold what it should.
    """
    match config.provider:
        case Provider.DNS:
            return Dns(now, config.resolvers, config.suffixes, config.require_dnssec, config.timeout_s)
        case Provider.ADDRESS_BOOK:
            access = Access("address-book", config.token_url, config.client_id, config.client_secret_file, config.scope)
            credentials = Credentials.load(access, config.tls_ca, None, None)
            return AddressBook(now, config.url, credentials, config.endpoint, config.cache_s, config.timeout_s)
        case Provider.STATIC:
            return Listed(participants)
