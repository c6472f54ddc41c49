"""Our own signing keys: the file, a rotation, and a running adapter that takes it up (U-07, U-08)."""

from __future__ import annotations

import stat
from datetime import timedelta
from pathlib import Path
from types import ModuleType

import pytest

from adapters.uftp import build, envelope
from adapters.uftp.keyfile import KeyFile
from adapters.uftp.keys import KeyRing, SigningKey, generate_key_file
from datamodels import ParticipantKey

NEW = SigningKey.from_seed(b"n" * 32)
HOUR = timedelta(hours=1)


def test_a_rotation_signs_with_the_new_key_from_its_instant_and_publishes_both_until_the_end(
    world: ModuleType, tmp_path: Path
) -> None:
    """U-07."""
    old, now = generate_key_file(tmp_path / "k"), world.NOW
    KeyRing.read(tmp_path / "k").rotated(NEW, now, now + 12 * HOUR, now + 24 * HOUR).write(tmp_path / "k")
    assert stat.S_IMODE((tmp_path / "k").stat().st_mode) == 0o600
    assert [p.name for p in tmp_path.iterdir()] == ["k"]
    ring = KeyRing.read(tmp_path / "k")
    signs = [ring.signing(now + n * HOUR) for n in (0, 11, 12, 23, 25)]
    assert signs == [old, old, NEW, NEW, NEW]
    published = [[k.key for k in ring.published(now + n * HOUR)] for n in (0, 24, 25)]
    assert published == [[old, NEW], [old, NEW], [NEW]]
    with pytest.raises(ValueError, match="under way until"):
        ring.rotated(NEW, now + HOUR, now + 2 * HOUR, now + 3 * HOUR)
    third = SigningKey.from_seed(b"t" * 32)
    later = ring.rotated(third, now + 25 * HOUR, now + 25 * HOUR, now + 26 * HOUR)
    assert [k.key for k in later.keys] == [NEW, third]  # the secret that is over is forgotten


@pytest.mark.parametrize(("start", "end"), [(-1, 24), (25, 24), (-2, -1)])
def test_instants_in_the_wrong_order(world: ModuleType, tmp_path: Path, start: int, end: int) -> None:
    generate_key_file(tmp_path / "k")
    ring = KeyRing.read(tmp_path / "k")
    with pytest.raises(ValueError, match="before"):
        ring.rotated(NEW, world.NOW, world.NOW + start * HOUR, world.NOW + end * HOUR)


@pytest.mark.parametrize("more", ["from=", "until=tomorrow", "since=2030-01-01T00:00:00Z", "from"])
def test_a_key_file_that_is_none(tmp_path: Path, more: str) -> None:
    generate_key_file(tmp_path / "k")
    (tmp_path / "k").write_text(f"{(tmp_path / 'k').read_text().strip()} {more}\n")
    with pytest.raises(ValueError, match="from=<instant>"):
        KeyRing.read(tmp_path / "k")


def test_a_running_adapter_takes_up_a_rotation(
    world: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """U-07: what we sign opens with the key that is current."""
    monkeypatch.setattr("adapters.uftp.keyfile._LOOK_AGAIN_S", 0.0)
    path, clock = tmp_path / "k", world.Clock()
    old = generate_key_file(path)
    known = world.participants()
    adapter = build(
        {"domain": world.AGR, "role": "AGR", "signing_key_file": path}, world.ports(world.Hub(), known, clock)
    )
    assert adapter.public_key == old.public
    KeyRing.read(path).rotated(NEW, clock.at, clock.at + HOUR, clock.at + 2 * HOUR).write(path)
    assert adapter.public_key == old.public
    clock.at += HOUR
    sealed = envelope.read(adapter.enclose((world.DATA / "FlexOffer.xml").read_bytes()).body)
    assert envelope.verify(sealed.body, [ParticipantKey(NEW.public)], clock.at) == sealed.payload


def test_a_key_file_that_breaks_while_running_leaves_the_keys_as_they_are(
    tmp_path: Path, world: ModuleType, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("adapters.uftp.keyfile._LOOK_AGAIN_S", 0.0)
    key = generate_key_file(tmp_path / "k")
    file = KeyFile(tmp_path / "k")
    (tmp_path / "k").write_text("broken")
    assert file.signing(world.NOW) == key
    (tmp_path / "k").unlink()
    assert file.signing(world.NOW) == key
    assert "the old ones stay" in caplog.text


def test_what_is_enclosed_is_byte_for_byte_what_was_given(world: ModuleType, tmp_path: Path) -> None:
    generate_key_file(tmp_path / "k")
    known = world.participants()
    adapter = build(
        {"domain": world.AGR, "role": "AGR", "signing_key_file": tmp_path / "k"}, world.ports(world.Hub(), known)
    )
    for name, kind in (("FlexOffer", "FlexOffer"), ("D-Prognosis", "Prognosis"), ("TestMessage", "TestMessage")):
        payload = (world.DATA / f"{name}.xml").read_bytes() + b"\n\n"
        enclosed = adapter.enclose(payload)
        assert envelope.read(enclosed.body).payload == payload
        assert (enclosed.kind, enclosed.message is None) == (kind, name == "TestMessage")
        assert enclosed.head.message_id.encode() in payload
    for bad, rule in ((b"words", "xml"), (b"<FlexOffer/>", "uftp.schema"), (enclosed.body, "uftp.root")):
        with pytest.raises(Exception, match=rule):
            adapter.enclose(bad)
