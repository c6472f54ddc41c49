"""Business validation of UFTP messages: one registry of rules, each with the reason text of the released specification.

Importing this package fills the registry. R numbers are the rules of a message against what was agreed and said
before, M numbers those of the market. All failures are collected; nothing here raises for a bad message.
"""

from adapters.uftp.rules import general, offers, orders, reference, series, settlement
from adapters.uftp.rules.registry import RULES, Context, Rule, check, reasons

__all__ = [
    "RULES",
    "Context",
    "Rule",
    "check",
    "general",
    "offers",
    "orders",
    "reasons",
    "reference",
    "series",
    "settlement",
]
