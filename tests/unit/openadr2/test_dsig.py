"""What a signature must be, and everything that passes for one (rule 514)."""

import re
from collections.abc import Callable
from datetime import UTC, datetime

import pytest
import trustme
from lxml import etree

from adapters.errors import Rejection
from adapters.openadr2 import codec, dsig, model
from adapters.openadr2.dsig import Signer, verify

BODY = codec.encode(model.OadrCancelOpt("q é & <", "opt\r1", "ven-1"))
AT = datetime(2026, 3, 1, 12, 0, 0, 250_000, tzinfo=UTC)
DS = "{http://www.w3.org/2000/09/xmldsig#}"


@pytest.fixture(scope="module", params=["ECDSA", "RSA"])
def identity(around, request):
    return around.Identity.issue(trustme.CA(), "one.example", rsa=request.param == "RSA")


@pytest.fixture(scope="module")
def signer(identity) -> Signer:
    return identity.signer


@pytest.fixture(scope="module")
def signed(signer) -> bytes:
    return signer.sign(BODY, AT, "n-1")


def test_what_is_signed_is_valid_and_says_the_same(signer, signed) -> None:
    root = codec.read_tree(signed)
    codec.check_schema(root)
    assert verify(root, {signer.fingerprint}) == dsig.Seal(signer.fingerprint, AT, "n-1")
    plain = codec.decode(codec.payload_element(codec.read_tree(BODY)))
    assert codec.decode(codec.payload_element(root)) == plain


def test_nonces_are_new_each_time(signer) -> None:
    seals = {verify(codec.read_tree(signer.sign(BODY, AT)), {signer.fingerprint}).nonce for _ in range(3)}
    assert len(seals) == 3


def test_utf16_and_other_spellings_of_the_same_tree_hold(signer, signed) -> None:
    text = signed.decode().replace("UTF-8", "UTF-16").replace("'", '"')
    assert verify(codec.read_tree(text.encode("utf-16")), {signer.fingerprint}).nonce == "n-1"


def _replaced(old: str, new: str) -> Callable[[str], str]:
    def tamper(text: str) -> str:
        assert old in text
        return text.replace(old, new)

    return tamper


def _moved(text: str) -> str:
    """The signed object is put aside, another takes its place: signature wrapping."""
    inner = re.search(r"<oadr:oadrSignedObject.*</oadr:oadrSignedObject>", text, re.DOTALL)[0]
    forged = inner.replace(' oadr:Id="oadrSignedObject"', ' oadr:Id="other"').replace("ven-1", "ven-2")
    aside = f'<ds:Object Id="aside">{inner}</ds:Object></ds:Signature>'
    return text.replace(inner, forged).replace("</ds:Signature>", aside)


def _twice(text: str) -> str:
    inner = re.search(r"<oadr:oadrSignedObject.*</oadr:oadrSignedObject>", text, re.DOTALL)[0]
    return text.replace(inner, inner.replace(' oadr:Id="oadrSignedObject"', "") + inner)


def _other_element(text: str) -> str:
    """Both references are good, but neither covers the payload that would be decoded."""
    inner = re.search(r"<oadr:oadrSignedObject.*</oadr:oadrSignedObject>", text, re.DOTALL)[0]
    return text.replace(inner, inner.replace('oadr:Id="oadrSignedObject"', 'oadr:Id="unsigned"'))


def _no_references(text: str) -> str:
    return re.sub(r"<ds:Reference URI=\"#oadr.*?</ds:Reference>", "", text)


def _key_value(text: str) -> str:
    value = "<ds:KeyValue><ds:RSAKeyValue><ds:Modulus>AQAB</ds:Modulus><ds:Exponent>AQAB</ds:Exponent>"
    return re.sub(r"<ds:X509Data>.*</ds:X509Data>", f"{value}</ds:RSAKeyValue></ds:KeyValue>", text, flags=re.DOTALL)


TAMPERED = {
    "payload": (_replaced("ven-1", "ven-2"), "digest"),
    "attribute": (_replaced('schemaVersion="2.0b"', 'schemaVersion="2.0a"'), "digest"),
    "timestamp": (_replaced("12:00:00", "12:00:01"), "digest"),
    "nonce": (_replaced(">n-1<", ">n-2<"), "digest"),
    "wrapping": (_moved, "wrapped"),
    "two objects": (_twice, "wrapped"),
    "other element": (_other_element, "value|reference"),
    "one reference": (_no_references, "value|reference"),
    "key value only": (_key_value, "certificate"),
    "SHA-1 digest": (_replaced("http://www.w3.org/2001/04/xmlenc#sha256", f"{DS[1:-1]}sha1"), "value|algorithm"),
    "SHA-1 signature": (lambda t: re.sub(r"xmldsig-more#\w+-sha256", "xmldsig#rsa-sha1", t), "algorithm"),
    "HMAC": (lambda t: re.sub(r"xmldsig-more#\w+-sha256", "xmldsig-more#hmac-sha256", t), "algorithm"),
    "other key type": (
        lambda t: re.sub(r"(rsa|ecdsa)-sha256", lambda m: {"rsa": "ecdsa", "ecdsa": "rsa"}[m[1]] + "-sha256", t),
        "value",
    ),
    "value": (lambda t: re.sub(r"<ds:SignatureValue>....", "<ds:SignatureValue>AAAA", t), "value"),
    "no base64": (lambda t: re.sub(r"<ds:SignatureValue>....", "<ds:SignatureValue>(!)(", t), "base64"),
    "duplicate Id": (_replaced("<ds:SignedInfo>", '<ds:SignedInfo Id="prop">'), "ids"),
    "comments c14n": (
        _replaced(
            'CanonicalizationMethod Algorithm="http://www.w3.org/TR/2001/REC-xml-c14n-20010315"',
            'CanonicalizationMethod Algorithm="http://www.w3.org/TR/2001/REC-xml-c14n-20010315#WithComments"',
        ),
        "algorithm",
    ),
    "no replay protection": (
        lambda t: re.sub(r"<dsp:ReplayProtect.*</dsp:ReplayProtect>", "<dsp:nothing xmlns:dsp='urn:x'/>", t),
        "form",
    ),
    "relative namespace": (_replaced('xmlns:emix="http:', 'xmlns:emix="'), "canonical"),
    "two values": (lambda t: t.replace("<ds:KeyInfo>", "<ds:SignatureValue/><ds:KeyInfo>"), "form"),
}


