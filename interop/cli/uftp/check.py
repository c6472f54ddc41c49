"""`gridparley uftp check`."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import click

from datamodels import Role
from interop.cli.output import CliError, Exit, emit, json_option, load
from interop.config import Config
from interop.offline import Judged, Setting, assume, judge

__all__ = ["ROLES", "check"]

ROLES = click.Choice(["AGR", "DSO", "CRO"], case_sensitive=False)
_File = click.Path(path_type=Path, dir_okay=False)


class _Instant(click.ParamType[datetime]):
    name = "instant"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> datetime:
        try:
            instant = value if isinstance(value, datetime) else datetime.fromisoformat(str(value))
        except ValueError:
            self.fail(f"{value!r} is no instant; write it as 2026-01-31T10:15:00Z", param, ctx)
        return instant.replace(tzinfo=instant.tzinfo or UTC).astimezone(UTC)


INSTANT = _Instant()


class _Variadic(click.Command):
    """`--history` takes all words up to the next option."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        spread: list[str] = []
        inside = False
        for word in args:
            if word.startswith("-") and word != "-":
                inside = word == "--history"
                spread += [] if inside else [word]
            else:
                spread += ["--history", word] if inside else [word]
        return super().parse_args(ctx, spread)


@click.command(cls=_Variadic)
@click.argument("file", type=_File)
@click.option("--history", multiple=True, type=_File, metavar="FILE...", help="What was said before, in order.")
@click.option("--as", "role", type=ROLES, help="The role in which the message is received.")
@click.option("--now", type=INSTANT, help="Judge as of this instant instead of now.")
@click.option("--config", type=_File, help="The party that receives it: terms of the market, peers, keys.")
@click.option("--sender", default="", help="Sender named by the envelope, where it is not the payload's.")
@click.option("--sender-role", type=ROLES, help="Role named by the envelope, where it is not the obvious one.")
@click.pass_context
@json_option
def check(
    ctx: click.Context,
    file: Path,
    history: tuple[Path, ...],
    role: str | None,
    now: datetime | None,
    config: Path | None,
    sender: str,
    sender_role: str | None,
) -> None:
    """Judge a payload (or a signed envelope) without a server: what it would be answered. Exit code 1 where it would be
    refused.

    Without --config, parties, congestion points and contracts are taken as the messages name them.
    """
    raw, earlier = _read(file), [_read(path) for path in history]
    held = Role(role.upper()) if role else None
    now = now or datetime.now(UTC)
    try:
        setting = _setting(load(config), held, now) if config else assume([raw, *earlier], now, held)
        judged = judge(raw, earlier, setting, sender, Role(sender_role.upper()) if sender_role else None)
    except ValueError as error:
        raise CliError(str(error), code=Exit.USAGE) from error
    emit(judged.as_dict(), "\n".join(_lines(judged)))
    if not judged.is_good:
        ctx.exit(Exit.FOUND)


def _setting(config: Config, role: Role | None, now: datetime) -> Setting:
    peers = {peer.domain: peer.canonical() for peer in config.peers}
    return Setting(config.party.domain, role or config.party.role, config.market.terms(), peers, now)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise CliError(f"{path}: {error.strerror}", code=Exit.USAGE) from error


def _lines(judged: Judged) -> list[str]:
    verdict = judged.result or ("no answer" if judged.http == 200 else "refused")
    return [f"HTTP {judged.http}, {verdict}", *judged.reasons, *(f"  {problem}" for problem in judged.problems)]
