"""The harness judged by made-up contestants, and the shape of every bench's result (figures are not judged here)."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import pytest
from aiohttp import web
from click.testing import CliRunner

from interop.bench import BENCHES, CannotMeasure, Report, Row, Scale, Target, load_all
from interop.bench.cli import bench
from interop.bench.full_model import solve_full
from interop.bench.measure import Sample, cpu_s, in_turn, post_all, quantile
from interop.bench.registry import Bench
from optimiser import Limits, plan
from optimiser.synthetic import neighbourhood

KEYS = ["case", "ours", "peer", "peer_name", "unit", "ratio", "target", "holds"]


async def test_contestants_take_turns_and_are_added_up() -> None:
    order: list[str] = []

    def contestant(name: str, wall_s: float):
        async def run() -> Sample:
            order.append(name)
            return Sample(10, wall_s, 0.5, (0.1, 0.2))

        return run

    taken = await in_turn({"a": contestant("a", 2.0), "b": contestant("b", 1.0)}, 3)
    assert order == ["a", "b", "a", "b", "a", "b"]
    assert taken["a"] == Sample(30, 6.0, 1.5, (0.1, 0.2) * 3)
    assert (taken["a"].per_s, taken["b"].per_s, taken["a"].cpu_each_s) == (5.0, 10.0, 0.05)


@pytest.mark.parametrize(
    ("row", "ratio", "holds"),
    [
        (Row("c", "ms", 2.0, 4.0, "p", Target("<=", 2.0)), 0.5, True),
        (Row("c", "ms", 2.1, 4.2, "p", Target("<=", 2.0)), 0.5, False),
        (Row("c", "ms", 3.0, 2.0, "p", Target("<=", 1.5, "ratio")), 1.5, True),
        (Row("c", "1/s", 3.0, 2.0, "p", Target(">=", 1.6, "ratio")), 1.5, False),
        (Row("c", "ms", 3.0, target=Target("<=", 1.5, "ratio")), None, None),
        (Row("c", "ms", 3.0), None, None),
    ],
)
def test_a_row_compares_and_judges(row: Row, ratio: float | None, holds: bool | None) -> None:
    assert (row.ratio, row.holds) == (ratio, holds)
    assert list(row.as_dict()) == KEYS


def test_cpu_time_of_a_process_grows_with_its_work() -> None:
    before, until = cpu_s(os.getpid()), time.process_time() + 0.05
    while time.process_time() < until:
        pass
    assert 0.03 <= cpu_s(os.getpid()) - before < 2.0
    with pytest.raises(CannotMeasure, match="cannot be read"):
        cpu_s(2**30)


def test_quantiles() -> None:
    values = [float(n) for n in range(101)]
    assert (quantile(values, 50), quantile(values, 99)) == (50.0, 99.0)


async def test_every_body_is_posted_once_and_a_wrong_answer_is_told() -> None:
    heard: list[bytes] = []

    async def handle(request: web.Request) -> web.Response:
        heard.append(await request.read())
        return web.Response(status=503 if heard[-1] == b"bad" else 200, text="why")

    app = web.Application()
    app.router.add_post("/", handle)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    url = f"http://127.0.0.1:{runner.addresses[0][1]}/"
    try:
        latencies = await post_all(url, [b"1", b"2", b"3"], 2, "text/plain")
        assert sorted(heard) == [b"1", b"2", b"3"]
        assert len(latencies) == 3
        with pytest.raises(CannotMeasure, match="answers 503 where 200 is expected: why"):
            await post_all(url, [b"bad"], 2, "text/plain")
        with pytest.raises(CannotMeasure, match="answers 200 where 200"):
            await post_all(url, [b"4"], 1, "text/plain", expect=b"because")
    finally:
        await runner.cleanup()
    with pytest.raises(CannotMeasure, match="ClientConnector"):
        await post_all("http://127.0.0.1:1/", [b"5"], 1, "text/plain")


@pytest.mark.parametrize("homes", [1, 6])
def test_the_plain_programme_has_the_same_optimum(homes: int) -> None:
    portfolio, limits, tariffs = neighbourhood(homes, 5)
    for bounds in (limits, Limits.none(1, 96)):
        ours = plan(portfolio, bounds, tariffs)
        plain = solve_full(portfolio, bounds, tariffs)
        assert ours.bound_eur - 1e-6 <= plain <= ours.cost_eur + 1e-6


@pytest.mark.parametrize("name", ["uftp", "openadr2", "openadr2-signed", "openadr3", "optimiser", "store"])
def test_a_quick_run_gives_a_result_of_the_agreed_shape(name: str, tmp_path: Path) -> None:
    file = tmp_path / "result.json"
    environment = {"GRIDPARLEY_SHAPESHIFTER_PYTHON": None}
    done = CliRunner().invoke(bench, [name, "--quick", "--json", str(file)], env=environment)
    assert done.exit_code == 0, done.output
    result = json.loads(file.read_text(encoding="utf-8"))
    assert list(result) == ["bench", "how", "rows"]
    assert result["bench"] == name
    assert "{" not in result["how"]
    assert result["rows"]
    for row in result["rows"]:
        assert list(row) == KEYS
        assert row["ours"] >= 0 or row["unit"] == "share"
        assert (row["peer"] is None) == (row["peer_name"] is None) == (row["ratio"] is None)
        assert row["unit"]
        assert row["target"] is not None or row["holds"] is None
    assert ("CPU" in str(result["rows"])) is ("wall" in str(result["rows"])) is True
    if name == "uftp":
        assert "GRIDPARLEY_SHAPESHIFTER_PYTHON is not set" in result["how"]


def test_what_cannot_be_measured_is_told_and_the_others_are_run(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    async def broken(scale: Scale) -> Report:
        raise CannotMeasure("no disk")

    async def whole(scale: Scale) -> Report:
        return Report("whole", "made up", (Row("c", "ms", 1.0 if scale.quick else 2.0),))

    load_all()
    monkeypatch.setattr("interop.bench.cli.load_all", lambda: made)
    made = {name: Bench(name, "made up", run) for name, run in (("broken", broken), ("whole", whole))}
    file = tmp_path / "all.json"
    done = CliRunner().invoke(bench, ["all", "--quick", "--json", str(file)])
    assert done.exit_code == 1
    assert "broken could not be measured: no disk" in done.output
    assert [r["rows"][0]["ours"] for r in json.loads(file.read_text(encoding="utf-8"))] == [1.0]
    assert CliRunner().invoke(bench, ["whol"]).exit_code == 2
    assert CliRunner().invoke(bench, ["list"]).output.split("\n")[0].split() == ["broken", "made", "up"]


def test_the_benches_have_summaries() -> None:
    assert {*load_all()} >= {"uftp", "openadr2", "openadr3", "optimiser", "store"}
    assert all(one.summary.endswith(".") for one in BENCHES.values())
