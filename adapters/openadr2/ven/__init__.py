"""OpenADR 2.0b: a VEN of the VTNs of utilities.

Layers: `config`, `records` (what survives), `engine` (the event clock), `signals` (what events ask), `events`, `opts`
and `reports` (pure: what follows from a message or from time), `book` (tables and durability), `services` (what is done
with each payload), `sealing` (signatures), `client` and `push` (HTTP), `reporter` (reports sent), `link` (one VTN
followed), `adapter` (all of them).
"""
