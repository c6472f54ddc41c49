"""TLS profiles, by handshakes in memory against peers that offer one thing only."""

import ssl
from pathlib import Path

import pytest
import trustme
from cryptography.hazmat.primitives import serialization

from adapters.tls import TlsProfile, client_context, fingerprint, server_context

LEGACY_RSA, LEGACY_ECDSA = "AES128-SHA256", "ECDHE-ECDSA-AES128-SHA256"
V12, V13 = ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3


class Pki:
    """An authority with a server certificate of each key type and a client certificate, as PEM files."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.ca = self._authority("ca")
        self.stranger = self._authority("stranger")
        self.rsa = self._leaf("rsa", self.ca, "localhost", trustme.KeyType.RSA)
        self.ecdsa = self._leaf("ecdsa", self.ca, "localhost", trustme.KeyType.ECDSA)
        self.client = self._leaf("client", self.ca, "ven.example.com", trustme.KeyType.ECDSA)
        self.foreign = self._leaf("foreign", self.stranger, "ven.example.com", trustme.KeyType.ECDSA)

    def _authority(self, name: str) -> trustme.CA:
        authority = trustme.CA()
        authority.cert_pem.write_to_path(self.folder / f"{name}.pem")
        return authority

    def _leaf(self, name: str, ca: trustme.CA, host: str, key_type: trustme.KeyType) -> tuple[Path, Path]:
        leaf = ca.issue_cert(host, key_type=key_type)
        certificate, key = self.folder / f"{name}.pem", self.folder / f"{name}.key"
        certificate.write_bytes(b"".join(blob.bytes() for blob in leaf.cert_chain_pems))
        leaf.private_key_pem.write_to_path(key)
        return certificate, key


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Pki:
    return Pki(tmp_path_factory.mktemp("pki"))


def offer(
    pki: Pki,
    version: ssl.TLSVersion,
    ciphers: str = "ALL",
    identity: tuple[Path, Path] | None = None,
) -> ssl.SSLContext:
    """A peer's context, not one of ours, that offers exactly this."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(pki.folder / "ca.pem")
    context.set_ciphers(f"{ciphers}:@SECLEVEL=0")
    with pytest.warns(DeprecationWarning, match="deprecated") if version < V12 else pytest.MonkeyPatch.context():
        context.minimum_version = version
        context.maximum_version = version
    if identity:
        context.load_cert_chain(*identity)
    return context


