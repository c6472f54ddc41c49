"""Everything a run needs on disk: configurations, keys, histories for the parties, profiles for the devices.

The parties' files hold history only. The devices' files hold the day as it will be; nothing but the simulated devices
and the final check reads them.
"""

from __future__ import annotations

import base64
import json
import secrets
import socket
from dataclasses import dataclass
from datetime import datetime, time, timedelta
from pathlib import Path
from typing import Any

import numpy as np
from nacl.signing import SigningKey

from interop.aggregator.homes import Home, write_homes
from interop.scenarios import Scenario

__all__ = ["AGR", "DSO", "Ports", "World"]

AGR = "agr.example.org"
DSO = "dso.example.org"
_STEP = timedelta(minutes=15)
_PORTS = (20_000, 32_000)
_LEGACY = 3
"""This many of the PV plants speak the older SunSpec models (103, 120-124), the others the IEEE 1547 generation."""


@dataclass(frozen=True, slots=True)
class Ports:
    """Where everybody listens, on loopback."""

    agr_uftp: int
    dso_uftp: int
    vtn: int
    agr_http: int
    dso_http: int

    @classmethod
    def choose(cls, dashboard: int) -> Ports:
        """Free ports; the dashboard's own where it is free."""
        return cls(_free(), _free(), _free(), _free(dashboard), _free())


