"""Wire and canonical, both ways. Pure; what the other side cannot carry is returned as `Loss`."""

from adapters.uftp.inward import to_canonical
from adapters.uftp.outward import to_wire

__all__ = ["to_canonical", "to_wire"]
