"""`gridparley replay`."""

from __future__ import annotations

import json
from pathlib import Path

import click

from interop.audit import audit
from interop.cli.access import open_reader
from interop.cli.output import Exit, config_argument, emit, json_option, load
from interop.store import EventRow, Reader

__all__ = ["replay"]

_PAGE = 1000


@click.command()
@config_argument
@click.option("--after", default=0, help="Print only events after this number.")
@click.option("--kind", "kinds", multiple=True, help="Print only events of this kind; may be given again.")
@click.option("--head", default="", help="A hash noted earlier (by backup): it must still be in the log.")
@click.option("--quiet", is_flag=True, help="Verify only, print no events.")
@click.pass_context
@json_option
def replay(ctx: click.Context, config: Path, after: int, kinds: tuple[str, ...], head: str, quiet: bool) -> None:
    """Print the event log, verify its hash chain, and compare it with the tables. Exit code 1 where they disagree."""
    reader = open_reader(load(config))
    try:
        result = audit(reader, head)
        events = [] if quiet else _events(reader, after, kinds)
    finally:
        reader.close()
    data = result.as_dict() | {"log": [_row(event) for event in events]}
    lines = [
        f"{e.seq:>7} {e.at:%Y-%m-%d %H:%M:%S} {e.kind:<22} {json.dumps(e.data, ensure_ascii=False)}" for e in events
    ]
    lines += [f"{number:>7} {kind}" for kind, number in sorted(result.kinds.items())]
    verdict = "intact" if result.chain.intact else "BROKEN"
    lines.append(f"{result.chain.events} events, chain {verdict}, head {result.chain.head}")
    emit(data, "\n".join(lines + [f"problem: {problem}" for problem in result.problems]))
    if result.problems:
        ctx.exit(Exit.FOUND)


def _events(reader: Reader, after: int, kinds: tuple[str, ...]) -> list[EventRow]:
    found: list[EventRow] = []
    while rows := reader.events(found[-1].seq if found else after, _PAGE, kinds):
        found += rows
    return found


def _row(event: EventRow) -> dict[str, object]:
    return {"seq": event.seq, "at": event.at.isoformat(), "kind": event.kind, "data": event.data, "hash": event.hash}
