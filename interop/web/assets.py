"""Static files under URLs that carry the hash of their content, so that browsers may keep them for ever."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from aiohttp import web

__all__ = ["Assets"]

_ROOT = Path(__file__).parent / "static"
_TYPES = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
_FOREVER = "public, max-age=31536000, immutable"


@dataclass(frozen=True, slots=True)
class _Asset:
    digest: str
    content_type: str
    body: bytes


class Assets:
    """The files below `static/` that browsers load, read once into memory."""

    def __init__(self, root: Path = _ROOT) -> None:
        self._assets = {
            path.relative_to(root).as_posix(): _Asset(
                hashlib.sha256(body := path.read_bytes()).hexdigest()[:16], _TYPES[path.suffix], body
            )
            for path in sorted(root.rglob("*"))
            if path.suffix in _TYPES
        }

    def url(self, name: str) -> str:
        """Where a file is served (KeyError for a file that does not exist: a mistake in a template)."""
        return f"/static/{self._assets[name].digest}/{name}"

    async def serve(self, request: web.Request) -> web.Response:
        """`GET /static/{digest}/{name}`; 404 for another digest, so that no cache keeps wrong content."""
        asset = self._assets.get(request.match_info["name"])
        if asset is None or asset.digest != request.match_info["digest"]:
            raise web.HTTPNotFound
        response = web.Response(body=asset.body, content_type=asset.content_type, charset="utf-8")
        response.headers["Cache-Control"] = _FOREVER
        response.enable_compression()
        return response
