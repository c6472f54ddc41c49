"""The configuration: typed, strict, and all complaints at once, each with a way to mend it."""

from __future__ import annotations

import base64
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from datamodels import ParticipantStatus, ResourceKind, Role, SettlementBasis
from interop.config import Config, ConfigError, load_config, parse_config

KEY = base64.b64encode(bytes(range(32))).decode()
PARTY = {"domain": "agr.example.org", "role": "AGR"}
PV = {"id": "pv", "connection": "c", "kind": "PV", "role": "PRODUCER", "p_min_w": -9, "p_max_w": 0}
FULL = f"""
[server]
data_dir = "data"
http_listen = "127.0.0.1:0"
log_file = "logs/agr.jsonl"
[clock]
file = "clock.json"
[party]
domain = "agr.example.org"
role = "agr"
[market]
timezone = "Europe/Berlin"
isp_minutes = 15
settlement_basis = "pay_ordered"
penalty_eur_per_kwh = 0.5
[[market.congestion_points]]
address = "ea1.2020-01.org.example:1"
dso = "dso.example.org"
start = 2026-01-01
import_limit_w = 160000
[[peers]]
domain = "dso.example.org"
role = "DSO"
endpoint = "http://127.0.0.1:1/shapeshifter/api/v3/message"
keys = ["{KEY}"]
[[resources]]
id = "bat1"
connection = "ean.1"
kind = "BATTERY"
role = "STORAGE"
p_min_w = -5000
p_max_w = 5000
capacity_wh = 10000
[resources.binding]
adapter = "modbus"
address = "tcp://127.0.0.1:1502"
options = {{ unit = "1" }}
[adapters.modbus]
poll_s = 0.5
[adapters.uftp]
signing_key_file = "keys/signing.key"
tls_certificate = "tls/cert.pem"
[desk]
kind = "aggregator"
[desk.options]
homes_file = "/srv/homes.json"
nested = [{{ tariff_file = "t.json" }}]
"""


def parse(data: dict[str, Any], environ: dict[str, str] | None = None, folder: Path = Path("/etc/gp")) -> Config:
    return parse_config({"party": PARTY} | data, folder, environ or {})


def complaints(data: dict[str, Any], environ: dict[str, str] | None = None) -> list[str]:
    with pytest.raises(ConfigError) as error:
        parse(data, environ)
    return [str(problem) for problem in error.value.problems]


def test_a_full_file_becomes_canonical_objects(tmp_path: Path) -> None:
    path = tmp_path / "gridparley.toml"
    path.write_text(FULL, encoding="utf-8")
    config = load_config(path, {})
    assert config.party.role is Role.AGR
    assert config.server.data_dir == tmp_path / "data"
    assert config.server.log_file == tmp_path / "logs/agr.jsonl"
    assert config.clock.file == tmp_path / "clock.json"
    terms = config.market.terms()
    assert (terms.calendar.tz, terms.calendar.isp) == ("Europe/Berlin", timedelta(minutes=15))
    assert (terms.settlement_basis, terms.penalty_eur_per_kwh) == (SettlementBasis.PAY_ORDERED, Decimal("0.5"))
    (point,) = terms.congestion_points
    assert (point.start, point.import_limit_w, point.export_limit_w) == (date(2026, 1, 1), 160000, None)
    (peer,) = [p.canonical() for p in config.peers]
    assert peer.keys[0].public_key == bytes(range(32))
    assert peer.status is ParticipantStatus.ACTIVE
    (resource,) = [r.canonical() for r in config.resources]
    assert resource.kind is ResourceKind.BATTERY
    assert resource.binding is not None
    assert resource.binding.options == {"unit": "1"}


def test_paths_start_at_the_folder_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "gridparley.toml"
    path.write_text(FULL, encoding="utf-8")
    config = load_config(path, {})
    assert config.adapters["uftp"] == {
        "signing_key_file": str(tmp_path / "keys/signing.key"),
        "tls_certificate": str(tmp_path / "tls/cert.pem"),
    }
    assert config.desk.options == {
        "homes_file": "/srv/homes.json",
        "nested": [{"tariff_file": str(tmp_path / "t.json")}],
    }


