import asyncio
import base64
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from lxml import etree

from conformance import report
from conformance.case import SUITES, load_suite
from conformance.cli import conform
from conformance.dut import Dut
from conformance.run import run_suite

Serve = Callable[[Any], Awaitable[str]]


@pytest.fixture
async def result(fake_vtn: Any, serve: Serve) -> dict[str, Any]:
    """A run with a pass, a fail, a pass-nonstrict (as a fail of its own kind) and an n-a."""
    dut = Dut(await serve(fake_vtn("event")), "fake", "1", {"HOSTILE_XML": False}, {"ven_name": "top-secret"})
    return report.document(await run_suite(load_suite("openadr2"), dut))


async def test_the_document_holds_all_of_it(result: dict[str, Any]) -> None:
    assert (result["schema"], result["verdict"], result["suite"]["id"]) == (1, "fail", "openadr2")
    assert result["totals"] == {"fail": 1, "n-a": 1, "pass": 8}
    failed = next(r for r in result["results"] if r["verdict"] == "fail")
    bad = [c for s in failed["steps"] for c in s["checks"] if c["result"] == "bad"]
    assert [(c["id"], c["expected"], c["got"]) for c in bad] == [
        ("OADR2-EVT-001.4", "oadrDistributeEvent", "oadrResponse")
    ]
    seen = {e["n"]: base64.b64decode(e["raw"]) for e in failed["events"]}
    assert b"oadrRequestEvent" in seen[bad[0]["events"][0]]
    assert b"oadrResponse" in seen[bad[0]["events"][1]]
    assert result["coverage"]["EiEvent"] == {"cases": 1, "run": 1, "bad": 1}
    assert result["coverage"]["XML hardening"] == {"cases": 1, "run": 0, "bad": 0}
    json.dumps(result)


async def test_settings_are_not_told(result: dict[str, Any]) -> None:
    for case in result["results"]:
        case["events"] = []  # what was sent on the wire is evidence, and holds the name
    assert "top-secret" not in json.dumps(result)


async def test_the_text_says_how_to_see_it_again(result: dict[str, Any]) -> None:
    text = report.text(result, "gridparley conform run openadr2 --against URL")
    assert "again: gridparley conform run openadr2 --against URL --only OADR2-EVT-001" in text
    assert "expected oadrDistributeEvent" in text
    assert text.endswith("verdict: fail (1 fail, 1 n-a, 8 pass)")
    assert text.count("again:") == 1


async def test_junit(result: dict[str, Any]) -> None:
    result["results"][0] |= {"verdict": "error", "reason": "\x00 and \ud800 <&>"}
    suite = etree.fromstring(report.junit(result))
    counts = {name: suite.get(name) for name in ("tests", "failures", "errors", "skipped")}
    assert counts == {"tests": "10", "failures": "1", "errors": "1", "skipped": "1"}
    assert [e.getparent().get("name").split()[0] for e in suite.iter("failure")] == ["OADR2-EVT-001"]
    assert next(suite.iter("error")).get("message") == "� and � <&>"


def test_list() -> None:
    listed = CliRunner().invoke(conform, ["list", "--json"])
    cases = json.loads(listed.stdout)
    assert {c["suite"] for c in cases} == set(SUITES)
    assert len(cases) == sum(len(load_suite(s).cases) for s in SUITES)
    text = CliRunner().invoke(conform, ["list", "uftp"]).stdout
    assert "UFTP-TRN-003  MUST" in text
    assert "OADR2" not in text


@pytest.mark.parametrize(
    ("arguments", "code", "complaint"),
    [
        (["run", "openadr2"], 2, "--against"),
        (["run", "telnet", "--against", "http://x"], 2, "telnet"),
        (["run", "openadr2", "--against", "localhost:1"], 2, "is no URL"),
        (["run", "openadr2", "--against", "http://127.0.0.1:9", "--only", "X"], 2, "no case of openadr2"),
        (["run", "uftp", "--against", "http://127.0.0.1:9", "--set", "x"], 2, "is no setting"),
        (["run", "uftp", "--against", "http://127.0.0.1:9", "--dut", "absent.toml"], 2, "absent.toml"),
        (["run", "uftp", "--against", "http://127.0.0.1:9", "--only", "UFTP-TRN-001"], 4, ""),
    ],
)
def test_exit_codes(arguments: list[str], code: int, complaint: str) -> None:
    ran = CliRunner().invoke(conform, arguments)
    assert ran.exit_code == code
    assert complaint in ran.stderr


async def test_the_command_writes_its_reports(fake_vtn: Any, serve: Serve, tmp_path: Path) -> None:
    async def run(*more: str) -> Any:
        return await asyncio.to_thread(CliRunner().invoke, conform, ["run", "openadr2", "--against", url, *more])

    url = await serve(fake_vtn("event"))
    files = ["--json", str(tmp_path / "r.json"), "--junit", str(tmp_path / "r.xml")]
    ran = await run(*files)
    assert ran.exit_code == 1
    assert "verdict: fail" in ran.stdout
    assert json.loads((tmp_path / "r.json").read_text())["verdict"] == "fail"
    assert etree.fromstring((tmp_path / "r.xml").read_bytes()).get("failures") == "1"
    passed = await run("--only", "OADR2-REG-*", "--json", "-")
    assert passed.exit_code == 0
    assert json.loads(passed.stdout)["totals"] == {"pass": 2}
