"""`gridparley init`."""

from __future__ import annotations

import os
from pathlib import Path

import click

from adapters.uftp.keys import generate_key_file, public_key_string
from interop.cli.output import CliError, Exit, emit, json_option

__all__ = ["init"]

_CONFIG = "gridparley.toml"
_KEY = "signing.key"
_TEMPLATE = """\
# gridparley's configuration. Every key can be overridden by the environment: GRIDPARLEY_<SECTION>_<KEY>.
# Relative paths start at the folder of this file. `gridparley doctor` checks it.

[server]
data_dir = "data"
http_listen = "127.0.0.1:8080"  # dashboard, API, /healthz /readyz /metrics
log_level = "info"

[party]
domain = "{domain}"
role = "{role}"

[market]
timezone = "Europe/Amsterdam"
isp_minutes = 15
currency = "EUR"
settlement_basis = "pay_delivered"
penalty_eur_per_kwh = 0.5

# [[market.congestion_points]]
# address = "ea1.2020-01.org.example:station-1"
# dso = "dso.example.org"
# start = "2026-01-01"
# import_limit_w = 160000
# export_limit_w = 160000

[adapters.uftp]
domain = "{domain}"
role = "{role}"
listen = "127.0.0.1:8443"
signing_key_file = "{key}"

# Counterparts: here, or with `gridparley peer add`.
# [[peers]]
# domain = "{other}.example.org"
# role = "{other_role}"
# endpoint = "https://{other}.example.org/shapeshifter/api/v3/message"
# keys = ["cs1.…"]

[desk]
kind = "{desk}"  # "aggregator" and "gridoperator" decide by themselves, "commonreference" keeps the register;
               # "manual" answers by the rules; "none" only receives and records
"""


@click.command()
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path, file_okay=False))
@click.option(
    "--role", type=click.Choice(["AGR", "DSO", "CRO"], case_sensitive=False), default="AGR", show_default=True
)
@click.option("--domain", help="Internet domain that names this party.  [default: agr.example.org and the like]")
@json_option
def init(folder: Path, role: str, domain: str | None) -> None:
    """Write a configuration with a fresh signing key into DIR."""
    role = role.upper()
    domain = domain or f"{role.lower()}.example.org"
    config, key = folder / _CONFIG, folder / _KEY
    for path in (config, key):
        if path.exists():
            raise CliError(f"{path} exists already", "nothing was changed; choose another folder", Exit.USAGE)
    other = "AGR" if role != "AGR" else "DSO"
    desk = "commonreference" if role == "CRO" else "none"
    text = _TEMPLATE.format(domain=domain, role=role, key=_KEY, other=other.lower(), other_role=other, desk=desk)
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        public = public_key_string(generate_key_file(key).public)
        handle = os.open(config, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except OSError as error:
        raise CliError(f"{folder} cannot be written: {error.strerror}") from error
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        file.write(text)
    emit(
        {"config": str(config), "signing_key": str(key), "public_key": public, "domain": domain, "role": role},
        f"wrote {config} and {key}\n"
        f"public key of {domain}, for your counterparts:\n  {public}\n"
        f"next: gridparley doctor {config}, then gridparley serve {config}",
    )
