import asyncio
import socket
from collections.abc import Awaitable, Callable
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from conformance import tester
from conformance.case import Level, Suite, load_suite, needs_met
from conformance.dut import Dut, DutError, Expectation, read_dut
from conformance.run import Outcome, Verdict, run_suite

Serve = Callable[[Any], Awaitable[str]]


async def ok(request: web.Request) -> web.StreamResponse:
    return web.Response(text="ok")


async def judge(
    url: str, *bodies: Callable[[tester.Tester], Awaitable[None]], timeout: float = 5.0, **dut: Any
) -> list[Outcome]:
    suite = Suite("test", "1", "none")
    for n, body in enumerate(bodies, 1):
        suite.case(f"T-{n:03}", "a case", clause="1", role="server", timeout=timeout)(body)
    return list((await run_suite(suite, Dut(url, **dut))).outcomes)


def checks(*results: tuple[bool, Level]) -> Callable[[tester.Tester], Awaitable[None]]:
    async def body(t: tester.Tester) -> None:
        async with t.step("Judge"):
            for good, level in results:
                t.check(good, "good", level=level)

    return body


MUST, SHOULD, MAY = Level


async def test_the_worst_check_decides(serve: Serve) -> None:
    outcomes = await judge(
        await serve(ok),
        checks((True, MUST), (True, SHOULD)),
        checks((True, MUST), (False, SHOULD), (False, MAY)),
        checks((True, MUST), (False, MAY)),
        checks((False, SHOULD), (False, MUST)),
        checks(),
    )
    assert [str(o.verdict) for o in outcomes] == ["pass", "pass-nonstrict", "warn", "fail", "error"]


async def test_our_own_faults_are_errors(serve: Serve) -> None:
    async def raises(t: tester.Tester) -> None:
        async with t.step("Break"):
            raise LookupError("ours")

    async def hangs(t: tester.Tester) -> None:
        async with t.step("Hang"):
            t.check(False, "never judged")
            await asyncio.sleep(60)

    async def cleans_badly(t: tester.Tester) -> None:
        async with t.step("Judge"):
            t.check(True, "good")

        async def broken() -> None:
            raise LookupError("left behind")

        t.cleanup(broken)

    outcomes = await judge(await serve(ok), raises, hangs, cleans_badly, timeout=0.2)
    assert [o.verdict for o in outcomes] == [Verdict.ERROR] * 3
    assert [o.reason.split(":")[0] for o in outcomes] == ["LookupError", "the case took longer than 0.2 s", "cleanup"]


async def test_cleanups_are_done_last_in_first_out_however_a_case_ends(serve: Serve) -> None:
    done: list[int] = []

    async def body(t: tester.Tester) -> None:
        for n in (1, 2):

            async def clean(n: int = n) -> None:
                done.append(n)

            t.cleanup(clean)
        async with t.step("Stop"):
            t.require(False, "good")
        done.append(99)

    (outcome,) = await judge(await serve(ok), body)
    assert (outcome.verdict, done) == (Verdict.FAIL, [2, 1])


async def test_a_preamble_that_fails_is_inconclusive_and_numbered_apart(serve: Serve) -> None:
    async def body(t: tester.Tester) -> None:
        async with t.step("Get there", preamble=True):
            t.check(True, "a door")
        async with t.step("Judge"):
            t.check(True, "good")
        async with t.step("Get further", preamble=True):
            t.require(False, "a key", got="none")

    (outcome,) = await judge(await serve(ok), body)
    assert (outcome.verdict, outcome.reason) == (Verdict.INCONCLUSIVE, "Get further: expected a key, got none")
    assert [c.id for s in outcome.steps for c in s.checks] == ["T-001.p1", "T-001.1", "T-001.p2"]


async def test_a_device_that_is_not_there_is_inconclusive() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
    (outcome,) = await judge(url, checks((True, MUST)))
    assert outcome.verdict is Verdict.INCONCLUSIVE


async def test_a_device_that_goes_away_has_crashed(serve: Serve) -> None:
    calls = 0

    async def dies(request: web.Request) -> web.StreamResponse:
        nonlocal calls
        calls += 1
        if calls > 1:
            assert request.transport is not None
            request.transport.abort()
        return web.Response()

    (outcome,) = await judge(await serve(dies), checks((True, MUST)))
    assert (outcome.verdict, outcome.reason) == (Verdict.FAIL, "crash: the device answers no more")


async def test_no_answer_is_an_answer_that_is_judged_and_recorded(serve: Serve) -> None:
    async def breaks_off(request: web.Request) -> web.StreamResponse:
        if request.method == "POST":
            assert request.transport is not None
            request.transport.abort()
        return web.Response()

    async def body(t: tester.Tester) -> None:
        async with t.step("Ask"):
            answer = await t.post("/x", b"hello", "text/plain")
            t.check(answer.status == 200, "HTTP 200", got=answer)

    (outcome,) = await judge(await serve(breaks_off), body)
    assert outcome.verdict is Verdict.FAIL
    assert "no answer" in outcome.reason
    assert [(e.direction, e.raw) for e in outcome.events] == [("tx", b"hello"), ("rx", b"")]
    assert outcome.steps[0].checks[0].events == (1, 2)


