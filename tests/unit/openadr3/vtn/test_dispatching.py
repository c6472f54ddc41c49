"""What becomes of a dispatch over OpenADR 3: its standing by event clock, opts and reports; opts that reports say."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from adapters.openadr3.vtn.dispatching import opt_of, standing
from datamodels import (
    DispatchStatus,
    EventOpt,
    EventSignal,
    Opt,
    ProgrammeEvent,
    ProgrammeReport,
    SignalInterval,
    Written,
)

START = datetime(2026, 1, 1, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
SIGNAL = EventSignal("SIMPLE", (SignalInterval(START, HOUR, Decimal(1)),))
EVENT = ProgrammeEvent(id="e", programme="p", signals=(SIGNAL,), revision=2, modified=START - HOUR)
OUT = EventOpt(id="e/v", event="e", ven="v", opt=Opt.OPT_OUT, answered=2, reason="mustNotRun")
IN = replace(OUT, opt=Opt.OPT_IN)
REPORT = ProgrammeReport(id="r", event="e", modified=START)
BEFORE, DURING, AFTER = START - HOUR / 2, START, START + HOUR


@pytest.mark.parametrize(
    ("opts", "reports", "now", "status"),
    [
        ([], [], BEFORE, DispatchStatus.NEW),
        ([], [], DURING, DispatchStatus.NEW),
        ([], [], AFTER, DispatchStatus.ABORTED),
        ([IN], [], BEFORE, DispatchStatus.ACCEPTED),
        ([IN], [], DURING, DispatchStatus.STARTED),
        ([IN], [], AFTER, DispatchStatus.SUCCEEDED),
        ([], [REPORT], DURING, DispatchStatus.STARTED),
        ([OUT], [REPORT], DURING, DispatchStatus.REJECTED),
        ([replace(OUT, answered=1)], [], DURING, DispatchStatus.NEW),
        ([], [replace(REPORT, modified=START - 2 * HOUR)], DURING, DispatchStatus.NEW),
    ],
)
def test_a_dispatch_stands_where_its_event_and_its_ven_say(
    opts: list[EventOpt], reports: list[ProgrammeReport], now: datetime, status: DispatchStatus
) -> None:
    assert standing(EVENT, opts, reports, now)[0] is status
    assert standing(replace(EVENT, cancelled=True), opts, reports, now)[0] is DispatchStatus.REVOKED


@pytest.mark.parametrize(
    ("type", "value", "opt"),
    [
        ("OPERATING_STATE", '"IDLE_OPTED_OUT"', Opt.OPT_OUT),
        ("OPERATING_STATE", '"RUNNING_NORMAL"', Opt.OPT_IN),
        ("OPERATING_STATE", "3", None),
        ("OPT", '"optOut"', Opt.OPT_OUT),
        ("OPT", '"perhaps"', None),
        ("USAGE", "1.5", None),
    ],
)
def test_reports_say_an_opt_or_none(type: str, value: str, opt: Opt | None) -> None:
    text = f'{{"resources": [{{"intervals": [{{"payloads": [{{"type": "{type}", "values": [{value}]}}]}}]}}]}}'
    report = replace(REPORT, written=Written("openadr3/3.1.0", text))
    assert opt_of(report) is opt
    assert opt_of(replace(report, written=Written("openadr2/2.0b", "<x/>"))) is None
