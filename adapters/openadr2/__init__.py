"""OpenADR 2.0b: a VTN for VENs that poll or are pushed to, and (`ven`) a VEN of utilities' VTNs; either or both.

Layers: `lexical`, `model`, `tables`, `codec` (bytes and wire objects), `dsig`, `replay`, `signing` (signatures),
`lenient` (peer profile), `mapping` (wire and canonical), `session` with its handlers `registration`, `events`,
`reports`, `metadata`, `opts` (pure state), `notices` and `bridge` (events of the programme model), `rules` (what is
taken, from whom, where), `server` (HTTP), `push` (to VENs), `adapter` (durability and the hub), `roles` (both at once).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from adapters.openadr2.adapter import OpenAdr2Adapter
from adapters.openadr2.config import read_config
from adapters.openadr2.roles import BothRoles
from adapters.openadr2.ven.adapter import VenAdapter
from adapters.openadr2.ven.config import read_vtns
from adapters.ports import Ports

__all__ = ["BothRoles", "OpenAdr2Adapter", "VenAdapter", "build"]


def build(config: Mapping[str, Any], ports: Ports) -> OpenAdr2Adapter | VenAdapter:
    """The adapter for a configuration section: keys of `config.Config` make a VTN, `vtns` a VEN, together both.

    Raises:
        ValueError: naming every key that is wrong, and how to mend it.
    """
    vtns = read_vtns(config.get("vtns", ()))
    ours = {key: value for key, value in config.items() if key != "vtns"}
    if not vtns:
        return OpenAdr2Adapter(read_config(ours), ports)
    return BothRoles(read_config(ours), vtns, ports) if ours else VenAdapter(vtns, ports)
