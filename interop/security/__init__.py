"""Watching peers, and keeping persons out of what leaves the house."""

from interop.security.pseudonym import Pseudonyms
from interop.security.warning import EarlyWarning, Finding

__all__ = ["EarlyWarning", "Finding", "Pseudonyms"]
