"""The desk as the server builds it: from options and files, for one net or several."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.gridoperator import AGR, CRO, DAY, DSO, NETWORK, POINT, Market

from datamodels import CongestionPoint, IspSeries, MarketTerms, Prognosis
from interop.gridoperator.desk import build
from interop.market.ids import head

SECOND = "ea1.2030-01.org.example:cp-2"


def write(folder: Path, name: str, rating: float, connection: str) -> dict[str, str]:
    """A net's two files; the history is the week before the day."""
    trafo = [NETWORK["trafo"][0] | {"s_kva": rating}]
    tables = NETWORK | {"trafo": trafo, "connection": [{"address": connection, "bus": 2}]}
    (folder / f"{name}.json").write_text(json.dumps(tables), encoding="utf-8")
    load = np.full((7 * 96, 2), 6.0)
    start = Market().calendar.day_span(DAY - timedelta(days=7))[0]
    np.savez(folder / f"{name}.npz", start=np.array(start.isoformat()), load_kw=load, load_kvar=load / 10)
    return {"network_file": str(folder / f"{name}.json"), "history_file": str(folder / f"{name}.npz")}


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({}, "name network_file and history_file, or points"),
        ({"network_file": "n.json"}, "belong together"),
        ({"settlement": "weekly"}, "settlement: 'weekly' is not one of them"),
        ({"points": [{"address": POINT}]}, r"points\[1\].network_file: missing"),
        ({"network_file": "n", "history_file": "h", "reserve": 1.5}, "reserve 1.5"),
    ],
)
def test_wrong_options_are_named(options: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        build(options, Market().context)


async def test_each_congestion_point_is_traded_on_its_own_net(tmp_path: Path) -> None:
    market = Market(cro=True)
    points = (CongestionPoint(POINT, DSO, date(2020, 1, 1)), CongestionPoint(SECOND, DSO, date(2020, 1, 1)))
    market.context = _with_terms(market, MarketTerms(market.calendar, points))
    strong, weak = (write(tmp_path, name, kva, f"ean.{n}") for n, (name, kva) in enumerate((("s", 400.0), ("w", 60.0))))
    market.desk = build({**strong, "points": [weak | {"address": SECOND}], "expected": [AGR]}, market.context)
    await market.work()
    (update,) = market.said(object, CRO)
    assert [(p.address, [c.address for c in p.connections]) for p in update.points] == [
        (POINT, ["ean.0"]),
        (SECOND, ["ean.1"]),
    ]
    del market.peers[CRO]
    power = IspSeries.of(market.calendar, DAY, [-90_000] * 96)
    for point in (POINT, SECOND):
        market.hear(Prognosis(head(AGR, DSO, market.clock.now(), point), point, 1, power))
    await market.work()
    (request,) = market.requests
    assert request.congestion_point == SECOND, "90 kW of export are too much for 60 kVA, not for 400"


def _with_terms(market: Market, terms: MarketTerms) -> Any:

    return replace(market.context, terms=terms)
