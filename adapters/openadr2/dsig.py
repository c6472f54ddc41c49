"""XML signatures of OpenADR 2.0b, high security (rule 514): a detached signature beside oadrSignedObject.

Both parties sign the same way: canonical XML 1.0, SHA-256, RSA or ECDSA, the certificate in KeyInfo, and two
references, to oadrSignedObject and to the ReplayProtect property (dsp:timestamp, dsp:nonce). Whoever has verified a
tree may decode its oadrSignedObject and nothing else of it; `replay` says whether the message is a repetition.
"""

from __future__ import annotations

import base64
import hashlib
import secrets
from collections.abc import Container
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeAlias

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature
from lxml import etree

from adapters import xml
from adapters.errors import Rejection
from adapters.openadr2.lexical import format_datetime, parse_datetime
from adapters.openadr2.tables import qualified
from adapters.tls import fingerprint
from datamodels import Problem

__all__ = ["Seal", "Signer", "is_signed", "verify"]

_DS = "http://www.w3.org/2000/09/xmldsig#"
_DSP = "http://openadr.org/oadr-2.0b/2012/07/xmldsig-properties"
_C14N = "http://www.w3.org/TR/2001/REC-xml-c14n-20010315"
_ENVELOPED = f"{_DS}enveloped-signature"
_SHA256 = "http://www.w3.org/2001/04/xmlenc#sha256"
_RSA = "http://www.w3.org/2001/04/xmldsig-more#rsa-sha256"
_ECDSA = "http://www.w3.org/2001/04/xmldsig-more#ecdsa-sha256"

_SIGNATURE = f"{{{_DS}}}Signature"
_SIGNED = qualified("oadr:oadrSignedObject")
_ID = qualified("oadr:Id")
_REPLAY = f"{{{_DSP}}}ReplayProtect"
_IDS = etree.XPath("//@*[local-name() = 'Id' or local-name() = 'ID' or local-name() = 'id']")
_LONGEST_NONCE = 256
_LEAST_RSA_BITS, _LEAST_EC_BITS = 2048, 256
_SIGNED_ID, _PROPERTY_ID = "oadrSignedObject", "prop"

_PrivateKey: TypeAlias = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey
_PublicKey: TypeAlias = rsa.RSAPublicKey | ec.EllipticCurvePublicKey


@dataclass(frozen=True, slots=True)
class Seal:
    """What a valid signature says: whose it is (SHA-256 of the certificate), when it was made, and its nonce."""

    fingerprint: str
    at: datetime
    nonce: str


def is_signed(root: etree._Element) -> bool:
    """Whether a message carries a signature, good or bad."""
    return len(root) > 0 and root[0].tag == _SIGNATURE


# --- signing ------------------------------------------------------------------------------------------------------


def _reference(target: str) -> str:
    return (
        f'<ds:Reference URI="#{target}"><ds:Transforms><ds:Transform Algorithm="{_C14N}"/></ds:Transforms>'
        f'<ds:DigestMethod Algorithm="{_SHA256}"/><ds:DigestValue/></ds:Reference>'
    )


_TEMPLATE = (
    f'<ds:Signature xmlns:ds="{_DS}"><ds:SignedInfo><ds:CanonicalizationMethod Algorithm="{_C14N}"/>'
    f'<ds:SignatureMethod Algorithm="{{method}}"/>{_reference(_SIGNED_ID)}{_reference(_PROPERTY_ID)}</ds:SignedInfo>'
    "<ds:SignatureValue/><ds:KeyInfo><ds:X509Data><ds:X509Certificate>{certificate}</ds:X509Certificate></ds:X509Data>"
    f'</ds:KeyInfo><ds:Object Id="{_PROPERTY_ID}"><ds:SignatureProperties>'
    f'<ds:SignatureProperty Target="#{_SIGNED_ID}"><dsp:ReplayProtect xmlns:dsp="{_DSP}"><dsp:timestamp/><dsp:nonce/>'
    "</dsp:ReplayProtect></ds:SignatureProperty></ds:SignatureProperties></ds:Object></ds:Signature>"
)