TODAY = date(2026, 5, 20)


@pytest.mark.parametrize(
    ("good", "expected", "verdict"),
    [
        (False, ["T-001.1"], "xfail"),
        (False, ["T-001.2"], "fail"),
        (True, ["T-001.1"], "fixed"),
        (False, [], "fail"),
    ],
)
async def test_known_failures(good: bool, expected: list[str], verdict: str, serve: Serve) -> None:
    known = (Expectation("T-001", frozenset(expected), "a bug"),) if expected else ()
    (outcome,) = await judge(await serve(ok), checks((good, MUST), (True, MUST)), expected=known)
    assert str(outcome.verdict) == verdict


def test_an_expectation_ends_on_its_day() -> None:
    dut = Dut("http://x", expected=(Expectation("T-001", frozenset({"T-001.1"}), "a bug", TODAY),))
    assert dut.expectation("T-001", TODAY) is not None
    assert dut.expectation("T-001", TODAY + timedelta(days=1)) is None
    assert dut.expectation("T-002", TODAY) is None


async def test_only_and_seed(serve: Serve) -> None:
    suite = Suite("test", "1", "none")
    order: list[str] = []

    async def body(t: tester.Tester) -> None:
        order.append(t.case.id)
        async with t.step("Judge"):
            t.check(True, "good")

    for n in range(1, 9):
        suite.case(f"T-{n:03}", "", clause="1", role="server", needs="not SMALL" if n == 8 else "")(body)
    dut = Dut(await serve(ok), claims={"SMALL": True})
    run = await run_suite(suite, dut, seed=3)
    first = list(order)
    assert [o.case.id for o in run.outcomes] == list(suite.cases)
    assert first != sorted(first)
    assert (run.outcomes[-1].verdict, run.outcomes[-1].reason) == (Verdict.NOT_APPLICABLE, "not not SMALL")
    order.clear()
    await run_suite(suite, dut, seed=3)
    assert order == first
    assert [o.case.id for o in (await run_suite(suite, dut, only="T-00[12]")).outcomes] == ["T-001", "T-002"]
    nothing = await run_suite(suite, dut, only="X")
    assert (nothing.outcomes, nothing.verdict) == ((), Verdict.NOT_APPLICABLE)


@pytest.mark.parametrize(
    ("expression", "met"),
    [
        ("", True),
        ("HTTP", True),
        ("XMPP", False),
        ("HTTP and not XMPP", True),
        ("XMPP or MAX >= 4", True),
        ("MAX < 4", False),
        ("PROFILE == 'b'", True),
    ],
)
def test_needs(expression: str, met: bool) -> None:
    assert needs_met(expression, {"HTTP": True, "MAX": 4, "PROFILE": "b"}) is met


@pytest.mark.parametrize("expression", ["f()", "a.b", "1 +", "__import__('os')", "1 < 2 < 3", "[x]"])
def test_needs_are_claims_only(expression: str) -> None:
    with pytest.raises(ValueError, match="needs"):
        needs_met(expression, {})


def test_ids_are_unique_and_well_formed() -> None:
    suite = Suite("test", "1", "none")
    suite.case("T-001", "", clause="1", role="server")(checks())
    for wrong, text in (("T-001", "two cases"), ("t-001", "no case id"), ("T-1", "no case id")):
        with pytest.raises(ValueError, match=text):
            suite.case(wrong, "", clause="1", role="server")(checks())
    with pytest.raises(KeyError):
        load_suite("os")


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("nmae = 'x'", "unknown key nmae"),
        ("name = ", "Invalid value"),
        ("[[expect]]\ncase = 'OADR2-XXX-001'", "has no case"),
        ("[[expect]]\ncase = 'OADR2-REG-001'", "needs checks"),
        ("[[expect]]\ncase = 'OADR2-REG-001'\nchecks = ['a']\nwhy = 'b'\nuntil = 'soon'", "not a date"),
        ("[[expect]]\ncase = 'OADR2-REG-001'\nchecks = ['a']\nwhy = 'b'\nbug = 'x'", "needs checks"),
    ],
)
def test_a_wrong_description_is_refused(text: str, complaint: str, tmp_path: Path) -> None:
    path = tmp_path / "dut.toml"
    path.write_text(text)
    with pytest.raises(DutError, match=complaint):
        read_dut("http://x", path, load_suite("openadr2"))
    with pytest.raises(DutError, match="No such file"):
        read_dut("http://x", tmp_path / "absent", load_suite("openadr2"))
