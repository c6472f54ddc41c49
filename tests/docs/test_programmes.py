"""The page on programmes: its commands are commands, its table has every member and says what translations say."""

from __future__ import annotations

import dataclasses
import json
import re
import shlex
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import click

from adapters.openadr3.vtn.neutral import event_of
from datamodels import EventBaseline, ProgrammeEvent, SignalInterval
from interop.cli import main
from interop.programmes import bodies
from interop.programmes.page import MEMBERS, page
from interop.settings import Settings

NOW = datetime(2026, 12, 1, tzinfo=UTC)


def test_the_commands_of_the_page_are_commands() -> None:
    lines = [line for line in page().replace("\\\n", "").splitlines() if line.startswith("gridparley ")]
    assert len(lines) == 6
    for line in lines:
        command: click.Command = main
        words = shlex.split(line)[1:]
        while isinstance(command, click.Group):
            found = command.get_command(click.Context(command), words.pop(0))
            assert found is not None, line
            command = found
        command.make_context("command", words)


def test_the_body_on_the_page_is_an_event(tmp_path: Any) -> None:
    text = re.search(r"```json\n(.*?)```", page(), re.DOTALL)
    assert text is not None
    settings = Settings(tmp_path)
    body = settings.read(bodies.EventBody, json.loads(text[1]), "event")
    assert settings.problems == []
    assert body is not None
    event, problems = bodies.event_of("p", body, NOW, "EUR")
    assert (problems, len(event.signals)) == ([], 2)


def test_every_member_of_an_event_has_a_row() -> None:
    stamped = {"id", "created", "modified", "written"}
    assert {m.name for m in MEMBERS} == {f.name for f in dataclasses.fields(ProgrammeEvent)} - stamped


def test_members_that_3x_does_not_carry_are_named_as_losses() -> None:
    minute = timedelta(minutes=1)
    values: dict[str, Any] = dict.fromkeys(("notification", "ramp_up", "recovery"), minute)
    values |= {"test": True, "comment": "x"}
    values["baseline"] = EventBaseline("b", (SignalInterval(NOW, minute, Decimal(1)),))
    lost = {m.name for m in MEMBERS if m.in_3 == "none"}
    assert lost == set(values)
    _, losses = event_of(ProgrammeEvent(id="e", programme="p", **values))
    assert {loss.field for loss in losses} == lost
