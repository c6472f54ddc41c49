"""The two families of error at the edge.

::

    EdgeError
    ├── TransportFault     the bytes never became a message: carries the status or exception code of the protocol
    └── Rejection          the message was understood and refused: carries every problem found

Validators return lists of `Problem`; only the code that owns the answer raises one of these.
"""

from __future__ import annotations

from collections.abc import Sequence

from datamodels import Problem

__all__ = ["EdgeError", "Rejection", "TransportFault"]


class EdgeError(Exception):
    """Anything a foreign party did that is answered instead of obeyed."""


class TransportFault(EdgeError):
    """The message could not be read. `code` is what the protocol prescribes (an HTTP status, a Modbus exception).

    `rule` names the check for logs and metrics; the text never echoes what the peer sent.
    """

    def __init__(self, code: int, rule: str, message: str) -> None:
        super().__init__(f"{code} {rule}: {message}")
        self.code = code
        self.rule = rule
        self.message = message


class Rejection(EdgeError):
    """The message is refused for the reasons in `problems`."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        super().__init__("; ".join(map(str, problems)))
        self.problems = tuple(problems)
