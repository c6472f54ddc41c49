"""What single peers want of whoever calls them: a token, a client certificate, an authority of their own."""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from adapters.tls import client_context
from adapters.uftp import settings
from adapters.uftp.oauth2 import ClientCredentials

__all__ = ["ACCESS", "Access", "Credentials"]


@dataclass(frozen=True, slots=True)
class Access:
    """How one peer is called, where it wants more than a signed message.

    Args:
        domain: the peer.
        token_url, client_id, client_secret_file: OAuth 2.0 client credentials; the token goes along with each message.
        scope: what to ask the token for.
        tls_certificate, tls_key: our client certificate for this peer, instead of the one for all.
        tls_ca: the authority that this peer's server is trusted by, instead of the one for all; its token server is
            trusted by the one for all.
    """

    domain: str
    token_url: str = ""
    client_id: str = ""
    client_secret_file: Path | None = None
    scope: str = ""
    tls_certificate: Path | None = None
    tls_key: Path | None = None
    tls_ca: Path | None = None

    def __post_init__(self) -> None:
        account = (self.token_url, self.client_id, self.client_secret_file)
        if any(account) and not all(account):
            raise ValueError("token_url, client_id and client_secret_file go together; one is missing")
        if (self.tls_certificate is None) != (self.tls_key is None):
            raise ValueError("tls_certificate and tls_key go together; one is missing")


ACCESS: Mapping[str, settings.Reader] = {
    "domain": settings.domain,
    "token_url": settings.url,
    "client_id": settings.text,
    "client_secret_file": settings.path,
    "scope": settings.text,
    "tls_certificate": settings.path,
    "tls_key": settings.path,
    "tls_ca": settings.path,
}


@dataclass(frozen=True, slots=True)
class Credentials:
    """What goes along with a message to a peer. `tls` True trusts whom the system trusts."""

    tls: ssl.SSLContext | bool = True
    account: ClientCredentials | None = None

    @classmethod
    def load(cls, access: Access, ca: Path | None, certificate: Path | None, key: Path | None) -> Credentials:
        """From the files; `ca`, `certificate` and `key` are those for all peers.

        Raises:
            OSError, ValueError: a file is missing or does not hold what it should.
        """
        account = None
        if access.client_secret_file is not None:
            who = access.token_url, access.client_id, access.client_secret_file, access.scope
            account = ClientCredentials(*who, tls=client_context(ca) if ca else True)
        if access.tls_certificate is not None:
            certificate, key = access.tls_certificate, access.tls_key
        ca = access.tls_ca or ca
        plain = ca is None and certificate is None
        return cls(True if plain else client_context(ca, certificate, key), account)
