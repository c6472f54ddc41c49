"""`gridparley serve`, `agents add`, `agent`, `agents plan`: a home in a process of its own, planned end to end."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from datamodels import encode
from interop.aggregator.homes import Battery, Home, Pv

PERIOD = "2026-05-20"
CONFIG = """
[party]
domain = "agr.example"
role = "AGR"

[server]
http_listen = "127.0.0.1:{http}"
data_dir = "data"

[market]
isp_minutes = 60

[adapters.agents]
listen = "127.0.0.1:{agents}"
least = 1
patience_s = 20
"""


def run(*arguments: str) -> Any:
    done = subprocess.run(
        [sys.executable, "-m", "interop", *arguments, "--json"], capture_output=True, text=True, timeout=60, check=True
    )
    return json.loads(done.stdout)


def home_file(path: Path) -> None:
    battery = Battery("bat", 3000, 6000, 3000, 3000, 0.95, 0.02)
    home = Home("home-1", 1, "ean.1", 0, (), (), (Pv("pv", 0, 4000),), (battery,))
    hours = np.arange(24)
    data = {
        "format": "gridparley-home/1",
        "period": PERIOD,
        "isp_minutes": 60,
        "home": encode(home),
        "load_kw": {"0": (0.4 + 0.8 * (hours > 17)).tolist()},
        "pv_kw": {"0": np.maximum(3 * np.sin((hours - 6) / 12 * np.pi), 0).tolist()},
        "buy_eur_per_kwh": [0.3] * 24,
        "sell_eur_per_kwh": [0.08] * 24,
    }
    path.write_text(json.dumps(data))


@pytest.fixture
def free_ports() -> tuple[int, int]:
    import socket

    with socket.socket() as one, socket.socket() as two:
        one.bind(("127.0.0.1", 0))
        two.bind(("127.0.0.1", 0))
        return one.getsockname()[1], two.getsockname()[1]


def test_a_home_in_its_own_process_is_planned(tmp_path: Path, free_ports: tuple[int, int]) -> None:
    http, agents = free_ports
    config = tmp_path / "agr.toml"
    config.write_text(CONFIG.format(http=http, agents=agents))
    home_file(tmp_path / "home.json")
    (tmp_path / "request.json").write_text(
        json.dumps({"period": PERIOD, "points": {"cp": {"lo_w": [-1200] * 24}}, "gap": 0.01})
    )
    command = [sys.executable, "-m", "interop"]
    processes = [subprocess.Popen([*command, "serve", str(config)], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)]
    try:
        assert processes[0].stdout is not None
        assert b"ready" in processes[0].stdout.readline()
        (tmp_path / "token").write_text(run("agents", "add", str(config), "home-1", "--point", "cp")["token"])
        address = f"ws://127.0.0.1:{agents}/agents"
        own = ["--home", str(tmp_path / "home.json"), "--token-file", str(tmp_path / "token"), "--least", "1"]
        processes.append(subprocess.Popen([*command, "agent", *own, "--connect", address], stderr=subprocess.DEVNULL))
        for _ in range(200):
            if run("agents", "list", str(config))[0]["connected"]:
                break
            time.sleep(0.1)
        result = run("agents", "plan", str(config), str(tmp_path / "request.json"))
    finally:
        for process in processes:
            process.terminate()
            process.wait(10)
            if process.stdout:
                process.stdout.close()
    assert result["status"] == "optimal"
    assert result["confirmed"] == 1
    assert min(result["net_w"]["cp"]) >= -1201
    (award,) = (p for p in (tmp_path / "home.agent").glob("*.json"))
    assert json.loads(award.read_text())["net_w"] == pytest.approx(result["net_w"]["cp"], abs=2)
    assert (tmp_path / "home.agent" / "key").stat().st_mode & 0o777 == 0o600


def test_an_unencrypted_way_to_another_machine_is_refused(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("t")
    home_file(tmp_path / "home.json")
    done = subprocess.run(
        [sys.executable, "-m", "interop", "agent", "--home", str(tmp_path / "home.json"), "--token-file",
         str(tmp_path / "token"), "--connect", "ws://127.evil.example:80/agents"],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert "is not encrypted" in done.stderr
