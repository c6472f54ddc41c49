"""`gridparley uftp find`: ask the configured directory, and nothing else happens."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from pathlib import Path

import click

from adapters.uftp.discovery import AddressBook, DirectoryError, Found, Unlisted, make_directory
from adapters.uftp.keys import public_key_string
from datamodels import Role
from interop.cli.output import CliError, Exit, config_argument, emit, json_option, load
from interop.cli.uftp.check import ROLES
from interop.cli.uftp.keys import uftp_config
from interop.config import Config

__all__ = ["find"]


@click.command()
@config_argument
@click.argument("domain", required=False)
@click.option("--role", type=ROLES, required=True, help="The role that is looked for.")
@click.option("--contract", default="", help="Instead of a domain: the party that has the role in this contract.")
@json_option
def find(config: Path, domain: str | None, role: str, contract: str) -> None:
    """Look a participant up in the configured directory: its keys, its address, and until when they hold."""
    if bool(domain) == bool(contract):
        raise CliError("give a domain, or --contract", code=Exit.USAGE)
    try:
        name, found = asyncio.run(_find(load(config), domain or "", Role(role.upper()), contract))
    except DirectoryError as error:
        code = Exit.FOUND if isinstance(error, Unlisted) else Exit.UNAVAILABLE
        raise CliError(str(error), code=code) from error
    data = {
        "domain": name,
        "role": role.upper(),
        "keys": [public_key_string(key) for key in found.keys],
        "endpoint": found.endpoint,
        "versions": list(found.versions),
        "expires": found.expires.isoformat(),
    }
    lines = [f"{name} is {role.upper()}, until {data['expires']}", *data["keys"]]
    emit(data, "\n".join([*lines, found.endpoint or "no address", ", ".join(found.versions) or "no versions"]))


async def _find(config: Config, domain: str, role: Role, contract: str) -> tuple[str, Found]:
    discovery = uftp_config(config).discovery
    peers = {peer.domain: peer.canonical() for peer in config.peers}
    try:
        directory = make_directory(discovery, peers, lambda: datetime.now(UTC))
    except (OSError, ValueError) as error:
        raise CliError(str(error), code=Exit.CONFIG) from error
    try:
        if not contract:
            return domain, await directory.find(domain, role)
        if not isinstance(directory, AddressBook):
            raise CliError("only an address book knows contracts", 'provider = "address-book"', Exit.CONFIG)
        return await directory.find_party(contract, role)
    finally:
        await directory.close()
