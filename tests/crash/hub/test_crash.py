"""The process is killed (SIGKILL) at every named point; afterwards nothing acknowledged is lost or done twice."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from interop.crashpoints import POINTS
from interop.store import InboxState, OutboxState

_SUPPORT = Path(__file__).parents[2] / "support" / "hub.py"
_IDS = ["m1", "m2", "m3"]


def _run_until_killed(folder: Path, point: str) -> list[str]:
    """The ids that were acknowledged before the process died at the point."""
    folder.mkdir(exist_ok=True)
    environment = os.environ | {"GRIDPARLEY_CRASH_AT": point, "PYTHONPATH": str(Path(__file__).parents[3])}
    command = [sys.executable, str(_SUPPORT), str(folder), *_IDS]
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == -9, f"{point} was never reached: {ended.stdout} {ended.stderr}"
    return [line.split()[0] for line in ended.stdout.splitlines()]


@pytest.mark.parametrize("point", [*sorted(POINTS), "after_effects_commit:2", "after_delivery_before_mark:3"])
async def test_a_kill_loses_nothing_and_doubles_nothing(
    begin: Callable[..., Awaitable[Any]], kit: Any, tmp_path: Path, point: str
) -> None:
    folder = tmp_path / "data"
    acknowledged = await asyncio.to_thread(_run_until_killed, folder, point)

    again = await begin()
    await again.quiet()
    handled = {row.message_id for row in await again.store.messages() if row.state == InboxState.DONE}
    assert handled.issuperset(acknowledged), "an acknowledged message was lost"

    # The peer sends whatever was not acknowledged, and, to be sure, what was.
    for id in _IDS:
        await again.hub.receive(kit.incoming(id))
    await again.quiet()
    assert again.desk.count == 3
    events = Counter(e.kind for e in await again.store.events())
    assert (events["message.in"], events["message.out"], events["counted"]) == (3, 3, 3)
    instructed = Counter(e.data["dispatch"] for e in await again.store.events(kinds=("dispatch.instructed",)))
    assert instructed == {f"d-{id}": 1 for id in _IDS}
    assert (await again.store.counts())["outbox"] == {
        OutboxState.PENDING: 0,
        OutboxState.DELIVERED: 3,
        OutboxState.DEAD: 0,
    }
    delivered = set(again.messenger.delivered) | _said(folder, "deliver")
    assert delivered == {f"re-{id}" for id in _IDS}
    applied = {id for id, _ in again.actuator.applied} | _said(folder, "apply")
    assert applied == {f"d-{id}" for id in _IDS}
    assert (await again.store.verify_chain()).intact


def _said(folder: Path, verb: str) -> set[str]:
    """What the killed process had told the world outside."""
    lines = [line.split() for line in (folder / "sink").read_text().splitlines()]
    return {words[1] for words in lines if words[0] == verb}


def test_a_point_that_does_not_exist_is_refused(tmp_path: Path) -> None:
    environment = os.environ | {"GRIDPARLEY_CRASH_AT": "nowhere", "PYTHONPATH": str(Path(__file__).parents[3])}
    ended = subprocess.run(
        [sys.executable, "-c", "import interop.crashpoints"],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ended.returncode == 1
    assert "the points are after_delivery_before_mark" in ended.stderr