class Signer:
    """A private key with its certificate, parsed once.

    Raises:
        ValueError: key and certificate do not belong together, or are neither RSA (2048 bits or more) nor ECDSA.
    """

    def __init__(self, certificate: bytes, key: bytes) -> None:
        """PEM texts; of a chain, the first certificate counts."""
        try:
            private = serialization.load_pem_private_key(key, None)
        except TypeError:
            raise ValueError("the signing key is encrypted; a key without a password is needed") from None
        shown = x509.load_pem_x509_certificate(certificate)
        if not isinstance(private, rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey):
            raise ValueError("the signing key is neither RSA nor ECDSA")
        if private.public_key() != _strong(shown.public_key()):
            raise ValueError("the signing key is not that of the certificate")
        der = shown.public_bytes(serialization.Encoding.DER)
        self._key: _PrivateKey = private
        self.fingerprint = fingerprint(der)
        method = _RSA if isinstance(private, rsa.RSAPrivateKey) else _ECDSA
        self._template = _TEMPLATE.format(method=method, certificate=base64.b64encode(der).decode())

    @classmethod
    def read(cls, certificate: Path, key: Path) -> Signer:
        """From PEM files (OSError: one cannot be read; ValueError as above)."""
        return cls(certificate.read_bytes(), key.read_bytes())

    def sign(self, body: bytes, at: datetime, nonce: str = "") -> bytes:
        """An unsigned message with its signature; `at` is wall-clock time, the nonce random where none is given."""
        root = xml.parse(body, xml.Limits(size=len(body)))
        signed = root[-1]
        signed.set(_ID, _SIGNED_ID)
        signature = etree.fromstring(self._template)
        root.insert(0, signature)
        info, value, _, properties = signature
        timestamp, nonce_element = properties[0][0][0]
        timestamp.text, nonce_element.text = format_datetime(at), nonce or secrets.token_hex(16)
        for reference, target in zip([*info][2:], (signed, properties), strict=True):
            reference[-1].text = _digest(target)
        value.text = base64.b64encode(self._raw(_canonical(info))).decode()
        return etree.tostring(root, xml_declaration=True, encoding="UTF-8")

    def _raw(self, data: bytes) -> bytes:
        if isinstance(self._key, rsa.RSAPrivateKey):
            return self._key.sign(data, padding.PKCS1v15(), hashes.SHA256())
        r, s = decode_dss_signature(self._key.sign(data, ec.ECDSA(hashes.SHA256())))
        size = _octets(self._key.curve)
        return r.to_bytes(size, "big") + s.to_bytes(size, "big")


# --- verifying ----------------------------------------------------------------------------------------------------


def verify(root: etree._Element, trusted: Container[str]) -> Seal:
    """Check the signature of a parsed, otherwise untouched message. `trusted` holds certificate fingerprints.

    On return oadrSignedObject is the last child of the root, the only one of its kind, and signed.

    Raises:
        Rejection: reason 463, the text says what is wrong.
    """
    if not is_signed(root):
        raise _no("missing", "the message must be signed (rule 514)")
    if len(root) != 2 or root[1].tag != _SIGNED or [*root.iter(_SIGNED, _SIGNATURE)] != [root[0], root[1]]:
        raise _no("wrapped", "oadrPayload holds one ds:Signature and one oadrSignedObject, nothing else")
    ids: Any = _IDS(root)  # the stubs know no better
    if len(ids) != len(set(ids)):
        raise _no("ids", "an Id stands twice")
    signature, signed = root
    info = _child(signature, "SignedInfo")
    der = _certificate(signature, trusted)
    _check_value(signature, info, der)
    protect = _only(signature, _REPLAY)
    _check_references(info, signed, [protect, *_within(protect, signature)])
    return Seal(fingerprint(der), *_stamp(protect))


def _check_value(signature: etree._Element, info: etree._Element, der: bytes) -> None:
    _algorithm(info, "CanonicalizationMethod", {_C14N})
    method = _algorithm(info, "SignatureMethod", {_RSA, _ECDSA})
    key = _public_key(der)
    value = _base64(_child(signature, "SignatureValue"))
    data = _canonical(info)
    try:
        if isinstance(key, rsa.RSAPublicKey) and method == _RSA:
            key.verify(value, data, padding.PKCS1v15(), hashes.SHA256())
            return
        size = _octets(key.curve) if isinstance(key, ec.EllipticCurvePublicKey) else -1
        if isinstance(key, ec.EllipticCurvePublicKey) and method == _ECDSA and len(value) == 2 * size:
            r, s = int.from_bytes(value[:size], "big"), int.from_bytes(value[size:], "big")
            key.verify(encode_dss_signature(r, s), data, ec.ECDSA(hashes.SHA256()))
            return
    except InvalidSignature:
        pass
    raise _no("value", "the signature value is not that of the certificate's key over SignedInfo")


