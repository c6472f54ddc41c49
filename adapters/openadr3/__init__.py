"""OpenADR 3 (3.0.1 and 3.1.0), and the Dutch profiles on it.

Layers: `lexical`, `members`, `model` (one table for both versions), `codec` (JSON and objects), `profiles` (what a
programme's type demands).
"""
