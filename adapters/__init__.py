"""Adapters: one package per standard, each a library that could be published alone.

No adapter imports another, and none knows the server. What they share stands beside this file: the `Protocol`s they
call (`ports`), the two families of error (`errors`), market time (`clock`), the hardened XML entry (`xml`) and TLS
profiles (`tls`).
"""
