"""JSON text as the store keeps it: sorted keys, no spaces, UTF-8.

It is written by orjson where that is installed (extra `fast`), in a tenth of the time, and read by the standard library
always: orjson would read an integer beyond 64 bits as a float.
"""

from __future__ import annotations

import importlib
import json
from typing import Any

__all__ = ["dump", "load"]

try:
    _orjson: Any = importlib.import_module("orjson")
except ImportError:  # an extra
    _orjson = None


def dump(value: Any) -> str:
    """Text of what `datamodels.encode` made: so there is no number in it that is not finite."""
    if _orjson is not None:
        try:
            return str(_orjson.dumps(value, option=_orjson.OPT_SORT_KEYS), "utf-8")
        except TypeError:  # an integer beyond 64 bits, a key that is no text: rare, and JSON all the same
            pass
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


load = json.loads
