"""Pseudonyms, and the early warning."""

from __future__ import annotations

import random
import stat
from pathlib import Path

import pytest

from interop.security import EarlyWarning, Pseudonyms
from interop.security.warning import Detector


def test_a_pseudonym_is_stable_per_recipient_and_unlinkable_between_them(tmp_path: Path) -> None:
    names = Pseudonyms(tmp_path / "keys")
    first = names.of("dso.example.org", "ean.1")
    assert first == Pseudonyms(tmp_path / "keys").of("dso.example.org", "ean.1")
    assert len({first, names.of("dso.example.org", "ean.2"), names.of("cro.example.org", "ean.1")}) == 3
    assert len(first) == 26
    assert "ean" not in first


def test_a_destroyed_key_makes_new_names(tmp_path: Path) -> None:
    names = Pseudonyms(tmp_path)
    before = names.of("dso", "ean.1")
    names.rotate("dso")
    assert list(tmp_path.iterdir()) == []
    assert names.of("dso", "ean.1") != before


def test_keys_are_private_and_a_damaged_one_is_refused(tmp_path: Path) -> None:
    Pseudonyms(tmp_path / "keys").of("dso", "ean.1")
    (key,) = (tmp_path / "keys").iterdir()
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    key.write_bytes(b"short")
    with pytest.raises(ValueError, match="5 bytes"):
        Pseudonyms(tmp_path / "keys").of("dso", "ean.1")


def test_a_detector_is_silent_on_noise_and_speaks_on_a_burst() -> None:
    rng = random.Random(1)
    detector = Detector()
    assert [f for f in (detector.update(rng.gauss(100, 10)) for _ in range(20_000)) if "standard" in f] == []
    assert "standard deviations above" in detector.update(250.0)
    assert "standard deviations above" in detector.update(250.0), "one burst does not hide the next"


def test_a_slow_rise_is_noticed_by_the_cumulative_sum() -> None:
    rng = random.Random(2)
    detector = Detector()
    for _ in range(500):
        detector.update(rng.gauss(100, 10))
    findings = [detector.update(rng.gauss(125, 10)) for _ in range(60)]
    assert any("lasting rise" in finding for finding in findings)


class Wall:
    now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


def test_steady_traffic_is_fine_and_a_flood_is_not() -> None:
    wall = Wall()
    warning = EarlyWarning(wall)
    for _ in range(60):
        assert all(warning.count("dso", "messages") is None for _ in range(20))
        wall.now += 10
    for _ in range(2000):
        warning.count("dso", "messages")
    wall.now += 10
    finding = warning.count("dso", "messages")
    assert finding is not None
    assert (finding.peer, finding.what) == ("dso", "messages")
    assert warning.totals()["dso"]["messages"] == 60 * 20 + 2001


def test_what_should_not_happen_warns_at_the_third_time_and_then_keeps_quiet_for_a_minute() -> None:
    wall = Wall()
    warning = EarlyWarning(wall)
    findings = [warning.count("dso", "conflict") for _ in range(10)]
    assert [n for n, finding in enumerate(findings, 1) if finding] == [3]
    wall.now += 70
    assert [bool(warning.count("dso", "conflict")) for _ in range(3)] == [False, False, True]


def test_a_rare_slip_warns_nobody() -> None:
    wall = Wall()
    warning = EarlyWarning(wall)
    for _ in range(50):
        assert warning.count("dso", "rejected") is None
        wall.now += 600


def test_memory_is_bounded_against_invented_names() -> None:
    warning = EarlyWarning(Wall())
    for n in range(10_000):
        warning.count(f"invented{n}", "refused signature")
    assert len(warning.totals()) == 4096


def test_a_gap_between_promise_and_metering_is_noticed() -> None:
    warning = EarlyWarning(Wall())
    assert all(warning.measure("agr", "deviation_kw", 1.0 + n % 2) is None for n in range(50))
    finding = warning.measure("agr", "deviation_kw", 40.0)
    assert finding is not None
    assert finding.what == "deviation_kw"
