"""The configuration: one TOML file, overridden by `GRIDPARLEY_<SECTION>_<KEY>` in the environment.

Unknown keys are refused with the nearest known one. Relative paths start at the folder of the file; this includes
the values of adapter and desk options that name files: `…_file`, `…_dir`, and the certificates and keys of `tls_…`.
"""

from __future__ import annotations

import os
import tomllib
import typing
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from datetime import date, time, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

from adapters.uftp.keys import parse_public_keys
from datamodels import (
    Acknowledgement,
    BaselineMethod,
    Binding,
    CongestionPoint,
    Contract,
    MarketCalendar,
    MarketMessage,
    MarketTerms,
    Participant,
    ParticipantKey,
    ParticipantStatus,
    Problem,
    RedispatchBy,
    Resource,
    ResourceKind,
    ResourceRole,
    Role,
    Run,
    SettlementBasis,
    limits_of,
    validate,
)
from interop.settings import Settings, nearest

__all__ = ["Config", "ConfigError", "PeerConfig", "load_config", "parse_config"]

_PREFIX = "GRIDPARLEY_"
_SPOKEN = tuple(cls.__name__ for cls in typing.get_args(MarketMessage) if cls is not Acknowledgement)
_KINDS = (*_SPOKEN, *(f"{kind}Response" for kind in _SPOKEN))
_PATHS = ("_file", "_dir", "tls_certificate", "tls_key", "tls_ca", "tls_client_ca")


class ConfigError(ValueError):
    """The configuration cannot be used; `problems` lists everything that is wrong with it."""

    def __init__(self, source: str, problems: Sequence[Problem]) -> None:
        super().__init__("\n".join(f"{source}: {problem}" for problem in problems))
        self.problems = tuple(problems)


@dataclass(frozen=True, slots=True)
class ServerConfig:
    """`http_listen` serves operators. Without an `api_token`, only loopback clients may change anything.

    `outbox_first_s`, `outbox_longest_s` and `outbox_give_up_s` are wall time: first and longest pause between two
    tries, and the age at which a message becomes a dead letter; `outbox_give_up_by_kind` sets other ages for single
    kinds of message (`FlexOffer = 7200`, `FlexRequestResponse = 14400`).
    """

    data_dir: Path = Path("data")
    http_listen: str = "127.0.0.1:8080"
    log_level: str = "info"
    log_file: Path | None = None
    api_token: str = ""
    outbox_first_s: float = 0.5
    outbox_longest_s: float = 300.0
    outbox_give_up_s: float = 4000.0
    outbox_give_up_by_kind: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        host, _, port = self.http_listen.rpartition(":")
        if not host or not port.isdigit() or int(port) > 65535:
            raise ValueError(f"http_listen {self.http_listen!r} is not host:port")
        if self.log_level.lower() not in ("debug", "info", "warning", "error"):
            raise ValueError(f"log_level {self.log_level!r} is none of debug, info, warning, error")
        if not 0 < self.outbox_first_s <= self.outbox_longest_s <= self.outbox_give_up_s:
            raise ValueError("outbox_first_s <= outbox_longest_s <= outbox_give_up_s must hold, all above 0")
        for kind, age in self.outbox_give_up_by_kind.items():
            if kind not in _KINDS:
                raise ValueError(f"outbox_give_up_by_kind: {kind!r} is no kind of message; {nearest(kind, _KINDS)}")
            if age <= 0:
                raise ValueError(f"outbox_give_up_by_kind: {kind} must be above 0")
        if self.api_token and len(self.api_token) < 16:
            raise ValueError("api_token is shorter than 16 characters: openssl rand -hex 32 makes a good one")

    @property
    def is_local(self) -> bool:
        """Whether operators are served on this machine only."""
        host = self.address[0]
        return host == "localhost" or host == "::1" or host.startswith("127.")

    @property
    def address(self) -> tuple[str, int]:
        host, _, port = self.http_listen.rpartition(":")
        return host.strip("[]"), int(port)


@dataclass(frozen=True, slots=True)
class ClockConfig:
    """`file` holds the anchor of an accelerated clock; without it, market time is wall time."""

    file: Path | None = None


@dataclass(frozen=True, slots=True)
class PartyConfig:
    domain: str
    role: Role

    def __post_init__(self) -> None:
        if self.role not in (Role.AGR, Role.DSO, Role.CRO):
            raise ValueError(f"role {self.role} is none of AGR, DSO, CRO")


@dataclass(frozen=True, slots=True)
class CongestionPointConfig:
    address: str
    dso: str
    start: date = date(2020, 1, 1)
    end: date | None = None
    mutex_offers: bool = True
    partial_activation: bool = True
    day_ahead_redispatch_by: RedispatchBy = RedispatchBy.AGR
    intraday_redispatch_by: RedispatchBy | None = None
    import_limit_w: int | None = None
    export_limit_w: int | None = None

    def canonical(self) -> CongestionPoint:
        return CongestionPoint(
            self.address,
            self.dso,
            self.start,
            self.end,
            mutex_offers=self.mutex_offers,
            partial_activation=self.partial_activation,
            day_ahead_redispatch_by=self.day_ahead_redispatch_by,
            intraday_redispatch_by=self.intraday_redispatch_by,
            import_limit_w=self.import_limit_w,
            export_limit_w=self.export_limit_w,
        )


