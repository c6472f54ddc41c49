"""What validation and translation have to say: lists of findings, never exceptions.

`Problem` is one thing wrong with a message, a file or a configuration. `Loss` is one thing that a translation
could not carry across. Validators return *all* problems; only the edge that owns the answer decides what to raise.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

__all__ = ["Loss", "Problem", "Severity"]


class Severity(StrEnum):
    """How bad a finding is: an ERROR refuses the message, a WARNING is reported and let through."""

    ERROR = "error"
    WARNING = "warning"
    INFO = "info"


@dataclass(frozen=True, slots=True)
class Problem:
    """One finding: `rule` names it, `where` locates it, `message` explains it, `hint` says how to mend it.

    `reason` is the text that the standard prescribes for the answer (a UFTP RejectionReason, an OpenADR response
    code, a Modbus exception); empty where the standard names none. `clause` cites the source.
    """

    rule: str
    where: str
    message: str
    reason: str = ""
    hint: str = ""
    clause: str = ""
    severity: Severity = Severity.ERROR

    def __str__(self) -> str:
        text = f"{self.where}: {self.message} [{self.rule}]"
        return f"{text} ({self.hint})" if self.hint else text


@dataclass(frozen=True, slots=True)
class Loss:
    """Something one side said that the other side's language cannot express: reported, never dropped silently."""

    field: str
    value: str
    why: str
