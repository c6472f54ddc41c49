"""TLS profiles. A listener names one; where a file is missing it refuses to start, never falls back to plain text."""

from __future__ import annotations

import hashlib
import ssl
from enum import StrEnum
from pathlib import Path

__all__ = ["TlsProfile", "client_context", "fingerprint", "server_context"]

_LEGACY_OPENADR2 = "ECDHE+AESGCM:ECDHE+CHACHA20:ECDHE-ECDSA-AES128-SHA256:AES128-SHA256"
_AEAD = "ECDHE+AESGCM:ECDHE+CHACHA20"


class TlsProfile(StrEnum):
    """MODERN: TLS 1.2 with AEAD suites, or 1.3. OPENADR2: adds the two suites that OpenADR 2.0b names."""

    MODERN = "modern"
    OPENADR2 = "openadr2"


def server_context(
    certificate: Path, key: Path, client_ca: Path | None, profile: TlsProfile = TlsProfile.MODERN
) -> ssl.SSLContext:
    """A server's context; with `client_ca`, clients must show a certificate of that authority.

    Raises:
        OSError, ssl.SSLError: a file is missing or does not hold what it should.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    _harden(context, profile)
    context.load_cert_chain(certificate, key, password=_no_password)
    if client_ca is not None:
        context.load_verify_locations(client_ca)
        context.verify_mode = ssl.CERT_REQUIRED
    return context


def client_context(
    ca: Path | None, certificate: Path | None = None, key: Path | None = None, profile: TlsProfile = TlsProfile.MODERN
) -> ssl.SSLContext:
    """A client's context that trusts `ca` only, or whom the system trusts (OSError or ssl.SSLError as above)."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    _harden(context, profile)
    if ca is None:
        context.load_default_certs()
    else:
        context.load_verify_locations(ca)
    if certificate is not None:
        context.load_cert_chain(certificate, key, password=_no_password)
    return context


def fingerprint(der: bytes) -> str:
    """The full SHA-256 over a DER certificate, upper-case hex with colons.

    OpenADR shows people the last ten bytes only (`fingerprint(der)[-29:]`); identity is compared on all of them.
    """
    return hashlib.sha256(der).digest().hex(":").upper()


def _no_password() -> str:
    # Without this OpenSSL would ask for the password of an encrypted key on the terminal, and wait.
    return ""


def _harden(context: ssl.SSLContext, profile: TlsProfile) -> None:
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION
    context.set_ciphers(_LEGACY_OPENADR2 if profile is TlsProfile.OPENADR2 else _AEAD)
