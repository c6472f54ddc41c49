import csv
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from lxml import etree

from adapters.errors import TransportFault
from adapters.iec61850.scl.model import TEMPLATE, Value
from adapters.iec61850.scl.reader import NAMESPACE, read

SclFile = Callable[[str], bytes]


def scl(attributes: str = "", content: str = "") -> bytes:
    return f'<SCL xmlns="{NAMESPACE}" {attributes}><Header id="h"/>{content}</SCL>'.encode()


@pytest.mark.parametrize(
    ("attributes", "schema", "odd"),
    [
        ("", "SCL2003", False),
        ('version="2007"', "SCL2007B", False),
        ('version="2007" revision="A"', "SCL2007B", False),
        ('version="2007" revision="B"', "SCL2007B", False),
        ('version="2007" revision="B" release="1"', "SCL2007B", False),
        ('version="2007" revision="B" release="3"', "SCL2007B4", False),
        ('version="2007" revision="B" release="4"', "SCL2007B4", False),
        ('version="2007" revision="B" release="5"', "SCL2007B4", True),
        ('version="2007" revision="C" release="5"', "SCL2007B4", True),
        ('version="1991" revision="B" release="3"', "SCL2007B4", True),
        ('version="2007" revision="B" release="1000"', "SCL2007B4", True),
    ],
)
def test_the_edition_is_known_by_its_attributes(attributes: str, schema: str, odd: bool) -> None:
    file = read(scl(attributes))
    assert file.schema == schema
    assert [p.rule for p in file.problems] == (["SCL-LOAD-006"] if odd else [])


@pytest.mark.parametrize(
    ("data", "rule"),
    [
        (b"", "xml.empty"),
        (b"<SCL>", "xml.syntax"),
        (b"<SCL/>", "scl.root"),
        (f'<Header xmlns="{NAMESPACE}"/>'.encode(), "scl.root"),
        (b"<!DOCTYPE SCL>" + scl(), "xml.doctype"),
        (scl(content="<Private>" * 201 + "</Private>" * 201), "xml.depth"),
    ],
)
def test_what_is_not_scl_is_refused(data: bytes, rule: str) -> None:
    with pytest.raises(TransportFault) as fault:
        read(data)
    assert fault.value.rule == rule


def test_a_configured_device(scl_file: SclFile) -> None:
    file = read(scl_file("battery.cid"))
    assert (file.schema, file.header and file.header.id) == ("SCL2007B4", "battery")
    ((ied, access_point, device),) = file.devices()
    assert (ied.name, ied.manufacturer, ied.type, access_point.name) == ("BESS1", "Example", "Battery", "AP1")
    assert (device.inst, device.domain(ied.name)) == ("LD0", "BESS1_Storage")
    assert [node.name for node in device.nodes] == ["LLN0", "LPHD1", "DSTO1", "MMXU1", "DPCC1"]
    dsto = device.nodes[2]
    assert dsto.values["ChaWMax.setMag.f"] == (Value("50", 22),)
    assert scl_file("battery.cid").splitlines()[21].strip().startswith(b'<DOI name="ChaWMax">')
    assert file.connected[0].address == {"IP": "192.0.2.17", "IP-SUBNET": "255.255.255.0", "OSI-TSEL": "0001"}


def test_setting_groups_and_prefixes(scl_file: SclFile) -> None:
    ((ied, _, device),) = read(scl_file("load.cid")).devices()
    assert (device.active_group, device.domain(ied.name)) == (2, "COLD1LD0")
    assert device.nodes[2].name == "CompDLOD1"
    assert [(v.text, v.group) for v in device.nodes[2].values["WMax.setMag.f"]] == [("60", 1), ("90", 2)]


def test_types_are_followed_to_the_attribute(scl_file: SclFile) -> None:
    templates = read(scl_file("battery.cid")).templates
    unit = templates.attribute("DSTO", "WhRtg.units.SIUnit")
    assert unit is not None
    assert (unit.b_type, unit.type, [v.text for v in unit.values]) == ("Enum", "SIUnitKind", ["72"])
    assert templates.enums["SIUnitKind"][72] == "Wh"
    assert templates.objects["ASG_W"].cdc == "ASG"
    for nowhere in ("WhRtg", "WhRtg.units.none", "WhRtg.units.SIUnit.deeper", "Gone.setMag.f"):
        assert templates.attribute("DSTO", nowhere) is None
    assert templates.attribute("NoSuchType", "WhRtg.units.SIUnit") is None


def test_sub_data_objects_are_followed() -> None:
    types = (
        '<DataTypeTemplates><LNodeType id="M" lnClass="MMXU"><DO name="PhV" type="WYE"/></LNodeType>'
        '<DOType id="WYE" cdc="WYE"><SDO name="phsA" type="CMV"/></DOType>'
        '<DOType id="CMV" cdc="CMV"><DA name="q" bType="Quality" fc="MX"/></DOType></DataTypeTemplates>'
    )
    found = read(scl(content=types)).templates.attribute("M", "PhV.phsA.q")
    assert found is not None
    assert found.b_type == "Quality"


def test_arrays_and_repeated_values_are_kept_apart() -> None:
    node = (
        '<IED name="I"><AccessPoint name="A"><Server><LDevice inst="L"><LN0 lnClass="LLN0" inst="" lnType="T"/>'
        '<LN lnClass="GGIO" inst="1" lnType="T"><DOI name="Crv"><SDI name="crvPts" ix="0"><DAI name="x"><Val>1</Val>'
        '</DAI></SDI><SDI name="crvPts" ix="1"><DAI name="x"><Val>2</Val></DAI></SDI></DOI>'
        '<DOI name="Crv"><SDI name="crvPts" ix="1"><DAI name="x"><Val>3</Val></DAI></SDI></DOI>'
        "</LN></LDevice></Server></AccessPoint></IED>"
    )
    file = read(scl(content=node))
    ((_, _, device),) = file.devices()
    values = device.nodes[1].values
    assert {path: v[0].text for path, v in values.items()} == {"Crv.crvPts(0).x": "1", "Crv.crvPts(1).x": "2"}
    assert [p.rule for p in file.problems] == ["scl.twice"]


def test_a_template_gets_its_name(scl_file: SclFile) -> None:
    file = read(scl_file("pv.icd"))
    assert file.ieds[0].name == TEMPLATE
    named = file.named("PV7")
    assert (named.ieds[0].name, named.connected[0].ied) == ("PV7", "PV7")
    assert read(scl_file("load.cid")).named("X").ieds[0].name == "COLD1"


def test_our_files_keep_the_schema(shared: Path, scl_file: SclFile) -> None:
    schema = etree.XMLSchema(etree.parse(shared / "specs/iec61850/xsd/SCL2007B4/SCL.xsd"))
    for name in ("battery.cid", "pv.icd", "load.cid"):
        assert schema.validate(etree.fromstring(scl_file(name))), schema.error_log


def test_public_files_load(shared: Path) -> None:
    """Edition, IEDs and nodes of 77 files as their manifest counts them; none takes long."""
    folder = shared / "vectors/iec61850/scl"
    rows = list(csv.DictReader((folder / "manifest.csv").read_text(encoding="utf-8").splitlines()))
    assert len(rows) == 77
    begin = time.perf_counter()
    for row in rows:
        data = (folder / row["path"]).read_bytes()
        file = read(data)
        assert file.schema == row["schema"], row["path"]
        assert len(file.ieds) == int(row["ieds"]), row["path"]
        nodes = sum(len(device.nodes) for _, _, device in file.devices())
        assert nodes == int(row["lns"]), row["path"]
    assert time.perf_counter() - begin < 10
