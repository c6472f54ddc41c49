"""A foreign judge in another process: openadr3-client's models with the compliance plug-ins of the Dutch profiles.

`profile_peer.py der|gac22|gac21|gac20` reads one `{"name": …, "body": …}` a line, and answers each with the
list of what is wrong, in its own words.
"""

from __future__ import annotations

import importlib
import json
import sys

from openadr3_client.plugin import ValidatorPluginRegistry
from pydantic import ValidationError

PLUGINS = {
    "der": ("openadr3_client_nlflex_compliance.nlflex10.plugin", "Nlflex10ValidatorPlugin"),
    "gac20": ("openadr3_client_gac_compliance.gac20.plugin", "Gac20ValidatorPlugin"),
    "gac21": ("openadr3_client_gac_compliance.gac21.plugin", "Gac21ValidatorPlugin"),
    "gac22": ("openadr3_client_gac_compliance.gac22.plugin", "Gac22ValidatorPlugin"),
}
MODELS = {
    "program": ("program.program", "ExistingProgram"),
    "event": ("event.event", "ExistingEvent"),
    "report": ("report.report", "NewReport"),
    "ven": ("ven.ven", "ExistingVen"),
    "resource": ("resource.resource", "ExistingResource"),
}


def main(profile: str) -> None:
    module, name = PLUGINS[profile]
    ValidatorPluginRegistry.register_plugin(getattr(importlib.import_module(module), name).setup())
    version = "oadr301" if profile == "gac20" else "oadr310"
    print("ready", flush=True)
    for line in sys.stdin:
        asked = json.loads(line)
        if asked["name"] == "group":
            from openadr3_client.extensions.resource_group.models.resource_group import ExistingResourceGroup as model
        else:
            path, title = MODELS[asked["name"]]
            model = getattr(importlib.import_module(f"openadr3_client.{version}.models.{path}"), title)
        try:
            model.model_validate(asked["body"])
            wrong = []
        except ValidationError as error:
            wrong = [f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors(include_input=False)]
        print(json.dumps(wrong), flush=True)


main(sys.argv[1])
