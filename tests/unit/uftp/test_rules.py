"""Every rule, for every message it applies to: the untouched message passes, one edit fails it, and the answer carries
the released reason. `tests/data/uftp/cases.json` holds the edits, and which rules apply to which messages.
"""

from __future__ import annotations

import copy
import json
from dataclasses import replace
from datetime import date, datetime
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from lxml import etree

from adapters.ports import Direction
from adapters.uftp import check_payload
from adapters.uftp.codec import InvalidMessage, decode
from adapters.uftp.mapping import to_canonical
from adapters.uftp.rules import RULES
from adapters.uftp.schema import MESSAGES
from datamodels import BaselineMethod, Contract, MarketTerms, ParticipantStatus, Role, Run, Severity

DATA = Path(__file__).resolve().parents[2] / "data" / "uftp"
DOCUMENT = json.loads((DATA / "cases.json").read_text())
ROLES = {"agr": Role.AGR, "agr2": Role.AGR, "dso": Role.DSO, "cro": Role.CRO}
ALL = sorted(set(MESSAGES) - {"SignedMessage"})
GROUPS = {
    "all": ALL,
    "answers": [m for m in ALL if MESSAGES[m].refers],
    "zoned": [m for m in ALL if "TimeZone" in MESSAGES[m].spec["3.1.0"].attributes],
    "placed": ["FlexReservationUpdate", "D-Prognosis", "FlexRequest", "FlexOffer", "FlexOrder"],
}
GROUPS["series"] = [*GROUPS["placed"], "Metering"]


def _messages(named: Any) -> list[str]:
    return named if isinstance(named, list) else GROUPS.get(named, [named])


APPLIES: dict[str, list[str]] = {rule: _messages(named) for rule, named in DOCUMENT["applies"].items()}
EXEMPT = {(rule, message) for rule, messages in DOCUMENT["exempt"].items() for message in messages}
CASES: list[dict[str, Any]] = [
    {**case, "base": base}
    for case in DOCUMENT["cases"]
    for base in _messages(case["base"])
    if (case["rule"], base) not in EXEMPT
]


def _payload(name: str) -> bytes:
    return (DATA / f"{name}.xml").read_bytes()


def _root(base: str) -> str:
    return base.removesuffix("-partial")


def _terms(world: ModuleType, name: str | None) -> MarketTerms:
    terms: MarketTerms = world.TERMS
    point, contract = terms.congestion_points[0], terms.contracts[0]
    reserved = (Run(70, 6, -30000), Run(76, 1, -20000))
    limited = replace(point, import_limit_w=100_000, export_limit_w=10_000)
    variants = {
        "foreign": replace(terms, congestion_points=(replace(point, dso="other.example.org"),)),
        "ended": replace(terms, congestion_points=(replace(point, end=date(2030, 6, 11)),)),
        "single": replace(terms, congestion_points=(replace(point, mutex_offers=False),)),
        "whole": replace(terms, congestion_points=(replace(point, partial_activation=False),)),
        "limits": replace(terms, congestion_points=(limited,), power_limits_bind=True),
        "reserved": replace(terms, contracts=(replace(contract, reserved=reserved),)),
        "bounded": replace(terms, contracts=(replace(contract, bounded_offers=True),)),
        "prognosis": replace(terms, contracts=(replace(contract, baseline_method=BaselineMethod.D_PROGNOSIS),)),
    }
    chosen = variants[name] if name else terms
    return replace(chosen, contracts=(*chosen.contracts, Contract("C2", "dso.example.org", "agr2.example.org")))


def _edit(payload: bytes, case: dict[str, Any]) -> bytes:
    root = etree.fromstring(payload)
    for path in case.get("copy", ()):
        node = root.find(path)
        node.addnext(copy.deepcopy(node))
    for path, value in case.get("set", {}).items():
        place, _, name = path.rpartition("@")
        (root.find(place.rstrip("/")) if place else root).set(name, value)
    for path in case.get("remove", ()):
        place, at, name = path.rpartition("@")
        if at:
            del (root.find(place.rstrip("/")) if place else root).attrib[name]
        else:
            node = root.find(path)
            node.getparent().remove(node)
    return etree.tostring(root)


