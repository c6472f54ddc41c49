"""`gridparley programme` and `gridparley ven` against a running server: results, errors and exit codes."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from interop.cli import main

Run = Callable[..., Awaitable[tuple[int, Any]]]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Run a command beside the server (its words, then what follows the configuration's path)."""

    async def call(command: str, *arguments: str) -> tuple[int, Any]:
        words = [*command.split(), str(tmp_path / "gridparley.toml"), *arguments]
        result = await asyncio.to_thread(CliRunner().invoke, main, words)
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
        text = result.stdout or result.stderr
        return result.exit_code, json.loads(text) if "--json" in arguments else text

    return call


async def test_a_programme_and_its_event_live_and_end(serve: Any, run: Run) -> None:
    await serve()
    assert (await run("programme list"))[1] == "no programmes; gridparley programme create\n"
    code, text = await run("programme create", "Peak", "--market-context", "http://u/peak")
    assert (code, "programme Peak, revision 0" in text) == (0, True)
    limit = ["--kind", "IMPORT_LIMIT", "--value", "4000", "--value", "2000", "--minutes", "15", "--id", "e1"]
    code, text = await run("programme event create", "Peak", *limit, "--target", "VEN_NAME=house-1")
    assert (code, "IMPORT_LIMIT 4" in text, " active " in text) == (0, True, True)
    code, row = await run("programme event show", "Peak", "e1", "--json")
    assert [i["value"] for i in row["signals"][0]["intervals"]] == ["4", "2"]
    assert row["targets"] == [{"kind": "VEN_NAME", "value": "house-1"}]
    more = ["--tolerance", "5", "--ramp-up", "2", "--report", "USAGE/15", "--report", "DEMAND", "--comment", "now"]
    code, row = await run("programme event change", "Peak", "e1", *limit, *more, "--test", "--json")
    assert (code, row["revision"], row["test"], row["tolerance_minutes"]) == (0, 1, True, 5.0)
    assert [r["every_minutes"] for r in row["reports_asked"]] == [15.0, None]
    code, text = await run("programme show", "Peak")
    assert ("http://u/peak" in text, "TEST" in text) == (True, True)
    assert (await run("programme remove", "Peak"))[0] == 1
    assert "cancelled" in (await run("programme event cancel", "Peak", "e1"))[1]
    assert (await run("programme event cancel", "Peak", "e1", "--forget"))[1] == "e1 is forgotten\n"
    assert (await run("programme event list", "Peak"))[1] == "no events; gridparley programme event create\n"
    assert (await run("programme remove", "Peak"))[0] == 0


async def test_an_event_comes_from_a_file_and_options_go_before_it(serve: Any, run: Run, tmp_path: Path) -> None:
    await serve()
    await run("programme create", "Peak")
    path = tmp_path / "event.json"
    path.write_text(json.dumps({"signals": [{"kind": "LEVEL", "value": 1, "minutes": 0}], "comment": "from a file"}))
    code, row = await run("programme event create", "Peak", "--file", str(path), "--priority", "1", "--json")
    assert (code, row["comment"], row["priority"], row["end"]) == (0, "from a file", 1, None)
    assert "SIMPLE" not in (await run("programme event show", "Peak", row["id"]))[1]
    path.write_text("[")
    code, problem = await run("programme event create", "Peak", "--file", str(path), "--json")
    assert (code, "holds no JSON" in problem["error"]) == (2, True)
    path.write_text("[]")
    assert (await run("programme event create", "Peak", "--file", str(path)))[0] == 2


async def test_wrong_use_says_what_is_wrong(serve: Any, run: Run) -> None:
    await serve()
    assert (await run("programme event create", "Peak"))[0] == 2
    assert (await run("programme event create", "Peak", "--kind", "LEVEL"))[0] == 2
    limit = ["--kind", "LEVEL", "--value", "9", "--minutes", "1"]
    code, problem = await run("programme event create", "Peak", *limit, "--json")
    assert (code, "no programme is called 'Peak' (there is none yet)" in problem["error"]) == (1, True)
    await run("programme create", "Peak")
    code, problem = await run("programme event create", "Peak", *limit, "--json")
    assert (code, "no level from 0 to 3" in problem["error"]) == (1, True)


async def test_vens_are_enrolled_shown_and_removed(serve: Any, run: Run) -> None:
    await serve()
    assert (await run("ven list"))[1] == "no VENs; gridparley ven add\n"
    add = ["house-1", "--profile", "2.0b", "--resource", "battery=battery-1", "--target", "GROUP=north"]
    code, row = await run("ven add", *add, "--json")
    assert (code, row["resources"][0]["resource"], row["targets"]) == (
        0,
        "battery-1",
        [{"kind": "GROUP", "value": "north"}],
    )
    assert "2.0b" in (await run("ven list"))[1]
    assert "resource battery, here battery-1" in (await run("ven show", "house-1"))[1]
    assert (await run("ven remove", "house-1"))[0] == 0
    assert (await run("ven show", "house-1"))[0] == 1
