"""What a VEN knows of its VTN, and what follows from a look at it. Pure: documents and objects in, decisions out.

An event is taken once, as it was first read: events of these programmes are binding. Its record is durable together
with the limit it means, and says which reports are still owed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from decimal import Decimal

from adapters.openadr3 import mapping
from adapters.openadr3.calls import calls
from adapters.openadr3.codec import dumps, encode
from adapters.openadr3.config import VtnConfig
from adapters.openadr3.members import Version
from adapters.openadr3.model import Event, ResourceGroup, ValuesMap
from adapters.openadr3.profiles import der, der_reports, gac
from adapters.openadr3.profiles.rule import Around, kw, single
from adapters.openadr3.records import DER, Record, Take, View, baseline_of, created, message_id
from datamodels import (
    GridSignal,
    Head,
    Loss,
    MarketTerms,
    Problem,
    Severity,
    SignalKind,
    SignalTarget,
    TargetKind,
    validate,
)
from datamodels import Resource as CanonicalResource

__all__ = ["Judged", "judge", "points", "withdrawn"]

_LIMITING = ("flex", "limit")
_RANK = {"anchor": 0, "baseline": 1, "override": 2, "flex": 3}


@dataclass(frozen=True, slots=True)
class Judged:
    """What follows from a look. `refused` are events with what forbids them; `gone` are ids that are shown no more."""

    take: tuple[Take, ...]
    refused: tuple[tuple[Event, tuple[Problem, ...]], ...]
    gone: tuple[str, ...]
    problems: tuple[Problem, ...]


@dataclass(slots=True)
class _Look:
    """One judgement under way."""

    config: VtnConfig
    view: View
    known: Mapping[str, Record]
    terms: MarketTerms
    resources: Mapping[str, CanonicalResource]
    now: datetime
    problems: list[Problem] = field(default_factory=list)


def judge(
    config: VtnConfig,
    view: View,
    known: Mapping[str, Record],
    terms: MarketTerms,
    resources: Mapping[str, CanonicalResource],
    now: datetime,
) -> Judged:
    """Compare a look with what is known (records by event id); `resources` are our own."""
    look = _Look(config, view, known, terms, resources, now)
    profiles = _profiles(look)
    groups = _groups(look, DER in profiles.values())
    taken = dict(known)
    take: list[Take] = []
    refused: list[tuple[Event, tuple[Problem, ...]]] = []
    for event, body in sorted(view.events, key=_order):
        profile = profiles.get(event.program_id)
        if profile is None or event.id is None:
            continue
        before = known.get(event.id)
        if before is not None and not before.gone:
            if problem := _modified(before, event):
                refused.append((event, (problem,)))
            continue
        found, problems = (
            _der(look, event, body, groups, taken) if profile == DER else _gac(look, event, body, gac.Edition(profile))
        )
        if found is None:
            refused.append((event, tuple(problems)))
            continue
        if before is not None:
            found = _again(found, before)
        take.append(found)
        taken[event.id] = found.record
    shown = {event.id for event, _ in view.events} | view.unread
    gone = tuple(id for id, record in known.items() if not record.gone and id not in shown)
    return Judged(tuple(take), tuple(refused), gone, tuple(look.problems))


# --- programmes and groups ----------------------------------------------------------------------------------------


def _profiles(look: _Look) -> dict[str, str]:
    """The profile of each programme that is to be obeyed and keeps its profile, by id."""
    out: dict[str, str] = {}
    for program in look.view.programs:
        if look.config.programs and program.program_name not in look.config.programs:
            continue
        mine = [event for event, _ in look.view.events if event.program_id == program.id]
        if der.describes(program):
            profile, problems = DER, der_reports.judge(program, Around(events=mine))
        elif (edition := gac.edition(program)) is not None:
            profile, problems = str(edition), gac.judge(program, edition, Around(events=mine))
        else:
            if look.config.programs:
                text = f"programme {program.program_name!r} has no profile that is known here"
                look.problems.append(Problem("openadr3.profile", program.program_name, text))
            continue
        look.problems += _named(problems, program.program_name)
        # A missing anchor or safe mode is the operator's to mend; what is declared wrongly is not obeyed.
        if program.id and not _errors(p for p in problems if p.where != "events"):
            out[program.id] = profile
    return out


def _groups(look: _Look, wanted: bool) -> dict[str, ResourceGroup]:
    """Groups that keep the profile, by Group-ID."""
    out: dict[str, ResourceGroup] = {}
    if not wanted:
        return out
    ven = look.view.ven
    if ven is None:
        text = f"no ven is called {look.config.ven_name!r}; ask the grid operator to create it"
        look.problems.append(Problem("openadr3.ven", "ven", text))
    else:
        look.problems += _named(der_reports.judge(ven), ven.ven_name)
    for resource in look.view.resources:
        look.problems += _named(der_reports.judge(resource), resource.resource_name)
    for group in look.view.groups:
        problems = der_reports.judge(group)
        look.problems += _named(problems, group.resource_group_name)
        if not _errors(problems):
            out[group.resource_group_name] = group
    return out


# --- events -------------------------------------------------------------------------------------------------------


def _der(
    look: _Look, event: Event, body: bytes, groups: Mapping[str, ResourceGroup], taken: Mapping[str, Record]
) -> tuple[Take | None, list[Problem]]:
    kind = der.event_kind(event) or "unknown"
    target = str(next(iter(event.targets or ()), ""))
    group = groups.get(target)
    problems = _errors(der_reports.judge(event, Around(group=group)))
    record = Record(body.decode(), look.config.version, DER, kind, target)
    if kind == "baseline":
        baseline = kw(single(event.intervals[0].payloads, "ACTIVE_BASELINE")) if event.intervals else None
        record = replace(record, baseline_kw=str(baseline))
    if problems or kind != "flex":
        return (None if problems else Take(record, event, None)), problems
    if group is None:
        text = f"its group {target!r} is not shown to us, or breaks the profile"
        return None, [Problem("DER.flex.group", "targets", text, hint="have the grid operator create or mend it")]
    baseline = baseline_of(target, taken.values(), group)
    if baseline is None:
        text = f"group {target!r} has no baseline yet, so there is no ceiling"
        return None, [Problem("DER.flex.baseline", "targets", text, hint="publish a baseline event first")]
    record = replace(record, baseline_kw=str(baseline), connections=_connections(look.view, group))
    targets, losses = _group_targets(look, group)
    signal, more = mapping.ceiling_of_flex(event, baseline, look.config.peer, targets)
    take = Take(record, event, signal, losses + more)
    address = address_of(look.config, look.terms, str(single(group.attributes, "CONGESTION_POINT_ID")))
    return _checked(take if address is None else _called(look, take, baseline, address))


def _called(look: _Look, take: Take, baseline: Decimal, address: str) -> Take:
    """With what the event calls. The recipient is named as the profile names it; it may have been called before."""
    id, record = take.event.id or "", take.record
    before = look.known.get(id)
    revision = before.revision + 1 if before else 0
    config, at = look.config, created(take.event)
    about = Head(config.peer, config.ven_name, message_id(id, revision), id, at)
    requests, losses = calls(
        take.event, baseline, address, record.connections, look.terms.calendar, about, revision + 1
    )
    return replace(take, calls=requests, losses=take.losses + losses)


def _gac(look: _Look, event: Event, body: bytes, edition: gac.Edition) -> tuple[Take | None, list[Problem]]:
    problems = _errors(gac.judge(event, edition))
    if problems:
        return None, problems
    record = Record(body.decode(), look.config.version, str(edition), "limit", acked=True, reported=True)
    signal, losses = mapping.limit_of_gac(event, look.now, look.config.peer, _gac_targets(look, event))
    return _checked(Take(record, event, signal, losses))


def _checked(take: Take) -> tuple[Take | None, list[Problem]]:
    problems = validate(take.signal)
    return (None if problems else take), problems


def withdrawn(id: str, record: Record, source: str) -> tuple[Record, GridSignal | None]:
    """The record of an event that is shown no more, and the end of the limit that it meant."""
    after = replace(record, gone=True, revision=record.revision + 1)
    if record.kind not in _LIMITING:
        return after, None
    return after, GridSignal(id, source, SignalKind.IMPORT_LIMIT, (), revision=after.revision, cancelled=True)


def _again(take: Take, before: Record) -> Take:
    """An event that was gone and is shown again: the same, under the next revision."""
    record = replace(take.record, acked=before.acked, reported=before.reported, revision=before.revision + 1)
    signal = replace(take.signal, revision=record.revision) if take.signal else None
    return replace(take, record=record, signal=signal)


# --- whom it concerns ---------------------------------------------------------------------------------------------


def _group_targets(look: _Look, group: ResourceGroup) -> tuple[tuple[SignalTarget, ...], tuple[Loss, ...]]:
    """A group, and the congestion point it stands for where it is our only group there."""
    name = group.resource_group_name
    own = SignalTarget(TargetKind.GROUP, name)
    point = str(single(group.attributes, "CONGESTION_POINT_ID"))
    address = address_of(look.config, look.terms, point)
    if address is None:
        return (own,), (Loss("CONGESTION_POINT_ID", point, "no congestion point of that id is configured here"),)
    beside = [
        other.resource_group_name
        for other in look.view.groups
        if other.resource_group_name != name and single(other.attributes, "CONGESTION_POINT_ID") == point
    ]
    if beside:
        return (own,), (Loss("targets", name, f"{address} also has {', '.join(beside)}; a limit there would be wrong"),)
    return (own, SignalTarget(TargetKind.CONGESTION_POINT, address)), ()


def points(config: VtnConfig, terms: MarketTerms, view: View) -> dict[str, str | None]:
    """The congestion point of each group, by Group-ID."""
    ids = {g.resource_group_name: str(single(g.attributes, "CONGESTION_POINT_ID")) for g in view.groups}
    return {name: address_of(config, terms, id) for name, id in ids.items()}


def address_of(config: VtnConfig, terms: MarketTerms, point: str) -> str | None:
    """Our address of a congestion point that a VTN names; None where none is configured."""
    for address in (config.congestion_points.get(point), point, f"ean.{point}"):
        if address and terms.congestion_point(address) is not None:
            return address
    return None


def _gac_targets(look: _Look, event: Event) -> tuple[SignalTarget, ...]:
    """Congestion points and own resources at the connections named; a group of the connection's name where none is."""
    eans: list[str] = []
    for target in event.targets or ():
        if isinstance(target, ValuesMap):
            eans += [str(v) for v in target.values if target.type == "POWER_SERVICE_LOCATION"]
        else:
            eans.append(target)
    out: list[SignalTarget] = []
    for ean in eans:
        address = address_of(look.config, look.terms, ean)
        mine = [id for id, resource in look.resources.items() if resource.connection == f"ean.{ean}"]
        out += [SignalTarget(TargetKind.CONGESTION_POINT, address)] if address else []
        out += [SignalTarget(TargetKind.RESOURCE, id) for id in mine]
        if not address and not mine:
            out.append(SignalTarget(TargetKind.GROUP, f"ean.{ean}"))
    return tuple(out)


