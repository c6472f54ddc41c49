"""The page on programmes (`docs/programmes.md`): how a utility uses them, what each standard carries of an event."""

from __future__ import annotations

from dataclasses import dataclass

from datamodels.payloads import PAYLOADS, Payload

__all__ = ["MEMBERS", "Member", "page"]


@dataclass(frozen=True, slots=True)
class Member:
    """How a member of an event is said in each standard; `lost_in_2b` and `lost_in_3` say what is not, and why."""

    name: str
    in_2b: str
    in_3: str
    lost_in_2b: str = ""
    lost_in_3: str = ""


MEMBERS: tuple[Member, ...] = (
    Member("programme", "marketContext (its URI)", "programID", "a programme without a market context is not seen"),
    Member("name", "none", "eventName", "not carried"),
    Member(
        "signals",
        "eiEventSignals",
        "intervals with payloads",
        "payload types without a signal (see above) are left out; intervals must be consecutive",
        "several signals share the list of intervals; sub-intervals come as intervals",
    ),
    Member("targets", "eiTarget", "targets", "targets of kinds that 2.0b has no element for", ""),
    Member("priority", "priority (0 none, 1 first)", "priority (null none, 0 first): one less", "", ""),
    Member(
        "tolerance",
        "tolerate/startafter R",
        "start + R/2, randomizeStart R/2",
        "a start that is drawn both ways is written earlier by half its width",
        "",
    ),
    Member("notification", "x-eiNotification", "none", "", "not carried"),
    Member("ramp_up", "x-eiRampUp", "none", "", "not carried"),
    Member("recovery", "x-eiRecovery", "none", "", "not carried"),
    Member("baseline", "eiEventBaseline", "none", "", "not carried"),
    Member("response_required", "oadrResponseRequired", "none: a VEN need not answer", "", ""),
    Member("test", "testEvent", "none", "", "not shown to 3.x VENs, which would act upon it"),
    Member("comment", "vtnComment", "none", "", "not carried"),
    Member(
        "reports", "oadrCreateReport, beside the event", "reportDescriptors", "asked for by what a VEN has registered"
    ),
    Member("cancelled", "eventStatus cancelled, modificationNumber + 1", "the event is gone (DELETE)", "", ""),
    Member("revision", "modificationNumber", "none; modificationDateTime moves", "", ""),
)

_HOW_TO = """# Programmes: events for VENs of OpenADR 2.0b and 3.x

A programme is 2.0b's market context and 3.x's program. It is kept once, and so are its events, the VENs, their
answers and reports: an event that is created over the API, on the command line, on the page Programmes, or by a
utility's own business logic over OpenADR 3 reaches VENs of both generations. Each is told as much of it as its
standard can say; the tables below name what is not.

## How to

A programme, a VEN with a resource, and an event that limits what it draws:

```
gridparley programme create gridparley.toml Peak --market-context http://utility.example/peak
gridparley ven add gridparley.toml house-1 --profile 3.1.0 --client house-1 --resource battery=battery-1
gridparley programme event create gridparley.toml Peak --id evening --kind IMPORT_LIMIT \\
  --value 4000 --value 2500 --minutes 30 --start 2026-12-01T17:00:00+01:00 --target VEN_NAME=house-1 --priority 1
gridparley programme event show gridparley.toml Peak evening
gridparley programme event change gridparley.toml Peak evening --kind IMPORT_LIMIT \\
  --value 3000 --minutes 60 --start 2026-12-01T17:00:00+01:00
gridparley programme event cancel gridparley.toml Peak evening
```

`change` says the event anew, whole; VENs see a new revision where anything differs. A cancelled event stays until
it is forgotten (`cancel --forget`), so that those who have not heard of it are told. Values of a `kind` are W
(consumption positive), Wh, currency per kWh, or a level from 0 to 3.

What options cannot say, such as several signals, is read from a file (`--file`), which is also the body of `POST
/api/v1/programmes/{programme}/events`:

```json
{
  "name": "evening",
  "start": "2026-12-01T17:00:00+01:00",
  "signals": [
    {"kind": "IMPORT_LIMIT", "intervals": [{"minutes": 30, "value": 4000}, {"minutes": 30, "value": 2500}]},
    {"kind": "PRICE", "value": "0.42", "minutes": 60, "currency": "EUR"}
  ],
  "targets": [{"kind": "GROUP", "value": "north"}],
  "tolerance_minutes": 5,
  "ramp_up_minutes": 10,
  "reports": [{"payload": "USAGE", "every_minutes": 15}]
}
```

Targets are `VEN_NAME`, `RESOURCE_NAME`, `GROUP`, or others of the standards; a target without a kind is one that
VENs are granted (`gridparley ven add --target`). An event without targets is for everybody in its programme.

## Dispatches, opts and the bridge

* A dispatch to a resource whose binding's adapter is `openadr3` (address `<VEN name>/<resource name>`, option
  `programme`) becomes an event for that VEN. What the VEN reports on it, and its opt, are news of the dispatch; a
  VEN of 3.x opts out by reporting OPERATING_STATE with an `_OPTED_OUT` value.
* A VEN that opts out of an event, or says by a schedule that it is not available, is not there for the
  aggregator's plan in that time. The newest word counts.
* `[[relays]]` says a utility's signals on to our own VENs, as events of a programme of ours: revisions and
  cancellations follow, and what is lost stands in the event log (`relay.loss`). A start that was drawn at random
  is drawn once, for all. With `opt_out = true` we opt out at the utility once all VENs that the event is for have.
"""


def page() -> str:
    """The page, as Markdown."""
    parts = [
        _HOW_TO,
        "## Payload types",
        _PAYLOAD_NOTE,
        _payloads(),
        "## Members of an event",
        _MEMBER_NOTE,
        _members(),
    ]
    return "\n\n".join(part.strip() for part in parts)


_PAYLOAD_NOTE = """Names are those of OpenADR 3. Values are written in the unit of the third column; other units of
power and energy, and PERCENT where the whole is known, are understood. A payload type that is not in the table is
passed on as it stands to VENs of 3.x, and not to those of 2.0b."""

_MEMBER_NOTE = """An object that came over a standard is given back to clients of that standard as it was written."""


def _payloads() -> str:
    head = "| payload type | kind | unit | signal of 2.0b | what is lost in 2.0b |\n|---|---|---|---|---|"
    return "\n".join([head, *map(_payload, PAYLOADS)])


def _payload(payload: Payload) -> str:
    kinds = ", ".join(dict.fromkeys(str(kind) for kind in (payload.signal, payload.dispatch) if kind is not None))
    signal = payload.openadr2
    in_2b = f"{' or '.join((signal.name, *signal.alike))}, {signal.type}" if signal else "none"
    unit = "currency per kWh" if payload.is_price else payload.unit
    return f"| {payload.name} | {kinds or 'none'} | {unit or 'none'} | {in_2b} | {payload.loss or 'nothing'} |"


def _members() -> str:
    head = "| member | 2.0b | lost there | 3.x | lost there |\n|---|---|---|---|---|"
    rows = [f"| {m.name} | {m.in_2b} | {m.lost_in_2b or '-'} | {m.in_3} | {m.lost_in_3 or '-'} |" for m in MEMBERS]
    return "\n".join([head, *rows])