def test_the_smallest_configuration_has_defaults() -> None:
    config = parse({})
    assert config.server.data_dir == Path("/etc/gp/data")
    assert config.server.address == ("127.0.0.1", 8080)
    assert config.desk.kind == "none"


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        ({"sever": {}}, "sever: unknown key [config] (did you mean 'server'?)"),
        ({"server": {"data_dri": "x"}}, "server.data_dri: unknown key [config] (did you mean 'data_dir'?)"),
        ({"party": {"domain": "a"}}, "party.role: missing [config] (add role = …)"),
        ({"party": {"domain": "a", "role": "BRP"}}, "party: role BRP is none of AGR, DSO, CRO"),
        ({"party": {"domain": "a", "role": "AGG"}}, "party.role: 'AGG' is not one of them [config] (did you"),
        ({"party": {"domain": 5, "role": "AGR"}}, "party.domain: expected text, not a number"),
        ({"server": {"http_listen": "8080"}}, "server: http_listen '8080' is not host:port"),
        ({"server": {"http_listen": "127.0.0.1:99999"}}, "is not host:port"),
        ({"server": {"log_level": "loud"}}, "log_level 'loud' is none of debug"),
        ({"server": {"api_token": "short"}}, "shorter than 16 characters"),
        ({"server": {"outbox_first_s": 10, "outbox_longest_s": 5}}, "outbox_first_s <= outbox_longest_s"),
        ({"server": {"outbox_first_s": "nan"}}, "is not a finite number"),
        ({"server": []}, "server: expected a table, not a list"),
        ({"market": {"timezone": "Mars/Olympus"}}, "market: unknown time zone 'Mars/Olympus'"),
        ({"market": {"isp_minutes": 1.5}}, "market.isp_minutes: 1.5 is not a whole number"),
        ({"market": {"isp_minutes": True}}, "market.isp_minutes: True is not a whole number"),
        ({"market": {"congestion_points": [{"address": "a", "dso": "d", "start": "soon"}]}}, "'soon' is not a date"),
        (
            {"market": {"congestion_points": [{"address": "a", "dso": "d", "mutex_offers": "maybe"}]}},
            "market.congestion_points[1].mutex_offers: 'maybe' is not a boolean",
        ),
        ({"peers": {"domain": "x"}}, "peers: expected a list, not a table"),
        ({"peers": [{"domain": "d", "role": "DSO", "keys": ["zzz"]}]}, "peers[1]: a public key is cs1. followed by"),
        ({"peers": [{"domain": "d", "role": "DSO"}] * 2}, "peers: 'd' stands more than once"),
        ({"resources": [PV | {"p_max_w": 9}]}, "resources[pv]: a producer's power is never above 0 W"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_with_place_and_remedy(data: dict[str, Any], expected: str) -> None:
    assert any(expected in complaint for complaint in complaints(data)), complaints(data)


def test_a_binding_to_an_adapter_that_is_not_configured_is_refused() -> None:
    resource = {"id": "r", "connection": "c", "kind": "LOAD", "role": "CONSUMER", "p_min_w": 0, "p_max_w": 9}
    data = {"adapters": {"modbus": {}}, "resources": [resource | {"binding": {"adapter": "modbuss", "address": "x"}}]}
    (text,) = complaints(data)
    assert "did you mean 'modbus'?" in text


def test_all_problems_come_at_once() -> None:
    assert len(complaints({"sever": {}, "party": {"domain": 1}, "market": {"isp_minutes": "x"}})) == 4


def test_the_environment_overrides_the_file_and_is_checked_too() -> None:
    environ = {
        "GRIDPARLEY_SERVER_HTTP_LISTEN": "127.0.0.1:9",
        "GRIDPARLEY_MARKET_ISP_MINUTES": "30",
        "GRIDPARLEY_PARTY_ROLE": "DSO",
        "GRIDPARLEY_CRASH_AT": "",
        "HOME": "/",
    }
    config = parse({"server": {"http_listen": "127.0.0.1:8"}}, environ)
    assert (config.server.address, config.market.isp_minutes, config.party.role) == (("127.0.0.1", 9), 30, Role.DSO)
    (text,) = complaints({}, {"GRIDPARLEY_SERVER_HTTP_LISTN": "x"})
    assert text.startswith("GRIDPARLEY_SERVER_HTTP_LISTN")
    assert "did you mean 'http_listen'?" in text


@pytest.mark.parametrize(
    ("text", "value"), [("False", False), ("false", False), ("0", False), ("no", False), ("TRUE", True), ("1", True)]
)
def test_booleans_in_text_are_read_strictly(text: str, value: bool) -> None:
    point = {"address": "a", "dso": "d", "mutex_offers": text}
    assert parse({"market": {"congestion_points": [point]}}).market.congestion_points[0].mutex_offers is value


def test_a_file_that_is_missing_or_no_toml_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"No such file.*gridparley init"):
        load_config(tmp_path / "none.toml", {})
    path = tmp_path / "bad.toml"
    path.write_text("[server\n", encoding="utf-8")
    with pytest.raises(ConfigError, match="not TOML"):
        load_config(path, {})
