"""Our table against the OpenAPI documents of the standard, schema by schema, but for named errata."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from support import openadr3 as kit

from adapters.openadr3.codec import SHAPES
from adapters.openadr3.members import Version

_PROSE = ("description", "example", "discriminator")
_DRAFT = {"resourceGroup", "resourceGroupRequest"}  # of the 3.2 draft, in neither document
_LATER = {
    # What only a VTN says or reads; they come with it.
    "notification", "clientCredentialRequest", "clientCredentialResponse", "authError", "authServerInfo",
    "notifiersResponse", "mqttNotifierBindingObject", "mqttNotifierAuthenticationAnonymous",
    "mqttNotifierAuthenticationOauth2BearerToken", "mqttNotifierAuthenticationCertificate",
    "notifierOperationsTopics", "notifierTopicsResponse",
}  # fmt: skip
_PARTS = {
    # Stand inside the objects, and are compared there.
    "interval", "intervalPeriod", "valuesMap", "point", "eventPayloadDescriptor", "reportPayloadDescriptor",
    "reportDescriptor", "objectMetadata", "objectID", "clientID", "venName", "clientName", "target", "resourceName",
    "units", "readingType", "objectTypes", "dateTime", "duration", "venRequest", "resourceRequest",
}  # fmt: skip
ERRATA = {
    # Errata 2: the default of targets is misprinted as a text.
    ("3.1.0", "BlVenRequest", "properties.targets.default"): "the document is not valid there",
    ("3.1.0", "ven", "properties.targets.default"): "the document is not valid there",
    # Errata 1: a ven or resource is answered with its own objectType, which the document rules out.
    ("3.1.0", "ven", "properties.objectType.enum.0"): "BL_VEN_REQUEST cannot be VEN",
    ("3.1.0", "resource", "properties.objectType.enum.0"): "BL_RESOURCE_REQUEST cannot be RESOURCE",
    # The others are answered with their own as well, where the document allows each of the six.
    **{
        ("3.1.0", name, "properties.objectType.enum"): "ours is narrower"
        for name in ("program", "event", "report", "subscription")
    },
}


class Document:
    """A document with its references followed and its prose left out."""

    def __init__(self, version: Version) -> None:
        self.schemas: dict[str, Any] = kit.specification(version)["components"]["schemas"]

    def plain(self, schema: Any) -> Any:
        if isinstance(schema, list):
            return [self.plain(item) for item in schema]
        if not isinstance(schema, dict):
            return schema
        if "$ref" in schema:
            return self.plain(self.schemas[schema["$ref"].rpartition("/")[2]])
        if "allOf" in schema:
            out: dict[str, Any] = {"type": "object", "required": [], "properties": {}}
            for part in map(self.plain, schema["allOf"]):
                out["required"] = sorted({*out["required"], *part.get("required", ())})
                out["properties"] |= part.get("properties", {})
            return out
        plain = {key: self.plain(value) for key, value in schema.items() if key not in _PROSE}
        if "properties" in schema:
            plain["properties"] = {name: self.plain(value) for name, value in schema["properties"].items()}
            plain = {"type": "object", "required": [], **plain}
            plain["required"] = sorted(plain["required"])
        return plain


def differences(ours: Any, theirs: Any, path: str = "") -> Iterator[str]:
    if isinstance(ours, dict) and isinstance(theirs, dict):
        for key in ours.keys() | theirs.keys():
            place = f"{path}.{key}" if path else key
            if key not in ours or key not in theirs:
                yield place
            else:
                yield from differences(ours[key], theirs[key], place)
    elif isinstance(ours, list) and isinstance(theirs, list) and len(ours) == len(theirs):
        for n, (a, b) in enumerate(zip(ours, theirs, strict=True)):
            yield from differences(a, b, f"{path}.{n}")
    elif ours != theirs:
        yield path


@pytest.mark.parametrize("version", list(Version))
def test_every_schema_is_that_of_the_standard(version: Version) -> None:
    document = Document(version)
    found = {
        (str(version), name, place)
        for name, shape in SHAPES[version].items()
        if name not in _DRAFT
        for place in differences(_without_durations(shape.schema()), _without_durations(document.plain({"$ref": name})))
    }
    assert found == {erratum for erratum in ERRATA if erratum[0] == version}


@pytest.mark.parametrize("version", list(Version))
def test_no_schema_of_the_standard_is_forgotten(version: Version) -> None:
    theirs = set(Document(version).schemas)
    assert theirs - set(SHAPES[version]) - _PARTS - _LATER == set()
    assert set(SHAPES[version]) - theirs == (_DRAFT if version is Version.V310 else set())


def _without_durations(schema: Any) -> Any:
    """The standard prints a default for every duration; applying it would end events at once (errata 13)."""
    if isinstance(schema, dict):
        return {
            k: _without_durations(v)
            for k, v in schema.items()
            if not (k == "default" and schema.get("default") == "PT0S")
        } | ({"exclusiveMaximum": True} if schema.get("maximum") == 600 else {})
    return [_without_durations(item) for item in schema] if isinstance(schema, list) else schema
