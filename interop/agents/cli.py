"""`gridparley agent` is a home's own process; `gridparley agents` is the aggregator's view of all of them."""

from __future__ import annotations

import asyncio
import base64
import ipaddress
import json
import logging
import ssl
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import click
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from interop.agents.client import Agent, Refused
from interop.agents.home import read_household
from interop.cli.access import ask_server
from interop.cli.output import CliError, Exit, config_argument, emit, json_option, load
from interop.logs import set_up
from optimiser import InputError
from optimiser.masking import LEAST

__all__ = ["agent", "agents"]

_HINT = "start it with gridparley serve, or correct [server] http_listen"
_PLAN_S = 3600.0
_FILE = click.Path(path_type=Path, dir_okay=False)


@click.command()
@click.option("--home", required=True, type=_FILE, help="The home's data (gridparley-home/1 JSON, or .npz).")
@click.option("--connect", required=True, metavar="URL", help="ws://… or wss://… of the aggregator, with /agents.")
@click.option("--token-file", required=True, type=_FILE, help="File with the token from `gridparley agents add`.")
@click.option("--ca", type=_FILE, help="Authority (PEM) that vouches for the aggregator's certificate.")
@click.option("--state", type=click.Path(path_type=Path), help="Folder for the key and awards (default: HOME.agent).")
@click.option("--least", default=LEAST, show_default=True, help="Smallest group to answer in; 1 answers unmasked too.")
@click.option("--roster", type=_FILE, help="JSON of agent id: public key; nobody else counts as a home.")
@click.option("--meter", type=_FILE, help="JSON list of W per ISP, complete when the day is over.")
def agent(
    home: Path,
    connect: str,
    token_file: Path,
    ca: Path | None,
    state: Path | None,
    least: int,
    roster: Path | None,
    meter: Path | None,
) -> None:
    """Plan one home for itself and answer an aggregator's prices; its data stay here."""
    set_up("info", None)
    if not connect.startswith("wss://") and not _is_loopback(connect):
        raise CliError(f"{connect} is not encrypted", "use wss:// for another machine than this one", Exit.USAGE)
    try:
        household = read_household(home)
        token = token_file.read_text(encoding="utf-8").strip()
        known = json.loads(roster.read_text(encoding="utf-8")) if roster else None
        keys = None if known is None else {id: base64.b64decode(key) for id, key in known.items()}
        folder = state or home.with_suffix(".agent")
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        one = Agent(household, _secret(folder / "key"), folder, least=least, roster=keys, meter=meter)
        tls = ssl.create_default_context(cafile=str(ca)) if connect.startswith("wss://") else None
        asyncio.run(one.run(connect, token, tls))
    except (OSError, ValueError, InputError) as error:
        raise CliError(str(error)) from error
    except Refused as error:
        raise CliError(str(error), "ask the aggregator for a new token", Exit.FOUND) from error
    except KeyboardInterrupt:
        logging.getLogger(__name__).info("stopped")


def _is_loopback(url: str) -> bool:
    parts = urlsplit(url)
    try:
        return parts.scheme == "ws" and ipaddress.ip_address(parts.hostname or "").is_loopback
    except ValueError:
        return parts.scheme == "ws" and parts.hostname == "localhost"


def _secret(path: Path) -> X25519PrivateKey:
    """The agent's key, made at the first start; readable by its owner only."""
    if not path.exists():
        path.touch(mode=0o600)
        path.write_bytes(X25519PrivateKey.generate().private_bytes_raw())
    return X25519PrivateKey.from_private_bytes(path.read_bytes())


@click.group()
def agents() -> None:
    """Admit agents of homes, and plan a day with them."""


@agents.command("list")
@config_argument
@json_option
def list_(config: Path) -> None:
    """Agents, where they are, and whether they are connected."""
    rows = ask_server(load(config), "GET", "/api/v1/agents", hint=_HINT)
    lines = [f"{row['id']:<32} {row['point']:<24} {'connected' if row['connected'] else 'away'}" for row in rows]
    emit(rows, "\n".join(lines) or "no agent is admitted")


@agents.command()
@config_argument
@click.argument("id")
@click.option("--point", required=True, help="Congestion point behind which the home is.")
@json_option
def add(config: Path, id: str, point: str) -> None:
    """Admit an agent; prints its token, which is not kept and cannot be shown again."""
    data = ask_server(load(config), "POST", "/api/v1/agents", {"id": id, "point": point}, hint=_HINT)
    emit(data, data["token"])


@agents.command()
@config_argument
@click.argument("id")
@json_option
def bar(config: Path, id: str) -> None:
    """End an agent's admission."""
    data = ask_server(load(config), "DELETE", f"/api/v1/agents/{id}", hint=_HINT)
    emit(data, f"{id} is barred")


@agents.command()
@config_argument
@click.argument("request", type=_FILE)
@json_option
def plan(config: Path, request: Path) -> None:
    """Negotiate a day with the agents that are connected.

    REQUEST is JSON: {"period": "2026-05-20", "points": {POINT: {"lo_w": [...], "hi_w": [...]}}}, with one value per ISP
    or none, and optionally gap, rounds and penalty_eur_per_kwh.
    """
    try:
        body: dict[str, Any] = json.loads(request.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CliError(f"{request}: {error}") from error
    data = ask_server(load(config), "POST", "/api/v1/agents/plans", body, hint=_HINT, timeout_s=_PLAN_S)
    told = [
        f"{data['status']}: {data['cost_eur']:.2f} EUR, gap {data['gap'] or 0:.1e}, {data['rounds']} rounds, "
        f"{data['agents']} agents in {data['groups']} groups, {data['confirmed']} awards confirmed, "
        f"{data['messages']} messages in {data['seconds']:.1f} s",
        *data["problems"],
    ]
    emit(data, "\n".join(told))
