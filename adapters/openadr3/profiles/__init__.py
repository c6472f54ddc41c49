"""National profiles on OpenADR 3: what a programme's type demands of its objects beyond the standard.

`der` is the Dutch OpenADR DER profile 1.0.0 (grid operator to service provider), `gac` is grid-aware charging 2.0 to
2.2 (grid operator to charge point operator). Both judge objects of `model`; every rule is an entry in a table.
"""
