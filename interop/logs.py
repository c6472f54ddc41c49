"""Log lines as JSON, one a line, with the peer, message and conversation they are about.

Addresses of connections are personal data and are masked, whoever wrote them into a line: a peer's reason may name one.
Congestion points look alike and are masked too; the event log, which is not shipped anywhere, names both.
"""

from __future__ import annotations

import json
import logging
import logging.handlers
import re
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

__all__ = ["JsonFormatter", "set_up"]

_ADDRESS = re.compile(r"\b(ean\.|E)\d{12,34}\b|\b(ea1\.\d{4}-\d{2}\.[^\s:]+:)[^\s,;\]\"']+", re.IGNORECASE)
_CONTEXT = ("peer", "message_id", "conversation_id", "reference")


class JsonFormatter(logging.Formatter):
    """`{"at", "level", "logger", "message", ...}`; context given as `extra=` is added where it is set."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "at": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        line |= {name: value for name in _CONTEXT if (value := getattr(record, name, None))}
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return _ADDRESS.sub(r"\1\2***", json.dumps(line, ensure_ascii=False, default=str))


def set_up(level: str = "info", file: Path | None = None) -> logging.Handler:
    """Send the log to a file (reopened when it is rotated away) or to standard error; returns the handler."""
    handler: logging.Handler
    if file is None:
        handler = logging.StreamHandler(sys.stderr)
    else:
        file.parent.mkdir(parents=True, exist_ok=True)
        handler = logging.handlers.WatchedFileHandler(file, encoding="utf-8")
    handler.setFormatter(JsonFormatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    logging.getLogger("aiohttp.access").setLevel(logging.WARNING)
    return handler
