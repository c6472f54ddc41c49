"""A client of the standard library alone, written from docs/agents.md, takes part beside our own agents."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path

import numpy as np
import pytest
from support.agents import DAY, agent, connected, homes, serving, until

from interop.agents.floor import Request
from optimiser import Limits


@pytest.mark.foreign
async def test_a_plain_client_is_awarded_what_it_proposed_and_reports(tmp_path: Path) -> None:
    households, _, _ = homes(1, isps=8)
    out = tmp_path / "award.json"
    async with serving(least=1) as (found, inbound):
        token = await found.book.register("plain", "cp")
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-I", str(Path(__file__).with_name("plain_client.py")),
            *found.address.split(":"), token, str(out),
        )  # fmt: skip
        async with connected(found, {"ours": agent(households[0], tmp_path / "0", least=1)}, wait=["ours", "plain"]):
            base = households[0].portfolio.load_kw[0].max()
            limits = Limits(np.full((1, 8), -np.inf), np.full((1, 8), base + 0.4))
            result = await found.floor.negotiate(
                Request(DAY, 15, ["cp"], limits, gap=1e-2, rounds=40, patience_s=20, least=1)
            )
            assert await asyncio.wait_for(process.wait(), 20) == 0
            award = f"{result['negotiation']}.plain"
            await until(lambda: found.book.awards[award].state == "done")
    assert result["gap"] <= 1e-2
    assert inbound.alarms == []
    net = json.loads(out.read_text())
    assert found.book.awards[award].measured_w == tuple(net)
    assert min(net) < 1000, "the limit needs some of its flexibility"
