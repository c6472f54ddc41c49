"""The table of UFTP messages, from which decoder, encoder, validation and tests are derived.

One line an element: its attributes as `Name:type`, with `?` optional and `=value` optional with a default (the types
are those of `values`), then its children in order with their cardinality. Version 3.1.0 differs from 3.0.0 in four
attributes only, which `_IN_3_1_0` lists.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from adapters.uftp.values import TYPES, ValueType

__all__ = ["CANONICAL", "LENIENT", "MESSAGES", "VERSIONS", "Attribute", "ElementSpec", "MessageSpec", "table"]

VERSIONS = ("3.1.0", "3.0.0")
"""Released wire versions that are spoken, newest first."""


@dataclass(frozen=True, slots=True)
class Attribute:
    """`required`, or optional with or without a `default` (as text)."""

    name: str
    type: ValueType
    required: bool
    default: str | None = None


@dataclass(frozen=True, slots=True)
class ElementSpec:
    """An element: attributes by name, children in sequence; `maximum` None is unbounded."""

    name: str
    attributes: Mapping[str, Attribute]
    children: tuple[ElementSpec, ...] = ()
    minimum: int = 1
    maximum: int | None = None
    required: frozenset[str] = field(init=False)
    defaults: tuple[tuple[str, Any], ...] = field(init=False)
    readers: Mapping[str, Callable[[str], Any]] = field(init=False)
    """Precompiled for the decoder."""

    def __post_init__(self) -> None:
        attributes = self.attributes.values()
        object.__setattr__(self, "required", frozenset(a.name for a in attributes if a.required))
        defaults = tuple((a.name, a.type.read(a.default)) for a in attributes if a.default is not None)
        object.__setattr__(self, "defaults", defaults)
        object.__setattr__(self, "readers", {a.name: a.type.read for a in attributes})


@dataclass(frozen=True, slots=True)
class MessageSpec:
    """A root: who sends it to whom, and for a response what it answers and in which attribute it says so."""

    name: str
    senders: frozenset[str]
    recipients: frozenset[str]
    spec: Mapping[str, ElementSpec]
    answers: str = ""
    refers: str = ""

    @property
    def response(self) -> str:
        """Name of the root that answers this one; empty for a response."""
        return "" if self.answers else f"{self.name}Response"


def _attributes(text: str) -> dict[str, Attribute]:
    found: dict[str, Attribute] = {}
    for item in text.split():
        name, _, kind = item.partition(":")
        kind, has_default, default = kind.partition("=")
        optional = kind.endswith("?") or bool(has_default)
        found[name] = Attribute(name, TYPES[kind.rstrip("?")], not optional, default if has_default else None)
    return found


def _many(
    name: str, attributes: str, *children: ElementSpec, minimum: int = 1, maximum: int | None = None
) -> ElementSpec:
    return ElementSpec(name, _attributes(attributes), children, minimum, maximum)


_META = (
    "Version:version SenderDomain:domain RecipientDomain:domain TimeStamp:dateTime MessageID:uuid ConversationID:uuid "
)
_RESULT = "Result:result RejectionReason:text? "
_DAY = "ISP-Duration:duration TimeZone:timeZone Period:date CongestionPoint:address "
_VALID = "EntityAddress:address StartPeriod:date EndPeriod:date? "
_REDISPATCH = "MutexOffersSupported:boolean DayAheadRedispatchBy:redispatch IntradayRedispatchBy:redispatch? "
_BASIS = "ContractID:text? D-PrognosisMessageID:uuid? BaselineReference:text? "

_POWER = _many("ISP", "Power:integer Start:positive Duration:positive=1")
_FORECAST = _many("ISP", "Power:integer Start:integer Duration:integer=1")
_CONNECTION = _many("Connection", "EntityAddress:address")
_DATED_CONNECTION = _many("Connection", _VALID)

_REQUESTS: tuple[tuple[str, str, str, tuple[ElementSpec, ...]], ...] = (
    (
        "DSOPortfolioUpdate",
        "DSO>CRO",
        "TimeZone:timeZone",
        (_many("CongestionPoint", _VALID + _REDISPATCH, _DATED_CONNECTION),),
    ),
    ("AGRPortfolioUpdate", "AGR>CRO", "TimeZone:timeZone", (_DATED_CONNECTION,)),
    ("AGRPortfolioQuery", "AGR>CRO", "TimeZone:timeZone Period:date", ()),
    ("DSOPortfolioQuery", "DSO>CRO", "TimeZone:timeZone Period:date EntityAddress:address", ()),
    ("FlexReservationUpdate", "DSO>AGR", _DAY + "ContractID:text Reference:text", (_POWER,)),
    ("D-Prognosis", "AGR>DSO", _DAY + "Revision:long", (_FORECAST,)),
    (
        "FlexRequest",
        "DSO>AGR",
        _DAY + "Revision:long ExpirationDateTime:dateTime ContractID:text? ServiceType:text?",
        (
            _many(
                "ISP",
                "Disposition:disposition? MinPower:integer MaxPower:integer Start:positive Duration:positive=1",
            ),
        ),
    ),
    (
        "FlexOffer",
        "AGR>DSO",
        _DAY + _BASIS + "ExpirationDateTime:dateTime FlexRequestMessageID:uuid? Currency:currency",
        (_many("OfferOption", "OptionReference:text Price:amount MinActivationFactor:factor=1.00", _POWER),),
    ),
    ("FlexOfferRevocation", "AGR>DSO", "FlexOfferMessageID:uuid", ()),
    (
        "FlexOrder",
        "DSO>AGR",
        _DAY
        + _BASIS
        + "FlexOfferMessageID:uuid Price:amount Currency:currency OrderReference:text OptionReference:text? "
        + "ActivationFactor:factor=1.00",
        (_POWER,),
    ),
    (
        "Metering",
        "AGR>DSO",
        "Revision:long ISP-Duration:duration TimeZone:timeZone Currency:currency? Period:date EAN:ean",
        (_many("Profile", "ProfileType:profile Unit:unit", _many("ISP", "Start:integer Value:decimal")),),
    ),
    (
        # The schema makes a settlement an extension of the response type: Result is required on a request.
        "FlexSettlement",
        "DSO>AGR",
        _RESULT + "PeriodStart:date PeriodEnd:date Currency:currency",
        (
            _many(
                "FlexOrderSettlement",
                "OrderReference:text? Period:date "
                + _BASIS
                + "CongestionPoint:address Price:amount Penalty:amount=0 NetSettlement:amount",
                _many(
                    "ISP",
                    "Start:positive Duration:positive=1 BaselinePower:integer OrderedFlexPower:integer "
                    "ActualPower:integer DeliveredFlexPower:integer PowerDeficiency:integer=0",
                ),
            ),
            _many(
                "ContractSettlement",
                "ContractID:text?",
                _many(
                    "Period",
                    "Period:date",
                    _many(
                        "ISP",
                        "Start:positive Duration:positive=1 ReservedPower:integer RequestedPower:integer? "
                        "AvailablePower:integer? OfferedPower:integer? OrderedPower:integer?",
                    ),
                ),
            ),
        ),
    ),
    ("TestMessage", "*>*", "", ()),
)

_RESPONSES: dict[str, tuple[str, tuple[ElementSpec, ...]]] = {
    "AGRPortfolioQuery": (
        "TimeZone:timeZone Period:date",
        (
            _many(
                "DSO-View",
                "",
                _many(
                    "DSO-Portfolio",
                    "DSO-Domain:domain",
                    _many("CongestionPoint", "EntityAddress:address " + _REDISPATCH, _CONNECTION),
                ),
                _many("Connection", "EntityAddress:address", minimum=0),
            ),
        ),
    ),
    "DSOPortfolioQuery": (
        "TimeZone:timeZone Period:date",
        (
            _many(
                "CongestionPoint",
                "EntityAddress:address",
                _many("Connection", "EntityAddress:address AGR-Domain:domain?"),
                minimum=0,
                maximum=1,
            ),
        ),
    ),
    "D-Prognosis": ("", (_many("FlexOrderStatus", "FlexOrderMessageID:uuid IsValidated:boolean", minimum=0),)),
    "FlexSettlement": (
        "",
        (_many("FlexOrderSettlementStatus", "OrderReference:text? Disposition:settled DisputeReason:text?"),),
    ),
}

_REFERS_ODDLY = {"DSOPortfolioUpdate": "DSOPortfolioUpdateResponseMessageID"}
"""Where the schema's name of the reference is not `<request>MessageID`; it holds the id of the request all the same."""

