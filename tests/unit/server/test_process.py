"""`gridparley serve` as a process: ready, reachable, and gone within ten seconds of SIGTERM."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

_ROOT = Path(__file__).parents[3]
_CONFIG = """
[server]
data_dir = "data"
http_listen = "127.0.0.1:0"
log_file = "server.jsonl"
[party]
domain = "agr.example.org"
role = "AGR"
"""


def test_a_server_process_serves_and_stops_in_order(tmp_path: Path) -> None:
    (tmp_path / "c.toml").write_text(_CONFIG, encoding="utf-8")
    command = [
        sys.executable,
        "-c",
        "from interop.cli import main; main()",
        "serve",
        str(tmp_path / "c.toml"),
        "--json",
    ]
    environment = os.environ | {"PYTHONPATH": str(_ROOT), "PYTHONUNBUFFERED": "1"}
    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        text = ""
        while not text.rstrip().endswith("}"):
            line = process.stdout.readline()
            assert line, process.communicate()
            text += line
        ready = json.loads(text)
        with urllib.request.urlopen(f"{ready['http']}/readyz", timeout=10) as answer:
            assert json.load(answer)["ready"] is True
        began = time.monotonic()
        process.send_signal(signal.SIGTERM)
        _, errors = process.communicate(timeout=15)
    finally:
        process.kill()
        process.wait()
    assert process.returncode == 0, errors
    assert time.monotonic() - began < 10
    assert errors == ""
    lines = [json.loads(line) for line in (tmp_path / "server.jsonl").read_text().splitlines()]
    assert lines[-1]["message"] == "stopped"
