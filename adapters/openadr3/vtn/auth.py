"""Who a request comes from: an embedded server of tokens (OAuth2 client credentials), or an issuer outside.

Tokens are JWTs, signed with a key that survives a restart and published as JWKS. A token of a client that is gone, or
whose secret was changed, is worth nothing at once. Scopes decide, never names of roles (errata 28, 29): BL is who holds
read_all (or read_bl) by its client's leave.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import secrets
import time
import uuid
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_pem_private_key

from adapters.errors import TransportFault
from adapters.openadr3.vtn.access import Viewer

__all__ = ["ROLES", "SCOPES", "Caller", "Client", "Tokens", "caller_of", "decoded", "hashed", "new_key", "scopes_of"]

SCOPES = (
    "read_all",
    "read_bl",
    "read_targets",
    "read_ven_objects",
    "write_programs",
    "write_events",
    "write_reports",
    "write_subscriptions",
    "write_vens",
)
ROLES: Mapping[str, frozenset[str]] = {
    "bl": frozenset({"read_all", "write_programs", "write_events", "write_subscriptions", "write_vens"}),
    "ven": frozenset({"read_targets", "read_ven_objects", "write_reports", "write_subscriptions", "write_vens"}),
}
_ALIASES = {"write_vens_bl": "write_vens", "write_vens_ven": "write_vens"}
_BL = frozenset({"read_all", "read_bl"})
_ALGORITHMS = ["EdDSA", "RS256", "ES256"]
_COST = 2**14
_TOKENS, _FAILURES = 10_000, 10_000
_TRIES, _TRIES_S = 10, 60.0


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks, and what it may."""

    viewer: Viewer
    scopes: frozenset[str]

    def may(self, scope: str) -> bool:
        """BL passes wherever a VEN's reading scope is asked for (errata 3). read_all is what 3.0.1 asks of everybody:
        any reading scope will do there, since what is shown depends on who asks."""
        if scope == "read_all":
            return any(held.startswith("read_") for held in self.scopes)
        return scope in self.scopes or (scope.startswith("read_") and self.viewer.is_bl)


@dataclass(frozen=True, slots=True)
class Client:
    """A client that may ask for tokens. `secret` is a hash as `hashed` makes it, or the text itself where a file holds
    it."""

    id: str
    secret: str
    scopes: frozenset[str]

    @property
    def mark(self) -> str:
        """Changes with the secret, and tells nothing of it."""
        return hashlib.sha256(f"{self.id}\0{self.secret}".encode()).hexdigest()[:16]


def hashed(secret: str) -> str:
    """A secret as it may be stored (scrypt)."""
    salt = secrets.token_bytes(16)
    return f"scrypt${salt.hex()}${_scrypt(secret, salt).hex()}"


def scopes_of(names: Iterable[str]) -> frozenset[str]:
    """Known scopes among names, aliases resolved."""
    return frozenset(_ALIASES.get(name, name) for name in names) & set(SCOPES)


def caller_of(client: str, scopes: frozenset[str]) -> Caller:
    return Caller(Viewer(client, bool(scopes & _BL)), scopes)


