"""`gridparley programme` and `gridparley ven`: what a utility says to its VENs, and what they say back."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote

import click

from datamodels import DispatchKind, SignalKind
from interop.cli.access import ask_server
from interop.cli.event import instant
from interop.cli.output import CliError, Exit, config_argument, emit, json_option, load

__all__ = ["programme", "ven"]

F = TypeVar("F", bound=Callable[..., Any])
_KINDS = list(dict.fromkeys(str(kind) for kind in (*SignalKind, *DispatchKind)))
_HINT = "start it with gridparley serve, or correct [server] http_listen"


@click.group()
def programme() -> None:
    """Programmes and their events, through the running server."""


@programme.command()
@config_argument
@click.argument("name")
@click.option("--market-context", default="", help="URI by which 2.0b VENs know it; without one they never see it.")
@click.option("--target", "targets", multiple=True, metavar="[KIND=]VALUE", help="Whom it is for. [default: everybody]")
@click.option("--id", "id", default="", help="An id of your own. [default: derived from the name]")
@json_option
def create(config: Path, name: str, market_context: str, targets: tuple[str, ...], id: str) -> None:
    """Make a programme; said again under its id, it changes."""
    body = {"name": name, "market_context": market_context, "targets": _targets(targets), "id": id}
    row = _ask(config, "POST", "programmes", body=body)
    emit(row, f"{row['id']}: programme {row['name']}, revision {row['revision']}")


@programme.command(name="list")
@config_argument
@json_option
def list_(config: Path) -> None:
    """List programmes, with how many events are coming and active."""
    rows = _ask(config, "GET", "programmes")
    lines = [
        f"{r['id']:<38} {r['name']:<28} {r['events']:>4} events, {r['active']} active, {r['coming']} coming"
        for r in rows
    ]
    emit(rows, "\n".join(lines) or "no programmes; gridparley programme create")


@programme.command()
@config_argument
@click.argument("name")
@json_option
def show(config: Path, name: str) -> None:
    """One programme, by id or name, with its events."""
    row = _ask(config, "GET", "programmes", name)
    events = _ask(config, "GET", "programmes", name, "events")
    known = row["market_context"] or "no market context: 2.0b VENs do not see it"
    about = f"{row['id']}: programme {row['name']}, revision {row['revision']} ({known})"
    text = "\n".join([about, f"for {_for(row['targets'])}", *map(_event, events)])
    emit(row | {"event_list": events}, text)


@programme.command()
@config_argument
@click.argument("name")
@json_option
def remove(config: Path, name: str) -> None:
    """Remove a programme without events, by id or name."""
    row = _ask(config, "DELETE", "programmes", name)
    emit(row, f"{row['id']}: programme {row['name']} is removed")


# --- events -------------------------------------------------------------------------------------------------------


@programme.group()
def event() -> None:
    """Events of a programme."""


def _said(command: F) -> F:
    """The options that say an event."""
    options = (
        click.option("--file", type=click.Path(path_type=Path, dir_okay=False, exists=True), help="The event as JSON."),
        click.option("--kind", type=click.Choice(_KINDS, case_sensitive=False), help="What the values mean."),
        click.option("--payload", default="", help="Payload type of another name, instead of a kind."),
        click.option("--unit", default="", help="Unit of a payload type's values (KW, KWH, PERCENT, ...)."),
        click.option(
            "--value", "values", multiple=True, help="W, Wh, currency per kWh or 0..3; again for each interval."
        ),
        click.option("--minutes", type=click.FloatRange(0), help="How long each value holds; 0 is until cancelled."),
        click.option("--start", metavar="TIME", callback=instant, help="Market time with an offset. [default: now]"),
        click.option("--target", "targets", multiple=True, metavar="[KIND=]VALUE", help="[default: everybody in it]"),
        click.option("--name", default="", help="What people call it."),
        click.option("--priority", type=click.IntRange(0), default=0, help="1 is most urgent. [default: none]"),
        click.option("--tolerance", type=click.FloatRange(0), help="Minutes after the start in which VENs may begin."),
        click.option("--notification", type=click.FloatRange(0), help="Minutes of notice."),
        click.option("--ramp-up", type=click.FloatRange(0), help="Minutes before the start."),
        click.option("--recovery", type=click.FloatRange(0), help="Minutes after the end."),
        click.option("--comment", default="", help="What VENs' people read."),
        click.option("--test", is_flag=True, help="Nobody acts upon it."),
        click.option("--report", "reports", multiple=True, metavar="PAYLOAD[/MINUTES]", help="A report to ask for."),
        click.option("--id", "id", default="", help="An id of your own; said again, it revises. [default: derived]"),
    )
    for option in reversed(options):
        command = option(command)
    return command


@event.command(name="create")
@config_argument
@click.argument("name_of_programme", metavar="PROGRAMME")
@_said
@json_option
def create_event(config: Path, name_of_programme: str, **said: Any) -> None:
    """Create an event of a programme, from options or from a file."""
    row = _ask(config, "POST", "programmes", name_of_programme, "events", body=_body(said))
    emit(row, _event(row))


@event.command(name="change")
@config_argument
@click.argument("name_of_programme", metavar="PROGRAMME")
@click.argument("event_id", metavar="EVENT")
@_said
@json_option
def change_event(config: Path, name_of_programme: str, event_id: str, **said: Any) -> None:
    """Say an event anew, whole; its revision rises where anything differs."""
    row = _ask(config, "PUT", "programmes", name_of_programme, "events", event_id, body=_body(said))
    emit(row, _event(row))


@event.command(name="list")
@config_argument
@click.argument("name_of_programme", metavar="PROGRAMME")
@json_option
def list_events(config: Path, name_of_programme: str) -> None:
    """List the events of a programme, the ones that start first first."""
    rows = _ask(config, "GET", "programmes", name_of_programme, "events")
    emit(rows, "\n".join(map(_event, rows)) or "no events; gridparley programme event create")


@event.command(name="show")
@config_argument
@click.argument("name_of_programme", metavar="PROGRAMME")
@click.argument("event_id", metavar="EVENT")
@json_option
def show_event(config: Path, name_of_programme: str, event_id: str) -> None:
    """One event: its signals, what each VEN said to it, and what was reported."""
    row = _ask(config, "GET", "programmes", name_of_programme, "events", event_id)
    lines = [_event(row), f"  for {_for(row['targets'])}"]
    lines += [
        f"  {s['kind'] or s['payload']} {i['value']} {s['unit']} from {i['start']} for {i['minutes']:g} min"
        for s in row["signals"]
        for i in s["intervals"]
    ]
    lines += [f"  {v['name']:<28} {_answer(v['opt'])}" for v in row["vens"]]
    lines += [_report(r) for r in row["reports"]]
    emit(row, "\n".join(lines))


@event.command(name="cancel")
@config_argument
@click.argument("name_of_programme", metavar="PROGRAMME")
@click.argument("event_id", metavar="EVENT")
@click.option("--forget", is_flag=True, help="Remove an event that is over instead, with what was said to it.")
@json_option
def cancel_event(config: Path, name_of_programme: str, event_id: str, forget: bool) -> None:
    """End an event before its time."""
    query = {"forget": "1"} if forget else {}
    row = _ask(config, "DELETE", "programmes", name_of_programme, "events", event_id, query=query)
    emit(row, f"{row['id']} is forgotten" if forget else _event(row))


# --- VENs ---------------------------------------------------------------------------------------------------------


@click.group()
def ven() -> None:
    """VENs: who is enrolled, with which resources, and what they said."""


@ven.command(name="list")
@config_argument
@json_option
def list_vens(config: Path) -> None:
    """List VENs."""
    rows = _ask(config, "GET", "vens")
    lines = [
        f"{r['id']:<38} {r['name']:<28} {r['profile'] or '-':<6} {len(r['resources']):>3} resources {r['status']}"
        for r in rows
    ]
    emit(rows, "\n".join(lines) or "no VENs; gridparley ven add")


@ven.command(name="show")
@config_argument
@click.argument("name")
@json_option
def show_ven(config: Path, name: str) -> None:
    """One VEN, by id or name, with its opts, schedules and reports."""
    row = _ask(config, "GET", "vens", name)
    state = f" ({row['status']})" if row["status"] else ""
    lines = [f"{row['id']}: VEN {row['name']}, profile {row['profile'] or 'not known'}{state}"]
    lines += [f"  resource {r['name']}, here {r['resource'] or 'not known'}" for r in row["resources"]]
    lines += [f"  {o['opt']} to event {o['event_name'] or o['event']} (revision {o['answered']})" for o in row["opts"]]
    lines += [
        f"  {a['opt']} {w['start']} to {w['end'] or 'for ever'} {', '.join(a['resources'])}".rstrip()
        for a in row["availability"]
        for w in a["windows"]
    ]
    lines += [_report(r) for r in row["reports"]]
    emit(row, "\n".join(lines))


@ven.command()
@config_argument
@click.argument("name")
@click.option("--client", default="", help="The identity that it proves (client id, certificate fingerprint).")
@click.option("--profile", type=click.Choice(["2.0b", "3.0.1", "3.1.0"]), help="What it speaks.")
@click.option("--target", "targets", multiple=True, metavar="[KIND=]VALUE", help="A target that it is granted.")
@click.option("--resource", "resources", multiple=True, metavar="NAME[=ID]", help="A resource of it; ID is ours.")
@click.option("--id", "id", default="", help="An id of your own. [default: derived from the name]")
@json_option
def add(
    config: Path,
    name: str,
    client: str,
    profile: str | None,
    targets: tuple[str, ...],
    resources: tuple[str, ...],
    id: str,
) -> None:
    """Enrol a VEN, or say anew what is known of it."""
    behind = [{"name": n, "resource": ours} for n, _, ours in (r.partition("=") for r in resources)]
    body = {"name": name, "client": client, "profile": profile or "", "targets": _targets(targets), "id": id}
    row = _ask(config, "POST", "vens", body=body | {"resources": behind})
    emit(row, f"{row['id']}: VEN {row['name']} with {len(row['resources'])} resources, revision {row['revision']}")


@ven.command(name="remove")
@config_argument
@click.argument("name")
@json_option
def remove_ven(config: Path, name: str) -> None:
    """Remove a VEN with its resources, opts and schedules."""
    row = _ask(config, "DELETE", "vens", name)
    emit(row, f"{row['id']}: VEN {row['name']} is removed")


# --- inside -------------------------------------------------------------------------------------------------------


def _ask(
    config: Path, method: str, *path: str, body: dict[str, Any] | None = None, query: dict[str, str] | None = None
) -> Any:
    asked = "&".join(f"{key}={quote(value, safe='')}" for key, value in (query or {}).items())
    url = "/api/v1/" + "/".join(quote(part, safe="") for part in path) + (f"?{asked}" if asked else "")
    return ask_server(load(config), method, url, body, hint=_HINT)


def _body(said: dict[str, Any]) -> dict[str, Any]:
    """An event from options, or from a file that options add to."""
    body: dict[str, Any] = {}
    if said["file"]:
        try:
            body = json.loads(said["file"].read_text(encoding="utf-8"))
        except ValueError as error:
            raise CliError(f"{said['file']} holds no JSON: {error}", code=Exit.USAGE) from error
        if not isinstance(body, dict):
            raise CliError(f"{said['file']} must hold an object", "see docs/programmes.md", Exit.USAGE)
    if said["kind"] or said["payload"]:
        values = list(said["values"])
        if not values or said["minutes"] is None:
            raise click.UsageError("give --value and --minutes beside --kind or --payload, or --file")
        steps = [{"minutes": said["minutes"], "value": value} for value in values]
        body["signals"] = [{"kind": said["kind"] or "", "payload": said["payload"], "unit": said["unit"]}]
        body["signals"][0]["intervals"] = steps
    elif not said["file"]:
        raise click.UsageError("give --kind with --value and --minutes, or --file")
    for key in ("start", "name", "priority", "comment", "test", "id"):
        if said[key]:
            body[key] = said[key]
    for key in ("tolerance", "notification", "ramp_up", "recovery"):
        if said[key] is not None:
            body[f"{key}_minutes"] = said[key]
    if said["targets"]:
        body["targets"] = _targets(said["targets"])
    if said["reports"]:
        asked = [report.partition("/") for report in said["reports"]]
        body["reports"] = [{"payload": p} | ({"every_minutes": every} if every else {}) for p, _, every in asked]
    return body


def _targets(words: Iterable[str]) -> list[dict[str, str]]:
    """`KIND=VALUE`, or a value alone."""
    return [{"kind": kind, "value": value} for kind, _, value in (word.rpartition("=") for word in words)]


def _for(targets: list[dict[str, str]]) -> str:
    return ", ".join(f"{t['kind']} {t['value']}".strip() for t in targets) or "everybody"


def _event(row: dict[str, Any]) -> str:
    said = ", ".join(f"{s['kind'] or s['payload']} {s['value'] or ''}".strip() for s in row["signals"])
    when = f"{row['start'] or '-'} {row['end'] or 'until cancelled'} {row['phase']}{' TEST' if row['test'] else ''}"
    opts = f"in {row['opted_in']} out {row['opted_out']} (revision {row['revision']})"
    return f"{row['id']:<38} {said:<28} {when} {opts}"


def _answer(opt: dict[str, Any] | None) -> str:
    if opt is None:
        return "no answer"
    to = "" if opt["current"] else f" to revision {opt['answered']}"
    return f"{opt['opt']}{to}" + (f": {opt['reason']}" if opt["reason"] else "")


def _report(row: dict[str, Any]) -> str:
    said = ", ".join(
        f"{s['resource'] or 'all'} {s['payload']} {s['intervals'][-1]['value'] if s['intervals'] else ''}".strip()
        for s in row["series"]
    )
    return f"  report {row['name'] or row['id']} of {row['ven_name'] or row['client']}: {said}"
