"""The suites: one module a specification, each with a `SUITE`."""
