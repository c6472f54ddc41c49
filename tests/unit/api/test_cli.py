"""`gridparley event` and `gridparley flex` against a running server: results, errors and exit codes."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from interop.cli import main
from interop.effects import Put

Run = Callable[..., Awaitable[tuple[int, Any]]]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Run a command beside the server; exit code, and output (parsed, with --json)."""

    async def call(group: str, command: str, *arguments: str) -> tuple[int, Any]:
        words = [group, command, str(tmp_path / "gridparley.toml"), *arguments]
        result = await asyncio.to_thread(CliRunner().invoke, main, words)
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
        text = result.stdout or result.stderr
        return result.exit_code, json.loads(text) if "--json" in arguments else text

    return call


CREATE = ["battery-1", "--kind", "SETPOINT", "--value", "-3000", "--minutes", "30", "--id", "d1"]


async def test_an_event_is_created_listed_and_cancelled(serve: Any, run: Run) -> None:
    await serve()
    assert await run("event", "list") == (0, "no events; gridparley event create\n")
    code, text = await run("event", "create", *CREATE)
    assert (code, "d1: battery-1 SETPOINT -3000 until 2026-05-20T10:30:00+00:00 is " in text) == (0, True)
    code, row = await run("event", "create", *CREATE[:-1], "d2", "--start", "2026-05-20T13:00:00+02:00", "--json")
    assert (code, row["id"], row["start"]) == (0, "d2", "2026-05-20T11:00:00+00:00")
    code, rows = await run("event", "list", "--json")
    assert {row["id"] for row in rows["dispatches"]} == {"d1", "d2"}
    code, text = await run("event", "cancel", "d1")
    assert (code, "WITHDRAWN" in text) == (0, True)
    code, problem = await run("event", "cancel", "d1", "--json")
    assert (code, "withdrawn already" in problem["error"]) == (1, True)


async def test_limits_are_imposed_on_the_only_congestion_point(serve: Any, run: Run, kit: Any) -> None:
    server = await serve()
    code, rows = await run("event", "limit", "--import-w", "4000", "--export-w", "0", "--minutes", "60", "--json")
    assert code == 0
    assert [(row["kind"], row["intervals"][0]["value"]) for row in rows] == [
        ("IMPORT_LIMIT", "4000"),
        ("EXPORT_LIMIT", "0"),
    ]
    assert {target["id"] for row in rows for target in row["targets"]} == {kit.point}
    assert len(server.desk.signals) == 2
    code, text = await run("event", "list")
    assert (code, text.count(kit.point), text.count("active")) == (0, 2, 2)
    code, text = await run("event", "cancel", rows[0]["id"])
    assert (code, "cancelled" in text) == (0, True)


@pytest.mark.parametrize(
    ("words", "code", "text"),
    [
        (["create", "battery-2", *CREATE[1:]], 1, "did you mean 'battery-1'?"),
        (["create", *CREATE, "--start", "now"], 2, "is not a time"),
        (["create", *CREATE, "--start", "2026-05-20T13:00"], 2, "has no time zone"),
        (["limit", "--minutes", "5"], 2, "give --import-w, --export-w, or both"),
        (["limit", "--minutes", "5", "--import-w", "1", "--congestion-point", "ean.9"], 1, "unknown congestion_point"),
        (["cancel", "nothing"], 1, "no signal is called nothing"),
    ],
)
async def test_errors_say_what_is_wrong(serve: Any, run: Run, words: list[str], code: int, text: str) -> None:
    await serve()
    got, said = await run("event", *words)
    assert (got, text in said) == (code, True), said


async def test_flex_shows_the_trade_and_takes_an_offer_back(serve: Any, run: Run, kit: Any) -> None:
    server = await serve()
    assert await run("flex", "status") == (0, "nothing was traded yet\n")
    offer = kit.offer()
    effects = [Put(*kit.said(offer))]
    server.desk.book.apply(effects)
    await server.hub.do(effects)
    code, text = await run("flex", "status")
    assert (code, "ACCEPTED  1: -1.0 kWh for 2.50 EUR" in text) == (0, True), text
    code, answer = await run("flex", "revoke", offer.head.message_id, "--json")
    assert (code, answer["peer"]) == (0, kit.dso)
    code, text = await run("flex", "revoke", offer.head.message_id)
    assert (code, "is revoked already" in text) == (1, True)
    assert (await run("flex", "status", "--json"))[1]["offers"][0]["state"] == "REVOKED"


async def test_without_a_server_or_a_configuration(serve: Any, run: Run) -> None:
    server = await serve()
    await server.stop()
    for words in (["flex", "status"], ["event", "list"]):
        code, problem = await run(*words, "--json")
        assert (code, "gridparley serve" in problem["hint"]) == (4, True)
    server.config.server.data_dir.parent.joinpath("gridparley.toml").write_text("nonsense = 1")
    assert (await run("event", "list"))[0] == 3