def _connections(view: View, group: ResourceGroup) -> tuple[str, ...]:
    """EAN18 of the connections of a group's resources, each once."""
    children = {child.id for child in group.children or ()}
    eans = (single(r.attributes, "EAN") for r in view.resources if r.id in children)
    return tuple(dict.fromkeys(ean for ean in eans if isinstance(ean, str)))


# --- inside -------------------------------------------------------------------------------------------------------


def _modified(before: Record, event: Event) -> Problem | None:
    """An event that is not what it was: its programme promised otherwise."""
    if _said(before.event) == _said(event):
        return None
    text = "the event was changed, although its programme's events are binding; the first one stands"
    return Problem("openadr3.binding", "event", text, hint="delete it and create another")


def _said(event: Event) -> bytes:
    plain = encode(event, Version.V310) | encode(event, Version.V301)
    return dumps({k: v for k, v in plain.items() if k not in ("createdDateTime", "modificationDateTime")})


def _order(shown: tuple[Event, bytes]) -> tuple[int, datetime, str]:
    event = shown[0]
    return _RANK.get(der.event_kind(event) or "", 4), created(event), event.id or ""


def _errors(problems: Iterable[Problem]) -> list[Problem]:
    return [problem for problem in problems if problem.severity is Severity.ERROR]


def _named(problems: Iterable[Problem], name: str) -> list[Problem]:
    return [replace(problem, where=f"{name}: {problem.where}") for problem in problems]
