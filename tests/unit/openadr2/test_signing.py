"""High security over a socket: who must sign, what is refused and how, and replays, also after a restart."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import trustme

from adapters.errors import Rejection
from adapters.openadr2 import codec, model, replay
from adapters.openadr2.config import read_config
from adapters.openadr2.dsig import Seal, is_signed, verify
from adapters.openadr2.replay import Replays

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
SECOND = timedelta(seconds=1)
POLL = codec.encode(model.OadrPoll("ven-1"))


# --- replays ------------------------------------------------------------------------------------------------------


def _seal(nonce: str = "n", at: datetime = NOW, who: str = "A") -> Seal:
    return Seal(who, at, nonce)


@pytest.mark.parametrize("offset", [-5.1, 5.1, 3600, -3600])
def test_the_window_has_two_sides(offset: float) -> None:
    with pytest.raises(Rejection, match=r"oadr\.replay\.time"):
        Replays(5 * SECOND, {}).admit(_seal(at=NOW + offset * SECOND), NOW)


@pytest.mark.parametrize("offset", [-5, 0, 5])
def test_a_nonce_counts_once_for_each_signer(offset: float) -> None:
    replays, at = Replays(5 * SECOND, {}), NOW + offset * SECOND
    replays.admit(_seal(at=at), NOW)
    replays.admit(_seal(at=at, who="B"), NOW)
    # For as long as the window would admit the message, and no longer.
    for later in (0, 4.9 + offset, 5 + offset):
        with pytest.raises(Rejection, match=r"oadr\.replay\.nonce"):
            replays.admit(_seal(at=at), max(NOW, NOW + later * SECOND))
    replays.admit(_seal(at=NOW + 11 * SECOND), NOW + 11 * SECOND)


def test_a_mark_is_ahead_of_all_that_was_admitted() -> None:
    first = Replays(5 * SECOND, {})
    mark = first.admit(_seal("a"), NOW)
    assert mark == NOW + SECOND
    assert first.admit(_seal("b", NOW + SECOND), NOW) is None
    assert first.admit(_seal("c", NOW + 2 * SECOND), NOW) == NOW + 3 * SECOND
    second = Replays(5 * SECOND, {"A": NOW + 3 * SECOND})
    for nonce, offset in (("a", 0), ("c", 2), ("new", 3)):
        with pytest.raises(Rejection, match=r"oadr\.replay\.restart"):
            second.admit(_seal(nonce, NOW + offset * SECOND), NOW)
    second.admit(_seal("new", NOW + 3.1 * SECOND), NOW)
    second.admit(_seal("a", who="B"), NOW)


def test_nonces_are_bounded(monkeypatch) -> None:
    monkeypatch.setattr(replay, "MOST_NONCES", 3)
    replays = Replays(5 * SECOND, {})
    for n in range(3):
        replays.admit(_seal(str(n)), NOW)
    with pytest.raises(Rejection, match=r"oadr\.replay\.rate"):
        replays.admit(_seal("3"), NOW)
    replays.admit(_seal("3", who="B"), NOW)
    replays.admit(_seal("4", NOW + 6 * SECOND), NOW + 6 * SECOND)


# --- over a socket ------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def parties(around) -> Any:
    """Signing identities of the VTN and of two VENs."""
    ca = trustme.CA()
    return [around.Identity.issue(ca, f"{name}.example") for name in ("vtn", "one", "two")]


@pytest.fixture
def settings(parties, tmp_path) -> dict[str, Any]:
    certificate, key = parties[0].write(tmp_path / "vtn")
    vens = [
        {"ven_name": "one", "ven_id": "ven-1", "fingerprint": parties[1].fingerprint},
        {"ven_name": "two", "ven_id": "ven-2", "fingerprint": parties[2].fingerprint, "security": "standard"},
    ]
    return {"security": "high", "signing_certificate": certificate, "signing_key": key, "vens": vens}


@pytest.fixture
async def vtn(around, settings) -> AsyncIterator:
    async with around.Vtn(around.Hub(), around.HandClock(), **settings) as vtn:
        yield vtn


def _signed(identity, message: bytes = POLL, offset: float = 0.0) -> bytes:
    return identity.signer.sign(message, datetime.now(UTC) + offset * SECOND)


async def _code(vtn, endpoint: str, body: bytes, signer: str = "") -> tuple[type, int, str]:
    """The answer's kind, code and text; with `signer`, it must bear that signature."""
    status, reply = await vtn.post(endpoint, body)
    assert status == 200, reply
    root = codec.read_tree(reply)
    codec.check_schema(root)
    assert is_signed(root) is bool(signer)
    if signer:
        seal = verify(root, {signer})
        assert abs(datetime.now(UTC) - seal.at) < 5 * SECOND
    answer = codec.decode(codec.payload_element(root))
    return type(answer), answer.response.response_code, answer.response.response_description


def _create(**fields: Any) -> bytes:
    return codec.encode(model.OadrCreatePartyRegistration("q", "2.0b", "simpleHttp", False, True, **fields))


