"""The programme model kept: one registry behind every OpenADR adapter, the operators' API and the web pages."""

from interop.programmes.registry import Registry

__all__ = ["Registry"]
