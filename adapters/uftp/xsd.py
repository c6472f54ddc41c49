"""The table of messages as an XML Schema: for those who build a peer, and for validators that speak no Python.

It accepts what the released schemas accept, white space around values aside, and an EAN of 18 digits besides.
"""

from __future__ import annotations

from functools import lru_cache

from lxml import etree

from adapters.uftp.schema import MESSAGES, VERSIONS, Attribute, ElementSpec
from adapters.uftp.values import TYPES, ValueType

__all__ = ["xsd"]

_NAMESPACE = "http://www.w3.org/2001/XMLSchema"
_BUILT_IN = {
    "text": "string",
    "base64": "base64Binary",
    "positive": "positiveInteger",
    **{name: name for name in ("duration", "date", "dateTime", "boolean", "integer", "long", "decimal")},
}
"""Our types that XML Schema has itself. The others restrict one: `decimal` for amounts and factors, else `token`."""

_NUMBERS = frozenset(("amount", "factor"))


@lru_cache
def xsd(version: str) -> bytes:
    """The schema of all 27 roots in a version, as an XML document without any imports.

    Raises:
        ValueError: no such version is spoken.
    """
    if version not in VERSIONS:
        raise ValueError(f"there is no UFTP {version} here, but {', '.join(VERSIONS)}")
    schema = etree.Element(_name("schema"), {"version": version}, {"xs": _NAMESPACE})
    _documentation(schema, f"UFTP {version}: all messages and their envelope, by gridparley.")
    for kind in TYPES.values():
        if kind.name not in _BUILT_IN:
            _simple_type(schema, kind)
    for message in MESSAGES.values():
        element = etree.SubElement(schema, _name("element"), {"name": message.name})
        if message.refers not in ("", f"{message.answers}MessageID"):
            _documentation(element, f"{message.refers} holds the MessageID of the {message.answers}.")
        _content(element, message.spec[version])
    return etree.tostring(schema, xml_declaration=True, encoding="UTF-8", pretty_print=True)


def _name(local: str) -> str:
    return f"{{{_NAMESPACE}}}{local}"


def _documentation(parent: etree._Element, text: str) -> None:
    annotation = etree.SubElement(parent, _name("annotation"))
    etree.SubElement(annotation, _name("documentation")).text = text


def _simple_type(schema: etree._Element, kind: ValueType) -> None:
    simple = etree.SubElement(schema, _name("simpleType"), {"name": kind.name})
    base = "decimal" if kind.name in _NUMBERS else "token"
    restriction = etree.SubElement(simple, _name("restriction"), {"base": f"xs:{base}"})
    for facet, value in kind.facets:
        etree.SubElement(restriction, _name(facet), {"value": value})


def _content(element: etree._Element, spec: ElementSpec) -> None:
    complex_type = etree.SubElement(element, _name("complexType"))
    if spec.children:
        sequence = etree.SubElement(complex_type, _name("sequence"))
        for child in spec.children:
            most = "unbounded" if child.maximum is None else str(child.maximum)
            occurs = {"minOccurs": str(child.minimum), "maxOccurs": most}
            _content(etree.SubElement(sequence, _name("element"), {"name": child.name, **occurs}), child)
    for attribute in spec.attributes.values():
        etree.SubElement(complex_type, _name("attribute"), _use(attribute))


def _use(attribute: Attribute) -> dict[str, str]:
    built_in = _BUILT_IN.get(attribute.type.name)
    stated = {"name": attribute.name, "type": f"xs:{built_in}" if built_in else attribute.type.name}
    if attribute.required:
        stated["use"] = "required"
    if attribute.default is not None:
        stated["default"] = attribute.default
    return stated
