"""Our verdicts against those of openadr3-client and its compliance plug-ins, another implementation of both profiles.

GRIDPARLEY_OPENADR3_PYTHON names the Python (3.12) of an environment with `peer-requirements.txt` installed.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from support import openadr3 as kit

from adapters.openadr3 import mapping
from adapters.openadr3.codec import encode
from adapters.openadr3.members import Version
from datamodels import FlexOffer, FlexOrder, Head, IspSeries, MarketCalendar, OfferOption, Run

pytestmark = pytest.mark.foreign

PYTHON = os.environ.get("GRIDPARLEY_OPENADR3_PYTHON", "")
SCRIPT = Path(__file__).with_name("profile_peer.py")
DER, GAC = kit.data("der.json"), kit.data("gac.json")
STAMPS = {"createdDateTime": "2026-11-22T12:00:00Z", "modificationDateTime": "2026-11-22T12:00:00Z"}
UNSEEN = {
    # What that judge leaves to whoever holds more than one object, or does not look at.
    "DER.id", "DER.program.named", "DER.program.anchor", "DER.flex.max_duration", "DER.flex.available",
    "DER.delivery.mirror", "GAC.program.safe_mode",
}  # fmt: skip
PASSED_THERE = {
    "DER.report.client clientName around ven": "it does not know the VEN",
    "DER.status.name resources.0.resourceName": "it takes any name for an Asset-ID",
    "GAC.event.payload intervals.0.payloads.0.values": "it looks at the payload of the last interval only",
    "GAC.event.payload intervals.0.payloads.0.type": "it looks at the payload of the last interval only",
    "GAC.event.payload intervals.0.payloads.0.values.0": "it takes a text for a limit",
}


class Peer:
    def __init__(self, profile: str) -> None:
        words = [PYTHON, str(SCRIPT), profile]
        self._process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self._read() == "ready\n"

    def _read(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline()

    def judge(self, name: str, body: Any) -> list[str]:
        """What it finds wrong with the object called `name`."""
        assert self._process.stdin is not None
        shape = kit.sample_shape(name).cls.__name__.lower().replace("resourcegroup", "group")
        owner = {"clientID": "c"} if shape in ("ven", "resource", "report") else {}
        stamped = {"id": "00000000-0000-4000-8000-000000000099"} | STAMPS | owner | body
        print(json.dumps({"name": shape, "body": stamped}), file=self._process.stdin, flush=True)
        wrong: list[str] = json.loads(self._read())
        return wrong

    def end(self) -> None:
        self._process.communicate(timeout=20)


@pytest.fixture(scope="module")
def peers() -> Iterator[dict[str, Peer]]:
    if not PYTHON:
        pytest.skip("GRIDPARLEY_OPENADR3_PYTHON names no Python with openadr3-client and its compliance plug-ins")
    running = {profile: Peer(profile) for profile in ("der", "gac22", "gac21", "gac20")}
    yield running
    for peer in running.values():
        peer.end()


def _profile(data: Any, name: str) -> str:
    return "der" if data is DER else {"2.0": "gac20", "2.1": "gac21"}.get(name.partition("-")[2], "gac22")


def _cases() -> Iterator[Any]:
    for data in (DER, GAC):
        for name, body in data["samples"].items():
            yield pytest.param(_profile(data, name), name, body, False, id=f"{_profile(data, name)} {name}")
        for case in data["cases"]:
            name = case["sample"]
            body = kit.changed(data["samples"][name], case["set"])
            id = " ".join([case["rule"], *case["set"], *(f"around {key}" for key in case.get("around", {}))])
            passes = case["rule"] in UNSEEN or id in PASSED_THERE
            yield pytest.param(_profile(data, name), name, body, not passes, id=id)


@pytest.mark.parametrize(("profile", "name", "body", "refused"), list(_cases()))
def test_both_judge_alike(peers: dict[str, Peer], profile: str, name: str, body: Any, refused: bool) -> None:
    wrong = peers[profile].judge(name, kit.plain(body))
    assert bool(wrong) is refused, wrong


def test_what_we_say_is_understood_there(peers: dict[str, Peer]) -> None:
    calendar, day = MarketCalendar(), date(2026, 6, 12)
    about = Head("dso", "agr", "m", "c", datetime(2026, 6, 11, tzinfo=UTC))
    power = IspSeries.from_runs(calendar, day, [Run(37, 4, 0), Run(41, 16, -40_250), Run(57, 4, 0), Run(70, 24, -1000)])
    order = FlexOrder(about, "ean.1", "ref", Decimal(0), "EUR", power, unsolicited=True)
    program, provider = DER["samples"]["program"]["id"], DER["samples"]["ven"]["venName"]
    event, _ = mapping.flex_event(order, program, "group-1", calendar.day_span(day)[0])
    steps = [(start, calendar.isp, 90_000.0) for start in calendar.starts(day)]
    values = mapping.delivered(event, Decimal(120), lambda a, b: mapping.mean_of(steps, a, b))
    assert values is not None
    assert [len(v) for v in values] == [4, 16, 4, 24]
    option = OfferOption("o", Decimal(1), power)
    offer = FlexOffer(about, "ean.1", about.created + timedelta(days=1), "EUR", (option,), unsolicited=True)
    said = {
        "flex": event,
        "ack": mapping.acknowledgement(event, provider),
        "delivery": mapping.delivery_report(event, provider, values),
        "delta": mapping.flex_delta(event, provider, offer)[0],
    }
    for name, value in said.items():
        assert peers["der"].judge(name, kit.plain(encode(value, Version.V310))) == [], name
