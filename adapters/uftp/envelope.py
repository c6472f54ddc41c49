"""The signed envelope: `<SignedMessage SenderDomain SenderRole Body>`, Body = base64(Ed25519 signature + payload XML).

There is no canonicalisation: the bytes that were signed are the bytes that are decoded and archived
(UFTP 3.1.0 appendix 4).
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from nacl import bindings
from nacl.exceptions import BadSignatureError

from adapters import xml
from adapters.errors import TransportFault
from adapters.uftp.codec import decode, encode
from adapters.uftp.elements import Element
from adapters.uftp.keys import SigningKey
from datamodels import ParticipantKey, Role

__all__ = ["Envelope", "read", "seal", "sign", "verify"]

_SIGNATURE = 64


@dataclass(frozen=True, slots=True)
class Envelope:
    """Who claims to have sent it, and the signed body (signature and payload)."""

    sender_domain: str
    sender_role: Role
    body: bytes

    @property
    def payload(self) -> bytes:
        """The payload XML, its signature not checked: only for bytes that `verify` passed before they were stored."""
        return self.body[_SIGNATURE:]


def read(raw: bytes, limits: xml.Limits = xml.DEFAULT_LIMITS) -> Envelope:
    """Parse an envelope.

    Raises:
        TransportFault: 400 or 413; it is no SignedMessage, or its Body holds no signed message.
    """
    element = decode(raw, limits)
    if element.name != "SignedMessage":
        raise TransportFault(400, "uftp.envelope", f"expected a SignedMessage, not a bare {element.name}")
    try:
        body = binascii.a2b_base64("".join(element["Body"].split()), strict_mode=True)
    except binascii.Error:
        raise TransportFault(400, "uftp.base64", "Body is not base64") from None
    if len(body) <= _SIGNATURE:
        raise TransportFault(400, "uftp.body", "Body is too short to hold a signature and a message")
    return Envelope(element["SenderDomain"], Role(element["SenderRole"]), body)


def sign(payload: bytes, key: SigningKey) -> bytes:
    """Signature and payload, as NaCl's crypto_sign joins them."""
    return bindings.crypto_sign(payload, key.secret)


def seal(payload: bytes, domain: str, role: Role, key: SigningKey) -> bytes:
    """A payload as an envelope ready to be posted."""
    body = base64.b64encode(sign(payload, key)).decode("ascii")
    return encode(Element("SignedMessage", {"SenderDomain": domain, "SenderRole": role.value, "Body": body}))


def verify(body: bytes, keys: Iterable[ParticipantKey], now: datetime) -> bytes:
    """The payload, if one of the keys that are valid `now` opens it: two at once cover a rotation.

    Raises:
        TransportFault: 401, none does.
    """
    for key in keys:
        if not key.is_valid(now):
            continue
        try:
            return bindings.crypto_sign_open(body, key.public_key)
        except BadSignatureError:
            continue
    raise TransportFault(401, "uftp.signature", "the signature opens with none of the sender's valid keys")
