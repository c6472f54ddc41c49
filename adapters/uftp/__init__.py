"""UFTP, the USEF Flex Trading Protocol (Shapeshifter) 3.0.0 and 3.1.0: signed market messages between AGR and DSO.

    adapter = build({"domain": "agr.example.org", "role": "AGR", "signing_key_file": "agr.key"}, ports)

`check_payload` judges a payload off line; `generate_key_file` and `public_key_string` make and publish keys.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from adapters.ports import Ports
from adapters.uftp.adapter import UftpAdapter
from adapters.uftp.check import Verdict, check_payload
from adapters.uftp.config import UftpConfig
from adapters.uftp.keys import (
    SigningKey,
    generate_key_file,
    load_key_file,
    parse_public_keys,
    public_key_string,
)

__all__ = [
    "SigningKey",
    "UftpAdapter",
    "UftpConfig",
    "Verdict",
    "build",
    "check_payload",
    "generate_key_file",
    "load_key_file",
    "parse_public_keys",
    "public_key_string",
]


def build(config: Mapping[str, Any], ports: Ports) -> UftpAdapter:
    """An adapter from its configuration table (keys as in `UftpConfig`).

    Raises:
        ValueError: the configuration or the signing key is wrong; the text names each complaint.
        OSError: a file cannot be read.
    """
    return UftpAdapter(UftpConfig.parse(config), ports)
