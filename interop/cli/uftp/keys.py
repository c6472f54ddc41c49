"""`gridparley uftp keys`: our own signing keys."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import click

from adapters.uftp import UftpConfig
from adapters.uftp.keys import KeyRing, SigningKey, dns_records, generate_key_file, public_key_string
from interop.cli.output import CliError, Exit, config_argument, emit, json_option, load
from interop.cli.uftp.check import INSTANT
from interop.config import Config
from interop.server import make_clock

__all__ = ["keys", "uftp_config"]

_host_option = click.option("--host", default="", help="Public host name, for the DNS record of our address.")


@click.group()
def keys() -> None:
    """Make, show and rotate our signing keys; a running server takes them up within a second."""


@keys.command()
@config_argument
@_host_option
@json_option
def new(config: Path, host: str) -> None:
    """Make the signing key that the configuration names; one that is there is never overwritten."""
    settings = load(config)
    ours = uftp_config(settings)
    try:
        generate_key_file(ours.signing_key_file)
    except FileExistsError as error:
        raise CliError(f"{ours.signing_key_file} exists", "rotate replaces it in good order", Exit.USAGE) from error
    except OSError as error:
        raise CliError(f"{ours.signing_key_file}: {error.strerror}") from error
    _show(ours, _now(settings), host)


@keys.command()
@config_argument
@_host_option
@json_option
def show(config: Path, host: str) -> None:
    """Show what we publish: public keys, and the DNS records that say so."""
    settings = load(config)
    _show(uftp_config(settings), _now(settings), host)


@keys.command()
@config_argument
@click.option("--overlap", "hours", type=click.FloatRange(0), default=24.0, show_default=True, help="Hours.")
@click.option("--sign-from", type=INSTANT, help="When we begin to sign with the new key.  [default: half the overlap]")
@_host_option
@json_option
def rotate(config: Path, hours: float, sign_from: datetime | None, host: str) -> None:
    """Add a new signing key: both are published for the overlap, and we sign with the new one from an instant within.

    Peers need the first part to learn the new key, messages on their way need the rest to arrive. Publish what is
    printed at once, and `keys show` again when the overlap is over.
    """
    settings = load(config)
    ours, now = uftp_config(settings), _now(settings)
    until = now + timedelta(hours=hours)
    try:
        ring = KeyRing.read(ours.signing_key_file)
        ring.rotated(SigningKey.new(), now, sign_from or now + (until - now) / 2, until).write(ours.signing_key_file)
    except ValueError as error:
        raise CliError(str(error), code=Exit.USAGE) from error
    except OSError as error:
        raise CliError(f"{ours.signing_key_file}: {error.strerror}") from error
    _show(ours, now, host)


def uftp_config(config: Config) -> UftpConfig:
    """The UFTP adapter's part of a configuration, checked."""
    options = config.adapters.get("uftp")
    if options is None:
        raise CliError("this party does not speak UFTP", "add [adapters.uftp] to its configuration", Exit.CONFIG)
    try:
        return UftpConfig.parse(options)
    except ValueError as error:
        raise CliError(f"[adapters.uftp]: {error}", code=Exit.CONFIG) from error


def _now(config: Config) -> datetime:
    try:
        return make_clock(config).now()
    except (OSError, ValueError, KeyError) as error:
        raise CliError(f"[clock] file: {error}", code=Exit.CONFIG) from error


def _show(ours: UftpConfig, now: datetime, host: str) -> None:
    try:
        ring = KeyRing.read(ours.signing_key_file)
    except OSError as error:
        hint = "gridparley uftp keys new makes one"
        raise CliError(f"{ours.signing_key_file}: {error.strerror}", hint) from error
    except ValueError as error:
        raise CliError(str(error)) from error
    signing, published = ring.signing(now), ring.published(now)
    rows: list[dict[str, Any]] = [
        {
            "key": public_key_string(key.key.public),
            "signs": key.key == signing,
            "signs_from": key.signs_from.isoformat() if key.signs_from else None,
            "until": key.until.isoformat() if key.until else None,
        }
        for key in published
    ]
    records = dns_records(ours.domain, ours.role, [k.key.public for k in published], ours.versions, host)
    data = {"domain": ours.domain, "role": str(ours.role), "keys": rows, "dns": records}
    emit(data, "\n".join([*map(_line, rows), "", *records]))


def _line(row: dict[str, Any]) -> str:
    notes = ["signs now"] if row["signs"] else []
    notes += [f"{what} {row[name]}" for what, name in (("from", "signs_from"), ("until", "until")) if row[name]]
    return f"{row['key']}  {', '.join(notes)}".rstrip()