_IN_3_1_0 = {
    "FlexOffer": "Unsolicited:boolean?",
    "FlexOrder": "Unsolicited:boolean? ServiceType:text? FlexOfferMessageID:uuid?",
}

CANONICAL: Mapping[str, str] = {
    "D-Prognosis": "Prognosis",
    "FlexOfferRevocation": "OfferRevocation",
    "FlexReservationUpdate": "Reservation",
    "FlexSettlement": "Settlement",
    "DSOPortfolioUpdate": "DsoPortfolioUpdate",
    "AGRPortfolioUpdate": "AgrPortfolioUpdate",
    "AGRPortfolioQuery": "AgrPortfolioQuery",
    "DSOPortfolioQuery": "DsoPortfolioQuery",
    **{name: name for name in ("FlexRequest", "FlexOffer", "FlexOrder", "Metering")},
}
"""Requests that have a counterpart in the canonical model, by root."""


def _versions(name: str, attributes: str, children: tuple[ElementSpec, ...]) -> dict[str, ElementSpec]:
    base = _attributes(_META + attributes)
    newer = {**base, **_attributes(_IN_3_1_0.get(name, ""))}
    return {"3.0.0": ElementSpec(name, base, children), "3.1.0": ElementSpec(name, newer, children)}


def _roles(text: str) -> frozenset[str]:
    return frozenset(TYPES["role"].values) if text == "*" else frozenset((text,))


