"""Instance and plan files, and the command that turns one into the other."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from optimiser import Appliances, InputError, Limits, Portfolio, Tariffs, plan
from optimiser.__main__ import main
from optimiser.instance import read_instance, write_instance
from optimiser.portfolio import ARRAY_FIELDS

Case = tuple[Portfolio, Limits, Tariffs]


def test_an_instance_reads_back_as_written(street: Callable[..., Case], tmp_path: Path) -> None:
    portfolio, limits, tariffs = street()
    appliances = Appliances(np.array([1]), np.array([4]), np.array([9]), np.array([2]), np.array([[1.0, 2.0]]))
    fields = {k: v for k, v in vars(portfolio).items() if k not in ("appliances", "hp_max_kw")}
    varying = portfolio.hp_max_kw * np.linspace(1, 0.5, 96)
    portfolio = Portfolio(appliances=appliances, hp_max_kw=varying, **fields)
    write_instance(tmp_path / "a.npz", portfolio, limits, tariffs)
    again, limits_again, tariffs_again = read_instance(tmp_path / "a.npz")
    for name in ARRAY_FIELDS:
        np.testing.assert_array_equal(getattr(again, name), getattr(portfolio, name))
    for name in ("home", "first", "last", "length", "profile_kw"):
        np.testing.assert_array_equal(getattr(again.appliances, name), getattr(appliances, name))
    np.testing.assert_array_equal(limits_again.penalty, limits.penalty)
    np.testing.assert_array_equal(limits_again.lo_kw, limits.lo_kw)
    np.testing.assert_array_equal(tariffs_again.sell_eur_per_kwh, tariffs.sell_eur_per_kwh)
    with np.load(tmp_path / "a.npz") as file:
        assert str(file["format"]) == "lfa-instance/1"
        assert file["imp_max_kw"].shape == (6,)
        assert file["hp_max_kw"].shape == (6, 96)
        assert file["penalty_eur_per_kwh"].shape == ()


def test_files_that_are_no_instance_are_refused(tmp_path: Path) -> None:
    text = tmp_path / "text.npz"
    text.write_text("hello")
    with pytest.raises(InputError, match="is not an npz file"):
        read_instance(text)
    other = tmp_path / "other.npz"
    np.savez(other, format="lfa-instance/2")
    with pytest.raises(InputError, match="says format lfa-instance/2"):
        read_instance(other)
    bare = tmp_path / "bare.npz"
    np.savez(bare, format="lfa-instance/1", dt_h=0.25)
    with pytest.raises(InputError, match=r"lacks bat_capacity_kwh"):
        read_instance(bare)


def test_solve_writes_a_plan_and_prints_json(
    street: Callable[..., Case], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    case = street()
    write_instance(tmp_path / "in.npz", *case)
    assert main(["solve", str(tmp_path / "in.npz"), str(tmp_path / "out.npz"), "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    wanted = plan(*case)
    assert printed["status"] == "optimal"
    assert printed["group_w"] == wanted.group_w.tolist()
    with np.load(tmp_path / "out.npz") as file:
        assert float(file["objective_eur"]) == wanted.cost_eur
        assert float(file["lower_bound_eur"]) <= float(file["objective_eur"])
        assert str(file["status"]) == "optimal"
        assert json.loads(str(file["problems"])) == []
        net = case[0].load_kw + file["bat_charge_kw"] - file["bat_discharge_kw"] + file["ev_kw"] + file["hp_kw"]
        np.testing.assert_allclose(net - file["pv_used_kw"], file["net_kw"], atol=1e-9)
        assert file["price_eur_per_kwh"].shape == (1, 96)


def test_exit_status_tells_what_happened(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    isps = np.arange(8)
    flat = Tariffs(np.full((1, 8), 0.3), np.full((1, 8), 0.1))
    need = np.where(isps >= 3, 99.0, 0.0)[None]
    driver = Portfolio.of(
        1.0, np.ones((1, 8)), ev_max_kw=np.ones((1, 8)), ev_energy_min_kwh=need, ev_energy_max_kwh=need + 100
    )
    quiet = Portfolio.of(1.0, np.ones((1, 8)))
    source, target = str(tmp_path / "in.npz"), str(tmp_path / "out.npz")
    write_instance(Path(source), driver, Limits.none(1, 8), flat)
    assert main(["solve", source, target]) == 3
    with np.load(target) as file:
        (problem,) = json.loads(str(file["problems"]))
    assert (problem["home"], problem["device"], problem["isp"], problem["missing"]) == (0, "ev", 3, 95.0)
    write_instance(Path(source), quiet, Limits(np.zeros((1, 8)), np.full((1, 8), 0.5)), flat)
    assert main(["solve", source, target]) == 0
    assert "limit_relaxed" in capsys.readouterr().out
    write_instance(Path(source), quiet, Limits(np.ones((1, 8)), np.zeros((1, 8))), flat)
    assert main(["solve", source, target]) == 2
    assert "limits[0, 0]" in capsys.readouterr().err
    assert main(["solve", str(tmp_path / "absent.npz"), target]) == 2
    assert "absent.npz: No such file" in capsys.readouterr().err


def test_the_command_runs_as_a_module(street: Callable[..., Case], tmp_path: Path) -> None:
    write_instance(tmp_path / "in.npz", *street(homes=2, isps=24, dt_h=1.0))
    root = Path(__file__).parents[3]
    command = [sys.executable, "-m", "optimiser", "solve", str(tmp_path / "in.npz"), str(tmp_path / "out.npz")]
    done = subprocess.run(command, check=False, cwd=root, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("optimal: ")
