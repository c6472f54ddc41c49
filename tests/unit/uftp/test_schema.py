"""The message table against the released schemas, on all sample messages and on mutations of them."""

from __future__ import annotations

import copy
import json
import random
from types import ModuleType

import pytest
from lxml import etree

from adapters import xml
from adapters.uftp.codec import validate
from adapters.uftp.schema import MESSAGES, VERSIONS, ElementSpec

JUNK = ("", "0", "-1", "1.0", "abc", "2030-13-01", "PT15M", "Europe/Amsterdam", "EUR", "true", " 7 ", "+5", "0.005")
TEXTS = {
    "amount": ("1.00000", "1.00001", ".5", "5.", "-3.2500", "1e3", "--1"),
    "factor": ("0", "0.01", "0.010", "0.011", "1.00", "1.01", "1"),
    "dateTime": (
        "2030-06-12T10:00:00",
        "2030-06-12T10:00:00.123456789+02:00",
        "2030-06-12T24:00:00Z",
        "2030-06-12T25:00:00Z",
        "2030-02-29T00:00:00Z",
        "2030-06-12 10:00:00Z",
        "2030-06-12T10:00Z",
        "2030-06-12T10:00:00+14:01",
    ),
    "date": ("2030-06-12Z", "2030-06-12+02:00", "2030-6-12", "2030-02-30", "20300612"),
    "duration": ("P1D", "-PT15M", "PT", "P", "P1M", "PT1.5S", "PT1.5M", "PT15m", "P1DT"),
    "boolean": ("1", "0", "True", "false"),
    "uuid": ("00000000-0000-4000-8000-00000000000G", "00000000-0000-4000-8000-ABCDEFabcdef", "0"),
    "domain": ("a.b", "a.bc", "A.bc", "a-.bc", "-a.bc", "a--b.cd", "a.b.c1"),
    "address": ("ean.123456789012", "ean.12345678901", "ea1.2030-01.a:b", "ea1.2030-1.a:b", "EAN.123456789012"),
    "timeZone": ("Asia/Tokyo", "America/Argentina/Salta", "America/Port-au-Prince", "Europe/XY", "Europe/XYZ"),
    "currency": ("eur", "EURO", "XXX"),
    "integer": ("+5", "-0", "1.0", "007", ""),
    "long": ("9223372036854775808", "-5", "1e3"),
    "positive": ("0", "+1", "-1", "1"),
}


@pytest.fixture(scope="module")
def shared(world: ModuleType) -> ModuleType:
    if not (world.SHARED / "specs" / "uftp").is_dir():
        pytest.skip("the released UFTP schemas are not here; set GRIDPARLEY_SHARED to a folder with specs/uftp")
    return world


@pytest.fixture(scope="module")
def schemas(shared: ModuleType) -> dict[str, etree.XMLSchema]:
    folder = shared.SHARED / "specs" / "uftp"
    return {v: etree.XMLSchema(etree.parse(str(folder / v / "all.xsd"))) for v in VERSIONS}


def _flat(name: str, spec: ElementSpec, path: str = "") -> dict[str, tuple[object, ...]]:
    here = f"{path}/{name}"
    found: dict[str, tuple[object, ...]] = {
        f"{here}@{a.name}": (a.required, a.default) for a in spec.attributes.values()
    }
    for place, child in enumerate(spec.children):
        found[f"{here}/{child.name}"] = (place, child.minimum, child.maximum)
        found |= _flat(child.name, child, here)
    return found


def _flat_json(name: str, data: dict, path: str = "") -> dict[str, tuple[object, ...]]:
    here = f"{path}/{name}"
    found: dict[str, tuple[object, ...]] = {
        f"{here}@{a['name']}": (a["required"], a.get("default")) for a in data["attributes"]
    }
    for place, child in enumerate(data["children"]):
        most = None if child["max"] == "unbounded" else child["max"]
        found[f"{here}/{child['name']}"] = (place, child["min"], most)
        found |= _flat_json(child["name"], child, here)
    return found


