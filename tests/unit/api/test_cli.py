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
    assert [word in text for word in ("ACCEPTED", "-1.0 kWh", "2.50 EUR", "2.5000")] == [True] * 4, text
    assert code == 0
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


async def test_trading_by_hand_from_the_command_line(serve: Any, run: Run, kit: Any, tmp_path: Path) -> None:
    await serve()
    code, text = await run("flex", "prognosis", "--day", "2026-05-21", "--stretch", "1-40=20kW")
    assert (code, "ISPs 41, 42" in text and "are missing" in text) == (1, True), text
    whole = ["--day", "2026-05-21", "--stretch", "1-40=20kW", "--stretch", "41-96=-1.5kW"]
    code, row = await run("flex", "prognosis", *whole, "--json")
    assert (code, row["kind"], row["message"]["power"]["runs"]) == (0, "Prognosis", [[1, 40, 20000], [41, 56, -1500]])
    code, text = await run("flex", "prognosis", *whole)
    assert (code, "was said before, to dso.example.org" in text) == (0, True)
    soon = "2026-05-20T10:03:00+00:00"  # on a clock that hardly moves, later than any wall clock can tell
    one = ["--day", "2026-05-21", "--expires", soon, "--isps", "60-61,70", "--reduce", "5kW", "--price", "1.20"]
    code, row = await run("flex", "offer", *one, "--min-activation", "0.5", "--json")
    assert code == 0, row
    (option,) = row["message"]["options"]
    assert (code, row["message"]["unsolicited"], option["min_activation"]) == (0, True, "0.5")
    assert option["power"]["runs"] == [[60, 2, -5000], [70, 1, -5000]]
    words = {
        "period": "2026-05-21",
        "expires": soon,
        "options": [{"price": "1", "isps": [{"start": 80, "power_w": 1000}]}] * 2,
    }
    (tmp_path / "offer.json").write_text(json.dumps(words))
    code, text = await run("flex", "offer", "--file", str(tmp_path / "offer.json"))
    assert (code, "is in the outbox for dso.example.org" in text) == (0, True), text
    code, text = await run("flex", "status", "--all")
    assert [text.count(word) for word in ("prognoses", "offers", "FlexRequest")] == [1, 1, 0], text
    code, rows = await run("flex", "status", "--json")
    assert [len(row["options"]) for row in rows["offers"]] == [1, 2]


@pytest.mark.parametrize(
    ("words", "code", "text"),
    [
        (["request", "--day", "2026-05-21", "--isps", "45-52", "--reduce", "20kW"], 1, "only a DSO asks"),
        (["request", "--isps", "52-45", "--reduce", "20kW"], 2, "end before they begin"),
        (["request", "--isps", "x"], 2, "write them as 45-52"),
        (["request", "--reduce", "much"], 2, "write it as 20kW"),
        (["request", "--reduce", "0.5W"], 2, "not a whole number of W"),
        (["request", "--isps", "1", "--reduce", "1", "--increase", "1"], 2, "not both"),
        (["request", "--isps", "1"], 2, "--isps goes with"),
        (["request", "--day", "tomorrow"], 2, "write it as 2026-01-31"),
        (["offer", "--isps", "1", "--reduce", "1kW"], 2, "and --price"),
        (["order", "--contract", "c1"], 1, "only a DSO orders"),
        (["prognosis", "--stretch", "1-96"], 2, "has no power"),
        (["metering", "--connection", "ean.1", "--day", "2026-05-19", "--power", "1"], 1, "is no EAN"),
        (["settle", "--first", "2026-05-19"], 1, "only a DSO settles"),
        (["reserve", "--contract", "c1", "--day", "2026-05-21", "--stretch", "1=0"], 1, "only a DSO updates"),
        (["query", "--day", "2026-05-21"], 1, "which CRO? Name the peer"),
        (["revoke", "x"], 1, "we made no offer x"),
    ],
)
async def test_words_that_cannot_be_said(serve: Any, run: Run, words: list[str], code: int, text: str) -> None:
    await serve()
    got, said = await run("flex", *words)
    assert (got, text in " ".join(said.split())) == (code, True), said


async def test_a_file_must_hold_an_object(serve: Any, run: Run, tmp_path: Path) -> None:
    await serve()
    for content, word in (("[]", "holds no JSON object"), ("{", "is no JSON")):
        (tmp_path / "body.json").write_text(content)
        code, text = await run("flex", "publish", "--file", str(tmp_path / "body.json"))
        assert (code, word in text) == (2, True), text
