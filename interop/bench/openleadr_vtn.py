"""openleadr's VTN on loopback only: its server must not face a network. Prints {"url": …} when ready.

With files (authority, certificate, key, certificate of the VEN) it serves over TLS, signs, and wants signatures.
"""

from __future__ import annotations

import asyncio
import json
import logging
import socket
import sys
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

from openleadr import OpenADRServer
from openleadr.utils import certificate_fingerprint

logging.disable(logging.CRITICAL)


def secured(authority: Path, certificate: Path, key: Path, ven: Path) -> dict[str, Any]:
    shown = certificate_fingerprint(ven.read_text())

    async def lookup(ven_id: str) -> dict[str, str]:
        return {"ven_id": ven_id, "ven_name": "bench", "fingerprint": shown, "registration_id": "registration1"}

    files = {"http_cert": certificate, "http_key": key, "cert": certificate, "key": key, "http_ca_file": authority}
    return {name: str(path) for name, path in files.items()} | {"ven_lookup": lookup}


async def main() -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    more = secured(*map(Path, sys.argv[1:])) if len(sys.argv) > 1 else {}
    with redirect_stdout(sys.stderr):
        server = OpenADRServer(vtn_id="OPENLEADR", http_host="127.0.0.1", http_port=port, **more)

    async def register(info: dict[str, Any]) -> tuple[str, str]:
        return "ven1", "registration1"

    server.add_handler("on_create_party_registration", register)
    await server.run_async()
    print(json.dumps({"url": f"{'https' if more else 'http'}://127.0.0.1:{port}/OpenADR2/Simple/2.0b"}), flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main())
