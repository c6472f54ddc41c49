"""Measuring: contestants in turn, CPU time of another process, and load over keep-alive connections."""

from __future__ import annotations

import asyncio
import os
import ssl
import statistics
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import aiohttp

from interop.bench.report import CannotMeasure

__all__ = ["Contestant", "Sample", "cpu_s", "in_turn", "post_all", "quantile"]


@dataclass(frozen=True, slots=True)
class Sample:
    """`count` pieces of work, the wall and CPU seconds they took, and (where asked for) the seconds of each."""

    count: int
    wall_s: float
    cpu_s: float
    latencies_s: tuple[float, ...] = ()

    @property
    def per_s(self) -> float:
        return self.count / self.wall_s

    @property
    def cpu_each_s(self) -> float:
        return self.cpu_s / self.count


Contestant = Callable[[], Awaitable[Sample]]


async def in_turn(contestants: Mapping[str, Contestant], rounds: int) -> dict[str, Sample]:
    """Run all contestants `rounds` times in the order A B A B …; what each did altogether.

    Slow phases of the machine so meet everybody. The clock only runs within a contestant's own turn.
    """
    taken: dict[str, list[Sample]] = {name: [] for name in contestants}
    for _ in range(rounds):
        for name, contestant in contestants.items():
            taken[name].append(await contestant())
    return {name: _together(samples) for name, samples in taken.items()}


def _together(samples: Sequence[Sample]) -> Sample:
    return Sample(
        sum(s.count for s in samples),
        sum(s.wall_s for s in samples),
        sum(s.cpu_s for s in samples),
        tuple(x for s in samples for x in s.latencies_s),
    )


def cpu_s(pid: int) -> float:
    """CPU seconds that a process has used, all its threads, user and system; in steps of a clock tick (10 ms).

    Raises:
        CannotMeasure: there is no /proc, or no such process.
    """
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace")
    except OSError as error:
        raise CannotMeasure(f"the CPU time of process {pid} cannot be read (Linux only): {error}") from error
    after_name = text.rpartition(")")[2].split()
    return (int(after_name[11]) + int(after_name[12])) / os.sysconf("SC_CLK_TCK")


def quantile(values: Sequence[float], percent: int) -> float:
    """A percentile, 1..99."""
    return statistics.quantiles(values, n=100, method="inclusive")[percent - 1]


async def post_all(
    url: str,
    bodies: Iterable[bytes],
    connections: int,
    content_type: str,
    expect: bytes = b"",
    tls: ssl.SSLContext | None = None,
) -> tuple[float, ...]:
    """Post each body once over `connections` keep-alive connections, each waiting for its answer; seconds of each.

    `tls` is what an https address is talked to with.

    Raises:
        CannotMeasure: an answer is not 200, or does not contain `expect`.
    """
    queue, latencies = iter(bodies), list[float]()
    headers = {"Content-Type": content_type}

    async def one_connection(session: aiohttp.ClientSession) -> None:
        for body in queue:
            began = time.perf_counter()
            async with session.post(url, data=body, headers=headers) as response:
                answer = await response.read()
            latencies.append(time.perf_counter() - began)
            if response.status != 200 or expect not in answer:
                text = answer[:300].decode("utf-8", "replace")
                raise CannotMeasure(f"{url} answers {response.status} where 200 is expected: {text}")

    connector, patience = aiohttp.TCPConnector(limit=connections, ssl=tls or True), aiohttp.ClientTimeout(total=60)
    async with aiohttp.ClientSession(connector=connector, timeout=patience) as session:
        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(connections):
                    group.create_task(one_connection(session))
        except ExceptionGroup as errors:  # not except*: Python before 3.11.3 wraps what is raised in it
            first = errors.exceptions[0]
            if isinstance(first, CannotMeasure):
                raise first from errors
            if isinstance(first, aiohttp.ClientError | TimeoutError):
                raise CannotMeasure(f"{url}: {first!r}") from errors
            raise
    return tuple(latencies)
