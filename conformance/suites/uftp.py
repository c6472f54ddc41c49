"""UFTP, the listener's side: what happens to an envelope before its payload is looked at (UFTP 3.1.0 appendix 4).

Envelopes are built here and signed with PyNaCl, not with the code of our own listener. The device must know the
tester as a participant: settings `domain`, `role` and `signing_key` (base64 of a 32-byte Ed25519 seed, alone or with
its public key), and `recipient`, its own domain. `--against` is the whole URL of its message end point.
"""

from __future__ import annotations

import base64
import binascii
import uuid
from datetime import UTC, datetime

from lxml import etree
from nacl.exceptions import CryptoError
from nacl.signing import SigningKey

from conformance.case import Level, Suite
from conformance.tester import Inconclusive, Tester

__all__ = ["SUITE"]

SUITE = Suite("uftp", "0.1.0", "UFTP 3.1.0, transport", claims={"HOSTILE_XML": True})

_XML = "text/xml; charset=utf-8"
_CLAUSE = "appendix 4"


def _key(t: Tester) -> SigningKey:
    try:
        secret = base64.b64decode(_setting(t, "signing_key"), validate=True)
        return SigningKey(secret[:32] if len(secret) == 64 else secret)
    except (binascii.Error, ValueError, TypeError, CryptoError) as error:
        raise Inconclusive("the setting signing_key is not base64 of a 32-byte seed or a 64-byte key") from error


def _setting(t: Tester, name: str) -> str:
    """A setting, without which nothing can be said of the device."""
    if not (value := t.settings.get(name)):
        raise Inconclusive(f"the setting {name} is missing: --set {name}=…")
    return value


def test_message(t: Tester) -> bytes:
    """A TestMessage from the tester to the device: the payload that changes nothing."""
    now = datetime.now(UTC).replace(microsecond=0)
    element = etree.Element(
        "TestMessage",
        Version=t.settings.get("version", "3.1.0"),
        SenderDomain=_setting(t, "domain"),
        RecipientDomain=_setting(t, "recipient"),
        TimeStamp=now.isoformat().replace("+00:00", "Z"),
        MessageID=str(uuid.uuid4()),
        ConversationID=str(uuid.uuid4()),
    )
    return etree.tostring(element, xml_declaration=True, encoding="UTF-8")


def envelope(t: Tester, payload: bytes, *, domain: str = "", key: SigningKey | None = None) -> bytes:
    """A SignedMessage around a payload, signed by the tester unless another key is given."""
    element = etree.Element(
        "SignedMessage",
        SenderDomain=domain or _setting(t, "domain"),
        SenderRole=_setting(t, "role"),
        Body=base64.b64encode((key or _key(t)).sign(payload)).decode("ascii"),
    )
    return etree.tostring(element, xml_declaration=True, encoding="UTF-8")


async def _status(t: Tester, title: str, body: bytes, expected: int, hint: str, content_type: str = _XML) -> None:
    async with t.step(title):
        answer = await t.post("", body, content_type)
        t.check(answer.status == expected, f"HTTP {expected}", got=answer, hint=hint)


@SUITE.case("UFTP-TRN-001", "A signed message of a known sender is taken", clause=_CLAUSE, role="endpoint")
async def accepted(t: Tester) -> None:
    await _status(t, "Send a TestMessage", envelope(t, test_message(t)), 200, "is the tester's key registered?")


@SUITE.case("UFTP-TRN-002", "Another content type is refused", clause=_CLAUSE, role="endpoint")
async def content_type(t: Tester) -> None:
    body = envelope(t, test_message(t))
    await _status(t, "Send as application/json", body, 400, "messages are text/xml", "application/json")


@SUITE.case(
    "UFTP-TRN-003", "A sender whose key cannot be found is a temporary failure", clause=_CLAUSE, role="endpoint"
)
async def unknown_sender(t: Tester) -> None:
    body = envelope(t, test_message(t), domain=f"{t.unique('stranger')}.example.org")
    await _status(t, "Send from a domain nobody knows", body, 419, "419 has the sender try again later")


@SUITE.case("UFTP-TRN-004", "A signature of another key is refused", clause=_CLAUSE, role="endpoint")
async def bad_signature(t: Tester) -> None:
    body = envelope(t, test_message(t), key=SigningKey.generate())
    await _status(t, "Sign with another key", body, 401, "the signature decides who is speaking")


@SUITE.case("UFTP-TRN-005", "A changed payload is refused", clause=_CLAUSE, role="endpoint")
async def changed_payload(t: Tester) -> None:
    signed = bytearray(_key(t).sign(test_message(t)))
    signed[-5] ^= 1
    element = etree.Element(
        "SignedMessage",
        SenderDomain=_setting(t, "domain"),
        SenderRole=_setting(t, "role"),
        Body=base64.b64encode(bytes(signed)).decode("ascii"),
    )
    await _status(t, "Change one bit after signing", etree.tostring(element), 401, "verify before anything is decoded")


@SUITE.case("UFTP-TRN-006", "What is not XML is refused", clause=_CLAUSE, role="endpoint")
async def not_xml(t: Tester) -> None:
    await _status(t, "Send text", b"good morning", 400, "an envelope is XML")


@SUITE.case("UFTP-TRN-007", "A signed payload that is not XML is refused", clause=_CLAUSE, role="endpoint")
async def payload_not_xml(t: Tester) -> None:
    await _status(t, "Sign text", envelope(t, b"good morning"), 400, "a payload is XML")


@SUITE.case(
    "UFTP-TRN-008",
    "A document type declaration in the envelope is refused",
    clause="XML hardening",
    role="endpoint",
    needs="HOSTILE_XML",
)
async def doctype(t: Tester) -> None:
    declaration, _, rest = envelope(t, test_message(t)).partition(b"?>")
    body = declaration + b"?><!DOCTYPE SignedMessage>" + rest
    await _status(t, "Send an envelope with a bare DOCTYPE", body, 400, "no UFTP message has a DOCTYPE")


@SUITE.case(
    "UFTP-TRN-009",
    "The same message again is taken as submitted",
    clause="duplicate submission",
    level=Level.SHOULD,
    role="endpoint",
)
async def repeated(t: Tester) -> None:
    body = envelope(t, test_message(t))
    await _status(t, "Send a TestMessage", body, 200, "is the tester's key registered?")
    await _status(t, "Send it again", body, 200, "the 200 may have been lost on its way")
