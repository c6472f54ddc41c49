"""`gridparley conform`: run the suites against a device."""

from __future__ import annotations

import asyncio
import itertools
import json
import shlex
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import click

from conformance import report
from conformance.case import SUITES, load_suite
from conformance.dut import DutError, read_dut
from conformance.run import Outcome, Verdict, run_suite
from interop.cli.output import CliError, Exit, emit, json_option

__all__ = ["conform"]

_SUITE = click.Choice(SUITES)
_EXIT = {
    Verdict.FAIL: Exit.FOUND,
    Verdict.FIXED: Exit.FOUND,
    Verdict.ERROR: Exit.UNAVAILABLE,
    Verdict.INCONCLUSIVE: Exit.UNAVAILABLE,
}


@click.group()
def conform() -> None:
    """Test a product's conformance: list the cases, run a suite against it."""


@conform.command(name="list")
@click.argument("suites", type=_SUITE, nargs=-1)
@json_option
def list_(suites: tuple[str, ...]) -> None:
    """List the cases of all SUITES, or of those named."""
    rows = [(suite, case) for name in suites or SUITES for suite in [load_suite(name)] for case in suite.cases.values()]
    data = [
        {
            "suite": suite.id,
            "case": case.id,
            "title": case.title,
            "clause": case.clause,
            "level": case.level.value,
            "role": case.role,
            "needs": case.needs,
        }
        for suite, case in rows
    ]
    emit(data, "\n".join(f"{case.id}  {case.level:<6}  {case.title} ({case.clause})" for _, case in rows))


@conform.command()
@click.argument("suite", type=_SUITE)
@click.option("--against", "url", required=True, metavar="URL", help="Where the product listens.")
@click.option("--dut", type=click.Path(path_type=Path, dir_okay=False), help="TOML: name, claims, settings, expect.")
@click.option("--set", "settings", multiple=True, metavar="KEY=VALUE", help="A setting; overrides the one of --dut.")
@click.option("--only", default="*", metavar="GLOB", help="Run the cases whose id matches.")
@click.option("--seed", default=1, show_default=True, help="Decides the order of the cases.")
@click.option("--json", "json_file", type=click.Path(path_type=Path, allow_dash=True), help="Write the result as JSON.")
@click.option("--junit", "junit_file", type=click.Path(path_type=Path, allow_dash=True), help="Write JUnit XML.")
def run(
    suite: str,
    url: str,
    dut: Path | None,
    settings: Sequence[str],
    only: str,
    seed: int,
    json_file: Path | None,
    junit_file: Path | None,
) -> None:
    """Run SUITE against a product.

    Exit code 0 where nothing failed that was not expected to; 1 for a failure, or for an expected one that is gone;
    4 where the product could not be judged.
    """
    chosen = load_suite(suite)
    if not url.startswith(("http://", "https://")):
        raise CliError(f"{url!r} is no URL", "write it as http://host:port", Exit.USAGE)
    try:
        device = read_dut(url, dut, chosen)
    except DutError as error:
        raise CliError(str(error), code=Exit.USAGE) from error
    device = replace(device, settings={**device.settings, **_settings(settings)})
    done = asyncio.run(run_suite(chosen, device, only=only, seed=seed, progress=_progress(len(chosen.cases))))
    if not done.outcomes:
        raise CliError(f"no case of {suite} matches {only!r}", f"gridparley conform list {suite}", Exit.USAGE)
    result = report.document(done)
    _write(json_file, json.dumps(result, indent=1, ensure_ascii=False).encode() + b"\n")
    _write(junit_file, report.junit(result))
    if "-" not in (str(json_file), str(junit_file)):
        click.echo(report.text(result, _again(suite, url, dut)))
    raise SystemExit(int(_EXIT.get(done.verdict, Exit.DONE)))


def _settings(pairs: Sequence[str]) -> dict[str, str]:
    for pair in pairs:
        if "=" not in pair:
            raise CliError(f"{pair!r} is no setting", "write it as KEY=VALUE", Exit.USAGE)
    return {key: value for key, _, value in (pair.partition("=") for pair in pairs)}


def _again(suite: str, url: str, dut: Path | None) -> str:
    """The command that repeats the run; settings given by hand may be secret and are left out."""
    return shlex.join(["gridparley", "conform", "run", suite, "--against", url, *(["--dut", str(dut)] if dut else [])])


def _progress(total: int) -> Callable[[Outcome], None]:
    """One line that counts, where a person is watching."""
    count = itertools.count(1)

    def show(outcome: Outcome) -> None:
        if sys.stderr.isatty():
            click.echo(f"\r{next(count)}/{total} {outcome.case.id:<24}\r", nl=False, err=True)

    return show


def _write(path: Path | None, content: bytes) -> None:
    if path is None:
        return
    if str(path) == "-":
        click.echo(content, nl=False)
        return
    try:
        path.write_bytes(content)
    except OSError as error:
        raise CliError(f"{path}: {error.strerror}", "name a file that can be written") from error
