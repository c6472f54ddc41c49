"""IEC 61850: devices described in SCL (61850-6), registered as resources.

`read_resources` is what the rest of the product needs; `scl` holds the reader behind it.
"""

from __future__ import annotations

from adapters.errors import TransportFault
from adapters.iec61850.scl.der import MMS_PORT, find_resources
from adapters.iec61850.scl.reader import read
from datamodels import Loss, Problem, Resource

__all__ = ["read_resources"]


def read_resources(
    data: bytes, *, ied: str = "", connection: str = "", host: str = "", port: int = MMS_PORT
) -> tuple[list[Resource], list[Problem], list[Loss]]:
    """The DER that an SCL file (ICD, IID, CID or SCD) describes.

    Returns the resources, everything wrong or missing, and what they cannot carry. A file that cannot be read gives
    no resource and one problem. `ied` is the name that the TEMPLATE of an ICD gets; `connection`, `host` and `port`
    are as in `scl.der.find_resources`.
    """
    try:
        scl = read(data)
    except TransportFault as fault:
        return [], [Problem(fault.rule, "file", fault.message, clause="61850-6")], []
    return find_resources(scl.named(ied) if ied else scl, connection=connection, host=host, port=port)
