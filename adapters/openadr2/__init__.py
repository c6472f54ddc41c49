"""OpenADR 2.0b: a VTN for VENs that poll over HTTP.

Layers: `lexical`, `model`, `tables`, `codec` (bytes and wire objects), `dsig`, `replay`, `signing` (signatures),
`lenient` (peer profile), `mapping` (wire and canonical), `session` with its handlers `registration`, `events`,
`reports`, `opts` (pure state), `rules` (what is taken, from whom, where), `server` (HTTP), `adapter` (durability and
the hub).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from adapters.openadr2.adapter import OpenAdr2Adapter
from adapters.openadr2.config import read_config
from adapters.ports import Ports

__all__ = ["OpenAdr2Adapter", "build"]


def build(config: Mapping[str, Any], ports: Ports) -> OpenAdr2Adapter:
    """The adapter for a configuration section (keys: `config.Config`).

    Raises:
        ValueError: naming every key that is wrong, and how to mend it.
    """
    return OpenAdr2Adapter(read_config(config), ports)
