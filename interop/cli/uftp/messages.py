"""`gridparley uftp send` and `export`: ready payloads out, and the signed bytes of what was exchanged."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Iterable
from pathlib import Path
from typing import Any
from urllib.parse import quote

import click

from adapters.errors import Rejection, TransportFault
from adapters.ports import Direction
from adapters.uftp import envelope
from adapters.uftp.keys import KeyRing, parse_public_keys, public_key_string
from datamodels import Participant, ParticipantKey, decode
from interop.cli.access import ask_server, open_reader
from interop.cli.output import CliError, Exit, config_argument, emit, json_option, load
from interop.cli.uftp.check import ROLES
from interop.cli.uftp.keys import uftp_config
from interop.config import Config
from interop.market.desk import MarketDesk, SaidAlready
from interop.peers import FOUND, PEER, SPACE
from interop.server import Server
from interop.step import Undeliverable
from interop.store import EventRow, MessageRow, Reader, StoreError, StoreLocked

__all__ = ["export", "send"]

_PAGE = 1000
_PEER_EVENTS = ("peer.added", "peer.changed", "peer.rotated", "peer.barred", "peer.discovered")


@click.command()
@config_argument
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False, exists=True))
@click.option("--as", "role", type=ROLES, help="Our role, to be sure that this is the party that was meant.")
@click.option("--to", "recipient", default="", help="Peer to send it to.  [default: the payload's RecipientDomain]")
@json_option
def send(config: Path, file: Path, role: str | None, recipient: str) -> None:
    """Send a ready payload: signed as it stands, byte for byte, and remembered as said by us.

    A running server takes it and sends it; else it waits in the outbox for the next start.
    """
    settings = load(config)
    if role and role.upper() != settings.party.role:
        raise CliError(f"{settings.party.domain} is {settings.party.role}, not {role.upper()}", code=Exit.USAGE)
    row = asyncio.run(_send(settings, file.read_bytes(), recipient))
    emit(row, f"{row['kind']} {row['message_id']} is in the outbox for {row['peer']}")


async def _send(config: Config, payload: bytes, recipient: str) -> Any:
    try:
        async with Server(config).at_rest() as server:
            if not isinstance(server.desk, MarketDesk):
                hint = 'set [desk] kind = "manual" where decisions are made elsewhere'
                raise CliError("this party remembers nothing, so nothing can be said for it", hint, Exit.CONFIG)
            return await server.desk.forward(payload, recipient)
    except StoreLocked:
        path = f"/api/v1/uftp/messages?to={quote(recipient, safe='')}"
        return ask_server(config, "POST", path, payload)
    except Rejection as error:
        raise CliError(f"it is no UFTP message: {error}", code=Exit.FOUND) from error
    except (SaidAlready, Undeliverable) as error:
        raise CliError(str(error), code=Exit.FOUND) from error
    except (StoreError, OSError, LookupError, ValueError) as error:
        raise CliError(str(error)) from error


@click.command()
@config_argument
@click.argument("message_id")
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), help="Write the envelope here.")
@click.option(
    "--key", "more", multiple=True, help="A public key that its sender had at the time, if none here opens it."
)
@click.pass_context
@json_option
def export(ctx: click.Context, config: Path, message_id: str, out: Path | None, more: tuple[str, ...]) -> None:
    """Export the signed bytes of a message as they were received or sent, and verify them again.

    Every key that was ever trusted for its sender is tried. Exit code 1 where none opens it.
    """
    settings = load(config)
    reader = open_reader(settings)
    try:
        rows = [row for row in reader.message(message_id) if row.adapter == "uftp"]
        if not rows:
            raise CliError(f"no UFTP message has the id {message_id}", code=Exit.FOUND)
        found = [_exported(row, _keys(settings, reader, row, more)) for row in rows]
    except ValueError as error:
        raise CliError(str(error), code=Exit.USAGE) from error
    finally:
        reader.close()
    if out is not None:
        out.write_bytes(rows[0].raw)
    emit(found if len(found) > 1 else found[0], "\n\n".join(map(_text, found)))
    if not all(row["opened_by"] for row in found):
        ctx.exit(Exit.FOUND)


def _exported(row: MessageRow, keys: Iterable[bytes]) -> dict[str, Any]:
    sealed = envelope.read(row.raw)
    opened_by = next((public_key_string(key) for key in keys if _opens(sealed.body, key, row)), None)
    return {
        "message_id": row.message_id,
        "direction": str(row.direction),
        "peer": row.peer,
        "kind": row.kind,
        "at": row.at.isoformat(),
        "sender": sealed.sender_domain,
        "sender_role": str(sealed.sender_role),
        "opened_by": opened_by,
        "payload": sealed.payload.decode("utf-8", "replace"),
        "envelope": base64.b64encode(row.raw).decode("ascii"),
    }


def _opens(body: bytes, key: bytes, row: MessageRow) -> bool:
    try:
        envelope.verify(body, [ParticipantKey(key)], row.at)
    except TransportFault:
        return False
    return True


def _keys(config: Config, reader: Reader, row: MessageRow, more: Iterable[str]) -> list[bytes]:
    """Every key that the sender of a message ever had, as far as we know."""
    found = [key for text in more for key in parse_public_keys(text)]
    if row.direction is Direction.OUT:
        found += [key.key.public for key in KeyRing.read(uftp_config(config).signing_key_file).keys]
        return found
    found += [k.public_key for p in config.peers if p.domain == row.peer for k in p.canonical().keys]
    for kind in (PEER, FOUND):
        for document in reader.documents(SPACE, kind):
            if document.key == row.peer:
                found += [k.public_key for k in decode(document.value, Participant).keys]
    for event in _events(reader):
        if event.data.get("peer") == row.peer:
            found += [base64.b64decode(key) for key in event.data.get("keys", ())]
    return list(dict.fromkeys(found))


def _events(reader: Reader) -> Iterable[EventRow]:
    after = 0
    while rows := reader.events(after, _PAGE, _PEER_EVENTS):
        yield from rows
        after = rows[-1].seq


def _text(row: dict[str, Any]) -> str:
    verdict = f"opened by {row['opened_by']}" if row["opened_by"] else "NO KNOWN KEY OPENS IT (--key tries another)"
    way = "to" if row["direction"] == Direction.OUT else "from"
    head = f"{row['kind']} {row['message_id']} {way} {row['peer']}, {row['at']}"
    return f"{head}\n{verdict}\n{row['payload']}"
