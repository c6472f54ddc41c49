"""Object privacy: the public cases, what labels grant, and that lists follow every edit."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from support import openadr3 as kit
from support.programmes import programmes

from adapters.openadr3.vtn.access import BL, Access, Viewer
from adapters.ports import Edit, Programmes
from datamodels import (
    Entry,
    GroupMember,
    Programme,
    ProgrammeEvent,
    ProgrammeReport,
    ProgrammeTarget,
    ResourceGroup,
    Ven,
    VenResource,
)

ME, OTHER = Viewer("me"), Viewer("other")


@pytest.fixture
async def held(tmp_path: Path) -> AsyncIterator[Programmes]:
    async with programmes(tmp_path) as (model, _):
        yield model


def targets(*values: str, kind: str = "") -> tuple[ProgrammeTarget, ...]:
    return tuple(ProgrammeTarget(value, kind) for value in values)


async def put(model: Programmes, *entries: Entry) -> None:
    await model.write([Edit(model.get(type(entry), entry.id), entry, "test") for entry in entries])


async def remove(model: Programmes, entry: Entry) -> None:
    await model.write([Edit(model.get(type(entry), entry.id), None, "test")])


def seen(access: Access, viewer: Viewer, *asked: ProgrammeTarget) -> list[str]:
    return [event.id for event in access.visible(viewer, ProgrammeEvent, frozenset(asked))]


@pytest.mark.parametrize("strict", [False, True])
async def test_the_public_cases(held: Programmes, strict: bool) -> None:
    access = Access(held, strict)
    await put(held, Programme(id="p", name="p"))
    await put(held, *(ProgrammeEvent(id=f"other{n}", programme="p", targets=targets(f"t{n}")) for n in range(9)))
    cases = kit.vector("privacy.json")["cases"]
    assert len(cases) == 16
    for case in cases:
        name = case["id"]
        ven = Ven(id=f"ven-{name}", name=name, client=name, targets=targets(*case["venTargets"] or ()))
        resource = VenResource(id=f"r-{name}", ven=ven.id, name="r", targets=targets(*case["resourceTargets"] or ()))
        event = ProgrammeEvent(id=name, programme="p", targets=targets(*case["objectTargets"]))
        await put(held, event, *([ven, resource] if case["venTargets"] is not None else []))
        viewer, asked = Viewer(name, case["role"] == "BL"), targets(*case["queryTargets"])
        end = "Strict" if strict else ""
        shown = access.shown(viewer, event, asked)
        wanted: Any = case[f"targetsShown{end}"] if case[f"visible{end}"] else None
        assert (shown if shown is None else [t.value for t in shown]) == wanted, name
        assert (name in seen(access, viewer, *asked)) == case[f"visible{end}"], name
        await remove(held, event)


async def test_labels_grant_by_name_and_tell_the_named_ven_where(held: Programmes) -> None:
    access = Access(held)
    event = ProgrammeEvent(
        id="e",
        programme="p",
        targets=targets("v", kind="VEN_NAME") + targets("871234567890123458", kind="POWER_SERVICE_LOCATION"),
    )
    await put(held, Programme(id="p", name="p"), Ven(id="1", name="v", client="me"), event)
    await put(held, Ven(id="2", name="w", client="other", targets=targets("871234567890123458")))
    assert access.shown(ME, event) == event.targets
    assert access.shown(OTHER, event) == event.targets[1:]
    assert access.shown(Viewer("third"), event) is None
    assert seen(access, ME) == seen(access, OTHER) == ["e"]
    plain = replace(event, targets=targets("v"))
    assert access.shown(ME, plain) is None  # a name without its label is any text
    assert access.label(plain.targets[0]) == "VEN_NAME"
    assert seen(access, BL, ProgrammeTarget("v", "GROUP")) == []
    assert seen(access, BL, ProgrammeTarget("v", "VEN_NAME")) == ["e"]


async def test_a_group_grants_its_targets_to_those_who_are_in_it(held: Programmes) -> None:
    access = Access(held)
    mine = VenResource(id="r1", ven="1", name="a")
    await put(held, Programme(id="p", name="p"), Ven(id="1", name="v", client="me"), mine)
    await put(held, Ven(id="2", name="w", client="other"), VenResource(id="r2", ven="2", name="a"))
    inner = ResourceGroup(id="inner", name="inner", members=(GroupMember("r1"), GroupMember("r2")))
    outer = ResourceGroup(
        id="outer", name="outer", members=(GroupMember("inner", is_group=True),), targets=targets("g")
    )
    await put(held, inner, outer)
    await put(held, ProgrammeEvent(id="e", programme="p", targets=targets("g")))
    assert seen(access, ME) == ["e"]
    assert access.sees(ME, outer)
    assert not access.sees(Viewer("third"), outer)
    assert access.as_seen(ME, inner).members == (GroupMember("r1"),)
    assert [v.client for v in access.entitled(held.all(ProgrammeEvent)["e"])] == ["me", "other"]
    assert [g.id for g in access.owned("me", ResourceGroup)] == ["inner", "outer"]
    await remove(held, mine)
    assert seen(access, ME) == []
    assert not access.sees(ME, outer)


async def test_lists_follow_grants_and_objects(held: Programmes) -> None:
    access = Access(held)
    ven, resource = Ven(id="1", name="v", client="me", targets=targets("a")), VenResource(id="r", ven="1", name="r")
    await put(held, Programme(id="p", name="p"), ven, replace(resource, targets=targets("b")))
    for n, value in enumerate(("a", "b", "c", "")):
        await put(held, ProgrammeEvent(id=f"e{n}", programme="p", targets=targets(value) if value else ()))
    assert seen(access, ME) == ["e0", "e1", "e3"]
    assert seen(access, OTHER) == ["e3"]
    await put(held, replace(held.all(Ven)["1"], targets=()))  # PRIV05
    assert seen(access, ME) == ["e1", "e3"]
    await remove(held, resource)  # PRIV06
    assert seen(access, ME) == ["e3"]
    await put(held, replace(held.all(Ven)["1"], targets=targets("c")))
    await put(held, replace(held.all(ProgrammeEvent)["e0"], targets=targets("c")))
    assert seen(access, ME) == ["e0", "e2", "e3"]
    await put(held, replace(held.all(Ven)["1"], client="other"))
    assert (seen(access, ME), seen(access, OTHER)) == (["e3"], ["e0", "e2", "e3"])
    assert seen(Access(held), OTHER) == ["e0", "e2", "e3"]  # as after a restart


async def test_owned_objects_exist_for_their_owner_only(held: Programmes) -> None:
    access = Access(held)
    ven, resource = Ven(id="1", name="v", client="me"), VenResource(id="r", ven="1", name="r")
    report = ProgrammeReport(id="x", client="me")
    await put(held, ven, resource, report)
    for entry in (ven, resource, report):
        assert [access.sees(viewer, entry) for viewer in (ME, OTHER, BL, Viewer())] == [True, False, True, False]
    unowned = Ven(id="2", name="2.0b", client="")
    await put(held, unowned)
    assert not access.sees(Viewer(), unowned)


async def test_a_test_event_is_kept_from_those_who_could_not_tell(held: Programmes) -> None:
    access = Access(held)
    await put(held, Programme(id="p", name="p"), ProgrammeEvent(id="e", programme="p", test=True))
    assert (seen(access, ME), seen(access, BL)) == ([], ["e"])
