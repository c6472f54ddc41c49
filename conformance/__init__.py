"""Conformance: cases, traces, verdicts."""
