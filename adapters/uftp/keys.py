"""Signing keys: files, and the strings by which participants publish their public keys (UFTP 3.1.0 appendix 4)."""

from __future__ import annotations

import base64
import binascii
import os
from dataclasses import dataclass
from pathlib import Path

from nacl import bindings

__all__ = ["SigningKey", "generate_key_file", "load_key_file", "parse_public_keys", "public_key_string"]

_SCHEME = "cs1."
_KEY = 32


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

    @property
    def secret(self) -> bytes:
        return self._secret

    def __repr__(self) -> str:
        return f"SigningKey({public_key_string(self.public)})"


def generate_key_file(path: Path) -> SigningKey:
    """Make a key pair and write it to a new file that only its owner can read (base64 of 64 bytes).

    Raises:
        FileExistsError: the file is there; keys are never overwritten.
    """
    key = SigningKey.from_seed(os.urandom(_KEY))
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(base64.b64encode(key.secret) + b"\n")
    return key


def load_key_file(path: Path) -> SigningKey:
    """Read a key file: base64 of a 32-byte seed, or of 64 bytes (seed and public key).

    Raises:
        OSError: it cannot be read.
        ValueError: it holds no signing key.
    """
    try:
        raw = base64.b64decode(path.read_bytes().strip(), validate=True)
    except binascii.Error:
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
        except binascii.Error:
            raise ValueError("a public key is cs1. followed by base64") from None
        if len(raw) != 2 * _KEY and (item.startswith(_SCHEME) or len(raw) != _KEY):
            raise ValueError(f"a published key holds 64 bytes (cs1.) or 32, not {len(raw)}")
        found.append(raw[:_KEY])
    if not 1 <= len(found) <= 2:
        raise ValueError(f"one or two keys are published at a time, not {len(found)}")
    return tuple(found)
