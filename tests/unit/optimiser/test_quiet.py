"""What C code prints during branch and bound does not reach stdout."""

import ctypes
from typing import Any

import numpy as np
import pytest
from scipy import optimize

from optimiser.quiet import milp


def test_what_is_printed_by_c_code_goes_to_stderr(capfd: pytest.CaptureFixture[str], monkeypatch: Any) -> None:
    library, solve = ctypes.CDLL(None), optimize.milp

    def chatty(*arguments: Any, **options: Any) -> Any:
        library.puts(b"tmpSolver.run();")
        return solve(*arguments, **options)

    monkeypatch.setattr(optimize, "milp", chatty)
    found = milp(np.array([1.0, 2.0]), integrality=np.ones(2), bounds=optimize.Bounds(0.5, 3.0))
    library.puts(b"own words")
    library.fflush(None)
    assert found.fun == pytest.approx(3.0)
    told = capfd.readouterr()
    assert (told.out, told.err) == ("own words\n", "tmpSolver.run();\n")