def _check_references(info: etree._Element, signed: etree._Element, covering: list[etree._Element]) -> None:
    """The two references cover oadrSignedObject, and ReplayProtect by itself or by an element around it."""
    targets = {}
    for reference in info.iterchildren(f"{{{_DS}}}Reference"):
        named = reference.get("URI", "")
        if not named.startswith("#"):
            raise _no("reference", "a reference names an Id of this message (#...)")
        _algorithm(reference, "DigestMethod", {_SHA256})
        for transform in reference.iter(f"{{{_DS}}}Transform"):
            # The enveloped transform changes nothing: the signature stands outside of all that is signed.
            if transform.get("Algorithm") not in (_C14N, _ENVELOPED) or len(transform):
                raise _no("transform", "a reference has a transform other than canonical XML 1.0")
        targets[named[1:]] = _child(reference, "DigestValue")
    wanted = {signed.get(_ID): signed}
    wanted |= {e.get("Id"): e for e in covering if e.get("Id") in targets}
    if len(targets) != 2 or set(targets) != set(wanted):
        raise _no("reference", "the references are not those to oadrSignedObject and to ReplayProtect")
    for name, digest in targets.items():
        if _digest(wanted[name]) != (digest.text or "").strip():
            raise _no("digest", "what is signed has been changed")


def _within(protect: etree._Element, signature: etree._Element) -> list[etree._Element]:
    """The elements around ReplayProtect below the signature, which must be those of a property."""
    around = [e for e in protect.iterancestors() if e is not signature and e.getparent() is not None]
    names = ["SignatureProperty", "SignatureProperties", "Object"]
    if [e.tag for e in around] != [f"{{{_DS}}}{name}" for name in names]:
        raise _no("replay", "ReplayProtect is not a property of the signature")
    return around


def _stamp(protect: etree._Element) -> tuple[datetime, str]:
    nonce = (protect.findtext(f"{{{_DSP}}}nonce") or "").strip()
    if not 0 < len(nonce) <= _LONGEST_NONCE:
        raise _no("nonce", f"a nonce has 1 to {_LONGEST_NONCE} characters")
    try:
        return parse_datetime((protect.findtext(f"{{{_DSP}}}timestamp") or "").strip()), nonce
    except ValueError as error:
        raise _no("timestamp", str(error)) from None


def _certificate(signature: etree._Element, trusted: Container[str]) -> bytes:
    """The certificate in KeyInfo that is the peer's."""
    for element in signature.iterfind(f"{{{_DS}}}KeyInfo/{{{_DS}}}X509Data/{{{_DS}}}X509Certificate"):
        der = _base64(element)
        if fingerprint(der) in trusted:
            return der
    raise _no("certificate", "KeyInfo does not hold the certificate of this peer (X509Data)")


@lru_cache(maxsize=4096)
def _public_key(der: bytes) -> _PublicKey:
    try:
        return _strong(x509.load_der_x509_certificate(der).public_key())
    except (ValueError, UnsupportedAlgorithm):
        raise _no("key", "the certificate's key is neither RSA (2048 bits or more) nor ECDSA (P-256 or more)") from None


def _strong(key: object) -> _PublicKey:
    if isinstance(key, rsa.RSAPublicKey) and key.key_size >= _LEAST_RSA_BITS:
        return key
    if isinstance(key, ec.EllipticCurvePublicKey) and key.key_size >= _LEAST_EC_BITS:
        return key
    raise ValueError("a key of RSA (2048 bits or more) or ECDSA (P-256 or more) is needed")


# --- parts --------------------------------------------------------------------------------------------------------


def _canonical(element: etree._Element) -> bytes:
    try:
        return etree.tostring(element, method="c14n", with_tail=False)
    except etree.C14NError:
        # Relative namespaces have no canonical form (C14N 1.0, 1.3).
        raise _no("canonical", "the message has no canonical form") from None


def _digest(element: etree._Element) -> str:
    return base64.b64encode(hashlib.sha256(_canonical(element)).digest()).decode()


def _octets(curve: ec.EllipticCurve) -> int:
    return (curve.key_size + 7) // 8


def _base64(element: etree._Element) -> bytes:
    try:
        return base64.b64decode("".join((element.text or "").split()), validate=True)
    except ValueError:
        raise _no("base64", f"{etree.QName(element).localname} is not base64") from None


def _child(parent: etree._Element, name: str) -> etree._Element:
    found = [*parent.iterchildren(f"{{{_DS}}}{name}")]
    if len(found) != 1:
        raise _no("form", f"{etree.QName(parent).localname} must hold one {name}")
    return found[0]


def _only(parent: etree._Element, tag: str) -> etree._Element:
    found = [*parent.iter(tag)]
    if len(found) != 1:
        raise _no("form", f"there must be one {etree.QName(tag).localname}")
    return found[0]


def _algorithm(parent: etree._Element, name: str, allowed: set[str]) -> str:
    named = _child(parent, name).get("Algorithm", "")
    if named not in allowed:
        raise _no("algorithm", f"{name} must be {' or '.join(sorted(allowed))}")
    return named


def _no(rule: str, text: str) -> Rejection:
    return Rejection([Problem(f"oadr.signature.{rule}", "ds:Signature", text, reason="463")])
