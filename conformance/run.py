"""The engine: which cases apply, running them, and the verdict.

A fault of ours is never the device's: a time-out of our own making, or an exception in our code, is `error`.
"""

from __future__ import annotations

import asyncio
import fnmatch
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from enum import StrEnum

import aiohttp

from conformance.case import Case, Level, Suite, needs_met
from conformance.dut import Dut
from conformance.tester import Event, Inconclusive, Result, Step, Stopped, Tester

__all__ = ["Outcome", "Run", "Verdict", "run_suite"]

_CLEANUP_S = 5.0


class Verdict(StrEnum):
    """In the order in which the worst of a suite decides."""

    FAIL = "fail"
    ERROR = "error"
    INCONCLUSIVE = "inconclusive"
    FIXED = "fixed"  # was expected to fail, and does not: the expectation must go
    WARN = "warn"
    NONSTRICT = "pass-nonstrict"
    XFAIL = "xfail"  # fails as expected
    PASS = "pass"  # noqa: S105
    NOT_APPLICABLE = "n-a"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one case; `reason` explains every verdict that is not a pass."""

    case: Case
    verdict: Verdict
    reason: str = ""
    milliseconds: float = 0.0
    steps: tuple[Step, ...] = ()
    events: tuple[Event, ...] = ()


@dataclass(frozen=True, slots=True)
class Run:
    suite: Suite
    dut: Dut
    seed: int
    started: datetime
    ended: datetime
    outcomes: tuple[Outcome, ...]

    @property
    def verdict(self) -> Verdict:
        """The worst of all cases that ran; n-a where none did."""
        order = list(Verdict)
        return min((o.verdict for o in self.outcomes), key=order.index, default=Verdict.NOT_APPLICABLE)


async def run_suite(
    suite: Suite,
    dut: Dut,
    *,
    only: str = "*",
    seed: int = 1,
    progress: Callable[[Outcome], None] = lambda outcome: None,
) -> Run:
    """Run the cases whose id matches `only`, in an order that `seed` decides; outcomes are in the suite's order."""
    claims = {**suite.claims, **dut.claims}
    chosen = [c for c in suite.cases.values() if fnmatch.fnmatchcase(c.id, only)]
    started = datetime.now(UTC)
    found: dict[str, Outcome] = {}
    order = list(chosen)
    random.Random(seed).shuffle(order)  # noqa: S311
    # A device may not survive keep-alive after a refusal; a connection each keeps cases apart.
    connector = aiohttp.TCPConnector(force_close=True)
    async with aiohttp.ClientSession(connector=connector, auto_decompress=False) as session:
        for case in order:
            if needs_met(case.needs, claims):
                outcome = _expected(await _run_case(case, dut, session), dut, started)
            else:
                outcome = Outcome(case, Verdict.NOT_APPLICABLE, f"not {case.needs}")
            found[case.id] = outcome
            progress(outcome)
    return Run(suite, dut, seed, started, datetime.now(UTC), tuple(found[c.id] for c in chosen))


async def _run_case(case: Case, dut: Dut, session: aiohttp.ClientSession) -> Outcome:
    tester = Tester(case, dut, session)
    began = time.perf_counter()
    broken: list[str] = []
    inconclusive = ""
    if not await tester.alive():
        return Outcome(case, Verdict.INCONCLUSIVE, "the device does not answer")
    try:
        async with asyncio.timeout(case.timeout):
            await case.run(tester)
    except Stopped:
        pass
    except Inconclusive as stop:
        inconclusive = str(stop)
    except TimeoutError:
        broken.append(f"the case took longer than {case.timeout:g} s")
    except Exception as error:  # whatever is wrong with a case must not end the run
        broken.append(f"{type(error).__name__}: {error}")
    finally:
        broken += await _clean_up(tester)
    crashed = not await tester.alive()
    verdict, reason = _judge(tester.steps, broken, inconclusive, crashed)
    milliseconds = (time.perf_counter() - began) * 1000
    return Outcome(case, verdict, reason, milliseconds, tuple(tester.steps), tuple(tester.events))


async def _clean_up(tester: Tester) -> list[str]:
    broken = []
    for action in reversed(tester.cleanups):
        try:
            async with asyncio.timeout(_CLEANUP_S):
                await action()
        except Exception as error:  # the other cleanups must still be done
            broken.append(f"cleanup: {type(error).__name__}: {error}")
    return broken


def _judge(steps: Sequence[Step], broken: Sequence[str], inconclusive: str, crashed: bool) -> tuple[Verdict, str]:
    if broken:
        return Verdict.ERROR, "; ".join(broken)
    if crashed:
        return Verdict.FAIL, "crash: the device answers no more"
    if inconclusive:
        return Verdict.INCONCLUSIVE, inconclusive
    checks = [c for step in steps for c in step.checks]
    if not checks:
        return Verdict.ERROR, "the case judged nothing"
    for level, verdict in _BAD.items():
        bad = [c for c in checks if c.result is Result.BAD and c.level is level]
        if bad:
            return verdict, f"{bad[0].id}: expected {bad[0].expected}, got {bad[0].got}"
    return Verdict.PASS, ""


_BAD = {Level.MUST: Verdict.FAIL, Level.SHOULD: Verdict.NONSTRICT, Level.MAY: Verdict.WARN}


def _expected(outcome: Outcome, dut: Dut, now: datetime) -> Outcome:
    """The outcome in the light of the failures known of the device."""
    known = dut.expectation(outcome.case.id, now.date())
    if known is None or outcome.verdict not in (Verdict.FAIL, Verdict.PASS, Verdict.NONSTRICT, Verdict.WARN):
        return outcome
    bad = {c.id for s in outcome.steps for c in s.checks if c.result is Result.BAD and c.level is Level.MUST}
    if outcome.verdict is not Verdict.FAIL:
        return replace(outcome, verdict=Verdict.FIXED, reason=f"was expected to fail: {known.why}")
    if bad and bad <= known.checks:
        return replace(outcome, verdict=Verdict.XFAIL, reason=known.why)
    return outcome
