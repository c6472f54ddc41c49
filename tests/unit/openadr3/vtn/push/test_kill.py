"""A server that is killed after an event was acknowledged and before it was delivered."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

from support.openadr3_push import Receiver, until, world

ROOT = Path(__file__).resolve().parents[5]
PROGRAM = """
import asyncio, sys
from pathlib import Path
from support.openadr3_push import QUICK, programme, world
from adapters.openadr3.vtn.access import Viewer
from datamodels import ProgrammeEvent

async def main():
    async with world(Path(sys.argv[1])) as here:
        for n in range(5):
            await here.subscribe(Viewer("utility", is_bl=True), f"{sys.argv[2]}{n}", ["EVENT"])
        await here.put(programme(), *(ProgrammeEvent(id=f"e{n}", programme="p") for n in range(3)))
        print("acknowledged", flush=True)
        await asyncio.sleep(60)

asyncio.run(main())
"""


async def test_what_was_acknowledged_is_delivered_after_a_kill(tmp_path: Path) -> None:
    held_up = asyncio.Event()

    def pause(path: str) -> float:
        held_up.set()
        return 0.0 if path == "cb0" else 60.0

    async with Receiver(pause_s=pause) as receiver:
        environment = {**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}"}
        server = await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", PROGRAM, str(tmp_path), receiver.url("cb")),
            stdout=asyncio.subprocess.PIPE,
            env=environment,
        )
        assert server.stdout is not None
        assert await server.stdout.readline() == b"acknowledged\n"
        await asyncio.wait_for(held_up.wait(), 10)
        await until(lambda: len(receiver.calls) == 3)
        server.kill()
        await server.wait()
        receiver.pause_s = lambda path: 0.0
        async with world(tmp_path):
            await until(lambda: all(len(receiver.at(f"cb{n}")) >= 3 for n in range(5)))
    for n in range(5):
        told = list(dict.fromkeys((call.id, call.json["object"]["id"]) for call in receiver.at(f"cb{n}")))
        assert [id for _, id in told] == ["e0", "e1", "e2"]  # none lost; what came twice has the same id
