"""The VEN's rules of EiEvent, by their numbers."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from support.openadr2 import HandClock
from support.openadr2_ven import PEER, battery, distribute, event, signal

from adapters.openadr2 import model
from adapters.openadr2.lexical import Duration
from adapters.openadr2.ven import engine, events
from adapters.openadr2.ven.config import VtnConfig, read_vtns
from adapters.openadr2.ven.records import Known
from adapters.openadr2.ven.signals import Site

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
START = NOW + timedelta(hours=1)


def vtn(**settings) -> VtnConfig:
    return read_vtns([{"peer": PEER, "url": "https://utility.example", "ven_name": "one", **settings}])[0]


class Side:
    """Our side of one VTN: what is known, and what each message adds to it."""

    def __init__(self, *, follows=lambda signal: True, **settings) -> None:
        clock = HandClock()
        clock.market = clock.anchor
        self.site = Site.of(vtn(**settings), "ven-7", {"battery": battery()}, "EUR", clock)
        self.follows = follows
        self.known: dict[str, Known] = {}

    def hears(self, *wires: model.OadrEvent, at: datetime = NOW, limit: int = 0, **more) -> events.Judged:
        message = replace(distribute(*wires, **{k: more[k] for k in ("request", "vtn") if k in more}))
        if "version" in more:
            message = replace(message, schema_version=more["version"])
        judged = events.judge(message, self.known, self.site, "VTN", self.follows, at, limit)
        self.known |= {step.known.id: step.known for step in judged.steps}
        return judged

    def answers(self, judged: events.Judged) -> dict[str, tuple[int, str, int]]:
        """Per event: code, opt and modification of what is owed."""
        found = {}
        for message in events.answers(self.known.values(), "ven-7", judged.extra):
            assert message.response.response_code == 200  # rule 48
            for r in message.event_responses:
                about = r.qualified_event_id
                found[about.event_id] = (r.response_code, r.opt_type, about.modification_number)
        self.known = {k.id: replace(k, owed="") for k in self.known.values()}
        return found


def test_rule_6_a_test_event_is_answered_and_imposes_nothing() -> None:
    side = Side()
    judged = side.hears(event("t", START, test="true"), event("f", START, test="false"), event("x", START, test="yes"))
    assert {step.known.id: len(step.signals) for step in judged.steps} == {"t": 0, "f": 1, "x": 0}
    assert {opt for _, opt, _ in side.answers(judged).values()} == {"optIn"}


def test_rules_12_and_62_only_events_that_require_it_are_answered() -> None:
    side = Side()
    judged = side.hears(event("a"), event("n", response="never"))
    assert set(side.answers(judged)) == {"a"}
    assert len(judged.steps) == 2
    assert events.answers(side.known.values(), "ven-7") == []
    again = side.hears(event("a"), event("n", response="never"), request="r2")
    assert [step.signals for step in again.steps] == [()]  # answered again, nothing imposed
    assert set(side.answers(again)) == {"a"}


def test_rules_19_and_48_valid_and_invalid_events_are_answered_one_by_one() -> None:
    side = Side()
    judged = side.hears(
        event("good"),
        event("price", START, signal("BID_PRICE", "price")),
        event("level", START, signal("SIMPLE", "level", (7,))),
        event("back", START, ramp_up=Duration(-timedelta(minutes=1))),
        event("foreign", START, target=model.EiTarget(ven_id=("ven-8",))),
    )
    assert side.answers(judged) == {
        "good": (200, "optIn", 0),
        "price": (460, "optOut", 0),
        "level": (454, "optOut", 0),
        "back": (454, "optOut", 0),
        "foreign": (462, "optOut", 0),  # rule 22
    }
    assert [step.known.id for step in judged.steps if step.signals] == ["good"]
    assert [len(step.problems) for step in judged.steps] == [0, 1, 1, 1, 1]


def test_rule_21_the_vtn_id_is_compared_letter_for_letter() -> None:
    judged = Side().hears(event(), vtn="vtn")
    assert judged.problem is not None
    assert (judged.problem.reason, judged.steps) == ("452", ())
    lenient = Side(profile="lenient")
    assert lenient.hears(event(), vtn="vtn").deviations == ("vtnID in other letters",)
    assert lenient.hears(event(), vtn="other").problem is not None


def test_another_schema_version_refuses_the_message() -> None:
    judged = Side().hears(event(), version="2.0a")
    assert judged.problem is not None
    assert judged.problem.reason == "459"


@pytest.mark.parametrize(
    ("target", "resources"),
    [
        (model.EiTarget(), ()),
        (model.EiTarget(ven_id=("ven-8", "ven-7")), ()),
        (model.EiTarget(resource_id=("battery",)), ("battery",)),
        (model.EiTarget(ven_id=("ven-7",), resource_id=("battery", "else")), ("battery",)),
        (model.EiTarget(group_id=("north",)), ("ean.north",)),
        (model.EiTarget(party_id=("party",)), ()),
    ],
)
def test_targets_that_name_us(target: model.EiTarget, resources: tuple[str, ...]) -> None:
    side = Side(congestion_points={"north": "ean.north"})
    (step,) = side.hears(event("e", START, target=target)).steps
    assert step.known.code == 200
    assert tuple(t.id for t in step.signals[0].targets) == resources


@pytest.mark.parametrize(
    "target",
    [
        model.EiTarget(ven_id=("ven-8",), resource_id=("battery",)),
        model.EiTarget(resource_id=("else",)),
        model.EiTarget(group_id=("south",)),
        model.EiTarget(ven_id=("ven-7",), resource_id=("else",)),
    ],
)
def test_rule_22_targets_that_do_not(target: model.EiTarget) -> None:
    (step,) = Side(congestion_points={"north": "ean.north"}).hears(event("e", START, target=target)).steps
    assert (step.known.code, step.known.opt, step.signals) == (462, "optOut", ())


def test_rule_30_startafter_moves_the_signals_and_65_the_cancellation() -> None:
    side = Side()
    longest = Duration(timedelta(minutes=10))
    (step,) = side.hears(event("e", START, start_after=longest)).steps
    drawn = timedelta(seconds=step.known.drawn_s)
    assert timedelta(0) < drawn < longest.span
    assert step.signals[0].intervals[0].start == START + drawn
    during = START + timedelta(minutes=11)
    (cancel,) = side.hears(event("e", START, mod=1, status="cancelled", start_after=longest), at=during).steps
    ends = cancel.known.ends
    assert ends is not None
    assert during < ends < during + longest.span
    (cut,) = cancel.signals
    assert not cut.cancelled
    assert cut.intervals[0].start + cut.intervals[0].duration == min(ends, START + drawn + timedelta(minutes=15))
    assert engine.due(cancel.known, ends)[-1].name == "cancelled"


def test_rules_36_and_59_a_cancelled_event_is_confirmed_with_opt_in_and_taken_back() -> None:
    side = Side()
    side.answers(side.hears(event("e")))
    judged = side.hears(event("e", mod=1, status="cancelled"))
    (step,) = judged.steps
    assert (step.kind, step.signals[0].cancelled, step.signals[0].revision) == ("event.cancelled", True, 2)
    assert side.answers(judged) == {"e": (200, "optIn", 1)}
    again = side.hears(event("e", mod=1, status="cancelled"), request="r9")
    assert [step.signals for step in again.steps] == [()]


def test_a_cancellation_that_does_not_raise_the_modification_counts_all_the_same() -> None:
    side = Side()
    side.answers(side.hears(event("e")))
    (step,) = side.hears(event("e", status="cancelled")).steps
    assert step.signals[0].cancelled


def test_rule_42_the_answer_has_the_request_id_of_the_distribution() -> None:
    side = Side()
    judged = side.hears(event("a"), event("b"), request="this one")
    (message,) = events.answers(side.known.values(), "ven-7", judged.extra)
    assert message.response.request_id == "this one"
    assert {r.request_id for r in message.event_responses} == {"this one"}


def test_rule_47_an_open_ended_event_lasts_until_it_is_cancelled() -> None:
    side = Side()
    (step,) = side.hears(event("e", START, signal(step_s=0))).steps
    assert step.signals[0].intervals[0].duration == timedelta(0)
    judged = side.hears(event("e", START, signal(step_s=0)), at=START + timedelta(days=300), request="r2")
    assert side.answers(judged)["e"] == (200, "optIn", 0)
    at = START + timedelta(days=301)
    (gone,) = side.hears(event("e", START, signal(step_s=0), mod=1, status="cancelled"), at=at).steps
    assert gone.signals[0].cancelled


def test_rule_50_an_event_we_opted_out_of_is_answered_so_again() -> None:
    side = Side(opt="out")
    assert side.answers(side.hears(event("e"))) == {"e": (200, "optOut", 0)}
    assert side.answers(side.hears(event("e"), request="r2")) == {"e": (200, "optOut", 0)}


def test_rules_56_57_58_modification_numbers() -> None:
    side = Side()
    assert side.hears(event("e", START, signal(values=(1000,)), mod=3)).steps[0].kind == "event"
    (step,) = side.hears(event("e", START, signal(values=(2000,)), mod=5)).steps
    assert (step.kind, step.signals[0].revision) == ("event.modified", 2)
    assert step.signals[0].intervals[0].value == Decimal(2000)
    side.answers(side.hears(event("e", START, signal(values=(2000,)), mod=5), request="r2"))
    judged = side.hears(event("e", START, mod=4), request="r3")
    assert judged.steps == ()
    assert side.answers(judged) == {"e": (450, "optOut", 4)}
    assert side.known["e"].modification == 5


def test_a_modification_takes_back_the_signals_that_it_drops() -> None:
    side = Side()
    price = signal("SIMPLE", "level", (1,), id="level")
    export = signal("LOAD_CONTROL", "x-loadControlCapacity", (0.5,), id="EXPORT_LIMIT")
    (first,) = side.hears(event("e", START, signal(), export)).steps
    assert sorted(s.id for s in first.signals) == ["e/EXPORT_LIMIT", "e/s1"]
    (second,) = side.hears(event("e", START, price, mod=1)).steps
    assert {s.id: s.cancelled for s in second.signals} == {"e": False, "e/EXPORT_LIMIT": True, "e/s1": True}


def test_rule_60_an_unknown_event_that_is_cancelled_already_is_no_error() -> None:
    side = Side()
    judged = side.hears(event("e", status="cancelled", mod=2))
    assert side.answers(judged) == {"e": (200, "optIn", 2)}
    assert judged.steps[0].signals == ()
    assert engine.due(side.known["e"], START + timedelta(days=1)) == []


def test_rule_61_an_event_that_is_left_out_is_cancelled_unless_the_list_was_cut() -> None:
    side = Side()
    side.answers(side.hears(event("a"), event("b")))
    cut = side.hears(event("a"), request="r2", limit=1)
    assert [step.kind for step in cut.steps] == ["event"]
    judged = side.hears(event("a"), request="r3", limit=2)
    gone = next(step for step in judged.steps if step.known.id == "b")
    assert (gone.kind, gone.signals[0].cancelled) == ("event.implied", True)
    assert "b" not in side.answers(judged)
    back = side.hears(event("a"), event("b"), request="r4")
    again = next(step for step in back.steps if step.known.id == "b")
    assert (again.kind, again.signals[0].cancelled, again.signals[0].revision) == ("event.modified", False, 3)


def test_rule_61_does_not_cancel_what_is_over() -> None:
    side = Side()
    side.answers(side.hears(event("a")))
    assert side.hears(at=START + timedelta(hours=1)).steps == ()


def test_rule_66_completed_is_no_cancellation() -> None:
    side = Side()
    side.answers(side.hears(event("e")))
    judged = side.hears(event("e", status="completed"), at=START + timedelta(hours=1), request="r2")
    assert [(step.kind, step.known.ends) for step in judged.steps] == [("event", None)]
    late = side.hears(event("old", NOW - timedelta(days=1), status="completed"), request="r3")
    assert [step.signals for step in late.steps if step.known.id == "old"] == [()]


def test_an_event_with_several_signals_is_followed_where_one_of_them_is() -> None:
    side = Side(follows=lambda s: s.kind == "IMPORT_LIMIT")
    export = signal("LOAD_CONTROL", "x-loadControlCapacity", (0.5,), id="c")
    judged = side.hears(event("both", START, signal(), export), event("none", START, signal()))
    assert {k: opt for k, (_, opt, _) in side.answers(judged).items()} == {"both": "optIn", "none": "optOut"}


def test_what_operators_said_stays_said_when_the_event_is_modified() -> None:
    side = Side()
    side.answers(side.hears(event("e")))
    step = events.changed_opt(side.known["e"], "optOut", side.site, NOW)
    assert step.signals[0].cancelled
    side.known["e"] = step.known
    judged = side.hears(event("e", mod=1))
    assert side.answers(judged) == {"e": (200, "optOut", 1)}
    back = events.changed_opt(side.known["e"], "optIn", side.site, START + timedelta(minutes=1))
    assert not back.signals[0].cancelled
    assert [m.name for m in engine.due(back.known, START + timedelta(minutes=1))] == ["active", "interval"]


def test_a_refused_event_that_is_cancelled_is_confirmed_and_stays_without_effect() -> None:
    side = Side()
    bad = {"ramp_up": Duration(-timedelta(minutes=1))}
    side.answers(side.hears(event("e", START, **bad)))
    judged = side.hears(event("e", START, mod=1, status="cancelled", **bad))
    assert side.answers(judged) == {"e": (200, "optIn", 1)}
    assert engine.due(side.known["e"], START + timedelta(days=1)) == []
