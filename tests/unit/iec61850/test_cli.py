import json
import tomllib
from dataclasses import replace
from pathlib import Path

from click.testing import CliRunner

from adapters.iec61850 import read_resources
from datamodels import Resource, decode
from interop.cli.scl import scl
from interop.config import parse_config

DATA = Path(__file__).resolve().parents[2] / "data" / "iec61850"
PARTY = {"party": {"domain": "agr.example.com", "role": "AGR"}}


def run(*arguments: str | Path) -> tuple[int, str, str]:
    result = CliRunner().invoke(scl, ["import", *map(str, arguments)])
    return result.exit_code, result.stdout, result.stderr


def test_the_output_is_configuration(tmp_path: Path) -> None:
    code, out, err = run(DATA / "battery.cid")
    assert code == 0
    assert "warning: BESS1/LD0/DSTO1.DschWMax (line 24)" in err
    assert "not carried: BESS1/LD0/DSTO1.WhRtg = 110 kWh" in err
    config = parse_config({**PARTY, **tomllib.loads(out)}, tmp_path, {})
    (battery,) = config.resources
    expected = read_resources((DATA / "battery.cid").read_bytes())[0][0]
    assert battery.canonical() == replace(expected, binding=None, flexibility=None)
    assert '# binding: iec61850 "192.0.2.17:102/BESS1/LD0"' in out


def test_text_of_any_kind_survives_toml(tmp_path: Path) -> None:
    name = 'back\\slash, "quote", é, 😀 and \x7f'
    code, out, _ = run(DATA / "pv.icd", "--ied", "PV7", "--connection", name, "--host", "127.0.0.1")
    assert code == 0
    assert tomllib.loads(out)["resources"][0]["connection"] == name


def test_json(tmp_path: Path) -> None:
    code, out, _ = run(DATA / "load.cid", "--json")
    document = json.loads(out)
    assert (code, document["problems"], document["losses"]) == (0, [], [])
    assert decode(document["resources"], list[Resource]) == read_resources((DATA / "load.cid").read_bytes())[0]


def test_exit_codes(tmp_path: Path) -> None:
    incomplete = tmp_path / "incomplete.icd"
    incomplete.write_text((DATA / "pv.icd").read_text().replace("WMax", "XMax"))
    code, out, err = run(incomplete)
    assert (code, out.strip()) == (1, "")
    assert "neither rating nor setting is stated" in err
    broken = tmp_path / "broken.icd"
    broken.write_text("<SCL>")
    code, _, err = run(broken)
    assert code == 4
    assert "xml.syntax" in err
    assert run(tmp_path / "absent.icd")[0] == 4
    assert run()[0] == 2
