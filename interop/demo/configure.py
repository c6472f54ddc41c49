"""The parties' configuration files and keys, as an operator would write them."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator, Mapping
from datetime import timedelta
from pathlib import Path

from nacl.signing import SigningKey

from datamodels import Contract
from interop.aggregator.homes import Home
from interop.demo.parties import Party
from interop.scenarios import Scenario

__all__ = ["configure"]


def configure(
    scenario: Scenario, parties: tuple[Party, ...], folder: Path, clock: Path, addresses: Mapping[str, str]
) -> None:
    """Write `<party>.toml` and a signing key for each party; `addresses` are the Modbus devices', by resource."""
    public = {party.name: _key(folder / party.name / "signing.key") for party in parties}
    for party in parties:
        lines = [
            *_common(scenario, party, folder, clock),
            *(line for peer in parties if peer is not party for line in _peer(peer, public[peer.name])),
            *_uftp(party, folder),
            *_DESKS[party.role](scenario, party, folder, addresses),
        ]
        (folder / f"{party.name}.toml").write_text("\n".join(lines) + "\n", encoding="utf-8")


def _key(path: Path) -> str:
    """A fresh signing key, readable by its owner alone; returns the public one."""
    key = SigningKey.generate()
    path.touch(mode=0o600)
    path.write_text(base64.b64encode(bytes(key)).decode() + "\n", encoding="ascii")
    return base64.b64encode(bytes(key.verify_key)).decode()


def _common(scenario: Scenario, party: Party, folder: Path, clock: Path) -> Iterator[str]:
    yield from (
        "[server]",
        f"data_dir = {_text(folder / party.name / 'data')}",
        f'http_listen = "127.0.0.1:{party.http}"',
        f"log_file = {_text(folder / 'logs' / f'{party.name}.jsonl')}",
        "[clock]",
        f"file = {_text(clock)}",
        "[party]",
        f'domain = "{party.domain}"',
        f'role = "{party.role}"',
        "[market]",
        f'timezone = "{scenario.timezone}"',
        "isp_minutes = 15",
        'currency = "EUR"',
        'settlement_basis = "pay_delivered"',
        "penalty_eur_per_kwh = 0.5",
    )
    if party.role == "CRO":
        return
    yield from (
        "[[market.congestion_points]]",
        f'address = "{scenario.congestion_point}"',
        f'dso = "{scenario.dso}"',
        f'start = "{scenario.period - timedelta(days=365)}"',
        "mutex_offers = true",
        "partial_activation = true",
        "import_limit_w = 160000",
        "export_limit_w = 160000",
    )
    for contract in scenario.contracts:
        if party.domain in (contract.agr, contract.dso):
            yield from _contract(contract)


def _contract(contract: Contract) -> Iterator[str]:
    yield from (
        "[[market.contracts]]",
        f'id = "{contract.id}"',
        f'dso = "{contract.dso}"',
        f'agr = "{contract.agr}"',
        f"service_types = {json.dumps(contract.service_types)}",
        f"penalty_eur_per_kwh = {contract.penalty_eur_per_kwh}",
    )
    for run in contract.reserved:
        yield from (
            "[[market.contracts.reserved]]",
            f"start = {run.start}",
            f"duration = {run.duration}",
            f"power_w = {run.power_w}",
        )


def _peer(peer: Party, key: str) -> Iterator[str]:
    yield from (
        "[[peers]]",
        f'domain = "{peer.domain}"',
        f'role = "{peer.role}"',
        f'endpoint = "{peer.endpoint}"',
        f'keys = ["{key}"]',
    )


def _uftp(party: Party, folder: Path) -> Iterator[str]:
    yield from (
        "[adapters.uftp]",
        f'domain = "{party.domain}"',
        f'role = "{party.role}"',
        f'listen = "127.0.0.1:{party.uftp}"',
        f"signing_key_file = {_text(folder / party.name / 'signing.key')}",
    )


# --- desks --------------------------------------------------------------------------------------------------------


