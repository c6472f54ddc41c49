"""What follows from a look at a VTN: events taken, refused, withdrawn, and whom a limit concerns."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from support import openadr3 as kit

from adapters.openadr3 import mapping, model
from adapters.openadr3.codec import dumps
from adapters.openadr3.config import VtnConfig
from adapters.openadr3.members import Version
from adapters.openadr3.owed import due
from adapters.openadr3.records import Record, View, over
from adapters.openadr3.session import Judged, judge, withdrawn
from datamodels import CongestionPoint, MarketTerms, Resource, ResourceKind, ResourceRole, SignalTarget, TargetKind

NOW = datetime(2026, 11, 20, tzinfo=UTC)
DER, GAC = kit.data("der.json")["samples"], kit.data("gac.json")["samples"]
EAN = DER["resource"]["attributes"][1]["values"][0]
POINT = "ean.871687120000000021"
TERMS = MarketTerms(congestion_points=(CongestionPoint(POINT, "dso", date(2020, 1, 1)),))
CAR = Resource("car", f"ean.{EAN}", ResourceKind.EVSE, ResourceRole.CONSUMER, 0, 11_000)
CONFIG = VtnConfig("dso", "https://vtn", DER["ven"]["venName"], congestion_points={"cp-1": POINT})
FLEX = DER["flex"]["id"]


def read(name: str, given: Any) -> Any:
    return kit.read(kit.sample_shape(name), given)


def der_view(*names: str, **changes: dict[str, Any]) -> View:
    """A DER programme with these events, as a VTN shows it; `changes` by sample name."""

    def shown(name: str) -> Any:
        return kit.changed(DER[name], changes.get(name, {}))

    events = [(read(name, shown(name)), dumps(shown(name))) for name in names]
    groups = [read("group", shown("group"))] if changes.get("group") != {"id": None} else []
    return View(
        read("ven", DER["ven"]),
        [read("program", shown("program"))],
        [read("resource", DER["resource"])],
        groups,
        events,
    )


def look(view: View, known: dict[str, Record] | None = None, config: VtnConfig = CONFIG) -> Judged:
    return judge(config, view, known or {}, TERMS, {"car": CAR}, NOW)


def rules(judged: Judged) -> set[str]:
    return {problem.rule for _, problems in judged.refused for problem in problems}


def test_flex_is_taken_against_the_newest_baseline() -> None:
    judged = look(der_view("anchor", "flex", "baseline", baseline={"intervals.0.payloads.0.values.0": 100}))
    assert [take.record.kind for take in judged.take] == ["anchor", "baseline", "flex"]
    signal = judged.take[-1].signal
    assert signal is not None
    assert [i.value for i in signal.intervals] == [100_000, 59_750, 100_000]
    assert signal.targets == (
        SignalTarget(TargetKind.GROUP, "group-1"),
        SignalTarget(TargetKind.CONGESTION_POINT, POINT),
    )
    assert judged.take[-1].record.connections == (EAN,)
    assert (judged.refused, judged.gone) == ((), ())


def test_without_a_baseline_event_the_group_says_it_and_without_both_flex_waits() -> None:
    judged = look(der_view("anchor", "flex"))
    assert judged.take[-1].record.baseline_kw == "120.5"
    bare = kit.changed(DER["group"], {})
    bare["attributes"] = bare["attributes"][:4]
    waiting = look(replace(der_view("anchor", "flex"), groups=[read("group", bare)]))
    assert rules(waiting) == {"DER.flex.baseline"}


def test_a_record_survives_as_a_document() -> None:
    for take in look(der_view("anchor", "baseline", "override", "flex")).take:
        assert Record.of(take.record.document()) == take.record
        assert take.record.event == take.event


def test_an_event_is_taken_once_and_a_changed_one_is_refused() -> None:
    known = {t.event.id or "": t.record for t in look(der_view("anchor", "flex")).take}
    again = look(der_view("anchor", "flex"), known)
    assert (again.take, again.refused, again.gone) == ((), (), ())
    changed = look(der_view("anchor", "flex", flex={"intervals.1.payloads.0.values.0": 1}), known)
    assert rules(changed) == {"openadr3.binding"}
    assert changed.take == ()


def test_what_is_shown_no_more_is_withdrawn_and_may_come_back() -> None:
    known = {t.event.id or "": t.record for t in look(der_view("anchor", "flex")).take}
    assert look(der_view("anchor"), known).gone == (FLEX,)
    record, signal = withdrawn(FLEX, known[FLEX], "dso")
    assert signal is not None
    assert (signal.cancelled, signal.revision, record.gone) == (True, 1, True)
    assert look(der_view("anchor"), known | {FLEX: record}).gone == ()
    (back,) = look(der_view("anchor", "flex"), known | {FLEX: record}).take
    assert back.signal is not None
    assert (back.signal.revision, back.record.revision, back.record.gone) == (2, 2, False)


def test_what_cannot_be_read_any_more_is_not_taken_for_withdrawn() -> None:
    known = {t.event.id or "": t.record for t in look(der_view("anchor", "flex")).take}
    assert look(replace(der_view("anchor"), unread=frozenset({FLEX})), known).gone == ()


def test_a_programme_that_is_declared_wrongly_is_not_obeyed() -> None:
    judged = look(der_view("anchor", "flex", program={"attributes.2.values.0": False}))
    assert judged.take == ()
    assert "DER.program.binding" in {p.rule for p in judged.problems}
    missing = look(der_view("flex"))  # an anchor is missing: told, and obeyed all the same
    assert [t.record.kind for t in missing.take] == ["flex"]
    assert {p.rule for p in missing.problems} == {"DER.program.anchor"}


def test_only_the_programmes_named_are_obeyed() -> None:
    view = der_view("anchor", "flex")
    assert look(view, config=replace(CONFIG, programs=("other",))).take == ()
    assert len(look(view, config=replace(CONFIG, programs=("der-1",))).take) == 2
    odd = replace(view, programs=[model.Program(id=DER["program"]["id"], program_name="odd")])
    named = look(odd, config=replace(CONFIG, programs=("odd",)))
    assert {p.rule for p in named.problems} == {"openadr3.profile"}


def test_a_group_beside_another_of_ours_limits_no_congestion_point() -> None:
    view = der_view("anchor", "flex")
    other = replace(view.groups[0], resource_group_name="group-2", targets=("group-2",))
    take = look(replace(view, groups=[*view.groups, other])).take[-1]
    assert take.signal is not None
    assert take.signal.targets == (SignalTarget(TargetKind.GROUP, "group-1"),)
    assert [loss.field for loss in take.losses] == ["targets"]
    unknown = look(der_view("anchor", "flex"), config=replace(CONFIG, congestion_points={})).take[-1]
    assert [loss.field for loss in unknown.losses] == ["CONGESTION_POINT_ID"]


def test_what_is_called_goes_to_the_market_as_a_request_against_the_baseline() -> None:
    take = look(der_view("anchor", "flex", "baseline", baseline={"intervals.0.payloads.0.values.0": 100})).take[-1]
    (call,) = take.calls
    assert call.call is not None
    assert (call.call.group, call.call.connections) == ("group-1", (f"ean.{EAN}",))
    assert set(call.call.baseline.power_w) == {100_000}
    assert (call.congestion_point, call.period, call.revision) == (POINT, date(2026, 11, 24), 1)
    assert (call.contract, call.service_type, call.head.conversation_id) == ("group-1", "FLEX", FLEX)
    assert call.expires == datetime(2026, 11, 23, tzinfo=UTC)
    # 16:00Z is 17:00 in Amsterdam: an hour beside the dispatch, two hours of 40.25 kW, and an hour after it.
    assert [(i.start, i.duration, i.disposition.value, i.min_power_w, i.max_power_w) for i in call.isps] == [
        (69, 4, "Available", -100_000, 0),
        (73, 8, "Requested", -100_000, -40_250),
        (81, 4, "Available", -100_000, 0),
    ]


def test_a_call_that_is_withdrawn_and_shown_again_is_another_message() -> None:
    known = {t.event.id or "": t.record for t in look(der_view("anchor", "flex")).take}
    gone = known | {FLEX: withdrawn(FLEX, known[FLEX], "dso")[0]}
    (back,) = look(der_view("anchor", "flex"), gone).take
    (call,) = back.calls
    assert (call.head.message_id, call.head.conversation_id, call.revision) == (f"{FLEX}/2", FLEX, 3)
    assert back.record.revision == 2


def test_what_is_called_across_midnight_is_a_request_for_each_day() -> None:
    late = {
        "intervals.0.intervalPeriod.start": "2026-11-24T20:10:00Z",
        "intervals.1.intervalPeriod.start": "2026-11-24T21:10:00Z",
        "intervals.2.intervalPeriod.start": "2026-11-24T23:10:00Z",
        "intervalPeriod.start": "2026-11-24T10:00:00Z",
    }
    take = look(der_view("anchor", "flex", flex=late)).take[-1]
    assert [(c.period.day, c.head.message_id) for c in take.calls] == [(24, FLEX), (25, f"{FLEX}/2026-11-25")]
    assert [[(i.start, i.duration) for i in c.isps] for c in take.calls] == [[(86, 4), (90, 7)], [(1, 1), (2, 4)]]
    assert {loss.why for loss in take.losses} == {"begins inside an ISP"}


def test_where_no_congestion_point_is_known_nothing_is_called_in_the_market() -> None:
    assert look(der_view("anchor", "flex"), config=replace(CONFIG, congestion_points={})).take[-1].calls == ()


def test_a_ceiling_below_zero_is_a_limit_of_zero_and_a_loss() -> None:
    event = read("flex", DER["flex"])
    signal, losses = mapping.ceiling_of_flex(event, Decimal("20.25"), "dso", [])
    assert [i.value for i in signal.intervals] == [20_250, 0, 20_250]
    assert [(loss.field, loss.value) for loss in losses] == [("intervals[1]", "-20.00 kW")]


# --- GAC ----------------------------------------------------------------------------------------------------------


def gac_view(name: str, program: str = "program", **changes: Any) -> View:
    event = kit.changed(GAC[name], {"id": "e", **changes})
    shown = read(program, GAC[program] | {"id": "P"})
    return View(None, [shown], [], [], [(read(name, event), dumps(event))])


@pytest.mark.parametrize(("name", "program"), [("event", "program"), ("event-2.0", "program-2.0")])
def test_a_capacity_limit_concerns_what_is_behind_its_connection(name: str, program: str) -> None:
    config = replace(CONFIG, version=Version.V301) if name == "event-2.0" else CONFIG
    (take,) = look(gac_view(name, program), config=config).take
    assert take.signal is not None
    assert take.signal.targets == (SignalTarget(TargetKind.RESOURCE, "car"),)
    first = take.signal.intervals[0]
    assert (first.start.minute, first.duration, first.value) == (0, timedelta(minutes=15), 7500)


def test_separated_periods_and_other_connections() -> None:
    (take,) = look(gac_view("separated", targets=[POINT.removeprefix("ean."), "871687120000000045"])).take
    assert take.signal is not None
    assert [(i.duration, i.value) for i in take.signal.intervals] == [
        (timedelta(minutes=15), 7500),
        (timedelta(minutes=45), 5000),
    ]
    assert take.signal.targets == (
        SignalTarget(TargetKind.CONGESTION_POINT, POINT),
        SignalTarget(TargetKind.GROUP, "ean.871687120000000045"),
    )


def test_a_safe_mode_without_an_end_stays_in_force() -> None:
    (take,) = look(
        gac_view("event", intervalPeriod={"start": "0001-01-01", "duration": "P9999Y"}, **{"intervals.1": None})
    ).take
    assert take.signal is not None
    assert [(i.start, i.duration) for i in take.signal.intervals] == [(NOW, timedelta(0))]
    assert over(take.record) is None


def test_a_limit_that_is_repeated_for_ever_is_laid_out_for_a_year() -> None:
    (take,) = look(gac_view("event", duration="P9999Y", **{"intervalPeriod.duration": "P1D"})).take
    assert take.signal is not None
    assert 360 < len(take.signal.intervals) < 370
    assert [loss.field for loss in take.losses] == ["intervals"]


def test_overlapping_limits_are_refused() -> None:
    judged = look(gac_view("separated", **{"intervals.1.intervalPeriod.start": "2026-11-22T12:05:00Z"}))
    assert rules(judged) == {"signal.overlap"}


# --- what is owed -------------------------------------------------------------------------------------------------


def test_an_ack_is_owed_at_once_and_delivery_when_all_is_metered() -> None:
    records = {t.event.id or "": t.record for t in look(der_view("anchor", "flex")).take}
    (ack,) = due(CONFIG, records, {})
    assert (ack.id, ack.report.report_name) == (FLEX, "ACK")
    records[FLEX] = ack.record
    start = datetime(2026, 11, 24, tzinfo=UTC)
    steps = [(start + n * timedelta(minutes=15), timedelta(minutes=15), 100_000.0) for n in range(96)]
    assert due(CONFIG, records, {EAN: steps[:79]}) == []
    (report,) = due(CONFIG, records, {EAN: steps})
    assert [len(i.payloads[0].values) for i in report.report.resources[0].intervals] == [4, 8, 4]
    records[FLEX] = report.record
    assert due(CONFIG, records, {EAN: steps}) == []


def test_what_was_withdrawn_is_owed_nothing() -> None:
    records = {t.event.id or "": replace(t.record, gone=True) for t in look(der_view("anchor", "flex")).take}
    assert due(CONFIG, records, {}) == []
