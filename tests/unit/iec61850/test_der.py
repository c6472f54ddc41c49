from collections.abc import Callable

import pytest

from adapters.iec61850 import read_resources
from datamodels import (
    Binding,
    Consequence,
    Loss,
    PowerEnvelope,
    Problem,
    Resource,
    ResourceKind,
    ResourceRole,
    Severity,
    Storage,
    validate,
)

SclFile = Callable[[str], bytes]
Result = tuple[list[Resource], list[Problem], list[Loss]]


@pytest.fixture
def battery(scl_file: SclFile) -> Callable[..., Result]:
    """The battery with parts of its file replaced."""

    def read(*changes: tuple[str, str], **options: str) -> Result:
        text = scl_file("battery.cid").decode()
        for old, new in changes:
            assert old in text, old
            text = text.replace(old, new)
        return read_resources(text.encode(), **options)

    return read


def rules(problems: list[Problem], severity: Severity = Severity.ERROR) -> list[str]:
    return [p.rule for p in problems if p.severity is severity]


def test_a_battery(scl_file: SclFile) -> None:
    resources, problems, losses = read_resources(scl_file("battery.cid"))
    assert resources == [
        Resource(
            "BESS1.LD0.DSTO1",
            "ean.871685900000000017",
            ResourceKind.BATTERY,
            ResourceRole.STORAGE,
            -50_000,
            50_000,
            Binding(
                "iec61850",
                "192.0.2.17:102/BESS1/LD0",
                {"node": "DSTO1", "domain": "BESS1_Storage", "access_point": "AP1", "setpoint": "DSTO1.WSpt"},
            ),
            Storage(100_000, 0, 50_000, 50_000),
            100_000,
            "Example Battery",
        )
    ]
    assert validate(resources[0]) == []
    (setting,) = problems
    assert (setting.rule, setting.severity) == ("der.setting", Severity.WARNING)
    assert setting.where == "BESS1/LD0/DSTO1.DschWMax (line 24)"
    assert [(loss.field, loss.value) for loss in losses] == [
        ("BESS1/LD0/DSTO1.WhRtg", "110 kWh"),
        ("BESS1/LD0/DSTO1.ChaVAMaxRtg", "60000 VA"),
    ]


def test_a_photovoltaic_inverter_of_a_type(scl_file: SclFile) -> None:
    ((pv,), problems, _) = read_resources(scl_file("pv.icd"))
    assert (pv.kind, pv.role, pv.p_min_w, pv.p_max_w) == (ResourceKind.PV, ResourceRole.PRODUCER, -8_000, 0)
    assert pv.flexibility == PowerEnvelope((), Consequence.VANISH)
    assert pv.binding is None
    assert rules(problems, Severity.WARNING) == ["der.connection", "der.template", "der.host"]
    assert rules(problems) == []


def test_an_installed_inverter_is_named_and_bound(scl_file: SclFile) -> None:
    ((pv,), problems, _) = read_resources(
        scl_file("pv.icd"), ied="PV7", connection="ean.1", host="127.0.0.1", port=1102
    )
    assert problems == []
    assert (pv.id, pv.connection) == ("PV7.LD0.DGEN1", "ean.1")
    assert pv.binding is not None
    assert pv.binding.address == "127.0.0.1:1102/PV7/LD0"
    assert pv.binding.options == {"node": "DGEN1", "domain": "PV7LD0", "access_point": "AP1", "limit": "DWMX1.WMaxSpt"}


def test_the_active_setting_group_bounds_a_load(scl_file: SclFile) -> None:
    ((load,), problems, losses) = read_resources(scl_file("load.cid"))
    assert (load.kind, load.role, load.p_min_w, load.p_max_w) == (
        ResourceKind.LOAD,
        ResourceRole.CONSUMER,
        0,
        90_000,
    )
    assert (problems, losses) == ([], [])


CHARGE = '<DOI name="ChaWMax"><SDI name="setMag"><DAI name="f"><Val>50</Val></DAI></SDI></DOI>'
CHARGE_RATING = CHARGE.replace('"ChaWMax"', '"ChaWMaxRtg"').replace(">50<", ">55<")
ENERGY = '<DOI name="WhMaxRtg"><SDI name="setMag"><DAI name="f"><Val>100</Val></DAI></SDI></DOI>'
ENERGY_RATING = ENERGY.replace("WhMaxRtg", "WhRtg").replace(">100<", ">110<")
TYPE = "<Val>Lithium Ion Battery Storage</Val>"

