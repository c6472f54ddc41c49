"""What the page on the market says is so: its example is what the code computes, its diagrams are the code's tables."""

from __future__ import annotations

import re
from datetime import date
from decimal import Decimal
from pathlib import Path

import pytest

from datamodels import IspSeries, MarketCalendar, Run, settle_order
from interop.market.commands import COMMANDS
from interop.market.states import CYCLES

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "market.md").read_text(encoding="utf-8")
CALENDAR, DAY = MarketCalendar(), date(2030, 6, 2)


def test_the_example_is_what_settlement_makes_of_it() -> None:
    rows = [tuple(map(int, row)) for row in re.findall(r"^\| (\d+) \|" + r" (-?\d+) \|" * 5 + "$", PAGE, re.MULTILINE)]
    assert len(rows) == 4
    offered = IspSeries.from_runs(CALENDAR, DAY, [Run(41, 4, -5001)])
    ordered = offered.scaled(Decimal("0.75"))
    baseline = IspSeries.of(CALENDAR, DAY, [20_000] * 96)
    actual = IspSeries.from_runs(CALENDAR, DAY, [Run(row[0], 1, row[3]) for row in rows])
    settled = settle_order("o", "p", ordered, baseline, actual, Decimal("1.8750"), penalty_eur_per_kwh=Decimal("0.10"))
    assert rows == [(i.isp, i.baseline_w, i.ordered_w, i.actual_w, i.delivered_w, i.deficiency_w) for i in settled.isps]
    for amount in (settled.price, settled.penalty, f"EUR {settled.net}"):
        assert f"**{amount}**" in PAGE
    delivered, missing = (sum(abs(getattr(i, f)) for i in settled.isps) for f in ("delivered_w", "deficiency_w"))
    assert f"1.8750 · {delivered} / {sum(abs(p) for _, p in ordered)} =" in PAGE
    assert f"{missing} W · 0.25 h" in PAGE


@pytest.mark.parametrize(("day", "hour"), [(DAY, 11), (date(2031, 3, 30), 12), (date(2031, 10, 26), 10)])
def test_isp_45_is_where_the_page_says(day: date, hour: int) -> None:
    begin = CALENDAR.start(day, 45).astimezone(CALENDAR.zone)
    assert (begin.hour, begin.minute) == (hour, 0)
    assert f"{hour}:00 to {hour}:15" in PAGE


def test_every_command_and_every_life_cycle_is_there() -> None:
    for verb in COMMANDS:
        assert f"`{verb}`" in PAGE
    assert PAGE.count("```mermaid") == len(CYCLES)
    for cycle in CYCLES:
        for t in cycle.transitions:
            assert f"    {t.before} --> {t.after}: {t.event}\n" in PAGE
