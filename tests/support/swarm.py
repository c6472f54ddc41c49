"""Agents of synthetic homes in a process of their own, each with its own connection:

    python -m support.swarm URL COUNT SEED ISPS LEAST FOLDER LATE < tokens.json    ({"17": "token", …} by home)

Homes in LATE (comma-separated) fall silent from round 2 on, connected all the while.
"""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

from support.agents import agent, homes


async def main(url: str, count: int, seed: int, isps: int, least: int, folder: Path, late: set[str]) -> None:
    tokens = json.load(sys.stdin)
    households, _, _ = homes(count, seed, isps)
    runs = []
    for number, token in tokens.items():
        one = agent(households[int(number)], folder / number, least=least)
        if number in late:
            one._propose = _silenced(one._propose)  # type: ignore[method-assign]
        runs.append(one.run(url, token))
    await asyncio.gather(*runs)


def _silenced(propose: Any) -> Any:
    async def answer(data: Any, socket: Any) -> None:
        if data["round"] < 2:
            await propose(data, socket)

    return answer


if __name__ == "__main__":
    url, count, seed, isps, least, folder, late = sys.argv[1:]
    asyncio.run(main(url, int(count), int(seed), int(isps), int(least), Path(folder), set(late.split(","))))
