"""Processes that are measured: our own server as a user runs it, and the peers."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp

from adapters.uftp import SigningKey
from interop.bench.report import CannotMeasure

__all__ = ["Process", "ServedParty", "process", "serve", "write_key"]

_START_S, _STOP_S = 30.0, 10.0


@dataclass(frozen=True, slots=True)
class Process:
    """A running process that says in its first line of JSON where it listens."""

    handle: asyncio.subprocess.Process
    ready: dict[str, Any]

    @property
    def pid(self) -> int:
        return self.handle.pid

    async def ask(self, word: str, patience_s: float = _STOP_S) -> dict[str, Any]:
        """Write a line to the process; its answer, a line of JSON.

        Raises:
            CannotMeasure: it has ended, or says nothing.
        """
        assert self.handle.stdin is not None
        assert self.handle.stdout is not None
        self.handle.stdin.write(f"{word}\n".encode())
        try:
            said = await asyncio.wait_for(self.handle.stdout.readline(), patience_s)
        except TimeoutError:
            said = b""
        if not said:
            raise CannotMeasure(f"the measured process does not answer {word!r}")
        return dict(json.loads(said))


@asynccontextmanager
async def process(
    *command: str, errors: Path | None = None, settings: Mapping[str, str] | None = None, patience_s: float = _START_S
) -> AsyncIterator[Process]:
    """Start a peer, wait for its first line of JSON, end it afterwards. `settings` are added to its environment.

    Raises:
        CannotMeasure: it cannot be started, or says nothing.
    """
    log = (errors or Path("/dev/null")).open("ab")
    try:
        handle = await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=log,
            env={**os.environ, **(settings or {})},
        )
    except OSError as error:
        raise CannotMeasure(f"{command[0]} cannot be started: {error}") from error
    finally:
        log.close()
    try:
        assert handle.stdout is not None
        try:
            text = await asyncio.wait_for(_document(handle.stdout), patience_s)
            ready = dict(json.loads(text))
        except (TimeoutError, ValueError) as error:
            raise CannotMeasure(f"{' '.join(command[:4])} did not get ready: {error!r} {_tail(errors)}") from error
        yield Process(handle, ready)
    finally:
        if handle.returncode is None:
            handle.terminate()
            try:
                await asyncio.wait_for(handle.wait(), _STOP_S)
            except TimeoutError:
                handle.kill()
        await handle.wait()


def _tail(path: Path | None) -> str:
    """The end of what a process complained of."""
    return path.read_text(encoding="utf-8", errors="replace")[-500:] if path else ""


async def _document(stream: asyncio.StreamReader) -> str:
    """One JSON object, on one line or spread over several; what comes before it (a banner) is skipped."""
    text = ""
    while line := (await stream.readline()).decode():
        if not text and not line.startswith("{"):
            continue
        text += line
        if line.rstrip() == "}" or (line.startswith("{") and line.rstrip().endswith("}")):
            break
    return text


def write_key(path: Path, key: SigningKey) -> None:
    """A signing key as a server reads it."""
    path.write_bytes(base64.b64encode(key.secret))
    path.chmod(0o600)


@dataclass(frozen=True, slots=True)
class ServedParty:
    """`gridparley serve` on loopback: its process, the operators' HTTP, and each adapter's first address."""

    pid: int
    http: str
    adapters: dict[str, str]


@asynccontextmanager
async def serve(folder: Path, config: Sequence[str]) -> AsyncIterator[ServedParty]:
    """Run a server with the given lines of configuration, its data in `folder`, as `gridparley serve` would.

    Raises:
        CannotMeasure: it does not start.
    """
    path = folder / "gridparley.toml"
    server = ["[server]", 'data_dir = "data"', 'http_listen = "127.0.0.1:0"', 'log_level = "warning"']
    path.write_text("\n".join([*server, *config]) + "\n", encoding="utf-8")
    command = (sys.executable, "-m", "interop", "serve", str(path), "--json")
    async with process(*command, errors=folder / "serve.log") as running:
        http = str(running.ready["http"])
        async with aiohttp.ClientSession() as session, session.get(f"{http}/api/v1/status") as response:
            status = await response.json()
        addresses = {name: a["listening"][0] for name, a in status["adapters"].items() if a["listening"]}
        yield ServedParty(running.pid, http, addresses)
