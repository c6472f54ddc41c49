"""The use cases in short, through the command: every check passed, figures hang together, the page asks for nothing."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from support import cdp

from interop.demo.cli import demo


def play(folder: Path, name: str, *more: str) -> dict[str, Any]:
    """Run the command; the report as data."""
    html, data = folder / "report.html", folder / "report.json"
    result = CliRunner().invoke(demo, ["--scenario", name, "--html", str(html), "--json", str(data), *more])
    assert result.exit_code == 0, result.output
    assert "OK" in result.output
    report: dict[str, Any] = json.loads(data.read_text(encoding="utf-8"))
    text = html.read_text(encoding="utf-8")
    assert not re.search(r"<script|https?://|url\(|@import| style=", text), "the page asks for nothing"
    for row in report["indicators"]:
        assert row["definition"]
        assert row["label"] in text
    for figure in report["business"]["figures"]:
        assert figure["formula"] in text.replace("&#39;", "'")
    assert sum(report["business"]["balances"].values()) == pytest.approx(0.0, abs=1e-4)
    assert report["failures"] == []
    assert "Open Database License (ODbL)" in report["notice"]
    assert report["notice"] in text
    return {row["name"]: row["values"] for row in report["indicators"]} | {"report": report}


def test_home(tmp_path: Path) -> None:
    own = tmp_path / "own.toml"
    own.write_text("[home]\nmanager_eur = 0\n")
    found = play(tmp_path, "home", "--days", "1", "--assumptions", str(own))
    cost = found["cost"]
    assert found["bound"]["foresight"] == pytest.approx(cost["foresight"], rel=1e-4)
    assert cost["foresight"] < cost["managed"] < cost["rule"] < cost["idle"]
    assert found["reached"]["managed"] > 85
    assert found["ev_missing"]["managed"] == found["comfort"]["managed"] == 0
    figures = {figure["name"]: figure["value"] for figure in found["report"]["business"]["figures"]}
    assert figures["saving"] == pytest.approx(cost["rule"] - cost["managed"], abs=1e-5)
    assert figures["manager"] == 0


def test_community(tmp_path: Path) -> None:
    found = play(tmp_path, "community", "--days", "1")
    cost = found["cost"]
    assert found["bound"]["foresight"] - 1e-3 <= cost["foresight"] < cost["together"] < cost["alone"] < cost["idle"]
    assert found["worst_member"]["together"] >= 0
    assert found["self_consumption"]["together"] > found["self_consumption"]["alone"] + 10
    members = next(t for t in found["report"]["tables"] if t["title"] == "Members")["rows"]
    assert len(members) == 15
    gain = sum(float(row[4]) for row in members)
    assert gain == pytest.approx(cost["alone"] - cost["together"], abs=len(members))


def test_lvgrid(tmp_path: Path) -> None:
    found = play(tmp_path, "lvgrid", "--days", "1")
    assert found["congested"] == {"idle": 12, "free": 10, "limited": 0, "stressed": 0, "foresight": 0}
    assert found["loading"]["limited"] < 100 < found["loading"]["free"]
    assert found["voltage_high"]["limited"] < found["voltage_high"]["idle"]
    assert 0 < found["unserved"]["stressed"] < 0.2 * found["unserved"]["limited"]
    assert found["missing"]["limited"] == 0
    assert found["cost"]["limited"] > found["bound"]["foresight"] == pytest.approx(found["cost"]["foresight"], rel=1e-4)
    tables = {table["title"]: table["rows"] for table in found["report"]["tables"]}
    curtailed = [float(row[2]) for row in tables["What a margin on the limit costs"]]
    assert curtailed == sorted(curtailed), "the smaller the risk, the wider the margin, the more is curtailed"
    asked, served = (sum(float(row[k]) for row in tables["Who is served in the island"]) for k in (1, 2))
    assert asked - served == pytest.approx(found["unserved"]["stressed"], abs=0.3)
    (day,) = tables["What keeping the limit costs, day by day"]
    figures = {figure["name"]: figure["value"] for figure in found["report"]["business"]["figures"]}
    assert float(day[4]) == pytest.approx(found["cost"]["limited"] - found["cost"]["free"], abs=0.01)
    assert figures["homes_cost"] == pytest.approx(108 * float(day[4]), abs=1)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--scenario", "home", "--keep"], "--keep means nothing to scenario home"),
        (["--scenario", "rural1", "--days", "2"], "--days means nothing to scenario rural1"),
        (["--scenario", "lvgrid", "--days", "15"], "the data holds 14 days"),
    ],
)
def test_options_that_say_nothing_are_refused(arguments: list[str], says: str) -> None:
    result = CliRunner().invoke(demo, arguments)
    assert result.exit_code == 2
    assert says in result.output


def test_assumptions_that_cannot_be_used_stop_it(tmp_path: Path) -> None:
    file = tmp_path / "wrong.toml"
    file.write_text("[home]\nroof = 1\n")
    result = CliRunner().invoke(demo, ["--scenario", "home", "--assumptions", str(file)])
    assert result.exit_code == 2
    assert "home.roof is assumed nowhere" in result.output.replace("\n", " ")


@pytest.mark.browser
async def test_the_report_opens_without_a_word_and_fits(page: cdp.Page, tmp_path: Path) -> None:
    play(tmp_path, "home", "--days", "1")
    shown = "[...document.querySelectorAll('svg')].filter(s => s.getBoundingClientRect().width > 0)"
    for width in (400, 1000):
        await page.send(
            "Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=width < 600
        )
        await page.goto((tmp_path / "report.html").as_uri())
        assert await page.js("document.documentElement.scrollWidth") <= width
        assert await page.js(f"{shown}.length") == 6
        labels = f"Math.min(...{shown}.map(s => s.querySelector('text').getBoundingClientRect().height))"
        assert await page.js(labels) > 9, "labels can be read"
    assert cdp.complaints(page) == []
    asked = {event["request"]["url"].split(":")[0] for event in page.of("Network.requestWillBeSent")}
    assert asked <= {"file", "data"}
