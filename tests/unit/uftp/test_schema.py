"""The message table against the released schemas: the same messages are valid for the table, for the schema derived
from it, and for the released one, on all sample messages, on each single mutation, and on random mutations.
"""

from __future__ import annotations

import copy
import json
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from types import ModuleType

import pytest
from lxml import etree

from adapters import xml
from adapters.uftp.codec import validate
from adapters.uftp.schema import MESSAGES, VERSIONS, ElementSpec
from adapters.uftp.xsd import xsd

JUNK = ("", "0", "-1", "1.0", "abc", "2030-13-01", "PT15M", "Europe/Amsterdam", "EUR", "true", " 7 ", "+5", "0.005")
"""Texts that are wrong for most types, and right for some."""

TEXTS: dict[str, tuple[str, ...]] = {
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
    "decimal": ("1.", ".5", ".", "1,5", "1e3", "INF", "NaN", "+0.10"),
    "ean": ("E871685900012636", "E87168590001263654", "F8716859000126365", "8716859000126365", "e8716859000126365"),
    "version": ("3.1", "v3.1.0", "3.1.0.0"),
    "role": ("agr", "BRP", "AGR "),
    "redispatch": ("CRO", "agr"),
    "result": ("accepted", "Success"),
    "disposition": ("requested", "Offered"),
    "settled": ("Rejected", "disputed"),
    "unit": ("W", "KW", "kwh"),
    "profile": ("power", "Energy"),
    "text": ("ë€", "  two  words  ", "x" * 300),
}


SAMPLES = {
    "text": "a text",
    "version": "3.1.0",
    "uuid": "00000000-0000-4000-8000-000000000001",
    "domain": "agr.example.org",
    "address": "ea1.2030-01.org.example:cp-1",
    "timeZone": "Europe/Amsterdam",
    "currency": "EUR",
    "ean": "E8716859000126365",
    "base64": "QUJD",
    "duration": "PT15M",
    "date": "2030-06-12",
    "dateTime": "2030-06-12T10:00:00Z",
    "boolean": "true",
    "integer": "-5",
    "long": "7",
    "positive": "2",
    "decimal": "1.25",
    "amount": "12.50",
    "factor": "0.50",
}


@dataclass(frozen=True)
class Judges:
    """The three validators of one version."""

    version: str
    official: etree.XMLSchema
    derived: etree.XMLSchema

    def differ(self, root: etree._Element) -> str:
        """Empty where all three are of one mind about a tree, else what they say."""
        released = self.official.validate(_trim(copy.deepcopy(root)))
        derived = self.derived.validate(root)
        element, problems = validate(root)
        if released == derived == (element is not None):
            return ""
        log = f"{self.official.error_log}\nderived: {derived} {self.derived.error_log}"
        return f"released: {released} {log}\ntable: {problems}\n{etree.tostring(root)[:800]!r}"


@pytest.fixture(scope="module")
def shared(world: ModuleType) -> ModuleType:
    if not (world.SHARED / "specs" / "uftp").is_dir():
        pytest.skip("the released UFTP schemas are not here; set GRIDPARLEY_SHARED to a folder with specs/uftp")
    return world


@pytest.fixture(scope="module")
def judges(shared: ModuleType) -> dict[str, Judges]:
    folder = shared.SHARED / "specs" / "uftp"
    return {
        version: Judges(
            version,
            etree.XMLSchema(etree.parse(str(folder / version / "all.xsd"))),
            etree.XMLSchema(etree.fromstring(xsd(version))),
        )
        for version in VERSIONS
    }


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


def test_vectors_agree(shared: ModuleType, judges: dict[str, Judges]) -> None:
    folder = shared.SHARED / "vectors" / "uftp"
    for entry in json.loads((folder / "manifest.json").read_text()):
        root = xml.parse((folder / entry["file"]).read_bytes())
        if "EAN18" in entry["file"]:
            assert validate(root)[0] is not None
            assert judges["3.1.0"].derived.validate(root)
            continue  # accepted on purpose, though the released schema refuses it
        assert not judges["3.1.0"].differ(root), entry["file"]


def test_there_is_no_schema_of_other_versions() -> None:
    with pytest.raises(ValueError, match=r"no UFTP 3\.2\.0 here, but 3\.1\.0, 3\.0\.0"):
        xsd("3.2.0")


# --- each mutation of each root -----------------------------------------------------------------------------------


def _sample(spec: ElementSpec, version: str, full: bool) -> etree._Element:
    """A valid element: with everything that is allowed, or with no more than what is required."""
    node = etree.Element(spec.name)
    for attribute in spec.attributes.values():
        if full or attribute.required:
            kind = attribute.type
            node.set(attribute.name, kind.values[-1] if kind.values else SAMPLES[kind.name])
    if "Version" in spec.attributes:
        node.set("Version", version)
    for child in spec.children:
        count = min(child.maximum or 2, 2) if full else child.minimum
        node.extend(_sample(child, version, full) for _ in range(count))
    return node