BROKEN = [
    pytest.param(
        [("<Val>50</Val>", "<Val>fifty</Val>")], ["der.value"] * 2, "'fifty' is not a usable number", id="text"
    ),
    pytest.param([("<Val>50</Val>", "<Val>NaN</Val>")], ["der.value"] * 2, "'NaN' is not a usable", id="not a number"),
    pytest.param([("<Val>50</Val>", "<Val>-50</Val>")], ["der.value"] * 2, "-50000 W is not a rating", id="negative"),
    pytest.param([("<Val>50</Val>", "<Val>1e30</Val>")], ["der.value"] * 2, "is not a rating", id="absurd"),
    pytest.param(
        [("<Val>50</Val>", "<Val>1e999999</Val>")], ["der.value"] * 2, "is not a usable number", id="huge exponent"
    ),
    pytest.param([("<Val>W</Val>", "<Val>VA</Val>")], ["der.value"] * 4, "the unit is 'VA', not W", id="another unit"),
    pytest.param([("<Val>W</Val>", "")], ["der.value"] * 4, "the value has no unit", id="no unit"),
    pytest.param([("<Val>k</Val>", "<Val>kilo</Val>")], ["der.value"] * 4, "is no multiplier", id="no multiplier"),
    pytest.param([("<Val>k</Val>", "<Val>99</Val>")], ["der.value"] * 4, "'99' is no multiplier", id="odd multiplier"),
    pytest.param([(CHARGE, ""), (CHARGE_RATING, "")], ["der.rating"], "neither rating nor setting", id="no rating"),
    pytest.param([(ENERGY, ""), (ENERGY_RATING, "")], ["der.capacity"], "no capacity is stated", id="no capacity"),
]


@pytest.mark.parametrize(("changes", "expected", "text"), BROKEN)
def test_what_is_not_stated_is_not_guessed(
    battery: Callable[..., Result], changes: list[tuple[str, str]], expected: list[str], text: str
) -> None:
    resources, problems, losses = battery(*changes)
    assert (resources, losses) == ([], [])
    assert rules(problems) == expected
    found = next(p for p in problems if p.severity is Severity.ERROR)
    assert text in found.message
    assert found.hint
    assert found.where.startswith("BESS1/LD0/DSTO1.")


def test_everything_missing_is_said_at_once(battery: Callable[..., Result]) -> None:
    _, problems, _ = battery((CHARGE, ""), (CHARGE_RATING, ""), (ENERGY, ""), (ENERGY_RATING, ""))
    assert rules(problems) == ["der.rating", "der.capacity"]


@pytest.mark.parametrize(
    ("unit", "multiplier", "watts"),
    [("W", "k", 50_000), ("38", "3", 50_000), ("W", "M", 50_000_000), ("W", "", 50), ("W", "0", 50), ("W", "-3", 0)],
)
def test_units_by_literal_or_ordinal(battery: Callable[..., Result], unit: str, multiplier: str, watts: int) -> None:
    ((found,), *_) = battery(("<Val>W</Val>", f"<Val>{unit}</Val>"), ("<Val>k</Val>", f"<Val>{multiplier}</Val>"))
    assert found.p_max_w == watts


def test_a_rating_alone_or_a_setting_alone_is_enough(battery: Callable[..., Result]) -> None:
    assert battery((CHARGE, ""))[0][0].p_max_w == 55_000
    assert battery((CHARGE_RATING, ""))[0][0].p_max_w == 50_000
    assert battery((ENERGY, ""))[0][0].capacity_wh == 110_000


def test_scaled_integers(battery: Callable[..., Result]) -> None:
    scaled = (
        '<DOI name="ChaWMax"><SDI name="setMag"><DAI name="i"><Val>480</Val></DAI></SDI><SDI name="sVC">'
        '<DAI name="scaleFactor"><Val>0.1</Val></DAI><DAI name="offset"><Val>1</Val></DAI></SDI></DOI>'
    )
    assert battery((CHARGE, scaled))[0][0].p_max_w == 49_000


@pytest.mark.parametrize(
    ("type_", "kind", "warned"),
    [
        ("<Val>5</Val>", ResourceKind.BATTERY, False),
        ("<Val>13</Val>", ResourceKind.EVSE, False),
        ("", ResourceKind.BATTERY, True),
        ("<Val>Antimatter</Val>", ResourceKind.BATTERY, True),
    ],
)
def test_the_kind_follows_the_unit_type(
    battery: Callable[..., Result], type_: str, kind: ResourceKind, warned: bool
) -> None:
    ((found,), problems, _) = battery((TYPE, type_))
    assert found.kind is kind
    assert ("der.type" in rules(problems, Severity.WARNING)) is warned


