"""Discovery by DNS (UFTP 3.1.0 appendix 4)::

    _usef.<domain>              TXT    "3.1.0"                      versions, separated by spaces
    _<ROLE>._usef.<domain>      TXT    "cs1.… cs1.…"                one key, or two during a rotation
    _http._<ROLE>._usef.<domain>  CNAME  uftp.example.org.          the host that takes messages, at port 443

The answers must carry the AD flag: a validating resolver vouches for their DNSSEC signatures. The way to that resolver
is not protected, so it belongs on this machine or a trusted network. Whatever goes wrong is temporary.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta

import dns.asyncresolver
import dns.exception
import dns.flags
import dns.nameserver
import dns.resolver
import dns.rrset

from adapters.uftp.discovery.base import Found, Unavailable, Unlisted
from adapters.uftp.keys import parse_public_keys
from adapters.uftp.settings import split_address
from datamodels import Role

__all__ = ["Dns"]

_VERSION = re.compile(r"\d+\.\d+\.\d+")
_MOST_ALIASES = 8
_PAYLOAD = 1232
_SHORTEST_S, _LONGEST_S = 60, 24 * 3600


class Dns:
    """Looks participants up in DNS.

    Args:
        now: wall time.
        resolvers: `address` or `address:port` of validating resolvers; empty takes the system's.
        suffixes: where not empty, only domains at or below one of these are looked up.
        dnssec: whether answers must carry the AD flag.
    """

    def __init__(
        self,
        now: Callable[[], datetime],
        resolvers: Sequence[str] = (),
        suffixes: Sequence[str] = (),
        dnssec: bool = True,
        timeout_s: float = 5.0,
    ) -> None:
        self._now = now
        self._suffixes = tuple(suffixes)
        self._dnssec = dnssec
        self._resolver = dns.asyncresolver.Resolver(configure=not resolvers)
        if resolvers:
            self._resolver.nameservers = [dns.nameserver.Do53Nameserver(*split_address(r)) for r in resolvers]
        self._resolver.lifetime = timeout_s
        self._resolver.timeout = timeout_s / 2
        self._resolver.use_edns(0, dns.flags.DO, _PAYLOAD)
        self._resolver.set_flags(dns.flags.RD | dns.flags.AD)

    async def find(self, domain: str, role: Role) -> Found:
        if self._suffixes and not any(domain == s or domain.endswith(f".{s}") for s in self._suffixes):
            raise Unlisted(f"{domain} is below none of the suffixes that are looked up")
        base = f"_usef.{domain}."
        version_text, lives_1 = await self._text(base)
        key_text, lives_2 = await self._text(f"_{role}.{base}")
        host, lives_3 = await self._host(f"_http._{role}.{base}")
        versions = tuple(version_text.split())
        if not versions or not all(map(_VERSION.fullmatch, versions)):
            raise Unavailable(f"{base} says no version")
        try:
            keys = parse_public_keys(key_text)
        except ValueError as error:
            raise Unavailable(f"_{role}.{base} holds no keys: {error}") from None
        life_s = min(max(min(lives_1, lives_2, lives_3), _SHORTEST_S), _LONGEST_S)
        major = versions[0].partition(".")[0]
        endpoint = f"https://{host}/shapeshifter/api/v{major}/message"
        return Found(keys, endpoint, versions, self._now() + timedelta(seconds=life_s))

    async def close(self) -> None:
        return None

    async def _text(self, name: str) -> tuple[str, int]:
        """The text at a name, and the seconds for which it holds."""
        answer = await self._ask(name, "TXT")
        if answer is None:
            raise Unavailable(f"{name} has no TXT record")
        texts = [b"".join(record.strings).decode("ascii", "replace") for record in answer]
        return " ".join(texts), answer.ttl

    async def _host(self, name: str) -> tuple[str, int]:
        """Where a chain of aliases ends."""
        seen, life_s = [name.lower()], _LONGEST_S
        while (answer := await self._ask(seen[-1], "CNAME")) is not None:
            target = answer[0].target.to_text().lower()
            life_s = min(life_s, answer.ttl)
            if target in seen or len(seen) > _MOST_ALIASES:
                raise Unavailable(f"{name} leads in a circle" if target in seen else f"{name} leads too far")
            seen.append(target)
        if len(seen) == 1:
            raise Unavailable(f"{name} has no CNAME record")
        return seen[-1].rstrip("."), life_s

    async def _ask(self, name: str, kind: str) -> dns.rrset.RRset | None:
        """The answer, None where the name has no record of that kind (Unavailable otherwise)."""
        try:
            answer = await self._resolver.resolve(name, kind, raise_on_no_answer=False, search=False)
        except dns.resolver.NXDOMAIN:
            raise Unavailable(f"{name} does not exist") from None
        except (dns.exception.DNSException, OSError) as error:
            raise Unavailable(f"{name} {kind} cannot be looked up: {type(error).__name__}") from error
        if self._dnssec and not answer.response.flags & dns.flags.AD:
            raise Unavailable(f"the answer on {name} is not proved by DNSSEC")
        return answer.rrset
