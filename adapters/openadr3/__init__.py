"""OpenADR 3 (3.0.1 and 3.1.0): a VEN, a VTN, and the Dutch profiles.

Layers: `lexical`, `members`, `model` (one table for both versions), `codec` (JSON and objects), `timeline` (when an
event's values hold), `profiles` (what a programme's type demands), `mapping` (events, reports and canonical objects),
`session` (what follows from a look at a VTN; pure), `client` (HTTP), `link` (one VTN followed), `vtn` (the VTN),
`adapter`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from adapters.openadr3.adapter import OpenAdr3Adapter
from adapters.openadr3.config import read_config
from adapters.ports import Ports

__all__ = ["OpenAdr3Adapter", "build"]


def build(config: Mapping[str, Any], ports: Ports) -> OpenAdr3Adapter:
    """The adapter for a configuration section (keys: `config.VtnConfig`, a list under `vtns`;
    `vtn.config.ServerConfig` under `vtn`).

    Raises:
        ValueError: naming every key that is wrong, and how to mend it.
    """
    return OpenAdr3Adapter(read_config(config), ports)
