"""Every rule of the Dutch profiles: samples that keep it, and a change that breaks it and nothing else."""

from __future__ import annotations

from typing import Any

import pytest
from support import openadr3 as kit

from adapters.openadr3 import model
from adapters.openadr3.codec import request
from adapters.openadr3.members import Version
from adapters.openadr3.profiles import der, der_reports, gac
from adapters.openadr3.profiles.rule import Around, is_ean
from datamodels import Problem, Severity

DER, GAC = kit.data("der.json"), kit.data("gac.json")
TABLES = {"DER": der_reports.RULES, "GAC": gac.RULES}


def judged(profile: str, name: str, subject: Any, around: Around = Around()) -> list[Problem]:
    if profile == "DER":
        return der_reports.judge(subject, around)
    return gac.judge(subject, gac.Edition(name.partition("-")[2] or "2.2"), around)


def around(samples: Any, given: dict[str, Any]) -> Around:
    def one(name: Any) -> Any:
        return (
            [one(each) for each in name] if isinstance(name, list) else kit.read(kit.sample_shape(name), samples[name])
        )

    return Around(**{key: one(name) for key, name in given.items()})


@pytest.mark.parametrize(
    ("profile", "samples", "name"),
    [(p, d["samples"], name) for p, d in (("DER", DER), ("GAC", GAC)) for name in d["samples"]],
    ids=lambda v: v if isinstance(v, str) else "",
)
def test_samples_keep_every_rule(profile: str, samples: Any, name: str) -> None:
    subject = kit.read(kit.sample_shape(name), samples[name])
    assert judged(profile, name, subject) == []
    wide = {"flex": {"group": "group"}, "delivery": {"event": "flex", "ven": "ven"}, "program": {"events": ["anchor"]}}
    if profile == "DER" and name in wide:
        assert judged(profile, name, subject, around(samples, wide[name])) == []


@pytest.mark.parametrize(
    ("samples", "case"),
    [(d["samples"], case) for d in (DER, GAC) for case in d["cases"]],
    ids=lambda v: f"{v['rule']} {' '.join(v['set'])}" if "rule" in v else "",
)
def test_a_broken_rule_is_named_alone_with_clause_reason_and_remedy(samples: Any, case: Any) -> None:
    subject = kit.read(kit.sample_shape(case["sample"]), kit.changed(samples[case["sample"]], case["set"]))
    found = judged(case["rule"][:3], case["sample"], subject, around(samples, case.get("around", {})))
    assert {p.rule for p in found} == {case["rule"]}
    assert all(p.where and p.message and p.reason and p.clause and p.hint for p in found)


@pytest.mark.parametrize(("profile", "data"), [("DER", DER), ("GAC", GAC)])
def test_every_rule_has_a_failing_case(profile: str, data: Any) -> None:
    assert {rule.id for rule in TABLES[profile]} == {case["rule"] for case in data["cases"]}
    assert len({rule.id for rule in TABLES[profile]}) == len(TABLES[profile])


def test_public_samples_keep_every_rule() -> None:
    vectors = kit.vector("profiles.json")
    for name, body in vectors["der_1_0_0"]["samples"].items():
        cls = {"program": model.Program, "report": model.Report}.get(name.rpartition("_")[2], model.Event)
        found = der_reports.judge(kit.read(request(cls, Version.V310), body))
        assert {p.severity for p in found} <= {Severity.WARNING}, name
    for name, body in vectors["gac"]["samples"].items():
        cls = model.Program if name.startswith("program") else model.Event
        assert gac.judge(kit.read(request(cls, Version.V310), body), gac.Edition.V22) == []


def test_closed_lists_are_those_published() -> None:
    lists = kit.vector("profiles.json")["der_1_0_0"]
    assert lists["dsoIdentifiers"] == der.DSO_IDS
    assert tuple(lists["flexTypes"]) == der.FLEX_TYPES
    assert tuple(lists["rejectedReason"]) == der.REJECTED_REASONS
    assert tuple(lists["overrideReasons"]) == der.OVERRIDE_REASONS
    assert tuple(lists["maxDuration"]) == tuple(der.DISPATCHES)
    assert all(is_ean(ean, 13) for ean in lists["eanSamples"]["ean13_valid"])
    assert not any(is_ean(ean, 13) for ean in lists["eanSamples"]["ean13_invalid"])


def test_editions_of_gac() -> None:
    def declared(text: str) -> gac.Edition | None:
        return gac.edition(model.Program(program_name="p", program_type=text))

    assert declared("DSO_CPO_INTERFACE-2.1.1") is gac.Edition.V21
    assert declared("DSO_CPO_INTERFACE-9.0.0") is None
    assert declared("DSO_SP_INTERFACE-1.0.0") is None