def test_a_generator_beside_panels_is_photovoltaic(scl_file: SclFile) -> None:
    text = scl_file("pv.icd").decode().replace("<Val>PV</Val>", "")
    (unknown, *_), problems, _ = read_resources(text.encode())
    assert unknown.kind is ResourceKind.GENSET
    assert "der.type" in rules(problems, Severity.WARNING)
    beside = text.replace('<LN lnClass="DWMX"', '<LN lnClass="DPVC" inst="1" lnType="MMXU"/><LN lnClass="DWMX"')
    assert read_resources(beside.encode())[0][0].kind is ResourceKind.PV


def test_capacity_from_charge_and_voltage(battery: Callable[..., Result]) -> None:
    node = (
        '<LN lnClass="DBAT" inst="1" lnType="DBAT">'
        '<DOI name="AhrRtg"><SDI name="setMag"><DAI name="f"><Val>200</Val></DAI></SDI>'
        '<SDI name="units"><DAI name="SIUnit"><Val>Ah</Val></DAI></SDI></DOI>'
        '<DOI name="BatVNom"><SDI name="setMag"><DAI name="f"><Val>400</Val></DAI></SDI>'
        '<SDI name="units"><DAI name="SIUnit"><Val>V</Val></DAI></SDI></DOI></LN>'
    )
    ((found,), problems, _) = battery((ENERGY, ""), (ENERGY_RATING, ""), ("</LDevice>", f"{node}</LDevice>"))
    assert found.capacity_wh == 80_000
    assert "der.capacity" in rules(problems, Severity.WARNING)


def test_a_status_only_control_controls_nothing(battery: Callable[..., Result]) -> None:
    ((found,), problems, _) = battery(("<Val>direct-with-normal-security</Val>", "<Val>status-only</Val>"))
    assert found.binding is not None
    assert "setpoint" not in found.binding.options
    assert "der.control" in rules(problems, Severity.WARNING)


GENERATOR = (
    '<LN lnClass="DGEN" inst="1" lnType="DSTO"><DOI name="WMax"><SDI name="setMag"><DAI name="f"><Val>50</Val></DAI>'
    '</SDI><SDI name="units"><DAI name="SIUnit"><Val>W</Val></DAI></SDI></DOI></LN>'
)


@pytest.mark.parametrize(
    ("relation", "reference", "counted"),
    [
        ("EqGn1", "BESS1_Storage/DGEN1", False),
        ("EqGn1", "LD0/DGEN1.WMax", False),
        ("EqGn1", "@/DGEN1", False),
        ("InclGn1", "DGEN1", False),
        ("EqGn1", "BESS1_Storage/DGEN2", True),
        ("EqSto", "BESS1_Storage/DGEN1", True),
    ],
)
def test_power_is_not_counted_twice(
    battery: Callable[..., Result], relation: str, reference: str, counted: bool
) -> None:
    pointer = f'<DOI name="{relation}"><DAI name="setSrcRef"><Val>{reference}</Val></DAI></DOI>'
    declared = f'<DO name="{relation}" type="ORG"/>' if relation != "EqSto" else ""
    resources, _, losses = battery(
        (ENERGY, ENERGY + pointer),
        ('<DO name="EqSto" type="ORG"/>', f'<DO name="EqSto" type="ORG"/>{declared}'),
        ("</LDevice>", f"{GENERATOR}</LDevice>"),
    )
    assert [r.id for r in resources] == ["BESS1.LD0.DSTO1", "BESS1.LD0.DGEN1"][: 1 + counted]
    assert any(loss.value == "DGEN1" for loss in losses) is not counted


def test_edition_1_nodes_are_named(battery: Callable[..., Result]) -> None:
    _, problems, _ = battery(('lnClass="DSTO" inst', 'lnClass="DRCT" inst'))
    assert rules(problems, Severity.WARNING) == ["der.edition1", "der.none"]
    assert "DRCT of 7-420 Edition 1" in problems[0].message


def test_a_node_that_stands_twice_is_registered_once(battery: Callable[..., Result]) -> None:
    text = GENERATOR + GENERATOR
    resources, problems, _ = battery(("</LDevice>", f"{text}</LDevice>"))
    assert [r.id for r in resources] == ["BESS1.LD0.DSTO1", "BESS1.LD0.DGEN1"]
    assert rules(problems) == ["der.twice"]


@pytest.mark.parametrize(
    ("data", "rule"), [(b"", "xml.empty"), (b"<a/>", "scl.root"), (b"<!DOCTYPE a><a/>", "xml.doctype")]
)
def test_an_unreadable_file_is_one_problem(data: bytes, rule: str) -> None:
    resources, problems, losses = read_resources(data)
    assert (resources, rules(problems), losses) == ([], [rule], [])