@pytest.mark.parametrize("version", VERSIONS)
def test_the_table_says_what_the_released_schema_says(shared: ModuleType, version: str) -> None:
    table = json.loads((shared.SHARED / "specs" / "uftp" / version / "messages.json").read_text())
    assert set(table) == set(MESSAGES)
    for name, data in table.items():
        assert _flat(name, MESSAGES[name].spec[version]) == _flat_json(name, data), name


def _trim(root: etree._Element) -> etree._Element:
    """White space around values does not count for us, as for all known peers."""
    for node in root.iter():
        for name, value in node.items():
            node.set(name, value.strip(" \t\r\n"))
    return root


def _agree(schemas: dict[str, etree.XMLSchema], root: etree._Element, version: str) -> str:
    """Empty where table and schema agree on a tree, else what they say."""
    trimmed = _trim(copy.deepcopy(root))
    official = schemas[version].validate(trimmed)
    element, problems = validate(root)
    if (element is not None) == official:
        return ""
    return f"schema: {official} {schemas[version].error_log}\nours: {problems}\n{etree.tostring(root)[:600]!r}"


def test_vectors_agree(shared: ModuleType, schemas: dict[str, etree.XMLSchema]) -> None:
    folder = shared.SHARED / "vectors" / "uftp"
    for entry in json.loads((folder / "manifest.json").read_text()):
        root = xml.parse((folder / entry["file"]).read_bytes())
        if "EAN18" in entry["file"]:
            continue  # accepted on purpose
        assert not _agree(schemas, root, "3.1.0"), entry["file"]


def _mutate(root: etree._Element, dice: random.Random) -> None:
    nodes = [n for n in root.iter() if isinstance(n.tag, str)]
    node = dice.choice(nodes[:40])
    names = sorted(str(name) for name, _ in node.items())
    choice = dice.randrange(9)
    if choice == 0 and names:
        del node.attrib[dice.choice(names)]
    elif choice == 1:
        node.set(dice.choice(("Bogus", "Unsolicited", "ServiceType", "Duration", "Result")), dice.choice(JUNK))
    elif choice == 2 and node is not root:
        node.getparent().remove(node)
    elif choice == 3 and node is not root:
        node.addnext(copy.deepcopy(node))
    elif choice == 4 and len(root) > 1:
        root.append(root[0])
    elif choice == 5:
        etree.SubElement(node, dice.choice(("Bogus", "ISP", "Period", "Connection")))
    elif choice == 6:
        node.text = dice.choice(("\n  ", "words"))
    elif names:
        name = dice.choice(names)
        kind = _type_of(root, node, name)
        node.set(name, dice.choice((*JUNK, *TEXTS.get(kind, ()), *TEXTS.get(kind, ()))))


def _type_of(root: etree._Element, node: etree._Element, name: str) -> str:
    path = [node, *node.iterancestors()][::-1]
    spec = MESSAGES[path[0].tag].spec["3.1.0"]
    for step in path[1:]:
        spec = next((c for c in spec.children if c.name == step.tag), spec)
    return spec.attributes[name].type.name if name in spec.attributes else ""


@pytest.mark.parametrize("seed", range(5))
def test_mutations_agree(shared: ModuleType, schemas: dict[str, etree.XMLSchema], seed: int) -> None:
    dice = random.Random(seed)
    folder = shared.SHARED / "vectors" / "uftp" / "valid"
    roots = [xml.parse(p.read_bytes()) for p in sorted(folder.glob("*.xml")) if "EAN18" not in p.name]
    accepted = refused = 0
    for _ in range(400):
        root = copy.deepcopy(dice.choice(roots))
        version = dice.choice(VERSIONS)
        root.set("Version", version)
        for _ in range(dice.choice((1, 1, 2))):
            _mutate(root, dice)
        if root.get("Version", "").strip() != version:
            continue
        disagreement = _agree(schemas, root, version)
        assert not disagreement, disagreement
        if validate(root)[0] is None:
            refused += 1
        else:
            accepted += 1
    assert accepted > 20
    assert refused > 100
