"""Reports of a run: one JSON document with everything in it, and text and JUnit made from that document alone.

Settings of the device (addresses, keys) are not part of any report; claims are.
"""

from __future__ import annotations

import base64
import hashlib
import json
import platform
from collections import Counter
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from lxml import etree

from conformance.run import Outcome, Run

__all__ = ["document", "junit", "text"]

SCHEMA = 1
_RAW_BYTES = 4096
_BY_CHECKS = frozenset({"fail", "warn", "pass-nonstrict"})
_PASSED = frozenset({"pass", "pass-nonstrict", "warn", "xfail"})


def document(run: Run) -> dict[str, Any]:
    """The result as JSON-ready data, schema 1."""
    results = [_result(o) for o in run.outcomes]
    return {
        "schema": SCHEMA,
        "tool": {"name": "gridparley", "version": _version()},
        "suite": {"id": run.suite.id, "version": run.suite.version, "specification": run.suite.specification},
        "dut": {"name": run.dut.name, "version": run.dut.version, "claims": {**run.suite.claims, **run.dut.claims}},
        "run": {
            "start": run.started.isoformat(),
            "end": run.ended.isoformat(),
            "seed": run.seed,
            "host": {"python": platform.python_version(), "os": platform.system()},
        },
        "results": results,
        "coverage": _coverage(results),
        "totals": dict(sorted(Counter(r["verdict"] for r in results).items())),
        "verdict": run.verdict.value,
        "verdict_sha256": _verdict_hash(results),
    }


def _result(outcome: Outcome) -> dict[str, Any]:
    case = outcome.case
    return {
        "case": case.id,
        "title": case.title,
        "clause": case.clause,
        "level": case.level.value,
        "role": case.role,
        "verdict": outcome.verdict.value,
        "reason": outcome.reason,
        "ms": round(outcome.milliseconds, 1),
        "steps": [
            {
                "n": n,
                "title": step.title,
                "checks": [
                    {
                        "id": check.id,
                        "clause": check.clause,
                        "level": check.level.value,
                        "result": check.result.value,
                        "expected": check.expected,
                        "got": check.got,
                        "hint": check.hint,
                        "events": list(check.events),
                    }
                    for check in step.checks
                ],
            }
            for n, step in enumerate(outcome.steps, 1)
        ],
        "events": [
            {
                "n": event.n,
                "t": round(event.seconds, 6),
                "dir": event.direction,
                "note": event.note,
                "bytes": len(event.raw),
                "raw": base64.b64encode(event.raw[:_RAW_BYTES]).decode("ascii"),
            }
            for event in outcome.events
        ],
    }


def _coverage(results: list[dict[str, Any]]) -> dict[str, dict[str, int]]:
    """Per clause: how many cases judge it, how many of them ran, and how many checks were bad."""
    clauses: dict[str, dict[str, int]] = {}
    for result in results:
        counts = clauses.setdefault(result["clause"], {"cases": 0, "run": 0, "bad": 0})
        counts["cases"] += 1
        counts["run"] += result["verdict"] != "n-a"
        counts["bad"] += sum(c["result"] == "bad" for s in result["steps"] for c in s["checks"])
    return dict(sorted(clauses.items()))


def _verdict_hash(results: list[dict[str, Any]]) -> str:
    """SHA-256 over what was judged, not over when or how fast: two runs that judge alike have the same."""
    judged = [
        [r["case"], r["verdict"], [[c["id"], c["result"]] for s in r["steps"] for c in s["checks"]]] for r in results
    ]
    return hashlib.sha256(json.dumps(judged, separators=(",", ":")).encode()).hexdigest()


def text(result: Mapping[str, Any], command: str = "") -> str:
    """The result for people. `command` is what they ran; it is repeated for each case that did not pass."""
    suite, dut = result["suite"], result["dut"]
    lines = [
        f"{suite['id']} {suite['version']} ({suite['specification']}) against {dut['name']} {dut['version']}".rstrip()
    ]
    for case in result["results"]:
        lines.append(f"{case['verdict']:>14}  {case['case']}  {case['title']}")
        if case["verdict"] == "pass":
            continue
        bad = [c for s in case["steps"] for c in s["checks"] if c["result"] == "bad"]
        if not bad or case["verdict"] not in _BY_CHECKS:
            lines.append(f"{'':16}{case['reason']}")
        for check in bad:
            lines.append(f"{'':16}{check['id']} {check['level']} {check['clause']}: expected {check['expected']}")
            lines.append(f"{'':18}got {check['got'] or 'otherwise'}" + (f"; {check['hint']}" if check["hint"] else ""))
        if command and case["verdict"] not in _PASSED | {"n-a"}:
            lines.append(f"{'':16}again: {command} --only {case['case']}")
    totals = ", ".join(f"{count} {verdict}" for verdict, count in result["totals"].items())
    lines.append(f"verdict: {result['verdict']} ({totals})")
    return "\n".join(lines)


def junit(result: Mapping[str, Any]) -> bytes:
    """The result as JUnit XML: fail is a failure, error and inconclusive are errors, n-a is skipped."""
    verdicts = [case["verdict"] for case in result["results"]]
    suite = etree.Element(
        "testsuite",
        name=f"{result['suite']['id']} {result['suite']['version']}",
        tests=str(len(verdicts)),
        failures=str(sum(v in ("fail", "fixed") for v in verdicts)),
        errors=str(sum(v in ("error", "inconclusive") for v in verdicts)),
        skipped=str(verdicts.count("n-a")),
        timestamp=result["run"]["start"],
    )
    for case in result["results"]:
        name = f"{case['case']} {case['title']}"
        element = etree.SubElement(
            suite, "testcase", classname=result["suite"]["id"], name=name, time=f"{case['ms'] / 1000:.3f}"
        )
        properties = etree.SubElement(element, "properties")
        for key in ("clause", "level", "verdict"):
            etree.SubElement(properties, "property", name=key, value=case[key])
        kind = _JUNIT.get(case["verdict"])
        if kind:
            etree.SubElement(element, kind, message=_printable(case["reason"]))
        elif case["reason"]:
            etree.SubElement(element, "system-out").text = _printable(case["reason"])
    return etree.tostring(suite, xml_declaration=True, encoding="UTF-8", pretty_print=True)


_JUNIT = {"fail": "failure", "fixed": "failure", "error": "error", "inconclusive": "error", "n-a": "skipped"}


def _printable(text: str) -> str:
    """Without what XML 1.0 cannot hold: a device's answer may be quoted in it."""
    return "".join(
        c if c in "\t\n" or (c >= " " and not "\ud800" <= c <= "\udfff" and c not in "\ufffe\uffff") else "�"
        for c in text
    )


def _version() -> str:
    try:
        return version("gridparley")
    except PackageNotFoundError:  # run from a source tree
        return "0"