def _nodes(root: etree._Element, spec: ElementSpec) -> Iterator[tuple[str, ElementSpec]]:
    """Where the first element of each kind stands, and its table."""
    yield ".", spec
    for child in spec.children:
        for path, inner in _nodes(root, child):
            yield f"./{child.name}[1]{path[1:]}", inner


def _changes(spec: ElementSpec) -> Iterator[Callable[[etree._Element], object]]:
    """Everything that is done to one element of that table."""
    for attribute in spec.attributes.values():
        yield lambda node, name=attribute.name: node.attrib.pop(name, None)
        if attribute.type.name == "base64":
            continue  # what is not base64 is found when the envelope is opened
        for text in (*JUNK, *TEXTS.get(attribute.type.name, ())):
            yield lambda node, name=attribute.name, text=text: node.set(name, text)
    for name in ("Bogus", "{urn:other}Version", "Result", "Unsolicited", "ServiceType"):
        if name not in spec.attributes:
            yield lambda node, name=name: node.set(name, "true")
    for text in ("words", "\n  "):
        yield lambda node, text=text: setattr(node, "text", text)
        yield lambda node, text=text: [setattr(child, "tail", text) for child in node[:1]]
    for name in ("Bogus", "ISP", "{urn:other}ISP"):
        yield lambda node, name=name: etree.SubElement(node, name)
        yield lambda node, name=name: node.insert(0, etree.Element(name))
    for child in spec.children:
        yield lambda node, name=child.name: [node.remove(found) for found in node.findall(name)]
        yield lambda node, name=child.name: [node.append(copy.deepcopy(found)) for found in node.findall(name)]
        yield lambda node, name=child.name: [node.insert(0, found) for found in node.findall(name)]


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("name", sorted(MESSAGES))
def test_each_mutation_agrees(judges: dict[str, Judges], name: str, version: str) -> None:
    """Every attribute missing and with texts of other types, foreign attributes, text, and children: too few, too many,
    foreign, out of order; on the fullest and on the least message of each root."""
    judge = judges[version]
    spec = MESSAGES[name].spec[version]
    for full in (True, False):
        sample = _sample(spec, version, full)
        assert validate(sample)[0] is not None
        assert not judge.differ(sample)
        refused = 0
        for path, table in _nodes(sample, spec):
            for change in _changes(table):
                root = copy.deepcopy(sample)
                node = root.find(path) if path != "." else root
                if node is None:
                    continue
                change(node)
                assert not (disagreement := judge.differ(root)), disagreement
                refused += validate(root)[0] is None
        assert refused > 5


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("name", sorted(MESSAGES))
def test_defaults_are_those_of_the_schema(shared: ModuleType, name: str, version: str) -> None:
    folder = shared.SHARED / "specs" / "uftp"
    filling = _filling(str(folder / version / "all.xsd"))
    root = _sample(MESSAGES[name].spec[version], version, False)
    element, _ = validate(root)
    assert element is not None
    filling.assertValid(root)  # and puts in the defaults
    filled, _ = validate(root)
    assert element == filled
    derived = _sample(MESSAGES[name].spec[version], version, False)
    etree.XMLSchema(etree.fromstring(xsd(version)), attribute_defaults=True).assertValid(derived)
    assert validate(derived)[0] == element


@lru_cache
def _filling(path: str) -> etree.XMLSchema:
    return etree.XMLSchema(etree.parse(path), attribute_defaults=True)


# --- random mutations ---------------------------------------------------------------------------------------------


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


@pytest.mark.parametrize("seed", range(3))
def test_random_mutations_agree(shared: ModuleType, judges: dict[str, Judges], seed: int) -> None:
    dice = random.Random(seed)
    folder = shared.SHARED / "vectors" / "uftp" / "valid"
    roots = [xml.parse(p.read_bytes()) for p in sorted(folder.glob("*.xml")) if "EAN18" not in p.name]
    accepted = refused = 0
    for _ in range(400):
        root = copy.deepcopy(dice.choice(roots))
        version = dice.choice(VERSIONS)
        root.set("Version", version)
        for _ in range(dice.choice((1, 2, 3))):
            _mutate(root, dice)
        if root.get("Version", "").strip() != version:
            continue
        assert not (disagreement := judges[version].differ(root)), disagreement
        if validate(root)[0] is None:
            refused += 1
        else:
            accepted += 1
    assert accepted > 20
    assert refused > 100