def _messages() -> dict[str, MessageSpec]:
    found: dict[str, MessageSpec] = {}
    for name, route, attributes, children in _REQUESTS:
        sender, _, recipient = route.partition(">")
        found[name] = MessageSpec(name, _roles(sender), _roles(recipient), _versions(name, attributes, children))
        answer = f"{name}Response"
        if name == "TestMessage":
            spec, refers = _versions(answer, "", ()), ""
        else:
            refers = _REFERS_ODDLY.get(name, f"{name}MessageID")
            more, statuses = _RESPONSES.get(name, ("", ()))
            spec = _versions(answer, f"{_RESULT}{refers}:uuid {more}", statuses)
        found[answer] = MessageSpec(answer, _roles(recipient), _roles(sender), spec, name, refers)
    envelope = ElementSpec("SignedMessage", _attributes("SenderDomain:domain SenderRole:role Body:base64"))
    everyone = _roles("*")
    found["SignedMessage"] = MessageSpec("SignedMessage", everyone, everyone, dict.fromkeys(VERSIONS, envelope))
    return found


MESSAGES: Mapping[str, MessageSpec] = _messages()
"""All 27 roots by name."""

LENIENT: Mapping[str, ElementSpec] = {
    "TestMessageResponse": ElementSpec(
        "TestMessageResponse", _attributes(_META + "Result:result? RejectionReason:text?")
    )
}
"""Roots that the peer profile `lenient-in` reads more widely: a known peer puts a Result on its test answers."""


def table(root: str, version: str) -> ElementSpec | None:
    """The element of that root in a version; unknown versions are read as the newest, to be refused by rule R50."""
    message = MESSAGES.get(root)
    return message.spec.get(version, message.spec[VERSIONS[0]]) if message else None
