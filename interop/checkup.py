"""Checks of an installation, each with a verdict and a way to mend what is wrong (`gridparley doctor`)."""

from __future__ import annotations

import contextlib
import importlib.metadata
import importlib.util
import os
import shutil
import socket
import sqlite3
import stat
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from adapters.uftp.keys import load_key_file
from datamodels import Participant, decode
from interop import loop, plugins
from interop.config import Config
from interop.peers import PEER, SPACE
from interop.server import make_clock
from interop.store import Reader, StoreError
from interop.store.sqlite import locked
from optimiser import interior

__all__ = ["Check", "check_config", "check_installation"]

_PACKAGES = ("datamodels", "adapters", "optimiser", "interop", "conformance")
_DISTRIBUTION = "gridparley"
_LEAST_FREE_BYTES = 200_000_000
_OLDEST_NOW = datetime(2025, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Check:
    """`verdict` is "ok", "warning" or "error"."""

    name: str
    verdict: str
    detail: str
    hint: str = ""

    def as_dict(self) -> dict[str, str]:
        return asdict(self)


def _ok(name: str, detail: str) -> Check:
    return Check(name, "ok", detail)


def check_installation() -> list[Check]:
    """The packages that are imported are ours, and the engine below can do what it must."""
    return [*_packages(_PACKAGES, _origin), *_sqlite(), _loop(), _planner()]


def _loop() -> Check:
    if loop.fast():
        return _ok("event loop", "uvloop")
    return _ok("event loop", "asyncio's own; the extra gridparley[fast] brings uvloop, which costs less CPU")


def _planner() -> Check:
    if interior.available():
        return _ok("planner", f"numba {importlib.metadata.version('numba')}, compiled beside a server with many homes")
    return _ok("planner", "numpy; the extra gridparley[fast] brings numba, and large plans take a third of the time")


def check_config(config: Config) -> list[Check]:
    """Everything a server with this configuration needs."""
    running = locked(config.server.data_dir)
    checks: list[Check] = [*_data(config.server.data_dir, running)]
    checks += _ports(config, running)
    checks += [*_keys(config), *_clock(config), *_peers(config), *_plugins(config)]
    return checks


# --- installation -------------------------------------------------------------------------------------------------


def _origin(package: str) -> Path | None:
    spec = importlib.util.find_spec(package)
    return Path(spec.origin).parent if spec and spec.origin else None


def _packages(names: tuple[str, ...], origin: Callable[[str], Path | None]) -> Iterator[Check]:
    """All five lie side by side; none is another project's of the same name (each name is taken on PyPI)."""
    home = Path(__file__).parents[1]
    owners = importlib.metadata.packages_distributions()
    for name in names:
        place = origin(name)
        others = sorted(set(owners.get(name, ())) - {_DISTRIBUTION})
        if place is None or place.parent != home:
            hint = f"another distribution shadows it: pip uninstall {' '.join(others) or name}, or use an own venv"
            yield Check(f"package {name}", "error", f"imported from {place}, not from {home}", hint)
        elif others:
            hint = f"pip uninstall {' '.join(others)}, or install gridparley into a venv of its own"
            yield Check(f"package {name}", "warning", f"{', '.join(others)} also installs it", hint)
        else:
            yield _ok(f"package {name}", str(place))


def _sqlite() -> Iterator[Check]:
    if sqlite3.threadsafety < 1 or sqlite3.sqlite_version_info < (3, 35):
        yield Check("sqlite", "error", f"SQLite {sqlite3.sqlite_version} is too old", "3.35 or newer is needed")
    else:
        yield _ok("sqlite", f"SQLite {sqlite3.sqlite_version}")


# --- configuration ------------------------------------------------------------------------------------------------


def _data(folder: Path, running: bool) -> Iterator[Check]:
    nearest = next(path for path in (folder, *folder.parents) if path.exists())
    if not os.access(nearest, os.W_OK | os.X_OK):
        yield Check(
            "data", "error", f"{nearest} cannot be written", f"chown it, or change [server] data_dir ({folder})"
        )
        return
    free = shutil.disk_usage(nearest).free
    if free < _LEAST_FREE_BYTES:
        yield Check("disk", "warning", f"{free // 1_000_000} MB free in {nearest}", "make room")
    try:
        reader = Reader(folder)
    except StoreError:
        yield _ok("data", f"{folder} holds no data yet")
        return
    try:
        report = reader.verify_chain()
    except sqlite3.Error as error:
        yield Check("data", "error", f"{folder}: {error}", "restore a backup")
        return
    finally:
        reader.close()
    if report.intact:
        used = ", in use by a running server" if running else ""
        yield _ok("data", f"{folder}: {report.events} events, chain intact{used}")
    else:
        detail = f"{folder}: event {report.broken_at}: {report.reason}"
        yield Check("data", "error", detail, "the log was tampered with or damaged; gridparley replay shows more")


def _ports(config: Config, running: bool) -> Iterator[Check]:
    listeners = {"[server] http_listen": config.server.http_listen}
    for name, options in config.adapters.items():
        if isinstance(options.get("listen"), str):
            listeners[f"[adapters.{name}] listen"] = options["listen"]
    for where, address in listeners.items():
        host, _, port = address.rpartition(":")
        if not port.isdigit():
            yield Check(where, "error", f"{address!r} is not host:port", 'write it as "127.0.0.1:8080"')
        elif running:
            yield _ok(where, f"{address}, held by the running server")
        else:
            yield _bindable(where, host.strip("[]"), int(port))


def _bindable(where: str, host: str, port: int) -> Check:
    try:
        with socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET):
            pass
    except OSError as error:
        hint = f"choose another port, or stop the program that has it (ss -ltnp 'sport = :{port}')"
        return Check(where, "error", f"{host}:{port} cannot be listened on: {error.strerror}", hint)
    if host not in ("127.0.0.1", "::1", "localhost"):
        return Check(where, "warning", f"{host}:{port} is reachable from the network", "intended? TLS is needed there")
    return _ok(where, f"{host}:{port} is free")


