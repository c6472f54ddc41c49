"""Benchmarks: ours and its peers measured in turn, in the same run, on the same machine.

    gridparley bench list | NAME | all

A bench is an async function under `@bench(name)` in a module of this package that `registry.MODULES` names. It gets
the run's `Scale` and returns a `Report`. Figures are no gate: a target that is missed is shown, not raised.
"""

from interop.bench.registry import BENCHES, Bench, bench, load_all
from interop.bench.report import CannotMeasure, Report, Row, Scale, Target

__all__ = ["BENCHES", "Bench", "CannotMeasure", "Report", "Row", "Scale", "Target", "bench", "load_all"]
