"""`gridparley doctor`."""

from __future__ import annotations

from pathlib import Path

import click

from interop.checkup import Check, check_config, check_installation
from interop.cli.output import Exit, config_argument, emit, json_option
from interop.config import ConfigError, load_config

__all__ = ["doctor"]

_SIGNS = {"ok": "ok     ", "warning": "warning", "error": "ERROR  "}


@click.command()
@config_argument
@click.pass_context
@json_option
def doctor(ctx: click.Context, config: Path) -> None:
    """Check installation, configuration, ports, keys, clock and data, and say how to mend what is wrong.

    Exit code 0 when nothing is wrong (warnings may stand), 1 when something is, 3 when the configuration is.
    """
    checks = check_installation()
    code = Exit.DONE
    try:
        checks += check_config(load_config(config))
    except ConfigError as error:
        code = Exit.CONFIG
        checks += [Check(f"config {p.where}", "error", p.message, p.hint) for p in error.problems]
    if code is Exit.DONE and any(check.verdict == "error" for check in checks):
        code = Exit.FOUND
    lines = [
        f"{_SIGNS[c.verdict]}  {c.name}: {c.detail}" + (f"\n         -> {c.hint}" if c.hint else "") for c in checks
    ]
    emit({"checks": [check.as_dict() for check in checks], "exit": int(code)}, "\n".join(lines))
    ctx.exit(code)
