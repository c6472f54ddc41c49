"""The simulated home keeps its promises to its owner whatever it is told."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from interop.demo.house import House

PROFILE = {
    "name": "home-08",
    "start": "2016-05-19T22:00:00+00:00",
    "step_s": 900,
    "load_w": [500.0] * 20,
    "cars": [{"id": "ev", "p_max_w": 4000, "stays": [[2, 10, 3000]], "before_w": []}],
    "heat_pumps": [{"id": "hp", "p_max_w": 2000, "buffer_wh": 1000, "demand_w": [1000.0] * 20}],
}


@pytest.fixture
def house(tmp_path: Path) -> House:
    path = tmp_path / "home.json"
    path.write_text(json.dumps(PROFILE), encoding="utf-8")
    return House.read(path)


def test_unsteered_car_charges_at_once_and_pump_follows_its_demand(house: House):
    days = [house.live(k, {}) for k in range(12)]
    assert [d["ev"] for d in days[:6]] == [0, 0, 4000, 4000, 4000, 0]
    assert all(d["hp"] == 1000 for d in days)
    assert days[2]["home"] == 500 + 4000 + 1000


def test_a_car_told_to_wait_still_leaves_full(house: House):
    charged = sum(house.live(k, {"ev": 0})["ev"] * 0.25 for k in range(12))
    assert charged == pytest.approx(3000)


def test_a_set_point_is_followed_where_it_can_be(house: House):
    powers = [house.live(k, {"ev": 1000, "hp": 1500}) for k in range(4)]
    assert powers[3]["ev"] == 1000
    assert powers[3]["hp"] == 1500


def test_comfort_wins_over_a_set_point(house: House):
    powers = [house.live(k, {"hp": 0})["hp"] for k in range(12)]
    stored = 0.0
    for power in powers:
        stored += (power - 1000) * 0.25
        assert -1000 - 1e-6 <= stored <= 1000 + 1e-6
    assert powers[0] == 0
    assert powers[-1] == 1000


def test_steps_come_in_order(house: House):
    house.live(0, {})
    with pytest.raises(ValueError, match="does not follow"):
        house.live(2, {})
