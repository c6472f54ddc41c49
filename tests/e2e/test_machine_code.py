"""A real server of many homes begins with numpy, has its kernels compiled beside it, and then plans with them."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from datetime import date, datetime, timedelta
from pathlib import Path

import aiohttp
import numpy as np
import pytest

from adapters.clock import Anchor
from adapters.uftp import SigningKey, public_key_string
from datamodels import MarketCalendar
from interop.aggregator.homes import Battery, Home, write_homes
from interop.bench.process import process, write_key
from interop.bench.trade import AGR, DSO, free_ports

POINT, HOMES, DAY = "ean.871685900012636543", 70, date(2026, 5, 20)
_CALENDAR = MarketCalendar()
_READY_S, _COMPILED_S = 120.0, 500.0
_SAID = "plans are computed by machine code"


def _lay_out(folder: Path) -> Path:
    """The configuration of an aggregator whose next day is `DAY`."""
    homes = [
        Home(
            f"home-{n}",
            n,
            f"ean.8716859{n:011d}",
            n,
            (),
            (),
            (),
            (Battery(f"store-{n}", 3000, 8000, 4000, 4000, 0.95, 0.02),),
        )
        for n in range(HOMES)
    ]
    write_homes(folder / "homes.json", tuple(homes))
    rng = np.random.default_rng(1)
    rows = np.tile(0.4 + 0.5 * np.exp(-(((np.arange(96) / 4 - 19) / 3) ** 2)), 15)
    start = _CALENDAR.start(DAY - timedelta(days=15), 1)
    load = rows[:, None] * rng.uniform(0.8, 1.2, (len(rows), HOMES))
    np.savez(folder / "history.npz", start=start.isoformat(), load_kw=load, pv_kw=np.zeros((len(rows), 1)))
    buy = [0.34 if 68 <= isp < 84 else 0.24 for isp in range(96)]
    prices = {"buy_eur_per_kwh": buy, "sell_eur_per_kwh": [price - 0.14 for price in buy]}
    (folder / "tariffs.json").write_text(json.dumps(prices), encoding="utf-8")
    write_key(folder / "signing.key", SigningKey.from_seed(bytes(32)))
    stranger = public_key_string(SigningKey.from_seed(bytes(31) + b"1").public)
    port, nobody = free_ports(2)
    lines = [
        *("[server]", 'data_dir = "data"', 'http_listen = "127.0.0.1:0"', "[clock]", 'file = "clock.json"'),
        *("[party]", f'domain = "{AGR}"', 'role = "AGR"'),
        *("[[market.congestion_points]]", f'address = "{POINT}"', f'dso = "{DSO}"', 'start = "2020-01-01"'),
        *("[adapters.uftp]", f'domain = "{AGR}"', 'role = "AGR"', f'listen = "127.0.0.1:{port}"'),
        'signing_key_file = "signing.key"',
        *("[[peers]]", f'domain = "{DSO}"', 'role = "DSO"', f'keys = ["{stranger}"]'),
        f'endpoint = "http://127.0.0.1:{nobody}/shapeshifter/api/v3/message"',
        *("[desk]", 'kind = "aggregator"', "[desk.options]", f'congestion_point = "{POINT}"', "rolling = true"),
        *('homes_file = "homes.json"', 'history_file = "history.npz"', 'tariffs_file = "tariffs.json"'),
    ]
    for home in homes:
        for id, kind, role, low in (
            (home.id, "METER", "CONSUMER", 0),
            (home.batteries[0].id, "BATTERY", "STORAGE", -3000),
        ):
            lines += ["[[resources]]", f'id = "{id}"', f'connection = "{home.connection}"', f'kind = "{kind}"']
            lines += [f'role = "{role}"', f"p_min_w = {low}", "p_max_w = 3000", "capacity_wh = 8000"]
    path = folder / "gridparley.toml"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def _set_clock(folder: Path, market: datetime) -> None:
    Anchor(time.time(), market, 1.0).write(folder / "clock.json")


class Caller:
    """Asks the server for its status ten times a second; the longest it had to wait, in seconds."""

    def __init__(self, session: aiohttp.ClientSession) -> None:
        self._session = session
        self.longest_s = 0.0

    async def run(self) -> None:
        while True:
            began = time.perf_counter()
            async with self._session.get("/api/v1/status") as response:
                assert response.status == 200
            self.longest_s = max(self.longest_s, time.perf_counter() - began)
            await asyncio.sleep(0.1)

    async def prognosed(self, day: date, patience_s: float) -> float:
        """Seconds until a prognosis of that day is in the book."""
        began = time.perf_counter()
        while time.perf_counter() - began < patience_s:
            async with self._session.get("/api/v1/flex") as response:
                said = (await response.json())["prognoses"]
            if any(each["period"] == day.isoformat() for each in said):
                return time.perf_counter() - began
            await asyncio.sleep(0.2)
        raise AssertionError(f"no prognosis of {day} in {patience_s} s")


async def _loaded(log: Path, patience_s: float) -> float:
    """Seconds until the server says that it plans by machine code."""
    began = time.perf_counter()
    while time.perf_counter() - began < patience_s:
        if _SAID in log.read_text(encoding="utf-8"):
            return time.perf_counter() - began
        await asyncio.sleep(0.2)
    raise AssertionError(f"not compiled in {patience_s} s: {log.read_text(encoding='utf-8')[-500:]}")


@pytest.mark.slow
@pytest.mark.campaign
@pytest.mark.timeout(900)
async def test_a_server_answers_at_once_and_plans_by_machine_code_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("numba")
    cache = tmp_path / "numba"
    cache.mkdir()
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(cache))
    eve = datetime(2026, 5, 19, 10, 1, tzinfo=_CALENDAR.zone)
    path = _lay_out(tmp_path)
    _set_clock(tmp_path, eve)
    log = tmp_path / "serve.log"
    command = (sys.executable, "-m", "interop", "serve", str(path), "--json")
    async with (
        process(*command, errors=log, patience_s=_READY_S) as server,
        aiohttp.ClientSession(server.ready["http"]) as session,
    ):
        caller = Caller(session)
        calling = asyncio.create_task(caller.run())
        began = time.perf_counter()
        await caller.prognosed(DAY, _READY_S)
        assert _SAID not in log.read_text(encoding="utf-8"), "the first plan was made by numpy"
        await _loaded(log, _COMPILED_S)
        compiled_s = time.perf_counter() - began
        code = {file: file.stat().st_mtime_ns for file in cache.rglob("*.nb*")}
        assert code
        _set_clock(tmp_path, eve + timedelta(days=1))
        planned_s = await caller.prognosed(DAY + timedelta(days=1), _READY_S)
        calling.cancel()
        assert {file: file.stat().st_mtime_ns for file in cache.rglob("*.nb*")} == code, "nothing was compiled for it"
    print(
        f"compiled after {compiled_s:.1f} s, longest answer {caller.longest_s:.2f} s, next day after {planned_s:.1f} s"
    )
    assert caller.longest_s < compiled_s / 4
    assert planned_s < compiled_s / 2