@pytest.mark.parametrize("what", TAMPERED)
def test_tampering_is_seen(signer, signed, what: str) -> None:
    tamper, rule = TAMPERED[what]
    with pytest.raises(Rejection) as refused:
        verify(codec.read_tree(tamper(signed.decode()).encode()), {signer.fingerprint})
    problem = refused.value.problems[0]
    assert problem.reason == "463"
    assert re.fullmatch(f"oadr.signature.({rule})", problem.rule)


def _resigned(signer: Signer, change: Callable[[etree._Element], None]) -> etree._Element:
    """A message whose signature is right, though what it says is not: the peer itself made it."""
    root = codec.read_tree(signer.sign(BODY, AT, "n-1"))
    change(root)
    info = root[0][0]
    for reference, target in zip([*info][2:], (root[1], root[0][3]), strict=False):
        reference[-1].text = dsig._digest(target)
    root[0][1].text = dsig.base64.b64encode(signer._raw(dsig._canonical(info))).decode()
    return root


def _element(path: str) -> Callable[[etree._Element], etree._Element]:
    return lambda root: root.find("/".join(p if p.startswith("{") else DS + p for p in path.split("/")))


def _set(path: str, **attributes: str) -> Callable[[etree._Element], None]:
    return lambda root: _element(path)(root).attrib.update(attributes)


def _text(tag: str, text: str) -> Callable[[etree._Element], None]:
    return lambda root: setattr(next(root.iter(f"{{*}}{tag}")), "text", text)


def _xslt(root: etree._Element) -> None:
    transform = next(root.iter(f"{DS}Transform"))
    transform.set("Algorithm", "http://www.w3.org/TR/1999/REC-xslt-19991116")


def _property_elsewhere(root: etree._Element) -> None:
    """ReplayProtect stands outside of what the second reference covers."""
    protect = next(root.iter("{*}ReplayProtect"))
    holder = etree.SubElement(etree.SubElement(root[0], f"{DS}Object"), f"{DS}SignatureProperties")
    etree.SubElement(holder, f"{DS}SignatureProperty", Target="").append(protect)


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        (_set("Signature/SignedInfo/Reference", URI="http://example.org/x"), "reference"),
        (_set("Signature/SignedInfo/Reference", URI=""), "reference"),
        (_set("Signature/SignedInfo/Reference", URI="#prop"), "reference"),
        (_xslt, "transform"),
        (_property_elsewhere, "reference"),
        (_text("nonce", " "), "nonce"),
        (_text("nonce", "x" * 300), "nonce"),
        (_text("timestamp", "yesterday"), "timestamp"),
        (_text("timestamp", "2026-03-01T12:00:00"), "timestamp"),
    ],
)
def test_a_right_signature_over_wrong_things(signer, change, rule: str) -> None:
    with pytest.raises(Rejection, match=rf"oadr\.signature\.{rule}"):
        verify(_resigned(signer, change), {signer.fingerprint})


def test_resigning_itself_is_sound(signer) -> None:
    def enveloped(root: etree._Element) -> None:
        next(root.iter(f"{DS}Transform")).set("Algorithm", f"{DS[1:-1]}enveloped-signature")

    assert verify(_resigned(signer, enveloped), {signer.fingerprint}).nonce == "n-1"


def test_only_the_certificate_of_the_peer(around, signer, signed) -> None:
    other = around.Identity.issue(trustme.CA(), "one.example").signer
    with pytest.raises(Rejection, match=r"oadr\.signature\.certificate"):
        verify(codec.read_tree(signed), {other.fingerprint})
    with pytest.raises(Rejection, match=r"oadr\.signature\.missing"):
        verify(codec.read_tree(BODY), {signer.fingerprint})


def test_keys_that_are_refused(around, identity) -> None:
    other = around.Identity.issue(trustme.CA(), "one.example")
    with pytest.raises(ValueError, match="not that of the certificate"):
        Signer(identity.certificate, other.key)
    with pytest.raises(ValueError, match="PEM"):
        Signer(identity.certificate, b"nothing")
