"""`python -m optimiser solve INSTANCE.npz PLAN.npz [--gap 1e-3] [--budget S] [--workers N] [--json]`
`python -m optimiser warm-up` compiles the kernels (extra `fast`) onto disk.

Exit status: 0 for a plan (`optimal`, `limit_relaxed`), 3 where homes cannot meet their own needs (the plan is
written), 4 where the gap was not reached (the plan is written), 2 for input that cannot be used.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from optimiser import cluster, interior
from optimiser.instance import plan_to_json, read_instance, write_plan
from optimiser.interior import Carrier
from optimiser.planning import plan
from optimiser.plans import Status
from optimiser.portfolio import InputError

_EXIT = {Status.OPTIMAL: 0, Status.LIMIT_RELAXED: 0, Status.HOME_INFEASIBLE: 3, Status.TIME_LIMIT: 4}


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m optimiser", description="Plan an instance file.")
    commands = parser.add_subparsers(dest="command", required=True)
    solve = commands.add_parser("solve", help="read an instance, write a plan")
    solve.add_argument("instance", type=Path)
    solve.add_argument("plan", type=Path)
    solve.add_argument("--gap", type=float, default=1e-3, help="relative distance to the certified bound (1e-3)")
    solve.add_argument("--budget", type=float, default=None, metavar="S", help="wall seconds, then the best so far")
    workers = "so many processes of this machine, or the workers of the Dask scheduler at an address, solve the homes"
    solve.add_argument("--workers", metavar="N|ADDRESS", help=workers)
    solve.add_argument("--time-preference", type=float, default=0.0, metavar="EUR_PER_KWH")
    solve.add_argument("--json", action="store_true", help="print the plan as JSON")
    commands.add_parser("warm-up", help="compile the kernels, so that the next process finds them on disk")
    given = parser.parse_args(arguments)
    if given.command == "warm-up":
        return _warm_up()
    try:
        portfolio, limits, tariffs = read_instance(given.instance)
        with _carrier(given.workers) as carrier, _alone_on_stdout():
            result = plan(
                portfolio,
                limits,
                tariffs,
                gap=given.gap,
                budget_s=given.budget,
                time_preference_eur_per_kwh=given.time_preference,
                carrier=carrier,
            )
        write_plan(given.plan, result)
    except InputError as error:
        for problem in error.problems:
            print(problem, file=sys.stderr)
        return 2
    except OSError as error:
        print(f"{error.filename}: {error.strerror}" if error.filename else error, file=sys.stderr)
        return 2
    if given.json:
        print(json.dumps(plan_to_json(result)))
    else:
        print(
            f"{result.status}: {result.cost_eur:.6f} EUR, bound {result.bound_eur:.6f}, gap {result.gap:.1e}, "
            f"{result.cpu_s:.2f} CPU s, {len(result.problems)} problems"
        )
    return _EXIT[result.status]


@contextmanager
def _carrier(workers: str | None) -> Iterator[Carrier | None]:
    """Where homes are solved: on so many workers of our own, on those of a cluster, or (None) here.

    Raises:
        OSError: no scheduler answers there, or the [dask] extra is not installed.
    """
    if workers is None:
        yield None
        return
    try:
        from distributed import Client
    except ImportError as error:
        raise OSError("--workers needs Dask: install gridparley[dask]") from error
    own = cluster.local(int(workers)) if workers.isdecimal() else Client(workers, timeout=10)  # type: ignore[no-untyped-call]
    with own as client:
        yield cluster.carrier(client)


@contextmanager
def _alone_on_stdout() -> Iterator[None]:
    """HiGHS prints lines of its own about some integer programmes: to stderr, so that a plan stands alone."""
    sys.stdout.flush()
    kept = os.dup(1)
    os.dup2(2, 1)
    try:
        yield
    finally:
        ctypes.CDLL(None).fflush(None)
        os.dup2(kept, 1)
        os.close(kept)


def _warm_up() -> int:
    try:
        if interior.warm_up():
            return 0
        print("numba is not installed: install gridparley[fast]", file=sys.stderr)
    except RuntimeError as error:  # numba finds no folder to keep its code in
        print(error, file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main())
