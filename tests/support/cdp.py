"""A headless Chromium and one of its pages, driven through the DevTools protocol over aiohttp."""

from __future__ import annotations

import asyncio
import base64
import json
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import aiohttp

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
_FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--no-default-browser-check",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-extensions",
    "--disable-sync",
    "--remote-debugging-port=0",
)

DRAWN = """(id => {
  const canvas = document.querySelector(`#${id} canvas`);
  if (!canvas || !canvas.width) return 0;
  const data = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data;
  const seen = new Set();
  for (let i = 0; i < data.length; i += 4) if (data[i + 3] > 200) seen.add(`${data[i]},${data[i + 1]},${data[i + 2]}`);
  return seen.size;
})"""
"""JavaScript: how many colours the canvas in an element of that id shows; 0 where nothing is drawn."""


def find_chromium() -> str | None:
    return next((path for name in NAMES if (path := shutil.which(name))), None)


class Page:
    """One tab: `send` a command, `js` an expression, and read what happened from `events`."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket = socket
        self._answers: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._count = 0
        self.events: list[tuple[str, dict[str, Any]]] = []

    async def read(self) -> None:
        async for frame in self._socket:
            data = json.loads(frame.data)
            if "id" in data:
                answer = self._answers.pop(data["id"])
                if "error" in data:
                    answer.set_exception(RuntimeError(data["error"]["message"]))
                else:
                    answer.set_result(data["result"])
            else:
                self.events.append((data["method"], data["params"]))

    async def send(self, method: str, **params: Any) -> dict[str, Any]:
        self._count += 1
        answer = self._answers[self._count] = asyncio.get_running_loop().create_future()
        await self._socket.send_str(json.dumps({"id": self._count, "method": method, "params": params}))
        return await asyncio.wait_for(answer, 20)

    async def js(self, expression: str) -> Any:
        result = await self.send("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in result:
            raise RuntimeError(result["exceptionDetails"]["exception"].get("description", "exception"))
        return result["result"].get("value")

    async def until(self, expression: str, seconds: float = 8) -> Any:
        """Wait for an expression to become true."""
        async with asyncio.timeout(seconds):
            while True:
                with suppress(RuntimeError):
                    if value := await self.js(expression):
                        return value
                await asyncio.sleep(0.05)

    async def goto(self, url: str) -> None:
        await self.send("Page.navigate", url=url)
        await self.until(f"location.href.startsWith({json.dumps(url)}) && document.readyState === 'complete'")

    def of(self, method: str) -> list[dict[str, Any]]:
        return [params for name, params in self.events if name == method]

    async def screenshot(self, path: Path, full: bool = True) -> None:
        shot = await self.send("Page.captureScreenshot", format="png", captureBeyondViewport=full)
        path.write_bytes(base64.b64decode(shot["data"]))


def complaints(page: Page) -> list[str]:
    """Errors that the page's console and the browser's log hold."""
    return [
        *(str(e["exceptionDetails"]) for e in page.of("Runtime.exceptionThrown")),
        *(str(e) for e in page.of("Runtime.consoleAPICalled") if e["type"] in ("error", "warning", "assert")),
        *(e["entry"]["text"] for e in page.of("Log.entryAdded") if e["entry"]["level"] in ("error", "warning")),
    ]


def foreign(page: Page, port: int | None) -> set[str]:
    """Requests that went anywhere but to the server on that port."""
    urls = {e["request"]["url"] for e in page.of("Network.requestWillBeSent")}
    assert urls
    return {u for u in urls if urlsplit(u).scheme != "data" and urlsplit(u).netloc != f"127.0.0.1:{port}"}


@asynccontextmanager
async def browse(program: str, profile: Path) -> AsyncIterator[Page]:
    """A page with console, log and network events switched on; the browser ends with the context."""
    process = await asyncio.create_subprocess_exec(
        program,
        *_FLAGS,
        f"--user-data-dir={profile}",
        "about:blank",
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        port_file = profile / "DevToolsActivePort"
        async with asyncio.timeout(20):
            while not (port_file.exists() and port_file.read_text().count("\n")):
                await asyncio.sleep(0.05)
        root = f"http://127.0.0.1:{port_file.read_text().splitlines()[0]}"
        async with aiohttp.ClientSession() as session:
            async with session.get(f"{root}/json/list") as response:
                targets = await response.json()
            address = next(t["webSocketDebuggerUrl"] for t in targets if t["type"] == "page")
            async with session.ws_connect(address, max_msg_size=0) as socket:
                page = Page(socket)
                reader = asyncio.create_task(page.read())
                for domain in ("Page", "Runtime", "Log", "Network"):
                    await page.send(f"{domain}.enable")
                yield page
                reader.cancel()
                with suppress(asyncio.CancelledError):
                    await reader
    finally:
        with suppress(ProcessLookupError):
            process.terminate()
        try:
            await asyncio.wait_for(process.wait(), 5)
        except TimeoutError:
            process.kill()
            await process.wait()
