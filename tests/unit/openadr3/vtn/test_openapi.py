"""OAS: the published document is that of the standard, operation by operation, but for named errata."""

from __future__ import annotations

from typing import Any

import jsonschema_rs
import pytest
from support import openadr3 as kit
from support.openadr3_server import NEW, OLD, Running, bodies

from adapters.openadr3.members import Version
from adapters.openadr3.vtn.openapi import document

OURS = {
    # What the standard does not have: the document itself, the keys, the group of the 3.2 draft, and for 3.0.1 the
    # end point by which clients find the token server.
    OLD: {"/auth/server", "/auth/jwks", "/openapi.json"},
    NEW: {"/auth/jwks", "/openapi.json", "/resource_groups", "/resource_groups/{resourceGroupID}"},
}
ERRATA = {
    # Errata 22 and 23: a missing 401 or 409 is sent.
    **{(NEW, "post", "/vens", "faults"): "409 where the name is taken"},
    **{(NEW, "put", "/programs/{programID}", "faults"): "401 without a token"},
    # Errata 3 and 6: which scope a VEN needs to ask for topics.
    **{(NEW, "get", f"/notifiers{path}", "scopes"): "any token" for path in (
        "", "/mqtt/topics/programs", "/mqtt/topics/programs/{programID}", "/mqtt/topics/programs/{programID}/events",
    )},
}  # fmt: skip


def operations(text: dict[str, Any], version: str) -> dict[tuple[str, str], dict[str, Any]]:
    """Every operation as what two documents can be compared by."""
    schemas = text["components"]["schemas"]

    def plain(schema: dict[str, Any]) -> Any:
        if "$ref" in schema:
            return plain(schemas[schema["$ref"].rpartition("/")[2]])
        kept = {k: v for k, v in schema.items() if k not in ("description", "example")}
        return kept | {"items": plain(kept["items"])} if "items" in kept else kept

    out = {}
    for path, item in text["paths"].items():
        for method, operation in item.items():
            if method == "parameters":
                continue
            body = operation.get("requestBody", {}).get("content", {})
            answer = next(r for status, r in operation["responses"].items() if status.startswith("2"))
            answer = text["components"]["responses"][answer["$ref"].rpartition("/")[2]] if "$ref" in answer else answer
            shown = answer["content"]["application/json"]["schema"]
            out[method, path] = {
                "status": next(status for status in operation["responses"] if status.startswith("2")),
                "faults": {status for status in operation["responses"] if not status.startswith("2")}
                # Errata 23: 3.0.1 has no 401 anywhere.
                - ({"401"} if version == OLD else set()),
                "scopes": next((s["oAuth2ClientCredentials"] for s in operation.get("security", ()) if s), None),
                "parameters": {
                    p["name"]: plain(p["schema"]) for p in operation.get("parameters", ()) if p["in"] == "query"
                },
                "ids": [p["name"] for p in item.get("parameters", ())],
                "asks": {kind: each["schema"].get("$ref") for kind, each in body.items()},
                "answers": (shown.get("items", shown).get("$ref"), "items" in shown),
            }
    return out


@pytest.mark.parametrize("version", [OLD, NEW])
def test_every_operation_is_that_of_the_standard(version: str) -> None:
    ours = operations(document(Version(version), "/"), version)
    theirs = operations(kit.specification(Version(version)), version)
    assert len(theirs) == (31 if version == OLD else 45)
    assert {path for _, path in ours.keys() - theirs.keys()} == OURS[version]
    assert theirs.keys() - ours.keys() == set()
    found = {
        (version, *key, name)
        for key, operation in theirs.items()
        for name, value in operation.items()
        if ours[key][name] != value
    }
    assert found == {erratum for erratum in ERRATA if erratum[0] == version}


@pytest.mark.parametrize("version", [OLD, NEW])
async def test_every_answer_is_valid_by_the_published_document(running: Running, version: str) -> None:
    """OAS01, OAS02: the document is served, and what is answered meets its own schemas."""
    text = kit.plain((await running.as_("", version).get("/openapi.json")).data)
    assert text["servers"] == [{"url": f"/openadr3/{version}"}]
    schemas = _nullable(text["components"]["schemas"])
    for name, (client, path, data) in (await bodies(running, version)).items():
        schema = {"resource_groups": "resourceGroup"}.get(name, name.removesuffix("s"))
        root = {"$ref": f"#/components/schemas/{schema}", "components": {"schemas": schemas}}
        valid = jsonschema_rs.Draft4Validator(root, validate_formats=True)
        made = await client.post(path, data)
        for reply in (made, await client.get(f"{path}/{made.id}"), await client.delete(f"{path}/{made.id}")):
            assert [e.message for e in valid.iter_errors(kit.plain(reply.data))] == [], name


def _nullable(schema: Any) -> Any:
    """OpenAPI 3.0's `nullable` in words of JSON Schema."""
    if isinstance(schema, list):
        return [_nullable(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    out = {key: _nullable(value) for key, value in schema.items() if key not in ("nullable", "format", "default")}
    out |= {"format": schema["format"]} if schema.get("format") == "date-time" else {}
    return {"anyOf": [out, {"type": "null"}]} if schema.get("nullable") else out
