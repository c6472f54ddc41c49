"""Signatures of ours under xmlsec1, and its under ours: canonical forms that differ show up nowhere else."""

import asyncio
import shutil
from datetime import UTC, datetime
from pathlib import Path

import pytest
import trustme
from lxml import etree

from adapters.errors import Rejection
from adapters.openadr2 import codec, dsig, model
from adapters.openadr2.dsig import verify

PROGRAM = shutil.which("xmlsec1")

pytestmark = [
    pytest.mark.foreign,
    pytest.mark.skipif(PROGRAM is None, reason="xmlsec1 is not installed (Debian package xmlsec1)"),
]
AT = datetime(2026, 3, 1, 12, tzinfo=UTC)
BODY = codec.encode(model.OadrCancelOpt('q "é" & <b> \r\n', "opt-1", "ven-1"))
IDS = ("--id-attr:Id", "http://openadr.org/oadr-2.0b/2012/07:oadrSignedObject")


@pytest.fixture(scope="module", params=["ECDSA", "RSA"])
def party(around, request, tmp_path_factory):
    ca = trustme.CA()
    identity = around.Identity.issue(ca, "one.example", rsa=request.param == "RSA")
    folder = tmp_path_factory.mktemp("party")
    ca.cert_pem.write_to_path(str(folder / "ca.pem"))
    certificate, key = identity.write(folder)
    return identity, str(folder / "ca.pem"), f"{key},{certificate}"


async def _xmlsec1(*arguments: str) -> tuple[int, str]:
    assert PROGRAM is not None
    process = await asyncio.create_subprocess_exec(
        PROGRAM, *arguments, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    said, _ = await process.communicate()
    return process.returncode or 0, said.decode(errors="replace")


async def _judged(path: Path, ca: str) -> tuple[int, str]:
    return await _xmlsec1("--verify", "--enabled-key-data", "x509", "--trusted-pem", ca, *IDS, str(path))


async def test_xmlsec1_takes_what_we_sign(party, tmp_path) -> None:
    identity, ca, _ = party
    message = tmp_path / "message.xml"
    message.write_bytes(identity.signer.sign(BODY, AT))
    code, said = await _judged(message, ca)
    assert code == 0, said
    assert "Manifests References" in said or "OK" in said
    message.write_bytes(message.read_bytes().replace(b"opt-1", b"opt-2"))
    code, said = await _judged(message, ca)
    assert code != 0, said


async def test_we_take_what_xmlsec1_signs(party, tmp_path) -> None:
    """Another layout too: line breaks and further namespaces, which the canonical form has to carry."""
    identity, _, pair = party
    root = codec.read_tree(identity.signer.sign(BODY, AT, "n-7"))
    for emptied in ("DigestValue", "SignatureValue", "X509Certificate"):
        for element in root.iter(f"{{*}}{emptied}"):
            element.text = None
    etree.indent(root)
    template, message = tmp_path / "template.xml", tmp_path / "message.xml"
    template.write_bytes(etree.tostring(root).replace(b"<oadr:oadrPayload", b'<oadr:oadrPayload xmlns:a="urn:a"', 1))
    code, said = await _xmlsec1("--sign", "--privkey-pem", pair, *IDS, "--output", str(message), str(template))
    assert code == 0, said
    tree = codec.read_tree(message.read_bytes())
    codec.check_schema(tree)
    assert verify(tree, {identity.fingerprint}) == dsig.Seal(identity.fingerprint, AT, "n-7")
    with pytest.raises(Rejection):
        verify(codec.read_tree(message.read_bytes().replace(b"opt-1", b"opt-2")), {identity.fingerprint})
