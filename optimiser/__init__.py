"""Portfolio in, plans out: no I/O, no clock, seeded."""