def _judge(world: ModuleType, case: dict[str, Any]) -> Any:
    base = case["base"]
    history = world.MemoryHistory()
    for way, name in case.get("setup", DOCUMENT["setups"][base]):
        history.replay(way, _payload(name))
    if case.get("again"):
        history.add(Direction.IN, to_canonical(decode(_payload(base)), world.TERMS.calendar)[0])
    root = etree.fromstring(_payload(base))
    sender = root.get("SenderDomain")
    sender, role = case.get("envelope") or (sender, ROLES[sender.partition(".")[0]])
    if case.get("as") == "another role":
        role = next(r for r in (Role.AGR, Role.DSO, Role.CRO) if r not in MESSAGES[_root(base)].senders)
    own = case.get("own", root.get("RecipientDomain"))
    moment = case.get("now", DOCUMENT["now"].get(base))
    now = datetime.fromisoformat(moment) if moment else world.NOW
    changes = dict(case.get("participants", {}))
    if "status" in changes:
        changes["status"] = ParticipantStatus(changes["status"])
    return check_payload(
        _edit(_payload(base), case),
        sender,
        Role(role),
        history,
        _terms(world, case.get("terms")),
        world.participants(**changes),
        now,
        own,
        ROLES[own.partition(".")[0]],
    )


@pytest.mark.parametrize("base", DOCUMENT["setups"])
def test_untouched_messages_pass_every_rule(world: ModuleType, base: str) -> None:
    verdict = _judge(world, {"base": base})
    assert verdict.problems == ()
    assert verdict.result == {"TestMessage": "TestMessageResponse"}.get(
        base, None if "Response" in base else "Accepted"
    )


@pytest.mark.parametrize("case", CASES, ids=[f"{c['rule']}-{c['base']}-{n}" for n, c in enumerate(CASES)])
def test_one_edit_breaks_the_rule(world: ModuleType, case: dict[str, Any]) -> None:
    """U-04: a failing case for each rule and message."""
    by = case.get("by", case["rule"])
    if by == "schema":
        with pytest.raises(InvalidMessage, match=case["reason"]):
            _judge(world, case)
        return
    verdict = _judge(world, case)
    mine = [p for p in verdict.problems if p.rule == by]
    assert mine, verdict.problems
    assert mine[0].clause.startswith("UFTP 3.1.0 ")
    assert mine[0].reason.startswith(case["reason"])
    if case.get("disputed"):
        assert mine[0].severity is Severity.WARNING
        assert mine[0].where == verdict.message.rows[0].order_reference
        return
    assert case["reason"] in verdict.reason
    assert verdict.result == ("Rejected" if verdict.needs_answer else "TestMessageResponse" if _is_test(case) else None)


def _is_test(case: dict[str, Any]) -> bool:
    return bool(case["base"] == "TestMessage")


@pytest.mark.parametrize("case", DOCUMENT["passes"], ids=[f"{c['rule']}-{c['base']}" for c in DOCUMENT["passes"]])
def test_what_the_rule_allows_passes(world: ModuleType, case: dict[str, Any]) -> None:
    """U-04: a passing case where the rule looks at more than the untouched messages show."""
    assert _judge(world, case).problems == ()


def test_every_rule_has_cases_for_every_message_it_applies_to() -> None:
    """U-04: the specification's table of rules and messages, the registry, and the cases agree."""
    wanted = {(rule, message) for rule, messages in APPLIES.items() for message in messages} - EXEMPT
    failing = {(case["rule"], _root(case["base"])) for case in CASES}
    assert failing == wanted
    assert {_root(base) for base in DOCUMENT["setups"]} == set(ALL)  # each passes untouched

    proved_by = {(case["rule"], _root(case["base"])): case.get("by", case["rule"]) for case in CASES}
    registered = {(rule.id, message) for rule in RULES.values() for message in rule.messages} - EXEMPT
    assert {(by, message) for (_, message), by in proved_by.items() if by != "schema"} <= registered
    tested = {(case.get("by", case["rule"]), _root(case["base"])) for case in CASES}
    assert registered <= tested


