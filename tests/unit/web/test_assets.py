import hashlib
import json
from importlib.resources import files
from typing import Any

from aiohttp.test_utils import TestClient

from interop.web.assets import Assets

VENDOR = files("interop.web") / "static" / "vendor"


def test_vendored_files_are_the_ones_that_were_published() -> None:
    packages = json.loads((VENDOR / "manifest.json").read_text(encoding="utf-8"))["packages"]
    listed = {path: digest for package in packages for path, digest in package["files"].items()}
    found = {
        f"{folder.name}/{file.name}": hashlib.sha256(file.read_bytes()).hexdigest()
        for folder in VENDOR.iterdir()
        if folder.is_dir()
        for file in folder.iterdir()
    }
    assert found == listed
    assert {package["name"] for package in packages} == {"uPlot", "htmx"}
    assert all(f"{folder}/LICENSE" in listed for folder in ("uplot", "htmx"))


async def test_static_files_may_be_kept_for_ever(client: TestClient[Any, Any]) -> None:
    url = Assets().url("vendor/uplot/uPlot.iife.min.js")
    response = await client.get(url)
    body = await response.read()
    assert hashlib.sha256(body).hexdigest().startswith(url.split("/")[2])
    assert "immutable" in response.headers["Cache-Control"]
    assert response.content_type == "text/javascript"
    assert response.headers["X-Content-Type-Options"] == "nosniff"


async def test_another_hash_is_another_file(client: TestClient[Any, Any]) -> None:
    for path in ("/static/0123456789abcdef/app.css", "/static/x/..%2f..%2fpages.py", "/static/x/vendor/manifest.json"):
        response = await client.get(path)
        assert response.status == 404
        assert response.headers["Cache-Control"] == "no-store"