class Tokens:
    """The embedded server. `key` is a PEM private key (Ed25519 or RSA)."""

    def __init__(
        self, clients: Iterable[Client], key: bytes, issuer: str, life_s: float, clock: Callable[[], float] = time.time
    ) -> None:
        self.clients = {client.id: client for client in clients}
        self._key: Any = load_pem_private_key(key, None)
        self._algorithm = "EdDSA" if isinstance(self._key, Ed25519PrivateKey) else "RS256"
        self._issuer = issuer
        self._life_s = int(life_s)
        self._clock = clock
        self._known: OrderedDict[str, tuple[Caller, float, str]] = OrderedDict()
        self._failed: OrderedDict[tuple[str, str], list[float]] = OrderedDict()
        self._hashing = asyncio.Semaphore(1)
        self._kid = hashlib.sha256(json.dumps(self._public(), sort_keys=True).encode()).hexdigest()[:16]

    def jwks(self) -> dict[str, Any]:
        """The public key, for those who verify tokens themselves."""
        return {"keys": [self._public() | {"kid": self._kid, "use": "sig", "alg": self._algorithm}]}

    async def grant(self, form: Mapping[str, Any], basic: str, remote: str) -> dict[str, Any]:
        """The answer to a request for a token (RFC 6749, 4.4); `basic` is its Authorization header.

        Raises:
            TransportFault: with one of RFC 6749's errors as its rule; 429 `slow_down` after too many wrong secrets.
        """
        id, secret = _credentials(form, basic)
        kind = form.get("grant_type")
        if not kind:
            raise TransportFault(400, "invalid_request", "grant_type is missing")
        if kind != "client_credentials":
            raise TransportFault(400, "unsupported_grant_type", "only client_credentials is known here")
        if not id or not secret:
            code = 400 if not id and not secret else 401
            raise TransportFault(
                code, "invalid_request" if code == 400 else "invalid_client", "credentials are missing"
            )
        self._not_too_often(id, remote)
        client = self.clients.get(id)
        async with self._hashing:
            good = await asyncio.to_thread(_is_secret, secret, client.secret if client is not None else _NOBODY)
        if client is None or not good:
            self._failed.setdefault((id, remote), []).append(self._clock())
            raise TransportFault(401, "invalid_client", "the client or its secret is not known")
        self._failed.pop((id, remote), None)
        asked = form.get("scope")
        wanted = scopes_of(asked.split()) if isinstance(asked, str) else frozenset()
        # Clients ask for scopes of the other role by habit: what they do not hold is ignored (RFC 6749, 3.3).
        scopes = (client.scopes & wanted) or client.scopes
        return {
            "access_token": self._signed(client, scopes),
            "token_type": "Bearer",
            "expires_in": self._life_s,
            "scope": " ".join(sorted(scopes)),
        }

    def verify(self, token: str) -> tuple[Caller, float]:
        """Whose token it is, and until when (TransportFault 401 where it is worth nothing)."""
        found = self._known.get(token)
        if found is None:
            claims = decoded(token, self._key.public_key(), self._issuer, None)
            caller = caller_of(str(claims["sub"]), scopes_of(str(claims.get("scope", "")).split()))
            found = self._known[token] = caller, float(claims["exp"]), str(claims.get("mark"))
            if len(self._known) > _TOKENS:
                self._known.popitem(last=False)
        caller, expires, mark = found
        client = self.clients.get(caller.viewer.client)
        if expires <= self._clock() or client is None or client.mark != mark:
            self._known.pop(token, None)
            raise TransportFault(401, "openadr3.token", "the token has expired or was withdrawn")
        return caller, expires

    def _signed(self, client: Client, scopes: frozenset[str]) -> str:
        now = int(self._clock())
        claims = {
            "iss": self._issuer,
            "sub": client.id,
            "client_id": client.id,
            "scope": " ".join(sorted(scopes)),
            "iat": now,
            "exp": now + self._life_s,
            "jti": uuid.uuid4().hex,
            "mark": client.mark,
        }
        return jwt.encode(claims, self._key, self._algorithm, {"kid": self._kid})

    def _public(self) -> dict[str, Any]:
        public: dict[str, Any] = jwt.get_algorithm_by_name(self._algorithm).to_jwk(self._key.public_key(), as_dict=True)
        return public

    def _not_too_often(self, id: str, remote: str) -> None:
        now = self._clock()
        failed = [at for at in self._failed.get((id, remote), ()) if at > now - _TRIES_S]
        if failed:
            self._failed[id, remote] = failed
        while len(self._failed) > _FAILURES:
            self._failed.popitem(last=False)
        if len(failed) >= _TRIES:
            raise TransportFault(429, "slow_down", "too many wrong secrets; wait a minute")


def decoded(token: str, key: Any, issuer: str, audience: str | None) -> dict[str, Any]:
    """The claims of a token that this key signed (TransportFault 401 otherwise)."""
    try:
        claims: dict[str, Any] = jwt.decode(
            token,
            key,
            _ALGORITHMS,
            issuer=issuer,
            audience=audience,
            options={"require": ["exp", "iss"], "verify_aud": audience is not None},
        )
    except (jwt.InvalidTokenError, TypeError, ValueError) as error:
        raise TransportFault(401, "openadr3.token", f"the token is not good: {type(error).__name__}") from error
    return claims


def new_key() -> bytes:
    """An Ed25519 key as PEM."""
    return Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def _credentials(form: Mapping[str, Any], basic: str) -> tuple[str, str]:
    scheme, _, text = basic.partition(" ")
    if scheme.lower() == "basic":
        try:
            id, _, secret = base64.b64decode(text, validate=True).decode().partition(":")
        except ValueError as error:
            raise TransportFault(400, "invalid_request", "the Authorization header is not Basic") from error
        return id, secret
    found = [next((form[n] for n in names if form.get(n)), "") for names in _NAMES]
    if not all(isinstance(value, str) for value in found):
        raise TransportFault(400, "invalid_request", "client_id and client_secret are texts")
    return found[0], found[1]


_NAMES = (("client_id", "clientID"), ("client_secret", "clientSecret"))


def _is_secret(given: str, held: str) -> bool:
    kind, _, rest = held.partition("$")
    if kind == "scrypt" and rest:
        salt, _, digest = rest.partition("$")
        return hmac.compare_digest(_scrypt(given, bytes.fromhex(salt)), bytes.fromhex(digest))
    return hmac.compare_digest(given.encode("utf-8", "surrogatepass"), held.encode("utf-8", "surrogatepass"))


def _scrypt(secret: str, salt: bytes) -> bytes:
    return hashlib.scrypt(secret.encode("utf-8", "surrogatepass"), salt=salt, n=_COST, r=8, p=1, maxmem=64 * 2**20)


_NOBODY = hashed(secrets.token_hex())
"""What is compared with the secret of an unknown client, so that it takes as long."""
