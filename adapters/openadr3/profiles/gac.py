"""Grid-aware charging (GAC) 2.0 on OpenADR 3.0.1, 2.1 and 2.2 on 3.1: a grid operator caps charge points.

`judge` finds everything that GAC forbids. Kinds of object: `program`, `event`, `ven`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from enum import StrEnum
from itertools import pairwise

from adapters.openadr3.model import Event, Program, ValuesMap, Ven, values_of
from adapters.openadr3.profiles import rule
from adapters.openadr3.profiles.rule import Around, Finding, Rules, is_ean, number, program_type
from datamodels import Problem

__all__ = ["LIMIT", "RULES", "Edition", "edition", "judge"]

LIMIT = "IMPORT_CAPACITY_LIMIT"
_TYPE = re.compile(r"DSO_CPO_INTERFACE-(\d+)\.(\d+)\.\d+")
_EAN18 = re.compile(r"[0-9]{18}")
_EMI3 = re.compile(r"([A-Z]{2})-?[A-Z0-9]{3}")
_GAC = Rules("GAC")
RULES = _GAC.table


class Edition(StrEnum):
    """2.0 is on OpenADR 3.0.1; 2.1 and 2.2 differ in what a VEN is called."""

    V20 = "2.0"
    V21 = "2.1"
    V22 = "2.2"


def edition(program: Program) -> Edition | None:
    """The edition that a programme declares; None where it is no GAC programme."""
    found = _TYPE.fullmatch(program_type(program))
    known = f"{found[1]}.{found[2]}" if found else ""
    return Edition(known) if known in set(Edition) else None


def judge(subject: Program | Event | Ven, edition: Edition, around: Around = Around()) -> list[Problem]:
    """Everything about an object that the edition forbids."""
    kind = type(subject).__name__.lower()
    kinds = {f"{kind}-{edition}", kind} | ({f"{kind}-3.1"} if edition is not Edition.V20 else set())
    return [problem for each in sorted(kinds) for problem in rule.judge(RULES, each, subject, around)]


# --- programme ----------------------------------------------------------------------------------------------------


@_GAC.rule("program.type", "program", "GAC programme", "PROGRAM_TYPE is DSO_CPO_INTERFACE-x.y.z")
def _type(program: Program, around: Around) -> Iterator[Finding]:
    if edition(program) is None:
        yield Finding("PROGRAM_TYPE", "the programme names no known edition of GAC", "DSO_CPO_INTERFACE-2.2.0")


@_GAC.rule("program.retailer", "program", "GAC programme", "RETAILER_NAME has 2 to 128 characters")
def _retailer(program: Program, around: Around) -> Iterator[Finding]:
    name = program.retailer_name or (values_of(program.attributes, "RETAILER_NAME") or ("",))[0]
    if not isinstance(name, str) or not 2 <= len(name) <= 128:
        yield Finding("RETAILER_NAME", "the grid operator is not named", "name it in 2 to 128 characters")


@_GAC.rule("program.binding", "program", "GAC programme", "BINDING_EVENTS is true")
def _binding(program: Program, around: Around) -> Iterator[Finding]:
    if program.binding_events is not True and values_of(program.attributes, "BINDING_EVENTS") != (True,):
        yield Finding("BINDING_EVENTS", "events are not declared binding", "set BINDING_EVENTS to true")


@_GAC.rule("program.safe_mode", "program", "GAC safe mode", "a programme has a safe-mode event")
def _safe_mode(program: Program, around: Around) -> Iterator[Finding]:
    if around.events is not None and not around.events:
        yield Finding("events", "the programme has no event, so no safe mode", "publish the safe-mode event")


# --- event --------------------------------------------------------------------------------------------------------


@_GAC.rule("event.priority", "event", "GAC event", "an event has no priority")
def _priority(event: Event, around: Around) -> Iterator[Finding]:
    if event.priority is not None:
        yield Finding("priority", f"priority {event.priority} is given", "leave priority out")


@_GAC.rule("event.descriptor", "event", "GAC event", "exactly one payloadDescriptor, IMPORT_CAPACITY_LIMIT in KW")
def _descriptor(event: Event, around: Around) -> Iterator[Finding]:
    described = [(d.payload_type, d.units) for d in event.payload_descriptors or ()]
    if described != [(LIMIT, "KW")]:
        yield Finding("payloadDescriptors", "these are not one IMPORT_CAPACITY_LIMIT in KW", "give exactly that one")


@_GAC.rule("event.intervals", "event", "GAC event", "an event has at least one interval")
def _intervals(event: Event, around: Around) -> Iterator[Finding]:
    if not event.intervals:
        yield Finding("intervals", "there is no interval", "give at least one")


@_GAC.rule("event.payload", "event", "GAC event", "each interval has one IMPORT_CAPACITY_LIMIT with one value")
def _payload(event: Event, around: Around) -> Iterator[Finding]:
    for n, interval in enumerate(event.intervals or ()):
        types = [(p.type, len(p.values)) for p in interval.payloads]
        if types != [(LIMIT, 1)]:
            yield Finding(f"intervals[{n}].payloads", "these are not one limit with one value", "give exactly that one")
        elif (value := number(interval.payloads[0].values[0])) is None or value < 0:
            yield Finding(
                f"intervals[{n}].payloads", "the limit is not a number of kW, 0 or more", "give such a number"
            )


@_GAC.rule("event.ids", "event", "GAC event", "interval ids are strictly increasing")
def _ids(event: Event, around: Around) -> Iterator[Finding]:
    if any(a.id >= b.id for a, b in pairwise(event.intervals or ())):
        yield Finding("intervals", "the ids do not increase", "number the intervals in their order")


@_GAC.rule("event.periods", "event", "GAC event", "periods are continuous or separated, never both")
def _periods(event: Event, around: Around) -> Iterator[Finding]:
    own = [interval.interval_period is not None for interval in event.intervals or ()]
    good = not any(own) if event.interval_period is not None else all(own)
    if not good:
        hint = "give event.intervalPeriod alone, or one in every interval"
        yield Finding("intervalPeriod", "it stands in the event and in intervals, or in some only", hint)


@_GAC.rule("event.targets", "event-3.1", "GAC 2.1 event", "targets are EAN18")
def _targets(event: Event, around: Around) -> Iterator[Finding]:
    for n, target in enumerate(event.targets or ()):
        if not isinstance(target, str) or not _EAN18.fullmatch(target):
            yield Finding(f"targets[{n}]", "the target is no EAN18", "name a grid connection by its 18 digits")


@_GAC.rule("event.targets20", "event-2.0", "GAC 2.0 event", "one POWER_SERVICE_LOCATION of EAN18, one VEN_NAME")
def _targets20(event: Event, around: Around) -> Iterator[Finding]:
    for type in ("POWER_SERVICE_LOCATION", "VEN_NAME"):
        found = [t for t in event.targets or () if isinstance(t, ValuesMap) and t.type == type]
        if len(found) != 1 or not found[0].values:
            yield Finding("targets", f"{type} stands there {len(found)} times", f"give exactly one {type}")
        elif type == "VEN_NAME":
            if not all(isinstance(v, str) and 1 <= len(v) <= 128 for v in found[0].values):
                yield Finding("targets", "a VEN_NAME is no name", "give names of 1 to 128 characters")
        elif not all(isinstance(v, str) and _EAN18.fullmatch(v) for v in found[0].values):
            yield Finding("targets", "a POWER_SERVICE_LOCATION is no EAN18", "name connections by their 18 digits")


# --- VEN ----------------------------------------------------------------------------------------------------------


@_GAC.rule("ven.name", "ven-2.2", "GAC 2.2 VEN", "venName is an EAN13")
def _ven_name(ven: Ven, around: Around) -> Iterator[Finding]:
    if not is_ean(ven.ven_name, 13):
        yield Finding("venName", "the name is no EAN13 with a good check digit", "use the party's EAN13")


@_GAC.rule("ven.targets", "ven-2.2", "GAC 2.2 VEN", "targets, where given, are EAN18")
def _ven_targets(ven: Ven, around: Around) -> Iterator[Finding]:
    for n, target in enumerate(ven.targets or ()):
        if not isinstance(target, str) or not _EAN18.fullmatch(target):
            yield Finding(f"targets[{n}]", "the target is no EAN18", "name a grid connection by its 18 digits")


@_GAC.rule("ven.emi3", "ven-2.0 ven-2.1", "GAC 2.0 VEN", "venName is an eMI3 id: country and three characters")
def _emi3(ven: Ven, around: Around) -> Iterator[Finding]:
    found = _EMI3.fullmatch(ven.ven_name)
    if found is None or found[1] not in _COUNTRIES:
        yield Finding("venName", "the name is no eMI3 id", "use the operator's id, like NL-ABC")


_COUNTRIES = frozenset(
    re.findall(
        "..",
        "ADAEAFAGAIALAMAOAQARASATAUAWAXAZBABBBDBEBFBGBHBIBJBLBMBNBOBQBRBSBT"
        "BVBWBYBZCACCCDCFCGCHCICKCLCMCNCOCRCUCVCWCXCYCZDEDJDKDMDODZECEEEGEH"
        "ERESETFIFJFKFMFOFRGAGBGDGEGFGGGHGIGLGMGNGPGQGRGSGTGUGWGYHKHMHNHRHT"
        "HUIDIEILIMINIOIQIRISITJEJMJOJPKEKGKHKIKMKNKPKRKWKYKZLALBLCLILKLRLS"
        "LTLULVLYMAMCMDMEMFMGMHMKMLMMMNMOMPMQMRMSMTMUMVMWMXMYMZNANCNENFNGNI"
        "NLNONPNRNUNZOMPAPEPFPGPHPKPLPMPNPRPSPTPWPYQARERORSRURWSASBSCSDSESG"
        "SHSISJSKSLSMSNSOSRSSSTSVSXSYSZTCTDTFTGTHTJTKTLTMTNTOTRTTTVTWTZUAUG"
        "UMUSUYUZVAVCVEVGVIVNVUWFWSYEYTZAZMZW",
    )
)
"""ISO 3166-1 alpha-2."""