class World:
    """A scenario laid out in a folder."""

    def __init__(self, scenario: Scenario, folder: Path, ports: Ports) -> None:
        self.scenario = scenario
        self.folder = folder
        self.ports = ports
        self.clock = folder / "clock.json"
        zone = scenario.calendar.zone
        self.day_start, self.day_end = scenario.calendar.day_span(scenario.period)
        self.trade_start = datetime.combine(scenario.period - timedelta(days=1), time(10, 0), zone)

    def lay_out(self) -> None:
        """Write what does not depend on the devices' addresses."""
        for name in ("agr", "dso", "devices", "homes", "logs"):
            (self.folder / name).mkdir(parents=True, exist_ok=True)
        history = self.scenario.history
        for party in ("agr", "dso"):
            np.savez_compressed(
                self.folder / party / "history.npz",
                start=np.array(history.start.isoformat()),
                load_kw=history.load_kw,
                load_kvar=history.load_kvar,
                pv_kw=history.pv_kw,
            )
        (self.folder / "dso" / "network.json").write_text(json.dumps(self.scenario.network), encoding="utf-8")
        write_homes(self.folder / "agr" / "homes.json", self.scenario.homes)
        for home in self.scenario.homes:
            (self.folder / "homes" / f"{home.id}.json").write_text(json.dumps(self._house(home)), encoding="utf-8")

    # --- devices and homes ----------------------------------------------------------------------------

    def devices(self) -> list[dict[str, Any]]:
        """Eight PV plants and five batteries as the simulator describes devices; what they can do is the truth."""
        yesterday = self.scenario.history.pv_kw[-96:]
        common = {"start": (self.day_start - timedelta(days=1)).isoformat(), "step_s": 900}
        plants = [
            {
                "resource": pv.id,
                "kind": "pv",
                "variant": "legacy" if n < _LEGACY else "1547",
                "w_max": pv.p_max_w,
                "available_w": _watts(np.concatenate([yesterday[:, pv.series], self.scenario.day.pv_kw[:, pv.series]])),
            }
            for n, pv in enumerate(self.scenario.pvs)
        ]
        stores = [
            {
                "resource": battery.id,
                "kind": "battery",
                "w_max": battery.p_max_w,
                "capacity_wh": battery.capacity_wh,
                "content_wh": battery.initial_wh,
                "charge_max_w": battery.p_max_w,
                "discharge_max_w": battery.p_max_w,
                "charge_efficiency": battery.efficiency,
                "discharge_efficiency": battery.efficiency,
            }
            for battery in self.scenario.batteries
        ]
        return [common | device for device in plants + stores]

    def _house(self, home: Home) -> dict[str, Any]:
        """A home's profile over the day before and the day itself; stays are counted in steps of both."""
        before, day = self.scenario.history.load_kw[-96:], self.scenario.day.load_kw
        return {
            "name": home.id,
            "start": (self.day_start - timedelta(days=1)).isoformat(),
            "step_s": 900,
            "load_w": _watts(np.concatenate([before[:, home.load], day[:, home.load]])),
            "cars": [
                {
                    "id": car.id,
                    "p_max_w": car.p_max_w,
                    "stays": [[96 + s.first - 1, 96 + s.last, s.energy_wh] for s in car.stays],
                    "before_w": _watts(before[:, car.load]),
                }
                for car in home.chargers
            ],
            "heat_pumps": [
                {
                    "id": pump.id,
                    "p_max_w": pump.p_max_w,
                    "buffer_wh": pump.buffer_wh,
                    "demand_w": _watts(np.concatenate([before[:, pump.load], day[:, pump.load]])),
                }
                for pump in home.heat_pumps
            ],
        }

    # --- configurations ----------------------------------------------------------------------------

    def configure(self, addresses: dict[str, str]) -> None:
        """Write both parties' configuration and keys, once the devices' addresses are known."""
        keys = {party: SigningKey.generate() for party in ("agr", "dso")}
        for party, key in keys.items():
            path = self.folder / party / "signing.key"
            path.touch(mode=0o600)
            path.write_text(base64.b64encode(bytes(key)).decode() + "\n", encoding="ascii")
        public = {party: base64.b64encode(bytes(key.verify_key)).decode() for party, key in keys.items()}
        self._write_agr(public["dso"], addresses)
        self._write_dso(public["agr"])

    def _write_agr(self, dso_key: str, addresses: dict[str, str]) -> None:
        homes = self.scenario.homes
        self._write(
            "agr",
            [
                *self._common("agr", AGR, "AGR", self.ports.agr_http),
                *self._peer(DSO, "DSO", self.ports.dso_uftp, dso_key),
                *self._uftp("agr", AGR, "AGR", self.ports.agr_uftp),
                "[adapters.openadr2]",
                'vtn_id = "GRIDPARLEY"',
                f'listen = "127.0.0.1:{self.ports.vtn}"',
                "insecure = true  # loopback only: the homes are processes on this machine",
                "poll_frequency_s = 1",
                "report_interval_s = 1",
                "allow_registration = true",
                *(f'[[adapters.openadr2.vens]]\nven_name = "{home.id}"\nprofile = "lenient"' for home in homes),
                "[adapters.modbus]",
                "poll_s = 0.25",
                "timeout_s = 0.5",
                "reversion_s = 3600",
                "reconnect_min_s = 0.5",
                "reconnect_max_s = 5",
                "[desk]",
                'kind = "aggregator"',
                "[desk.options]",
                f"homes_file = {_text(self.folder / 'agr' / 'homes.json')}",
                f"history_file = {_text(self.folder / 'agr' / 'history.npz')}",
                f"tariffs_file = {_text(self.folder / 'agr' / 'tariffs.json')}",
                f'congestion_point = "{self.scenario.congestion_point}"',
                'prognosis_at = "10:00"',
                *(line for home in homes for line in self._resources(home, addresses)),
            ],
        )
        tariffs = {
            "buy_eur_per_kwh": self.scenario.buy_eur_per_kwh.round(6).tolist(),
            "sell_eur_per_kwh": self.scenario.sell_eur_per_kwh.round(6).tolist(),
        }
        (self.folder / "agr" / "tariffs.json").write_text(json.dumps(tariffs), encoding="utf-8")

    def _write_dso(self, agr_key: str) -> None:
        eans = [home.connection.replace("ean.", "E") for home in self.scenario.homes]
        self._write(
            "dso",
            [
                *self._common("dso", DSO, "DSO", self.ports.dso_http),
                *self._peer(AGR, "AGR", self.ports.agr_uftp, agr_key),
                *self._uftp("dso", DSO, "DSO", self.ports.dso_uftp),
                "[desk]",
                'kind = "gridoperator"',
                "[desk.options]",
                f"network_file = {_text(self.folder / 'dso' / 'network.json')}",
                f"history_file = {_text(self.folder / 'dso' / 'history.npz')}",
                f"connections = {json.dumps(eans)}",
                "reserve = 0.97",
            ],
        )

    def _common(self, party: str, domain: str, role: str, http: int) -> list[str]:
        return [
            "[server]",
            f"data_dir = {_text(self.folder / party / 'data')}",
            f'http_listen = "127.0.0.1:{http}"',
            f"log_file = {_text(self.folder / 'logs' / f'{party}.jsonl')}",
            "[clock]",
            f"file = {_text(self.clock)}",
            "[party]",
            f'domain = "{domain}"',
            f'role = "{role}"',
            "[market]",
            f'timezone = "{self.scenario.timezone}"',
            "isp_minutes = 15",
            'currency = "EUR"',
            'settlement_basis = "pay_delivered"',
            "penalty_eur_per_kwh = 0.5",
            "[[market.congestion_points]]",
            f'address = "{self.scenario.congestion_point}"',
            f'dso = "{DSO}"',
            f'start = "{self.scenario.period - timedelta(days=365)}"',
            "mutex_offers = true",
            "partial_activation = true",
            "import_limit_w = 160000",
            "export_limit_w = 160000",
        ]

    def _peer(self, domain: str, role: str, port: int, key: str) -> list[str]:
        return [
            "[[peers]]",
            f'domain = "{domain}"',
            f'role = "{role}"',
            f'endpoint = "http://127.0.0.1:{port}/shapeshifter/api/v3/message"',
            f'keys = ["{key}"]',
        ]

    def _uftp(self, party: str, domain: str, role: str, port: int) -> list[str]:
        return [
            "[adapters.uftp]",
            f'domain = "{domain}"',
            f'role = "{role}"',
            f'listen = "127.0.0.1:{port}"',
            f"signing_key_file = {_text(self.folder / party / 'signing.key')}",
        ]

    def _resources(self, home: Home, addresses: dict[str, str]) -> list[str]:
        lines = _resource(home, home.id, "METER", "CONSUMER", 0, 200_000, "openadr2", f"{home.id}/meter")
        for car in home.chargers:
            lines += _resource(home, car.id, "EVSE", "CONSUMER", 0, car.p_max_w, "openadr2", f"{home.id}/{car.id}")
        for pump in home.heat_pumps:
            lines += _resource(
                home, pump.id, "HEAT_PUMP", "CONSUMER", 0, pump.p_max_w, "openadr2", f"{home.id}/{pump.id}"
            )
        for pv in home.pvs:
            lines += _resource(home, pv.id, "PV", "PRODUCER", -pv.p_max_w, 0, "modbus", addresses[pv.id])
        for unit in home.batteries:
            lines += _resource(
                home,
                unit.id,
                "BATTERY",
                "STORAGE",
                -unit.p_max_w,
                unit.p_max_w,
                "modbus",
                addresses[unit.id],
                unit.capacity_wh,
            )
        return lines

    def _write(self, party: str, lines: list[str]) -> None:
        (self.folder / f"{party}.toml").write_text("\n".join(lines) + "\n", encoding="utf-8")


def _resource(
    home: Home, id: str, kind: str, role: str, low: int, high: int, adapter: str, address: str, capacity_wh: int = 0
) -> list[str]:
    return [
        "[[resources]]",
        f'id = "{id}"',
        f'connection = "{home.connection}"',
        f'kind = "{kind}"',
        f'role = "{role}"',
        f"p_min_w = {low}",
        f"p_max_w = {high}",
        f"capacity_wh = {capacity_wh}",
        "[resources.binding]",
        f'adapter = "{adapter}"',
        f'address = "{address}"',
    ]


def _watts(kilowatts: Any) -> list[float]:
    return [round(float(value) * 1000, 1) for value in kilowatts]


def _text(path: Path) -> str:
    return json.dumps(str(path))


def _free(wanted: int = 0) -> int:
    """A port that is free on loopback: the wanted one, else any below the range that systems hand out by themselves.

    Whoever binds port 0 gets one from that range; a port chosen there could be gone before its server starts.
    """
    candidates = [secrets.randbelow(_PORTS[1] - _PORTS[0]) + _PORTS[0] for _ in range(100)]
    for port in [wanted, *candidates] if wanted else candidates:
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise OSError("no free port on 127.0.0.1")
