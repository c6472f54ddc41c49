"""The API as OpenAPI document, emitted from the tables that serve it."""

from __future__ import annotations

from typing import Any

from adapters.openadr3.codec import SHAPES
from adapters.openadr3.members import Text, Version
from adapters.openadr3.vtn.auth import SCOPES
from adapters.openadr3.vtn.routes import ANYBODY, ROUTES, SIGNED_IN, Operation, Route

__all__ = ["document"]

_TOKEN = {"type": "string", "minLength": 1, "maxLength": 4096}
_SCOPE = {"type": "string", "minLength": 0, "maxLength": 4096}
_ID = Text(1, 128, pattern="^[a-zA-Z0-9_-]*$")
_AUTH: dict[str, Any] = {
    "clientCredentialRequest": {
        "type": "object",
        "required": ["grant_type"],
        "properties": {
            "grant_type": {"type": "string", "enum": ["client_credentials"]},
            "client_id": _TOKEN,
            "client_secret": _TOKEN,
            "scope": _SCOPE,
        },
    },
    "clientCredentialResponse": {
        "type": "object",
        "required": ["access_token", "token_type"],
        "properties": {
            "access_token": _TOKEN,
            "token_type": {"type": "string", "enum": ["Bearer"]},
            "expires_in": {"type": "integer"},
            "scope": _SCOPE,
        },
    },
    "authServerInfo": {
        "type": "object",
        "required": ["tokenURL"],
        "properties": {"tokenURL": {"type": "string", "format": "uri", "minLength": 2, "maxLength": 8000}},
    },
    "notifiersResponse": {
        "type": "object",
        "required": ["WEBHOOK"],
        "properties": {"WEBHOOK": {"type": "boolean"}, "MQTT": {"type": "object"}},
    },
    "notifierTopicsResponse": {
        "type": "object",
        "required": ["topics"],
        "properties": {"topics": {"type": "object", "additionalProperties": {"type": "string"}}},
    },
}


def document(version: Version, base: str) -> dict[str, Any]:
    """The document of a version that is served at `base`."""
    schemas: dict[str, Any] = {name: shape.schema() for name, shape in SHAPES[version].items()} | _AUTH
    if version is Version.V310:
        for name in ("ven", "resource"):
            schemas[f"{name}Request"] = _either(name)
    paths: dict[str, Any] = {}
    for route in ROUTES[version]:
        item: dict[str, Any] = {
            method.lower(): _operation(route, method, operation, version)
            for method, operation in route.operations.items()
        }
        if route.ids:
            item["parameters"] = [
                {"name": id, "in": "path", "required": True, "schema": _ID.schema(version)} for id in route.ids
            ]
        paths[route.template] = item
    flow = {"tokenUrl": "auth/token", "scopes": dict.fromkeys(SCOPES, "")}
    return {
        "openapi": "3.0.0",
        "info": {"title": "OpenADR 3 API", "version": str(version)},
        "servers": [{"url": base}],
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": {
                "oAuth2ClientCredentials": {"type": "oauth2", "flows": {"clientCredentials": flow}},
                "bearerAuth": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"},
            },
        },
    }


def _operation(route: Route, method: str, operation: Operation, version: Version) -> dict[str, Any]:
    out: dict[str, Any] = {
        "operationId": f"{operation.does}{''.join(part.title() for part in route.path if part != '*')}"
        + ("ByID" if route.path[-1] == "*" else ""),
        "responses": {
            str(operation.status): _answered(operation),
            **{str(status): _problem(status) for status in operation.faults},
        },
    }
    if operation.scope != ANYBODY:
        scopes = [] if operation.scope == SIGNED_IN else [operation.scope]
        out["security"] = [{"oAuth2ClientCredentials": scopes}, {"bearerAuth": []}]
    if operation.asks:
        kind = "application/x-www-form-urlencoded" if operation.does == "token" else "application/json"
        out["requestBody"] = {"required": True, "content": {kind: {"schema": _ref(operation.asks)}}}
    if operation.parameters:
        out["parameters"] = [
            {"name": name, "in": "query", "required": False, "schema": p.kinds[version].schema(version)}
            for name, p in operation.parameters.items()
        ]
    return out


def _answered(operation: Operation) -> dict[str, Any]:
    schema: dict[str, Any] = _ref(operation.answers) if operation.answers else {"type": "object"}
    if operation.many:
        schema = {"type": "array", "items": schema}
    return {"description": "Done.", "content": {"application/json": {"schema": schema}}}


def _problem(status: int) -> dict[str, Any]:
    return {"description": f"Problem {status}.", "content": {"application/json": {"schema": _ref("problem")}}}


def _either(name: str) -> dict[str, Any]:
    title = name.capitalize()
    shapes = {f"{role.upper()}_{name.upper()}_REQUEST": f"{role}{title}Request" for role in ("Bl", "Ven")}
    mapping = {kind: f"#/components/schemas/{shape}" for kind, shape in shapes.items()}
    return {
        "oneOf": [_ref(shape) for shape in shapes.values()],
        "discriminator": {"propertyName": "objectType", "mapping": mapping},
    }


def _ref(name: str) -> dict[str, Any]:
    return {"$ref": f"#/components/schemas/{name}"}