def _keys(config: Config) -> Iterator[Check]:
    for where, path in _files(config.adapters, "adapters", ("key_file", "secret_file", "tls_key")):
        if not path.exists():
            yield Check(
                where, "error", f"{path} does not exist", "restore it; gridparley uftp keys new makes a new signing key"
            )
            continue
        mode = stat.S_IMODE(path.stat().st_mode)
        if mode & 0o077:
            yield Check(where, "error", f"others may read {path} (mode {mode:o})", f"chmod 600 {path}")
            continue
        if where.endswith("signing_key_file"):
            try:
                load_key_file(path)
            except (OSError, ValueError) as error:
                yield Check(where, "error", str(error), "restore it from a backup")
                continue
        yield _ok(where, str(path))


def _files(options: Mapping[str, Any], where: str, ending: tuple[str, ...]) -> Iterator[tuple[str, Path]]:
    for key, value in options.items():
        if isinstance(value, Mapping):
            yield from _files(value, f"{where}.{key}", ending)
        elif isinstance(value, list):
            tables = {str(number): table for number, table in enumerate(value, 1) if isinstance(table, Mapping)}
            yield from _files(tables, f"{where}.{key}", ending)
        elif isinstance(value, str) and value and key.endswith(ending):
            yield f"{where}.{key}", Path(value)


def _clock(config: Config) -> Iterator[Check]:
    try:
        clock = make_clock(config)
    except (OSError, ValueError, KeyError) as error:
        yield Check("clock", "error", f"[clock] file: {error}", "its director writes it; without one, remove the key")
        return
    if datetime.now(UTC) < _OLDEST_NOW:
        yield Check("clock", "error", f"this machine believes it is {datetime.now(UTC):%Y-%m-%d}", "set the time (NTP)")
    elif config.clock.file:
        detail = f"market time {clock.now():%Y-%m-%d %H:%M}Z, {clock.rate:g} times as fast as the wall clock"
        yield Check("clock", "warning", detail, "meant for demos: remove [clock] file in production")
    else:
        yield _ok("clock", f"{clock.now():%Y-%m-%d %H:%M:%S}Z")


def _peers(config: Config) -> Iterator[Check]:
    """The configured peers and those added since."""
    peers = {p.domain: p.canonical() for p in config.peers}
    with contextlib.suppress(StoreError, sqlite3.Error):  # no data yet, or damaged data, which `_data` reports
        reader = Reader(config.server.data_dir)
        peers |= {d.key: decode(d.value, Participant) for d in reader.documents(SPACE, PEER)}
        reader.close()
    if not peers:
        yield Check("peers", "warning", "nobody may speak with us yet", "gridparley peer add, or [[peers]]")
    provider = config.adapters.get("uftp", {}).get("discovery", {}).get("provider", "static")
    for domain, peer in peers.items():
        if provider != "static" and not (peer.keys and peer.endpoint):
            yield _ok(f"peer {domain}", f"what is not listed is looked up ({provider}), {peer.status}")
        elif not peer.keys:
            hint = f"gridparley peer add … {domain} --key cs1.…"
            yield Check(f"peer {domain}", "warning", "no key: nothing it signs can be verified", hint)
        elif not peer.endpoint:
            yield Check(f"peer {domain}", "warning", "no endpoint: nothing can be sent to it", "set endpoint")
        else:
            yield _ok(f"peer {domain}", f"{len(peer.keys)} key(s), {peer.endpoint}, {peer.status}")


def _plugins(config: Config) -> Iterator[Check]:
    wanted = [(plugins.ADAPTERS, name, f"[adapters.{name}]") for name in config.adapters]
    if config.desk.kind != "none":
        wanted.append((plugins.DESKS, config.desk.kind, "[desk]"))
    for group, name, where in wanted:
        try:
            plugins.load(group, name)
        except (LookupError, ImportError, AttributeError) as error:
            yield Check(where, "error", str(error).strip("'\""), "correct the name, or install what provides it")
        else:
            yield _ok(where, "installed")