def _aggregator(scenario: Scenario, party: Party, folder: Path, addresses: Mapping[str, str]) -> Iterator[str]:
    assert party.aggregator is not None
    homes = scenario.homes_of(party.aggregator)
    here = folder / party.name
    tariffs = {
        "buy_eur_per_kwh": scenario.buy_eur_per_kwh.round(6).tolist(),
        "sell_eur_per_kwh": scenario.sell_eur_per_kwh.round(6).tolist(),
    }
    (here / "tariffs.json").write_text(json.dumps(tariffs), encoding="utf-8")
    yield from (
        "[adapters.openadr2]",
        'vtn_id = "GRIDPARLEY"',
        f'listen = "127.0.0.1:{party.vtn}"',
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
        f"homes_file = {_text(here / 'homes.json')}",
        f"history_file = {_text(here / 'history.npz')}",
        f"tariffs_file = {_text(here / 'tariffs.json')}",
        f'congestion_point = "{scenario.congestion_point}"',
        'prognosis_at = "10:00"',
        f"markup = {party.aggregator.markup}",
        f"eur_per_kwh = {party.aggregator.eur_per_kwh}",
    )
    for home in homes:
        yield from _resources(home, addresses)


def _gridoperator(scenario: Scenario, party: Party, folder: Path, addresses: Mapping[str, str]) -> Iterator[str]:
    represented = {
        agr.domain: [home.connection.replace("ean.", "E") for home in scenario.homes_of(agr)]
        for agr in scenario.aggregators
    }
    yield from (
        "[desk]",
        'kind = "gridoperator"',
        "[desk.options]",
        f"network_file = {_text(folder / party.name / 'network.json')}",
        f"history_file = {_text(folder / party.name / 'history.npz')}",
        "reserve = 0.97",
        f"release_reservations = {json.dumps(bool(scenario.contracts))}",
        "[desk.options.represented]",
        *(f"{json.dumps(domain)} = {json.dumps(eans)}" for domain, eans in represented.items()),
    )


def _commonreference(scenario: Scenario, party: Party, folder: Path, addresses: Mapping[str, str]) -> Iterator[str]:
    yield from ("[desk]", 'kind = "commonreference"', "[desk.options]", 'mode = "closed"')
    for domain, role in [(scenario.dso, "DSO"), *((agr.domain, "AGR") for agr in scenario.aggregators)]:
        yield from ("[[desk.options.members]]", f'domain = "{domain}"', f'role = "{role}"')


_DESKS: dict[str, Callable[[Scenario, Party, Path, Mapping[str, str]], Iterator[str]]] = {
    "AGR": _aggregator,
    "DSO": _gridoperator,
    "CRO": _commonreference,
}


def _resources(home: Home, addresses: Mapping[str, str]) -> Iterator[str]:
    def resource(
        id: str, kind: str, role: str, low: int, high: int, adapter: str, address: str, capacity_wh: int = 0
    ) -> tuple[str, ...]:
        return (
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
        )

    yield from resource(home.id, "METER", "CONSUMER", 0, 200_000, "openadr2", f"{home.id}/meter")
    for car in home.chargers:
        yield from resource(car.id, "EVSE", "CONSUMER", 0, car.p_max_w, "openadr2", f"{home.id}/{car.id}")
    for pump in home.heat_pumps:
        yield from resource(pump.id, "HEAT_PUMP", "CONSUMER", 0, pump.p_max_w, "openadr2", f"{home.id}/{pump.id}")
    for pv in home.pvs:
        yield from resource(pv.id, "PV", "PRODUCER", -pv.p_max_w, 0, "modbus", addresses[pv.id])
    for unit in home.batteries:
        power, capacity = unit.p_max_w, unit.capacity_wh
        yield from resource(unit.id, "BATTERY", "STORAGE", -power, power, "modbus", addresses[unit.id], capacity)


def _text(path: Path) -> str:
    return json.dumps(str(path))