def shake(server: ssl.SSLContext, client: ssl.SSLContext) -> tuple[str, str]:
    """Complete a handshake and send a byte; gives (version, cipher). Raises what the first side to refuse raises."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    there = server.wrap_bio(to_server, to_client, server_side=True)
    here = client.wrap_bio(to_client, to_server, server_hostname="localhost")
    waiting = [here, there]
    while waiting:
        side = waiting.pop(0)
        try:
            side.do_handshake()
        except ssl.SSLWantReadError:
            waiting.append(side)
    here.write(b"x")
    assert there.read(1) == b"x"
    cipher = here.cipher()
    assert cipher is not None
    return str(here.version()), cipher[0]


HANDSHAKES = [
    # profile, server key, client version, client ciphers -> agreed version, or None where refused
    (TlsProfile.MODERN, "ecdsa", V13, "ALL", "TLSv1.3"),
    (TlsProfile.MODERN, "rsa", V12, "ALL", "TLSv1.2"),
    (TlsProfile.MODERN, "rsa", V12, LEGACY_RSA, None),
    (TlsProfile.MODERN, "ecdsa", V12, LEGACY_ECDSA, None),
    (TlsProfile.MODERN, "rsa", V12, "ECDHE-RSA-AES128-SHA", None),
    (TlsProfile.OPENADR2, "rsa", V12, LEGACY_RSA, "TLSv1.2"),
    (TlsProfile.OPENADR2, "ecdsa", V12, LEGACY_ECDSA, "TLSv1.2"),
    (TlsProfile.OPENADR2, "ecdsa", V13, "ALL", "TLSv1.3"),
    (TlsProfile.OPENADR2, "rsa", V12, "AES128-SHA", None),
    (TlsProfile.OPENADR2, "rsa", V12, "ECDHE-RSA-AES128-SHA", None),
    *(
        (profile, "rsa", version, "ALL", None)
        for profile in TlsProfile
        for version in (ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1)
    ),
]


@pytest.mark.parametrize(("profile", "key", "version", "ciphers", "agreed"), HANDSHAKES)
def test_what_a_listener_agrees_to(
    pki: Pki, profile: TlsProfile, key: str, version: ssl.TLSVersion, ciphers: str, agreed: str | None
) -> None:
    server = server_context(*getattr(pki, key), None, profile)
    client = offer(pki, version, ciphers)
    if agreed is None:
        with pytest.raises(ssl.SSLError):
            shake(server, client)
    else:
        assert shake(server, client)[0] == agreed


def test_modern_prefers_forward_secrecy_with_authenticated_encryption(pki: Pki) -> None:
    _, cipher = shake(server_context(*pki.rsa, None), offer(pki, V12))
    assert cipher.startswith("ECDHE-")
    assert "GCM" in cipher or "CHACHA20" in cipher


def test_a_client_must_show_a_certificate_of_the_authority(pki: Pki) -> None:
    server = server_context(*pki.ecdsa, pki.folder / "ca.pem")
    assert shake(server, offer(pki, V12, identity=pki.client))[0] == "TLSv1.2"
    for identity in (None, pki.foreign):
        with pytest.raises(ssl.SSLError):
            shake(server, offer(pki, V12, identity=identity))


def test_our_client_trusts_its_authority_only(pki: Pki) -> None:
    server = server_context(*pki.ecdsa, pki.folder / "ca.pem")
    assert shake(server, client_context(pki.folder / "ca.pem", *pki.client))[0] == "TLSv1.3"
    with pytest.raises(ssl.SSLCertVerificationError):
        shake(server, client_context(pki.folder / "stranger.pem", *pki.client))


def test_our_client_checks_the_host_name(pki: Pki) -> None:
    with pytest.raises(ssl.SSLCertVerificationError, match=r"[Hh]ostname"):
        shake(server_context(*pki.client, None), client_context(pki.folder / "ca.pem"))


@pytest.mark.parametrize("missing", [0, 1, 2])
def test_a_missing_file_stops_the_start(pki: Pki, missing: int) -> None:
    files = [*pki.ecdsa, pki.folder / "ca.pem"]
    files[missing] = pki.folder / "absent.pem"
    with pytest.raises(FileNotFoundError):
        server_context(*files)


def test_a_file_with_other_content_stops_the_start(pki: Pki) -> None:
    text = pki.folder / "text.pem"
    text.write_text("not a certificate")
    with pytest.raises(ssl.SSLError):
        server_context(*pki.ecdsa, text)
    with pytest.raises(ssl.SSLError):
        server_context(text, pki.ecdsa[1], None)
    with pytest.raises(ssl.SSLError):
        server_context(pki.rsa[0], pki.ecdsa[1], None)


def test_an_encrypted_key_is_an_error_not_a_question(pki: Pki) -> None:
    key = serialization.load_pem_private_key(pki.ecdsa[1].read_bytes(), None)
    locked = pki.folder / "locked.key"
    locked.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(b"secret"),
        )
    )
    with pytest.raises(ssl.SSLError):
        server_context(pki.ecdsa[0], locked, None)


def test_fingerprint() -> None:
    # SHA-256 of "abc", FIPS 180-2 appendix B.1
    known = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    shown = fingerprint(b"abc")
    assert shown.replace(":", "").lower() == known
    assert shown[-29:] == "03:61:A3:96:17:7A:9C:B4:10:FF:61:F2:00:15:AD"[-29:]
    assert len(shown[-29:].split(":")) == 10