def test_all_failures_are_collected_and_joined(world: ModuleType) -> None:
    """U-05."""
    edits = {"ISP[3]/@Duration": "21", "@TimeZone": "America/New_York", "ISP[2]/@MaxPower": "1", "@ContractID": "C9"}
    verdict = _judge(world, {"base": "FlexRequest", "set": edits})
    assert set(verdict.reason.split(";")) == {
        "ISPs out of bounds",
        "Time zone rejected",
        "Requested Power discrepancy",
        "Unknown reference ContractID",
    }
    assert verdict.message is None


def test_a_zone_with_the_same_offsets_is_taken_and_noted(world: ModuleType) -> None:
    verdict = _judge(world, {"base": "FlexRequest", "set": {"@TimeZone": "Europe/Berlin"}})
    assert verdict.result == "Accepted"
    assert verdict.message.calendar.tz == "Europe/Amsterdam"
    assert [loss.field for loss in verdict.losses] == ["TimeZone"]


def test_a_repeated_message_is_no_duplicate_of_itself(world: ModuleType) -> None:
    for base in ("FlexRequest", "D-Prognosis", "Metering"):
        verdict = _judge(world, {"base": base, "setup": [["in", base]]})
        assert verdict.problems == (), base
    again = [*DOCUMENT["setups"]["FlexOrder"], ["in", "FlexOrder"]]
    assert _judge(world, {"base": "FlexOrder", "setup": again}).problems == ()


def test_an_unsolicited_offer_and_order_pass(world: ModuleType) -> None:
    offer = {"base": "FlexOffer", "set": {"@Unsolicited": "true"}, "remove": ["@FlexRequestMessageID"], "setup": []}
    order = {
        "base": "FlexOrder",
        "set": {"@Unsolicited": "true"},
        "remove": ["@FlexOfferMessageID", "@OptionReference"],
        "setup": [],
    }
    for case in (offer, order):
        verdict = _judge(world, case)
        assert verdict.result == "Accepted", verdict.problems
        assert verdict.message.unsolicited


@pytest.mark.parametrize(("day", "isps"), [("2030-03-31", 92), ("2030-10-27", 100)])
def test_days_on_which_the_clock_changes(world: ModuleType, day: str, isps: int) -> None:
    """U-14: days of 92 and 100 ISPs."""
    case = {"base": "D-Prognosis", "set": {"@Period": day, "ISP[2]/@Duration": str(isps - 48)}}
    verdict = _judge(world, case)
    assert verdict.result == "Accepted", verdict.problems
    assert len(verdict.message.power) == isps
    case["set"]["ISP[2]/@Duration"] = str(isps - 47)
    assert _judge(world, case).reason == "ISPs out of bounds"


@pytest.mark.parametrize(
    ("factor", "power", "accepted"),
    [
        ("0.51", "-25500", True),  # -25500.51, rounded towards zero
        ("0.51", "-25501", True),  # and half-even
        ("0.51", "-25502", False),
        ("0.50", "-25000", True),  # -25000.5: either neighbour
        ("0.50", "-25001", True),
        ("0.50", "-24999", False),
        ("1.00", "-50001", True),
        ("1.00", "-50000", False),  # exact when all is ordered
    ],
)
def test_partial_activation_rounds_within_a_watt(world: ModuleType, factor: str, power: str, accepted: bool) -> None:
    """U-16: odd powers, and how far a peer's rounding may differ."""
    price = f"{12.5 * float(factor):.4f}"
    edits = {"@ActivationFactor": factor, "ISP[1]/@Power": power, "@Price": price}
    verdict = _judge(world, {"base": "FlexOrder-partial", "set": edits})
    assert (verdict.result == "Accepted") is accepted, verdict.problems