async def test_both_sides_sign(vtn, parties) -> None:
    us, one, _ = parties
    create = _create(ven_name="one")
    assert (await _code(vtn, "EiRegisterParty", _signed(one, create), us.fingerprint))[1] == 200
    assert await _code(vtn, "OadrPoll", _signed(one), us.fingerprint) == (model.OadrResponse, 200, "OK")


@pytest.mark.parametrize(
    ("make", "rule"),
    [
        (lambda us, one, two: POLL, "signature.missing"),
        (lambda us, one, two: _signed(us), "signature.certificate"),
        (lambda us, one, two: _signed(one).replace(b'"2.0b"', b'"2.0a"'), "signature.digest"),
        (lambda us, one, two: _signed(one, offset=-8), "replay.time"),
        (lambda us, one, two: _signed(one, offset=8), "replay.time"),
    ],
    ids=["unsigned", "foreign", "tampered", "old", "future"],
)
async def test_what_is_refused(vtn, parties, make, rule: str) -> None:
    await _code(vtn, "EiRegisterParty", _signed(parties[1], _create(ven_name="one")), parties[0].fingerprint)
    before = dict(vtn.hub.documents)
    kind, code, text = await _code(vtn, "OadrPoll", make(*parties), parties[0].fingerprint)
    assert (kind, code) == (model.OadrResponse, 463)
    assert text.startswith(f"oadr.{rule}")
    assert vtn.hub.refusals[-1][:2] == ("one", f"oadr.{rule}")
    assert vtn.hub.documents == before


async def test_a_refused_message_changes_nothing(vtn, parties) -> None:
    kind, code, _ = await _code(vtn, "EiRegisterParty", _create(ven_name="one"), parties[0].fingerprint)
    assert (kind, code) == (model.OadrCreatedPartyRegistration, 463)
    assert vtn.hub.documents == {}


async def test_a_replay_is_refused_also_after_a_restart(around, settings, parties) -> None:
    hub, (us, one, _) = around.Hub(), parties
    poll = _signed(one)
    async with around.Vtn(hub, around.HandClock(), **settings) as vtn:
        await _code(vtn, "EiRegisterParty", _signed(one, _create(ven_name="one")), us.fingerprint)
        assert (await _code(vtn, "OadrPoll", poll, us.fingerprint))[1] == 200
        assert (await _code(vtn, "OadrPoll", poll, us.fingerprint))[2].startswith("oadr.replay.nonce")
    # What the first process made durable is all that the second one knows.
    async with around.Vtn(around.Hub(documents=dict(hub.documents)), around.HandClock(), **settings) as vtn:
        assert (await _code(vtn, "OadrPoll", poll, us.fingerprint))[2].startswith("oadr.replay.restart")
        assert (await _code(vtn, "OadrPoll", _signed(one, offset=2), us.fingerprint))[1] == 200


async def test_the_level_is_the_ven_s(vtn, parties) -> None:
    """`two` need not sign and gets no signature; what it signs is checked all the same."""
    two = parties[2]
    assert (await _code(vtn, "EiRegisterParty", _create(ven_name="two")))[1] == 200
    poll = codec.encode(model.OadrPoll("ven-2"))
    assert (await _code(vtn, "OadrPoll", poll))[1] == 200
    assert (await _code(vtn, "OadrPoll", _signed(two, poll)))[1] == 200
    assert (await _code(vtn, "OadrPoll", _signed(two, poll).replace(b'"2.0b"', b'"2.0a"')))[1] == 463


async def test_the_signature_decides_who_speaks(vtn, parties) -> None:
    """Without TLS a good signature does not lend its weight to another VEN's name."""
    two = parties[2]
    kind, code, _ = await _code(vtn, "EiRegisterParty", _signed(two, _create(ven_name="one")))
    assert (kind, code) == (model.OadrCreatedPartyRegistration, 200)
    assert vtn.hub.load("ven").keys() == {"two"}
    assert (await _code(vtn, "OadrPoll", _signed(two)))[1] == 463


async def test_a_refusal_may_be_403(around, settings, parties) -> None:
    async with around.Vtn(around.Hub(), around.HandClock(), signature_refusal_status=403, **settings) as vtn:
        status, text = await vtn.post("OadrPoll", POLL)
        assert (status, text.decode().split(":")[0]) == (403, "oadr.signature.missing")
        assert vtn.hub.refusals[0][:2] == ("one", "oadr.signature.missing")


@pytest.mark.parametrize(
    ("config", "text"),
    [
        ({"security": "high", "insecure": True}, "signing_certificate and signing_key are needed"),
        ({"security": "listener", "insecure": True}, "standard or high"),
        ({"signing_key": "x", "insecure": True}, "both or neither"),
        ({"signature_refusal_status": 500, "insecure": True}, "200 or 403"),
        ({"signature_tolerance_s": 0, "insecure": True}, "at least 1"),
        ({"security": "low", "insecure": True}, "listener or standard or high"),
    ],
)
def test_configuration(config: dict[str, Any], text: str) -> None:
    with pytest.raises(ValueError, match=text):
        read_config(config)


async def test_a_missing_signing_key_refuses_to_start(around, settings) -> None:
    adapter = around.Vtn(around.Hub(), around.HandClock(), **settings | {"signing_key": "/nowhere"}).adapter
    with pytest.raises(OSError, match="No such file"):
        await adapter.start()