@dataclass(frozen=True, slots=True)
class ReservedConfig:
    """A stretch of ISPs of every day, and the power reserved in it: signed, as an order would move the baseline."""

    start: int
    duration: int
    power_w: int

    def __post_init__(self) -> None:
        if self.start < 1 or self.duration < 1:
            raise ValueError("start and duration must be 1 or more")


@dataclass(frozen=True, slots=True)
class ContractConfig:
    """With `bounded_offers`, an offer beyond the bounds of the request that it answers is rejected."""

    id: str
    dso: str
    agr: str
    service_types: tuple[str, ...] = ()
    baseline_method: BaselineMethod = BaselineMethod.D_PROGNOSIS
    penalty_eur_per_kwh: Decimal = Decimal(0)
    reserved: tuple[ReservedConfig, ...] = ()
    bounded_offers: bool = False
    price_eur_per_kwh: Decimal = Decimal(0)

    def canonical(self, currency: str) -> Contract:
        return Contract(
            self.id,
            self.dso,
            self.agr,
            self.service_types,
            self.baseline_method,
            currency,
            self.penalty_eur_per_kwh,
            tuple(Run(r.start, r.duration, r.power_w) for r in self.reserved),
            self.bounded_offers,
            self.price_eur_per_kwh,
        )


@dataclass(frozen=True, slots=True)
class MarketConfig:
    """`day_ahead_gate` is local time on the day before; intraday trade for an ISP closes `intraday_lead_minutes`
    before it begins. With `power_limits_bind`, prognoses and offers beyond a congestion point's limits are rejected."""

    timezone: str = "Europe/Amsterdam"
    isp_minutes: int = 15
    currency: str = "EUR"
    settlement_basis: SettlementBasis = SettlementBasis.PAY_DELIVERED
    penalty_eur_per_kwh: Decimal = Decimal(0)
    baseline_references: tuple[str, ...] = ()
    congestion_points: tuple[CongestionPointConfig, ...] = ()
    contracts: tuple[ContractConfig, ...] = ()
    baseline_method: BaselineMethod = BaselineMethod.D_PROGNOSIS
    day_ahead_gate: str = "12:00"
    intraday_lead_minutes: int = 60
    power_limits_bind: bool = False

    def __post_init__(self) -> None:
        self.calendar()

    def calendar(self) -> MarketCalendar:
        return MarketCalendar(
            self.timezone,
            timedelta(minutes=self.isp_minutes),
            self.currency,
            time.fromisoformat(self.day_ahead_gate),
            timedelta(minutes=self.intraday_lead_minutes),
        )

    def terms(self) -> MarketTerms:
        return MarketTerms(
            self.calendar(),
            tuple(point.canonical() for point in self.congestion_points),
            tuple(contract.canonical(self.currency) for contract in self.contracts),
            baseline_method=self.baseline_method,
            settlement_basis=self.settlement_basis,
            penalty_eur_per_kwh=self.penalty_eur_per_kwh,
            baseline_references=self.baseline_references,
            power_limits_bind=self.power_limits_bind,
        )


@dataclass(frozen=True, slots=True)
class PeerConfig:
    """A counterpart. `keys`: one or two public keys (`cs1.` strings or base64 of 32 bytes).

    `adapter` carries messages to it; by default the first that carries market messages does.
    """

    domain: str
    role: Role
    endpoint: str = ""
    keys: tuple[str, ...] = ()
    profile: str = "strict"
    status: ParticipantStatus = ParticipantStatus.ACTIVE
    adapter: str = ""

    def __post_init__(self) -> None:
        self.canonical()

    def canonical(self) -> Participant:
        """Raises ValueError for a key or a profile that is none."""
        limits_of(self.profile)
        keys = parse_public_keys(" ".join(self.keys)) if self.keys else ()
        return Participant(
            self.domain,
            self.role,
            self.endpoint,
            tuple(ParticipantKey(key) for key in keys),
            profile=self.profile,
            status=self.status,
            adapter=self.adapter,
        )


@dataclass(frozen=True, slots=True)
class BindingConfig:
    adapter: str
    address: str
    options: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ResourceConfig:
    id: str
    connection: str
    kind: ResourceKind
    role: ResourceRole
    p_min_w: int
    p_max_w: int
    capacity_wh: int = 0
    name: str = ""
    binding: BindingConfig | None = None

    def canonical(self) -> Resource:
        bound = self.binding
        return Resource(
            self.id,
            self.connection,
            self.kind,
            self.role,
            self.p_min_w,
            self.p_max_w,
            Binding(bound.adapter, bound.address, dict(bound.options)) if bound else None,
            capacity_wh=self.capacity_wh,
            name=self.name,
        )


