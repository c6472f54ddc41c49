"""Signing keys: files, and the strings by which participants publish their public keys (UFTP 3.1.0 appendix 4)."""

from __future__ import annotations

import base64
import binascii
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from nacl import bindings

from datamodels import Role

__all__ = [
    "KeyRing",
    "RingKey",
    "SigningKey",
    "dns_records",
    "generate_key_file",
    "load_key_file",
    "parse_public_keys",
    "public_key_string",
]

_SCHEME = "cs1."
_KEY = 32
_RECORD_S = 3600


@dataclass(frozen=True, slots=True)
class SigningKey:
    """An Ed25519 key pair. `secret` is libsodium's 64 bytes (seed and public key) and never shows in a repr."""

    public: bytes
    _secret: bytes

    @classmethod
    def from_seed(cls, seed: bytes) -> SigningKey:
        """The key pair that a seed of 32 bytes determines (RFC 8032)."""
        public, secret = bindings.crypto_sign_seed_keypair(seed)
        return cls(public, secret)

    @classmethod
    def new(cls) -> SigningKey:
        return cls.from_seed(os.urandom(_KEY))

    @property
    def secret(self) -> bytes:
        return self._secret

    def __repr__(self) -> str:
        return f"SigningKey({public_key_string(self.public)})"


@dataclass(frozen=True, slots=True)
class RingKey:
    """A key of ours: we sign with it from `signs_from` on, and publish it until `until`; None is unbounded."""

    key: SigningKey
    signs_from: datetime | None = None
    until: datetime | None = None

    def is_published(self, now: datetime) -> bool:
        return self.until is None or now <= self.until


@dataclass(frozen=True, slots=True)
class KeyRing:
    """Our keys, oldest first: one, or two during a rotation.

    A key file has one line for each: base64 of a 32-byte seed, or of 64 bytes (seed and public key), and during a
    rotation `from=<instant>` or `until=<instant>`.
    """

    keys: tuple[RingKey, ...]

    @classmethod
    def read(cls, path: Path) -> KeyRing:
        """Raises:
        OSError: the file cannot be read.
        ValueError: it holds no signing key.
        """
        lines = [line for line in path.read_text(encoding="ascii", errors="replace").splitlines() if line.strip()]
        if not lines:
            raise ValueError(f"{path} is empty; write a new one with a fresh key, or restore it")
        return cls(tuple(_ring_key(line, path) for line in lines))

    def write(self, path: Path) -> None:
        """Replace the file in one step; only its owner can read it."""
        partial = path.with_suffix(f".{os.getpid()}")
        descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write("".join(f"{_line(key)}\n" for key in self.keys).encode("ascii"))
                file.flush()
                os.fsync(file.fileno())
            partial.replace(path)
        except BaseException:
            partial.unlink(missing_ok=True)
            raise

    def signing(self, now: datetime) -> SigningKey:
        """The key to sign with: the newest whose time has come."""
        begun = [k.key for k in self.keys if k.signs_from is None or k.signs_from <= now]
        return begun[-1] if begun else self.keys[0].key

    def published(self, now: datetime) -> tuple[RingKey, ...]:
        return tuple(key for key in self.keys if key.is_published(now))

    def rotated(self, new: SigningKey, now: datetime, signs_from: datetime, until: datetime) -> KeyRing:
        """With a new key that signs from `signs_from`; the present one is published until `until`.

        Raises:
            ValueError: a rotation is under way, or the instants are in the wrong order.
        """
        if not now <= signs_from <= until:
            raise ValueError("the new key must begin to sign before the old one is withdrawn, and not in the past")
        published = self.published(now)
        if len(published) != 1:
            end = max(key.until for key in published if key.until is not None)
            raise ValueError(f"a rotation is under way until {end.isoformat()}; two keys are published at most")
        return KeyRing((replace(published[0], until=until), RingKey(new, signs_from)))


def generate_key_file(path: Path) -> SigningKey:
    """Make a key pair and write it to a new file that only its owner can read (base64 of 64 bytes).

    Raises:
        FileExistsError: the file is there; keys are never overwritten.
    """
    key = SigningKey.new()
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(_line(RingKey(key)).encode("ascii") + b"\n")
    return key


def load_key_file(path: Path) -> SigningKey:
    """The oldest key of a key file (see `KeyRing.read`, also for what it raises)."""
    return KeyRing.read(path).keys[0].key


def _line(key: RingKey) -> str:
    begins = f" from={key.signs_from.isoformat()}" if key.signs_from else ""
    ends = f" until={key.until.isoformat()}" if key.until else ""
    return base64.b64encode(key.key.secret).decode("ascii") + begins + ends


def _ring_key(line: str, path: Path) -> RingKey:
    text, *rest = line.split()
    instants: dict[str, datetime] = {}
    for word in rest:
        name, _, value = word.partition("=")
        try:
            instants[name] = datetime.fromisoformat(value).astimezone(UTC)
        except ValueError:
            name = ""
        if name not in ("from", "until"):
            raise ValueError(f"{path}: after a key stand from=<instant> or until=<instant>")
    return RingKey(_signing_key(text, path), instants.get("from"), instants.get("until"))


def _signing_key(text: str, path: Path) -> SigningKey:
    try:
        raw = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise ValueError(f"{path} is not base64; write a new one with a fresh key, or restore it") from None
    if len(raw) not in (_KEY, 2 * _KEY):
        raise ValueError(f"{path} holds {len(raw)} bytes; a signing key has 32 (seed) or 64 (seed and public key)")
    key = SigningKey.from_seed(raw[:_KEY])
    if len(raw) == 2 * _KEY and raw[_KEY:] != key.public:
        raise ValueError(f"{path}: its public half does not belong to its seed")
    return key


def public_key_string(public: bytes, box: bytes | None = None) -> str:
    """The published form: `cs1.` and base64 of sign key and box key.

    Sealing is never used on the wire; without a box key the sign key's Curve25519 form stands in its place.
    """
    return _SCHEME + base64.b64encode(public + (box or bindings.crypto_sign_ed25519_pk_to_curve25519(public))).decode()


def parse_public_keys(text: str) -> tuple[bytes, ...]:
    """The sign keys in a published text: one or two, `cs1.` strings or bare base64 of 32 (or 64) bytes.

    Raises:
        ValueError: there is none, more than two, or one that is not a key.
    """
    found: list[bytes] = []
    for item in text.split():
        try:
            raw = base64.b64decode(item.removeprefix(_SCHEME), validate=True)
        except (binascii.Error, ValueError):
            raise ValueError("a public key is cs1. followed by base64") from None
        if len(raw) != 2 * _KEY and (item.startswith(_SCHEME) or len(raw) != _KEY):
            raise ValueError(f"a published key holds 64 bytes (cs1.) or 32, not {len(raw)}")
        found.append(raw[:_KEY])
    if not 1 <= len(found) <= 2:
        raise ValueError(f"one or two keys are published at a time, not {len(found)}")
    return tuple(found)


def dns_records(domain: str, role: Role, keys: Sequence[bytes], versions: Sequence[str], host: str = "") -> list[str]:
    """What a participant publishes in DNS, as lines of a zone file; without a `host` no address."""
    text = " ".join(map(public_key_string, keys))
    records = [
        f'_usef.{domain}. {_RECORD_S} IN TXT "{" ".join(versions)}"',
        f'_{role}._usef.{domain}. {_RECORD_S} IN TXT "{text}"',
    ]
    return records + ([f"_http._{role}._usef.{domain}. {_RECORD_S} IN CNAME {host.rstrip('.')}."] if host else [])
