"""Ed25519 by RFC 8032's known answers, tampering, rotation, key strings and key files."""

from __future__ import annotations

import base64
import stat
from datetime import timedelta
from pathlib import Path
from types import ModuleType

import pytest

from adapters.errors import TransportFault
from adapters.uftp import envelope
from adapters.uftp.keys import (
    SigningKey,
    generate_key_file,
    load_key_file,
    parse_public_keys,
    public_key_string,
)
from datamodels import ParticipantKey, Role

# RFC 8032 section 7.1, tests 1 to 3: seed, public key, message, signature.
RFC8032 = (
    (
        "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
        "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
        "",
        "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b",
    ),
    (
        "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
        "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
        "72",
        "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00",
    ),
    (
        "c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7",
        "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
        "af82",
        "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a",
    ),
)


@pytest.mark.parametrize(("seed", "public", "message", "signature"), RFC8032)
def test_known_answers(world: ModuleType, seed: str, public: str, message: str, signature: str) -> None:
    """U-07: RFC 8032 section 7.1."""
    key = SigningKey.from_seed(bytes.fromhex(seed))
    assert key.public.hex() == public
    signed = envelope.sign(bytes.fromhex(message), key)
    assert signed == bytes.fromhex(signature + message)
    assert envelope.verify(signed, [ParticipantKey(key.public)], world.NOW) == bytes.fromhex(message)


def _sealed(world: ModuleType, payload: bytes = b"<TestMessage/>") -> bytes:
    return envelope.seal(payload, world.AGR, Role.AGR, world.KEYS[world.AGR])


def test_what_is_sealed_can_be_read_and_opened(world: ModuleType) -> None:
    sealed = envelope.read(_sealed(world))
    assert (sealed.sender_domain, sealed.sender_role) == (world.AGR, Role.AGR)
    assert sealed.payload == b"<TestMessage/>"
    assert envelope.verify(sealed.body, [ParticipantKey(world.KEYS[world.AGR].public)], world.NOW) == sealed.payload


@pytest.mark.parametrize("position", [0, 31, 63, 64, 70, -1])
def test_a_flipped_bit_is_refused(world: ModuleType, position: int) -> None:
    """U-07."""
    body = bytearray(envelope.read(_sealed(world)).body)
    body[position] ^= 1
    with pytest.raises(TransportFault) as refusal:
        envelope.verify(bytes(body), [ParticipantKey(world.KEYS[world.AGR].public)], world.NOW)
    assert refusal.value.code == 401


def test_a_truncated_body_is_refused(world: ModuleType) -> None:
    """U-07."""
    body = envelope.read(_sealed(world)).body
    with pytest.raises(TransportFault) as refusal:
        envelope.verify(body[:-1], [ParticipantKey(world.KEYS[world.AGR].public)], world.NOW)
    assert refusal.value.code == 401


def test_rotation_tries_each_valid_key(world: ModuleType) -> None:
    """U-07: rotated, expired, not yet valid and other keys."""
    body = envelope.read(_sealed(world)).body
    now, hour = world.NOW, timedelta(hours=1)
    old, new = world.KEYS[world.DSO].public, world.KEYS[world.AGR].public
    assert envelope.verify(body, [ParticipantKey(old), ParticipantKey(new)], now)
    assert envelope.verify(body, [ParticipantKey(new, now, now)], now)
    for key in (ParticipantKey(new, None, now - hour), ParticipantKey(new, now + hour), ParticipantKey(old)):
        with pytest.raises(TransportFault) as refusal:
            envelope.verify(body, [key], now)
        assert refusal.value.code == 401


@pytest.mark.parametrize(
    ("raw", "rule"),
    [
        (b"", "xml.empty"),
        (b"not xml", "xml.syntax"),
        (b"<Other/>", "uftp.schema"),
        (b'<SignedMessage SenderDomain="a.bc" SenderRole="AGR"/>', "uftp.schema"),
        (b'<SignedMessage SenderDomain="a.bc" SenderRole="BRP" Body="AAAA"/>', "uftp.schema"),
        (b'<SignedMessage SenderDomain="A.bc" SenderRole="AGR" Body="AAAA"/>', "uftp.schema"),
        (b'<SignedMessage SenderDomain="a.bc" SenderRole="AGR" Body="A*AA"/>', "uftp.schema"),
        (b'<SignedMessage SenderDomain="a.bc" SenderRole="AGR" Body="AAAAA"/>', "uftp.base64"),
        (b'<SignedMessage SenderDomain="a.bc" SenderRole="AGR" Body="AAAA"/>', "uftp.body"),
    ],
)
def test_what_is_no_envelope_is_400(raw: bytes, rule: str) -> None:
    with pytest.raises(TransportFault) as refusal:
        envelope.read(raw)
    assert (refusal.value.code, refusal.value.rule) == (400, rule)


def test_a_bare_payload_is_no_envelope() -> None:
    data = Path(__file__).resolve().parents[2] / "data" / "uftp" / "TestMessage.xml"
    with pytest.raises(TransportFault, match="bare TestMessage"):
        envelope.read(data.read_bytes())


def test_base64_may_be_folded(world: ModuleType) -> None:
    raw = _sealed(world)
    folded = raw.replace(b'Body="', b'Body="\n  ').replace(b"Pg==", b"Pg==\n")
    assert envelope.read(folded).body == envelope.read(raw).body


# --- keys ---------------------------------------------------------------------------------------------------------


def test_key_strings_round_trip(world: ModuleType) -> None:
    """U-08."""
    key = world.KEYS[world.AGR]
    text = public_key_string(key.public)
    assert text.startswith("cs1.")
    assert len(base64.b64decode(text[4:])) == 64
    assert parse_public_keys(text) == (key.public,)
    bare = base64.b64encode(key.public).decode()
    assert parse_public_keys(f"{text} {bare}") == (key.public, key.public)
    assert parse_public_keys(public_key_string(key.public, b"b" * 32)) == (key.public,)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "cs1.",
        "cs1.!!!!",
        "cs2." + base64.b64encode(bytes(64)).decode(),
        "cs1." + base64.b64encode(bytes(32)).decode(),
        base64.b64encode(bytes(31)).decode(),
        " ".join([base64.b64encode(bytes(32)).decode()] * 3),
    ],
)
def test_what_is_no_key_string(text: str) -> None:
    """U-08."""
    with pytest.raises(ValueError, match="key"):
        parse_public_keys(text)


def test_a_new_key_file_is_private_and_never_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "agr.key"
    key = generate_key_file(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert load_key_file(path) == key
    with pytest.raises(FileExistsError):
        generate_key_file(path)
    assert load_key_file(path) == key
    assert base64.b64encode(key.secret).decode() not in repr(key)


def test_a_bare_seed_is_a_key_file(tmp_path: Path) -> None:
    path = tmp_path / "seed.key"
    path.write_bytes(base64.b64encode(bytes(32)))
    assert load_key_file(path) == SigningKey.from_seed(bytes(32))


@pytest.mark.parametrize("content", [b"", b"!!", base64.b64encode(bytes(33)), base64.b64encode(bytes(64))])
def test_what_is_no_key_file(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "bad.key"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"bad\.key"):
        load_key_file(path)
