"""`gridparley peer`: who may speak with us."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote

import click

from datamodels import Participant
from interop.api.peers import KeyBody
from interop.cli.access import ask_server, open_peers
from interop.cli.output import CliError, Exit, config_argument, emit, json_option, load
from interop.config import Config, PeerConfig
from interop.peers import Peers
from interop.settings import Settings, nearest

__all__ = ["peer"]


@click.group()
def peer() -> None:
    """Add, list, rotate and revoke counterparts; a running server takes it up at once."""


@peer.command()
@config_argument
@click.argument("domain")
@click.option("--role", type=click.Choice(["AGR", "DSO", "CRO"], case_sensitive=False), required=True)
@click.option("--endpoint", default="", help="URL at which the peer takes messages.")
@click.option("--key", "keys", multiple=True, help="Public key: cs1.… or base64 of 32 bytes; twice for a rotation.")
@click.option("--profile", default="strict", show_default=True, help="Peer profile: how much leniency it is granted.")
@json_option
def add(config: Path, domain: str, role: str, endpoint: str, keys: tuple[str, ...], profile: str) -> None:
    """Add a peer, or replace what is known of it."""
    data = {"domain": domain, "role": role, "endpoint": endpoint, "keys": list(keys), "profile": profile}
    settings = Settings(config.parent)
    read = settings.read(PeerConfig, data, "peer")
    if read is None:
        raise CliError("; ".join(map(str, settings.problems)), code=Exit.USAGE)

    async def change(peers: Peers) -> Participant:
        await peers.put(read.canonical())
        return peers[read.domain]

    answer = asyncio.run(_change(load(config), "POST", "/api/v1/peers", data, None, change))
    emit(answer, f"{domain} is {answer['status']}")


@peer.command()
@config_argument
@click.argument("domain")
@click.option("--key", required=True, help="Its new public key: cs1.… or base64 of 32 bytes.")
@click.option(
    "--overlap", type=float, default=24.0, show_default=True, help="Hours for which the present keys are still trusted."
)
@json_option
def rotate(config: Path, domain: str, key: str, overlap: float) -> None:
    """Trust a peer's new key from now on, and its present ones until the overlap is over."""
    data = {"key": key, "overlap_h": overlap}
    try:
        body = KeyBody(key, overlap)
    except ValueError as error:
        raise CliError(str(error), code=Exit.USAGE) from error
    path = f"/api/v1/peers/{quote(domain, safe='')}/keys"

    async def change(peers: Peers) -> Participant:
        return await peers.rotate(domain, body.public_key, body.overlap)

    answer = asyncio.run(_change(load(config), "POST", path, data, domain, change))
    emit(answer, f"{domain} may sign with its new key; the others end in {overlap:g} hours")


@peer.command()
@config_argument
@click.argument("domain")
@json_option
def revoke(config: Path, domain: str) -> None:
    """Bar a peer: it stays known, and all it sends is refused."""
    path = f"/api/v1/peers/{quote(domain, safe='')}"
    answer = asyncio.run(_change(load(config), "DELETE", path, None, domain, lambda peers: peers.bar(domain)))
    emit(answer, f"{domain} is {answer['status']}")


@peer.command(name="list")
@config_argument
@json_option
def list_(config: Path) -> None:
    """List peers, with their standing."""
    rows = asyncio.run(_list(load(config)))
    lines = [
        f"{row['id']:<32} {row['role'] or '-':<5} {row['status'] or '-':<7} {row['endpoint'] or ''}" for row in rows
    ]
    emit(rows, "\n".join(lines) or "no peers; gridparley peer add adds one")


async def _change(
    config: Config,
    method: str,
    path: str,
    body: dict[str, Any] | None,
    known: str | None,
    change: Callable[[Peers], Awaitable[Participant]],
) -> Any:
    """Through the running server, else on the store; `known` must be there before."""
    opened = await open_peers(config)
    if opened is None:
        return ask_server(config, method, path, body)
    store, peers = opened
    try:
        if known is not None and known not in peers:
            raise CliError(f"no peer is called {known!r}", nearest(known, peers), Exit.FOUND)
        try:
            changed = await change(peers)
        except ValueError as error:
            raise CliError(str(error), code=Exit.FOUND) from error
        return {"id": changed.domain, "status": str(changed.status)}
    finally:
        await store.close()


async def _list(config: Config) -> list[dict[str, Any]]:
    opened = await open_peers(config)
    if opened is None:
        rows: list[dict[str, Any]] = ask_server(config, "GET", "/api/v1/peers")
        return rows
    store, peers = opened
    await store.close()
    return [
        {"id": p.domain, "role": str(p.role), "status": str(p.status), "endpoint": p.endpoint, "keys": len(p.keys)}
        for p in peers.values()
    ]
