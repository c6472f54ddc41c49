"""Who takes part in a run, and where each listens on loopback."""

from __future__ import annotations

import secrets
import socket
from dataclasses import dataclass

from interop.scenarios import Aggregator, Scenario

__all__ = ["Party", "cast"]

_PORTS = (20_000, 32_000)


@dataclass(frozen=True, slots=True)
class Party:
    """One server of the run. Only aggregators have homes, and a VTN (port 0: none) to talk to them."""

    name: str
    domain: str
    role: str
    uftp: int
    http: int
    vtn: int = 0
    aggregator: Aggregator | None = None

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.uftp}/shapeshifter/api/v3/message"

    @property
    def url(self) -> str:
        """Where its dashboard and API are."""
        return f"http://127.0.0.1:{self.http}"


def cast(scenario: Scenario, dashboard: int = 0) -> tuple[Party, ...]:
    """The scenario's parties on free ports: aggregators first, the first of them on `dashboard` where that is free."""
    parties = [
        Party(agr.name, agr.domain, "AGR", _free(), _free(0 if n else dashboard), _free(), agr)
        for n, agr in enumerate(scenario.aggregators)
    ]
    parties.append(Party("dso", scenario.dso, "DSO", _free(), _free()))
    if scenario.cro is not None:
        parties.append(Party("cro", scenario.cro, "CRO", _free(), _free()))
    return tuple(parties)


def _free(wanted: int = 0) -> int:
    """A port that is free on loopback: the wanted one, else any below the range that systems hand out by themselves.

    Whoever binds port 0 gets one from that range; a port chosen there could be gone before its server starts.
    """
    candidates = [secrets.randbelow(_PORTS[1] - _PORTS[0]) + _PORTS[0] for _ in range(100)]
    for port in [wanted, *candidates] if wanted else candidates:
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise OSError("no free port on 127.0.0.1")
