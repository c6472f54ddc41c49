"""How commands reach a party's data: through the running server where there is one, else directly."""

from __future__ import annotations

import http.client
import json
from collections.abc import Mapping
from typing import Any

from interop.cli.output import CliError, Exit
from interop.config import Config
from interop.feed import Feed
from interop.peers import Peers
from interop.server import make_clock
from interop.store import Reader, Store, StoreError, StoreLocked

__all__ = ["ask_server", "open_peers", "open_reader"]

_IN_THE_WAY = "stop it and try again, or correct [server] http_listen"


def ask_server(
    config: Config,
    method: str,
    path: str,
    body: Mapping[str, Any] | bytes | None = None,
    *,
    hint: str = _IN_THE_WAY,
    timeout_s: float = 10,
) -> Any:
    """Call the HTTP API of this party's running server; its answer as JSON. A `body` of bytes is
    XML. `hint`: how to mend that none answers."""
    host, port = config.server.address
    connection = http.client.HTTPConnection("127.0.0.1" if host == "0.0.0.0" else host, port, timeout=timeout_s)  # noqa: S104
    headers = {"Content-Type": "application/xml" if isinstance(body, bytes) else "application/json"}
    if body is not None and not isinstance(body, bytes):
        body = json.dumps(body).encode()
    if config.server.api_token:
        headers["Authorization"] = f"Bearer {config.server.api_token}"
    try:
        connection.request(method, path, body, headers)
        response = connection.getresponse()
        answer = json.loads(response.read())
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise CliError(
            f"the server that uses {config.server.data_dir} does not answer at {host}:{port}: {error}",
            hint,
        ) from error
    finally:
        connection.close()
    if response.status >= 400:
        raise CliError(f"the server refuses: {answer.get('detail', response.reason)}", code=Exit.FOUND)
    return answer


async def open_peers(config: Config) -> tuple[Store, Peers] | None:
    """The store and its peer table; None where a running server has them. The caller closes the store."""
    try:
        store = await Store.open(config.server.data_dir)
    except StoreLocked:
        return None
    except StoreError as error:
        raise CliError(str(error)) from error
    peers = Peers((p.canonical() for p in config.peers), store, Feed(), make_clock(config).now)
    await peers.load()
    return store, peers


def open_reader(config: Config) -> Reader:
    try:
        return Reader(config.server.data_dir)
    except StoreError as error:
        raise CliError(str(error)) from error