@dataclass(frozen=True, slots=True)
class DeskConfig:
    """`kind` names a desk that is installed (aggregator, gridoperator), or "none"; `options` are the desk's own."""

    kind: str = "none"
    options: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class RelayConfig:
    """What a peer imposes becomes events of a programme of ours.

    Args:
        peer: whose signals are said on (a utility's domain or VTN id, as on the page Peers).
        programme: name of the programme; made where there is none.
        targets: whom the events are for, each KIND=VALUE or a value; by default whom the signal is for, as far as
            VENs are known by it.
        opt_out: whether we opt out at the peer once every VEN that the event is for has opted out of it.
    """

    peer: str
    programme: str
    targets: tuple[str, ...] = ()
    opt_out: bool = False


@dataclass(frozen=True, slots=True)
class Config:
    party: PartyConfig
    server: ServerConfig = ServerConfig()
    clock: ClockConfig = ClockConfig()
    market: MarketConfig = MarketConfig()
    peers: tuple[PeerConfig, ...] = ()
    resources: tuple[ResourceConfig, ...] = ()
    adapters: dict[str, dict[str, Any]] = field(default_factory=dict)
    desk: DeskConfig = DeskConfig()
    relays: tuple[RelayConfig, ...] = ()


def load_config(path: Path, environ: Mapping[str, str] = os.environ) -> Config:
    """Read and check a configuration file.

    Raises:
        ConfigError: it cannot be read, or something in it is wrong.
    """
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        hint = "gridparley init DIR writes one"
        raise ConfigError(
            str(path), [Problem("config.file", "file", error.strerror or str(error), hint=hint)]
        ) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(str(path), [Problem("config.toml", "file", f"not TOML: {error}")]) from error
    return parse_config(data, path.absolute().parent, environ, str(path))


def parse_config(data: Mapping[str, Any], folder: Path, environ: Mapping[str, str], source: str = "config") -> Config:
    """Check data as it stands in a configuration file that lies in `folder` (ConfigError as above)."""
    settings = Settings(folder)
    merged = _overridden(data, environ, settings.problems)
    for section in ("adapters", "desk"):
        merged[section] = _anchored(merged.get(section, {}), folder)
    if isinstance(server := merged.setdefault("server", {}), dict):
        server.setdefault("data_dir", "data")
    config = settings.read(Config, merged, "")
    if config is not None:
        settings.problems.extend(_cross_checks(config))
    if config is None or settings.problems:
        raise ConfigError(source, settings.problems)
    return config


def _overridden(data: Mapping[str, Any], environ: Mapping[str, str], problems: list[Problem]) -> dict[str, Any]:
    """The data with the environment's values laid over it."""
    merged = {k: dict(v) if isinstance(v, Mapping) else v for k, v in data.items()}
    sections: dict[str, type[Any]] = {
        "server": ServerConfig,
        "clock": ClockConfig,
        "party": PartyConfig,
        "market": MarketConfig,
    }
    for name, cls in sections.items():
        known = [f.name for f in fields(cls)]
        prefix = f"{_PREFIX}{name.upper()}_"
        for variable in sorted(v for v in environ if v.startswith(prefix)):
            key = variable.removeprefix(prefix).lower()
            if key not in known:
                hint = nearest(key, known)
                problems.append(Problem("config.environment", variable, f"[{name}] has no key {key!r}", hint=hint))
                continue
            section = merged.setdefault(name, {})
            if isinstance(section, dict):
                section[key] = environ[variable]
    return merged


def _anchored(value: Any, folder: Path, key: str = "") -> Any:
    """Options with the paths among them made absolute."""
    if isinstance(value, dict):
        return {k: _anchored(v, folder, k) for k, v in value.items()}
    if isinstance(value, list):
        return [_anchored(v, folder, key) for v in value]
    if isinstance(value, str) and value and key.endswith(_PATHS):
        return str(folder / value)
    return value


def _cross_checks(config: Config) -> list[Problem]:
    """What no single table can know."""
    problems = _repeated("peers", [p.domain for p in config.peers])
    problems += _repeated("resources", [r.id for r in config.resources])
    for peer in config.peers:
        if peer.adapter and peer.adapter not in config.adapters:
            hint = f"add [adapters.{peer.adapter}], or {nearest(peer.adapter, config.adapters)}"
            problems.append(Problem("config.peer", f"peers[{peer.domain}]", "its adapter is not configured", hint=hint))
    for resource in config.resources:
        where = f"resources[{resource.id}]"
        problems += [Problem(p.rule, where, p.message, hint=p.hint) for p in validate(resource.canonical())]
        if resource.binding and resource.binding.adapter not in config.adapters:
            hint = f"add [adapters.{resource.binding.adapter}], or {nearest(resource.binding.adapter, config.adapters)}"
            problems.append(Problem("config.binding", where, "its adapter is not configured", hint=hint))
    return problems


def _repeated(where: str, names: Sequence[str]) -> list[Problem]:
    twice = sorted({name for name in names if names.count(name) > 1})
    return [Problem("config.repeated", where, f"{name!r} stands more than once") for name in twice]
