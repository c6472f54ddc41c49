"""openleadr's VTN on loopback only: its server must not face a network. Prints {"url": …} when ready."""

from __future__ import annotations

import asyncio
import json
import logging
import socket
from typing import Any

from openleadr import OpenADRServer

logging.disable(logging.CRITICAL)


async def main() -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    server = OpenADRServer(vtn_id="OPENLEADR", http_host="127.0.0.1", http_port=port)

    async def register(info: dict[str, Any]) -> tuple[str, str]:
        return "ven1", "registration1"

    server.add_handler("on_create_party_registration", register)
    await server.run_async()
    print(json.dumps({"url": f"http://127.0.0.1:{port}/OpenADR2/Simple/2.0b"}), flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main())
