"""The registry of the programme model: names, references, stale edits, consequences, journal, restarts."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from adapters.errors import Rejection
from adapters.ports import Change, Edit
from datamodels import (
    EventOpt,
    EventSignal,
    GroupMember,
    Opt,
    Programme,
    ProgrammeEvent,
    ProgrammeReport,
    ProgrammeTarget,
    ResourceGroup,
    SignalInterval,
    Ven,
    VenResource,
    Written,
)
from interop.feed import Feed
from interop.programmes import Registry
from interop.state import AdapterState
from interop.store import Store

NOW = datetime(2026, 7, 1, 12, tzinfo=UTC)
QUARTER = timedelta(minutes=15)


class Hand:
    def __init__(self) -> None:
        self.at = NOW

    def now(self) -> datetime:
        return self.at


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    opened = await Store.open(tmp_path)
    yield opened
    await opened.close()


@pytest.fixture
def clock() -> Hand:
    return Hand()


@pytest.fixture
async def registry(store: Store, clock: Hand) -> Registry:
    found = Registry(store, Feed(), clock.now, kept=8)
    await found.load()
    return found


def make(entry: object) -> Edit:
    return Edit(None, entry, "test/me")  # type: ignore[arg-type]


def remove(entry: object) -> Edit:
    return Edit(entry, None, "test/me")  # type: ignore[arg-type]


P = Programme(id="p", name="peaks", written=Written("openadr3/3.1.0", '{"programName":"peaks","x":1e-7}'))
E1 = ProgrammeEvent(
    id="e",
    programme="p",
    signals=(EventSignal("IMPORT_CAPACITY_LIMIT", (SignalInterval(NOW, QUARTER, Decimal("3.50")),), "KW"),),
    targets=(ProgrammeTarget("street", "GROUP"),),
)
V = Ven(id="v", name="house", client="c1", profile="3.1.0")
R = VenResource(id="r", ven="v", name="battery")


def rules(error: pytest.ExceptionInfo[Rejection]) -> list[str]:
    return [problem.rule for problem in error.value.problems]


async def test_what_is_written_is_there_stamped_and_after_a_restart_too(
    registry: Registry, store: Store, clock: Hand
) -> None:
    made = await registry.write([make(P), make(E1), make(V), make(R)])
    assert [edit.seq for edit in made] == [1, 2, 3, 4]
    event = registry.get(ProgrammeEvent, "e")
    assert event == replace(E1, created=NOW, modified=NOW)
    clock.at += QUARTER
    await registry.write([Edit(event, replace(E1, name="noon"), "test/me")])
    changed = registry.get(ProgrammeEvent, "e")
    assert changed is not None
    assert (changed.revision, changed.created, changed.modified) == (1, NOW, NOW + QUARTER)

    again = Registry(store, Feed(), clock.now, kept=8)
    await again.load()
    for kind in (Programme, ProgrammeEvent, Ven, VenResource):
        assert dict(again.all(kind)) == dict(registry.all(kind))
    assert again.since(0) == registry.since(0)
    assert again.last == 5


async def test_a_name_is_given_once(registry: Registry) -> None:
    await registry.write([make(P), make(V), make(R), make(replace(V, id="w", name="other"))])
    with pytest.raises(Rejection) as error:
        await registry.write([make(Programme(id="q", name="peaks"))])
    assert rules(error) == ["programme.name"]
    assert "peaks" in str(error.value)
    await registry.write([make(VenResource(id="s", ven="w", name="battery"))])
    with pytest.raises(Rejection) as error:
        await registry.write([make(VenResource(id="t", ven="v", name="battery"))])
    assert rules(error) == ["programme.name"]
    known = registry.get(Programme, "p")
    await registry.write([Edit(known, replace(P, name="valleys"), "test/me"), make(Programme(id="q", name="peaks"))])


async def test_two_at_once_never_get_the_same_name(registry: Registry) -> None:
    tries = [registry.write([make(Programme(id=str(n), name="peaks"))]) for n in range(5)]
    results = await asyncio.gather(*tries, return_exceptions=True)
    assert sum(isinstance(result, Rejection) for result in results) == 4
    assert len(registry.all(Programme)) == 1


async def test_what_is_named_must_exist(registry: Registry) -> None:
    with pytest.raises(Rejection) as error:
        await registry.write([make(E1)])
    assert rules(error) == ["programme.reference"]
    assert registry.last == 0
    with pytest.raises(Rejection):
        await registry.write([make(EventOpt(id="e/v", event="e", ven="v", opt=Opt.OPT_IN))])


async def test_an_edit_of_what_has_changed_is_refused_whole(registry: Registry) -> None:
    await registry.write([make(P)])
    seen = registry.get(Programme, "p")
    await registry.write([Edit(seen, replace(P, market_context="http://x"), "test/me")])
    with pytest.raises(Rejection) as error:
        await registry.write([make(V), Edit(seen, replace(P, name="late"), "test/me")])
    assert rules(error) == ["programme.stale"]
    assert not registry.all(Ven)
    with pytest.raises(Rejection) as error:
        await registry.write([make(P)])
    assert rules(error) == ["programme.stale"]
    with pytest.raises(Rejection) as error:
        await registry.write([remove(V)])
    assert rules(error) == ["programme.stale"]


async def test_removing_takes_along_what_belongs_to_it(registry: Registry) -> None:
    group = ResourceGroup(id="g", name="street", members=(GroupMember("r"),))
    opt = EventOpt(id="e/v", event="e", ven="v", opt=Opt.OPT_OUT)
    report = ProgrammeReport(id="rep", event="e", client="c1", ven="house")
    await registry.write([make(each) for each in (P, E1, V, R, group, opt, report)])
    with pytest.raises(Rejection) as error:
        await registry.write([remove(registry.get(Programme, "p"))])
    assert rules(error) == ["programme.in_use"]
    done = await registry.write([remove(registry.get(Ven, "v"))])
    assert [(edit.kind, edit.after is None) for edit in done] == [(VenResource, True), (EventOpt, True), (Ven, True)]
    await registry.write([remove(registry.get(ProgrammeEvent, "e")), remove(registry.get(Programme, "p"))])
    assert registry.get(ProgrammeReport, "rep") is not None


async def test_a_resource_that_goes_leaves_its_groups(registry: Registry) -> None:
    group = ResourceGroup(id="g", name="street", members=(GroupMember("r"),))
    await registry.write([make(V), make(R), make(group)])
    await registry.write([remove(registry.get(VenResource, "r"))])
    left = registry.get(ResourceGroup, "g")
    assert left is not None
    assert (left.members, left.revision) == ((), 1)


async def test_no_group_contains_itself(registry: Registry) -> None:
    one, two = ResourceGroup(id="1", name="one"), ResourceGroup(id="2", name="two", members=(GroupMember("1", True),))
    await registry.write([make(one), make(two)])
    with pytest.raises(Rejection) as error:
        await registry.write(
            [Edit(registry.get(ResourceGroup, "1"), replace(one, members=(GroupMember("2", True),)), "test/me")]
        )
    assert rules(error) == ["programme.cycle"]


async def test_the_journal_keeps_the_last_edits_and_says_when_it_cannot_tell(
    registry: Registry, store: Store, clock: Hand
) -> None:
    heard: list[int] = []
    registry.watch(lambda edits: heard.extend(edit.seq for edit in edits))
    for n in range(12):
        await registry.write([make(Programme(id=str(n), name=f"p{n}"))])
    assert heard == list(range(1, 13))
    newer = registry.since(10)
    assert newer is not None
    assert [edit.entry.id for edit in newer] == ["10", "11"]
    assert registry.since(12) == []
    assert registry.since(3) is None
    assert registry.since(13) is None
    again = Registry(store, Feed(), clock.now, kept=8)
    await again.load()
    assert again.since(4) == registry.since(4)
    assert again.since(3) is None


async def test_a_clock_set_back_makes_nothing_older(registry: Registry, clock: Hand) -> None:
    await registry.write([make(P)])
    clock.at -= timedelta(hours=1)
    await registry.write([Edit(registry.get(Programme, "p"), replace(P, name="q"), "test/me")])
    changed = registry.get(Programme, "p")
    assert changed is not None
    assert changed.modified > NOW


async def test_an_adapters_own_documents_become_durable_in_the_same_transaction(
    registry: Registry, store: Store
) -> None:
    state = await AdapterState.open(store, "wire")
    mine = registry.for_adapter(state)
    await mine.write([make(P)], [Change("cursor", "x", {"seq": 1})])
    assert state.load("cursor") == {"x": {"seq": 1}}
    with pytest.raises(Rejection):
        await mine.write([make(P)], [Change("cursor", "x", {"seq": 2})])
    assert (await AdapterState.open(store, "wire")).load("cursor") == {"x": {"seq": 1}}


def test_when_an_event_begins_and_ends() -> None:
    assert (E1.start, E1.end) == (NOW, NOW + QUARTER)
    open_ended = replace(E1, signals=(EventSignal("SIMPLE", (SignalInterval(NOW, timedelta(0), Decimal(1)),)),))
    assert (open_ended.start, open_ended.end) == (NOW, None)
    assert (ProgrammeEvent(id="a", programme="p").start, ProgrammeEvent(id="a", programme="p").end) == (None, None)
