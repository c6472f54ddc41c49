"""Processes of a run: started, watched, and ended whatever happens."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

__all__ = ["Fleet", "ProcessFailed"]

_GRACE_S = 5.0


class ProcessFailed(RuntimeError):
    """A process ended, or did not become ready, when it should run; the text names its log."""


@dataclass(slots=True)
class _Child:
    name: str
    process: asyncio.subprocess.Process
    log: Path
    expected_to_end: bool = False


@dataclass(slots=True)
class Fleet:
    """Children in sessions of their own, output in `logs/<name>.log`."""

    logs: Path
    children: dict[str, _Child] = field(default_factory=dict)

    async def start(self, name: str, *arguments: str, env: dict[str, str] | None = None) -> None:
        """Start `python -m …`; nothing is waited for."""
        self.logs.mkdir(parents=True, exist_ok=True)
        log = self.logs / f"{name}.log"
        with log.open("ab") as output:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                *arguments,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output,
                stderr=asyncio.subprocess.STDOUT,
                start_new_session=True,
                env={**os.environ, **(env or {})},
            )
        self.children[name] = _Child(name, process, log)

    async def json_lines(self, name: str, count: int, within_s: float) -> list[dict[str, Any]]:
        """Wait until a child has printed `count` JSON objects, one a line, and return them.

        Raises:
            ProcessFailed: it ended first, or took longer.
        """
        child = self.children[name]
        deadline = asyncio.get_running_loop().time() + within_s
        while asyncio.get_running_loop().time() < deadline:
            lines = child.log.read_text(encoding="utf-8", errors="replace").splitlines()
            found = [json.loads(line) for line in lines if line.startswith("{") and line.endswith("}")]
            if len(found) >= count:
                return found
            self.check(name)
            await asyncio.sleep(0.05)
        raise ProcessFailed(f"{name} was not ready within {within_s:.0f} s; see {child.log}")

    def check(self, *names: str) -> None:
        """Raise ProcessFailed where a child (all of them by default) ended that should run."""
        for name in names or tuple(self.children):
            child = self.children[name]
            code = child.process.returncode
            if code is not None and not child.expected_to_end:
                tail = child.log.read_text(encoding="utf-8", errors="replace").strip().splitlines()[-5:]
                raise ProcessFailed(
                    f"{name} ended with status {code}; its log {child.log} closes with: {' | '.join(tail)}"
                )

    async def kill(self, name: str) -> None:
        """End a child at once, as a power cut would."""
        child = self.children[name]
        child.expected_to_end = True
        if child.process.returncode is None:
            os.killpg(child.process.pid, signal.SIGKILL)
        await child.process.wait()

    async def stop(self, *names: str) -> None:
        """Ask children (all of them by default) to end; those that do not within five seconds are killed."""
        chosen = [self.children[n] for n in names] if names else list(self.children.values())
        for child in chosen:
            child.expected_to_end = True
            if child.process.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(child.process.pid, signal.SIGTERM)
        try:
            async with asyncio.timeout(_GRACE_S):
                await asyncio.gather(*(child.process.wait() for child in chosen))
        except TimeoutError:
            for child in chosen:
                if child.process.returncode is None:
                    with contextlib.suppress(ProcessLookupError):
                        os.killpg(child.process.pid, signal.SIGKILL)
                    await child.process.wait()
