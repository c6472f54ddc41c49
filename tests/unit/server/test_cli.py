"""The command line: what it writes and prints, and exit codes that scripts can use."""

from __future__ import annotations

import asyncio
import fcntl
import json
import logging
import socket
import sqlite3
import stat
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner

from interop import checkup
from interop.checkup import check_installation
from interop.cli import main
from interop.config import load_config
from interop.server import Server
from interop.store import Batch, Event, Store
from interop.store.reader import MAIN_FILE

NOW = datetime(2026, 5, 20, tzinfo=UTC)
Run = Callable[..., tuple[int, Any]]


@pytest.fixture
def run() -> Run:
    """Run a command; its exit code and output (parsed, with --json)."""

    def call(*arguments: Any) -> tuple[int, Any]:
        result = CliRunner().invoke(main, [str(a) for a in arguments])
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
        text = result.stdout or result.stderr
        return result.exit_code, json.loads(text) if "--json" in arguments else text

    return call


@pytest.fixture
def config(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What `init` wrote; its listeners are on ports that are free."""
    assert run("init", tmp_path / "gp")[0] == 0
    monkeypatch.setenv("GRIDPARLEY_SERVER_HTTP_LISTEN", "127.0.0.1:0")
    path = tmp_path / "gp" / "gridparley.toml"
    path.write_text(path.read_text().replace("127.0.0.1:8443", "127.0.0.1:0"))
    return path


def test_help_lists_every_command_with_what_it_does(run: Run) -> None:
    code, text = run("--help")
    assert code == 0
    for name in ("serve", "init", "doctor", "peer", "backup", "replay"):
        assert f"\n  {name} " in text
    assert "Run the server until it is told to stop" in text
    code, text = run("nonsense")
    assert code == 2
    assert "No such command" in text


def test_every_own_command_has_json_and_help() -> None:
    context = click.Context(main)
    for name in ("serve", "init", "doctor", "backup", "replay"):
        command = main.get_command(context, name)
        assert command is not None
        assert "--json" in [o for p in command.params for o in p.opts]
        assert command.help


def test_init_writes_a_configuration_that_is_valid_and_private(run: Run, tmp_path: Path) -> None:
    code, data = run("init", tmp_path / "dso", "--role", "DSO", "--domain", "grid.example.org", "--json")
    assert code == 0
    config = load_config(Path(data["config"]), {})
    assert (str(config.party.role), config.party.domain) == ("DSO", "grid.example.org")
    assert data["public_key"].startswith("cs1.")
    for name in ("config", "signing_key"):
        assert stat.S_IMODE(Path(data[name]).stat().st_mode) == 0o600
    key = Path(data["signing_key"]).read_bytes()
    code, error = run("init", tmp_path / "dso", "--json")
    assert (code, error["exit"]) == (2, 2)
    assert "exists already" in error["error"]
    assert Path(data["signing_key"]).read_bytes() == key


def test_doctor_finds_a_fresh_configuration_in_order(run: Run, config: Path) -> None:
    code, data = run("doctor", config, "--json")
    assert code == 0, data
    verdicts = {check["name"]: check["verdict"] for check in data["checks"]}
    assert verdicts["package interop"] == "ok"
    assert verdicts["adapters.uftp.signing_key_file"] == "ok"
    assert verdicts["peers"] == "warning"


def test_doctor_says_how_to_mend_what_is_wrong(run: Run, config: Path, tmp_path: Path) -> None:
    key = config.parent / "signing.key"
    key.chmod(0o644)
    with config.open("a") as file:
        file.write('\n[clock]\nfile = "none.json"\n[adapters.nonsense]\nlisten = "nowhere"\n')
    code, text = run("doctor", config)
    assert code == 1
    for expected in (f"chmod 600 {key}", "none.json", "no adapter is called 'nonsense'", "'nowhere' is not host:port"):
        assert expected in text


def test_doctor_reports_a_wrong_configuration_with_its_own_code(run: Run, config: Path) -> None:
    config.write_text(config.read_text().replace("[server]", "[sever]"))
    code, data = run("doctor", config, "--json")
    assert code == data["exit"] == 3
    assert "did you mean 'server'?" in [c["hint"] for c in data["checks"]]


def test_doctor_notices_a_port_that_is_taken(run: Run, config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        monkeypatch.setenv("GRIDPARLEY_SERVER_HTTP_LISTEN", f"127.0.0.1:{port}")
        code, text = run("doctor", config)
    assert code == 1
    assert f"127.0.0.1:{port} cannot be listened on" in text


def test_doctor_notices_packages_that_another_project_shadows(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    owners = {"adapters": ["adapters", "gridparley"]}
    monkeypatch.setattr(checkup.importlib.metadata, "packages_distributions", lambda: owners)
    origin = checkup._origin
    monkeypatch.setattr(checkup, "_origin", lambda name: tmp_path if name == "interop" else origin(name))
    checks = {check.name: check for check in check_installation()}
    assert checks["package interop"].verdict == "error"
    assert checks["package adapters"].verdict == "warning"
    assert "pip uninstall adapters" in checks["package adapters"].hint
    assert checks["package datamodels"].verdict == "ok"


def test_a_configuration_that_is_wrong_or_missing_has_exit_code_3(run: Run, tmp_path: Path) -> None:
    for command in (["serve"], ["replay"], ["backup"], ["peer", "list"]):
        more = [tmp_path / "copy"] if command == ["backup"] else []
        code, error = run(*command, tmp_path / "none.toml", *more, "--json")
        assert (code, error["exit"]) == (3, 3)
        assert "gridparley init" in error["error"]


def test_peers_are_kept_without_a_running_server(run: Run, config: Path) -> None:
    key = "cs1." + "A" * 86 + "=="
    assert run("peer", "list", config)[1].startswith("no peers")
    code, data = run("peer", "add", config, "dso.example.org", "--role", "dso", "--key", key, "--json")
    assert (code, data) == (0, {"id": "dso.example.org", "status": "active"})
    assert run("peer", "revoke", config, "dso.example.org")[0] == 0
    (row,) = run("peer", "list", config, "--json")[1]
    assert (row["id"], row["status"], row["keys"]) == ("dso.example.org", "barred", 1)
    code, text = run("peer", "revoke", config, "dso.example.com")
    assert code == 1
    assert "did you mean 'dso.example.org'?" in text
    code, text = run("peer", "add", config, "x.org", "--role", "DSO", "--key", "no key")
    assert code == 2
    assert "cs1." in text


async def test_peers_are_changed_through_the_running_server(
    run: Run, config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = Server(load_config(config))
    await server.start()
    try:
        monkeypatch.setenv("GRIDPARLEY_SERVER_HTTP_LISTEN", server.http_address)
        code, _ = await asyncio.to_thread(run, "peer", "add", config, "dso.example.org", "--role", "DSO")
        assert code == 0
        assert "dso.example.org" in server.peers
        _, text = await asyncio.to_thread(run, "peer", "list", config)
        assert "dso.example.org" in text
        _, text = await asyncio.to_thread(run, "doctor", config)
        assert "in use by a running server" in text
        monkeypatch.setenv("GRIDPARLEY_SERVER_HTTP_LISTEN", "127.0.0.1:1")
        code, text = await asyncio.to_thread(run, "peer", "list", config)
        assert code == 4
        assert "does not answer at 127.0.0.1:1" in text
    finally:
        await server.stop()


def test_serving_data_that_another_process_serves_has_exit_code_4(run: Run, config: Path) -> None:
    folder = load_config(config).server.data_dir
    folder.mkdir()
    root = logging.getLogger()
    before, level = root.handlers[:], root.level
    try:
        with (folder / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            code, text = run("serve", config)
    finally:
        root.handlers[:] = before
        root.setLevel(level)
    assert code == 4
    assert "in use by another gridparley process" in text
    assert "gridparley doctor" in text


@pytest.fixture
async def recorded(config: Path) -> Path:
    """A configuration whose data holds three events."""
    store = await Store.open(load_config(config).server.data_dir)
    await store.commit(Batch(events=tuple(Event("hello", NOW, {"n": n}) for n in range(3))))
    await store.close()
    return config


async def test_replay_verifies_and_prints_the_log(run: Run, recorded: Path) -> None:
    code, data = await asyncio.to_thread(run, "replay", recorded, "--json", "--after", 1)
    assert (code, data["intact"], data["kinds"]) == (0, True, {"hello": 3})
    assert [event["data"]["n"] for event in data["log"]] == [1, 2]
    code, text = await asyncio.to_thread(run, "replay", recorded, "--quiet", "--head", data["head"])
    assert code == 0
    assert "chain intact" in text
    assert '"n"' not in text
    code, text = await asyncio.to_thread(run, "replay", recorded, "--head", "0" * 64)
    assert code == 1
    assert "cut off or replaced" in text


async def test_replay_and_doctor_find_a_log_that_was_tampered_with(run: Run, recorded: Path) -> None:
    connection = sqlite3.connect(load_config(recorded).server.data_dir / MAIN_FILE)
    connection.execute("DROP TRIGGER events_fix")
    connection.execute("UPDATE events SET data = '{}' WHERE seq = 2")
    connection.commit()
    connection.close()
    code, data = await asyncio.to_thread(run, "replay", recorded, "--json")
    assert (code, data["intact"], data["problems"]) == (1, False, ["event 2: the event was altered"])
    code, text = await asyncio.to_thread(run, "doctor", recorded)
    assert code == 1
    assert "event 2: the event was altered" in text


async def test_a_backup_is_checked_and_never_overwritten(run: Run, recorded: Path, tmp_path: Path) -> None:
    code, data = await asyncio.to_thread(run, "backup", recorded, tmp_path / "copy", "--json")
    assert (code, data["events"]) == (0, 3)
    assert stat.S_IMODE((tmp_path / "copy" / MAIN_FILE).stat().st_mode) == 0o600
    code, text = await asyncio.to_thread(run, "backup", recorded, tmp_path / "copy")
    assert code == 2
    assert "exists already" in text


def test_reading_data_that_is_not_there_has_exit_code_4(run: Run, config: Path) -> None:
    code, text = run("replay", config)
    assert code == 4
    assert "has a server run" in text
