"""Hundreds of agents in processes of their own against one server: a certified plan, though some are late or die."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from support.agents import DAY, homes, serving, until

from interop.agents.floor import Request
from optimiser import interior, plan

TESTS = Path(__file__).parents[2]


@contextlib.asynccontextmanager
async def swarm(
    url: str, tokens: Mapping[str, str], whole: int, isps: int, least: int, folder: Path, late: str = ""
) -> AsyncIterator[asyncio.subprocess.Process]:
    paths = os.pathsep.join([str(TESTS), os.environ.get("PYTHONPATH", ""), str(TESTS.parent)])
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "support.swarm", url, str(whole), "1", str(isps), str(least), str(folder), late,
        stdin=asyncio.subprocess.PIPE, env={**os.environ, "PYTHONPATH": paths, "OPENBLAS_NUM_THREADS": "1"},
    )  # fmt: skip
    assert process.stdin is not None
    process.stdin.write(json.dumps(tokens).encode())
    process.stdin.close()
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def negotiated(
    count: int, isps: int, least: int, gap: float, patience_s: float, folder: Path, *, killed: int, late: int
) -> tuple[dict[str, Any], list[tuple[str, str, str]]]:
    """A negotiation with `count` agents of which some die in round 2 and some fall silent in round 3."""
    _, limits, _ = homes(count, 1, isps)
    ids = [str(n) for n in range(count)]
    async with serving(least=least, patience_s=patience_s) as (found, inbound):
        tokens = {id: await found.book.register(id, "cp") for id in ids}
        url = f"ws://{found.address}/agents"
        parts = [ids[:killed], ids[killed::2], ids[killed + 1 :: 2]]
        async with contextlib.AsyncExitStack() as stack:
            doomed, *_ = [
                await stack.enter_async_context(
                    swarm(url, {id: tokens[id] for id in part}, count, isps, least, folder, ",".join(ids[-late:]))
                )
                for part in parts
                if part
            ]
            await until(lambda: len(found.floor.sessions) == count, 120)
            ask = found.floor._ask

            async def kill(*arguments: Any) -> None:
                if killed and arguments[2] == 1:
                    doomed.kill()
                await ask(*arguments)

            found.floor._ask = kill  # type: ignore[method-assign]
            result = await found.floor.negotiate(
                Request(DAY, 15, ["cp"], limits, gap=gap, least=least, patience_s=patience_s)
            )
    return result, inbound.alarms


def check(result: dict[str, Any], alarms: list[Any], count: int, least: int, gap: float, lost: int) -> None:
    assert result["agents"] == count
    assert result["masked"]
    assert result["gap"] <= gap
    out = [problem for problem in result["problems"] if "is left out" in problem]
    assert 1 <= len(out) <= lost
    assert result["confirmed"] >= count - lost * (count // (count // least) + 1)
    assert result["unconfirmed"] == result["failed"] == []
    assert {rule for _, rule, _ in alarms} == {"agents.silent"}


async def test_some_of_thirty_agents_are_late_and_one_dies(tmp_path: Path) -> None:
    result, alarms = await negotiated(30, 8, 5, 0.05, 6.0, tmp_path, killed=1, late=1)
    check(result, alarms, 30, 5, 0.05, 2)


@pytest.mark.campaign
@pytest.mark.timeout(1800)
async def test_three_hundred_agents_some_late_some_killed(tmp_path: Path) -> None:
    result, alarms = await negotiated(300, 96, 10, 1e-3, 120.0, tmp_path, killed=2, late=2)
    told = {name: result[name] for name in ("gap", "rounds", "groups", "confirmed", "messages", "seconds", "problems")}
    print(json.dumps(told))
    check(result, alarms, 300, 10, 1e-3, 4)
    _, limits, (portfolio, tariffs) = homes(300)
    free = plan(portfolio, limits, tariffs, carrier=interior.in_process)
    assert result["cost_eur"] >= free.bound_eur, "with groups at their baseline nothing gets cheaper than with all free"
